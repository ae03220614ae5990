//! Schemas of OTLP's JSON as it is answered: members that have their default value are left out.

use serde_json::{Value, json};

use super::schema::{
    count, either, list, nanos_text, object, pattern, shared, span_id, text, trace_id, truth, with_optional,
};

/// By their names.
pub(super) fn schemas() -> [(&'static str, Value); 8] {
    [
        ("Trace", trace()),
        ("ResourceSpans", resource_spans()),
        ("ScopeSpans", scope_spans()),
        ("Span", span()),
        ("Event", event()),
        ("Link", link()),
        ("KeyValue", object([("key", text()), ("value", shared("AnyValue"))])),
        ("AnyValue", any_value()),
    ]
}

/// `TracesData`, with what is to be said of it.
fn trace() -> Value {
    with_optional(
        object([("resourceSpans", list(shared("ResourceSpans")))]),
        [("partial", shared("Partial")), ("conflictingSpanIds", list(span_id()))],
    )
}

fn resource_spans() -> Value {
    let entity = with_optional(
        object([]),
        [
            ("schemaUrl", text()),
            ("type", text()),
            ("idKeys", list(text())),
            ("descriptionKeys", list(text())),
        ],
    );
    let resource = with_optional(
        object([]),
        [("attributes", attributes()), ("droppedAttributesCount", count()), ("entityRefs", list(entity))],
    );
    let spans = object([("resource", resource), ("scopeSpans", list(shared("ScopeSpans")))]);
    with_optional(spans, [("schemaUrl", text())])
}

fn scope_spans() -> Value {
    let scope = with_optional(
        object([]),
        [
            ("name", text()),
            ("version", text()),
            ("attributes", attributes()),
            ("droppedAttributesCount", count()),
        ],
    );
    with_optional(object([("scope", scope), ("spans", list(shared("Span")))]), [("schemaUrl", text())])
}

fn span() -> Value {
    let status = with_optional(object([]), [("message", text()), ("code", json!({"type": "integer"}))]);
    let span = object([
        ("traceId", trace_id()),
        ("spanId", span_id()),
        ("name", text()),
        ("kind", json!({"type": "integer"})),
        ("startTimeUnixNano", nanos_text()),
        ("endTimeUnixNano", nanos_text()),
    ]);
    with_optional(
        span,
        [
            ("traceState", text()),
            ("parentSpanId", span_id()),
            ("flags", count()),
            ("attributes", attributes()),
            ("droppedAttributesCount", count()),
            ("events", list(shared("Event"))),
            ("droppedEventsCount", count()),
            ("links", list(shared("Link"))),
            ("droppedLinksCount", count()),
            ("status", status),
        ],
    )
}

fn event() -> Value {
    let optional = [("name", text()), ("attributes", attributes()), ("droppedAttributesCount", count())];
    with_optional(object([("timeUnixNano", nanos_text())]), optional)
}

fn link() -> Value {
    // What an exporter linked to need not be an ID.
    let bytes = pattern("^([0-9a-f]{2})*$");
    with_optional(
        object([("traceId", bytes.clone()), ("spanId", bytes)]),
        [
            ("traceState", text()),
            ("attributes", attributes()),
            ("droppedAttributesCount", count()),
            ("flags", count()),
        ],
    )
}

fn attributes() -> Value {
    list(shared("KeyValue"))
}

/// `{}` is a value that was not set.
fn any_value() -> Value {
    let not_finite = pattern("^(-?Infinity|NaN(:[0-9a-f]{16})?)$");
    either([
        object([]),
        object([("stringValue", text())]),
        object([("boolValue", truth())]),
        object([("intValue", pattern("^-?[0-9]+$"))]),
        object([("doubleValue", either([json!({"type": "number"}), not_finite]))]),
        object([("bytesValue", json!({"type": "string", "contentEncoding": "base64"}))]),
        object([("arrayValue", object([("values", list(shared("AnyValue")))]))]),
        object([("kvlistValue", object([("values", list(shared("KeyValue")))]))]),
    ])
}
