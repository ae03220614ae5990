//! Whether a span satisfies a condition: the one place that says what conditions mean. An index may answer sooner,
//! never otherwise. docs/search.md has the same in words.

mod asked;

use std::borrow::Cow;
use std::cmp::Ordering;

use tracelake_model::batch::{EventView, LinkView};
use tracelake_model::{KeyValue, SpanView, Value, ValueRef};

pub(crate) use self::asked::Asked;
use crate::field::{AttributeScope, Field, Intrinsic};
use crate::number::Number;
use crate::predicate::{Arithmetic, Comparison, Literal, Operand, Predicate, TracePredicate};

/// What conditions ask of a span's trace: the whole trace as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceFacts<'t> {
    /// The root's name, if it has arrived.
    pub root_name: Option<&'t str>,
    /// The root's service, if it has arrived and names one.
    pub root_service: Option<&'t str>,
    /// From the first start to the last end.
    pub duration_nano: u64,
}

/// A value as it is compared.
#[derive(Debug, Clone)]
pub(crate) enum Cell<'a> {
    Text(Cow<'a, str>),
    Number(Number),
    Bool(bool),
    Status(i32),
    Kind(i32),
    /// Bytes, a map, a key without a value: it is there, and equals nothing.
    Other,
}

impl TracePredicate {
    /// Which of these spans of a trace match, by their places, ascending; none if the trace does not satisfy it. A
    /// trace can satisfy it without a span that matches, where something must not be.
    pub fn matching(&self, spans: &[SpanView<'_>], trace: &TraceFacts<'_>) -> Option<Vec<usize>> {
        match self {
            Self::AnySpan(predicate) => {
                let matches = |(at, span)| predicate.matches(span, trace).then_some(at);
                let found: Vec<usize> = spans.iter().enumerate().filter_map(matches).collect();
                (!found.is_empty()).then_some(found)
            }
            Self::And(all) => {
                let found: Option<Vec<_>> = all.iter().map(|one| one.matching(spans, trace)).collect();
                found.map(union)
            }
            Self::Or(any) => {
                let found: Vec<_> = any.iter().filter_map(|one| one.matching(spans, trace)).collect();
                (!found.is_empty()).then(|| union(found))
            }
            Self::Not(of) => of.matching(spans, trace).is_none().then(Vec::new),
        }
    }
}

fn union(lists: Vec<Vec<usize>>) -> Vec<usize> {
    let mut all = lists.concat();
    all.sort_unstable();
    all.dedup();
    all
}

impl Field {
    /// The value of an attribute of a span, of its resource or of its scope; the first if the key occurs more than
    /// once.
    pub fn attribute_of<'a>(&self, span: &SpanView<'a>) -> Option<ValueRef<'a>> {
        let Self::Attribute { scope, key } = self else { return None };
        let of_span = || span.attributes().find(|(other, _)| **other == **key).map(|(_, value)| value);
        let in_list = |list: &'a [KeyValue]| {
            list.iter().find(|attribute| attribute.key == *key).map(|attribute| attribute.value.as_ref())
        };
        let of_resource = || in_list(&span.resource().attributes);
        let of_scope = || in_list(&span.scope().attributes);
        match scope {
            AttributeScope::Any => of_span().or_else(of_resource).or_else(of_scope),
            AttributeScope::Span => of_span(),
            AttributeScope::Resource => of_resource(),
            AttributeScope::Instrumentation => of_scope(),
            AttributeScope::Event | AttributeScope::Link => None,
        }
    }
}

impl Predicate {
    /// Whether the span satisfies it.
    pub fn matches(&self, span: &SpanView<'_>, trace: &TraceFacts<'_>) -> bool {
        self.eval(&About { span, trace, event: None, link: None })
    }

    /// Of the span: conditions that `&&` combines are of one and the same event, and of one and the same link.
    /// What stands on its own, or behind a `!`, is of any.
    fn eval(&self, about: &About<'_>) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Or(all) => all.iter().any(|one| one.eval(about)),
            Self::Not(of) => !of.eval(about),
            Self::And(_) => {
                let mut conjuncts = Vec::new();
                self.conjuncts(&mut conjuncts);
                let (of_event, others) = apart(conjuncts, Field::is_of_event);
                let (of_link, others) = apart(others, Field::is_of_link);
                others.iter().all(|one| one.eval(about))
                    && about.has_event(&of_event)
                    && about.has_link(&of_link)
            }
            leaf if leaf.asks(Field::is_of_event) => about.has_event(&[leaf]),
            leaf if leaf.asks(Field::is_of_link) => about.has_link(&[leaf]),
            leaf => leaf.holds(about),
        }
    }

    fn conjuncts<'p>(&'p self, found: &mut Vec<&'p Self>) {
        match self {
            Self::And(all) => all.iter().for_each(|one| one.conjuncts(found)),
            other => found.push(other),
        }
    }

    /// What is still open when all is decided that does not ask of such a field.
    fn open(&self, is: fn(&Field) -> bool, about: &About<'_>) -> Open<'_> {
        match self {
            Self::And(all) => Open::All(all.iter().map(|one| one.open(is, about)).collect()),
            Self::Or(all) => Open::Any(all.iter().map(|one| one.open(is, about)).collect()),
            leaf if leaf.asks(is) => Open::Leaf(leaf),
            other => Open::Known(other.eval(about)),
        }
    }

    /// Of a condition that has no others in it.
    fn holds(&self, about: &About<'_>) -> bool {
        if let Some((field, asked)) = self.asked() {
            let mut is_any = false;
            let is_there = about.each(field, &mut |cell| is_any |= asked.is(&cell));
            return asked.follows(is_there, is_any);
        }
        match self {
            Self::Compare { left, comparison, right } => compares(about, left, *comparison, right),
            other => other.eval(about),
        }
    }
}

/// Those that ask of such a field, and the others.
fn apart(all: Vec<&Predicate>, is: fn(&Field) -> bool) -> (Vec<&Predicate>, Vec<&Predicate>) {
    all.into_iter().partition(|one| one.asks(is))
}

/// A condition on one event, or on one link. What is the same for all of them is decided once: a span has many,
/// and what is behind a `!` goes through them itself.
enum Open<'p> {
    Known(bool),
    Leaf(&'p Predicate),
    All(Vec<Open<'p>>),
    Any(Vec<Open<'p>>),
}

impl Open<'_> {
    fn holds(&self, about: &About<'_>) -> bool {
        match self {
            Self::Known(value) => *value,
            Self::Leaf(leaf) => leaf.holds(about),
            Self::All(all) => all.iter().all(|one| one.holds(about)),
            Self::Any(all) => all.iter().any(|one| one.holds(about)),
        }
    }
}

/// A span, its trace, and the event and link that conditions are about.
#[derive(Clone, Copy)]
struct About<'a> {
    span: &'a SpanView<'a>,
    trace: &'a TraceFacts<'a>,
    event: Option<EventView<'a>>,
    link: Option<LinkView<'a>>,
}

impl<'a> About<'a> {
    /// Calls for each value of a field: a key may occur more than once, and an array has several. Whether it is
    /// there.
    fn each(&self, field: &Field, visit: &mut impl FnMut(Cell<'a>)) -> bool {
        match field {
            Field::Intrinsic(intrinsic) => match self.intrinsic(*intrinsic) {
                Some(cell) => {
                    visit(cell);
                    true
                }
                None => false,
            },
            Field::Attribute { scope, key } => match scope {
                AttributeScope::Any => {
                    of_key(self.span.attributes(), key, visit)
                        || in_list(&self.span.resource().attributes, key, visit)
                        || in_list(&self.span.scope().attributes, key, visit)
                }
                AttributeScope::Span => of_key(self.span.attributes(), key, visit),
                AttributeScope::Resource => in_list(&self.span.resource().attributes, key, visit),
                AttributeScope::Instrumentation => in_list(&self.span.scope().attributes, key, visit),
                AttributeScope::Event => {
                    self.event.is_some_and(|event| of_key(event.attributes(), key, visit))
                }
                AttributeScope::Link => self.link.is_some_and(|link| of_key(link.attributes(), key, visit)),
            },
        }
    }

    fn intrinsic(&self, intrinsic: Intrinsic) -> Option<Cell<'a>> {
        let text = |text: &'a str| Some(Cell::Text(Cow::Borrowed(text)));
        let number = |number: i128| Some(Cell::Number(Number::Int(number)));
        let span = self.span;
        match intrinsic {
            Intrinsic::Name => own_text(intrinsic, span.name()),
            Intrinsic::Kind => Some(Cell::Kind(span.kind())),
            Intrinsic::Status => Some(Cell::Status(span.status_code())),
            Intrinsic::StatusMessage => own_text(intrinsic, span.status_message()),
            Intrinsic::Duration => number(span.duration_nano().into()),
            Intrinsic::SpanId => Some(Cell::Text(span.span_id().to_string().into())),
            Intrinsic::ParentId => span.parent_span_id().map(|id| Cell::Text(id.to_string().into())),
            Intrinsic::TraceId => Some(Cell::Text(span.trace_id().to_string().into())),
            Intrinsic::RootName => self.trace.root_name.and_then(text),
            Intrinsic::RootService => self.trace.root_service.and_then(text),
            Intrinsic::TraceDuration => number(self.trace.duration_nano.into()),
            Intrinsic::EventName => text(self.event?.name()),
            Intrinsic::EventTimeSinceStart => {
                number(i128::from(self.event?.time_unix_nano()) - i128::from(span.start_unix_nano()))
            }
            Intrinsic::LinkTraceId => Some(Cell::Text(hex(self.link?.trace_id()).into())),
            Intrinsic::LinkSpanId => Some(Cell::Text(hex(self.link?.span_id()).into())),
            Intrinsic::InstrumentationName => own_text(intrinsic, &span.scope().name),
            Intrinsic::InstrumentationVersion => own_text(intrinsic, &span.scope().version),
        }
    }

    /// Whether all of them hold of one event. Where there is none, nothing holds of it but that it is absent.
    fn has_event(&self, conditions: &[&Predicate]) -> bool {
        let open = Open::All(conditions.iter().map(|one| one.open(Field::is_of_event, self)).collect());
        let mut events = self.span.events();
        if events.len() == 0 {
            return open.holds(self);
        }
        events.any(|event| open.holds(&About { event: Some(event), ..*self }))
    }

    /// The same of one link.
    fn has_link(&self, conditions: &[&Predicate]) -> bool {
        let open = Open::All(conditions.iter().map(|one| one.open(Field::is_of_link, self)).collect());
        let mut links = self.span.links();
        if links.len() == 0 {
            return open.holds(self);
        }
        links.any(|link| open.holds(&About { link: Some(link), ..*self }))
    }

    /// The value of one side of a comparison, if there is one and no more: of several on both sides there would
    /// be all pairs.
    fn value(&self, operand: &'a Operand) -> Option<Cell<'a>> {
        match operand {
            Operand::Field(field) => {
                let (mut value, mut several) = (None, false);
                self.each(field, &mut |cell| several |= value.replace(cell).is_some());
                value.filter(|_| !several)
            }
            Operand::Literal(literal) => Some(of_literal(literal)),
            Operand::Negated(of) => Some(Cell::Number(self.number(of)?.negated())),
            Operand::Arithmetic { left, operation, right } => {
                let (left, right) = (self.number(left)?, self.number(right)?);
                Some(Cell::Number(match operation {
                    Arithmetic::Add => left.plus(right),
                    Arithmetic::Subtract => left.minus(right),
                    Arithmetic::Multiply => left.times(right),
                    Arithmetic::Divide => left.divided_by(right),
                    Arithmetic::Remainder => left.remainder(right),
                    Arithmetic::Power => left.power(right),
                }))
            }
        }
    }

    fn number(&self, operand: &'a Operand) -> Option<Number> {
        match self.value(operand)? {
            Cell::Number(number) => Some(number),
            _ => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text that a span, or its scope, has once: an empty one is not there, but for the span's name.
fn own_text(intrinsic: Intrinsic, text: &str) -> Option<Cell<'_>> {
    (intrinsic == Intrinsic::Name || !text.is_empty()).then_some(Cell::Text(Cow::Borrowed(text)))
}

fn in_list<'a>(attributes: &'a [KeyValue], key: &str, visit: &mut impl FnMut(Cell<'a>)) -> bool {
    of_key(attributes.iter().map(|attribute| (&*attribute.key, attribute.value.as_ref())), key, visit)
}

fn of_key<'a>(
    attributes: impl Iterator<Item = (&'a str, ValueRef<'a>)>,
    key: &str,
    visit: &mut impl FnMut(Cell<'a>),
) -> bool {
    each_of(attributes.filter(|(other, _)| *other == key).map(|(_, value)| value), visit)
}

/// Calls for each of the values that a key has. Whether it has any: an empty array is one, of which nothing is.
fn each_of<'a>(values: impl Iterator<Item = ValueRef<'a>>, visit: &mut impl FnMut(Cell<'a>)) -> bool {
    let mut is_there = false;
    for value in values {
        is_there = true;
        match value {
            ValueRef::Nested(Value::Array(elements)) => {
                elements.iter().for_each(|element| visit(of_value(element.as_ref())));
            }
            value => visit(of_value(value)),
        }
    }
    is_there
}

/// An array within an array equals nothing.
fn of_value(value: ValueRef<'_>) -> Cell<'_> {
    match value {
        ValueRef::Text(text) => Cell::Text(Cow::Borrowed(text)),
        ValueRef::Bool(value) => Cell::Bool(value),
        ValueRef::Int(int) => Cell::Number(Number::Int(int.into())),
        ValueRef::Double(double) => Cell::Number(Number::Double(double)),
        ValueRef::Empty | ValueRef::Bytes(_) | ValueRef::Nested(_) => Cell::Other,
    }
}

fn of_literal(literal: &Literal) -> Cell<'_> {
    match literal {
        Literal::Text(text) => Cell::Text(Cow::Borrowed(text)),
        Literal::Int(int) | Literal::Duration(int) => Cell::Number(Number::Int((*int).into())),
        Literal::Double(double) => Cell::Number(Number::Double(*double)),
        Literal::Bool(value) => Cell::Bool(*value),
        Literal::Status(status) => Cell::Status(*status as i32),
        Literal::Kind(kind) => Cell::Kind(*kind as i32),
    }
}

/// The one value of each side; of a field against a literal any may compare so, see [`Asked`].
fn compares(about: &About<'_>, left: &Operand, comparison: Comparison, right: &Operand) -> bool {
    let values = about.value(left).zip(about.value(right));
    values.is_some_and(|(left, right)| compare(&left, comparison, &right))
}

/// Values of types that do not compare are neither equal nor unequal nor ordered, and a NaN is not even equal to
/// itself; but what does not compare differs.
fn compare(left: &Cell<'_>, comparison: Comparison, right: &Cell<'_>) -> bool {
    if let (Cell::Text(a), Comparison::Equal, Cell::Text(b)) = (left, comparison, right) {
        // Lengths tell most texts apart, which an order does not look at first.
        return a == b;
    }
    let ordering = match (left, right) {
        (Cell::Text(a), Cell::Text(b)) => Some(a.cmp(b)),
        (Cell::Number(a), Cell::Number(b)) => a.compare(*b),
        (Cell::Bool(a), Cell::Bool(b)) => Some(a.cmp(b)),
        (Cell::Status(a), Cell::Status(b)) | (Cell::Kind(a), Cell::Kind(b)) => Some(a.cmp(b)),
        _ => None,
    };
    match comparison {
        Comparison::Equal => ordering == Some(Ordering::Equal),
        Comparison::NotEqual => ordering != Some(Ordering::Equal),
        Comparison::Greater => ordering == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => ordering.is_some_and(Ordering::is_ge),
        Comparison::Less => ordering == Some(Ordering::Less),
        Comparison::LessOrEqual => ordering.is_some_and(Ordering::is_le),
    }
}

#[cfg(test)]
mod tests;
