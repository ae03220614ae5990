//! The manifest's log: what is read back, from which objects, and what damage does.

mod faults;
mod writers;

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

const WAL: Ulid = Ulid(0xA1);

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
        level: 0,
        generation_min: number,
        generation_max: number,
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
        value_filters: None,
        index: None,
        checksums: section,
        footer: section,
    };
    SegmentEntry { path: format!("segments/{id}.parquet"), meta }
}

/// Generation `number`, with one segment; the one from 20 generations ago goes.
fn flush(number: u64) -> Commit {
    Commit {
        flushed: Some(Flushed { generation: number, wal: WAL, wal_covered: number }),
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
            assert_eq!((state.generation, state.covered(WAL)), (generation, Some(generation)));
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
async fn a_check_finds_damage_that_no_start_would_meet() {
    let store = memory();
    let log = open(&store, 1).await;
    for generation in 1..=129 {
        log.commit(flush(generation)).await.expect("commit");
    }
    let check = async || ManifestLog::check(Arc::clone(&store), POLICY).await.expect("a list");
    let found = check().await;
    assert_eq!(found.state.expect("a state"), *log.state());
    assert_eq!((found.objects_checked, found.damaged.len()), (132, 0), "{:?}", found.damaged);

    // A checkpoint with nothing wrong in itself, of another history.
    let mut other =
        State::decode_checkpoint(&fault_store::read(&*store, &checkpoint_path(64)).await.expect("read"))
            .expect("a checkpoint");
    other.segments.pop();
    let bytes = other.encode_checkpoint().expect("encode");
    damage(&*store, &checkpoint_path(64), |object| *object = bytes).await;
    damage(&*store, &entry_path(70), |bytes| bytes[50] ^= 1).await;
    store.delete(&Path::from(entry_path(90))).await.expect("delete");
    let found = check().await;
    assert_eq!(found.state.expect("from the checkpoint at 128"), *log.state());
    let objects: Vec<_> = found.damaged.iter().map(ToString::to_string).collect();
    assert_eq!(objects.len(), 2, "{objects:?}");
    assert!(objects[0].contains(&checkpoint_path(64)) && objects[1].contains(&entry_path(70)), "{objects:?}");
}

#[tokio::test]
async fn a_checkpoint_of_a_newer_build_is_not_passed_over() {
    let store = memory();
    let log = open(&store, 1).await;
    for generation in 1..=CHECKPOINT_INTERVAL {
        log.commit(flush(generation)).await.expect("commit");
    }
    damage(&*store, &checkpoint_path(64), |bytes| {
        bytes[8] = 200;
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
        let change =
            Commit { flushed: Some(Flushed { generation, wal: WAL, wal_covered: 0 }), ..Commit::default() };
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
