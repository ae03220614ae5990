use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tracelake_model::{
    KeyValue, Owner, Resource, Scope, SpanBatchBuilder, SpanId, SpanScalars, TraceId, Value,
};

use super::*;
use crate::predicate::{Arithmetic, Comparison, Kind, Literal, Operand, Pattern, Status, TracePredicate};

type Attributes = Vec<(&'static str, Value)>;

#[derive(Debug, Clone)]
struct Span {
    name: &'static str,
    status_message: &'static str,
    kind: i32,
    status_code: i32,
    duration_nano: u64,
    has_parent: bool,
    resource: usize,
    scope: usize,
    attributes: Attributes,
    events: Vec<(&'static str, Attributes)>,
    links: Vec<Attributes>,
}

/// Spans, the attributes of their resources, and names and attributes of their scopes.
#[derive(Debug, Clone)]
struct Spans {
    spans: Vec<Span>,
    resources: Vec<Attributes>,
    scopes: Vec<(&'static str, Attributes)>,
}

fn key_values(attributes: &Attributes) -> Vec<KeyValue> {
    attributes.iter().map(|(key, value)| KeyValue { key: (*key).into(), value: value.clone() }).collect()
}

fn push(builder: &mut SpanBatchBuilder, owner: Owner, attributes: &Attributes) {
    for (key, value) in attributes {
        let key = builder.known_term(key);
        builder.push_value(owner, key, value.clone());
    }
}

impl Spans {
    fn batch(&self) -> SpanBatch {
        let mut builder = SpanBatchBuilder::new();
        let resource = |attributes: &Attributes| {
            Arc::new(Resource { attributes: key_values(attributes), ..Resource::default() })
        };
        let resources: Vec<u32> =
            self.resources.iter().map(|attributes| builder.resource(resource(attributes))).collect();
        let scope = |name: &str, attributes: &Attributes| {
            let attributes = key_values(attributes);
            Arc::new(Scope { name: name.into(), version: name.into(), attributes, ..Scope::default() })
        };
        let scopes: Vec<u32> =
            self.scopes.iter().map(|(name, attributes)| builder.scope(scope(name, attributes))).collect();
        for (row, span) in self.spans.iter().enumerate() {
            push(&mut builder, Owner::Span, &span.attributes);
            for (name, attributes) in &span.events {
                push(&mut builder, Owner::Event, attributes);
                let name = builder.known_term(name);
                builder.finish_event(1_000 + row as u64, name, 0);
            }
            for attributes in &span.links {
                push(&mut builder, Owner::Link, attributes);
                builder.finish_link(&[1; 16], &[2; 8], TermId::EMPTY, 0, 0);
            }
            let name = builder.known_term(span.name);
            let status_message = builder.known_term(span.status_message);
            builder.finish_span(SpanScalars {
                parent_span_id: if span.has_parent { SpanId::from_bytes(&[2; 8]) } else { None },
                name,
                status_message,
                kind: span.kind,
                status_code: span.status_code,
                start_unix_nano: 1_000,
                end_unix_nano: 1_000 + span.duration_nano,
                resource: resources[span.resource % resources.len()],
                scope: scopes[span.scope % scopes.len()],
                ..SpanScalars::new(
                    TraceId::from_bytes(&[1; 16]).expect("not zero"),
                    SpanId::from_bytes(&[1; 8]).expect("not zero"),
                )
            });
        }
        builder.finish()
    }
}

/// Few, so that what is asked for is often there.
fn text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "x", "xy", "y", "GET"])
}

fn value() -> impl Strategy<Value = Value> {
    let one = prop_oneof![
        4 => text().prop_map(|text| Value::Text(text.into())),
        3 => (0..3_i64).prop_map(Value::Int),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => prop::sample::select(vec![0.5, 1.0, f64::NAN]).prop_map(Value::Double),
        1 => Just(Value::Empty),
        1 => Just(Value::Bytes(b"x".as_slice().into())),
        1 => Just(Value::Map(vec![KeyValue { key: "x".into(), value: Value::Int(1) }])),
    ];
    one.prop_recursive(2, 6, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Value::Array))
}

/// A key may come more than once.
fn attributes() -> impl Strategy<Value = Attributes> {
    prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), value()), 0..4)
}

fn spans() -> impl Strategy<Value = Spans> {
    let events = prop::collection::vec((text(), attributes()), 0..3);
    let links = prop::collection::vec(attributes(), 0..2);
    let numbers = (0..6_i32, 0..3_i32, 0..4_u64, 0..3_usize, 0..3_usize);
    let span = (text(), text(), numbers, any::<bool>(), attributes(), events, links).prop_map(
        |(name, status_message, numbers, has_parent, attributes, events, links)| {
            let (kind, status_code, duration_nano, resource, scope) = numbers;
            Span {
                name,
                status_message,
                kind,
                status_code,
                duration_nano,
                has_parent,
                resource,
                scope,
                attributes,
                events,
                links,
            }
        },
    );
    let resources = prop::collection::vec(attributes(), 1..4);
    let scopes = prop::collection::vec((text(), attributes()), 1..4);
    (prop::collection::vec(span, 0..6), resources, scopes).prop_map(|(spans, resources, scopes)| Spans {
        spans,
        resources,
        scopes,
    })
}

fn field() -> impl Strategy<Value = Field> {
    let scope = prop::sample::select(vec![
        AttributeScope::Any,
        AttributeScope::Span,
        AttributeScope::Resource,
        AttributeScope::Event,
        AttributeScope::Link,
        AttributeScope::Instrumentation,
    ]);
    let key = prop::sample::select(vec!["a", "b", "c", "absent"]);
    let intrinsic = prop::sample::select(vec![
        Intrinsic::Name,
        Intrinsic::Kind,
        Intrinsic::Status,
        Intrinsic::StatusMessage,
        Intrinsic::Duration,
        Intrinsic::SpanId,
        Intrinsic::ParentId,
        Intrinsic::RootName,
        Intrinsic::TraceDuration,
        Intrinsic::EventName,
        Intrinsic::EventTimeSinceStart,
        Intrinsic::LinkSpanId,
        Intrinsic::InstrumentationName,
        Intrinsic::InstrumentationVersion,
    ]);
    prop_oneof![
        3 => (scope, key).prop_map(|(scope, key)| Field::attribute(scope, key)),
        2 => intrinsic.prop_map(Field::Intrinsic),
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        4 => text().prop_map(|text| Literal::Text(text.into())),
        2 => (0..3_i64).prop_map(Literal::Int),
        1 => (0..3_i64).prop_map(Literal::Duration),
        1 => Just(Literal::Double(0.5)),
        1 => any::<bool>().prop_map(Literal::Bool),
        1 => prop::sample::select(vec![Status::Unset, Status::Error]).prop_map(Literal::Status),
        1 => prop::sample::select(vec![Kind::Unspecified, Kind::Server]).prop_map(Literal::Kind),
    ]
}

fn leaf() -> impl Strategy<Value = Predicate> {
    let comparison = prop::sample::select(vec![
        Comparison::Equal,
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
    ]);
    let sum = (field(), literal()).prop_map(|(field, literal)| Operand::Arithmetic {
        left: Box::new(Operand::Field(field)),
        operation: Arithmetic::Add,
        right: Box::new(Operand::Literal(literal)),
    });
    let operand = prop_oneof![
        8 => literal().prop_map(Operand::Literal),
        1 => field().prop_map(Operand::Field),
        1 => sum,
    ];
    let pattern = prop_oneof![
        Just(Pattern::regex("x.*|GET", 0..0).expect("an expression")),
        Just(Pattern::Prefix("x".into())),
        Just(Pattern::Contains("y".into())),
    ];
    prop_oneof![
        1 => any::<bool>().prop_map(Predicate::Constant),
        8 => (field(), comparison, operand).prop_map(|(field, comparison, right)| Predicate::Compare {
            left: Operand::Field(field),
            comparison,
            right,
        }),
        3 => (field(), pattern, any::<bool>())
            .prop_map(|(field, pattern, negated)| Predicate::Match { field, pattern, negated }),
        2 => field().prop_map(Predicate::Exists),
        2 => field().prop_map(Predicate::Absent),
    ]
}

fn predicate() -> impl Strategy<Value = Predicate> {
    leaf().prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Predicate::And),
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Predicate::Or),
            1 => inner.prop_map(|of| Predicate::Not(Box::new(of))),
        ]
    })
}

/// A runner whose seed is printed, and taken from `TRACELAKE_TEST_SEED` if that is set.
fn seeded_runner(cases: u32) -> TestRunner {
    let seed: u64 = std::env::var("TRACELAKE_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| TestRunner::default().rng().next_u64());
    println!("TRACELAKE_TEST_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

const FACTS: TraceFacts<'_> = TraceFacts { root_name: Some("x"), root_service: Some("y"), duration_nano: 2 };

#[test]
fn a_screen_says_what_the_evaluator_says() {
    // Batches of which nothing, and all, is known; rows of which the test says yes, no, and nothing.
    let seen: [Cell<u64>; 5] = Default::default();
    let count = |what: usize| seen[what].set(seen[what].get() + 1);
    let check = |(spans, predicate): (Spans, Predicate)| {
        let batch = spans.batch();
        let screen = predicate.screen(&batch);
        match screen.test {
            Test::Known(Verdict::No) => count(0),
            Test::Known(Verdict::Yes) => count(1),
            _ => {}
        }
        for span in batch.spans() {
            for facts in [FACTS, TraceFacts::default()] {
                let is_match = predicate.matches(&span, &facts);
                let verdict = screen.test.verdict(&span, &facts);
                match verdict {
                    Verdict::Yes => count(2),
                    Verdict::No => count(3),
                    Verdict::Perhaps => count(4),
                }
                let is_right = verdict == Verdict::Perhaps || verdict == Verdict::of(is_match);
                prop_assert!(is_right, "{:?} of {:?} by {:?}", verdict, span, screen);
                prop_assert_eq!(screen.matches(&span, &facts), is_match);
                prop_assert!(!(screen.is_empty() && is_match));
            }
        }
        Ok(())
    };
    let result = seeded_runner(5_000).run(&(spans(), predicate()), check);
    assert!(result.is_ok(), "{result:?}");
    assert!(seen.iter().all(|count| count.get() > 100), "{seen:?}");
}

fn span(name: &'static str, attributes: Attributes) -> Span {
    Span {
        name,
        status_message: "",
        kind: 2,
        status_code: 0,
        duration_nano: 10,
        has_parent: false,
        resource: 0,
        scope: 0,
        attributes,
        events: vec![("e", vec![("of.event", Value::Int(1))])],
        links: Vec::new(),
    }
}

fn example() -> SpanBatch {
    let text = |text: &str| Value::Text(text.into());
    let spans = vec![
        span("GET /a", vec![("method", text("GET")), ("size", Value::Int(7))]),
        Span { resource: 1, ..span("GET /b", vec![("method", text("PUT"))]) },
        Span { events: Vec::new(), ..span("send", vec![]) },
    ];
    let resource = |name: &str| vec![("service.name", text(name))];
    Spans { spans, resources: vec![resource("cart"), resource("shop")], scopes: vec![("lib", vec![])] }
        .batch()
}

fn condition(text: &str) -> Predicate {
    match crate::parse(&format!("{{ {text} }}")) {
        Ok(TracePredicate::AnySpan(predicate)) => predicate,
        other => unreachable!("{text}: {other:?}"),
    }
}

#[test]
fn what_a_batch_does_not_have_is_known_without_a_look_at_its_rows() {
    let batch = example();
    for text in [
        "name = \"PUT\"",
        "name =~ \"PUT.*\" && duration > 1ns",
        ".absent = 1",
        "span.absent =~ \".*\" || resource.absent = 1 || instrumentation.absent != 1",
        "resource.service.name = \"db\" && span.method = \"GET\"",
        "resource.service.name = \"cart\" && resource.service.name = \"shop\"",
        "name = \"GET /a\" && name = \"GET /b\"",
        "statusMessage != nil",
        "instrumentation:name = \"other\"",
        "event.absent = 1 && event:name = \"e\"",
        ".absent + 1 != 2",
        "!(span.method != nil || span.absent = nil)",
    ] {
        assert!(condition(text).screen(&batch).is_empty(), "{text}");
    }
    for text in [
        "statusMessage = nil && .absent = nil",
        "!(link.absent = 1)",
        "instrumentation:name = \"lib\"",
        "resource.service.name = \"cart\" || resource.service.name = \"shop\"",
    ] {
        assert!(condition(text).screen(&batch).test.is(Verdict::Yes), "{text}");
    }
}

#[test]
fn what_is_often_asked_is_not_asked_of_the_evaluator() {
    let batch = example();
    for (text, expected) in [
        ("name = \"GET /a\"", [true, false, false]),
        ("name =~ \"GET.*\" && .method = \"PUT\"", [false, true, false]),
        ("resource.service.name = \"cart\" && span.size > 6", [true, false, false]),
        (".service.name = \"shop\" || .size = nil", [false, true, true]),
        ("kind = server && status != error && duration >= 10ns", [true, true, true]),
        ("!(.method = \"GET\")", [false, true, true]),
    ] {
        let predicate = condition(text);
        let screen = predicate.screen(&batch);
        let verdicts = batch.spans().map(|span| screen.test.verdict(&span, &FACTS));
        assert!(verdicts.eq(expected.map(Verdict::of)), "{text}: {screen:?}");
    }
    // Of an event nothing is known where there is one.
    let predicate = condition("event:name = \"e\"");
    let screen = predicate.screen(&batch);
    let verdicts: Vec<Verdict> = batch.spans().map(|span| screen.test.verdict(&span, &FACTS)).collect();
    assert_eq!(verdicts, [Verdict::Perhaps, Verdict::Perhaps, Verdict::No]);
}

#[test]
fn what_has_no_room_for_its_tables_is_left_to_the_evaluator() {
    let batch = example();
    let predicate = condition("name =~ \"GET.*\"");
    let mut screening = Screening { room_bytes: 1, ..Screening::of(&batch) };
    assert!(screening.test(&predicate).is(Verdict::Perhaps));
}
