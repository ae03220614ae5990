//! Results other than summaries: spans beside the naive oracle, each at its own place, and whole traces beside lookups.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_model::TraceId;
use tracelake_query::search::{
    Cursor, SearchEnd, SearchEvent, SearchQuery, Sought, SpanHit, Totals, WholeEvent,
};
use tracelake_query::{EngineOptions, Order, TimeHint, TraceLimits, TraceSpans};

use super::model::{BEGIN, Query, Span};
use super::{TRACES, check_histogram, everything, first_start, random_search, search};
use crate::oracle::seed;
use crate::support::World;

/// A span: where it stands, and which it is.
type Row = (u64, u128, u64);

fn place(order: Order, start: u64, duration: u64) -> u64 {
    match order {
        Order::Newest => u64::MAX - start,
        Order::Oldest => start,
        Order::Longest => u64::MAX - duration,
    }
}

fn expected(spans: &[Span], query: &Query, starts: &Range<u64>, order: Order) -> Vec<Row> {
    let mut traces: BTreeMap<u64, Vec<&Span>> = BTreeMap::new();
    spans.iter().for_each(|span| traces.entry(span.trace).or_default().push(span));
    let mut rows = Vec::new();
    for (trace, spans) in traces {
        let in_range: Vec<&Span> =
            spans.iter().filter(|span| starts.contains(&span.start)).copied().collect();
        let Some(matching) = query.matching(&in_range, &spans) else { continue };
        for span in in_range.iter().filter(|span| matching.contains(&span.id)) {
            rows.push((place(order, span.start, span.duration()), u128::from(trace) + 1, span.id));
        }
    }
    rows.sort_unstable();
    rows
}

fn row(hit: &SpanHit, order: Order) -> Row {
    let span = hit.span();
    let place = place(order, span.start_unix_nano(), span.duration_nano());
    let trace = u128::from_be_bytes(*span.trace_id().as_bytes());
    (place, trace, u64::from_be_bytes(*span.span_id().as_bytes()))
}

/// All pages, of changing sizes; `between` happens between them.
async fn all_rows(
    world: &mut World,
    query: SearchQuery,
    between: impl AsyncFnMut(&mut World),
) -> Vec<SpanHit> {
    counted_rows(world, query, between).await.0
}

/// The same with what was counted, if it was asked for.
async fn counted_rows(
    world: &mut World,
    mut query: SearchQuery,
    mut between: impl AsyncFnMut(&mut World),
) -> (Vec<SpanHit>, Option<Totals>) {
    query.sought = Sought::Spans;
    let (mut all, mut counted, mut page_number) = (Vec::new(), None, 0);
    loop {
        let page = world.page(&query).await;
        assert!(page.traces.is_empty() && page.spans.len() <= query.limit);
        assert!(page.end.next.is_none() || page.spans.len() == query.limit, "a page is full");
        all.extend(page.spans);
        let totals = page.end.totals;
        if let Some(totals) = &totals {
            let histogram = totals.histogram.as_ref().map(|histogram| histogram.counts.iter().sum::<u64>());
            assert_eq!(histogram.unwrap_or(totals.count), totals.count);
            assert_eq!(*counted.get_or_insert(totals.count), totals.count, "every page counts all of them");
        }
        let Some(next) = page.end.next else {
            assert_eq!(counted.unwrap_or(all.len() as u64), all.len() as u64);
            return (all, totals);
        };
        // As a client carries it.
        let next: Cursor = next.to_string().parse().expect("a cursor");
        next.check(&query).expect("of this search");
        query.after = Some(next);
        page_number += 1;
        query.limit = 1 + page_number * 7 % 19;
        between(world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_those_that_a_naive_oracle_finds_each_at_its_own_place() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut rows = 0;
    for round in 0..3 {
        let mut world = World::new(seed + round, EngineOptions::default()).await;
        let mut spans: Vec<Span> = Vec::new();
        for step in 0..7 {
            let count = random.random_range(20..60);
            world.send_random(&mut spans, &mut random, count, TRACES).await;
            world.disturb(&mut random, 4).await;
            for _ in 0..20 {
                let (query, starts, order, limit) = random_search(&mut random);
                let expected = expected(&spans, &query, &starts, order);
                let mut search = search(&query, starts.clone(), order, limit);
                search.count = random.random_bool(0.2);
                search.histogram = random.random_bool(0.2).then(|| random.random_range(1..20));
                let (found, totals) = counted_rows(&mut world, search, async |_| ()).await;
                let found: Vec<Row> = found.iter().map(|hit| row(hit, order)).collect();
                assert_eq!(found, expected, "step {step}: {} in {starts:?} by {order:?}", query.text());
                if let Some(histogram) = totals.and_then(|totals| totals.histogram) {
                    let each = expected.iter().map(|(_, _, id)| first_start(&spans, &[*id]));
                    check_histogram(&histogram, &starts, each);
                }
                rows += found.len();
            }
        }
    }
    assert!(rows > 2_000, "{rows} spans matched: hardly any");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_spans_are_as_of_the_first_whatever_comes_in_and_is_merged() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new(seed, EngineOptions::default()).await;
    let mut spans: Vec<Span> = Vec::new();
    world.send_random(&mut spans, &mut random, 100, TRACES + 30).await;
    let mut pages = 0;
    for _ in 0..20 {
        let (query, starts, order, _) = random_search(&mut random);
        let expected = expected(&spans, &query, &starts, order);
        let search = search(&query, starts.clone(), order, 7);
        let found = all_rows(&mut world, search, async |world| {
            pages += 1;
            world.send_random(&mut spans, &mut random, 6, TRACES + 30).await;
            world.disturb(&mut random, 6).await;
        })
        .await;
        let found: Vec<Row> = found.iter().map(|hit| row(hit, order)).collect();
        assert_eq!(found, expected, "{} in {starts:?} by {order:?}", query.text());
    }
    assert!(pages > 10, "{pages} pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_one_id_that_differ_are_all_given_once() {
    for order in [Order::Newest, Order::Oldest, Order::Longest] {
        let mut world = World::new(2, EngineOptions::default()).await;
        let mut variants = Vec::new();
        for name in ["GET", "query", "send"] {
            for service in ["cart", "shop"] {
                // Two differ in their resource alone.
                variants.push(Span { name, service: Some(service), ..Span::plain(1, 7, BEGIN) });
            }
        }
        for (at, variant) in variants.iter().enumerate() {
            world.send(&[variant]).await;
            // Once more, in a request of its own.
            world.send(&[variant, &Span::plain(2, 100 + at as u64, BEGIN)]).await;
            if at % 2 == 0 {
                world.flush().await;
            }
        }
        let mut query = everything(order, 0..u64::MAX);
        query.limit = 1;
        let mut pages = 0;
        let found = all_rows(&mut world, query, async |world| {
            pages += 1;
            match pages {
                1 => world.flush().await,
                2 => drop(world.store.compact().await.expect("a merge")),
                _ => {}
            }
        })
        .await;
        let of_one_id: Vec<(String, String)> = found
            .iter()
            .map(SpanHit::span)
            .filter(|span| span.span_id().as_bytes()[7] == 7)
            .map(|span| {
                let service = span.resource().service_name().expect("a service");
                (span.name().to_owned(), service.to_owned())
            })
            .collect();
        let distinct: BTreeSet<_> = of_one_id.iter().collect();
        assert_eq!((of_one_id.len(), distinct.len()), (6, 6), "{of_one_id:?}");
        assert_eq!(found.len(), 12);
    }
}

/// Their IDs with what they are, and the end.
async fn whole(
    world: &World,
    query: &SearchQuery,
    skip: usize,
) -> (Vec<(TraceId, TraceSpans)>, Box<SearchEnd>) {
    let events = world.engine.search_whole(&world.tenant, query.clone(), skip).expect("a page");
    let mut events: Vec<WholeEvent<TraceSpans>> = events.collect().await;
    let Some(WholeEvent::End(end)) = events.pop() else { unreachable!("it says that it has ended") };
    assert!(end.missing.is_empty(), "{:?}", end.missing);
    let traces = events.into_iter().map(|event| match event {
        WholeEvent::Trace(trace_id, trace) => (trace_id, trace.expect("it is there")),
        WholeEvent::End(_) => unreachable!("there is one end"),
    });
    (traces.collect(), end)
}

fn is_same(a: &TraceSpans, b: &TraceSpans) -> bool {
    a.len() == b.len() && a.spans().zip(b.spans()).all(|(a, b)| a.is_duplicate_of(&b))
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_traces_are_those_that_lookups_give_as_of_the_first_page() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::new(seed, EngineOptions::default()).await;
    let mut spans: Vec<Span> = Vec::new();
    for step in 0..4 {
        world.send_random(&mut spans, &mut random, 40, 12).await;
        match step {
            0 | 1 => world.flush().await,
            2 => drop(world.store.compact().await.expect("a merge")),
            _ => {}
        }
    }
    for order in [Order::Newest, Order::Oldest, Order::Longest] {
        let mut query = everything(order, 0..u64::MAX);
        query.limit = 100;
        let summaries = world.page(&query).await.traces;
        let expected: Vec<TraceId> = summaries.iter().map(|hit| hit.trace_id).collect();
        assert!(expected.len() > 8, "{} traces", expected.len());
        let mut looked_up = BTreeMap::new();
        for trace_id in &expected {
            let (trace, _) = world.engine.trace(&world.tenant, trace_id, TimeHint::default()).await;
            looked_up.insert(*trace_id, trace.expect("it is there"));
        }
        let (behind, _) = whole(&world, &query, 3).await;
        let ids = behind.iter().map(|(trace_id, _)| *trace_id);
        assert_eq!(ids.collect::<Vec<_>>(), expected[3..]);

        query.limit = 5;
        let mut found = Vec::new();
        loop {
            let (traces, end) = whole(&world, &query, 0).await;
            for (trace_id, trace) in traces {
                assert!(is_same(&trace, &looked_up[&trace_id]), "{trace_id} by {order:?}");
                found.push(trace_id);
            }
            let Some(next) = end.next else { break };
            query.after = Some(next);
            world.send_random(&mut spans, &mut random, 40, 12).await;
            world.flush().await;
        }
        assert_eq!(found, expected, "by {order:?}");
    }
}

/// As many as a stream of spans may have waiting, and some more; in as many traces as are decided together at most.
const STREAMED_TRACES: u64 = 520;
const STREAMED_OF_EACH: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_spans_ends_where_they_do_however_many_there_are() {
    let world = World::new(1, EngineOptions::default()).await;
    for trace in 0..STREAMED_TRACES {
        let start = BEGIN + trace * 1_000;
        let spans: Vec<Span> = (0..STREAMED_OF_EACH).map(|n| Span::plain(trace, n + 1, start + n)).collect();
        world.send(&spans.iter().collect::<Vec<_>>()).await;
    }
    for order in [Order::Newest, Order::Oldest] {
        let query =
            SearchQuery { sought: Sought::Spans, limit: u32::MAX as usize, ..everything(order, 0..u64::MAX) };
        let events = world.engine.search_events(&world.tenant, query).expect("no cursor");
        let mut events = std::pin::pin!(events);
        let (mut given, mut last) = (0, 0);
        while let Some(event) = events.next().await {
            match event {
                SearchEvent::Span(hit) => {
                    let (place, ..) = row(&hit, order);
                    assert!(place >= last, "in order");
                    (given, last) = (given + 1, place);
                }
                SearchEvent::Trace(_) => unreachable!("spans are sought"),
                SearchEvent::End(end) => {
                    assert!(end.missing.is_empty() && end.next.is_none(), "{:?}", end.missing);
                }
            }
        }
        assert_eq!(given, STREAMED_TRACES * STREAMED_OF_EACH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lacks_for_good_is_no_reason_for_a_further_page() {
    let trace = TraceLimits { spans_max: 5, ..EngineOptions::default().trace };
    let world = World::new(1, EngineOptions { trace, ..EngineOptions::default() }).await;
    let spans: Vec<Span> = (0..10).map(|n| Span::plain(1, n + 1, BEGIN + n)).collect();
    world.send(&spans.iter().collect::<Vec<_>>()).await;
    world.send(&[&Span::plain(2, 1, BEGIN)]).await;
    for sought in [Sought::Traces, Sought::Spans] {
        for order in [Order::Newest, Order::Oldest, Order::Longest] {
            let mut query = SearchQuery { sought, limit: 4, ..everything(order, 0..u64::MAX) };
            let mut pages = 0;
            loop {
                let page = world.engine.search(&world.tenant, query.clone()).await.expect("a page");
                pages += 1;
                assert!(pages <= 3, "{sought:?} {order:?}: pages without end");
                let Some(next) = page.end.next else { break };
                query.after = Some(next);
            }
        }
    }
}

/// Traces of several segments, of which none is given before all are decided: with so many spans there is no room for
/// all of them.
#[tokio::test(flavor = "multi_thread")]
async fn traces_that_have_to_wait_take_bounded_room_and_the_cursor_goes_on() {
    const TRACES: u64 = 1_100;
    let world = World::new(1, EngineOptions::default()).await;
    for half in 0..2 {
        let of_trace = |trace: u64| (0..50).map(move |n| (trace, half * 50 + n));
        let span = |(trace, n)| Span::plain(trace, n + 1, BEGIN + trace * 1_000 + n * (trace + 1));
        let spans: Vec<Span> = (0..TRACES).flat_map(of_trace).map(span).collect();
        for part in spans.chunks(5_000) {
            world.send(&part.iter().collect::<Vec<_>>()).await;
        }
        world.flush().await;
    }
    let everything = everything(Order::Longest, 0..u64::MAX);
    let mut query = SearchQuery { limit: u32::MAX as usize, spans_per_trace: 100, ..everything };
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let events = world.engine.search_events(&world.tenant, query.clone()).expect("a cursor of its own");
        let mut events = std::pin::pin!(events);
        let mut next = None;
        while let Some(event) = events.next().await {
            match event {
                SearchEvent::Trace(hit) => found.push((hit.duration_nano, hit.spans.len())),
                SearchEvent::Span(_) => unreachable!("traces are sought"),
                SearchEvent::End(end) => {
                    assert_eq!(end.missing.is_empty(), end.next.is_none(), "{:?}", end.missing);
                    assert!(end.missing.iter().all(|gap| gap.why.contains("search_spans_found_max")));
                    next = end.next;
                }
            }
        }
        pages += 1;
        query.after = next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(pages, 2);
    assert_eq!(found.len() as u64, TRACES);
    assert!(found.iter().all(|(_, spans)| *spans == 100));
    assert!(found.is_sorted_by(|a, b| a.0 > b.0), "the longest first, each once");
}

/// Spans of an hour that start within a second, each of a trace of its own: by the index any can be the newest until all
/// are read, and there are more than may wait.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_is_given_behind_the_cursor() {
    const SPANS: u64 = 100_100;
    const HOUR: u64 = 3_600_000_000_000;
    let world = World::new(1, EngineOptions::default()).await;
    let span = |n| Span { end: BEGIN + n + HOUR, ..Span::plain(n, n + 1, BEGIN + n) };
    let spans: Vec<Span> = (0..SPANS).map(span).collect();
    for part in spans.chunks(5_000) {
        world.send(&part.iter().collect::<Vec<_>>()).await;
    }
    world.flush().await;
    let all = everything(Order::Newest, 0..u64::MAX);
    let mut query = SearchQuery { sought: Sought::Spans, limit: u32::MAX as usize, ..all };
    let mut pages: Vec<Vec<u64>> = Vec::new();
    loop {
        let events = world.engine.search_events(&world.tenant, query.clone()).expect("a cursor of its own");
        let mut events = std::pin::pin!(events);
        let (mut found, mut end) = (Vec::new(), None);
        while let Some(event) = events.next().await {
            match event {
                SearchEvent::Span(hit) => found.push(hit.span().start_unix_nano() - BEGIN),
                SearchEvent::Trace(_) => unreachable!("spans are sought"),
                SearchEvent::End(last) => end = Some(last),
            }
        }
        let end = end.expect("an end");
        assert_eq!(end.missing.is_empty(), end.next.is_none(), "{:?}", end.missing);
        pages.push(found);
        query.after = end.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100_000, 100]);
    assert!(pages.concat().into_iter().eq((0..SPANS).rev()), "in order, each once");
}
