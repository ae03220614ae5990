use std::sync::Arc;

use tracelake_model::{
    Owner, Resource, Scope, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, TermId, TraceId,
};

use super::*;
use crate::predicate::TracePredicate;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// A span with one of everything.
fn span() -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource {
        attributes: vec![
            attribute("service.name", text("cart")),
            attribute("both", text("resource")),
            attribute("in.resource", Value::Int(1)),
            attribute("shared", text("resource")),
        ],
        ..Resource::default()
    }));
    let scope = builder.scope(Arc::new(Scope {
        name: "lib".into(),
        attributes: vec![attribute("shared", text("scope")), attribute("in.scope", Value::Bool(true))],
        ..Scope::default()
    }));
    let mut key = |text: &str| builder.known_term(text);
    let keys = [
        "int", "big", "text", "bool", "double", "nan", "array", "map", "bytes", "empty", "both", "twice",
        "a b",
    ];
    let [int, big, string, bool, double, nan, array, map, bytes, empty, both, twice, spaced] =
        keys.map(&mut key);
    let name = key("GET /cart");
    let [first, second, code, reason] = ["first", "second", "code", "reason"].map(&mut key);
    builder.push_int(Owner::Span, int, 500);
    builder.push_int(Owner::Span, big, (1 << 53) + 1);
    builder.push_text(Owner::Span, string, "500");
    builder.push_bool(Owner::Span, bool, true);
    builder.push_double(Owner::Span, double, 2.5);
    builder.push_double(Owner::Span, nan, f64::NAN);
    builder.push_value(
        Owner::Span,
        array,
        Value::Array(vec![text("x"), Value::Int(7), Value::Array(vec![text("deep")])]),
    );
    builder.push_value(Owner::Span, map, Value::Map(vec![attribute("k", text("v"))]));
    builder.push_bytes(Owner::Span, bytes, b"500");
    builder.push_empty(Owner::Span, empty);
    builder.push_text(Owner::Span, both, "span");
    builder.push_int(Owner::Span, twice, 1);
    builder.push_text(Owner::Span, twice, "two");
    builder.push_text(Owner::Span, spaced, "c");
    builder.push_int(Owner::Event, code, 1);
    builder.push_text(Owner::Event, reason, "slow");
    builder.finish_event(1_500, first, 0);
    builder.push_int(Owner::Event, code, 2);
    builder.finish_event(900, second, 0);
    builder.push_int(Owner::Link, code, 9);
    builder.finish_link(&[0xab; 16], &[0xcd; 8], TermId::EMPTY, 0, 0);
    builder.finish_span(SpanScalars {
        parent_span_id: SpanId::from_bytes(&[2; 8]),
        name,
        kind: 2,
        status_code: 2,
        start_unix_nano: 1_000,
        end_unix_nano: 301_001_000,
        resource,
        scope,
        ..SpanScalars::new(
            TraceId::from_bytes(&[0xab; 16]).expect("not zero"),
            SpanId::from_bytes(&[1; 8]).expect("not zero"),
        )
    });
    builder.finish()
}

/// A span with nothing.
fn bare() -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    let ids = (TraceId::from_bytes(&[1; 16]), SpanId::from_bytes(&[1; 8]));
    let (trace_id, span_id) = ids.0.zip(ids.1).expect("not zero");
    builder.finish_span(SpanScalars {
        start_unix_nano: 10,
        end_unix_nano: 5,
        resource,
        scope,
        ..SpanScalars::new(trace_id, span_id)
    });
    builder.finish()
}

fn matches(batch: &SpanBatch, facts: &TraceFacts<'_>, condition: &str) -> bool {
    let query = crate::parse(&format!("{{ {condition} }}")).expect("a query");
    matches!(query, TracePredicate::AnySpan(predicate) if predicate.matches(&batch.span(0), facts))
}

const FACTS: TraceFacts<'_> =
    TraceFacts { root_name: Some("GET /"), root_service: Some("frontend"), duration_nano: 2_000_000_000 };

#[test]
fn what_a_span_satisfies() {
    let span = span();
    for condition in [
        "true",
        "name = \"GET /cart\"",
        "name =~ \"GET .*\"",
        "name !~ \"GET\"",
        "name > \"GET\" && name < \"POST\"",
        "kind = server && status = error",
        "kind != client && status != ok",
        "duration = 301ms && duration > 300ms && duration < 0.5s && duration = 301000000",
        "duration / 7 = 43ms",
        "span:id = \"0101010101010101\" && span:parentID = \"0202020202020202\"",
        "trace:id = \"abababababababababababababababab\" && trace:id =~ \"ab.*\"",
        "rootName = \"GET /\" && rootServiceName = \"frontend\" && traceDuration = 2s",
        "instrumentation:name = \"lib\" && instrumentation:version = nil",
        ".int = 500 && .int = 500.0 && .int != \"500\" && .int >= 500 && !(.int > 500)",
        ".big = 9007199254740993 && .big != 9007199254740992.0 && .big > 9007199254740992.0",
        ".text = \"500\" && .text != 500 && !(.text > 4)",
        ".bool && .bool = true && .bool != false && .bool != 1",
        ".double = 2.5 && .double > 2 && .double < 3",
        ".nan != nil && .nan != 1 && !(.nan = .nan) && !(.nan > 1) && !(.nan <= 1)",
        ".array = \"x\" && .array = 7 && .array > 6 && .array != \"x\" && !(.array = \"deep\")",
        ".map != nil && .map != \"v\" && !(.map = \"v\")",
        ".bytes != nil && !(.bytes = \"500\")",
        ".empty != nil && !(.empty = \"\")",
        ".both = \"span\" && resource.both = \"resource\" && !(.both = \"resource\")",
        ".in.resource = 1 && .in.scope && .shared = \"resource\" && instrumentation.shared = \"scope\"",
        "span.in.resource = nil && resource.int = nil",
        ".twice = 1 && .twice = \"two\"",
        ".\"a b\" = \"c\" && span.\"a b\" =~ \"c\"",
        ".absent = nil && !(.absent = 1) && !(.absent != 1) && !(.absent =~ \".*\") && !(.absent !~ \"x\")",
        ".int + 1 = 501 && .int * 2 > 999 && .int - .double = 497.5 && -.int = -500 && .int % 7 = 3",
        ".int ^ 2 = 250000 && .int / 0 != 1 && !(.int / 0 = 1)",
        "!(.text + 1 = 501) && !(.absent + 1 != 1)",
        ".int > .double && .both = span.both && .int != .text",
        // Of several values nothing follows but against what the query says.
        "!(.array = .array) && !(.array != .int) && !(.twice + 1 = 2) && !(.twice + 1 != 2)",
        // One and the same event.
        "event:name = \"first\" && event.code = 1 && event.reason = \"slow\"",
        "event:name = \"second\" && event.code = 2 && event.reason = nil",
        "!(event:name = \"first\" && event.code = 2)",
        "event.code = 1 && (event:name = \"second\" || event.reason = \"slow\")",
        "!(event.code = 2 && (event:name = \"first\" || event.reason = \"slow\"))",
        "event:timeSinceStart = 500ns && event:timeSinceStart < 1us",
        "event:timeSinceStart = -100ns",
        "event.code != 1",
        "event.absent = nil",
        // `!` stands between: of any event.
        "event.code = 2 && !(event.code = 3)",
        "!(event.code = 2 && !(event.code = 1))",
        "link:traceID = trace:id && link:spanID = \"cdcdcdcdcdcdcdcd\" && link.code = 9",
        "event.code = 1 && link.code = 9",
        "(event.code = 1 && event:name = \"second\") || link.code = 9",
        "event.code = 2 && (event.reason = nil || .absent = 1) && !(link.code = 1)",
        "link.code = 9 && (link.code = 1 || !(event.code = 3))",
        "span:id = \"101010101010101\" && trace:id = \"ABABABABABABABABABABABABABABABAB\"",
        ".int > minInt && .int < maxInt && !(.int ^ 1000 > 0)",
    ] {
        assert!(matches(&span, &FACTS, condition), "{condition}");
        assert!(!matches(&span, &FACTS, &format!("!({condition})")), "{condition}");
    }
}

#[test]
fn what_is_absent_satisfies_nothing_but_that_it_is() {
    let (span, facts) = (bare(), TraceFacts::default());
    for condition in [
        "name = \"\" && name != \"x\" && name != nil",
        "kind = unspecified && status = unset && statusMessage = nil",
        // It ended before it began.
        "duration = 0",
        "span:parentID = nil && rootName = nil && rootServiceName = nil && traceDuration = 0s",
        "event:name = nil && event.a = nil && link:traceID = nil && link.a = nil",
        "!(event:name != \"a\") && !(event.a != 1) && !(link.a =~ \".*\") && !(event.a = nil && event.b = 1)",
        "instrumentation:name = nil && .service.name = nil",
        "!.flag",
    ] {
        assert!(matches(&span, &facts, condition), "{condition}");
    }
}

#[test]
fn negations_within_each_other_go_through_the_events_once_each() {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    let (n, name) = (builder.known_term("n"), builder.known_term("event"));
    for value in 0..500 {
        builder.push_int(Owner::Event, n, value);
        builder.finish_event(1, name, 0);
    }
    let ids = (TraceId::from_bytes(&[1; 16]), SpanId::from_bytes(&[1; 8]));
    let (trace_id, span_id) = ids.0.zip(ids.1).expect("not zero");
    builder.finish_span(SpanScalars { resource, scope, ..SpanScalars::new(trace_id, span_id) });
    let span = builder.finish();
    let mut condition = "event.n = 499".to_owned();
    for nested in 0..20 {
        assert_eq!(matches(&span, &FACTS, &condition), nested % 2 == 0, "{condition}");
        condition = format!("event.n >= 0 && !({condition})");
    }
}
