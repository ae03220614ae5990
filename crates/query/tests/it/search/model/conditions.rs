//! Random conditions, and what they mean, written down a second time and naively: from docs/semantics.md and
//! docs/search.md, without a look at how the engine does it.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::{EXACT, Event, KEYS, NAMES, OWN_TEXTS, SERVICES, Span, Value, value};

/// What a condition asks of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    Name,
    Service,
    Status,
    Kind,
    Scope,
    Message,
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
    /// What is there and this together compare so.
    Sum(Asked, i64, &'static str, Value),
    /// Of these expressions.
    Matches(Asked, &'static str),
    /// There is a text that does not.
    Differs(Asked, &'static str),
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
        match random.random_range(0..if depth == 0 { 6 } else { 11 }) {
            0..6 => Self::leaf(random),
            6 | 7 => Self::And(parts(random)),
            8 => Self::Or(parts(random)),
            9 => Self::And(vec![Self::of_event(random), Self::of_event(random)]),
            _ => Self::Not(Box::new(Self::random(random, depth - 1))),
        }
    }

    /// One that events often satisfy, but not every event of a span.
    fn of_event(random: &mut StdRng) -> Self {
        let asked = Asked::OfEvent(KEYS.choose(random).expect("some"));
        match random.random_range(0..4) {
            0 => Self::Compare(Asked::EventName, "=", Value::Text(NAMES.choose(random).expect("some"))),
            1 => Self::Exists(asked, random.random()),
            2 => Self::Compare(asked, "!=", value(random, false)),
            _ => Self::Compare(asked, "=", value(random, false)),
        }
    }

    fn leaf(random: &mut StdRng) -> Self {
        let key = *KEYS.choose(random).expect("some");
        let (asked, operators, value): (_, &[&str], _) = match random.random_range(0..18) {
            0 | 1 => (Asked::Name, &["=", "!=", "<"], Value::Text(NAMES.choose(random).expect("some"))),
            2 | 3 => (Asked::Service, &["=", "!="], Value::Text(SERVICES.choose(random).expect("some"))),
            4 => (Asked::Status, &["=", "!="], Value::Int(random.random_range(0..3))),
            5 => (Asked::Kind, &["=", "!="], Value::Int(random.random_range(0..6))),
            6 => (Asked::Duration, &[">", "<="], Value::Int(random.random_range(0..5_000))),
            7 => (Asked::RootName, &["=", "!="], Value::Text(NAMES.choose(random).expect("some"))),
            8 => (Asked::RootService, &["=", "!="], Value::Text(SERVICES.choose(random).expect("some"))),
            9 => (Asked::TraceDuration, &[">", "<="], Value::Int(random.random_range(0..10_000))),
            10 => (Asked::EventName, &["=", "!="], Value::Text(NAMES.choose(random).expect("some"))),
            16 => (Asked::Scope, &["=", "!="], Value::Text(OWN_TEXTS.choose(random).expect("some"))),
            17 => (Asked::Message, &["=", "!="], Value::Text(OWN_TEXTS.choose(random).expect("some"))),
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
                    let pattern = *PATTERNS.choose(random).expect("some");
                    let is_negated = random.random_bool(0.3);
                    return if is_negated {
                        Self::Differs(asked, pattern)
                    } else {
                        Self::Matches(asked, pattern)
                    };
                }
                if random.random_bool(0.1) {
                    let operator = *["=", "!=", "<", ">="].choose(random).expect("some");
                    let sum = Value::Int(random.random_range(498..506));
                    return Self::Sum(asked, random.random_range(1..4), operator, sum);
                }
                let value = match random.random_range(0..20) {
                    0 => Value::Int(EXACT + 1),
                    1 => Value::Double(EXACT as f64),
                    _ => value(random, false),
                };
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

    /// What is combined by "and" is of one and the same event; all else of any.
    fn holds(&self, span: &Span, trace: &[&Span]) -> bool {
        match self {
            Self::And(_) => {
                let mut all = Vec::new();
                self.conjuncts(&mut all);
                let (of_event, others): (Vec<&Self>, Vec<&Self>) =
                    all.into_iter().partition(|one| one.asks_of_event());
                others.iter().all(|one| one.holds(span, trace))
                    && of_any_event(span, |event| of_event.iter().all(|one| one.holds_of(span, trace, event)))
            }
            Self::Or(any) => any.iter().any(|one| one.holds(span, trace)),
            Self::Not(of) => !of.holds(span, trace),
            leaf => of_any_event(span, |event| leaf.holds_of(span, trace, event)),
        }
    }

    /// Of this event, or where there is none.
    fn holds_of(&self, span: &Span, trace: &[&Span], event: Option<&Event>) -> bool {
        let any = |asked: Asked, is: &dyn Fn(&Value) -> bool| {
            values(asked, span, trace, event).is_some_and(|values| values.iter().any(is))
        };
        match self {
            Self::Compare(asked, operator, value) => any(*asked, &|one| compares(one, operator, value)),
            // Of several values nothing follows, nor of what is no number.
            Self::Sum(asked, more, operator, right) => match values(*asked, span, trace, event).as_deref() {
                Some([Value::Int(int)]) => compares(&Value::Int(int + more), operator, right),
                Some([Value::Double(double)]) => {
                    compares(&Value::Double(double + *more as f64), operator, right)
                }
                _ => false,
            },
            Self::Matches(asked, pattern) => {
                any(*asked, &|one| matches!(one, Value::Text(text) if is_like(text, pattern)))
            }
            Self::Differs(asked, pattern) => {
                any(*asked, &|one| matches!(one, Value::Text(text) if !is_like(text, pattern)))
            }
            Self::Exists(asked, wanted) => values(*asked, span, trace, event).is_some() == *wanted,
            Self::And(all) => all.iter().all(|one| one.holds_of(span, trace, event)),
            Self::Or(any) => any.iter().any(|one| one.holds_of(span, trace, event)),
            Self::Not(_) => self.holds(span, trace),
        }
    }

    fn conjuncts<'c>(&'c self, found: &mut Vec<&'c Self>) {
        match self {
            Self::And(all) => all.iter().for_each(|one| one.conjuncts(found)),
            other => found.push(other),
        }
    }

    /// What is behind a "not" is of all events.
    fn asks_of_event(&self) -> bool {
        match self {
            Self::Compare(asked, ..)
            | Self::Sum(asked, ..)
            | Self::Matches(asked, _)
            | Self::Differs(asked, _)
            | Self::Exists(asked, _) => matches!(asked, Asked::EventName | Asked::OfEvent(_)),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::asks_of_event),
            Self::Not(_) => false,
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
            Self::Sum(asked, more, operator, right) => {
                format!("{} + {more} {operator} {}", asked.text(), literal(*asked, right))
            }
            Self::Matches(asked, pattern) => format!(r#"{} =~ "{pattern}""#, asked.text()),
            Self::Differs(asked, pattern) => format!(r#"{} !~ "{pattern}""#, asked.text()),
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
            Self::Scope => "instrumentation:name".to_owned(),
            Self::Message => "statusMessage".to_owned(),
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

/// Of one of the span's events; of none where it has none.
fn of_any_event(span: &Span, holds: impl Fn(Option<&Event>) -> bool) -> bool {
    if span.events.is_empty() { holds(None) } else { span.events.iter().any(|event| holds(Some(event))) }
}

/// The values that a span has there, or its event; none if it has nothing.
fn values(asked: Asked, span: &Span, trace: &[&Span], event: Option<&Event>) -> Option<Vec<Value>> {
    let of = |attributes: &[(&str, Value)], key: &str| {
        let of_key = attributes.iter().filter(|(other, _)| *other == key);
        let found: Vec<Vec<Value>> = of_key
            .map(|(_, value)| match value {
                Value::List(list) => list.clone(),
                one => vec![one.clone()],
            })
            .collect();
        // A list of nothing is there.
        (!found.is_empty()).then(|| found.concat())
    };
    let own_text = |text: &'static str| (!text.is_empty()).then(|| vec![Value::Text(text)]);
    let text = |text: &'static str| Some(vec![Value::Text(text)]);
    let number = |number: u64| Some(vec![Value::Int(number as i64)]);
    let root = || trace.iter().filter(|span| !span.has_parent).min_by_key(|span| (span.start, span.id));
    match asked {
        Asked::Name => text(span.name),
        Asked::Service => text(span.service?),
        Asked::Status => number(span.status as u64),
        Asked::Kind => number(span.kind as u64),
        Asked::Scope => own_text(span.scope),
        Asked::Message => own_text(span.message),
        Asked::Duration => number(span.duration()),
        Asked::RootName => text(root()?.name),
        Asked::RootService => text(root()?.service?),
        Asked::TraceDuration => number(extent(trace).1),
        Asked::EventName => text(event?.0),
        Asked::OfSpan(key) => of(&span.attributes, key),
        Asked::OfResource(key) => of(&span.of_resource, key),
        Asked::OfAny(key) => of(&span.attributes, key).or_else(|| of(&span.of_resource, key)),
        Asked::OfEvent(key) => of(&event?.1, key),
    }
}

/// Start and duration of a trace.
pub(crate) fn extent(trace: &[&Span]) -> (u64, u64) {
    let start = trace.iter().map(|span| span.start).min().expect("a span");
    let end = trace.iter().map(|span| span.end).max().expect("a span");
    (start, end.saturating_sub(start))
}

fn compares(left: &Value, operator: &str, right: &Value) -> bool {
    // All doubles here are so many halves, which an integer counts exactly.
    let halves = |value: &Value| match value {
        Value::Int(int) => Some(i128::from(*int) * 2),
        Value::Double(double) if !double.is_nan() => Some((double * 2.0) as i128),
        _ => None,
    };
    let ordering = match (left, right) {
        (Value::Text(a), Value::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (a, b) => halves(a).zip(halves(b)).map(|(a, b)| a.cmp(&b)),
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
