//! The whole store when parts of it fail: what it refuses, when it stops for good, and how it goes on.
//!
//! Files, clock and object store are simulated. What is waited for has a generous deadline, so that a
//! store that never gets there fails the test.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use tracelake_format::wal::Compression;
use tracelake_model::{ErrorKind, TenantId, TraceId};
use tracelake_otlp::DecodeLimits;
use tracelake_store::compaction::policy::CompactionPolicy;
use tracelake_store::env::fault_store::{Call, Fault, FaultStore, Operation};
use tracelake_store::env::sim::SimFiles;
use tracelake_store::env::{Clock, CrashPoint, CrashPoints, NoCrashes};
use tracelake_store::wal::{AfterPublish, Append, Wal, WalOptions, WalSink};
use tracelake_store::{Encoding, Store, StoreError, StoreOptions};
use ulid::Ulid;

use crate::support::{find, idle};

const PATIENCE: Duration = Duration::from_secs(60);
const DIR: &str = "/wal";

/// A clock that goes only when it is told to, and that can be broken for the WAL's thread.
#[derive(Debug)]
struct TestClock {
    now_unix_nano: AtomicU64,
    broken: AtomicBool,
}

impl Clock for TestClock {
    fn now_unix_nano(&self) -> u64 {
        let on_the_wals_thread = std::thread::current().name() == Some("tracelake-wal");
        assert!(!(on_the_wals_thread && self.broken.load(Ordering::SeqCst)), "the test breaks the clock");
        self.now_unix_nano.load(Ordering::SeqCst)
    }
}

impl TestClock {
    fn advance(&self, by: Duration) {
        self.now_unix_nano.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

struct World {
    files: SimFiles,
    objects: Arc<InMemory>,
    faults: Arc<FaultStore>,
    clock: Arc<TestClock>,
}

impl World {
    fn new() -> Self {
        let objects = Arc::new(InMemory::new());
        let inner: Arc<dyn ObjectStore> = Arc::clone(&objects) as _;
        Self {
            files: SimFiles::new(1),
            objects,
            faults: Arc::new(FaultStore::calm(inner)),
            clock: Arc::new(TestClock {
                now_unix_nano: AtomicU64::new(1_760_000_000_000_000_000),
                broken: AtomicBool::new(false),
            }),
        }
    }

    fn options(&self) -> StoreOptions {
        StoreOptions {
            files: Arc::new(self.files.clone()),
            clock: Arc::clone(&self.clock) as _,
            generation_age_max: Duration::from_secs(3600),
            ..StoreOptions::new(Arc::clone(&self.faults) as _, PathBuf::from(DIR), 7)
        }
    }

    async fn open(&self) -> Store {
        Store::open(self.options()).await.expect("it opens")
    }

    /// Puts of objects whose path begins or ends so fail.
    fn fail_puts(&self, path: &'static str, fault: Fault) {
        self.faults.set_plan(move |call| is_put_of(call, path).then_some(fault));
    }
}

fn is_put_of(call: Call<'_>, path: &str) -> bool {
    let name: &str = call.path.as_ref();
    call.operation == Operation::Put && (name.starts_with(path) || name.ends_with(path))
}

/// Looks random, as real ones do: a directory of them takes its space.
fn trace_id(number: u64) -> TraceId {
    let mut bytes = [0xcd; 16];
    bytes[..8].copy_from_slice(&(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    bytes[8..].copy_from_slice(&(number + 1).wrapping_mul(0xC2B2_AE3D_27D4_EB4F).to_be_bytes());
    TraceId::from_bytes(&bytes).expect("not zero")
}

/// A span with an attribute of this size.
fn request(number: u64, attribute_bytes: usize) -> Bytes {
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"00000000000000a1",
        "name":"n","startTimeUnixNano":"1700000000000000000",
        "attributes":[{{"key":"a","value":{{"stringValue":"{}"}}}}]}}]}}]}}]}}"#,
        trace_id(number),
        "x".repeat(attribute_bytes),
    )
    .into()
}

async fn ingest(store: &Store, number: u64) -> Result<u64, StoreError> {
    let ingested = store.ingest(&TenantId::default(), Encoding::Json, request(number, 10)).await?;
    Ok(ingested.spans_accepted)
}

/// How many rows each trace has.
async fn rows(store: &Store, numbers: impl IntoIterator<Item = u64>) -> BTreeMap<u64, usize> {
    let tenant = TenantId::default();
    let snapshot = store.snapshot();
    let mut rows = BTreeMap::new();
    for number in numbers {
        let id = trace_id(number);
        let in_memory = snapshot.memtables().flat_map(|memtable| memtable.find(&tenant, &id, usize::MAX).0);
        let mut count = in_memory.map(|part| part.rows.len()).sum();
        for entry in &snapshot.manifest.segments {
            let found = find(store, entry, &tenant, &id).await.expect("it is readable");
            count += found.iter().flat_map(|found| &found.batches).map(|batch| batch.len()).sum::<usize>();
        }
        rows.insert(number, count);
    }
    rows
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

async fn failure(store: &Store) -> String {
    tokio::time::timeout(PATIENCE, store.failed()).await.expect("it stops for good")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_synced_stops_the_store_for_good() {
    for (path, flushes) in [("segments/", 1), ("manifest/", 1), (".checkpoint", 70)] {
        let world = World::new();
        let store = world.open().await;
        let mut first = true;
        world.faults.set_plan(move |call| {
            if first && is_put_of(call, path) {
                first = false;
                return Some(Fault::SyncFailed);
            }
            // As the local store does: it takes no more writes.
            (!first && call.operation == Operation::Put).then_some(Fault::SyncRefused)
        });
        let mut acked = Vec::new();
        for number in 0..flushes {
            if ingest(&store, number).await.is_err() {
                break;
            }
            acked.push(number);
            if store.flush().await.is_err() {
                break;
            }
        }
        let reason = failure(&store).await;
        assert!(reason.contains("fsync"), "{path}: {reason}");
        assert!(store.not_ready().is_some_and(|why| why.contains("fsync")), "{path}");
        let refused = ingest(&store, 1_000).await.expect_err("nothing is acknowledged any more");
        assert!(matches!(refused, StoreError::Stopped { .. }), "{path}: {refused}");
        drop(store);

        // A new start finds out what is there.
        world.faults.set_plan(|_| None);
        world.files.kill();
        let store = world.open().await;
        let found = rows(&store, acked.iter().copied()).await;
        assert!(found.values().all(|rows| *rows == 1), "{path}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_wals_thread_stops_the_store() {
    let world = World::new();
    let store = world.open().await;
    ingest(&store, 1).await.expect("it is taken");
    world.clock.broken.store(true, Ordering::SeqCst);
    store.flush().await.expect_err("a new file needs the clock");
    assert!(failure(&store).await.contains("panicked"));
    assert!(ingest(&store, 2).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_too_full_for_a_new_wal_file_does_not_keep_a_generation_from_being_flushed() {
    for by_hand in [false, true] {
        let world = World::new();
        let store = world.open().await;
        world.fail_puts("segments/", Fault::Before);
        ingest(&store, 1).await.expect("it is taken");
        store.flush().await.expect_err("the object store is down");
        ingest(&store, 2).await.expect("it is taken");
        assert_eq!(store.status().frozen_generations, 1);
        // Not a byte for another file, until the first one goes.
        world.files.set_capacity(Some(world.files.used()));
        if by_hand {
            // The flusher may be in a pause; it has nothing to do with this.
            world.faults.set_plan(|_| None);
            store.flush().await.expect("what waits is flushed, which makes room");
        } else {
            world.clock.advance(Duration::from_secs(2 * 3600));
            until("a rotation was tried", || store.status().flush_error.is_some()).await;
            world.faults.set_plan(|_| None);
        }
        until("both generations are flushed", || store.status().segments == 2).await;
        assert_eq!(store.status().memtable_spans, 0);
        ingest(&store, 3).await.expect("it is taken");
        assert!(rows(&store, 1..=3).await.values().all(|rows| *rows == 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_faster_than_it_is_flushed_is_sent_away_until_there_is_room() {
    let world = World::new();
    let options = StoreOptions { generation_bytes_max: 1, frozen_generations_max: 1, ..world.options() };
    let store = Store::open(options).await.expect("it opens");
    world.fail_puts("segments/", Fault::Before);
    let mut taken = 0;
    let error = loop {
        match ingest(&store, taken).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100, "memory is not bounded");
    };
    assert!(matches!(error, StoreError::Busy), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retry_after().is_some());
    // One frozen, one full.
    assert_eq!(taken, 2);
    // Who waits for room gets it.
    let waiting = tokio::spawn({
        let store = store.clone();
        async move {
            loop {
                match ingest(&store, 50).await {
                    Err(StoreError::Busy) => {}
                    outcome => return outcome,
                }
            }
        }
    });
    world.faults.set_plan(|_| None);
    let outcome = tokio::time::timeout(PATIENCE, waiting).await.expect("there is room").expect("no panic");
    assert_eq!(outcome.expect("it is taken"), 1);
    assert!(rows(&store, [0, 1, 50]).await.values().all(|rows| *rows == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_too_many_segments_wait_to_be_merged_nothing_is_taken_and_it_is_said_why() {
    let world = World::new();
    let compaction = CompactionPolicy { flushed_segments_waiting_max: 3, ..idle() };
    let store = Store::open(StoreOptions { compaction, ..world.options() }).await.expect("it opens");
    for number in 0..3 {
        ingest(&store, number).await.expect("it is taken");
        store.flush().await.expect("a flush");
    }
    let error = ingest(&store, 3).await.expect_err("three wait");
    assert!(matches!(error, StoreError::Backlogged { waiting: 3, waiting_max: 3 }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retry_after().is_some());
    assert_eq!(store.status().compaction.waiting_segments, 3);
    store.compact().await.expect("they are merged");
    ingest(&store, 3).await.expect("it is taken");
    assert!(rows(&store, 0..=3).await.values().all(|rows| *rows == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_takes_so_many_tenants_and_the_next_one_as_many() {
    let world = World::new();
    let store = world.open().await;
    let send = async |tenant: usize, number: u64| {
        let tenant: TenantId = format!("tenant-{tenant}").parse().expect("a valid name");
        store.ingest(&tenant, Encoding::Json, request(number, 1)).await
    };
    for tenant in 0..1_024 {
        send(tenant, 1).await.expect("it is taken");
    }
    let error = send(1_024, 1).await.expect_err("one too many");
    assert!(matches!(error, StoreError::TooManyTenants { tenants: 1_024 }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert!(error.retry_after().is_some());
    send(7, 2).await.expect("one that is known has more");
    store.flush().await.expect("a flush");
    send(1_024, 1).await.expect("a new generation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_wal_is_flushed_when_senders_pause() {
    let world = World::new();
    let limits = DecodeLimits { attribute_value_bytes_max: usize::MAX, ..DecodeLimits::default() };
    let store =
        Store::open(StoreOptions { decode_limits: limits, ..world.options() }).await.expect("it opens");
    let large = request(1, 33 << 20);
    store.ingest(&TenantId::default(), Encoding::Json, large).await.expect("it is taken");
    assert!(store.status().wal_bytes > 32 << 20, "{:?}", store.status());
    assert_eq!(store.status().segments, 0, "neither old nor full");
    world.clock.advance(Duration::from_secs(5));
    until("it is flushed", || store.status().segments == 1).await;
    assert_eq!(store.status().memtable_spans, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_replaced_stops_also_when_it_has_nothing_to_do() {
    let world = World::new();
    let first = world.open().await;
    let other_disk = StoreOptions { files: Arc::new(SimFiles::new(2)), ..world.options() };
    let second = Store::open(StoreOptions { random_seed: 8, ..other_disk }).await.expect("it opens");
    assert!(failure(&first).await.contains("took the store over"));
    ingest(&first, 1).await.expect_err("nothing is acknowledged any more");
    ingest(&second, 1).await.expect("the second goes on");
    assert_eq!(second.status().failure, None);
}

/// Stops the store at one step.
#[derive(Debug)]
struct StopAt(CrashPoint);

impl CrashPoints for StopAt {
    fn reach(&self, point: CrashPoint) -> io::Result<()> {
        if point == self.0 { Err(io::Error::other("the test stops here")) } else { Ok(()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_removes_what_is_covered() {
    let world = World::new();
    let options = StoreOptions { crash_points: Arc::new(StopAt(CrashPoint::WalRemove)), ..world.options() };
    let store = Store::open(options).await.expect("it opens");
    ingest(&store, 1).await.expect("it is taken");
    // Whoever flushes it is stopped before the removal: this call, or the flusher before it.
    drop(store.flush().await);
    assert_eq!(store.status().segments, 1);
    let covered = Path::new(DIR).join(format!("{:020}.wal", 1));
    assert!(world.files.paths().contains(&covered), "the crash kept it");
    drop(store);
    world.files.kill();
    let store = world.open().await;
    assert!(!world.files.paths().contains(&covered), "{:?}", world.files.paths());
    assert_eq!(store.status().recovery.spans, 0);
    assert_eq!(rows(&store, [1]).await[&1], 1);
}

/// Protobuf: a field with bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, bytes.len() as u8];
    out.extend_from_slice(bytes);
    out
}

/// An OTLP request with a span for each trace ID.
fn protobuf(traces: &[[u8; 16]]) -> Vec<u8> {
    let spans = traces.iter().flat_map(|id| field(2, &[field(1, id), field(2, &[5; 8])].concat()));
    field(1, &field(2, &spans.collect::<Vec<u8>>()))
}

struct Nobody;

impl WalSink<()> for Nobody {
    fn publish(&mut self, _: Vec<()>) -> AfterPublish {
        AfterPublish::Continue
    }
    fn rotated(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn recent_requests(&mut self) -> Vec<(u128, u64)> {
        Vec::new()
    }
    fn poisoned(&mut self, _: &str) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_does_not_decode_is_reported_and_stops_no_start() {
    let world = World::new();
    let options = WalOptions {
        files: Arc::new(world.files.clone()),
        clock: Arc::clone(&world.clock) as _,
        crash_points: Arc::new(NoCrashes),
        dir: PathBuf::from(DIR),
        wal: Ulid(5),
        sequence: 1,
        previous_bytes: 0,
        seed: 1,
        compression: Compression::None,
    };
    let wal = Wal::start(options, Nobody).expect("it starts");
    let whole = *trace_id(1).as_bytes();
    let payloads =
        [("sound", protobuf(&[whole])), ("broken", vec![0xff; 9]), ("partly", protobuf(&[whole, [0; 16]]))];
    for (number, (tenant, payload)) in payloads.into_iter().enumerate() {
        let append = Append {
            tenant: tenant.parse().expect("a valid name"),
            arrival_unix_nano: 1,
            request_hash: number as u128,
            span_count: 2,
            start_unix_nano_min: 0,
            start_unix_nano_max: 1,
            payload: payload.into(),
            attached: (),
        };
        wal.append(append).await.expect("the disk is well");
    }
    wal.close().await;
    world.fail_puts("segments/", Fault::Before);
    for _ in 0..2 {
        let store = world.open().await;
        let recovery = store.status().recovery;
        let [damage] = recovery.damage.as_slice() else { unreachable!("one file: {recovery:?}") };
        for part in [
            "2 spans in 1 requests of tenant broken",
            "1 spans in 1 requests of tenant partly",
            "started 1970-01-01T00:00:00Z",
            "kept as /wal/quarantine/00000000000000000001.wal",
        ] {
            assert!(damage.contains(part), "{damage:?} says {part:?}");
        }
        let snapshot = store.snapshot();
        for (tenant, expected) in [("sound", 1), ("broken", 0), ("partly", 1)] {
            let tenant = tenant.parse().expect("a valid name");
            let found = snapshot.memtables().flat_map(|memtable| memtable.find(&tenant, &trace_id(1), 9).0);
            assert_eq!(found.map(|part| part.rows.len()).sum::<usize>(), expected, "{tenant}");
        }
        drop(store);
        world.files.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_filter_costs_time_and_no_answer() {
    let world = World::new();
    let store = world.open().await;
    // So many that rows and filter share no block of the checksum table.
    for number in 0..1_000 {
        ingest(&store, number).await.expect("it is taken");
    }
    store.flush().await.expect("a flush");
    let entry = store.snapshot().manifest.segments[0].clone();
    drop(store);
    world.files.kill();
    let path = ObjectPath::from(entry.path.as_str());
    let mut bytes = world.objects.get(&path).await.expect("there").bytes().await.expect("bytes").to_vec();
    bytes[entry.meta.filter.offset as usize + 20] ^= 1;
    world.objects.put(&path, bytes.clone().into()).await.expect("put");
    // Filters are read after a start, before anyone asks.
    let store = world.open().await;
    let found = rows(&store, 900..1_100).await;
    assert!(found.iter().all(|(number, rows)| *rows == usize::from(*number < 1_000)), "{found:?}");
    // A filter that cannot be read is read once; what it would have spared is kept.
    let reads = Arc::new(AtomicU64::new(0));
    let (counted, counted_path) = (Arc::clone(&reads), path.clone());
    world.faults.set_plan(move |call| {
        counted.fetch_add(u64::from(*call.path == counted_path), Ordering::SeqCst);
        None
    });
    let tenant = TenantId::default();
    find(&store, &entry, &tenant, &trace_id(3)).await.expect("whole");
    find(&store, &entry, &tenant, &trace_id(2_000)).await.expect("whole");
    assert_eq!(reads.load(Ordering::SeqCst), 0);

    // What the directory says is another matter.
    bytes[entry.meta.directory.offset as usize + 20] ^= 1;
    world.objects.put(&path, bytes.into()).await.expect("put");
    drop(store);
    world.files.kill();
    let store = world.open().await;
    let error = find(&store, &entry, &tenant, &trace_id(3)).await.expect_err("damaged");
    assert!(error.to_string().contains(&entry.path), "{error}");
}
