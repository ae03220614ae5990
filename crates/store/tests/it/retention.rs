//! Retention in an open store: what goes, what stays, and what becomes of the files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tracelake_model::{TenantId, TraceId};
use tracelake_store::env::Clock;
use tracelake_store::env::sim::SimFiles;
use tracelake_store::retention::{ExpiredSegment, RetentionLimits, RetentionPolicy};
use tracelake_store::{Encoding, Store, StoreOptions};

use crate::support::{TestClock, find, idle};

const DAY: u64 = 86_400_000_000_000;
const NOW: u64 = 1_760_000_000_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    objects: Arc<InMemory>,
    clock: Arc<TestClock>,
    store: Store,
}

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a valid name")
}

/// Seven days for everybody, but for those who are named.
fn week(tenants: &[(&str, RetentionLimits)]) -> RetentionPolicy {
    let age_max = Some(Duration::from_nanos(7 * DAY));
    RetentionPolicy {
        others: RetentionLimits { age_max, bytes_max: None },
        tenants: tenants.iter().map(|(name, limits)| (tenant(name), *limits)).collect(),
    }
}

impl World {
    async fn new(retention: RetentionPolicy) -> Self {
        let (objects, clock) = (Arc::new(InMemory::new()), Arc::new(TestClock(AtomicU64::new(NOW))));
        let options = StoreOptions {
            files: Arc::new(SimFiles::new(1)),
            clock: Arc::clone(&clock) as _,
            compaction: idle(),
            retention,
            ..StoreOptions::new(Arc::clone(&objects) as _, PathBuf::from("/wal"), 1)
        };
        let store = Store::open(options).await.expect("an empty store");
        Self { objects, clock, store }
    }

    /// A segment with one trace of two spans for each tenant, so many days old.
    async fn segment(&self, trace: u8, days: u64, tenants: &[&str]) {
        let start = self.clock.now_unix_nano() - days * DAY;
        let span = |id: u8| {
            format!(
                r#"{{"traceId":"{trace:032x}","spanId":"{id:016x}","name":"n","startTimeUnixNano":"{start}","endTimeUnixNano":"{}"}}"#,
                start + 1
            )
        };
        let body =
            format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{},{}]}}]}}]}}"#, span(1), span(2));
        for name in tenants {
            let body = Bytes::from(body.clone());
            self.store.ingest(&tenant(name), Encoding::Json, body).await.expect("it is taken");
        }
        self.store.flush().await.expect("a flush");
    }

    /// How many rows of the trace the tenant finds.
    async fn rows(&self, name: &str, trace: u8) -> u64 {
        let id = TraceId::from_bytes(&u128::from(trace).to_be_bytes()).expect("not zero");
        let mut rows = 0;
        for entry in &self.store.snapshot().manifest.segments {
            let found = find(&self.store, entry, &tenant(name), &id).await;
            rows += found.expect("a readable segment").map_or(0, |found| found.rows_total);
        }
        rows
    }

    fn paths(&self) -> Vec<String> {
        let snapshot = self.store.snapshot();
        snapshot.manifest.segments.iter().map(|segment| segment.path.clone()).collect()
    }

    async fn files(&self) -> Vec<String> {
        let files: Vec<_> =
            self.objects.list(Some(&Path::from("segments"))).try_collect().await.expect("in memory");
        files.into_iter().map(|file| file.location.to_string()).collect()
    }

    async fn becomes(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is_so().await {
            assert!(tokio::time::Instant::now() < deadline, "not {what}: {:?}", self.store.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn spans(removed: &[ExpiredSegment]) -> u64 {
    removed.iter().map(ExpiredSegment::spans).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_goes_by_itself_and_its_files_after_the_grace() {
    let world = World::new(week(&[])).await;
    world.segment(1, 6, &["a", "b"]).await;
    world.segment(2, 0, &["a"]).await;
    let before = world.paths();
    let generation = world.store.snapshot().manifest.segments[0].meta.generation_max;
    assert_eq!(world.store.retention_plan(), []);
    world.clock.0.fetch_add(2 * DAY, Ordering::SeqCst);
    let plan = world.store.retention_plan();
    assert_eq!((plan.len(), plan[0].whole, spans(&plan)), (1, true, 4));
    assert_eq!(world.paths(), before, "a plan changes nothing");

    world.becomes("removed", async || world.paths().len() == 1).await;
    assert_eq!(world.paths(), before[1..]);
    assert_eq!((world.rows("a", 1).await, world.rows("b", 1).await, world.rows("a", 2).await), (0, 0, 2));
    world.becomes("counted", async || world.store.status().retention.spans_removed == 4).await;
    let status = world.store.status().retention;
    assert_eq!((status.on, status.segments_removed, status.segments_rewritten), (true, 1, 0));
    assert_eq!((status.bytes_removed, status.error), (plan[0].bytes, None));
    let removed = world.store.snapshot().manifest.retention.expect("something was removed");
    assert_eq!((removed.generation_max, removed.start_unix_nano_max), (generation, NOW - 6 * DAY));
    let mut files = world.files().await;
    files.sort();
    let mut all = before.clone();
    all.sort();
    assert_eq!(files, all, "who began to read before still can");
    world.clock.0.fetch_add(DAY / 24, Ordering::SeqCst);
    world.becomes("deleted", async || world.files().await == before[1..]).await;
    world.store.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_expired_spans_go_though_others_stay_in_the_segment() {
    let forever = RetentionLimits::default();
    let world = World::new(week(&[("a", forever), ("c", forever)])).await;
    world.segment(1, 8, &["a", "b", "c"]).await;
    world.segment(2, 1, &["a", "b", "c"]).await;
    let plan = world.store.retention_plan();
    assert_eq!((plan.len(), plan[0].whole, plan[0].parts.len()), (1, false, 1));
    let generations = |world: &World| {
        let segments = world.store.snapshot().manifest.segments.clone();
        segments.iter().map(|entry| entry.meta.generation_max).collect::<std::collections::BTreeSet<_>>()
    };
    let before = generations(&world);
    let removed = world.store.apply_retention().await.expect("it removes");
    // The background may have been faster.
    assert!(removed.is_empty() || removed == plan);
    for (name, expected) in [("a", 2), ("b", 0), ("c", 2)] {
        assert_eq!((world.rows(name, 1).await, world.rows(name, 2).await), (expected, 2), "{name}");
    }
    assert_eq!(generations(&world), before, "rows keep the generation that they came in");
    assert_eq!(world.store.retention_plan(), []);
    world.becomes("counted", async || world.store.status().retention.spans_removed == 2).await;
    let status = world.store.status();
    assert_eq!((status.retention.segments_rewritten, status.retention.segments_removed), (1, 0));
    assert_eq!((status.segments, status.segment_rows, status.compaction.merges), (2, 10, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn by_bytes_the_oldest_segments_go_first() {
    let world = World::new(RetentionPolicy::default()).await;
    for day in (1..=4).rev() {
        world.segment(day, u64::from(day), &["a"]).await;
    }
    let bytes = world.store.status().segment_bytes;
    let (objects, paths) = (Arc::clone(&world.objects), world.paths());
    assert_eq!(world.store.apply_retention().await.expect("it is off"), []);
    world.store.shutdown().await.expect("a clean end");
    let bytes_max = Some(bytes - 1);
    let retention = RetentionPolicy {
        others: RetentionLimits { age_max: None, bytes_max },
        ..RetentionPolicy::default()
    };
    let options = StoreOptions {
        files: Arc::new(SimFiles::new(2)),
        retention,
        ..StoreOptions::new(objects as _, PathBuf::from("/wal"), 2)
    };
    let store = Store::open(options).await.expect("it opens");
    store.apply_retention().await.expect("it removes");
    let left: Vec<String> =
        store.snapshot().manifest.segments.iter().map(|segment| segment.path.clone()).collect();
    assert_eq!(left, paths[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_cannot_be_read_stays_and_the_others_go() {
    let forever = RetentionLimits::default();
    let world = World::new(week(&[("a", forever)])).await;
    world.segment(1, 1, &["a", "b"]).await;
    world.segment(2, 1, &["a", "b"]).await;
    world.segment(3, 1, &["b"]).await;
    let victim = world.paths()[0].clone();
    let path = Path::from(victim.as_str());
    let entry = world.store.snapshot().manifest.segments[0].clone();
    let mut bytes = world
        .store
        .segments()
        .read_range(&entry, 0..entry.meta.size_bytes)
        .await
        .expect("it is there")
        .to_vec();
    bytes[100] ^= 1;
    world.objects.put(&path, PutPayload::from(bytes.clone())).await.expect("in memory");
    world.clock.0.fetch_add(9 * DAY, Ordering::SeqCst);
    world.becomes("left out", async || world.store.status().compaction.unmergeable_segments == 1).await;
    world.clock.0.fetch_add(DAY, Ordering::SeqCst);
    world.becomes("rewritten", async || world.store.status().retention.segments_rewritten == 1).await;
    assert_eq!(world.store.apply_retention().await.expect("nothing is left to do"), []);
    assert_eq!((world.paths().len(), world.rows("b", 2).await, world.rows("b", 3).await), (2, 0, 0));
    assert!(world.paths().contains(&victim), "what cannot be read stays where it is");
    let kept = world.objects.get(&path).await.expect("in memory").bytes().await.expect("in memory");
    assert_eq!(kept, bytes);
}
