//! Random spans and random conditions, and what the conditions mean, written down a second time and naively: from
//! docs/semantics.md, without a look at how the engine does it.

use std::fmt::Write;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::support::trace_id;

const KEYS: [&str; 4] = ["a", "b", "http.status", "x y"];
const TEXTS: [&str; 6] = ["", "GET", "get", "500", "ümlaut", "GET /users"];
const NAMES: [&str; 5] = ["GET", "GET /users", "query", "send", ""];
const SERVICES: [&str; 3] = ["cart", "shop", "db"];

/// When the first span starts.
pub(crate) const BEGIN: u64 = 1_700_000_000_000_000_000;
/// Traces start within so many nanoseconds.
pub(crate) const SPREAD: u64 = 100_000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    Double(f64),
    Text(&'static str),
    Bool(bool),
    List(Vec<Value>),
}

type Attributes = Vec<(&'static str, Value)>;

#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) trace: u64,
    pub(crate) id: u64,
    pub(crate) has_parent: bool,
    pub(crate) name: &'static str,
    pub(crate) service: Option<&'static str>,
    pub(crate) kind: i32,
    pub(crate) status: i32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: Attributes,
    pub(crate) of_resource: Attributes,
    pub(crate) event: Option<(&'static str, Attributes)>,
}

fn value(random: &mut StdRng, may_be_list: bool) -> Value {
    match random.random_range(0..if may_be_list { 9 } else { 8 }) {
        0..3 => Value::Int(random.random_range(498..503)),
        3 => Value::Double(f64::from(random.random_range(996..1_006)) / 2.0),
        4..7 => Value::Text(TEXTS.choose(random).expect("some")),
        7 => Value::Bool(random.random()),
        _ => Value::List((0..random.random_range(0..3)).map(|_| value(random, false)).collect()),
    }
}

fn attributes(random: &mut StdRng) -> Attributes {
    let keys = KEYS.iter().filter(|_| random.random_bool(0.4)).copied().collect::<Vec<_>>();
    keys.into_iter().map(|key| (key, value(random, true))).collect()
}

impl Span {
    pub(crate) fn random(random: &mut StdRng, trace: u64, id: u64) -> Self {
        // Of a trace near each other, of traces all over the range.
        let start = BEGIN + trace * 7_919 % SPREAD + random.random_range(0..SPREAD / 20);
        let end = match random.random_range(0..10) {
            0 => start,
            1 => start - 5,
            _ => start + random.random_range(1..5_000),
        };
        Self {
            trace,
            id,
            has_parent: random.random_bool(0.7),
            name: NAMES.choose(random).expect("some"),
            service: if random.random_bool(0.9) { SERVICES.choose(random).copied() } else { None },
            kind: random.random_range(0..6),
            status: random.random_range(0..3),
            start,
            end,
            attributes: attributes(random),
            of_resource: if random.random_bool(0.3) { attributes(random) } else { Vec::new() },
            event: random
                .random_bool(0.3)
                .then(|| (*NAMES.choose(random).expect("some"), attributes(random))),
        }
    }

    /// One without anything particular, a microsecond long.
    pub(crate) fn plain(trace: u64, id: u64, start: u64) -> Self {
        Self {
            trace,
            id,
            has_parent: false,
            name: "GET",
            service: Some("cart"),
            kind: 2,
            status: 0,
            start,
            end: start + 1_000,
            attributes: Vec::new(),
            of_resource: Vec::new(),
            event: None,
        }
    }

    /// As a member of `resourceSpans`.
    pub(crate) fn json(&self) -> String {
        let mut of_resource = self.of_resource.clone();
        of_resource.extend(self.service.map(|service| ("service.name", Value::Text(service))));
        let parent = if self.has_parent { r#","parentSpanId":"00000000000000aa""# } else { "" };
        let events = match &self.event {
            None => String::new(),
            Some((name, attributes)) => {
                format!(
                    r#","events":[{{"name":"{name}","timeUnixNano":"{}","attributes":{}}}]"#,
                    self.start,
                    json_of(attributes)
                )
            }
        };
        format!(
            r#"{{"resource":{{"attributes":{}}},"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{:016x}"{parent},
            "name":"{}","kind":{},"startTimeUnixNano":"{}","endTimeUnixNano":"{}","status":{{"code":{}}},
            "attributes":{}{events}}}]}}]}}"#,
            json_of(&of_resource),
            trace_id(self.trace),
            self.id,
            self.name,
            self.kind,
            self.start,
            self.end,
            self.status,
            json_of(&self.attributes),
        )
    }

    pub(crate) fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

fn json_of(attributes: &[(&str, Value)]) -> String {
    let one = |(key, value): &(&str, Value)| format!(r#"{{"key":"{key}","value":{}}}"#, json_value(value));
    format!("[{}]", attributes.iter().map(one).collect::<Vec<_>>().join(","))
}

fn json_value(value: &Value) -> String {
    match value {
        Value::Int(int) => format!(r#"{{"intValue":"{int}"}}"#),
        Value::Double(double) => format!(r#"{{"doubleValue":{double:?}}}"#),
        Value::Text(text) => format!(r#"{{"stringValue":"{text}"}}"#),
        Value::Bool(bool) => format!(r#"{{"boolValue":{bool}}}"#),
        Value::List(list) => {
            let values: Vec<String> = list.iter().map(json_value).collect();
            format!(r#"{{"arrayValue":{{"values":[{}]}}}}"#, values.join(","))
        }
    }
}

/// What a condition asks of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    Name,
    Service,
    Status,
    Kind,
    Duration,
    RootName,
    RootService,
    TraceDuration,
    EventName,
    OfSpan(&'static str),
    OfResource(&'static str),
    OfAny(&'static str),
    OfEvent(&'static str),
}

#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Compare(Asked, &'static str, Value),
    /// Of these expressions.
    Matches(Asked, &'static str),
    Exists(Asked, bool),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
}

/// Of a trace.
#[derive(Debug, Clone)]
pub(crate) enum Query {
    Span(Condition),
    And(Vec<Query>),
    Or(Vec<Query>),
}

const PATTERNS: [&str; 4] = ["GET.*", "(?i)get", "query|send", "[0-9]+"];

impl Condition {
    pub(crate) fn random(random: &mut StdRng, depth: u32) -> Self {
        let parts = |random: &mut StdRng| {
            (0..random.random_range(2..4)).map(|_| Self::random(random, depth - 1)).collect()
        };
        match random.random_range(0..if depth == 0 { 6 } else { 10 }) {
            0..6 => Self::leaf(random),
            6 | 7 => Self::And(parts(random)),
            8 => Self::Or(parts(random)),
            _ => Self::Not(Box::new(Self::random(random, depth - 1))),
        }
    }

    fn leaf(random: &mut StdRng) -> Self {
        let key = *KEYS.choose(random).expect("some");
        let (asked, operators, value): (_, &[&str], _) = match random.random_range(0..16) {
            0 | 1 => (Asked::Name, &["=", "!=", "<"], Value::Text(NAMES.choose(random).expect("some"))),
            2 | 3 => (Asked::Service, &["=", "!="], Value::Text(SERVICES.choose(random).expect("some"))),
            4 => (Asked::Status, &["=", "!="], Value::Int(random.random_range(0..3))),
            5 => (Asked::Kind, &["=", "!="], Value::Int(random.random_range(0..6))),
            6 => (Asked::Duration, &[">", "<="], Value::Int(random.random_range(0..5_000))),
            7 => (Asked::RootName, &["=", "!="], Value::Text(NAMES.choose(random).expect("some"))),
            8 => (Asked::RootService, &["=", "!="], Value::Text(SERVICES.choose(random).expect("some"))),
            9 => (Asked::TraceDuration, &[">", "<="], Value::Int(random.random_range(0..10_000))),
            10 => (Asked::EventName, &["=", "!="], Value::Text(NAMES.choose(random).expect("some"))),
            kind => {
                let asked = match kind {
                    11 => Asked::OfResource(key),
                    12 => Asked::OfAny(key),
                    13 => Asked::OfEvent(key),
                    _ => Asked::OfSpan(key),
                };
                if random.random_bool(0.2) {
                    return Self::Exists(asked, random.random());
                }
                if random.random_bool(0.2) {
                    return Self::Matches(asked, PATTERNS.choose(random).expect("some"));
                }
                let value = value(random, false);
                let is_ordered = !matches!(value, Value::Bool(_));
                (
                    asked,
                    if is_ordered { &["=", "=", "!=", "<", "<=", ">", ">="] } else { &["=", "!="] },
                    value,
                )
            }
        };
        Self::Compare(asked, operators.choose(random).expect("some"), value)
    }

    fn holds(&self, span: &Span, trace: &[&Span]) -> bool {
        match self {
            Self::Compare(asked, operator, value) => values(*asked, span, trace)
                .is_some_and(|values| values.iter().any(|one| compares(one, operator, value))),
            Self::Matches(asked, pattern) => values(*asked, span, trace).is_some_and(|values| {
                values.iter().any(|one| matches!(one, Value::Text(text) if is_like(text, pattern)))
            }),
            Self::Exists(asked, wanted) => values(*asked, span, trace).is_some() == *wanted,
            Self::And(all) => all.iter().all(|one| one.holds(span, trace)),
            Self::Or(any) => any.iter().any(|one| one.holds(span, trace)),
            Self::Not(of) => !of.holds(span, trace),
        }
    }

    fn text(&self) -> String {
        let list = |parts: &[Self], operator: &str| {
            let parts: Vec<String> = parts.iter().map(|part| format!("({})", part.text())).collect();
            parts.join(operator)
        };
        match self {
            Self::Compare(asked, operator, value) => {
                format!("{} {operator} {}", asked.text(), literal(*asked, value))
            }
            Self::Matches(asked, pattern) => format!(r#"{} =~ "{pattern}""#, asked.text()),
            Self::Exists(asked, true) => format!("{} != nil", asked.text()),
            Self::Exists(asked, false) => format!("{} = nil", asked.text()),
            Self::And(all) => list(all, " && "),
            Self::Or(any) => list(any, " || "),
            Self::Not(of) => format!("!({})", of.text()),
        }
    }
}

impl Asked {
    fn text(self) -> String {
        let quoted = |scope: &str, key: &str| {
            if key.contains(' ') { format!(r#"{scope}."{key}""#) } else { format!("{scope}.{key}") }
        };
        match self {
            Self::Name => "name".to_owned(),
            Self::Service => "resource.service.name".to_owned(),
            Self::Status => "status".to_owned(),
            Self::Kind => "kind".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::RootName => "rootName".to_owned(),
            Self::RootService => "rootServiceName".to_owned(),
            Self::TraceDuration => "traceDuration".to_owned(),
            Self::EventName => "event:name".to_owned(),
            Self::OfSpan(key) => quoted("span", key),
            Self::OfResource(key) => quoted("resource", key),
            Self::OfAny(key) => quoted("", key),
            Self::OfEvent(key) => quoted("event", key),
        }
    }
}

fn literal(asked: Asked, value: &Value) -> String {
    let word = |words: &[&str], at: i64| words[at as usize].to_owned();
    match (asked, value) {
        (Asked::Status, Value::Int(status)) => word(&["unset", "ok", "error"], *status),
        (Asked::Kind, Value::Int(kind)) => {
            word(&["unspecified", "internal", "server", "client", "producer", "consumer"], *kind)
        }
        (Asked::Duration | Asked::TraceDuration, Value::Int(nanoseconds)) => format!("{nanoseconds}ns"),
        (_, Value::Int(int)) => int.to_string(),
        (_, Value::Double(double)) => format!("{double:?}"),
        (_, Value::Text(text)) => format!(r#""{text}""#),
        (_, Value::Bool(bool)) => bool.to_string(),
        (_, Value::List(_)) => unreachable!("no literal"),
    }
}

/// The values that a span has there; none if it has nothing.
fn values(asked: Asked, span: &Span, trace: &[&Span]) -> Option<Vec<Value>> {
    let of = |attributes: &[(&str, Value)], key: &str| {
        let (_, value) = attributes.iter().find(|(other, _)| *other == key)?;
        Some(match value {
            Value::List(list) => list.clone(),
            one => vec![one.clone()],
        })
    };
    let text = |text: &'static str| Some(vec![Value::Text(text)]);
    let number = |number: u64| Some(vec![Value::Int(number as i64)]);
    let root = || trace.iter().filter(|span| !span.has_parent).min_by_key(|span| (span.start, span.id));
    match asked {
        Asked::Name => text(span.name),
        Asked::Service => text(span.service?),
        Asked::Status => number(span.status as u64),
        Asked::Kind => number(span.kind as u64),
        Asked::Duration => number(span.duration()),
        Asked::RootName => text(root()?.name),
        Asked::RootService => text(root()?.service?),
        Asked::TraceDuration => number(extent(trace).1),
        Asked::EventName => text(span.event.as_ref()?.0),
        Asked::OfSpan(key) => of(&span.attributes, key),
        Asked::OfResource(key) => of(&span.of_resource, key),
        Asked::OfAny(key) => of(&span.attributes, key).or_else(|| of(&span.of_resource, key)),
        Asked::OfEvent(key) => of(&span.event.as_ref()?.1, key),
    }
}

/// Start and duration of a trace.
pub(crate) fn extent(trace: &[&Span]) -> (u64, u64) {
    let start = trace.iter().map(|span| span.start).min().expect("a span");
    let end = trace.iter().map(|span| span.end).max().expect("a span");
    (start, end.saturating_sub(start))
}

fn compares(left: &Value, operator: &str, right: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Int(int) => Some(*int as f64),
        Value::Double(double) => Some(*double),
        _ => None,
    };
    let ordering = match (left, right) {
        (Value::Text(a), Value::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (a, b) => number(a).zip(number(b)).and_then(|(a, b)| a.partial_cmp(&b)),
    };
    match operator {
        "=" => ordering.is_some_and(|ordering| ordering.is_eq()),
        "!=" => !ordering.is_some_and(|ordering| ordering.is_eq()),
        "<" => ordering.is_some_and(|ordering| ordering.is_lt()),
        "<=" => ordering.is_some_and(|ordering| ordering.is_le()),
        ">" => ordering.is_some_and(|ordering| ordering.is_gt()),
        ">=" => ordering.is_some_and(|ordering| ordering.is_ge()),
        other => unreachable!("{other}"),
    }
}

/// The few expressions, spelled out.
fn is_like(text: &str, pattern: &str) -> bool {
    match pattern {
        "GET.*" => text.starts_with("GET"),
        "(?i)get" => text.eq_ignore_ascii_case("get"),
        "query|send" => text == "query" || text == "send",
        "[0-9]+" => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
        other => unreachable!("{other}"),
    }
}

impl Query {
    pub(crate) fn random(random: &mut StdRng) -> Self {
        let span = |random: &mut StdRng| Self::Span(Condition::random(random, 2));
        match random.random_range(0..10) {
            0..7 => span(random),
            7 | 8 => Self::And(vec![span(random), span(random)]),
            _ => Self::Or(vec![span(random), span(random)]),
        }
    }

    pub(crate) fn text(&self) -> String {
        let list =
            |parts: &[Self], operator: &str| parts.iter().map(Self::text).collect::<Vec<_>>().join(operator);
        match self {
            Self::Span(condition) => format!("{{ {} }}", condition.text()),
            Self::And(all) => list(all, " && "),
            Self::Or(any) => list(any, " || "),
        }
    }

    /// The IDs of the spans of a trace that match, if the trace does. `in_range` are those that are looked at.
    pub(crate) fn matching(&self, in_range: &[&Span], trace: &[&Span]) -> Option<Vec<u64>> {
        let mut found = match self {
            Self::Span(condition) => {
                let spans = in_range.iter().filter(|span| condition.holds(span, trace));
                let found: Vec<u64> = spans.map(|span| span.id).collect();
                (!found.is_empty()).then_some(found)?
            }
            Self::And(all) => {
                let parts = all.iter().map(|one| one.matching(in_range, trace));
                parts.collect::<Option<Vec<_>>>()?.concat()
            }
            Self::Or(any) => {
                let parts: Vec<_> = any.iter().filter_map(|one| one.matching(in_range, trace)).collect();
                (!parts.is_empty()).then(|| parts.concat())?
            }
        };
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

/// What is sent for spans.
pub(crate) fn request(spans: &[&Span]) -> String {
    let mut text = r#"{"resourceSpans":["#.to_owned();
    for (at, span) in spans.iter().enumerate() {
        write!(text, "{}{}", if at > 0 { "," } else { "" }, span.json()).expect("into memory");
    }
    text + "]}"
}
