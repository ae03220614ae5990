//! What a search says that it lacks: segments that cannot be read, traces beyond those that it may look at, and what
//! there was no time for. All else is found.

use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use tracelake_model::TraceId;
use tracelake_query::search::{NotRead, SearchPage, SearchQuery, SourceHow};
use tracelake_query::{EngineOptions, Gap, GapKind, Order, TraceQueryEngine};
use tracelake_store::env::fault_store::{Fault, Operation};
use tracelake_traceql::parse;

use super::everything;
use super::model::{BEGIN, Span};
use crate::support::{World, trace_id};

/// Traces of each source: of three segments, then of memory.
const EACH: u64 = 5;
const SEGMENTS: u64 = 3;
const TRACES: u64 = (SEGMENTS + 1) * EACH;

/// The segment that lacks, by when it was written.
const LOST: u64 = 1;

/// With an index, and without one.
const WORLDS: [u64; 2] = [1, 3];

fn start(trace: u64) -> u64 {
    BEGIN + trace * 10_000
}

async fn world(seed: u64, options: EngineOptions) -> World {
    let world = World::new(seed, options).await;
    for source in 0..=SEGMENTS {
        let traces = source * EACH..(source + 1) * EACH;
        let spans: Vec<Span> = traces.map(|n| Span::plain(n, n + 1, start(n))).collect();
        world.send(&spans.iter().collect::<Vec<_>>()).await;
        if source < SEGMENTS {
            world.flush().await;
        }
    }
    world
}

fn query(order: Order, limit: usize) -> SearchQuery {
    let predicate = parse(r#"{ name = "GET" }"#).expect("a query");
    SearchQuery { predicate, limit, ..everything(order, 0..u64::MAX) }
}

fn found(page: &SearchPage) -> Vec<TraceId> {
    page.traces.iter().map(|hit| hit.trace_id).collect()
}

async fn page(engine: &TraceQueryEngine, world: &World, query: &SearchQuery) -> SearchPage {
    engine.search(&world.tenant, query.clone()).await.expect("a page")
}

/// Makes a segment lack so that a gap is of this kind.
async fn lose(world: &World, path: &str, kind: GapKind) {
    let path = Path::from(path);
    match kind {
        GapKind::Index => {
            let object = world.faults.get(&path).await.expect("there");
            let mut bytes = object.bytes().await.expect("bytes").to_vec();
            // Everything but the magic at its begin and its end.
            let end = bytes.len() - 8;
            bytes[8..end].iter_mut().for_each(|byte| *byte ^= 0x10);
            world.faults.put(&path, bytes.into()).await.expect("put");
        }
        GapKind::Network => world.faults.set_plan(move |call| {
            (call.operation == Operation::Get && *call.path == path).then_some(Fault::Before)
        }),
        GapKind::Partition => world.faults.delete(&path).await.expect("deleted"),
        GapKind::Limit | GapKind::Deadline => unreachable!("those are no faults of a segment"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_cannot_be_read_is_named_and_all_else_is_found() {
    for seed in WORLDS {
        for kind in [GapKind::Index, GapKind::Network, GapKind::Partition] {
            let world = world(seed, EngineOptions::default()).await;
            let snapshot = world.store.snapshot();
            let is_lost = |start_unix_nano| start_unix_nano == start(LOST * EACH);
            let entry =
                snapshot.manifest.segments.iter().find(|entry| is_lost(entry.meta.start_unix_nano_min));
            let path = entry.expect("it was flushed").path.clone();
            lose(&world, &path, kind).await;
            let check = |missing: &[Gap]| {
                let is_it = |gap: &Gap| gap.kind == kind && gap.segment.as_deref() == Some(&*path);
                assert!(missing.iter().all(is_it), "world {seed}, {kind:?}: {missing:?}");
            };
            for order in [Order::Newest, Order::Oldest, Order::Longest] {
                let elsewhere = (0..TRACES).filter(|n| n / EACH != LOST).map(trace_id);
                let mut expected: Vec<TraceId> = elsewhere.collect();
                // All take as long, so that the lowest ID is the longest as well.
                if order == Order::Newest {
                    expected.reverse();
                }
                let query = SearchQuery { explain: true, ..query(order, TRACES as usize) };
                let whole = page(&world.engine, &world, &query).await;
                assert_eq!(found(&whole), expected, "world {seed}, {kind:?}, {order:?}");
                check(&whole.end.missing);
                assert!(!whole.end.missing.is_empty(), "world {seed}, {kind:?}, {order:?}: no word of it");
                assert!(whole.end.next.is_none());
                let plan = whole.end.plan.expect("it was asked for");
                for source in &plan.sources {
                    let unreadable = (SourceHow::NotRead, Some(NotRead::Unreadable));
                    let is_unreadable = (source.how, source.why) == unreadable;
                    assert_eq!(is_unreadable, source.source == path, "world {seed}, {kind:?}: {source:?}");
                }
                assert!(plan.sources.iter().any(|source| source.source == path), "{plan:?}");

                // Page by page.
                let mut query = SearchQuery { limit: 2, ..query };
                let mut by_pages = Vec::new();
                loop {
                    let next = page(&world.engine, &world, &query).await;
                    by_pages.extend(found(&next));
                    check(&next.end.missing);
                    query.after = next.end.next;
                    if query.after.is_none() {
                        break;
                    }
                }
                assert_eq!(by_pages, expected, "world {seed}, {kind:?}, {order:?}");
            }
            if kind == GapKind::Network {
                world.faults.set_plan(|_| None);
                let whole = world.page(&query(Order::Oldest, TRACES as usize)).await;
                assert_eq!(found(&whole), (0..TRACES).map(trace_id).collect::<Vec<_>>(), "world {seed}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_more_traces_than_a_search_may_look_at_the_newest_are_found_and_the_limit_is_named() {
    const MAX: u64 = EACH + 2;
    for seed in WORLDS {
        let options = EngineOptions { search_candidates_max: MAX as usize, ..EngineOptions::default() };
        let world = world(seed, options).await;
        let query = query(Order::Newest, TRACES as usize);
        let newest: Vec<TraceId> = (TRACES - MAX..TRACES).rev().map(trace_id).collect();
        let cut = page(&world.engine, &world, &query).await;
        assert_eq!(found(&cut), newest, "world {seed}");
        let [gap] = cut.end.missing.as_slice() else {
            unreachable!("one thing is missing: {:?}", cut.end.missing)
        };
        assert_eq!((gap.kind, &gap.segment), (GapKind::Limit, &None));
        assert!(gap.why.contains(&format!("search_candidates_max ({MAX})")), "{gap}");
        assert!(cut.end.next.is_none(), "a further page would look at the same ones");

        // Just as many are none too many.
        let narrow = SearchQuery { starts: start(TRACES - MAX)..u64::MAX, ..query };
        assert_eq!(found(&world.page(&narrow).await), newest, "world {seed}");
    }
}

/// No read of a segment is answered.
fn hang(world: &World) {
    world.faults.set_plan(|call| {
        let segment = call.operation == Operation::Get && call.path.as_ref().starts_with("segments/");
        segment.then_some(Fault::Hang)
    });
}

fn check_late(page: &SearchPage, seconds: u64) {
    let [gap] = page.end.missing.as_slice() else {
        unreachable!("one thing is missing: {:?}", page.end.missing)
    };
    assert_eq!((gap.kind, &gap.segment), (GapKind::Deadline, &None));
    assert!(gap.why.contains(&format!("search_seconds_max ({seconds} s)")), "{gap}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_there_was_no_time_for_can_be_asked_for_again() {
    for seed in WORLDS {
        let world = world(seed, EngineOptions::default()).await;
        world.flush().await;
        let options = EngineOptions { search_time_max: Duration::ZERO, ..EngineOptions::default() };
        let hurried = TraceQueryEngine::new(world.store.clone(), options);
        let mut query = query(Order::Newest, 3);
        hang(&world);
        let nothing = page(&hurried, &world, &query).await;
        assert!(nothing.traces.is_empty() && nothing.end.next.is_none(), "world {seed}: {nothing:?}");
        check_late(&nothing, 0);

        world.faults.set_plan(|_| None);
        let first = world.page(&query).await;
        query.after = first.end.next.clone();
        assert!(query.after.is_some(), "there is more");
        hang(&world);
        let nothing = page(&hurried, &world, &query).await;
        assert!(nothing.traces.is_empty(), "world {seed}: {nothing:?}");
        check_late(&nothing, 0);
        assert_eq!(nothing.end.next, query.after, "the same page");

        world.faults.set_plan(|_| None);
        query.after = nothing.end.next;
        query.limit = TRACES as usize;
        let mut all = found(&first);
        all.extend(found(&world.page(&query).await));
        assert_eq!(all, (0..TRACES).rev().map(trace_id).collect::<Vec<_>>(), "world {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_before_the_time_was_over_is_given_and_the_cursor_goes_on() {
    for seed in WORLDS {
        let options = EngineOptions { search_time_max: Duration::from_secs(1), ..EngineOptions::default() };
        let world = world(seed, options).await;
        let mut query = query(Order::Newest, TRACES as usize);
        hang(&world);
        let cut = page(&world.engine, &world, &query).await;
        let in_memory: Vec<TraceId> = (TRACES - EACH..TRACES).rev().map(trace_id).collect();
        assert_eq!(found(&cut), in_memory, "world {seed}");
        check_late(&cut, 1);

        world.faults.set_plan(|_| None);
        let patient = TraceQueryEngine::new(world.store.clone(), EngineOptions::default());
        query.after = cut.end.next;
        assert!(query.after.is_some(), "there is more");
        let rest = page(&patient, &world, &query).await;
        assert!(rest.end.missing.is_empty(), "{:?}", rest.end.missing);
        assert_eq!(found(&rest), (0..TRACES - EACH).rev().map(trace_id).collect::<Vec<_>>(), "world {seed}");
    }
}
