//! Random spans as they are sent; [`conditions`] says what is asked of them.

mod conditions;

use std::fmt::Write;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

pub(crate) use self::conditions::{Asked, Condition, Query, extent};
use crate::support::trace_id;

const KEYS: [&str; 4] = ["a", "b", "http.status", "x y"];
const TEXTS: [&str; 6] = ["", "GET", "get", "500", "ümlaut", "GET /users"];
const NAMES: [&str; 5] = ["GET", "GET /users", "query", "send", ""];
const SERVICES: [&str; 3] = ["cart", "shop", "db"];
/// Of instrumentation scopes and of statuses: an empty one is none.
const OWN_TEXTS: [&str; 3] = ["", "GET", "query"];

/// 2^53: the integer behind it is no double.
const EXACT: i64 = 1 << 53;

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

/// Its name, and what it has.
pub(crate) type Event = (&'static str, Attributes);

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
    pub(crate) events: Vec<Event>,
    pub(crate) scope: &'static str,
    pub(crate) message: &'static str,
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

/// Numbers that are easily taken for others.
fn odd(random: &mut StdRng) -> Value {
    match random.random_range(0..3) {
        0 => Value::Double(f64::NAN),
        1 => Value::Double(EXACT as f64),
        _ => Value::Int(EXACT + 1),
    }
}

fn attributes(random: &mut StdRng) -> Attributes {
    let keys = KEYS.iter().filter(|_| random.random_bool(0.4)).copied().collect::<Vec<_>>();
    keys.into_iter().map(|key| (key, value(random, true))).collect()
}

fn event(random: &mut StdRng) -> Event {
    (*NAMES.choose(random).expect("some"), attributes(random))
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
            events: if random.random_bool(0.3) { vec![event(random)] } else { Vec::new() },
            scope: "",
            message: "",
        }
    }

    /// A random one that may have keys twice, odd numbers, several events, a scope and a message.
    pub(crate) fn wild(random: &mut StdRng, trace: u64, id: u64) -> Self {
        let mut span = Self::random(random, trace, id);
        if random.random_bool(0.2) {
            span.attributes.extend(attributes(random));
        }
        if random.random_bool(0.2) {
            span.attributes.push((*KEYS.choose(random).expect("some"), odd(random)));
        }
        let more = if random.random_bool(0.4) { random.random_range(1..3) } else { 0 };
        span.events.extend((0..more).map(|_| event(random)));
        span.scope = OWN_TEXTS.choose(random).expect("some");
        span.message = OWN_TEXTS.choose(random).expect("some");
        span
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
            events: Vec::new(),
            scope: "",
            message: "",
        }
    }

    /// As a member of `resourceSpans`.
    pub(crate) fn json(&self) -> String {
        let mut of_resource = self.of_resource.clone();
        of_resource.extend(self.service.map(|service| ("service.name", Value::Text(service))));
        let parent = if self.has_parent { r#","parentSpanId":"00000000000000aa""# } else { "" };
        let event = |(name, attributes): &Event| {
            let (time, attributes) = (self.start, json_of(attributes));
            format!(r#"{{"name":"{name}","timeUnixNano":"{time}","attributes":{attributes}}}"#)
        };
        let events = self.events.iter().map(event).collect::<Vec<_>>().join(",");
        format!(
            r#"{{"resource":{{"attributes":{}}},"scopeSpans":[{{"scope":{{"name":"{}"}},"spans":[{{
            "traceId":"{}","spanId":"{:016x}"{parent},"name":"{}","kind":{},
            "startTimeUnixNano":"{}","endTimeUnixNano":"{}","status":{{"code":{},"message":"{}"}},
            "attributes":{},"events":[{events}]}}]}}]}}"#,
            json_of(&of_resource),
            self.scope,
            trace_id(self.trace),
            self.id,
            self.name,
            self.kind,
            self.start,
            self.end,
            self.status,
            self.message,
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
        Value::Double(double) if double.is_nan() => r#"{"doubleValue":"NaN"}"#.to_owned(),
        Value::Double(double) => format!(r#"{{"doubleValue":{double:?}}}"#),
        Value::Text(text) => format!(r#"{{"stringValue":"{text}"}}"#),
        Value::Bool(bool) => format!(r#"{{"boolValue":{bool}}}"#),
        Value::List(list) => {
            let values: Vec<String> = list.iter().map(json_value).collect();
            format!(r#"{{"arrayValue":{{"values":[{}]}}}}"#, values.join(","))
        }
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
