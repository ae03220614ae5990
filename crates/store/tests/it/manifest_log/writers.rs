//! Writers that compete for one log.

#![expect(clippy::panic, reason = "a test fails by it")]

use super::*;

#[tokio::test]
async fn the_writer_that_was_replaced_stops_at_its_next_commit() {
    let store = memory();
    let old = open(&store, 1).await;
    old.commit(flush(1)).await.expect("commit");
    old.check_epoch().await.expect("still the writer");
    let new = open(&store, 2).await;
    assert_eq!(new.state().epoch, 2);
    new.commit(flush(2)).await.expect("commit");

    for _ in 0..2 {
        let error = old.commit(flush(7)).await.expect_err("replaced");
        let ManifestError::Fenced(fence) = &error else { panic!("{error}") };
        assert_eq!((fence.epoch, &fence.writer, fence.version), (2, &new.writer().to_string(), 3));
        assert!(error.is_final());
        assert!(matches!(old.resolve().await, Err(ManifestError::Fenced(_))));
        assert!(matches!(old.check_epoch().await, Err(ManifestError::Fenced(_))));
    }
    new.commit(flush(3)).await.expect("commit");
    assert_eq!(generations(&*store).await, [1, 2, 3]);
}

#[tokio::test]
async fn the_writer_that_was_replaced_learns_it_without_committing() {
    let store = memory();
    let old = open(&store, 1).await;
    let new = open(&store, 2).await;
    for _ in 0..3 {
        new.commit(flush(new.state().generation + 1)).await.expect("commit");
    }
    assert!(matches!(old.check_epoch().await, Err(ManifestError::Fenced(fence)) if fence.epoch == 2));
    assert!(matches!(old.commit(flush(9)).await, Err(ManifestError::Fenced(_))));
    new.check_epoch().await.expect("the writer");
    assert_eq!(generations(&*store).await, [1, 2, 3]);
}

/// A commit without an answer, and then another process: whichever came first, both agree on it.
#[tokio::test]
async fn a_pending_commit_of_a_replaced_writer_happened_before_or_never() {
    for arrives in [true, false] {
        let inner = memory();
        let faults = Arc::new(FaultStore::calm(Arc::clone(&inner)));
        let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as _;
        let (old, _) = ManifestLog::open(env(&store, POLICY), writer(1)).await.expect("open");
        faults.set_plan(move |call: Call<'_>| match call.operation {
            Operation::Put if arrives => Some(Fault::AnswerLost),
            _ => Some(Fault::Before),
        });
        let error = old.commit(flush(1)).await.expect_err("no answer");
        assert!(matches!(error, ManifestError::Unknown { .. }), "{error}");
        let new = open(&inner, 2).await;
        assert_eq!(new.state().generation, u64::from(arrives));
        faults.set_plan(|_| None);
        if arrives {
            assert_eq!(old.resolve().await.expect("it had arrived").generation, 1);
        }
        assert!(matches!(old.commit(flush(2)).await, Err(ManifestError::Fenced(_))));
        new.commit(flush(3)).await.expect("commit");
        let expected: &[u64] = if arrives { &[1, 3] } else { &[3] };
        assert_eq!(generations(&*inner).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_writers_that_open_at_once_the_last_one_has_the_log() {
    let seed = seed();
    for round in 0..30 {
        let inner = memory();
        let odds = Odds { before: 0.05, answer_lost: 0.15, hang: 0.0, busy: 0.05 };
        let store: Arc<dyn ObjectStore> =
            Arc::new(FaultStore::seeded(Arc::clone(&inner), seed.wrapping_add(round), odds));
        let policy = RetryPolicy { attempts_max: 50, ..POLICY };
        let opening: Vec<_> = (0..8)
            .map(|number| tokio::spawn(ManifestLog::open(env(&store, policy), writer(number))))
            .collect();
        let mut logs = Vec::new();
        for opened in opening {
            logs.push(opened.await.expect("a task").expect("open").0);
        }
        let epochs: BTreeSet<_> = logs.iter().map(|log| log.state().epoch).collect();
        assert_eq!(epochs, (1..=8).collect());
        let writing: Vec<_> = logs
            .into_iter()
            .map(|log| {
                tokio::spawn(async move {
                    let epoch = log.state().epoch;
                    (epoch, log.commit(flush(epoch)).await.map(|state| state.version))
                })
            })
            .collect();
        for written in writing {
            match written.await.expect("a task") {
                (8, committed) => assert_eq!(committed.expect("the last one"), 9),
                (epoch, committed) => {
                    assert!(
                        matches!(committed, Err(ManifestError::Fenced(_))),
                        "epoch {epoch}: {committed:?}"
                    );
                }
            }
        }
        assert_eq!(generations(&*inner).await, [8]);
    }
}

/// Two processes that both believe to be the only one, restarting at random.
#[tokio::test]
async fn whatever_two_writers_do_every_success_is_in_the_log_once() {
    let seed = seed();
    for round in 0..100 {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(round));
        let inner = memory();
        let odds = Odds { before: 0.1, answer_lost: 0.2, hang: 0.0, busy: 0.1 };
        let store: Arc<dyn ObjectStore> =
            Arc::new(FaultStore::seeded(Arc::clone(&inner), rng.random(), odds));
        let policy = RetryPolicy { attempts_max: 3, ..POLICY };
        let mut logs: [Option<ManifestLog>; 2] = [None, None];
        let (mut done, mut open_questions) = (BTreeSet::new(), BTreeSet::new());
        for number in 1..=60 {
            let slot = &mut logs[rng.random_range(0..2)];
            let Some(log) = slot else {
                *slot = ManifestLog::open(env(&store, policy), writer(number)).await.ok().map(|(log, _)| log);
                continue;
            };
            // What this change would be called, were generations not counted by each for itself.
            let generation = log.state().generation + 1;
            let mut change = flush(generation);
            change.segments_added = vec![segment(number as u64 + 1_000)];
            change.segments_removed.clear();
            match log.commit(change).await {
                Ok(_) => assert!(done.insert(number as u64 + 1_000)),
                Err(ManifestError::Fenced(_)) => *slot = None,
                Err(ManifestError::Unknown { .. }) => {
                    // The generation may be taken by what is pending: as the engine does, finish first.
                    open_questions.insert(number as u64 + 1_000);
                    while let Err(ManifestError::Unknown { .. }) = log.resolve().await {}
                }
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        let state = load(&inner).await.expect("load");
        let live: BTreeSet<_> = state.segments.iter().map(|segment| segment.meta.id.0 as u64).collect();
        assert_eq!(live.len(), state.segments.len());
        assert!(done.is_subset(&live), "round {round}: {:?} lost", done.difference(&live));
        let known: BTreeSet<_> = done.union(&open_questions).copied().collect();
        assert!(live.is_subset(&known), "round {round}: {:?} invented", live.difference(&known));
    }
}
