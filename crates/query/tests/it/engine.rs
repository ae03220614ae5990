//! The cache, deadlines, batches and prefetching.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tracelake_query::{EngineOptions, GapKind, TraceCacheLimits, TraceLimits};
use tracelake_store::env::fault_store::{Fault, Operation};

use crate::support::{World, numbers, trace_id};

/// Counts reads of segments from now on.
fn counted(world: &World) -> Arc<AtomicU64> {
    let reads = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&reads);
    world.faults.set_plan(move |call| {
        let segment = call.operation == Operation::Get && call.path.as_ref().starts_with("segments/");
        count.fetch_add(u64::from(segment), Ordering::SeqCst);
        None
    });
    reads
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_again_reads_nothing_and_sees_what_has_come_since() {
    let world = World::new(1, EngineOptions::default()).await;
    world.ingest(&[(1, 1, ""), (2, 2, "")]).await;
    world.flush().await;
    let (spans, explained) = world.look_up(1).await;
    assert_eq!((spans.as_ref().map(numbers), explained.trace_cache_hit), (Some(vec![1]), Some(false)));
    let reads = counted(&world);
    world.ingest(&[(1, 3, "")]).await;
    let (spans, explained) = world.look_up(1).await;
    assert_eq!((spans.as_ref().map(numbers), explained.trace_cache_hit), (Some(vec![1, 3]), Some(true)));
    assert_eq!((reads.load(Ordering::SeqCst), explained.reads.segments_considered), (0, 0));

    // The new span is in a segment now, and only that is asked.
    world.flush().await;
    let (spans, explained) = world.look_up(1).await;
    assert_eq!(spans.as_ref().map(numbers), Some(vec![1, 3]));
    assert_eq!((explained.segments_live, explained.reads.segments_considered), (2, 1));
    // Segments that are merged have nothing new.
    world.store.compact().await.expect("a merge");
    let before = reads.load(Ordering::SeqCst);
    assert_eq!(world.spans(1).await, [1, 3]);
    assert_eq!(reads.load(Ordering::SeqCst), before);

    assert!(world.engine.drop_cached(&world.tenant, &trace_id(1)));
    assert!(!world.engine.drop_cached(&world.tenant, &trace_id(1)));
    assert_eq!(world.look_up(1).await.1.trace_cache_hit, Some(false));
    world.engine.drop_all_cached(&world.tenant);
    assert_eq!(world.look_up(1).await.1.trace_cache_hit, Some(false));
    let stats = world.engine.cache_stats();
    assert_eq!((stats.hits, stats.misses), (3, 3), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_keeps_to_its_limits() {
    let cache = TraceCacheLimits { bytes_max: 64 << 20, traces_max: 3 };
    let world = World::new(1, EngineOptions { cache, ..EngineOptions::default() }).await;
    world.ingest(&(0..20).map(|trace| (trace, trace, "")).collect::<Vec<_>>()).await;
    world.flush().await;
    for _ in 0..3 {
        for trace in 0..20 {
            assert_eq!(world.spans(trace).await, [trace]);
        }
    }
    let stats = world.engine.cache_stats();
    assert!((1..=3).contains(&stats.traces), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_keeps_to_its_bytes_and_counts_what_goes() {
    const TRACES: u64 = 100;
    let world = async |bytes_max| {
        let cache = TraceCacheLimits { bytes_max, traces_max: 0 };
        let world = World::new(1, EngineOptions { cache, ..EngineOptions::default() }).await;
        world.ingest(&(0..TRACES).map(|trace| (trace, trace, "")).collect::<Vec<_>>()).await;
        world.flush().await;
        world
    };
    let roomy = world(64 << 20).await;
    assert_eq!(roomy.spans(0).await, [0]);
    let one = roomy.engine.cache_stats();
    assert_eq!((one.traces, one.evictions), (1, 0), "{one:?}");

    // A trace is kept if it takes an eighth at most.
    let bytes_max = 16 * one.bytes;
    let world = world(bytes_max).await;
    for trace in 0..TRACES {
        assert_eq!(world.spans(trace).await, [trace]);
        let stats = world.engine.cache_stats();
        assert!(stats.bytes <= bytes_max, "{stats:?}");
    }
    let stats = world.engine.cache_stats();
    assert!((8..=16).contains(&stats.traces) && stats.bytes > 0, "{stats:?}");
    assert_eq!((stats.evictions, stats.misses), (TRACES - stats.traces, TRACES), "{stats:?}");
    for (trace, is_there) in [(TRACES - 1, true), (0, false)] {
        assert_eq!(world.look_up(trace).await.1.trace_cache_hit, Some(is_there), "trace {trace}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_hangs_makes_the_answer_partial_after_the_deadline_and_is_not_remembered() {
    let time_max = Duration::from_millis(200);
    let world = World::new(1, EngineOptions { time_max, ..EngineOptions::default() }).await;
    world.ingest(&[(1, 1, "")]).await;
    world.flush().await;
    world.ingest(&[(1, 2, "")]).await;
    world.faults.set_plan(|call| {
        let segment = call.operation == Operation::Get && call.path.as_ref().starts_with("segments/");
        segment.then_some(Fault::Hang)
    });
    let (spans, _) = world.look_up(1).await;
    let spans = spans.expect("what is in memory");
    let [gap] = spans.missing() else { unreachable!("one thing is missing: {:?}", spans.missing()) };
    assert_eq!((spans.len(), gap.kind), (1, GapKind::Deadline));
    let path = world.store.snapshot().manifest.segments[0].path.clone();
    assert!(gap.to_string().contains(&path), "{gap}");
    let answers: Vec<_> = world.engine.traces(&world.tenant, vec![trace_id(1)]).collect().await;
    let [(_, Some(spans))] = answers.as_slice() else { unreachable!("one answer: {answers:?}") };
    assert_eq!(spans.missing().iter().map(|gap| gap.kind).collect::<Vec<_>>(), [GapKind::Deadline]);

    world.faults.set_plan(|_| None);
    assert_eq!(world.spans(1).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_read_is_tried_once_more() {
    let world = World::new(1, EngineOptions::default()).await;
    world.ingest(&[(1, 1, "")]).await;
    world.flush().await;
    let failures = Arc::new(AtomicU64::new(1));
    let left = Arc::clone(&failures);
    world.faults.set_plan(move |call| {
        let segment = call.operation == Operation::Get && call.path.as_ref().starts_with("segments/");
        let fails = segment
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        fails.then_some(Fault::Before)
    });
    assert_eq!(world.spans(1).await, [1]);
    world.engine.drop_all_cached(&world.tenant);
    // What was read is in the cache of blocks; another trace's directory is not in the way either.
    failures.store(2, Ordering::SeqCst);
    world.ingest(&[(2, 2, "")]).await;
    world.flush().await;
    let (spans, _) = world.look_up(2).await;
    let kinds: Vec<_> = spans.expect("an answer").missing().iter().map(|gap| gap.kind).collect();
    assert_eq!(kinds, [GapKind::Network]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_traces_read_nothing() {
    let world = World::new(1, EngineOptions::default()).await;
    for segment in 0..10 {
        let spans: Vec<_> = (0..100).map(|trace| (trace, segment * 100 + trace, "")).collect();
        world.ingest(&spans).await;
        world.flush().await;
    }
    let reads = counted(&world);
    for trace in 1_000..2_000 {
        let (found, explained) = world.look_up(trace).await;
        assert!(found.is_none());
        assert_eq!(explained.reads.range_reads, 0);
    }
    assert_eq!(reads.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reads_each_part_of_a_segment_once() {
    let world = World::new(1, EngineOptions::default()).await;
    let spans: Vec<_> = (0..5_000).map(|span| (span / 10, span, "")).collect();
    world.ingest(&spans).await;
    world.flush().await;
    let reads = counted(&world);
    let found = world.batch(&(0..600).collect::<Vec<_>>()).await;
    for (trace, spans) in found {
        let expected: Vec<u64> = if trace < 500 { (trace * 10..trace * 10 + 10).collect() } else { vec![] };
        assert_eq!(spans, expected, "trace {trace}");
    }
    let reads = reads.load(Ordering::SeqCst);
    assert!(reads <= 20, "{reads} reads for 600 traces");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_a_batch_stops_its_work() {
    let world = World::new(1, EngineOptions::default()).await;
    let spans: Vec<_> = (0..5_000).map(|span| (span, span, "")).collect();
    world.ingest(&spans).await;
    world.flush().await;
    let ids = (0..5_000).map(trace_id).collect();
    let mut answers = Box::pin(world.engine.traces(&world.tenant, ids));
    assert!(answers.next().await.is_some());
    let decoded = || world.store.segments().totals().counts().rows_decoded;
    drop(answers);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (before, all) = (decoded(), 5_000);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(decoded(), before);
    assert!((1..all).contains(&before), "{before} rows were decoded");
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_that_a_trace_points_at_are_read_in_advance() {
    let world = World::new(1, EngineOptions::default()).await;
    let link = format!(r#","links":[{{"traceId":"{}","spanId":"00000000000000aa"}}]"#, trace_id(2));
    let attribute = format!(
        r#","attributes":[{{"key":"related.trace_id","value":{{"stringValue":"{}"}}}}]"#,
        trace_id(3)
    );
    world.ingest(&[(1, 1, &link), (1, 2, &attribute), (2, 3, ""), (3, 4, "")]).await;
    world.flush().await;
    assert_eq!(world.spans(1).await, [1, 2]);
    let deadline = Deadline::new();
    while world.engine.prefetch_stats().fetched < 2 {
        deadline.wait().await;
    }
    for trace in [2, 3] {
        assert_eq!(world.look_up(trace).await.1.trace_cache_hit, Some(true), "trace {trace}");
    }
    let stats = world.engine.prefetch_stats();
    assert_eq!((stats.related, stats.fetched, stats.skipped), (2, 2, 0));

    let world = World::new(2, EngineOptions { prefetch: false, ..EngineOptions::default() }).await;
    world.ingest(&[(1, 1, &link), (2, 3, "")]).await;
    world.flush().await;
    assert_eq!(world.spans(1).await, [1]);
    assert_eq!(world.engine.prefetch_stats().related, 0);
}

/// The end of waiting for what is done in the background.
struct Deadline(tokio::time::Instant);

impl Deadline {
    fn new() -> Self {
        Self(tokio::time::Instant::now() + Duration::from_secs(20))
    }

    async fn wait(&self) {
        assert!(tokio::time::Instant::now() < self.0, "it has not come in 20 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A trace in memory that points at twenty in a segment, the first of which is trace 2.
async fn world_of_links() -> World {
    let world = World::new(1, EngineOptions::default()).await;
    world.ingest(&(2..22).map(|trace| (trace, trace, "")).collect::<Vec<_>>()).await;
    world.flush().await;
    let link = |trace| format!(r#"{{"traceId":"{}","spanId":"00000000000000aa"}}"#, trace_id(trace));
    let links: Vec<String> = (2..22).map(link).collect();
    world.ingest(&[(1, 1, &format!(r#","links":[{}]"#, links.join(",")))]).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn of_traces_that_a_trace_points_at_four_are_read_at_once_and_the_others_left() {
    let world = world_of_links().await;
    // None of them ends, so that none makes room for another.
    world.faults.set_plan(|call| {
        let segment = call.operation == Operation::Get && call.path.as_ref().starts_with("segments/");
        segment.then_some(Fault::Hang)
    });
    assert_eq!(world.spans(1).await, [1]);
    let stats = world.engine.prefetch_stats();
    assert_eq!((stats.related, stats.fetched, stats.skipped), (16, 0, 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_traces_that_a_trace_points_at_sixteen_are_read_at_most() {
    let world = world_of_links().await;
    let (deadline, mut lookups) = (Deadline::new(), 0);
    // What there was no room for comes when somebody looks again.
    while world.engine.cache_stats().traces < 16 {
        assert_eq!(world.spans(1).await, [1]);
        lookups += 1;
        deadline.wait().await;
    }
    for trace in 2..22 {
        let is_there = world.look_up(trace).await.1.trace_cache_hit;
        assert_eq!(is_there, Some(trace < 18), "trace {trace}");
    }
    // The last permits may be given back only now.
    while world.engine.prefetch_stats().fetched < 16 {
        deadline.wait().await;
    }
    let stats = world.engine.prefetch_stats();
    assert_eq!(stats.related, 16 * lookups, "{stats:?}");
    assert!(stats.fetched + stats.skipped <= stats.related, "{stats:?}");
}

fn few_spans(spans_max: usize) -> EngineOptions {
    let trace = TraceLimits { spans_max, heap_bytes_max: usize::MAX };
    EngineOptions { trace, ..EngineOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_cache_and_in_a_merged_segment_counts_once() {
    let world = World::new(1, few_spans(3)).await;
    world.ingest(&[(1, 1, ""), (1, 2, "")]).await;
    world.flush().await;
    assert_eq!(world.spans(1).await, [1, 2]);
    world.ingest(&[(1, 3, "")]).await;
    world.flush().await;
    world.store.compact().await.expect("a merge");
    assert_eq!(world.spans(1).await, [1, 2, 3]);
    let (_, explained) = world.look_up(1).await;
    assert_eq!((explained.trace_cache_hit, explained.reads.segments_considered), (Some(true), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_memory_and_segments_keeps_to_the_limit_and_says_so() {
    let world = World::new(1, few_spans(4)).await;
    world.ingest(&[(1, 1, ""), (1, 2, ""), (1, 3, "")]).await;
    world.flush().await;
    world.ingest(&[(1, 4, ""), (1, 5, ""), (1, 6, "")]).await;
    for _ in 0..2 {
        let spans = world.look_up(1).await.0.expect("a part");
        let kinds: Vec<_> = spans.missing().iter().map(|gap| gap.kind).collect();
        assert_eq!((spans.len(), kinds), (4, vec![GapKind::Limit]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reads_no_more_of_a_trace_than_an_answer_may_have() {
    let world = World::new(1, few_spans(25)).await;
    for segment in 0..20 {
        let spans: Vec<_> = (0..10).map(|span| (1, segment * 10 + span, "")).collect();
        world.ingest(&spans).await;
        world.flush().await;
    }
    let before = world.store.segments().totals().counts().rows_decoded;
    let answers: Vec<_> = world.engine.traces(&world.tenant, vec![trace_id(1)]).collect().await;
    let [(_, Some(spans))] = answers.as_slice() else { unreachable!("one answer: {answers:?}") };
    let kinds: Vec<_> = spans.missing().iter().map(|gap| gap.kind).collect();
    assert_eq!((spans.len(), kinds), (25, vec![GapKind::Limit]));
    assert_eq!(world.store.segments().totals().counts().rows_decoded - before, 25);
}
