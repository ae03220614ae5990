//! Backups of a store that goes on, interrupted ones, and stores made of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tracelake_format::manifest::BackupName;
use tracelake_model::{ErrorKind, TenantId, TraceId};
use tracelake_store::backup::{BackupError, BackupSummary, back_up, backups, restore};
use tracelake_store::env::SystemClock;
use tracelake_store::env::fault_store::{Fault, FaultStore, Operation};
use tracelake_store::env::sim::SimFiles;
use tracelake_store::{Encoding, Store, StoreOptions};

use crate::support::{find, idle};

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

async fn open(objects: &Arc<dyn ObjectStore>) -> Store {
    let options = StoreOptions {
        files: Arc::new(SimFiles::new(1)),
        compaction: idle(),
        ..StoreOptions::new(Arc::clone(objects), PathBuf::from("/wal"), rand::random())
    };
    Store::open(options).await.expect("it opens")
}

/// A segment with a trace of three spans for each number.
async fn add(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let span = |id: u64| {
            format!(
                r#"{{"traceId":"{number:032x}","spanId":"{id:016x}","name":"n","startTimeUnixNano":"5"}}"#
            )
        };
        let spans = [span(1), span(2), span(3)].join(",");
        let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
        let taken = store.ingest(&TenantId::default(), Encoding::Json, Bytes::from(body)).await;
        taken.expect("it is taken");
        store.flush().await.expect("a flush");
    }
}

async fn rows(store: &Store, number: u64) -> u64 {
    let id = TraceId::from_bytes(&u128::from(number).to_be_bytes()).expect("not zero");
    let mut rows = 0;
    for entry in &store.snapshot().manifest.segments {
        let found = find(store, entry, &TenantId::default(), &id).await;
        rows += found.expect("a readable segment").map_or(0, |found| found.rows_total);
    }
    rows
}

async fn backup(
    from: &Arc<dyn ObjectStore>,
    to: &Arc<dyn ObjectStore>,
) -> Result<BackupSummary, BackupError> {
    back_up(from, to, None, &SystemClock).await
}

/// The store that a backup becomes has these traces and no other.
async fn becomes(folder: &Arc<dyn ObjectStore>, version: Option<u64>, numbers: std::ops::Range<u64>) -> u64 {
    let target = memory();
    let restored = restore(folder, version, &target, Arc::new(SystemClock), rand::random()).await;
    let restored = restored.expect("a backup");
    let store = open(&target).await;
    assert!(store.snapshot().manifest.epoch > restored.epoch, "each opening has an epoch of its own");
    let segments = store.snapshot().manifest.segments.len() as u64;
    assert_eq!(segments, restored.segments);
    for number in numbers.start.saturating_sub(1).max(1)..=numbers.end {
        let expected = if numbers.contains(&number) { 3 } else { 0 };
        assert_eq!(rows(&store, number).await, expected, "trace {number}");
    }
    store.shutdown().await.expect("a clean end");
    restored.version
}

async fn objects(store: &Arc<dyn ObjectStore>) -> Vec<String> {
    let all: Vec<_> = store.list(None).try_collect().await.expect("in memory");
    let mut paths: Vec<String> = all.into_iter().map(|object| object.location.to_string()).collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn each_backup_copies_what_is_new_and_any_can_be_restored() {
    let (source, folder) = (memory(), memory());
    let store = open(&source).await;
    add(&store, 1..4).await;
    let writer = store.snapshot().manifest.writer.clone();
    let first = back_up(&source, &folder, Some(&writer), &SystemClock).await.expect("a backup");
    assert_eq!((first.segments, first.copied_segments, first.flushed, first.begun_again), (3, 3, true, 0));
    assert_eq!((first.bytes, first.copied_bytes), (store.status().segment_bytes, first.bytes));
    add(&store, 4..6).await;
    let second = back_up(&source, &folder, Some("somebody"), &SystemClock).await.expect("a backup");
    assert_eq!((second.segments, second.copied_segments, second.flushed), (5, 2, false));
    let again = backup(&source, &folder).await.expect("nothing is new");
    assert_eq!((again.version, again.copied_segments), (second.version, 0));
    store.compact().await.expect("a merge");
    let merged = backup(&source, &folder).await.expect("a backup");
    assert!(merged.copied_segments == 1 && merged.segments == 1, "{merged:?}");

    let names = backups(&folder).await.expect("a list");
    assert_eq!(names, [first.version, second.version, merged.version].map(BackupName));
    assert_eq!(becomes(&folder, None, 1..6).await, merged.version);
    assert_eq!(becomes(&folder, Some(first.version), 1..4).await, first.version);
    let missing = restore(&folder, Some(99), &memory(), Arc::new(SystemClock), 1).await;
    assert_eq!(missing.expect_err("no such backup").kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backup_is_none_and_the_next_one_goes_on() {
    let source = memory();
    let store = open(&source).await;
    add(&store, 1..4).await;
    for stop_at in 0.. {
        let inner = memory();
        let folder: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(&inner), move |call| {
            (call.number >= stop_at).then_some(Fault::Before)
        }));
        if backup(&source, &folder).await.is_ok() {
            assert!(stop_at > 6, "{stop_at}");
            break;
        }
        assert_eq!(backups(&inner).await.expect("a list"), [], "after {stop_at} calls");
        let refused = restore(&inner, None, &memory(), Arc::new(SystemClock), 1).await;
        assert!(matches!(refused, Err(BackupError::None)), "{refused:?}");
        let kept = objects(&inner).await.len() as u64;
        let summary = backup(&source, &inner).await.expect("nothing disturbs it");
        assert_eq!(summary.copied_segments, 3 - kept, "what is whole is not copied again");
        becomes(&inner, None, 1..4).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_interrupted_leaves_nothing_that_opens_as_a_store() {
    let (source, folder) = (memory(), memory());
    let store = open(&source).await;
    add(&store, 1..3).await;
    backup(&source, &folder).await.expect("a backup");
    for stop_at in 0.. {
        let inner = memory();
        let target: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(&inner), move |call| {
            (call.number >= stop_at).then_some(Fault::Before)
        }));
        // Not while the manifest is opened, which tries again for seconds.
        let restored = restore(&folder, None, &target, Arc::new(SystemClock), 1).await;
        let left = objects(&inner).await;
        let manifest = left.iter().any(|path| path.starts_with("manifest/"));
        if manifest {
            assert!(left.iter().filter(|path| path.starts_with("segments/")).count() == 2, "{left:?}");
            break;
        }
        assert!(restored.is_err());
        if !left.is_empty() {
            // The next one goes on; what is of no backup is left alone.
            let other = Path::from("segments/other");
            inner.put(&other, "other".into()).await.expect("put");
            let refused = restore(&folder, None, &inner, Arc::new(SystemClock), 1).await;
            assert!(matches!(refused, Err(BackupError::NotEmpty { .. })), "{refused:?}");
            inner.delete(&other).await.expect("delete");
            restore(&folder, None, &inner, Arc::new(SystemClock), 1).await.expect("it goes on");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_meanwhile_makes_it_begin_again() {
    let (inner, folder) = (memory(), memory());
    let store = open(&inner).await;
    add(&store, 1..4).await;
    let victims: Vec<String> =
        store.snapshot().manifest.segments.iter().map(|segment| segment.path.clone()).collect();
    // The reader has the manifest of before when the files go.
    let reads = Arc::new(AtomicU64::new(0));
    let (counted, held) = (Arc::clone(&reads), Arc::new(std::sync::Mutex::new(())));
    let guard = Arc::clone(&held);
    let source: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(&inner), move |call| {
        if call.path.as_ref().starts_with("segments/") && call.operation == Operation::Get {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(guard.lock().expect("no panic"));
        }
        None
    }));
    let copying = {
        let stopped = held.lock().expect("no panic");
        let (source, folder) = (Arc::clone(&source), Arc::clone(&folder));
        let copying = tokio::spawn(async move { backup(&source, &folder).await });
        while reads.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let (inner, store) = (Arc::clone(&inner), store.clone());
        let deleted = tokio::spawn(async move {
            store.compact().await.expect("a merge");
            for path in victims {
                inner.delete(&Path::from(path)).await.expect("in memory");
            }
        });
        while !deleted.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        drop(stopped);
        copying
    };
    let summary = copying.await.expect("no panic").expect("a backup of the version of then");
    assert_eq!((summary.begun_again, summary.segments), (1, 1));
    becomes(&folder, None, 1..4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_on_the_way_and_a_damaged_copy_is_made_anew() {
    let (source, folder) = (memory(), memory());
    let store = open(&source).await;
    add(&store, 1..3).await;
    backup(&source, &folder).await.expect("a backup");
    let entry = store.snapshot().manifest.segments[1].clone();
    let path = Path::from(entry.path.as_str());
    let good = source.get(&path).await.expect("in memory").bytes().await.expect("in memory");
    let sections =
        [4, entry.meta.directory.offset, entry.meta.checksums.offset + 30, entry.meta.footer.offset];
    for at in sections.into_iter().chain([entry.meta.size_bytes - 1]) {
        let mut bad = good.to_vec();
        bad[usize::try_from(at).expect("small")] ^= 0x20;
        let bad = PutPayload::from(bad);
        folder.put(&path, bad.clone()).await.expect("in memory");
        let refused = restore(&folder, None, &memory(), Arc::new(SystemClock), 1).await;
        assert_eq!(refused.expect_err("damage").kind(), ErrorKind::Corrupt, "byte {at}");
        let mended = backup(&source, &folder).await.expect("the good one takes its place");
        assert_eq!(mended.copied_segments, 1);
        becomes(&folder, None, 1..3).await;

        let other = memory();
        source.put(&path, bad).await.expect("in memory");
        let error = backup(&source, &other).await.expect_err("damage");
        assert!(error.to_string().contains(&entry.path), "byte {at}: {error}");
        assert_eq!(backups(&other).await.expect("a list"), []);
        source.put(&path, PutPayload::from_bytes(good.clone())).await.expect("in memory");
    }
    source.put(&path, PutPayload::from_bytes(good.slice(..good.len() - 1))).await.expect("in memory");
    let error = backup(&source, &memory()).await.expect_err("it was cut");
    assert!(error.to_string().contains("bytes instead of"), "{error}");
    source.delete(&path).await.expect("in memory");
    let error = backup(&source, &memory()).await.expect_err("it is missing");
    assert!(matches!(error, BackupError::Gone { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_store_or_another_one_is_refused() {
    let folder = memory();
    assert!(matches!(backup(&memory(), &folder).await, Err(BackupError::NoStore)));
    let (one, other) = (memory(), memory());
    for source in [&one, &other] {
        let store = open(source).await;
        add(&store, 1..2).await;
        store.shutdown().await.expect("a clean end");
    }
    let first = backup(&one, &folder).await.expect("a backup");
    let refused = backup(&other, &folder).await;
    assert!(
        matches!(refused, Err(BackupError::OtherStore { version }) if version == first.version),
        "{refused:?}"
    );
    let damaged = Path::from("backups").join(BackupName(first.version).to_string());
    folder.put(&damaged, PutPayload::from_static(b"?")).await.expect("in memory");
    let refused = restore(&folder, None, &memory(), Arc::new(SystemClock), 1).await;
    assert_eq!(refused.expect_err("damage").kind(), ErrorKind::Corrupt);
}
