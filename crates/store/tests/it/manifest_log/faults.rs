//! Commits to a store that errs, loses answers or hangs.

#![expect(clippy::panic, reason = "a test fails by it")]

use super::*;

#[tokio::test]
async fn of_ten_thousand_ambiguous_commits_each_happens_once() {
    let inner = memory();
    let faults = Arc::new(FaultStore::calm(Arc::clone(&inner)));
    let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as _;
    let policy = RetryPolicy { deadline: Duration::from_millis(3), attempts_max: 3, ..POLICY };
    let (log, _) = ManifestLog::open(env(&store, POLICY), writer(1)).await.expect("open");
    drop(log);
    let (log, _) = ManifestLog::open(env(&store, policy), writer(2)).await.expect("open");
    faults.set_odds(seed(), Odds { before: 0.1, answer_lost: 0.3, hang: 0.002, busy: 0.1 });
    let mut unknown = 0;
    for generation in 1..=10_000 {
        let version = log.state().version;
        loop {
            match log.commit(flush(generation)).await {
                Ok(state) => {
                    assert_eq!((state.version, state.generation), (version + 1, generation));
                    break;
                }
                Err(ManifestError::Unknown { .. }) => unknown += 1,
                Err(error) => panic!("generation {generation}: {error}"),
            }
        }
    }
    assert!(unknown > 100, "only {unknown} outcomes were unknown for a while");
    assert_eq!(generations(&*inner).await, (1..=10_000).collect::<Vec<_>>());
    assert_eq!(load(&inner).await.expect("load"), *log.state());
}

/// Every fault at every call, once: opening, commits, and a checkpoint's place.
#[tokio::test]
async fn a_single_fault_anywhere_is_survived() {
    let run = async |faults: FaultStore, inner: &Arc<dyn ObjectStore>| {
        let faults = Arc::new(faults);
        let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as _;
        let policy = RetryPolicy { deadline: Duration::from_millis(100), ..POLICY };
        let (log, _) = ManifestLog::open(env(&store, policy), writer(1)).await.expect("open");
        for generation in 1..=3 {
            log.commit(flush(generation)).await.expect("commit");
        }
        let calls = faults.calls();
        assert_eq!(generations(&**inner).await, [1, 2, 3]);
        assert_eq!(load(inner).await.expect("load"), *log.state());
        calls
    };
    for fault in [Fault::Before, Fault::AnswerLost, Fault::Hang, Fault::Busy] {
        for k in 0.. {
            let inner = memory();
            let calls = run(FaultStore::kth(Arc::clone(&inner), k, fault), &inner).await;
            if k >= calls {
                assert!(k >= 9, "a list, and twice four puts and reads");
                break;
            }
        }
    }
}

/// With one try each, every fault reaches the caller, who asks again.
#[tokio::test]
async fn the_same_change_again_never_happens_twice() {
    let policy = RetryPolicy { deadline: Duration::from_millis(50), attempts_max: 1, ..POLICY };
    for fault in [Fault::Before, Fault::AnswerLost, Fault::Hang, Fault::DiskFull] {
        for k in 0..8 {
            let inner = memory();
            drop(open(&inner, 1).await);
            let faults = Arc::new(FaultStore::calm(Arc::clone(&inner)));
            let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as _;
            let (log, _) = ManifestLog::open(env(&store, policy), writer(2)).await.expect("open");
            let first = faults.calls();
            faults.set_plan(move |call: Call<'_>| (call.number == first + k).then_some(fault));
            for generation in 1..=4 {
                let mut tries = 0;
                while let Err(error) = log.commit(flush(generation)).await {
                    assert!(!error.is_final(), "{error}");
                    tries += 1;
                    assert!(tries < 3, "{error}");
                }
            }
            assert_eq!(generations(&*inner).await, [1, 2, 3, 4], "{fault:?} at call {k}");
        }
    }
}

#[tokio::test]
async fn an_unknown_commit_is_finished_before_the_next() {
    let inner = memory();
    let faults = Arc::new(FaultStore::calm(Arc::clone(&inner)));
    let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as _;
    let (log, _) = ManifestLog::open(env(&store, POLICY), writer(1)).await.expect("open");
    let deaf = |call: Call<'_>| match call.operation {
        Operation::Put => Some(Fault::AnswerLost),
        _ => Some(Fault::Before),
    };

    // It happened, and nobody was told.
    faults.set_plan(deaf);
    let error = log.commit(flush(1)).await.expect_err("no answer");
    assert!(matches!(error, ManifestError::Unknown { version: 2, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(log.state().version, 1);
    faults.set_plan(|_| None);
    assert_eq!(log.commit(flush(1)).await.expect("the same again").version, 2);

    faults.set_plan(deaf);
    log.commit(flush(2)).await.expect_err("no answer");
    faults.set_plan(|_| None);
    assert_eq!(log.commit(flush(3)).await.expect("another").version, 4);

    // It did not happen, and nobody was told.
    faults.set_plan(|_| Some(Fault::Before));
    log.commit(flush(4)).await.expect_err("no answer");
    log.commit(flush(4)).await.expect_err("no answer");
    log.resolve().await.expect_err("no answer");
    faults.set_plan(|_| None);
    assert_eq!(log.resolve().await.expect("resolved").version, 5);
    assert_eq!(log.resolve().await.expect("nothing is pending").version, 5);
    assert_eq!(generations(&*inner).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_full_disk_is_a_clear_no() {
    let inner = memory();
    let faults = Arc::new(FaultStore::calm(Arc::clone(&inner)));
    let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as _;
    let (log, _) = ManifestLog::open(env(&store, POLICY), writer(1)).await.expect("open");
    faults.set_plan(|call: Call<'_>| (call.operation == Operation::Put).then_some(Fault::DiskFull));
    let calls = faults.calls();
    let error = log.commit(flush(1)).await.expect_err("full");
    assert!(matches!(error, ManifestError::NotCommitted { version: 2, .. }), "{error}");
    assert!(error.is_disk_full() && !error.is_final());
    assert_eq!(faults.calls(), calls + 1, "a full disk is not tried again at once");
    faults.set_plan(|_| None);
    // Forgotten: another change takes its place.
    log.commit(flush(2)).await.expect("commit");
    assert_eq!(generations(&*inner).await, [2]);

    // An earlier try may have arrived: then a full disk is no clear no.
    let mut first = true;
    faults.set_plan(move |call: Call<'_>| match call.operation {
        Operation::Put if std::mem::take(&mut first) => Some(Fault::AnswerLost),
        Operation::Put => Some(Fault::DiskFull),
        _ => None,
    });
    let error = log.commit(flush(3)).await.expect_err("full");
    assert!(matches!(error, ManifestError::Unknown { version: 3, .. }), "{error}");
    faults.set_plan(|_| None);
    log.commit(flush(3)).await.expect("commit");
    assert_eq!(generations(&*inner).await, [2, 3]);
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_any_more_happens_once() {
    let inner = memory();
    let faults = Arc::new(FaultStore::calm(Arc::clone(&inner)));
    let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as _;
    let patient = RetryPolicy { deadline: Duration::from_secs(3600), ..POLICY };
    let (log, _) = ManifestLog::open(env(&store, patient), writer(1)).await.expect("open");
    for (generation, operation) in [(1, Operation::Put), (2, Operation::Get)] {
        faults.set_plan(move |call: Call<'_>| (call.operation == operation).then_some(Fault::Hang));
        let waited = tokio::time::timeout(Duration::from_millis(20), log.commit(flush(generation))).await;
        assert!(waited.is_err());
        faults.set_plan(|_| None);
        log.commit(flush(generation)).await.expect("the same again");
    }
    faults.set_plan(|call: Call<'_>| (call.operation == Operation::Put).then_some(Fault::Hang));
    let waited = tokio::time::timeout(Duration::from_millis(20), log.commit(flush(3))).await;
    assert!(waited.is_err());
    faults.set_plan(|_| None);
    log.commit(flush(4)).await.expect("another");
    assert_eq!(generations(&*inner).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn checkpoints_that_cannot_be_written_stop_nothing() {
    let inner = memory();
    let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(&inner), |call: Call<'_>| {
        call.path.as_ref().ends_with(".checkpoint").then_some(Fault::Before)
    }));
    let log = open(&store, 1).await;
    for generation in 1..=150 {
        log.commit(flush(generation)).await.expect("commit");
    }
    assert_eq!(load(&inner).await.expect("load"), *log.state());
    let log = open(&inner, 2).await;
    assert!(fault_store::paths(&*inner).await.expect("list").contains(&checkpoint_path(152)));
    assert_eq!(log.state().generation, 150);
}

#[tokio::test]
async fn a_store_that_cannot_be_listed_does_not_open() {
    let inner = memory();
    drop(open(&inner, 1).await);
    let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(&inner), |call: Call<'_>| {
        (call.operation == Operation::List).then_some(Fault::Before)
    }));
    let error = ManifestLog::open(env(&store, POLICY), writer(2)).await.expect_err("no list");
    assert!(matches!(error, ManifestError::Read { .. }), "{error}");
    assert_eq!(entries(&*inner).await.len(), 1);

    let hung: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(&inner), |_| Some(Fault::Hang)));
    let policy = RetryPolicy { deadline: Duration::from_millis(5), ..POLICY };
    let error = ManifestLog::open(env(&hung, policy), writer(3)).await.expect_err("no answer");
    assert!(matches!(error, ManifestError::Deadline { .. }), "{error}");
}
