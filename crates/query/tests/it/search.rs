//! Searches beside a naive oracle: over memtables, flushed and merged segments and mixtures of them, page by page,
//! while more comes in.

mod by_id;
mod many;
pub(crate) mod model;
mod partial;
mod plan;
mod removed;
mod results;
mod ruled_out;
mod states;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tracelake_query::search::{Cursor, Histogram, SearchPage, SearchQuery, Sought, Totals};
use tracelake_query::{EngineOptions, Order};
use tracelake_store::Encoding;
use tracelake_traceql::parse;

use self::model::{BEGIN, Query, SPREAD, Span, extent, request};
use crate::oracle::seed;
use crate::support::World;

const TRACES: u64 = 60;

/// Segments that were looked into, by how.
static INDEXED: AtomicU64 = AtomicU64::new(0);
static SCANNED: AtomicU64 = AtomicU64::new(0);

impl World {
    async fn send(&self, spans: &[&Span]) {
        let body = request(spans);
        let ingested = self.store.ingest(&self.tenant, Encoding::Json, body.into()).await;
        assert_eq!(ingested.expect("it is taken").spans_accepted, spans.len() as u64);
    }

    /// Sends more random spans, of traces that are there, too: their starts and durations change.
    async fn send_random(&self, spans: &mut Vec<Span>, random: &mut StdRng, count: u64, traces: u64) {
        let first = spans.len() as u64 + 1;
        let more: Vec<Span> = (first..first + count)
            .map(|id| {
                let trace = random.random_range(0..traces);
                Span::wild(random, trace, id)
            })
            .collect();
        for part in more.chunks(15) {
            self.send(&part.iter().collect::<Vec<_>>()).await;
        }
        spans.extend(more);
    }

    /// Flushes, merges or starts anew, four times out of so many.
    async fn disturb(&mut self, random: &mut StdRng, times: u32) {
        match random.random_range(0..times) {
            0 | 1 => self.flush().await,
            2 => drop(self.store.compact().await.expect("a merge")),
            3 => self.restart(random.random()).await,
            _ => {}
        }
    }

    async fn page(&self, query: &SearchQuery) -> SearchPage {
        let page = self.engine.search(&self.tenant, query.clone()).await.expect("a page");
        assert!(page.end.missing.is_empty(), "{:?}", page.end.missing);
        page
    }
}

fn search(query: &Query, starts: Range<u64>, order: Order, limit: usize) -> SearchQuery {
    let predicate = parse(&query.text()).map_err(|error| format!("{}: {error}", query.text()));
    let predicate = predicate.expect("a query");
    SearchQuery { predicate, limit, spans_per_trace: 1_000, ..everything(order, starts) }
}

/// All traces, with one span each, by fives.
fn everything(order: Order, starts: Range<u64>) -> SearchQuery {
    SearchQuery {
        starts,
        predicate: parse("{ }").expect("a query"),
        sought: Sought::Traces,
        order,
        limit: 5,
        spans_per_trace: 1,
        select: Vec::new(),
        after: None,
        count: false,
        histogram: None,
        explain: false,
    }
}

/// What is expected of a trace: where it stands, then what is answered.
type Expected = (u64, u128, (u64, u64, usize, usize), Vec<u64>);

fn expected(spans: &[Span], query: &Query, starts: &Range<u64>, order: Order) -> Vec<Expected> {
    let mut traces: BTreeMap<u64, Vec<&Span>> = BTreeMap::new();
    spans.iter().for_each(|span| traces.entry(span.trace).or_default().push(span));
    let mut found = Vec::new();
    for (trace, spans) in traces {
        let in_range: Vec<&Span> =
            spans.iter().filter(|span| starts.contains(&span.start)).copied().collect();
        let Some(matching) = query.matching(&in_range, &spans) else { continue };
        if in_range.is_empty() {
            continue;
        }
        let (start, duration) = extent(&spans);
        let errors = spans.iter().filter(|span| span.status == 2).count();
        let place = match order {
            Order::Newest => u64::MAX - start,
            Order::Oldest => start,
            Order::Longest => u64::MAX - duration,
        };
        found.push((place, u128::from(trace) + 1, (start, duration, spans.len(), errors), matching));
    }
    found.sort();
    found
}

fn answered(page: &SearchPage, order: Order) -> Vec<Expected> {
    let one = |hit: &tracelake_query::TraceHit| {
        let mut spans: Vec<u64> =
            hit.spans.spans().map(|span| u64::from_be_bytes(*span.span_id().as_bytes())).collect();
        spans.sort_unstable();
        assert_eq!(spans.len(), hit.matched);
        let place = match order {
            Order::Newest => u64::MAX - hit.start_unix_nano,
            Order::Oldest => hit.start_unix_nano,
            Order::Longest => u64::MAX - hit.duration_nano,
        };
        let trace = u128::from_be_bytes(*hit.trace_id.as_bytes());
        (place, trace, (hit.start_unix_nano, hit.duration_nano, hit.span_count, hit.error_count), spans)
    };
    page.traces.iter().map(one).collect()
}

fn random_search(random: &mut StdRng) -> (Query, Range<u64>, Order, usize) {
    let query = Query::random(random);
    let starts = if random.random_bool(0.5) {
        0..u64::MAX
    } else {
        let from = BEGIN + random.random_range(0..SPREAD);
        from..from + random.random_range(1..SPREAD)
    };
    let order = *[Order::Newest, Order::Oldest, Order::Longest].choose(random).expect("some");
    (query, starts, order, random.random_range(1..25))
}

/// When what matches in a trace starts first, which is where a histogram has the trace.
fn first_start(spans: &[Span], matching: &[u64]) -> u64 {
    let starts = spans.iter().filter(|span| matching.contains(&span.id)).map(|span| span.start);
    starts.min().expect("something matches")
}

/// That each of these starts, and nothing else, is counted in its part, and that the parts are of the range.
fn check_histogram(histogram: &Histogram, range: &Range<u64>, starts: impl Iterator<Item = u64>) {
    let (first, width) = (histogram.start_unix_nano, histogram.width_nano);
    assert!(first >= range.start, "{histogram:?} of {range:?}");
    let mut counts = vec![0; histogram.counts.len()];
    for start in starts {
        let is_in = |part: &usize| {
            let from = first + *part as u64 * width;
            (from..from + width).contains(&start)
        };
        let part = (0..counts.len()).find(is_in);
        counts[part.unwrap_or_else(|| unreachable!("{start} is in no part of {histogram:?}"))] += 1;
    }
    assert_eq!(histogram.counts, counts, "by {width} from {first}");
}

/// All pages, each begun where the one before ended; `between` happens between them.
async fn all_pages(
    world: &mut World,
    query: SearchQuery,
    between: impl AsyncFnMut(&mut World),
) -> Vec<Expected> {
    counted_pages(world, query, between).await.0
}

/// The same with what was counted, if it was asked for.
async fn counted_pages(
    world: &mut World,
    mut query: SearchQuery,
    mut between: impl AsyncFnMut(&mut World),
) -> (Vec<Expected>, Option<Totals>) {
    let (mut all, mut counted) = (Vec::new(), None);
    loop {
        let page = world.page(&query).await;
        assert!(page.traces.len() <= query.limit);
        let stats = &page.end.stats;
        INDEXED.fetch_add(stats.segments_indexed, Ordering::Relaxed);
        SCANNED.fetch_add(stats.segments_scanned, Ordering::Relaxed);
        let totals = page.end.totals.clone();
        assert_eq!(totals.is_some(), query.count || query.histogram.is_some());
        let of_first = counted.get_or_insert(totals.clone());
        assert_eq!(*of_first, totals, "every page counts all of them");
        if let Some(histogram) = totals.as_ref().and_then(|totals| totals.histogram.as_ref()) {
            assert_eq!(Some(histogram.counts.len()), query.histogram);
            assert_eq!(
                Some(histogram.counts.iter().sum::<u64>()),
                totals.as_ref().map(|totals| totals.count)
            );
        }
        all.extend(answered(&page, query.order));
        let Some(next) = page.end.next else {
            if let Some(totals) = &totals {
                assert_eq!(totals.count, all.len() as u64);
            }
            return (all, totals);
        };
        // As a client carries it.
        let next: Cursor = next.to_string().parse().expect("a cursor");
        next.check(&query).expect("of this search");
        query.after = Some(next);
        between(world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_find_what_a_naive_oracle_finds() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (mut pairs, mut hits, mut binned) = (0, 0, 0);
    for round in 0..4 {
        let mut world = World::new(seed + round, EngineOptions::default()).await;
        let mut spans: Vec<Span> = Vec::new();
        for step in 0..8 {
            let count = random.random_range(20..60);
            world.send_random(&mut spans, &mut random, count, TRACES).await;
            world.disturb(&mut random, 4).await;
            for _ in 0..20 {
                let (query, starts, order, limit) = random_search(&mut random);
                let expected = expected(&spans, &query, &starts, order);
                let mut search = search(&query, starts.clone(), order, limit);
                search.count = random.random_bool(0.2);
                search.histogram = random.random_bool(0.2).then(|| random.random_range(1..20));
                let (found, totals) = counted_pages(&mut world, search, async |_| ()).await;
                assert_eq!(found, expected, "step {step}: {} in {starts:?} by {order:?}", query.text());
                if let Some(histogram) = totals.and_then(|totals| totals.histogram) {
                    let firsts = expected.iter().map(|(_, _, _, matching)| first_start(&spans, matching));
                    check_histogram(&histogram, &starts, firsts);
                    binned += expected.len();
                }
                pairs += TRACES;
                hits += found.len();
            }
        }
    }
    let (indexed, scanned) = (INDEXED.load(Ordering::Relaxed), SCANNED.load(Ordering::Relaxed));
    assert!(indexed > 100 && scanned > 100, "{indexed} times by the index, {scanned} times by the rows");
    assert!(pairs >= 20_000, "{pairs} traces were decided");
    assert!(hits * 20 > pairs as usize, "{hits} of {pairs} traces satisfied a condition: hardly any");
    assert!(binned > 200, "{binned} traces in histograms: hardly any");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_as_of_the_first_whatever_comes_in_and_is_merged() {
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
        let found = all_pages(&mut world, search, async |world| {
            pages += 1;
            world.send_random(&mut spans, &mut random, 6, TRACES + 30).await;
            world.disturb(&mut random, 6).await;
        })
        .await;
        assert_eq!(found, expected, "{} in {starts:?} by {order:?}", query.text());
    }
    assert!(pages > 10, "{pages} pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_good_for_its_own_search_alone() {
    let world = World::new(1, EngineOptions::default()).await;
    let mut random = StdRng::seed_from_u64(1);
    let spans: Vec<Span> = (1..20).map(|id| Span::random(&mut random, id, id)).collect();
    world.send(&spans.iter().collect::<Vec<_>>()).await;
    let query = everything(Order::Newest, 0..u64::MAX);
    let cursor = world.page(&query).await.end.next.expect("there is more");
    assert!(cursor.check(&query).is_ok());
    assert!(cursor.check(&everything(Order::Oldest, 0..u64::MAX)).is_err());
    assert!(cursor.check(&everything(Order::Newest, 1..u64::MAX)).is_err());
    assert!(cursor.check(&SearchQuery { sought: Sought::Spans, ..query.clone() }).is_err());
    let text = cursor.to_string();
    for wrong in [
        "",
        "00",
        &text[2..],
        &text.replace(&text[..2], "ff"),
        &format!("{text}00"),
        &"ü".repeat(text.len() / 2),
    ] {
        assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
    }
}

/// More spans than one task goes through, and traces in batches of several.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_is_gone_through_by_several_tasks() {
    const MANY: u64 = 20_000;
    let world = World::new(1, EngineOptions::default()).await;
    let span = |n: u64| {
        let attributes = vec![("a", model::Value::Int((n % 3) as i64))];
        Span { attributes, ..Span::plain(n % MANY + 1, n + 1, BEGIN + n) }
    };
    let spans: Vec<Span> = (0..2 * MANY).map(span).collect();
    for part in spans.chunks(1_000) {
        world.send(&part.iter().collect::<Vec<_>>()).await;
    }
    let predicate = parse("{ span.a = 1 }").expect("a query");
    let query = SearchQuery { predicate, count: true, ..everything(Order::Newest, 0..u64::MAX) };
    let page = world.page(&query).await;
    // Of a trace's two spans one is MANY behind the other.
    let matching: Vec<u64> = (0..MANY).filter(|n| n % 3 == 1 || (n + MANY) % 3 == 1).collect();
    assert_eq!(page.end.totals.map(|totals| totals.count), Some(matching.len() as u64));
    let found: Vec<u64> = page.traces.iter().map(|hit| hit.start_unix_nano - BEGIN).collect();
    assert_eq!(found, matching.into_iter().rev().take(5).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_services_some_are_named_and_all_are_counted() {
    let names: Vec<&'static str> = (0..70).map(|n| &*format!("service-{n}").leak()).collect();
    let world = World::new(1, EngineOptions::default()).await;
    let span =
        |(n, name): (u64, &&'static str)| Span { service: Some(name), ..Span::plain(1, n + 1, BEGIN + n) };
    let spans: Vec<Span> = (0..).zip(&names).map(span).collect();
    world.send(&spans.iter().chain(&spans).collect::<Vec<_>>()).await;
    let page = world.page(&everything(Order::Newest, 0..u64::MAX)).await;
    assert_eq!(page.traces.len(), 1);
    let hit = &page.traces[0];
    assert_eq!((hit.services.len(), hit.service_count), (64, 70));
    assert!(hit.services.iter().zip(&names).all(|(found, sent)| **found == **sent), "{:?}", hit.services);
}
