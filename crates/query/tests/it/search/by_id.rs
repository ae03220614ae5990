//! Traces that a condition names by their IDs are looked up, whatever else there is.

use tracelake_model::TraceId;
use tracelake_query::search::{NotRead, SearchQuery, Sought};
use tracelake_query::{EngineOptions, Order};
use tracelake_traceql::parse;

use super::everything;
use super::model::{BEGIN, Span};
use crate::support::World;

const TRACES: u64 = 200;

fn trace_id(trace: u64) -> TraceId {
    TraceId::from_bytes(&(u128::from(trace) + 1).to_be_bytes()).expect("not zero")
}

fn by(condition: &str, order: Order, sought: Sought) -> SearchQuery {
    let predicate = parse(&format!("{{ {condition} }}")).expect("a query");
    SearchQuery { predicate, sought, explain: true, ..everything(order, 0..u64::MAX) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_by_trace_ids_reads_those_traces_alone() {
    let world = World::new(1, EngineOptions::default()).await;
    // Of each trace one span is flushed, and one is in memory.
    for half in 0..2 {
        let spans = (0..TRACES).map(|n| Span::plain(n, 2 * n + half + 1, BEGIN + 1_000 * n + half));
        world.send(&spans.collect::<Vec<_>>().iter().collect::<Vec<_>>()).await;
        if half == 0 {
            world.flush().await;
        }
    }
    let (first, second, nobody) = (trace_id(7), trace_id(150), trace_id(5_000));
    for order in [Order::Newest, Order::Oldest, Order::Longest] {
        let both = format!("trace:id = \"{first}\" || trace:id = \"{second}\" || trace:id = \"{nobody}\"");
        let page = world.page(&by(&both, order, Sought::Traces)).await;
        let found: Vec<(TraceId, usize)> =
            page.traces.iter().map(|hit| (hit.trace_id, hit.span_count)).collect();
        let mut expected = vec![(second, 2), (first, 2)];
        if order != Order::Newest {
            // Both are as long: then the lower ID is first.
            expected.reverse();
        }
        assert_eq!(found, expected, "{order:?}");
        let stats = &page.end.stats;
        assert_eq!((stats.segments_considered, stats.candidates, stats.traces_read), (0, 3, 3));
        let plan = page.end.plan.expect("it was asked for");
        assert!(plan.sources.iter().all(|source| source.why == Some(NotRead::TraceIds)), "{plan:?}");

        let named = format!("trace:id = \"{second}\" && kind = server");
        let page = world.page(&by(&named, order, Sought::Spans)).await;
        assert!(page.spans.iter().all(|hit| hit.span().trace_id() == second));
        assert_eq!((page.spans.len(), page.end.stats.traces_read), (2, 1));
    }
    let none = world
        .page(&by(&format!("trace:id = \"{first}\" && kind = client"), Order::Newest, Sought::Traces))
        .await;
    assert!(none.traces.is_empty() && none.end.next.is_none());
}
