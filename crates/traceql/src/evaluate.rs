//! Whether a span satisfies a condition: the one place that says what conditions mean. An index may answer sooner,
//! never otherwise. docs/search.md has the same in words.

use std::borrow::Cow;
use std::cmp::Ordering;

use tracelake_model::batch::{EventView, LinkView};
use tracelake_model::{KeyValue, SpanView, Value, ValueRef};

use crate::field::{AttributeScope, Field, Intrinsic};
use crate::number::Number;
use crate::predicate::{Arithmetic, Comparison, Literal, Operand, Predicate};

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
enum Cell<'a> {
    Text(Cow<'a, str>),
    Number(Number),
    Bool(bool),
    Status(i32),
    Kind(i32),
    /// Bytes, a map, a key without a value: it is there, and equals nothing.
    Other,
}

impl Predicate {
    /// Whether the span satisfies it.
    pub fn matches(&self, span: &SpanView<'_>, trace: &TraceFacts<'_>) -> bool {
        let (of_event, of_link) = (self.needs(Field::is_of_event), self.needs(Field::is_of_link));
        let about = About { span, trace, event: None, link: None };
        if !of_event && !of_link {
            return self.holds(&about);
        }
        // Conditions on events that stand together are of one event: any will do. Where there is none, nothing holds of
        // it but that it is absent.
        let with_links = |event| {
            let about = About { event, ..about };
            if !of_link || span.links().len() == 0 {
                return self.holds(&about);
            }
            span.links().any(|link| self.holds(&About { link: Some(link), ..about }))
        };
        if !of_event || span.events().len() == 0 {
            return with_links(None);
        }
        span.events().any(|event| with_links(Some(event)))
    }

    /// Whether it asks of such a field, where no `Not` stands before it: what that asks is of all.
    fn needs(&self, is: fn(&Field) -> bool) -> bool {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().any(|one| one.needs(is)),
            Self::Not(_) => false,
            leaf => {
                let mut needs = false;
                leaf.fields(&mut |field| needs |= is(field));
                needs
            }
        }
    }

    fn holds(&self, about: &About<'_>) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Compare { left, comparison, right } => compares(about, left, *comparison, right),
            Self::Match { field, pattern, negated } => {
                let mut found = false;
                about.each(field, &mut |cell| {
                    found |= matches!(&cell, Cell::Text(text) if pattern.matches(text) != *negated);
                });
                found
            }
            Self::Exists(field) => about.each(field, &mut |_| ()),
            Self::Absent(field) => !about.each(field, &mut |_| ()),
            Self::And(all) => all.iter().all(|one| one.holds(about)),
            Self::Or(all) => all.iter().any(|one| one.holds(about)),
            Self::Not(of) => !of.matches(about.span, about.trace),
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
                    in_span(self.span, key, visit)
                        || in_list(&self.span.resource().attributes, key, visit)
                        || in_list(&self.span.scope().attributes, key, visit)
                }
                AttributeScope::Span => in_span(self.span, key, visit),
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
        let unless_empty = |value: &'a str| if value.is_empty() { None } else { text(value) };
        let span = self.span;
        match intrinsic {
            Intrinsic::Name => text(span.name()),
            Intrinsic::Kind => Some(Cell::Kind(span.kind())),
            Intrinsic::Status => Some(Cell::Status(span.status_code())),
            Intrinsic::StatusMessage => unless_empty(span.status_message()),
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
            Intrinsic::InstrumentationName => unless_empty(&span.scope().name),
            Intrinsic::InstrumentationVersion => unless_empty(&span.scope().version),
        }
    }

    /// The values of one side of a comparison.
    fn values(&self, operand: &'a Operand) -> Vec<Cell<'a>> {
        let numbers = |operand: &'a Operand| {
            let numbers = self.values(operand).into_iter();
            numbers.filter_map(|cell| if let Cell::Number(number) = cell { Some(number) } else { None })
        };
        match operand {
            Operand::Field(field) => {
                let mut values = Vec::new();
                self.each(field, &mut |cell| values.push(cell));
                values
            }
            Operand::Literal(literal) => vec![of_literal(literal)],
            Operand::Negated(of) => numbers(of).map(|number| Cell::Number(number.negated())).collect(),
            Operand::Arithmetic { left, operation, right } => {
                let right: Vec<Number> = numbers(right).collect();
                let results = numbers(left).flat_map(|left| {
                    right.iter().map(move |right| match operation {
                        Arithmetic::Add => left.plus(*right),
                        Arithmetic::Subtract => left.minus(*right),
                        Arithmetic::Multiply => left.times(*right),
                        Arithmetic::Divide => left.divided_by(*right),
                        Arithmetic::Remainder => left.remainder(*right),
                        Arithmetic::Power => left.power(*right),
                    })
                });
                results.map(Cell::Number).collect()
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Attributes of a span with this key.
fn in_span<'a>(span: &SpanView<'a>, key: &str, visit: &mut impl FnMut(Cell<'a>)) -> bool {
    of_key(span.attributes(), key, visit)
}

fn in_list<'a>(attributes: &'a [KeyValue], key: &str, visit: &mut impl FnMut(Cell<'a>)) -> bool {
    of_key(attributes.iter().map(|attribute| (&*attribute.key, attribute.value.as_ref())), key, visit)
}

fn of_key<'a>(
    attributes: impl Iterator<Item = (&'a str, ValueRef<'a>)>,
    key: &str,
    visit: &mut impl FnMut(Cell<'a>),
) -> bool {
    let mut is_there = false;
    for (_, value) in attributes.filter(|(other, _)| *other == key) {
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

/// Whether any value of the one side and any of the other compare so.
fn compares(about: &About<'_>, left: &Operand, comparison: Comparison, right: &Operand) -> bool {
    if let (Operand::Field(field), Operand::Literal(literal)) = (left, right) {
        let right = of_literal(literal);
        let mut found = false;
        about.each(field, &mut |left| found |= compare(&left, comparison, &right));
        return found;
    }
    let right = about.values(right);
    about.values(left).iter().any(|left| right.iter().any(|right| compare(left, comparison, right)))
}

/// Values of types that do not compare are neither equal nor unequal nor ordered, and a NaN is not even equal to
/// itself; but what does not compare differs.
fn compare(left: &Cell<'_>, comparison: Comparison, right: &Cell<'_>) -> bool {
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
