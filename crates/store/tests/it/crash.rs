//! The whole store, crashed at every step and opened again: every acknowledged span is there once,
//! none twice, and none that was never sent.
//!
//! Files and object store are simulated from a seed (`TRACELAKE_TEST_SEED` chooses another). After a
//! crash nothing of the old life does anything any more: its runtime is gone, its files are dead, its
//! object store refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Runtime;
use tracelake_model::{SpanId, TenantId, TraceId};
use tracelake_store::compaction::policy::CompactionPolicy;
use tracelake_store::env::fault_store::{Fault as StoreFault, FaultStore, Odds, Operation};
use tracelake_store::env::sim::{Fault, SimFiles};
use tracelake_store::env::{CrashPoint, CrashPoints};
use tracelake_store::retention::{RetentionLimits, RetentionPolicy};
use tracelake_store::{Encoding, Store, StoreOptions};

use crate::support::find;

const SPANS_PER_REQUEST: u8 = 3;

fn seed() -> u64 {
    let seed = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("TRACELAKE_TEST_SEED={seed}");
    seed
}

/// Stops the store where it stands when a point is reached for the nth time.
#[derive(Debug)]
struct Crasher {
    at: Option<CrashPoint>,
    passes: AtomicU64,
    crashed: AtomicBool,
    files: SimFiles,
    store: Arc<FaultStore>,
}

impl Crasher {
    fn crash(&self) {
        self.files.power_cut();
        self.store.set_plan(|_| Some(StoreFault::Before));
        // Last: who sees it starts the next life.
        self.crashed.store(true, Ordering::SeqCst);
    }
}

impl CrashPoints for Crasher {
    fn reach(&self, point: CrashPoint) -> io::Result<()> {
        if Some(point) == self.at && self.passes.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.crash();
        }
        if self.crashed.load(Ordering::SeqCst) { Err(io::Error::other("crashed")) } else { Ok(()) }
    }
}

/// What was sent, and whether it was acknowledged. Request `n` is trace `n`.
#[derive(Debug, Default)]
struct Sent {
    acknowledged: BTreeMap<u64, bool>,
}

/// The world that outlives a process.
struct World {
    files: SimFiles,
    objects: Arc<InMemory>,
    sent: Arc<Mutex<Sent>>,
    next_request: Arc<AtomicU64>,
    random: StdRng,
    /// How many flushed segments are merged.
    merged_segments: usize,
    deletion_grace: Duration,
    retention: RetentionPolicy,
}

/// One life of the process.
struct Life {
    runtime: Runtime,
    store: Store,
    crasher: Arc<Crasher>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            files: SimFiles::new(seed),
            objects: Arc::new(InMemory::new()),
            sent: Arc::default(),
            next_request: Arc::new(AtomicU64::new(1)),
            random: StdRng::seed_from_u64(seed),
            merged_segments: 3,
            deletion_grace: Duration::from_secs(300),
            retention: RetentionPolicy::default(),
        }
    }

    /// None: it crashed while it was opened.
    fn start(&mut self, at: Option<CrashPoint>, passes: u64, odds: Odds, cut: Option<u64>) -> Option<Life> {
        self.files.restart();
        if let Some(nth) = cut {
            self.files.fail_nth(nth, Fault::PowerCut);
        }
        let objects: Arc<dyn ObjectStore> = Arc::clone(&self.objects) as _;
        let store = Arc::new(FaultStore::seeded(objects, self.random.random(), odds));
        let crasher = Arc::new(Crasher {
            at,
            passes: AtomicU64::new(passes),
            crashed: AtomicBool::new(false),
            files: self.files.clone(),
            store: Arc::clone(&store),
        });
        let options = StoreOptions {
            files: Arc::new(self.files.of_new_process()),
            crash_points: Arc::clone(&crasher) as _,
            // A dozen requests a generation, so that a short life has many.
            generation_bytes_max: 16 << 10,
            compaction: CompactionPolicy {
                flushed_segments_max: self.merged_segments,
                similar_slices_max: self.merged_segments,
                ..CompactionPolicy::default()
            },
            deletion_grace: self.deletion_grace,
            retention: self.retention.clone(),
            ..StoreOptions::new(store, PathBuf::from("/wal"), self.random.random())
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let opened = runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), Store::open(options))
                .await
                .expect("it opens or fails")
        });
        match opened {
            Ok(store) => Some(Life { runtime, store, crasher }),
            Err(error) => {
                let expected = at.is_some() || cut.is_some();
                assert!(expected, "a store that nothing disturbs does not open: {error}");
                crasher.crash();
                runtime.shutdown_background();
                None
            }
        }
    }

    /// Several clients send until the process crashes or each has sent `requests`.
    fn send(&self, life: &Life, requests: u64) {
        let clients = (0..4).map(|_| {
            let (store, sent) = (life.store.clone(), Arc::clone(&self.sent));
            let (next, crasher) = (Arc::clone(&self.next_request), Arc::clone(&life.crasher));
            async move {
                for _ in 0..requests {
                    if crasher.crashed.load(Ordering::SeqCst) {
                        return;
                    }
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    sent.lock().expect("no panic").acknowledged.insert(number, false);
                    let tenant = TenantId::default();
                    let ingest = store.ingest(&tenant, Encoding::Json, request(number));
                    let acknowledged = matches!(
                        tokio::time::timeout(Duration::from_secs(20), ingest).await,
                        Ok(Ok(ingested)) if ingested.spans_accepted == u64::from(SPANS_PER_REQUEST)
                    );
                    if acknowledged {
                        sent.lock().expect("no panic").acknowledged.insert(number, true);
                    }
                }
            }
        });
        life.runtime.block_on(futures::future::join_all(clients));
    }

    /// Every request's spans, as the store shows them.
    fn check(&self, life: &Life) {
        self.check_without_counts(life);
        // Rows are counted, so that one stored twice shows even where reading hides it.
        let sent = self.sent.lock().expect("no panic").acknowledged.clone();
        let status = life.store.status();
        let rows = status.segment_rows + status.memtable_spans;
        let most = sent.len() as u64 * u64::from(SPANS_PER_REQUEST);
        let least =
            sent.values().filter(|acknowledged| **acknowledged).count() as u64 * u64::from(SPANS_PER_REQUEST);
        assert!((least..=most).contains(&rows), "{least} <= {rows} <= {most}: {status:?}");
    }

    /// What a crash left that no manifest names goes, and nothing else.
    fn check_files(&self, life: &Life) {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let listed = self.objects.list(Some(&"segments".into())).try_collect::<Vec<_>>();
            let files = life.runtime.block_on(listed).expect("in memory");
            let files: BTreeSet<String> = files.iter().map(|file| file.location.to_string()).collect();
            let snapshot = life.store.snapshot();
            let named = snapshot.manifest.segments.iter().map(|segment| segment.path.clone()).collect();
            if files == named {
                return;
            }
            assert!(files.is_superset(&named), "{files:?} lacks some of {named:?}");
            assert!(std::time::Instant::now() < deadline, "{files:?} instead of {named:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn check_without_counts(&self, life: &Life) {
        let sent = self.sent.lock().expect("no panic").acknowledged.clone();
        life.runtime.block_on(async {
            for (number, acknowledged) in &sent {
                let found = spans_of(&life.store, *number).await;
                let expected: Vec<SpanId> = (1..=SPANS_PER_REQUEST).map(|n| span_id(*number, n)).collect();
                if *acknowledged || !found.is_empty() {
                    assert_eq!(found, expected, "request {number}, acknowledged: {acknowledged}");
                }
            }
            for never_sent in [u64::MAX, u64::MAX - 1] {
                assert!(spans_of(&life.store, never_sent).await.is_empty());
            }
        });
    }
}

impl Life {
    fn end(self) {
        self.crasher.crash();
        self.runtime.shutdown_background();
    }
}

fn trace_id(number: u64) -> TraceId {
    let mut bytes = [0xab; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    TraceId::from_bytes(&bytes).expect("not zero")
}

fn span_id(number: u64, n: u8) -> SpanId {
    let id = number.wrapping_mul(1 << 8) | u64::from(n);
    SpanId::from_bytes(&id.to_be_bytes()).expect("not zero")
}

fn request(number: u64) -> Bytes {
    let spans: Vec<String> = (1..=SPANS_PER_REQUEST)
        .map(|n| {
            format!(
                r#"{{"traceId":"{}","spanId":"{}","name":"step {n}",
                "startTimeUnixNano":"{}","attributes":[{{"key":"n","value":{{"intValue":{n}}}}}]}}"#,
                trace_id(number),
                span_id(number, n),
                1_700_000_000_000_000_000 + number,
            )
        })
        .collect();
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(",")).into()
}

/// All rows of the trace, duplicates included, by span ID.
async fn spans_of(store: &Store, number: u64) -> Vec<SpanId> {
    spans_of_tenant(store, &TenantId::default(), number).await
}

async fn spans_of_tenant(store: &Store, tenant: &TenantId, number: u64) -> Vec<SpanId> {
    let id = trace_id(number);
    let snapshot = store.snapshot();
    let mut found = Vec::new();
    for memtable in snapshot.memtables() {
        let (parts, _) = memtable.find(tenant, &id, usize::MAX);
        for part in parts {
            found.extend(part.rows.iter().map(|row| part.batch.span(*row as usize).span_id()));
        }
    }
    for entry in &snapshot.manifest.segments {
        let part = find(store, entry, tenant, &id).await.expect("a readable segment");
        let batches = part.iter().flat_map(|part| &part.batches);
        found.extend(batches.flat_map(|batch| batch.spans().map(|span| span.span_id())));
    }
    found.sort();
    found
}

#[test]
fn a_crash_at_any_step_loses_nothing_and_doubles_nothing() {
    let seed = seed();
    for point in CrashPoint::OF_INGEST {
        // A checkpoint is due every 64 versions: it takes that many flushes to get there.
        let (passes, requests) = if point == CrashPoint::ManifestCheckpoint { (1, 400) } else { (4, 40) };
        for pass in 0..passes {
            let mut world = World::new(seed + pass);
            let mut crashes = 0;
            for _ in 0..3 {
                if let Some(life) = world.start(Some(point), pass, Odds::default(), None) {
                    world.send(&life, requests);
                    crashes += u64::from(life.crasher.crashed.load(Ordering::SeqCst));
                    life.end();
                } else {
                    crashes += 1;
                }
                let life = world.start(None, 0, Odds::default(), None).expect("nothing disturbs it");
                world.check(&life);
                life.runtime.block_on(life.store.flush()).expect("a flush");
                world.check(&life);
                life.end();
            }
            assert!(crashes > 0, "{point:?} was never reached {pass} times");
        }
    }
}

#[test]
fn a_crash_at_any_step_of_compaction_loses_nothing_and_doubles_nothing() {
    let seed = seed();
    for point in CrashPoint::OF_COMPACTION {
        for pass in 0..2 {
            let mut world = World::new(seed + pass);
            for round in 0..2 {
                world.merged_segments = 2;
                // What was replaced is deleted at once; then what reads must not be in between.
                world.deletion_grace = Duration::ZERO;
                let life = world.start(Some(point), pass, Odds::default(), None).expect("it opens");
                let deadline = std::time::Instant::now() + Duration::from_secs(60);
                while !life.crasher.crashed.load(Ordering::SeqCst) {
                    assert!(std::time::Instant::now() < deadline, "{point:?} is never reached");
                    world.send(&life, 10);
                    // Few enough to be checked one by one: the merge has time to get to the step.
                    std::thread::sleep(Duration::from_millis(100));
                }
                life.end();
                world.merged_segments = usize::MAX;
                let life = world.start(None, 0, Odds::default(), None).expect("nothing disturbs it");
                world.check(&life);
                life.runtime.block_on(life.store.flush()).expect("a flush");
                world.check(&life);
                life.runtime.block_on(life.store.compact()).expect("a merge");
                world.check(&life);
                if round == 1 {
                    world.check_files(&life);
                }
                life.end();
            }
        }
    }
}

/// Segments that expire whole, and such as have spans of others, too.
#[test]
fn a_crash_at_any_step_of_retention_removes_what_expired_and_nothing_else() {
    let seed = seed();
    let short: TenantId = "short".parse().expect("a valid name");
    for point in CrashPoint::OF_RETENTION {
        for pass in 0..2 {
            let mut world = World::new(seed + pass);
            world.merged_segments = usize::MAX;
            world.deletion_grace = Duration::ZERO;
            let life = world.start(None, 0, Odds::default(), None).expect("nothing disturbs it");
            let mut expiring = 0;
            for round in 0..4 {
                if round % 2 == 0 {
                    world.send(&life, 2);
                }
                expiring += 1;
                let expiring = (1 << 40) + expiring;
                life.runtime.block_on(async {
                    let sent = life.store.ingest(&short, Encoding::Json, request(expiring)).await;
                    assert!(sent.is_ok(), "{sent:?}");
                    life.store.flush().await.expect("a flush");
                });
            }
            let segments = life.store.snapshot().manifest.segments.len();
            life.end();

            let limits = RetentionLimits { age_max: Some(Duration::from_secs(1)), bytes_max: None };
            world.retention.tenants.insert(short.clone(), limits);
            if let Some(life) = world.start(Some(point), pass, Odds::default(), None) {
                let deadline = std::time::Instant::now() + Duration::from_secs(60);
                while !life.crasher.crashed.load(Ordering::SeqCst) {
                    assert!(std::time::Instant::now() < deadline, "{point:?} is never reached {pass} times");
                    let applied = life.runtime.block_on(life.store.apply_retention());
                    drop(applied);
                    std::thread::sleep(Duration::from_millis(20));
                }
                life.end();
            }
            let policy = std::mem::take(&mut world.retention);
            let life = world.start(None, 0, Odds::default(), None).expect("nothing disturbs it");
            world.check_without_counts(&life);
            life.end();

            world.retention = policy;
            let life = world.start(None, 0, Odds::default(), None).expect("nothing disturbs it");
            life.runtime.block_on(life.store.apply_retention()).expect("it removes");
            world.check(&life);
            let left = life.store.snapshot().manifest.segments.clone();
            assert_eq!(left.len(), segments / 2, "{point:?}");
            assert!(left.iter().all(|segment| segment.meta.tenant(&short).is_none()));
            for number in 1..=expiring {
                let found = life.runtime.block_on(spans_of_tenant(&life.store, &short, (1 << 40) + number));
                assert_eq!(found, [], "{point:?}");
            }
            life.end();
        }
    }
}

#[test]
fn a_retention_whose_answers_are_lost_removes_once_and_nothing_else() {
    let mut world = World::new(seed());
    world.merged_segments = usize::MAX;
    let short: TenantId = "short".parse().expect("a valid name");
    let limits = RetentionLimits { age_max: Some(Duration::from_secs(1)), bytes_max: None };
    world.retention.tenants.insert(short.clone(), limits);
    let life = world.start(None, 0, Odds::default(), None).expect("nothing disturbs it");
    world.send(&life, 2);
    life.runtime.block_on(life.store.flush()).expect("a flush");
    // The commit is done at once; nobody hears of it before so many tries, more than one call makes.
    for (round, tries) in [(1, 1), (2, 6)] {
        life.runtime.block_on(async {
            let sent = life.store.ingest(&short, Encoding::Json, request((1 << 40) + round)).await;
            assert!(sent.is_ok(), "{sent:?}");
            life.store.flush().await.expect("a flush");
        });
        let mut puts = 0;
        life.crasher.store.set_plan(move |call| {
            let entry = call.operation == Operation::Put && call.path.as_ref().starts_with("manifest/");
            puts += u64::from(entry);
            let fault = if puts == 1 { StoreFault::AnswerLost } else { StoreFault::Before };
            (entry && puts <= tries).then_some(fault)
        });
        life.runtime.block_on(life.store.apply_retention()).expect("it removes");
        let status = life.store.status();
        assert_eq!((status.failure, status.retention.segments_removed), (None, round), "after {tries} tries");
        let left = life.store.snapshot().manifest.segments.clone();
        assert!(left.iter().all(|segment| segment.meta.tenant(&short).is_none()));
        world.check(&life);
    }
    life.end();
}

#[test]
fn power_cuts_at_any_call_and_a_faulty_object_store_lose_nothing() {
    let seed = seed();
    let odds = Odds { before: 0.05, answer_lost: 0.1, hang: 0.0, busy: 0.05 };
    for run in 0..30 {
        let mut world = World::new(seed.wrapping_mul(1_000) + run);
        for _ in 0..4 {
            let cut = world.random.random_range(5..120);
            if let Some(life) = world.start(None, 0, odds, Some(cut)) {
                world.send(&life, 30);
                life.end();
            }
            let life = world.start(None, 0, Odds::default(), None).expect("nothing disturbs it");
            world.check(&life);
            life.end();
        }
    }
}

#[test]
fn a_commit_whose_answer_is_lost_counts_once() {
    let seed = seed();
    let mut world = World::new(seed);
    let life = world.start(None, 0, Odds::default(), None).expect("nothing disturbs it");
    // Every other put of a manifest entry is done and answered with an error.
    let mut puts = 0;
    life.crasher.store.set_plan(move |call| {
        let entry = call.operation == Operation::Put && call.path.as_ref().starts_with("manifest/");
        puts += u64::from(entry);
        (entry && puts % 2 == 1).then_some(StoreFault::AnswerLost)
    });
    world.send(&life, 50);
    life.runtime.block_on(life.store.flush()).expect("a flush");
    world.check(&life);
    let status = life.store.status();
    assert_eq!(status.failure, None);
    assert_eq!(status.segment_rows, 4 * 50 * u64::from(SPANS_PER_REQUEST), "each row once: {status:?}");
    life.end();
}

#[test]
fn of_two_processes_on_one_store_the_first_stops() {
    let mut world = World::new(seed());
    let first = world.start(None, 0, Odds::default(), None).expect("nothing disturbs it");
    world.send(&first, 2);
    first.runtime.block_on(first.store.flush()).expect("a flush");
    // Another machine: its own WAL, the same object store.
    let objects: Arc<dyn ObjectStore> = Arc::clone(&world.objects) as _;
    let options = StoreOptions {
        files: Arc::new(SimFiles::new(2)),
        ..StoreOptions::new(objects, PathBuf::from("/wal"), 99)
    };
    let second = first.runtime.block_on(Store::open(options)).expect("the second opens");
    world.send(&first, 1);
    let flushed = first.runtime.block_on(first.store.flush());
    assert!(flushed.is_err(), "the first must not commit any more");
    let reason = first.runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(10), first.store.failed()).await.expect("it stops")
    });
    assert!(reason.contains("took the store over"), "{reason}");
    let tenant = TenantId::default();
    let refused = first.runtime.block_on(first.store.ingest(&tenant, Encoding::Json, request(1 << 40)));
    assert!(refused.is_err(), "nothing is acknowledged any more");
    let rows = second.status().segment_rows;
    assert_eq!(rows, 4 * 2 * u64::from(SPANS_PER_REQUEST), "what was committed before is there, once");
    first.runtime.block_on(async {
        for number in 0..4 {
            // Files of the same numbers as the first one's, and beyond.
            let ingested = second.ingest(&tenant, Encoding::Json, request((1 << 41) + number)).await;
            assert!(ingested.is_ok(), "the second goes on: {ingested:?}");
            second.flush().await.expect("a flush");
        }
    });
    assert!(second.snapshot().manifest.wal_covered.iter().all(|covered| covered.sequence >= 1));
    first.end();

    // The first machine comes back. What it acknowledged after it was replaced is in no segment, though
    // the other one's files of that number are.
    for flush in [false, true] {
        let first = world.start(None, 0, Odds::default(), None).expect("nothing disturbs it");
        world.check_without_counts(&first);
        for number in 0..4 {
            let found = first.runtime.block_on(spans_of(&first.store, (1 << 41) + number));
            assert_eq!(found.len(), usize::from(SPANS_PER_REQUEST), "what the second had flushed");
        }
        if flush {
            first.runtime.block_on(first.store.flush()).expect("a flush");
            world.check_without_counts(&first);
            let rows = first.store.status().segment_rows;
            assert_eq!(rows, (4 * 3 + 4) * u64::from(SPANS_PER_REQUEST), "each once");
        }
        first.end();
    }
}
