//! What a search says of how it found its page, held against what was done to the store.

use std::collections::BTreeMap;

use tracelake_query::search::{ConditionHow, NotRead, PlannedSource, SearchPlan, SearchQuery, SourceHow};
use tracelake_query::{EngineOptions, Order};
use tracelake_traceql::parse;

use super::everything;
use super::model::{BEGIN, Span, Value};
use crate::support::World;

/// What searches are of begins with the spans, and is so long.
const RANGE_NANO: u64 = 1_000;

impl World {
    /// A trace each.
    async fn send_traces(&self, traces: &[u64], start: u64) {
        let spans: Vec<Span> = traces.iter().map(|n| Span::plain(*n, n + 1, start + n)).collect();
        self.send(&spans.iter().collect::<Vec<_>>()).await;
    }

    async fn plan(&self, query: &SearchQuery) -> SearchPlan {
        let page = self.page(&SearchQuery { explain: true, ..query.clone() }).await;
        *page.end.plan.expect("it was asked for")
    }

    /// The paths of the live segments.
    fn paths(&self) -> Vec<String> {
        self.store.snapshot().manifest.segments.iter().map(|entry| entry.path.clone()).collect()
    }
}

fn query(text: &str, limit: usize) -> SearchQuery {
    let predicate = parse(text).expect("a query");
    SearchQuery { predicate, limit, ..everything(Order::Newest, BEGIN..BEGIN + RANGE_NANO) }
}

/// How, why not, and how many traces were worth a look, by source.
fn told(plan: &SearchPlan) -> BTreeMap<&str, (SourceHow, Option<NotRead>, u64)> {
    let one = |source: &PlannedSource| (source.how, source.why, source.candidates);
    plan.sources.iter().map(|source| (source.source.as_str(), one(source))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_told_as_they_were_looked_into() {
    let world = World::new(1, EngineOptions::default()).await;
    for traces in [[1, 2], [3, 4]] {
        world.send_traces(&traces, BEGIN).await;
        world.flush().await;
    }
    world.store.compact().await.expect("a merge");
    let [merged]: [String; 1] = world.paths().try_into().expect("one segment");
    world.send_traces(&[5, 6, 7], BEGIN).await;
    world.flush().await;
    world.send_traces(&[8], BEGIN + RANGE_NANO).await;
    world.flush().await;
    let others: Vec<String> = world.paths().into_iter().filter(|path| *path != merged).collect();
    let [flushed, outside]: [String; 2] = others.try_into().expect("two more");
    world.send_traces(&[20, 21, 22, 23], BEGIN).await;

    let all = query("{ duration > 1ns }", 100);
    assert!(world.page(&all).await.end.plan.is_none(), "it was not asked for");
    let plan = world.plan(&all).await;
    let expected = [
        ("memory", (SourceHow::Memory, None, 4)),
        (flushed.as_str(), (SourceHow::Index, None, 3)),
        (merged.as_str(), (SourceHow::Index, None, 4)),
        (outside.as_str(), (SourceHow::NotRead, Some(NotRead::TimeRange), 0)),
    ];
    assert_eq!(told(&plan), BTreeMap::from(expected));
    assert_eq!(plan.sources.first().map(|source| source.source.as_str()), Some("memory"));
    assert!(plan.others.is_empty(), "{:?}", plan.others);

    // What is in memory is newer than all else, and more than enough.
    let plan = world.plan(&query("{ duration > 1ns }", 2)).await;
    for path in [&flushed, &merged] {
        assert_eq!(told(&plan).get(path.as_str()), Some(&(SourceHow::NotRead, Some(NotRead::Stopped), 0)));
    }
    assert!(plan.conditions.iter().all(|one| one.how == ConditionHow::Rows), "{:?}", plan.conditions);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_answered_cheapest_first() {
    let world = World::new(1, EngineOptions::default()).await;
    let span = |n: u64| {
        let mut attributes = vec![("a", Value::Int(n as i64 % 50)), ("b", Value::Int(1))];
        attributes.extend((n == 57).then_some(("x y", Value::Int(1))));
        Span { attributes, ..Span::plain(n, n + 1, BEGIN + n) }
    };
    let spans: Vec<Span> = (0..200).map(span).collect();
    for part in spans.chunks(100) {
        world.send(&part.iter().collect::<Vec<_>>()).await;
        world.flush().await;
    }
    world.store.compact().await.expect("a merge");
    let told = |plan: &SearchPlan| -> Vec<(String, ConditionHow)> {
        plan.conditions.iter().map(|one| (one.condition.clone(), one.how)).collect()
    };

    // Fifty values take more of the index than one.
    let text = r#"{ !(span.b = 2) && span.a = 7 && span."x y" = 1 }"#;
    let plan = world.plan(&query(text, 100)).await;
    let expected = [
        (r#"span."x y" = 1"#.to_owned(), ConditionHow::Index),
        ("span.a = 7".to_owned(), ConditionHow::Index),
        ("!(span.b = 2)".to_owned(), ConditionHow::Rows),
    ];
    assert_eq!(told(&plan), expected);
    let bytes: Vec<Option<u64>> = plan.conditions.iter().map(|one| one.index_bytes).collect();
    assert!(bytes[0] < bytes[1] && bytes[0].is_some() && bytes[2].is_none(), "{bytes:?}");
    let candidates: u64 = plan.sources.iter().map(|source| source.candidates).sum();
    assert_eq!(candidates, 1, "{plan:?}");

    // What no trace has is known at once, and nothing of the others is read.
    let plan = world.plan(&query("{ span.a = 7 && span.none > 1 && span.b != 2 }", 100)).await;
    let first = plan.conditions.first().expect("conditions");
    assert_eq!((first.condition.as_str(), first.index_bytes), ("span.none > 1", Some(0)));
    assert!(told(&plan).contains(&("span.b != 2".to_owned(), ConditionHow::IndexUpperBound)), "{plan:?}");
    assert!(plan.sources.iter().all(|source| source.candidates == 0), "{plan:?}");
}
