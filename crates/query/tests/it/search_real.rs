//! Searches of real traces of a shop beside the naive oracle, which looks at every span: from memory, from segments as
//! they were flushed, and from merged ones. Conditions are drawn from what the traces have.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use tracelake_model::TraceId;
use tracelake_query::search::{SearchQuery, Sought};
use tracelake_query::{EngineOptions, Order, TraceHit};
use tracelake_store::Encoding;
use tracelake_traceql::{Field, Intrinsic, Pattern, Predicate, TracePredicate, parse};

use crate::search::model::{Asked, Condition, Query, Span, Value, extent};
use crate::support::World;

/// Requests of which one segment is made.
const REQUESTS_A_FLUSH: usize = 20;

/// Fewer than there are traces, so that common conditions have several pages.
const PAGE_TRACES: usize = 1_500;

/// The attributes of the data: all are of the resource.
const KEYS: [&str; 2] = ["service.name", "k8s.pod.name"];

/// Says that a test did not run, and why; fails it where `TRACELAKE_TEST_REQUIRE` has `need`.
fn skip(need: &str, why: &str) {
    let required = std::env::var("TRACELAKE_TEST_REQUIRE").unwrap_or_default();
    assert!(required.split_whitespace().all(|name| name != need), "this must run, and cannot: {why}");
    // Not by a macro: what those print in a test that passes is not shown.
    writeln!(std::io::stderr(), "skipped: real traces are not searched: {why}").ok();
}

/// Requests of JSON, one a line, kept until the process ends; none where the file, which is no part of the repository,
/// is not there.
fn requests() -> Option<Vec<&'static str>> {
    let name = "../../../shared/data/online-boutique.otlp.jsonl.zst";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    if !path.exists() {
        skip("data", &format!("{} is not there", path.display()));
        return None;
    }
    let packed = std::fs::read(&path).expect("readable");
    let unpacked = zstd::decode_all(packed.as_slice()).expect("zstd");
    let text: &'static str = String::leak(String::from_utf8(unpacked).expect("text"));
    // What `member` and the oracle rely on.
    for absent in ["\\", r#"": "#, r#""status""#, r#""events""#] {
        assert!(!text.contains(absent), "{absent} is not read here");
    }
    Some(text.lines().collect())
}

/// A member of an object that has a text, read without any of the code under test.
fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (_, behind) = json.split_once(&format!(r#""{name}":""#))?;
    Some(behind.split_once('"')?.0)
}

/// The value of an attribute that is a text.
fn attribute(json: &'static str, key: &str) -> Option<&'static str> {
    let (_, behind) = json.split_once(&format!(r#"{{"key":"{key}","value":{{"stringValue":""#))?;
    Some(behind.split_once('"')?.0)
}

/// Spans by trace; those that are there twice, once.
#[derive(Default)]
struct Traces(BTreeMap<TraceId, BTreeMap<u64, Span>>);

impl Traces {
    fn of(requests: &[&'static str]) -> Self {
        let (mut traces, mut spans) = (Self::default(), 0);
        let parts = requests.iter().copied().flat_map(|json| json.split(r#"{"resource":"#).skip(1));
        for resource_spans in parts {
            let (resource, of_it) = resource_spans.split_once(r#""scopeSpans""#).expect("spans");
            assert_eq!(resource.matches(r#""key""#).count(), KEYS.len(), "{resource}");
            assert!(!of_it.contains(r#""attributes""#), "no span has any");
            for span in of_it.split(r#"{"traceId":"#).skip(1) {
                traces.add(resource, span);
                spans += 1;
            }
        }
        // What the data set is known to hold: the oracle itself is checked.
        let distinct: usize = traces.0.values().map(BTreeMap::len).sum();
        assert_eq!((spans, distinct, traces.0.len()), (122_302, 121_600, 2_680));
        traces
    }

    fn add(&mut self, resource: &'static str, span: &'static str) {
        let trace_id: TraceId = span.get(1..33).and_then(|id| id.parse().ok()).expect("a trace ID");
        let id = member(span, "spanId").and_then(|id| u64::from_str_radix(id, 16).ok()).expect("an ID");
        let time = |name| -> u64 { member(span, name).and_then(|time| time.parse().ok()).expect("a time") };
        assert!(span.contains(r#""kind":0,"#), "nobody said which: {span}");
        let service = attribute(resource, "service.name").expect("a service");
        let of_resource = KEYS.map(|key| (key, Value::Text(attribute(resource, key).expect("a value"))));
        let span = Span {
            // Its ID is longer.
            trace: 0,
            id,
            has_parent: member(span, "parentSpanId").is_some(),
            name: member(span, "name").expect("a name"),
            service: Some(service),
            kind: 0,
            status: 0,
            start: time("startTimeUnixNano"),
            end: time("endTimeUnixNano"),
            attributes: Vec::new(),
            of_resource: of_resource.to_vec(),
            events: Vec::new(),
            scope: "",
            message: "",
        };
        self.0.entry(trace_id).or_default().insert(id, span);
    }

    /// What some of them have, each once.
    fn distinct<T: Ord>(&self, what: impl Fn(&Span) -> T) -> Vec<T> {
        let all: BTreeSet<T> = self.0.values().flat_map(BTreeMap::values).map(what).collect();
        all.into_iter().collect()
    }

    /// What a search is to find, by a look at every span.
    fn scan(&self, case: &Case, starts: &Range<u64>, order: Order) -> Vec<Found> {
        let mut all = Vec::new();
        for (trace_id, spans) in &self.0 {
            let spans: Vec<&Span> = spans.values().collect();
            let in_range: Vec<&Span> =
                spans.iter().filter(|span| starts.contains(&span.start)).copied().collect();
            if in_range.is_empty() {
                continue;
            }
            let Some(matching) = (case.matching)(&in_range, &spans) else { continue };
            let (start, duration) = extent(&spans);
            let root = spans.iter().find(|span| !span.has_parent).expect("every trace of the data has one");
            all.push(Found {
                place: place(order, start, duration),
                trace_id: *trace_id,
                start,
                duration,
                spans: spans.len(),
                root: root.name.to_owned(),
                matching,
            });
        }
        all.sort();
        all
    }
}

/// A trace that was found, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    place: u64,
    trace_id: TraceId,
    start: u64,
    duration: u64,
    spans: usize,
    root: String,
    matching: Vec<u64>,
}

impl Found {
    fn of(hit: &TraceHit, order: Order) -> Self {
        let ids = hit.spans.spans().map(|span| u64::from_be_bytes(*span.span_id().as_bytes()));
        let mut matching: Vec<u64> = ids.collect();
        matching.sort_unstable();
        assert_eq!(matching.len(), hit.matched, "all of them were asked for");
        assert_eq!(hit.error_count, 0, "no span of the data failed");
        Self {
            place: place(order, hit.start_unix_nano, hit.duration_nano),
            trace_id: hit.trace_id,
            start: hit.start_unix_nano,
            duration: hit.duration_nano,
            spans: hit.span_count,
            root: hit.root_name.as_deref().unwrap_or_default().to_owned(),
            matching,
        }
    }
}

fn place(order: Order, start: u64, duration: u64) -> u64 {
    match order {
        Order::Newest => u64::MAX - start,
        Order::Oldest => start,
        Order::Longest => u64::MAX - duration,
    }
}

/// The IDs of the spans of a trace that match, if the trace does, of those in the range and all of them.
type Matching = Box<dyn Fn(&[&Span], &[&Span]) -> Option<Vec<u64>>>;

/// What is searched for, and what that means.
struct Case {
    text: String,
    predicate: TracePredicate,
    matching: Matching,
}

impl Case {
    fn of(query: Query) -> Self {
        let text = query.text();
        let predicate = parse(&text).map_err(|error| format!("{text}: {error}")).expect("a query");
        Self { text, predicate, matching: Box::new(move |in_range, trace| query.matching(in_range, trace)) }
    }

    /// Of one span.
    fn one(condition: Condition) -> Self {
        Self::of(Query::Span(condition))
    }

    fn spans(text: String, predicate: TracePredicate, holds: impl Fn(&Span) -> bool + 'static) -> Self {
        let matching = move |in_range: &[&Span], _: &[&Span]| {
            let ids = in_range.iter().filter(|span| holds(span)).map(|span| span.id);
            // As they are kept by ID they are in order.
            let found: Vec<u64> = ids.collect();
            (!found.is_empty()).then_some(found)
        };
        Self { text, predicate, matching: Box::new(matching) }
    }

    /// An expression of a span's name, and what it means.
    fn regex(pattern: &str, holds: impl Fn(&str) -> bool + 'static) -> Self {
        let text = format!(r#"{{ name =~ "{pattern}" }}"#);
        let predicate = parse(&text).expect("a query");
        Self::spans(text, predicate, move |span| holds(span.name))
    }

    /// TraceQL has no such thing, only JSON.
    fn prefix(prefix: &'static str) -> Self {
        let field = Field::Intrinsic(Intrinsic::Name);
        let pattern = Pattern::Prefix(prefix.into());
        let predicate = TracePredicate::AnySpan(Predicate::Match { field, pattern, negated: false });
        Self::spans(format!("prefix {prefix}"), predicate, move |span| span.name.starts_with(prefix))
    }
}

fn compare(asked: Asked, operator: &'static str, value: Value) -> Condition {
    Condition::Compare(asked, operator, value)
}

fn equal(asked: Asked, text: &'static str) -> Condition {
    compare(asked, "=", Value::Text(text))
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

/// Every value of every key, and every third name.
fn equalities(traces: &Traces) -> Vec<Case> {
    let mut cases = vec![
        Case::one(equal(Asked::OfAny("service.name"), "adservice")),
        Case::one(equal(Asked::OfAny("k8s.pod.name"), "adservice-5f6585d649-fnmft")),
    ];
    for key in KEYS {
        let values = traces.distinct(|span| match span.of_resource.iter().find(|(other, _)| *other == key) {
            Some((_, Value::Text(text))) => *text,
            other => unreachable!("{other:?}"),
        });
        assert_eq!(values.len(), 10, "{key}");
        cases.extend(values.into_iter().map(|value| Case::one(equal(Asked::OfResource(key), value))));
        // What is the resource's is not the span's, and there is no such value.
        cases.push(Case::one(Condition::Exists(Asked::OfSpan(key), true)));
        cases.push(Case::one(equal(Asked::OfResource(key), "nobody")));
        cases.push(Case::one(Condition::Exists(Asked::OfAny(key), true)));
        cases.push(Case::one(Condition::Exists(Asked::OfResource(key), false)));
    }
    let names = traces.distinct(|span| span.name);
    assert_eq!(names.len(), 43);
    cases.extend(names.into_iter().step_by(3).map(|name| Case::one(equal(Asked::Name, name))));
    cases
}

fn texts() -> Vec<Case> {
    vec![
        Case::prefix("hipstershop.Ca"),
        Case::prefix("grpc.hipstershop.CurrencyService/"),
        Case::prefix("/hipstershop"),
        Case::prefix("hipstershop.EmailService/SendOrderConfirmation and more"),
        Case::regex("sql[.].*", |name| name.starts_with("sql.")),
        Case::regex(".*[.]rows", |name| name.ends_with(".rows")),
        Case::regex("(?i)select .*", |name| name.to_ascii_lowercase().starts_with("select ")),
        Case::regex(".*/(Place|Ship)Order", |name| {
            name.ends_with("/PlaceOrder") || name.ends_with("/ShipOrder")
        }),
        Case::regex("GetQuote", |name| name == "GetQuote"),
    ]
}

/// What every span has, and what its trace has.
fn intrinsics() -> Vec<Case> {
    let duration = |operator, nanoseconds| compare(Asked::Duration, operator, Value::Int(nanoseconds));
    let trace_duration = |operator, ns| compare(Asked::TraceDuration, operator, Value::Int(ns));
    let conditions = vec![
        duration(">", 1_000_000_000),
        duration(">=", 100_000_000),
        duration("<", 10_000),
        duration("<=", 9_808),
        duration(">", 10_000_000_000),
        compare(Asked::Status, "=", Value::Int(2)),
        compare(Asked::Status, "=", Value::Int(0)),
        compare(Asked::Kind, "=", Value::Int(0)),
        compare(Asked::Kind, "=", Value::Int(2)),
        compare(Asked::Kind, "!=", Value::Int(2)),
        trace_duration(">", 2_000_000_000),
        trace_duration("<", 5_000_000),
        equal(Asked::RootName, "hipstershop.Frontend/Recv."),
        equal(Asked::RootService, "frontend"),
        equal(Asked::RootService, "cartservice"),
    ];
    conditions.into_iter().map(Case::one).collect()
}

fn combinations() -> Vec<Case> {
    let service = |name| equal(Asked::Service, name);
    let name = |name| equal(Asked::Name, name);
    let slow = |ns| compare(Asked::Duration, ">", Value::Int(ns));
    let charge = "hipstershop.PaymentService/Charge";
    let (cart, carry) = ("hipstershop.CartService/GetCart", "hipstershop.CurrencyService/Carry");
    let conditions = vec![
        Condition::And(vec![service("cartservice"), name(cart), slow(5_000_000)]),
        Condition::And(vec![service("currencyservice"), not(name(carry)), slow(50_000_000)]),
        Condition::And(vec![service("cartservice"), service("frontend")]),
        Condition::And(vec![service("emailservice"), compare(Asked::Status, "=", Value::Int(0))]),
        Condition::And(vec![name(cart), compare(Asked::TraceDuration, ">", Value::Int(1_000_000_000))]),
        Condition::Or(vec![service("paymentservice"), name(cart)]),
        Condition::Or(vec![name(charge), slow(1_500_000_000)]),
        Condition::Or(vec![service("nobody"), service("emailservice"), service("adservice")]),
        not(Condition::Or(vec![service("frontend"), slow(100_000)])),
        Condition::And(vec![compare(Asked::Service, "!=", Value::Text("frontend")), slow(500_000_000)]),
    ];
    let span = Query::Span;
    let slow_ads = Condition::And(vec![service("adservice"), slow(200_000_000)]);
    let queries = [
        Query::And(vec![span(service("paymentservice")), span(service("adservice"))]),
        Query::And(vec![span(name(charge)), span(slow(1_000_000_000))]),
        Query::And(vec![span(service("nobody")), span(service("frontend"))]),
        Query::Or(vec![span(name(charge)), span(slow_ads)]),
    ];
    conditions.into_iter().map(Case::one).chain(queries.into_iter().map(Case::of)).collect()
}

/// A search with its range and order, and what is to be found.
struct Search {
    case: Case,
    starts: Range<u64>,
    order: Order,
    expected: Vec<Found>,
}

fn searches(traces: &Traces) -> Vec<Search> {
    let starts = traces.distinct(|span| span.start);
    // Half of the spans, in the middle.
    let (from, to) = (starts[starts.len() / 4], starts[starts.len() / 4 * 3]);
    let cases = [equalities(traces), texts(), intrinsics(), combinations()].into_iter().flatten();
    let searches = cases.enumerate().map(|(at, case)| {
        let starts = if at % 3 == 0 { from..to } else { 0..u64::MAX };
        let order = [Order::Newest, Order::Oldest, Order::Longest][at / 3 % 3];
        let expected = traces.scan(&case, &starts, order);
        Search { case, starts, order, expected }
    });
    searches.collect()
}

impl Search {
    /// All pages, and how often the index of a segment was asked.
    async fn ask(&self, world: &World) -> (Vec<Found>, u64) {
        let mut query = SearchQuery {
            starts: self.starts.clone(),
            predicate: self.case.predicate.clone(),
            sought: Sought::Traces,
            order: self.order,
            limit: PAGE_TRACES,
            spans_per_trace: 1_000,
            select: Vec::new(),
            after: None,
            count: false,
            histogram: None,
            explain: false,
        };
        let (mut all, mut indexed) = (Vec::new(), 0);
        loop {
            let page = world.engine.search(&world.tenant, query.clone()).await.expect("a page");
            assert!(page.end.missing.is_empty(), "{}: {:?}", self.case.text, page.end.missing);
            all.extend(page.traces.iter().map(|hit| Found::of(hit, self.order)));
            indexed += page.end.stats.segments_indexed;
            let Some(next) = page.end.next else { return (all, indexed) };
            query.after = Some(next);
        }
    }
}

/// How often the index of a segment was asked.
async fn check(world: &World, searches: &[Search], when: &str) -> u64 {
    let mut indexed = 0;
    for search in searches {
        let (found, more) = search.ask(world).await;
        indexed += more;
        let what = format!("{} in {:?} by {:?} {when}", search.case.text, search.starts, search.order);
        assert_eq!(found.len(), search.expected.len(), "{what}");
        let differs = found.iter().zip(&search.expected).find(|(found, expected)| found != expected);
        assert!(differs.is_none(), "{what}: {differs:#?}");
    }
    indexed
}

async fn send(world: &World, requests: &[&'static str]) {
    for request in requests {
        let ingested = world.store.ingest(&world.tenant, Encoding::Json, (*request).into()).await;
        let spans = request.matches(r#""spanId""#).count();
        assert_eq!(ingested.expect("it is taken").spans_accepted, spans as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_traces_are_found_as_by_a_look_at_every_span() {
    let Some(requests) = requests() else { return };
    let traces = Traces::of(&requests);
    let searches = searches(&traces);
    let finding = searches.iter().filter(|search| !search.expected.is_empty()).count();
    assert!(searches.len() >= 75, "{} searches", searches.len());
    assert!(finding * 4 > searches.len() * 3, "{finding} of {} find any", searches.len());

    let world = World::new(1, EngineOptions::default()).await;
    send(&world, &requests).await;
    assert_eq!(world.store.status().segments, 0);
    check(&world, &searches, "from memory").await;

    let world = World::new(1, EngineOptions::default()).await;
    for part in requests.chunks(REQUESTS_A_FLUSH) {
        send(&world, part).await;
        world.flush().await;
    }
    let flushed = world.store.status();
    let segments = requests.len().div_ceil(REQUESTS_A_FLUSH) as u64;
    assert_eq!((flushed.memtable_spans, flushed.segments), (0, segments));
    check(&world, &searches, "from segments as they were flushed").await;

    world.store.compact().await.expect("a merge");
    let merged = world.store.status();
    assert_eq!(merged.segment_rows, 121_600, "those that were there twice are there once");
    assert!(merged.segments < flushed.segments, "{} segments", merged.segments);
    let indexed = check(&world, &searches, "from merged segments").await;
    assert!(indexed > 0, "the index was asked");
}
