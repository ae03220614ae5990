//! Counting by the spans themselves, trace by trace.

use std::sync::Arc;

use tracelake_model::{KeyValue, SpanBatch, SpanView, TraceId, Value, ValueRef};
use tracelake_store::format::segment::FieldScope;

use super::asked::{Asked, KIND, NAME, Question, SCOPES, STATUS};
use super::tally::{Scalar, Seen, Tally, ValueTypes};

/// Counts spans of one source, those of a trace next to each other.
#[derive(Debug)]
pub(super) struct RowCounter {
    pub(super) tally: Tally,
    newest: Option<TraceId>,
    /// Its number, from 1.
    trace: u32,
    /// The resource and the scope whose keys were counted last for the trace, by their addresses: its other spans
    /// have mostly the same.
    resource: usize,
    scope: usize,
}

impl RowCounter {
    pub(super) fn new() -> Self {
        Self { tally: Tally::new(), newest: None, trace: 0, resource: 0, scope: 0 }
    }

    /// The next rows of a segment.
    pub(super) fn add_rows(&mut self, asked: &Asked, batch: &SpanBatch) {
        // What is at an address is another in each batch.
        (self.resource, self.scope) = (0, 0);
        batch.spans().for_each(|span| self.add(asked, &span));
    }

    /// All of a tenant's spans in memory, where those of a trace are anywhere.
    pub(super) fn add_batches(&mut self, asked: &Asked, batches: &[Arc<SpanBatch>]) {
        let mut rows = Vec::with_capacity(batches.iter().map(|batch| batch.len()).sum());
        for (at, batch) in (0u32..).zip(batches) {
            rows.extend((0u32..).zip(batch.trace_ids()).map(|(row, trace_id)| (*trace_id, at, row)));
        }
        rows.sort_unstable();
        for (_, at, row) in rows {
            if let Some(batch) = batches.get(at as usize) {
                self.add(asked, &batch.span(row as usize));
            }
        }
    }

    fn add(&mut self, asked: &Asked, span: &SpanView<'_>) {
        if self.newest != Some(span.trace_id()) {
            self.newest = Some(span.trace_id());
            self.trace = self.trace.saturating_add(1);
            (self.resource, self.scope) = (0, 0);
        }
        if !asked.takes(span) {
            return;
        }
        match &asked.question {
            Question::Values { scopes, key, .. } => {
                for scope in scopes {
                    let seen = Seen::In { trace: self.trace, scope: *scope };
                    each_value(*scope, key, span, &mut |value| {
                        if asked.lists(value) {
                            self.tally.add_value(value, seen);
                        }
                    });
                }
            }
            Question::Operations { service } => {
                let is_of_service = span.resource().service_name() == Some(&**service);
                if is_of_service && span.name().starts_with(&*asked.prefix) {
                    let seen = Seen::In { trace: self.trace, scope: FieldScope::Intrinsic };
                    self.tally.add_value(Scalar::Text(span.name()), seen);
                }
            }
            Question::Keys { .. } => self.add_keys(span),
        }
    }

    fn add_keys(&mut self, span: &SpanView<'_>) {
        let (resource, owner) = (Arc::as_ptr(span.resource()).addr(), Arc::as_ptr(span.scope()).addr());
        for scope in SCOPES {
            let is_counted = match scope {
                FieldScope::Resource => self.resource == resource,
                FieldScope::Instrumentation => self.scope == owner,
                _ => false,
            };
            if !is_counted {
                let seen = Seen::In { trace: self.trace, scope };
                each_attribute(scope, span, &mut |key, value| {
                    let mut types = ValueTypes::default();
                    each_scalar(value, &mut |value| types.add(value));
                    self.tally.add_key(scope, key, types, seen);
                });
            }
        }
        (self.resource, self.scope) = (resource, owner);
    }
}

/// Calls for each value that a span has of a key; of the intrinsics, of those that can be listed.
fn each_value(scope: FieldScope, key: &str, span: &SpanView<'_>, visit: &mut impl FnMut(Scalar<'_>)) {
    match (scope, key) {
        (FieldScope::Intrinsic, NAME) => visit(Scalar::Text(span.name())),
        (FieldScope::Intrinsic, KIND) => visit(Scalar::Number(span.kind().into())),
        (FieldScope::Intrinsic, STATUS) => visit(Scalar::Number(span.status_code().into())),
        _ => each_attribute(scope, span, &mut |other, value| {
            if other == key {
                each_scalar(value, visit);
            }
        }),
    }
}

/// Calls for each attribute that a span has in a scope.
fn each_attribute(scope: FieldScope, span: &SpanView<'_>, visit: &mut impl FnMut(&str, ValueRef<'_>)) {
    match scope {
        FieldScope::Intrinsic => {}
        FieldScope::Span => span.attributes().for_each(|(key, value)| visit(key, value)),
        FieldScope::Resource => in_list(&span.resource().attributes, visit),
        FieldScope::Instrumentation => in_list(&span.scope().attributes, visit),
        FieldScope::Event => {
            for event in span.events() {
                event.attributes().for_each(|(key, value)| visit(key, value));
            }
        }
        FieldScope::Link => {
            for link in span.links() {
                link.attributes().for_each(|(key, value)| visit(key, value));
            }
        }
    }
}

fn in_list(attributes: &[KeyValue], visit: &mut impl FnMut(&str, ValueRef<'_>)) {
    attributes.iter().for_each(|attribute| visit(&attribute.key, attribute.value.as_ref()));
}

/// Calls for a value, or for those in an array, as the index has them.
fn each_scalar(value: ValueRef<'_>, visit: &mut impl FnMut(Scalar<'_>)) {
    match value {
        ValueRef::Nested(Value::Array(elements)) => {
            elements.iter().filter_map(|element| scalar(element.as_ref())).for_each(visit);
        }
        value => scalar(value).into_iter().for_each(visit),
    }
}

fn scalar(value: ValueRef<'_>) -> Option<Scalar<'_>> {
    match value {
        ValueRef::Text(text) => Some(Scalar::Text(text)),
        ValueRef::Bool(value) => Some(Scalar::Bool(value)),
        ValueRef::Int(number) => Some(Scalar::Number(number as f64)),
        ValueRef::Double(number) => (!number.is_nan()).then_some(Scalar::Number(number)),
        ValueRef::Empty | ValueRef::Bytes(_) | ValueRef::Nested(_) => None,
    }
}
