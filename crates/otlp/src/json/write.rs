//! Parts of spans as OTLP JSON text. Members that have their default value are left out, but for those
//! that readers rely on: a span's IDs, name, kind and times.

use std::fmt::{Display, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tracelake_model::{EntityRef, KeyValue, Resource, Scope, SpanView, Value, ValueRef};

/// The NaN that is written as plain `NaN`.
pub(super) const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// Appends an array of `KeyValue` objects.
pub fn write_attributes<'a>(out: &mut String, attributes: impl Iterator<Item = (&'a str, ValueRef<'a>)>) {
    list(out, attributes, |out, (key, value)| {
        out.push_str("{\"key\":");
        text(out, key);
        out.push_str(",\"value\":");
        write_value(out, value);
        out.push('}');
    });
}

/// Appends an `AnyValue` object; `{}` for a value that was not set.
pub fn write_value(out: &mut String, value: ValueRef<'_>) {
    match value {
        ValueRef::Empty => out.push_str("{}"),
        ValueRef::Text(value) => {
            out.push_str("{\"stringValue\":");
            text(out, value);
            out.push('}');
        }
        ValueRef::Bool(value) => put(out, format_args!("{{\"boolValue\":{value}}}")),
        ValueRef::Int(value) => put(out, format_args!("{{\"intValue\":\"{value}\"}}")),
        ValueRef::Double(value) => {
            out.push_str("{\"doubleValue\":");
            double(out, value);
            out.push('}');
        }
        ValueRef::Bytes(bytes) => {
            out.push_str("{\"bytesValue\":\"");
            STANDARD.encode_string(bytes, out);
            out.push_str("\"}");
        }
        ValueRef::Nested(Value::Array(values)) => {
            out.push_str("{\"arrayValue\":{\"values\":");
            list(out, values.iter(), |out, value| write_value(out, value.as_ref()));
            out.push_str("}}");
        }
        ValueRef::Nested(Value::Map(entries)) => {
            out.push_str("{\"kvlistValue\":{\"values\":");
            write_attributes(out, borrowed(entries));
            out.push_str("}}");
        }
        ValueRef::Nested(scalar) => write_value(out, scalar.as_ref()),
    }
}

/// Appends a `Resource` object with the schema URL as a further member, `schemaUrl`.
pub fn write_resource(out: &mut String, resource: &Resource) {
    resource_object(out, resource, &resource.schema_url);
}

/// Appends a `Resource` object as it stands in `ResourceSpans`.
pub(crate) fn write_resource_fields(out: &mut String, resource: &Resource) {
    resource_object(out, resource, "");
}

fn resource_object(out: &mut String, resource: &Resource, schema_url: &str) {
    let mut object = Object::begin(out);
    if !resource.attributes.is_empty() {
        write_attributes(object.member("attributes"), borrowed(&resource.attributes));
    }
    object.optional_number("droppedAttributesCount", resource.dropped_attributes_count);
    if !resource.entity_refs.is_empty() {
        list(object.member("entityRefs"), resource.entity_refs.iter(), entity_ref);
    }
    object.optional_text("schemaUrl", schema_url);
    object.end();
}

fn entity_ref(out: &mut String, entity: &EntityRef) {
    let mut object = Object::begin(out);
    object.optional_text("schemaUrl", &entity.schema_url);
    object.optional_text("type", &entity.kind);
    if !entity.id_keys.is_empty() {
        list(object.member("idKeys"), entity.id_keys.iter(), |out, key| text(out, key));
    }
    if !entity.description_keys.is_empty() {
        list(object.member("descriptionKeys"), entity.description_keys.iter(), |out, key| text(out, key));
    }
    object.end();
}

/// Appends an `InstrumentationScope` object with the schema URL as a further member, `schemaUrl`.
pub fn write_scope(out: &mut String, scope: &Scope) {
    scope_object(out, scope, &scope.schema_url);
}

/// Appends an `InstrumentationScope` object as it stands in `ScopeSpans`.
pub(crate) fn write_scope_fields(out: &mut String, scope: &Scope) {
    scope_object(out, scope, "");
}

fn scope_object(out: &mut String, scope: &Scope, schema_url: &str) {
    let mut object = Object::begin(out);
    object.optional_text("name", &scope.name);
    object.optional_text("version", &scope.version);
    if !scope.attributes.is_empty() {
        write_attributes(object.member("attributes"), borrowed(&scope.attributes));
    }
    object.optional_number("droppedAttributesCount", scope.dropped_attributes_count);
    object.optional_text("schemaUrl", schema_url);
    object.end();
}

/// Appends `,"schemaUrl":"…"` unless it is empty.
pub(crate) fn write_schema_url(out: &mut String, schema_url: &str) {
    if !schema_url.is_empty() {
        out.push_str(",\"schemaUrl\":");
        text(out, schema_url);
    }
}

/// Appends a `Span` object.
pub(crate) fn write_span(out: &mut String, span: &SpanView<'_>) {
    let mut object = Object::begin(out);
    hex(object.member("traceId"), span.trace_id().as_bytes());
    hex(object.member("spanId"), span.span_id().as_bytes());
    object.optional_text("traceState", span.trace_state());
    if let Some(parent) = span.parent_span_id() {
        hex(object.member("parentSpanId"), parent.as_bytes());
    }
    object.optional_number("flags", span.flags());
    text(object.member("name"), span.name());
    object.number("kind", span.kind());
    object.quoted_number("startTimeUnixNano", span.start_unix_nano());
    object.quoted_number("endTimeUnixNano", span.end_unix_nano());
    if span.attributes().len() > 0 {
        write_attributes(object.member("attributes"), span.attributes());
    }
    object.optional_number("droppedAttributesCount", span.dropped_attributes_count());
    if span.events().len() > 0 {
        list(object.member("events"), span.events(), |out, event| {
            let mut object = Object::begin(out);
            object.quoted_number("timeUnixNano", event.time_unix_nano());
            object.optional_text("name", event.name());
            if event.attributes().len() > 0 {
                write_attributes(object.member("attributes"), event.attributes());
            }
            object.optional_number("droppedAttributesCount", event.dropped_attributes_count());
            object.end();
        });
    }
    object.optional_number("droppedEventsCount", span.dropped_events_count());
    if span.links().len() > 0 {
        list(object.member("links"), span.links(), |out, link| {
            let mut object = Object::begin(out);
            hex(object.member("traceId"), link.trace_id());
            hex(object.member("spanId"), link.span_id());
            object.optional_text("traceState", link.trace_state());
            if link.attributes().len() > 0 {
                write_attributes(object.member("attributes"), link.attributes());
            }
            object.optional_number("droppedAttributesCount", link.dropped_attributes_count());
            object.optional_number("flags", link.flags());
            object.end();
        });
    }
    object.optional_number("droppedLinksCount", span.dropped_links_count());
    if span.status_code() != 0 || !span.status_message().is_empty() {
        let mut status = Object::begin(object.member("status"));
        status.optional_text("message", span.status_message());
        if span.status_code() != 0 {
            status.number("code", span.status_code());
        }
        status.end();
    }
    object.end();
}

/// An object being written.
struct Object<'o> {
    out: &'o mut String,
    separator: char,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut String) -> Self {
        Self { out, separator: '{' }
    }

    /// Where the member's value goes. `name` needs no escape.
    fn member(&mut self, name: &str) -> &mut String {
        self.out.push(self.separator);
        self.separator = ',';
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
        self.out
    }

    fn optional_text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            text(self.member(name), value);
        }
    }

    fn optional_number(&mut self, name: &str, value: u32) {
        if value != 0 {
            self.number(name, value);
        }
    }

    fn number(&mut self, name: &str, value: impl Display) {
        put(self.member(name), format_args!("{value}"));
    }

    fn quoted_number(&mut self, name: &str, value: u64) {
        put(self.member(name), format_args!("\"{value}\""));
    }

    fn end(self) {
        self.out.push_str(if self.separator == '{' { "{}" } else { "}" });
    }
}

fn borrowed(attributes: &[KeyValue]) -> impl Iterator<Item = (&str, ValueRef<'_>)> {
    attributes.iter().map(|attribute| (&*attribute.key, attribute.value.as_ref()))
}

fn list<T>(out: &mut String, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn double(out: &mut String, value: f64) {
    if value.is_finite() {
        // The shortest digits that read back as the same bits; −0.0 keeps its sign.
        put(out, format_args!("{value:?}"));
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else if value.to_bits() == NAN_BITS {
        out.push_str("\"NaN\"");
    } else {
        put(out, format_args!("\"NaN:{:016x}\"", value.to_bits()));
    }
}

fn hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out.push('"');
}

fn text(out: &mut String, value: &str) {
    out.push('"');
    let mut rest = value;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        // What is found is ASCII, so both cuts are between characters.
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let (escaped, after) = from.split_at(1);
        match escaped {
            "\"" => out.push_str("\\\""),
            "\\" => out.push_str("\\\\"),
            "\n" => out.push_str("\\n"),
            "\r" => out.push_str("\\r"),
            "\t" => out.push_str("\\t"),
            _ => put(out, format_args!("\\u{:04x}", escaped.as_bytes()[0])),
        }
        rest = after;
    }
    out.push_str(rest);
    out.push('"');
}

fn put(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a String takes every text");
}
