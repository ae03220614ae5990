//! Merges of segments: what they keep, what they leave out, and what becomes of the files.
//!
//! Random, from a seed (`TRACELAKE_TEST_SEED` chooses another).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_format::segment::{OpenSegment, RowGroupReader, SegmentWriterOptions, WholeSegment};
use tracelake_model::{SpanId, TenantId, TraceId};
use tracelake_store::compaction::policy::CompactionPolicy;
use tracelake_store::env::sim::SimFiles;
use tracelake_store::local_store::LocalStore;
use tracelake_store::{Encoding, Snapshot, Store, StoreOptions};

use crate::support::{TestClock, find, idle};

const HOUR: u64 = 3_600_000_000_000;
const NOW: u64 = 1_760_000_000_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    objects: Arc<dyn ObjectStore>,
    clock: Arc<TestClock>,
    store: Store,
    random: StdRng,
}

impl World {
    async fn new(policy: CompactionPolicy) -> Self {
        Self::on(Arc::new(InMemory::new()), policy).await
    }

    async fn on(objects: Arc<dyn ObjectStore>, policy: CompactionPolicy) -> Self {
        let seed = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        println!("TRACELAKE_TEST_SEED={seed}");
        let clock = Arc::new(TestClock(AtomicU64::new(NOW)));
        let options = StoreOptions {
            files: Arc::new(SimFiles::new(seed)),
            clock: Arc::clone(&clock) as _,
            compaction: policy,
            // Small, so that small tests have several of each.
            segment_writer: SegmentWriterOptions {
                row_group_rows: 64,
                page_rows: 16,
                ..SegmentWriterOptions::default()
            },
            ..StoreOptions::new(Arc::clone(&objects), PathBuf::from("/wal"), seed)
        };
        let store = Store::open(options).await.expect("an empty store");
        Self { objects, clock, store, random: StdRng::seed_from_u64(seed) }
    }

    async fn send(&self, tenant: &str, spans: &[String]) {
        let body = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},
            "scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
            spans.join(",")
        );
        let tenant: TenantId = tenant.parse().expect("a valid name");
        self.store.ingest(&tenant, Encoding::Json, Bytes::from(body)).await.expect("it is taken");
    }

    /// Flushes of two tenants with traces whose parts are in several of them, and spans sent again.
    async fn fill(&mut self, flushes: u64) {
        let mut again: Vec<String> = Vec::new();
        for flush in 0..flushes {
            for tenant in ["blue", "red"] {
                let mut spans = std::mem::take(&mut again);
                for _ in 0..self.random.random_range(1..150) {
                    let start = NOW + flush * HOUR / 60 + self.random.random_range(0..HOUR / 60);
                    spans.push(self.span(start));
                }
                // Of the first tenant the second gets some, which are others there.
                again = spans.iter().step_by(7).cloned().collect();
                self.send(tenant, &spans).await;
            }
            self.store.flush().await.expect("a flush");
        }
    }

    fn span(&mut self, start: u64) -> String {
        let random = &mut self.random;
        let trace: u128 = random.random_range(1..60);
        let attributes: Vec<String> = (0..random.random_range(0..4))
            .map(|n| {
                let value = match random.random_range(0..4) {
                    0 => format!(r#"{{"intValue":{}}}"#, random.random_range(-3..3)),
                    1 => r#"{"doubleValue":-0.0}"#.to_owned(),
                    2 => r#"{"arrayValue":{"values":[{"boolValue":true},{}]}}"#.to_owned(),
                    _ => format!(r#"{{"stringValue":"text {}"}}"#, random.random_range(0..9)),
                };
                format!(r#"{{"key":"key.{n}","value":{value}}}"#)
            })
            .collect();
        format!(
            r#"{{"traceId":"{trace:032x}","spanId":"{:016x}","name":"step","kind":{},
            "startTimeUnixNano":"{start}","endTimeUnixNano":"{}","attributes":[{}],
            "events":[{{"timeUnixNano":"{start}","name":"e"}}],"links":[{{"traceId":"{trace:032x}","flags":3}}]}}"#,
            random.random_range(1..5_000u64),
            random.random_range(0..6),
            start + random.random_range(0..1_000_000),
            attributes.join(","),
        )
    }

    /// Every row of every live segment: what it is, and the lowest generation in which it is so.
    async fn rows(&self) -> BTreeMap<(TenantId, TraceId, u64, SpanId, u64), (u64, u64)> {
        let mut rows = BTreeMap::new();
        for entry in &self.store.snapshot().manifest.segments {
            let file =
                self.store.segments().read_range(entry, 0..entry.meta.size_bytes).await.expect("it is there");
            let tail = OpenSegment::tail_range(&entry.meta);
            let whole = WholeSegment::open(&entry.meta, file.slice(tail.start as usize..tail.end as usize));
            let whole = Arc::new(whole.expect("it opens"));
            let segment = whole.segment();
            assert_eq!(segment.check(&file), Vec::<String>::new(), "{entry:?}");
            let mut row = 0;
            for group in 0..segment.row_groups() {
                let (range, _) = RowGroupReader::range(&whole, group).expect("it is there");
                let bytes = file.slice(range.start as usize..range.end as usize);
                let reader = RowGroupReader::new(Arc::clone(&whole), group, (range, bytes), 10);
                for batch in reader.expect("it opens") {
                    let rows_read = batch.expect("it decodes");
                    let batch = rows_read.spans().expect("its values are of their types");
                    for (span, generation) in batch.spans().zip((0..).map(|row| rows_read.generation(row))) {
                        let after = entry.meta.tenants.iter().find(|part| row < part.first_row + part.rows);
                        let tenant = after.expect("some tenant's").tenant.clone();
                        row += 1;
                        let (start, hash) = (span.start_unix_nano(), span.content_hash());
                        let key = (tenant, span.trace_id(), start, span.span_id(), hash);
                        let (found, count) = rows.entry(key).or_insert((generation, 0));
                        *found = generation.min(*found);
                        *count += 1;
                        let meta = &entry.meta;
                        assert!((meta.generation_min..=meta.generation_max).contains(&generation));
                    }
                }
            }
            assert_eq!(row, entry.meta.rows);
        }
        rows
    }

    /// The first merge finds that this segment cannot be read, and the next does without it.
    async fn merges_all_but(&self, victim: &str) {
        let error = self.store.compact().await.expect_err("one cannot be read");
        assert!(error.to_string().contains(victim), "{error}");
        let status = self.store.compact().await.expect("the others are merged");
        assert_eq!((status.unmergeable_segments, status.merges, status.waiting_segments), (1, 1, 0));
        let after = self.store.snapshot();
        assert_eq!(after.manifest.segments.len(), 2);
        assert!(paths(&after).contains(&victim.to_owned()), "what cannot be read stays where it is");
    }

    async fn files(&self) -> Vec<String> {
        let files: Vec<_> =
            self.objects.list(Some(&Path::from("segments"))).try_collect().await.expect("in memory");
        files.into_iter().map(|file| file.location.to_string()).collect()
    }

    async fn files_become(&self, mut expected: Vec<String>) {
        expected.sort();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut files = self.files().await;
            files.sort();
            if files == expected {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{files:?} instead of {expected:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn paths(snapshot: &Snapshot) -> Vec<String> {
    snapshot.manifest.segments.iter().map(|segment| segment.path.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_keeps_each_span_once_with_the_generation_that_it_came_in() {
    let policy = CompactionPolicy { similar_slices_max: 2, ..idle() };
    let mut world = World::new(policy).await;
    world.fill(12).await;
    let before = world.rows().await;
    let doubled = before.values().map(|(_, count)| count - 1).sum::<u64>();
    assert!(doubled > 0, "the test sends some spans again");
    let status = world.store.compact().await.expect("a merge");
    assert_eq!((status.waiting_segments, status.duplicates, status.error), (0, doubled, None));
    let snapshot = world.store.snapshot();
    assert!(snapshot.manifest.segments.len() < 5, "{:?}", paths(&snapshot));
    assert!(snapshot.manifest.segments.iter().all(|segment| segment.meta.level == 1));
    let after = world.rows().await;
    let once: BTreeMap<_, _> =
        before.into_iter().map(|(key, (generation, _))| (key, (generation, 1))).collect();
    assert_eq!(after, once);

    // Slices are merged with what comes later, too.
    world.fill(3).await;
    let before = world.rows().await;
    world.store.compact().await.expect("a merge");
    let levels: Vec<_> =
        world.store.snapshot().manifest.segments.iter().map(|segment| segment.meta.level).collect();
    assert!(levels.contains(&2), "{levels:?}");
    let once: BTreeMap<_, _> =
        before.into_iter().map(|(key, (generation, _))| (key, (generation, 1))).collect();
    assert_eq!(world.rows().await, once);
    world.store.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_rests_while_queries_read_on_all_cores() {
    let mut world = World::new(idle()).await;
    let cores = std::thread::available_parallelism().expect("known").get();
    let mut reads: Vec<_> = (0..cores).map(|_| world.store.segments().begin_read()).collect();
    world.fill(3).await;
    let status = world.store.compact().await.expect("a merge");
    assert!(status.rests > 0 && status.merges == 1, "{status:?}");
    // One core is enough for it.
    reads.pop();
    world.fill(3).await;
    let rests = status.rests;
    let status = world.store.compact().await.expect("a merge");
    assert_eq!((status.rests, status.merges), (rests, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn late_spans_do_not_widen_the_slice_of_all_others() {
    let mut world = World::new(idle()).await;
    world.fill(4).await;
    let late: Vec<String> = (0..3).map(|n| world.span(NOW - (500 + n) * HOUR)).collect();
    let late: Vec<String> =
        late.iter().map(|span| span.replacen("\"traceId\":\"0", "\"traceId\":\"f", 1)).collect();
    world.send("blue", &late).await;
    world.store.flush().await.expect("a flush");
    let before = world.rows().await;
    world.store.compact().await.expect("a merge");
    assert_eq!(world.rows().await.len(), before.len());
    let snapshot = world.store.snapshot();
    let mut starts: Vec<_> = snapshot
        .manifest
        .segments
        .iter()
        .map(|segment| (segment.meta.start_unix_nano_min >= NOW, segment.meta.rows))
        .collect();
    starts.sort();
    assert_eq!(starts.len(), 2, "{starts:?}");
    assert_eq!(starts[0], (false, 3), "the late ones have a slice of their own");
}

/// Spans of as many traces, begun at random within `width` before [`NOW`], with text that does not compress.
fn alone(random: &mut StdRng, spans: usize, width: u64) -> Vec<String> {
    let span = |random: &mut StdRng| {
        let (trace, id): (u128, u64) = (random.random(), random.random());
        let start = NOW - random.random_range(0..width);
        let text: String = (0..10).map(|_| format!("{:016x}", random.random::<u64>())).collect();
        format!(
            r#"{{"traceId":"{trace:032x}","spanId":"{id:016x}","name":"n","startTimeUnixNano":"{start}",
            "attributes":[{{"key":"text","value":{{"stringValue":"{text}"}}}}]}}"#
        )
    };
    (0..spans).map(|_| span(random)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_of_backfill_in_random_order_ends_in_few_large_slices() {
    const FLUSHES: usize = 60;
    const SPANS: usize = 150;
    let slice_bytes = 300_000;
    let policy = CompactionPolicy { slice_bytes, ..CompactionPolicy::default() };
    let mut world = World::new(policy).await;
    for _ in 0..FLUSHES {
        let spans = alone(&mut world.random, SPANS, 30 * 24 * HOUR);
        world.send("blue", &spans).await;
        world.store.flush().await.expect("a flush");
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let status = loop {
        let status = world.store.status().compaction;
        // Less than a slice of level 0 is left until more comes.
        if status.waiting_bytes < slice_bytes && status.waiting_segments < 20 {
            break status;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let snapshot = world.store.snapshot();
    let slices = snapshot.manifest.segments.iter().filter(|segment| segment.meta.level > 0);
    let sizes: Vec<u64> = slices.map(|segment| segment.meta.size_bytes).collect();
    let bytes: u64 = snapshot.manifest.segments.iter().map(|segment| segment.meta.size_bytes).sum();
    println!("{sizes:?} of {bytes} bytes, {status:?}");
    assert!(sizes.len() > 1 && sizes.iter().all(|size| *size >= slice_bytes / 2), "{sizes:?}");
    // What is there is what was written less what was replaced.
    let written = bytes + status.bytes_read;
    assert!(written * 10 <= bytes * 25, "{written} bytes were written for {bytes}");
    let rows = world.rows().await;
    assert_eq!(rows.len(), FLUSHES * SPANS);
    assert!(rows.values().all(|(_, count)| *count == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn much_in_little_time_becomes_shards_of_which_a_lookup_asks_one() {
    let policy = CompactionPolicy { slice_bytes: 120_000, ..idle() };
    let mut world = World::new(policy).await;
    for _ in 0..4 {
        let spans = alone(&mut world.random, 300, HOUR / 3_600);
        world.send("blue", &spans).await;
        world.store.flush().await.expect("a flush");
    }
    let before = world.rows().await;
    world.store.compact().await.expect("a merge");
    assert_eq!(world.rows().await.len(), before.len());
    let snapshot = world.store.snapshot();
    let shards = snapshot.manifest.segments.len();
    assert!((2..=4).contains(&shards), "{:?}", paths(&snapshot));
    let rows: Vec<u64> = snapshot.manifest.segments.iter().map(|segment| segment.meta.rows).collect();
    assert!(rows.iter().all(|rows| *rows > 1_200 / shards as u64 / 2), "{rows:?}");
    for (tenant, trace_id, ..) in before.keys() {
        let (_, partitions) = snapshot.partitions.of_trace(tenant, trace_id);
        assert_eq!(partitions.count(), 1, "{trace_id} is in one shard");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_flushes_are_merged_without_being_asked() {
    let policy = CompactionPolicy { flushed_segments_max: 4, ..idle() };
    let mut world = World::new(policy).await;
    world.fill(4).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while world.store.status().compaction.merges == 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", world.store.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.store.status().compaction.waiting_segments, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_files_stay_for_the_grace_and_then_go_as_orphans_do() {
    let mut world = World::new(idle()).await;
    world.fill(3).await;
    let old = world.store.snapshot();
    world.store.compact().await.expect("a merge");
    let new = world.store.snapshot();
    // Whoever began before still reads what it began with.
    let all = [paths(&old), paths(&new)].concat();
    world.files_become(all.clone()).await;
    let (tenant, mut found) = ("blue".parse().expect("a valid name"), 0);
    for trace in 1..60u128 {
        let trace = TraceId::from_bytes(&trace.to_be_bytes()).expect("not zero");
        for entry in &old.manifest.segments {
            let rows = find(&world.store, entry, &tenant, &trace).await;
            found += u64::from(rows.expect("it is still there").is_some());
        }
    }
    assert!(found > 0);
    // An orphan of a crash, and files that are none of Tracelake's.
    let orphan = "segments/01K8XA0Q2RZ6M3T9B5V1C7D8EF.parquet".to_owned();
    let others =
        ["segments/notes.txt".to_owned(), "segments/old/01K8XA0Q2RZ6M3T9B5V1C7D8EF.parquet".to_owned()];
    for path in others.iter().chain([&orphan]) {
        world
            .objects
            .put(&Path::from(path.as_str()), PutPayload::from_static(b"?"))
            .await
            .expect("in memory");
    }
    // It is found first, and deleted after a grace of its own.
    world.clock.0.fetch_add(HOUR, Ordering::SeqCst);
    world.files_become([&paths(&new)[..], &others, std::slice::from_ref(&orphan)].concat()).await;
    world.clock.0.fetch_add(HOUR, Ordering::SeqCst);
    world.files_become([&paths(&new)[..], &others].concat()).await;
    assert!(world.store.status().compaction.files_deleted >= 4);
    world.rows().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_damaged_is_left_out_and_keeps_none_of_the_others() {
    let mut world = World::new(idle()).await;
    world.fill(4).await;
    let before = world.store.snapshot();
    let victim = &before.manifest.segments[1];
    let path = Path::from(victim.path.as_str());
    let mut bytes = world
        .store
        .segments()
        .read_range(victim, 0..victim.meta.size_bytes)
        .await
        .expect("it is there")
        .to_vec();
    bytes[100] ^= 1;
    world.objects.put(&path, PutPayload::from(bytes.clone())).await.expect("in memory");
    world.merges_all_but(&victim.path).await;
    let kept = world.objects.get(&path).await.expect("in memory").bytes().await.expect("in memory");
    assert_eq!(kept, bytes);
}

/// A file that lost its end, as one of a disk that was full or a copy that was interrupted.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_was_cut_short_is_left_out_and_keeps_none_of_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = Arc::new(LocalStore::open(folder.path()).expect("open"));
    let mut world = World::on(objects, idle()).await;
    world.fill(4).await;
    let victim = world.store.snapshot().manifest.segments[1].clone();
    let path = folder.path().join(&victim.path);
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("it is there");
    file.set_len(victim.meta.size_bytes / 2).expect("it is cut");
    world.merges_all_but(&victim.path).await;
    assert_eq!(std::fs::metadata(&path).expect("it is there").len(), victim.meta.size_bytes / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_of_few_spans_for_each_of_several_tenants_has_no_index() {
    let mut world = World::new(idle()).await;
    for (tenants, spans, has_index) in [(1, 10, true), (3, 10, false), (3, 520, true)] {
        for tenant in 0..tenants {
            let spans: Vec<String> = (0..spans).map(|_| world.span(NOW)).collect();
            world.send(&format!("tenant-{tenant}"), &spans).await;
        }
        world.store.flush().await.expect("a flush");
        let snapshot = world.store.snapshot();
        let flushed = snapshot.manifest.segments.last().map(|entry| entry.meta.has_index());
        assert_eq!(flushed, Some(has_index), "{tenants} tenants with {spans} spans each");
    }
    world.store.compact().await.expect("a merge");
    let snapshot = world.store.snapshot();
    assert!(snapshot.manifest.segments.iter().all(|entry| entry.meta.has_index()));
}
