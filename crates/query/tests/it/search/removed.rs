//! Cursors and retention: pages that would lack what it has removed are refused, all others go on.

use std::ops::Range;
use std::time::Duration;

use tracelake_model::TraceId;
use tracelake_query::search::{CursorError, SearchQuery};
use tracelake_query::{EngineOptions, Order};
use tracelake_store::retention::{RetentionLimits, RetentionPolicy};

use super::model::{BEGIN, Span};
use super::{all_pages, everything};
use crate::support::{World, trace_id};

/// Traces of each of the two segments.
const EACH: u64 = 10;

const PAGE_TRACES: usize = 4;

const HOUR_NANO: u64 = 3_600_000_000_000;

/// A store with a segment of spans of years ago, and one with spans of this hour, which begin then.
async fn world() -> (World, u64) {
    let world = World::new(1, EngineOptions::default()).await;
    let recent = world.store.now_unix_nano() - HOUR_NANO;
    for (first, start) in [(0, BEGIN), (EACH, recent)] {
        let spans: Vec<Span> = (first..first + EACH).map(|n| Span::plain(n, n + 1, start + n)).collect();
        world.send(&spans.iter().collect::<Vec<_>>()).await;
        world.flush().await;
    }
    (world, recent)
}

fn pages(starts: Range<u64>) -> SearchQuery {
    SearchQuery { limit: PAGE_TRACES, ..everything(Order::Newest, starts) }
}

/// Removes the segment of years ago.
async fn remove_old(world: &World) {
    let age_max = Some(Duration::from_secs(30 * 86_400));
    let others = RetentionLimits { age_max, bytes_max: None };
    let limits = RetentionPolicy { others, ..RetentionPolicy::default() };
    let removed = world.store.apply_retention_with(limits).await.expect("it removes");
    assert_eq!(removed.iter().map(|segment| segment.spans()).sum::<u64>(), EACH);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_refused_once_what_its_search_had_is_removed() {
    let (mut world, _) = world().await;
    let mut query = pages(0..u64::MAX);
    query.after = world.page(&query).await.end.next;
    world.restart(3).await;
    assert_eq!(world.page(&query).await.traces.len(), PAGE_TRACES, "a restart removes nothing");
    remove_old(&world).await;
    for seed in [5, 7] {
        let refused = world.engine.search(&world.tenant, query.clone()).await;
        assert_eq!(refused.err(), Some(CursorError::Removed));
        assert_eq!(
            world.engine.search_events(&world.tenant, query.clone()).err(),
            Some(CursorError::Removed)
        );
        world.restart(seed).await;
    }
    // What begins after the removal goes on.
    let found = all_pages(&mut world, pages(0..u64::MAX), async |_| ()).await;
    assert_eq!(found.len() as u64, EACH);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_where_nothing_of_their_range_is_removed() {
    let (world, recent) = world().await;
    let mut query = pages(recent..u64::MAX);
    let mut found: Vec<TraceId> = Vec::new();
    loop {
        let page = world.page(&query).await;
        found.extend(page.traces.iter().map(|hit| hit.trace_id));
        if query.after.is_none() {
            remove_old(&world).await;
        }
        let Some(next) = page.end.next else { break };
        query.after = Some(next);
    }
    assert_eq!(found, (EACH..2 * EACH).rev().map(trace_id).collect::<Vec<_>>());
}
