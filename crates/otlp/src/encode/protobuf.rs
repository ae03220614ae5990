//! Protobuf's wire format, written. A message's length stands before it: one byte is left for it, and
//! a message that turns out longer is moved up. That is cheaper than to measure everything first, as
//! most messages are attributes.

use tracelake_model::{EntityRef, KeyValue, Resource, Scope, SpanView, Value, ValueRef};

use crate::field;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn bytes(out: &mut Vec<u8>, key: u32, value: &[u8]) {
    varint(out, u64::from(key));
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn optional_bytes(out: &mut Vec<u8>, key: u32, value: &[u8]) {
    if !value.is_empty() {
        bytes(out, key, value);
    }
}

fn optional_varint(out: &mut Vec<u8>, key: u32, value: u64) {
    if value != 0 {
        varint(out, u64::from(key));
        varint(out, value);
    }
}

/// An enum's number, which protobuf extends to 64 bits with its sign.
fn optional_enum(out: &mut Vec<u8>, key: u32, value: i32) {
    optional_varint(out, key, i64::from(value) as u64);
}

fn fixed64(out: &mut Vec<u8>, key: u32, value: u64) {
    varint(out, u64::from(key));
    out.extend_from_slice(&value.to_le_bytes());
}

fn optional_fixed32(out: &mut Vec<u8>, key: u32, value: u32) {
    if value != 0 {
        varint(out, u64::from(key));
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn message(out: &mut Vec<u8>, key: u32, write: impl FnOnce(&mut Vec<u8>)) {
    varint(out, u64::from(key));
    let start = out.len() + 1;
    out.push(0);
    write(out);
    let len = out.len() - start;
    if len < 0x80 {
        out[start - 1] = len as u8;
    } else {
        make_room(out, start, len);
    }
}

fn make_room(out: &mut Vec<u8>, start: usize, len: usize) {
    let more = varint_len(len as u64) - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(start..start + len, start + more);
    let mut rest = len as u64;
    for place in &mut out[start - 1..start + more - 1] {
        *place = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[start + more - 1] = rest as u8;
}

/// A `ResourceSpans` of `TracesData`; `scope_spans` writes what is in it.
pub(super) fn resource_spans(out: &mut Vec<u8>, span: &SpanView<'_>, scope_spans: impl FnOnce(&mut Vec<u8>)) {
    message(out, field::traces::RESOURCE_SPANS, |out| {
        resource_content(out, span.resource());
        scope_spans(out);
    });
}

/// The fields of `ResourceSpans` that are the resource's.
pub(super) fn resource_content(out: &mut Vec<u8>, resource: &Resource) {
    message(out, field::resource_spans::RESOURCE, |out| {
        key_values(out, field::resource::ATTRIBUTES, &resource.attributes);
        let dropped = u64::from(resource.dropped_attributes_count);
        optional_varint(out, field::resource::DROPPED_ATTRIBUTES, dropped);
        for entity in &resource.entity_refs {
            message(out, field::resource::ENTITY_REFS, |out| entity_ref(out, entity));
        }
    });
    optional_bytes(out, field::resource_spans::SCHEMA_URL, resource.schema_url.as_bytes());
}

fn entity_ref(out: &mut Vec<u8>, entity: &EntityRef) {
    optional_bytes(out, field::entity_ref::SCHEMA_URL, entity.schema_url.as_bytes());
    optional_bytes(out, field::entity_ref::KIND, entity.kind.as_bytes());
    for key in &entity.id_keys {
        bytes(out, field::entity_ref::ID_KEYS, key.as_bytes());
    }
    for key in &entity.description_keys {
        bytes(out, field::entity_ref::DESCRIPTION_KEYS, key.as_bytes());
    }
}

/// A `ScopeSpans` of `ResourceSpans`; `spans` writes what is in it.
pub(super) fn scope_spans(out: &mut Vec<u8>, span: &SpanView<'_>, spans: impl FnOnce(&mut Vec<u8>)) {
    message(out, field::resource_spans::SCOPE_SPANS, |out| {
        scope_content(out, span.scope());
        spans(out);
    });
}

/// The fields of `ScopeSpans` that are the scope's.
pub(super) fn scope_content(out: &mut Vec<u8>, scope: &Scope) {
    message(out, field::scope_spans::SCOPE, |out| {
        optional_bytes(out, field::scope::NAME, scope.name.as_bytes());
        optional_bytes(out, field::scope::VERSION, scope.version.as_bytes());
        key_values(out, field::scope::ATTRIBUTES, &scope.attributes);
        let dropped = u64::from(scope.dropped_attributes_count);
        optional_varint(out, field::scope::DROPPED_ATTRIBUTES, dropped);
    });
    optional_bytes(out, field::scope_spans::SCHEMA_URL, scope.schema_url.as_bytes());
}

/// A `Span` of `ScopeSpans`.
pub(super) fn span(out: &mut Vec<u8>, span: &SpanView<'_>) {
    use field::span as keys;
    message(out, field::scope_spans::SPANS, |out| {
        bytes(out, keys::TRACE_ID, span.trace_id().as_bytes());
        bytes(out, keys::SPAN_ID, span.span_id().as_bytes());
        optional_bytes(out, keys::TRACE_STATE, span.trace_state().as_bytes());
        if let Some(parent) = span.parent_span_id() {
            bytes(out, keys::PARENT_SPAN_ID, parent.as_bytes());
        }
        optional_bytes(out, keys::NAME, span.name().as_bytes());
        optional_enum(out, keys::KIND, span.kind());
        fixed64(out, keys::START, span.start_unix_nano());
        fixed64(out, keys::END, span.end_unix_nano());
        attributes(out, keys::ATTRIBUTES, span.attributes());
        optional_varint(out, keys::DROPPED_ATTRIBUTES, u64::from(span.dropped_attributes_count()));
        for event in span.events() {
            message(out, keys::EVENTS, |out| {
                fixed64(out, field::event::TIME, event.time_unix_nano());
                optional_bytes(out, field::event::NAME, event.name().as_bytes());
                attributes(out, field::event::ATTRIBUTES, event.attributes());
                let dropped = u64::from(event.dropped_attributes_count());
                optional_varint(out, field::event::DROPPED_ATTRIBUTES, dropped);
            });
        }
        optional_varint(out, keys::DROPPED_EVENTS, u64::from(span.dropped_events_count()));
        for link in span.links() {
            message(out, keys::LINKS, |out| {
                optional_bytes(out, field::link::TRACE_ID, link.trace_id());
                optional_bytes(out, field::link::SPAN_ID, link.span_id());
                optional_bytes(out, field::link::TRACE_STATE, link.trace_state().as_bytes());
                attributes(out, field::link::ATTRIBUTES, link.attributes());
                let dropped = u64::from(link.dropped_attributes_count());
                optional_varint(out, field::link::DROPPED_ATTRIBUTES, dropped);
                optional_fixed32(out, field::link::FLAGS, link.flags());
            });
        }
        optional_varint(out, keys::DROPPED_LINKS, u64::from(span.dropped_links_count()));
        if span.status_code() != 0 || !span.status_message().is_empty() {
            message(out, keys::STATUS, |out| {
                optional_bytes(out, field::status::MESSAGE, span.status_message().as_bytes());
                optional_enum(out, field::status::CODE, span.status_code());
            });
        }
        optional_fixed32(out, keys::FLAGS, span.flags());
    });
}

fn attributes<'a>(out: &mut Vec<u8>, key: u32, attributes: impl Iterator<Item = (&'a str, ValueRef<'a>)>) {
    for (name, value) in attributes {
        message(out, key, |out| key_value(out, name, value));
    }
}

fn key_values(out: &mut Vec<u8>, key: u32, attributes: &[KeyValue]) {
    for attribute in attributes {
        message(out, key, |out| key_value(out, &attribute.key, attribute.value.as_ref()));
    }
}

fn key_value(out: &mut Vec<u8>, key: &str, value: ValueRef<'_>) {
    optional_bytes(out, field::key_value::KEY, key.as_bytes());
    if !matches!(value, ValueRef::Empty) {
        message(out, field::key_value::VALUE, |out| any_value(out, value));
    }
}

fn any_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    use field::any_value as keys;
    match value {
        ValueRef::Empty => {}
        ValueRef::Text(text) => bytes(out, keys::TEXT, text.as_bytes()),
        ValueRef::Bool(value) => {
            varint(out, u64::from(keys::BOOL));
            out.push(u8::from(value));
        }
        ValueRef::Int(value) => {
            varint(out, u64::from(keys::INT));
            varint(out, value as u64);
        }
        ValueRef::Double(value) => fixed64(out, keys::DOUBLE, value.to_bits()),
        ValueRef::Bytes(value) => bytes(out, keys::BYTES, value),
        ValueRef::Nested(Value::Array(values)) => message(out, keys::ARRAY, |out| {
            for value in values {
                message(out, field::array::VALUES, |out| any_value(out, value.as_ref()));
            }
        }),
        ValueRef::Nested(Value::Map(entries)) => message(out, keys::MAP, |out| {
            key_values(out, field::map::VALUES, entries);
        }),
        ValueRef::Nested(scalar) => any_value(out, scalar.as_ref()),
    }
}

/// The length of a value's `AnyValue` message.
pub(crate) fn any_value_len(value: &Value) -> usize {
    match value {
        Value::Empty => 0,
        Value::Text(text) => field_len(text.len()),
        Value::Bool(_) => 2,
        Value::Int(value) => 1 + varint_len(*value as u64),
        Value::Double(_) => 9,
        Value::Bytes(bytes) => field_len(bytes.len()),
        Value::Array(values) => field_len(values.iter().map(|value| field_len(any_value_len(value))).sum()),
        Value::Map(entries) => field_len(entries.iter().map(|entry| field_len(key_value_len(entry))).sum()),
    }
}

/// The length of a `KeyValue` message.
pub(crate) fn key_value_len(entry: &KeyValue) -> usize {
    let key = if entry.key.is_empty() { 0 } else { field_len(entry.key.len()) };
    let value = if matches!(entry.value, Value::Empty) { 0 } else { field_len(any_value_len(&entry.value)) };
    key + value
}

/// Of a length-delimited field whose number is below 16.
pub(crate) fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Of a number whose field's own number is below 16, which is not written if it is 0.
pub(crate) fn varint_field_len(value: u32) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(u64::from(value)) }
}

#[cfg(test)]
mod tests;
