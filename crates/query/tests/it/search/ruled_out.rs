//! Filters of values: a segment without what is looked for is not looked into, and one that has it always is.

use std::ops::Range;
use std::time::Duration;

use tracelake_query::search::SearchQuery;
use tracelake_query::{EngineOptions, Order};
use tracelake_traceql::parse;

use super::everything;
use super::model::{BEGIN, Span, Value};
use crate::support::World;

const TRACES: u64 = 200;

/// Of as many values that nobody has: one in 256 is not told from those that somebody has.
const RULED_OUT_MIN: u64 = TRACES - 10;

fn equal(number: u64) -> SearchQuery {
    let predicate = parse(&format!("{{ span.own = {number} && duration > 0ns }}")).expect("a query");
    SearchQuery { predicate, ..everything(Order::Newest, 0..u64::MAX) }
}

/// How many searches for a value found a trace, and how many looked into no segment.
async fn searched(world: &World, values: Range<u64>) -> (u64, u64) {
    let (mut found, mut ruled_out) = (0, 0);
    for number in values {
        let page = world.page(&equal(number)).await;
        let stats = page.end.stats;
        found += page.traces.len() as u64;
        ruled_out += stats.segments_ruled_out;
        if stats.segments_ruled_out == stats.segments_considered {
            let looked = stats.reads.metadata_asked + stats.reads.index_ranges + stats.traces_read;
            assert_eq!((looked, stats.reads.range_reads), (0, 0), "{stats:?}");
        }
    }
    (found, ruled_out)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_without_the_value_is_not_looked_into() {
    let mut world = World::new(1, EngineOptions::default()).await;
    let span =
        |n: u64| Span { attributes: vec![("own", Value::Int(n as i64))], ..Span::plain(n, n + 1, BEGIN + n) };
    let spans: Vec<Span> = (0..TRACES).map(span).collect();
    for part in spans.chunks(TRACES as usize / 2) {
        world.send(&part.iter().collect::<Vec<_>>()).await;
        world.flush().await;
    }
    assert_eq!(searched(&world, 0..TRACES).await.0, TRACES);
    let (found, ruled_out) = searched(&world, TRACES..2 * TRACES).await;
    assert!(found == 0 && ruled_out >= 2 * RULED_OUT_MIN, "{ruled_out} of {TRACES} in each of two segments");
    world.store.compact().await.expect("a merge");

    // After the merge what it wrote is known; after a start it is read in the background.
    for seed in [None, Some(3)] {
        if let Some(seed) = seed {
            world.restart(seed).await;
            let loaded = async {
                while world.store.segments().cache_sizes().value_filter_bytes == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), loaded).await.expect("it is read in advance");
        }
        assert_eq!(searched(&world, 0..TRACES).await, (TRACES, 0));
        let (found, ruled_out) = searched(&world, TRACES..2 * TRACES).await;
        assert_eq!(found, 0);
        assert!(ruled_out >= RULED_OUT_MIN, "{ruled_out} of {TRACES}");
    }
}
