//! Pages of very many traces while spans that match come in beside them, memory is flushed and segments are merged: all
//! that there was when the first page was asked for, in order, and nothing else.

use std::cmp::Reverse;
use std::fmt::Write;

use tokio::sync::mpsc;
use tracelake_model::{TenantId, TraceId};
use tracelake_query::search::SearchQuery;
use tracelake_query::{EngineOptions, Order};
use tracelake_store::{Encoding, Store};
use tracelake_traceql::parse;

use super::everything;
use super::model::BEGIN;
use crate::support::{World, trace_id};

/// Of one span each; one of so many does not match.
const TRACES: u64 = 104_000;
const MISS_OF: u64 = 26;
const HITS: usize = 100_000;

/// Within so many traces starts do not go by IDs.
const MIXED: u64 = 1_000;

const SPANS_OF_REQUEST: usize = 5_000;

/// What comes in while a page is asked for.
const LATER_SPANS: u64 = 50;
const PAGES_OF_FLUSH: u64 = 12;
const PAGES_OF_MERGE: u64 = 30;

struct Sent {
    trace: u64,
    id: u64,
    start: u64,
    is_hit: bool,
}

impl Sent {
    /// That of a trace, of which two start together.
    fn first(n: u64) -> Self {
        let at = n / MIXED * MIXED + n % MIXED * 7 % MIXED;
        Self { trace: n, id: n + 1, start: BEGIN + at / 2, is_hit: !n.is_multiple_of(MISS_OF) }
    }

    /// One that comes in later: of a trace that is there, before and behind its start, or of a new one.
    fn later(n: u64) -> Self {
        let id = TRACES + n + 1;
        let trace = id * 7_919 % (TRACES + TRACES / 10);
        Self { trace, id, start: BEGIN + id * 104_729 % TRACES, is_hit: true }
    }
}

fn request(spans: &[Sent]) -> String {
    let mut text = r#"{"resourceSpans":[{"scopeSpans":[{"spans":["#.to_owned();
    for (at, span) in spans.iter().enumerate() {
        let (comma, name) = (if at > 0 { "," } else { "" }, if span.is_hit { "hit" } else { "miss" });
        let (trace, id, start, end) = (trace_id(span.trace), span.id, span.start, span.start + 1_000);
        let written = write!(
            text,
            r#"{comma}{{"traceId":"{trace}","spanId":"{id:016x}","name":"{name}","startTimeUnixNano":"{start}",
            "endTimeUnixNano":"{end}"}}"#
        );
        written.expect("into memory");
    }
    text + "]}]}]}"
}

async fn send(store: &Store, spans: &[Sent]) {
    let ingested = store.ingest(&TenantId::default(), Encoding::Json, request(spans).into()).await;
    assert_eq!(ingested.expect("it is taken").spans_accepted, spans.len() as u64);
}

/// Two segments that are merged, one that is flushed after that, then memory: with traces from all over the range.
fn part(n: u64) -> u64 {
    match n / 100 % 20 {
        0 => 3,
        1 | 2 => 2,
        others => others % 2,
    }
}

async fn stored() -> World {
    let world = World::new(1, EngineOptions::default()).await;
    for of_part in 0..4 {
        let spans: Vec<Sent> = (0..TRACES).filter(|n| part(*n) == of_part).map(Sent::first).collect();
        for some in spans.chunks(SPANS_OF_REQUEST) {
            send(&world.store, some).await;
        }
        match of_part {
            0 | 2 => world.flush().await,
            1 => {
                world.flush().await;
                world.store.compact().await.expect("a merge");
            }
            _ => {}
        }
    }
    let snapshot = world.store.snapshot();
    let mut levels: Vec<u32> = snapshot.manifest.segments.iter().map(|entry| entry.meta.level).collect();
    levels.sort_unstable();
    assert!(
        levels.len() == 2 && levels[0] == 0 && levels[1] > 0,
        "one is flushed and one merged: {levels:?}"
    );
    world
}

/// A turn for each page; how many there were.
async fn disturb(store: Store, mut turns: mpsc::Receiver<()>) -> u64 {
    let mut turn = 0;
    while turns.recv().await.is_some() {
        let spans: Vec<Sent> = (turn * LATER_SPANS..(turn + 1) * LATER_SPANS).map(Sent::later).collect();
        send(&store, &spans).await;
        turn += 1;
        if turn % PAGES_OF_FLUSH == 0 {
            store.flush().await.expect("a flush");
        }
        if turn % PAGES_OF_MERGE == 0 {
            store.flush().await.expect("a flush");
            store.compact().await.expect("a merge");
        }
    }
    turn
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_hundred_thousand_traces_lack_none_and_repeat_none() {
    let world = stored().await;
    let mut expected: Vec<(u64, TraceId, usize)> = (0..TRACES)
        .map(Sent::first)
        .filter(|span| span.is_hit)
        .map(|span| (span.start, trace_id(span.trace), 1))
        .collect();
    expected.sort_unstable_by_key(|(start, trace_id, _)| (Reverse(*start), *trace_id));
    assert_eq!(expected.len(), HITS);

    let merges_before = world.store.status().compaction.merges;
    let (turns, waiting) = mpsc::channel(1);
    let meanwhile = tokio::spawn(disturb(world.store.clone(), waiting));
    let predicate = parse(r#"{ name = "hit" }"#).expect("a query");
    let mut query = SearchQuery { predicate, ..everything(Order::Newest, 0..u64::MAX) };
    let (mut found, mut pages) = (Vec::with_capacity(HITS), 0);
    loop {
        query.limit = match pages % 10 {
            3 => 1,
            7 => 5_000,
            _ => 1_000,
        };
        let page = world.page(&query).await;
        pages += 1;
        assert!(page.end.next.is_none() || page.traces.len() == query.limit, "page {pages} is full");
        found.extend(page.traces.iter().map(|hit| (hit.start_unix_nano, hit.trace_id, hit.span_count)));
        let Some(next) = page.end.next else { break };
        query.after = Some(next);
        // What comes in is there while the next page is looked for, and the turns keep up with the pages.
        turns.send(()).await.expect("the other task is at work");
    }
    drop(turns);
    let turns = meanwhile.await.expect("all of it was taken");
    assert!(turns > 2 * PAGES_OF_MERGE && turns + 1 == pages, "{turns} turns beside {pages} pages");
    let merges = world.store.status().compaction.merges - merges_before;
    assert!(merges >= 2, "{merges} merges");

    let first_that_differs = found.iter().zip(&expected).position(|(found, expected)| found != expected);
    assert_eq!((first_that_differs, found.len()), (None, HITS));
}
