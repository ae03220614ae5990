//! Lists of services, operations, attributes and values beside a naive count of the spans: over memtables, flushed and
//! merged segments and mixtures of them, in whole and in cut ranges. Every trace is in one source, where it counts once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_query::EngineOptions;
use tracelake_query::values::{
    FieldScope, ListedValue, Listing, TypedValue, ValuesQuery, ValuesRange, asks_of_trace,
};
use tracelake_store::Encoding;
use tracelake_traceql::{Predicate, TracePredicate, parse};

use crate::oracle::seed;
use crate::search::model::{BEGIN, SPREAD, Span, Value, request};
use crate::support::World;

const KEYS: [&str; 4] = ["a", "b", "http.status", "x y"];
const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const STATUSES: [&str; 3] = ["unset", "ok", "error"];
const ALL: Range<u64> = 0..u64::MAX;

/// A value's type and text.
type Typed = (&'static str, String);

/// How many traces have something.
type Counts<K> = BTreeMap<K, u64>;

fn scalars(value: &Value) -> Vec<Typed> {
    match value {
        Value::Int(int) => vec![("number", int.to_string())],
        Value::Double(double) => vec![("number", double.to_string())],
        Value::Text(text) => vec![("string", (*text).to_owned())],
        Value::Bool(value) => vec![("bool", value.to_string())],
        Value::List(list) => list.iter().flat_map(scalars).collect(),
    }
}

/// What a span has in a scope.
fn attributes(span: &Span, scope: FieldScope) -> Vec<(&'static str, Value)> {
    match scope {
        FieldScope::Span => span.attributes.clone(),
        FieldScope::Resource => {
            let service = span.service.map(|service| ("service.name", Value::Text(service)));
            span.of_resource.iter().cloned().chain(service).collect()
        }
        FieldScope::Event => span.events.iter().flat_map(|(_, attributes)| attributes.clone()).collect(),
        FieldScope::Intrinsic | FieldScope::Instrumentation | FieldScope::Link => Vec::new(),
    }
}

/// How many traces have each of what their spans have.
fn count<'s, K: Ord>(spans: impl Iterator<Item = &'s Span>, of: impl Fn(&Span) -> Vec<K>) -> Counts<K> {
    let mut traces: BTreeMap<K, BTreeSet<u64>> = BTreeMap::new();
    for span in spans {
        for one in of(span) {
            traces.entry(one).or_default().insert(span.trace);
        }
    }
    traces.into_iter().map(|(one, traces)| (one, traces.len() as u64)).collect()
}

/// The values of a key in a scope; or of any, where a trace counts in each.
fn values<'s>(
    spans: impl Iterator<Item = &'s Span> + Clone,
    scope: Option<FieldScope>,
    key: &str,
) -> Counts<Typed> {
    let scopes = scope.map_or_else(|| FieldScope::ALL.to_vec(), |scope| vec![scope]);
    let mut all = Counts::new();
    for scope in scopes {
        let of_scope = count(spans.clone(), |span| {
            let found = attributes(span, scope).into_iter().filter(|(other, _)| *other == key);
            found.flat_map(|(_, value)| scalars(&value)).collect()
        });
        of_scope.into_iter().for_each(|(value, traces)| *all.entry(value).or_default() += traces);
    }
    all
}

fn names<'s>(spans: impl Iterator<Item = &'s Span>, service: Option<&str>) -> Counts<Typed> {
    let of_service = spans.filter(|span| service.is_none() || span.service == service);
    count(of_service, |span| vec![("string", span.name.to_owned())])
}

fn keys<'s>(spans: impl Iterator<Item = &'s Span>) -> Counts<(FieldScope, &'static str)> {
    count(spans, |span| {
        let of_scope = |scope| attributes(span, scope).into_iter().map(move |(key, _)| (scope, key));
        FieldScope::ALL.into_iter().flat_map(of_scope).collect()
    })
}

fn range(starts: &Range<u64>) -> ValuesRange {
    ValuesRange { starts: starts.clone(), prefix: String::new(), limit: 10_000 }
}

fn answered(listing: &Listing<ListedValue>) -> Counts<Typed> {
    assert!(listing.missing.is_empty() && !listing.has_more, "{:?}", listing.missing);
    let place = |one: &ListedValue| (u64::MAX - one.traces, one.value.text().into_owned());
    assert!(listing.entries.is_sorted_by_key(place), "{:?}", listing.entries);
    let typed = |one: &ListedValue| match &one.value {
        TypedValue::Text(text) => ("string", text.to_string()),
        TypedValue::Number(_) => ("number", one.value.text().into_owned()),
        TypedValue::Bool(_) => ("bool", one.value.text().into_owned()),
    };
    let counts: Counts<Typed> = listing.entries.iter().map(|one| (typed(one), one.traces)).collect();
    assert_eq!(counts.len(), listing.entries.len(), "each is there once");
    counts
}

impl World {
    async fn keys(&self, starts: &Range<u64>) -> Counts<(FieldScope, String)> {
        let listing = self.engine.attributes(&self.tenant, None, range(starts)).await;
        assert!(listing.missing.is_empty(), "{:?}", listing.missing);
        listing.entries.into_iter().map(|one| ((one.scope, one.key.to_string()), one.traces)).collect()
    }

    async fn values(
        &self,
        scope: Option<FieldScope>,
        key: &str,
        condition: Option<Predicate>,
        starts: &Range<u64>,
    ) -> Listing<ListedValue> {
        let query = ValuesQuery { scope, key: key.to_owned(), condition };
        self.engine.values(&self.tenant, query, range(starts)).await
    }

    async fn operations(&self, service: Option<&str>, starts: &Range<u64>) -> Counts<Typed> {
        answered(&self.engine.operations(&self.tenant, service, range(starts)).await)
    }

    async fn services(&self, starts: &Range<u64>) -> Counts<Typed> {
        answered(&self.engine.services(&self.tenant, range(starts)).await)
    }

    fn has_index(&self) -> bool {
        self.store.snapshot().manifest.segments.iter().any(|entry| entry.meta.has_index())
    }
}

fn owned(keys: Counts<(FieldScope, &'static str)>) -> Counts<(FieldScope, String)> {
    keys.into_iter().map(|((scope, key), traces)| ((scope, key.to_owned()), traces)).collect()
}

fn condition(text: &str) -> Predicate {
    match parse(text).expect("a query") {
        TracePredicate::AnySpan(condition) => condition,
        other => unreachable!("{other:?}"),
    }
}

/// What is counted of all spans is exact, but for values that one trace of an index alone has.
async fn whole(world: &World, spans: &[Span]) {
    let all = || spans.iter();
    let services = values(all(), Some(FieldScope::Resource), "service.name");
    assert_eq!(world.services(&ALL).await, services);
    assert_eq!(world.operations(None, &ALL).await, names(all(), None));
    for service in ["cart", "shop", "db", "nobody"] {
        assert_eq!(world.operations(Some(service), &ALL).await, names(all(), Some(service)), "{service}");
    }
    let (of_kinds, of_statuses) = (
        count(all(), |span| vec![("string", KINDS[span.kind as usize].to_owned())]),
        count(all(), |span| vec![("string", STATUSES[span.status as usize].to_owned())]),
    );
    for (key, expected) in [("kind", of_kinds), ("status", of_statuses)] {
        let found = world.values(Some(FieldScope::Intrinsic), key, None, &ALL).await;
        assert_eq!(answered(&found), expected, "{key}");
    }
    let expected = owned(keys(all()));
    assert_eq!(world.keys(&ALL).await, expected);
    assert_eq!(world.keys(&ALL).await, expected, "from what is kept");
    for key in KEYS {
        for scope in [None, Some(FieldScope::Span), Some(FieldScope::Resource), Some(FieldScope::Event)] {
            let expected = values(all(), scope, key);
            let found = world.values(scope, key, None, &ALL).await;
            let unlisted = found.unlisted_values;
            let found = answered(&found);
            let mut lacking = 0;
            for (value, traces) in &expected {
                let found = found.get(value).copied().unwrap_or_default();
                assert!(found <= *traces, "{key} {scope:?}: {value:?} {found} {traces}");
                lacking += traces - found;
            }
            assert!(found.keys().all(|value| expected.contains_key(value)), "{key} {scope:?}: {found:?}");
            assert_eq!(lacking, unlisted, "{key} {scope:?}: {found:?} of {expected:?}");
            assert!(unlisted == 0 || world.has_index(), "{key} {scope:?}");
        }
        for (text, name) in
            [("{ name = \"GET\" }", "GET"), ("{ name = \"query\" && kind != client }", "query")]
        {
            let holds = |span: &&Span| span.name == name && (name == "GET" || span.kind != 3);
            let expected = values(all().filter(holds), None, key);
            let found = world.values(None, key, Some(condition(text)), &ALL).await;
            assert_eq!(found.unlisted_values, 0);
            assert_eq!(answered(&found), expected, "{key} of {text}");
        }
        let never = world.values(None, key, Some(condition("{ name = \"no such name\" }")), &ALL).await;
        assert!(never.entries.is_empty());
    }
}

/// At least the spans in the range count, and at most those of traces that overlap it, whose ends an index knows to a
/// quarter.
async fn cut(world: &World, spans: &[Span], starts: &Range<u64>) {
    let mut extents: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for span in spans {
        let (start, end) = extents.entry(span.trace).or_insert((u64::MAX, 0));
        (*start, *end) = ((*start).min(span.start), (*end).max(span.start).max(span.end));
    }
    let overlaps = |span: &&Span| {
        let (start, end) = extents[&span.trace];
        start < starts.end && end + (end - start) / 4 + 1 >= starts.start
    };
    let least = || spans.iter().filter(move |span| starts.contains(&span.start));
    let most = || spans.iter().filter(overlaps);
    let key = "service.name";
    let of_resource = Some(FieldScope::Resource);
    between(
        &world.services(starts).await,
        &values(least(), of_resource, key),
        &values(most(), of_resource, key),
    );
    between(&world.operations(None, starts).await, &names(least(), None), &names(most(), None));
    let (shop, found) = (Some("shop"), world.operations(Some("shop"), starts).await);
    between(&found, &names(least(), shop), &names(most(), shop));
    between(&world.keys(starts).await, &owned(keys(least())), &owned(keys(most())));
    if !world.has_index() {
        assert_eq!(world.services(starts).await, values(least(), of_resource, key));
        assert_eq!(world.keys(starts).await, owned(keys(least())));
    }
    let found = world.values(None, "a", Some(condition("{ status = error }")), starts).await;
    let expected = values(least().filter(|span| span.status == 2), None, "a");
    assert_eq!(answered(&found), expected, "{starts:?}");
}

fn between<K: Ord + std::fmt::Debug>(found: &Counts<K>, least: &Counts<K>, most: &Counts<K>) {
    for (one, traces) in least {
        assert!(found.get(one) >= Some(traces), "{one:?}: {found:?} and {least:?}");
    }
    for (one, traces) in found {
        assert!(most.get(one) >= Some(traces), "{one:?}: {found:?} and {most:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_what_a_naive_count_has() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut with_index = 0;
    for form in [1, 1, 1, 3] {
        // Odd, as then a segment has one part: none of its traces is in two. The last has no index.
        let world = World::new(seed % 1_000_000 * 6 + form, EngineOptions::default()).await;
        let mut spans: Vec<Span> = Vec::new();
        for step in 0..6 {
            let first = spans.len() as u64 + 1;
            let more: Vec<Span> = (first..first + random.random_range(20..60))
                .map(|id| {
                    let trace = step * 1_000 + random.random_range(0..15);
                    Span::random(&mut random, trace, id)
                })
                .collect();
            let body = request(&more.iter().collect::<Vec<_>>());
            world.store.ingest(&world.tenant, Encoding::Json, body.into()).await.expect("it is taken");
            spans.extend(more);
            match random.random_range(0..4) {
                0 => {}
                1 | 2 => world.flush().await,
                _ => drop(world.store.compact().await.expect("a merge")),
            }
            with_index += u64::from(world.has_index());
            whole(&world, &spans).await;
            for _ in 0..3 {
                let from = BEGIN + random.random_range(0..SPREAD);
                cut(&world, &spans, &(from..from + random.random_range(1..SPREAD))).await;
            }
        }
        world.flush().await;
        world.store.compact().await.expect("a merge");
        whole(&world, &spans).await;
        with_index += u64::from(world.has_index());
    }
    assert!(with_index > 3, "{with_index} times with an index");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_and_a_limit_narrow_a_list() {
    let world = World::new(1, EngineOptions::default()).await;
    let mut random = StdRng::seed_from_u64(1);
    let spans: Vec<Span> = (1..200).map(|id| Span::random(&mut random, id, id)).collect();
    let body = request(&spans.iter().collect::<Vec<_>>());
    world.store.ingest(&world.tenant, Encoding::Json, body.into()).await.expect("it is taken");
    for _ in 0..3 {
        let mut asked = range(&ALL);
        asked.prefix = "GET".to_owned();
        let found = world.engine.operations(&world.tenant, None, asked.clone()).await;
        let texts: BTreeSet<String> = found.entries.iter().map(|one| one.value.text().into_owned()).collect();
        assert_eq!(texts, BTreeSet::from(["GET".to_owned(), "GET /users".to_owned()]));
        asked.limit = 1;
        let found = world.engine.operations(&world.tenant, Some("cart"), asked.clone()).await;
        assert_eq!((found.entries.len(), found.has_more), (1, true));
        asked.prefix = "htt".to_owned();
        let found = world.engine.attributes(&world.tenant, Some(FieldScope::Span), asked.clone()).await;
        assert_eq!(found.entries.iter().map(|one| &*one.key).collect::<Vec<_>>(), ["http.status"]);
        assert!(!found.has_more && found.entries[0].types.texts && found.entries[0].types.numbers);
        asked.prefix = "50".to_owned();
        asked.limit = 100;
        let query = ValuesQuery { scope: Some(FieldScope::Span), key: "a".to_owned(), condition: None };
        let found = world.engine.values(&world.tenant, query, asked).await;
        assert!(found.entries.iter().any(|one| one.value == TypedValue::Number(500.0)), "{found:?}");
        assert!(found.entries.iter().all(|one| one.value.text().starts_with("50")), "{found:?}");
        world.flush().await;
        world.store.compact().await.expect("a merge");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_without_spans_has_nothing_to_list() {
    let world = World::new(1, EngineOptions::default()).await;
    for starts in [ALL, 5..6] {
        assert!(world.services(&starts).await.is_empty());
        assert!(world.keys(&starts).await.is_empty());
        assert!(world.operations(Some("cart"), &starts).await.is_empty());
    }
}

#[test]
fn what_is_of_a_trace_is_told_from_what_is_of_a_span() {
    for (text, expected) in [
        ("{ name = \"a\" }", false),
        ("{ }", false),
        ("{ rootName = \"a\" }", true),
        ("{ name = \"a\" || !(traceDuration > 5ms) }", true),
    ] {
        assert_eq!(asks_of_trace(&condition(text)), expected, "{text}");
    }
}
