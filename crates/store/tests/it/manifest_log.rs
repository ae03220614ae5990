//! The manifest's log: what survives stores that err, lose answers or hang, and writers that compete.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_format::manifest::{Change, Commit, Entry, Flushed, SegmentEntry, State};
use tracelake_format::segment::{Section, SegmentMeta};
use tracelake_model::ErrorKind;
use tracelake_store::env::fault_store::{self, Call, Fault, FaultStore, Odds, Operation};
use tracelake_store::env::{CrashPoint, CrashPoints, NoCrashes, SystemClock};
use tracelake_store::local_store::LocalStore;
use tracelake_store::manifest_log::{
    CHECKPOINT_INTERVAL, ManifestEnv, ManifestError, ManifestLog, RetryPolicy, WriterId,
};
use ulid::Ulid;

fn seed() -> u64 {
    let seed = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("TRACELAKE_TEST_SEED={seed}");
    seed
}

/// Short pauses: a test waits for no machine to recover. A call that is slower than the deadline only
/// makes a commit ambiguous, which is what is tested.
const POLICY: RetryPolicy = RetryPolicy {
    deadline: Duration::from_millis(500),
    attempts_max: 6,
    pause_first: Duration::ZERO,
    pause_max: Duration::ZERO,
};

fn env(store: &Arc<dyn ObjectStore>, policy: RetryPolicy) -> ManifestEnv {
    ManifestEnv {
        store: Arc::clone(store),
        clock: Arc::new(SystemClock),
        crash_points: Arc::new(NoCrashes),
        policy,
    }
}

fn writer(number: u128) -> WriterId {
    WriterId::new(&SystemClock, number)
}

async fn open(store: &Arc<dyn ObjectStore>, number: u128) -> ManifestLog {
    let (log, state) = ManifestLog::open(env(store, POLICY), writer(number)).await.expect("open");
    assert_eq!(log.state(), state);
    log
}

async fn load(store: &Arc<dyn ObjectStore>) -> Result<State, ManifestError> {
    ManifestLog::load(Arc::clone(store), POLICY).await
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn segment(number: u64) -> SegmentEntry {
    let id = Ulid(u128::from(number));
    let section = Section { offset: 0, len: 1, crc32c: 2 };
    let meta = SegmentMeta {
        format_version: 1,
        id,
        generation: number,
        size_bytes: 1,
        rows: 1,
        traces: 1,
        start_unix_nano_min: 1,
        start_unix_nano_max: 1,
        end_unix_nano_max: 1,
        trace_hash_min: 1,
        trace_hash_max: 1,
        tenants: Vec::new(),
        filter: section,
        directory: section,
        checksums: section,
        footer: section,
    };
    SegmentEntry { path: format!("segments/{id}.parquet"), meta }
}

/// Generation `number`, with one segment; the one from 20 generations ago goes.
fn flush(number: u64) -> Commit {
    Commit {
        flushed: Some(Flushed { generation: number, wal_covered: number }),
        segments_added: vec![segment(number)],
        segments_removed: number
            .checked_sub(20)
            .filter(|old| *old > 0)
            .map(|old| Ulid(old.into()))
            .into_iter()
            .collect(),
        ..Commit::default()
    }
}

/// Every entry in the store, in order; the objects must be those and checkpoints, nothing else.
async fn entries(store: &dyn ObjectStore) -> Vec<Entry> {
    let mut entries = Vec::new();
    for path in fault_store::paths(store).await.expect("list") {
        if path.ends_with(".checkpoint") {
            continue;
        }
        let entry = Entry::decode(&fault_store::read(store, &path).await.expect("read")).expect("an entry");
        assert_eq!(path, format!("manifest/{:020}.entry", entry.version));
        entries.push(entry);
        assert_eq!(entries.len() as u64, entries.last().map_or(0, |entry| entry.version));
    }
    entries
}

/// The generations committed, in order; each must be there once.
async fn generations(store: &dyn ObjectStore) -> Vec<u64> {
    entries(store)
        .await
        .iter()
        .filter_map(|entry| match &entry.change {
            Change::Open(_) => None,
            Change::Commit(commit) => commit.flushed.map(|flushed| flushed.generation),
        })
        .collect()
}

async fn damage(store: &dyn ObjectStore, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fault_store::read(store, path).await.expect("read").to_vec();
    change(&mut bytes);
    store.put(&Path::from(path), bytes.into()).await.expect("put");
}

fn entry_path(version: u64) -> String {
    format!("manifest/{version:020}.entry")
}

fn checkpoint_path(version: u64) -> String {
    format!("manifest/{version:020}.checkpoint")
}

#[tokio::test]
async fn what_was_committed_is_there_after_every_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut generation = 0;
    let mut before = State::default();
    for restart in 1..=4 {
        let store: Arc<dyn ObjectStore> = Arc::new(LocalStore::open(folder.path()).expect("open"));
        assert_eq!(load(&store).await.expect("load"), before);
        let log = open(&store, restart).await;
        assert_eq!(log.state().epoch, restart as u64);
        assert_eq!(log.state().segments, before.segments);
        for _ in 0..50 {
            generation += 1;
            let state = log.commit(flush(generation)).await.expect("commit");
            assert_eq!((state.generation, state.wal_covered), (generation, generation));
            log.check_epoch().await.expect("still the writer");
        }
        before = State::clone(&log.state());
    }
    assert_eq!(before.version, 204);
    assert_eq!(before.segments.len(), 20);
}

#[tokio::test]
async fn a_start_reads_from_the_newest_checkpoint_on() {
    let store = memory();
    let log = open(&store, 1).await;
    for generation in 1..=150 {
        log.commit(flush(generation)).await.expect("commit");
    }
    let checkpoints: Vec<_> = fault_store::paths(&*store)
        .await
        .expect("list")
        .into_iter()
        .filter(|path| path.ends_with(".checkpoint"))
        .collect();
    assert_eq!(checkpoints, [checkpoint_path(64), checkpoint_path(128)]);

    let counting = Arc::new(FaultStore::calm(Arc::clone(&store)));
    let counted: Arc<dyn ObjectStore> = Arc::clone(&counting) as _;
    assert_eq!(load(&counted).await.expect("load"), *log.state());
    // The list, the checkpoint, and entries 129 to 151.
    assert_eq!(counting.calls(), 2 + 23);

    // And without the entries that the checkpoint stands for.
    for version in 1..=128 {
        store.delete(&Path::from(entry_path(version))).await.expect("delete");
    }
    assert_eq!(load(&store).await.expect("load"), *log.state());
}

#[tokio::test]
async fn a_damaged_checkpoint_is_passed_over_while_the_entries_are_there() {
    let store = memory();
    let log = open(&store, 1).await;
    for generation in 1..=129 {
        log.commit(flush(generation)).await.expect("commit");
    }
    let expected = State::clone(&log.state());
    damage(&*store, &checkpoint_path(128), |bytes| bytes[100] ^= 1).await;
    assert_eq!(load(&store).await.expect("from 64 on"), expected);
    damage(&*store, &checkpoint_path(64), |bytes| bytes.truncate(40)).await;
    assert_eq!(load(&store).await.expect("from the beginning"), expected);

    // A checkpoint proves that its version existed, also when it cannot be read.
    for version in 128..=130 {
        store.delete(&Path::from(entry_path(version))).await.expect("delete");
    }
    let error = load(&store).await.expect_err("version 128 is lost");
    assert!(matches!(&error, ManifestError::Missing { object, .. } if *object == entry_path(128)), "{error}");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = error.to_string();
    assert!(text.contains(&checkpoint_path(128)) && text.contains(&checkpoint_path(64)), "{text}");
}

#[tokio::test]
async fn a_checkpoint_of_a_newer_build_is_not_passed_over() {
    let store = memory();
    let log = open(&store, 1).await;
    for generation in 1..=CHECKPOINT_INTERVAL {
        log.commit(flush(generation)).await.expect("commit");
    }
    damage(&*store, &checkpoint_path(64), |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    })
    .await;
    let error = load(&store).await.expect_err("a newer format");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn a_missing_damaged_or_misplaced_entry_is_named() {
    let store = memory();
    let log = open(&store, 1).await;
    for generation in 1..=5 {
        log.commit(flush(generation)).await.expect("commit");
    }
    let third = fault_store::read(&*store, &entry_path(3)).await.expect("read");

    store.delete(&Path::from(entry_path(3))).await.expect("delete");
    let error = load(&store).await.expect_err("missing");
    assert!(matches!(&error, ManifestError::Missing { object, .. } if *object == entry_path(3)), "{error}");

    let fourth = fault_store::read(&*store, &entry_path(4)).await.expect("read");
    for wrong in [fourth.slice(..), third.slice(..40), third.slice(..0)] {
        store.put(&Path::from(entry_path(3)), wrong.into()).await.expect("put");
        let error = load(&store).await.expect_err("damaged");
        assert!(
            matches!(&error, ManifestError::Damaged { object, .. } if *object == entry_path(3)),
            "{error}"
        );
        let error = ManifestLog::open(env(&store, POLICY), writer(2)).await.expect_err("damaged");
        assert!(error.is_final(), "{error}");
    }
    assert_eq!(fault_store::paths(&*store).await.expect("list").len(), 6, "nothing was written");

    store.put(&Path::from(entry_path(3)), third.into()).await.expect("put");
    store.put(&Path::from("manifest/notes.txt"), "x".into()).await.expect("put");
    store.put(&Path::from(format!("manifest/old/{:020}.entry", 9)), "x".into()).await.expect("put");
    assert_eq!(load(&store).await.expect("other names are not read"), *log.state());
}

#[tokio::test]
async fn every_flipped_bit_of_the_log_is_detected_or_harmless() {
    let store = memory();
    let log = open(&store, 1).await;
    for generation in 1..CHECKPOINT_INTERVAL - 3 {
        let change = Commit { flushed: Some(Flushed { generation, wal_covered: 0 }), ..Commit::default() };
        log.commit(change).await.expect("commit");
    }
    for generation in 61..=64 {
        log.commit(Commit { segments_removed: Vec::new(), ..flush(generation) }).await.expect("commit");
    }
    let expected = log.state();
    let whole = [checkpoint_path(64), entry_path(64), entry_path(65)];
    for path in whole {
        let good = fault_store::read(&*store, &path).await.expect("read");
        let location = Path::from(path.as_str());
        for bit in 0..good.len() * 8 {
            let mut flipped = good.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            store.put(&location, flipped.into()).await.expect("put");
            match load(&store).await {
                Ok(state) => {
                    assert_eq!(state, *expected, "{path}, bit {bit}");
                    assert_ne!(path, entry_path(65), "bit {bit}");
                }
                Err(error) => assert_eq!(path, entry_path(65), "bit {bit}: {error}"),
            }
        }
        store.put(&location, good.into()).await.expect("put");
    }
}

#[tokio::test]
async fn of_ten_thousand_ambiguous_commits_each_happens_once() {
    let inner = memory();
    let faults = Arc::new(FaultStore::calm(Arc::clone(&inner)));
    let store: Arc<dyn ObjectStore> = Arc::clone(&faults) as _;
    let policy = RetryPolicy { deadline: Duration::from_millis(3), attempts_max: 3, ..POLICY };
    let (log, _) = ManifestLog::open(env(&store, POLICY), writer(1)).await.expect("open");
    drop(log);
    let (log, _) = ManifestLog::open(env(&store, policy), writer(2)).await.expect("open");
    let odds = Odds { before: 0.1, answer_lost: 0.3, hang: 0.002, busy: 0.1 };
    let seeded = seed();
    let mut rng = StdRng::seed_from_u64(seeded);
    faults.set_plan(move |_| {
        let mut drawn: f64 = rng.random();
        [
            (odds.before, Fault::Before),
            (odds.answer_lost, Fault::AnswerLost),
            (odds.hang, Fault::Hang),
            (odds.busy, Fault::Busy),
        ]
        .into_iter()
        .find_map(|(odds, fault)| {
            drawn -= odds;
            (drawn < 0.0).then_some(fault)
        })
    });
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

#[derive(Debug, Default)]
struct CrashAtCheckpoint(AtomicBool);

impl CrashPoints for CrashAtCheckpoint {
    fn reach(&self, point: CrashPoint) -> io::Result<()> {
        assert_eq!(point, CrashPoint::ManifestCheckpoint);
        self.0.store(true, Ordering::SeqCst);
        Err(io::Error::other("a crash"))
    }
}

#[tokio::test]
async fn a_crash_before_a_checkpoint_loses_nothing() {
    let store = memory();
    let crash = Arc::new(CrashAtCheckpoint::default());
    let crashing = ManifestEnv { crash_points: Arc::clone(&crash) as _, ..env(&store, POLICY) };
    let (log, _) = ManifestLog::open(crashing, writer(1)).await.expect("open");
    for generation in 1..63 {
        log.commit(flush(generation)).await.expect("commit");
    }
    let error = log.commit(flush(63)).await.expect_err("a crash");
    assert!(matches!(error, ManifestError::Stopped(_)), "{error}");
    assert!(crash.0.load(Ordering::SeqCst));
    drop(log);
    let log = open(&store, 2).await;
    assert_eq!(log.state().generation, 63);
    assert!(fault_store::paths(&*store).await.expect("list").contains(&checkpoint_path(65)));
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
async fn a_change_that_does_not_fit_is_not_written() {
    let store = memory();
    let log = open(&store, 1).await;
    log.commit(flush(5)).await.expect("commit");
    for wrong in [flush(5), flush(4), Commit { segments_removed: vec![Ulid(77)], ..flush(6) }] {
        let error = log.commit(wrong).await.expect_err("it does not fit");
        assert!(matches!(error, ManifestError::Misfit { version: 2, .. }), "{error}");
    }
    assert_eq!(log.commit(flush(6)).await.expect("commit").version, 3);
}

#[tokio::test]
async fn someone_elses_bytes_at_the_next_version_are_damage_and_not_a_success() {
    let store = memory();
    let log = open(&store, 1).await;
    store.put(&Path::from(entry_path(2)), "not an entry".into()).await.expect("put");
    for _ in 0..2 {
        let error = log.commit(flush(1)).await.expect_err("damaged");
        assert!(
            matches!(&error, ManifestError::Damaged { object, .. } if *object == entry_path(2)),
            "{error}"
        );
        log.check_epoch().await.expect_err("damaged");
    }
    // An entry that claims this very epoch: the rules leave no way for it to be there.
    let mut twin =
        Entry::decode(&fault_store::read(&*store, &entry_path(1)).await.expect("read")).expect("an entry");
    twin.version = 2;
    store.put(&Path::from(entry_path(2)), twin.encode().expect("encode").into()).await.expect("put");
    let error = log.commit(flush(1)).await.expect_err("damaged");
    assert!(matches!(error, ManifestError::Damaged { .. }), "{error}");
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
