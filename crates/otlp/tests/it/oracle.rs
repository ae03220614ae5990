//! What prost and opentelemetry-proto make of the same bytes, and both it and a batch in one plain form
//! that can be compared.

use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::resource::v1 as resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use prost::Message;
use tracelake_model::{EntityRef, KeyValue, Resource, Scope, SpanBatch, SpanView, Value, ValueRef};
use tracelake_otlp::{DecodeLimits, RejectReason, Rejections};

/// A span with everything it refers to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlainSpan {
    pub(crate) trace_id: Vec<u8>,
    pub(crate) span_id: Vec<u8>,
    /// Empty for none.
    pub(crate) parent_span_id: Vec<u8>,
    /// trace state, name, status message
    pub(crate) texts: [String; 3],
    /// start, end
    pub(crate) times: [u64; 2],
    /// kind, status code
    pub(crate) enums: [i32; 2],
    /// flags, dropped attributes, events, links
    pub(crate) numbers: [u32; 4],
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) events: Vec<(u64, String, u32, Vec<KeyValue>)>,
    pub(crate) links: Vec<PlainLink>,
    pub(crate) resource: Resource,
    pub(crate) scope: Scope,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlainLink {
    ids: [Vec<u8>; 2],
    trace_state: String,
    flags: u32,
    dropped: u32,
    attributes: Vec<KeyValue>,
}

/// What a batch holds.
pub(crate) fn plain(batch: &SpanBatch) -> Vec<PlainSpan> {
    batch.spans().map(|span| plain_span(&span)).collect()
}

fn plain_span(span: &SpanView<'_>) -> PlainSpan {
    PlainSpan {
        trace_id: span.trace_id().as_bytes().to_vec(),
        span_id: span.span_id().as_bytes().to_vec(),
        parent_span_id: span.parent_span_id().map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        texts: [span.trace_state(), span.name(), span.status_message()].map(String::from),
        times: [span.start_unix_nano(), span.end_unix_nano()],
        enums: [span.kind(), span.status_code()],
        numbers: [
            span.flags(),
            span.dropped_attributes_count(),
            span.dropped_events_count(),
            span.dropped_links_count(),
        ],
        attributes: owned(span.attributes()),
        events: span
            .events()
            .map(|event| {
                let attributes = owned(event.attributes());
                (event.time_unix_nano(), event.name().into(), event.dropped_attributes_count(), attributes)
            })
            .collect(),
        links: span
            .links()
            .map(|link| PlainLink {
                ids: [link.trace_id().to_vec(), link.span_id().to_vec()],
                trace_state: link.trace_state().into(),
                flags: link.flags(),
                dropped: link.dropped_attributes_count(),
                attributes: owned(link.attributes()),
            })
            .collect(),
        resource: (**span.resource()).clone(),
        scope: (**span.scope()).clone(),
    }
}

fn owned<'a>(attributes: impl Iterator<Item = (&'a str, ValueRef<'a>)>) -> Vec<KeyValue> {
    attributes.map(|(key, value)| KeyValue { key: key.into(), value: value.to_value() }).collect()
}

/// What prost reads, judged as the decoder should; none if it refuses.
pub(crate) fn expected(body: &[u8], limits: &DecodeLimits) -> Option<(Vec<PlainSpan>, Rejections)> {
    let traces = trace::TracesData::decode(body).ok()?;
    let (mut spans, mut rejections) = (Vec::new(), Rejections::default());
    for resource_spans in traces.resource_spans {
        let resource = proto_resource(resource_spans.resource.unwrap_or_default(), resource_spans.schema_url);
        for scope_spans in resource_spans.scope_spans {
            let scope = proto_scope(scope_spans.scope.unwrap_or_default(), scope_spans.schema_url);
            for span in scope_spans.spans {
                let span = proto_span(span, &resource, &scope);
                match verdict(&span, limits) {
                    Some(reason) => rejections.add(reason),
                    None => spans.push(normal(span)),
                }
            }
        }
    }
    Some((spans, rejections))
}

fn normal(mut span: PlainSpan) -> PlainSpan {
    if span.parent_span_id == [0; 8] {
        span.parent_span_id.clear();
    }
    span
}

fn verdict(span: &PlainSpan, limits: &DecodeLimits) -> Option<RejectReason> {
    let bad_id = |id: &[u8], len| id.len() != len || id.iter().all(|byte| *byte == 0);
    if bad_id(&span.trace_id, 16) {
        return Some(RejectReason::TraceId);
    }
    if bad_id(&span.span_id, 8) {
        return Some(RejectReason::SpanId);
    }
    if !matches!(span.parent_span_id.len(), 0 | 8) {
        return Some(RejectReason::ParentSpanId);
    }
    if span.times.iter().any(|time| *time > i64::MAX as u64) {
        return Some(RejectReason::Time);
    }
    let inner =
        span.events.iter().map(|event| &event.3).chain(span.links.iter().map(|link| &link.attributes));
    let own: Vec<&Vec<KeyValue>> = [&span.attributes].into_iter().chain(inner).collect();
    let too_large = |attributes: &Vec<KeyValue>| {
        attributes.iter().any(|attribute| size(&attribute.value) > limits.attribute_value_bytes_max)
    };
    let too_many_elements = |attributes: &Vec<KeyValue>| {
        attributes.iter().any(|attribute| elements(&attribute.value) > limits.value_elements_max)
    };
    let too_many = |attributes: &Vec<KeyValue>| attributes.len() > limits.attributes_max;
    if own.iter().any(|attributes| too_many_elements(attributes)) {
        return Some(RejectReason::ValueElementCount);
    }
    if own.iter().any(|attributes| too_large(attributes)) {
        return Some(RejectReason::AttributeValueSize);
    }
    if own.iter().any(|attributes| too_many(attributes)) {
        return Some(RejectReason::AttributeCount);
    }
    if span.events.len() > limits.span_events_max {
        return Some(RejectReason::EventCount);
    }
    if span.links.len() > limits.span_links_max {
        return Some(RejectReason::LinkCount);
    }
    for (attributes, bytes) in [
        (&span.resource.attributes, resource_size(&span.resource)),
        (&span.scope.attributes, scope_size(&span.scope)),
    ] {
        if too_many_elements(attributes) {
            return Some(RejectReason::ValueElementCount);
        }
        if too_large(attributes) {
            return Some(RejectReason::AttributeValueSize);
        }
        if too_many(attributes) {
            return Some(RejectReason::AttributeCount);
        }
        if bytes > limits.resource_bytes_max {
            return Some(RejectReason::ResourceSize);
        }
    }
    None
}

fn elements(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.len() + values.iter().map(elements).sum::<usize>(),
        Value::Map(entries) => {
            entries.len() + entries.iter().map(|entry| elements(&entry.value)).sum::<usize>()
        }
        _ => 0,
    }
}

fn resource_size(resource: &Resource) -> usize {
    let texts = |texts: &[Box<str>]| texts.iter().map(|text| text.to_string()).collect();
    let message = resource::Resource {
        attributes: to_proto_attributes(&resource.attributes),
        dropped_attributes_count: resource.dropped_attributes_count,
        entity_refs: resource
            .entity_refs
            .iter()
            .map(|entity| common::EntityRef {
                schema_url: entity.schema_url.to_string(),
                r#type: entity.kind.to_string(),
                id_keys: texts(&entity.id_keys),
                description_keys: texts(&entity.description_keys),
            })
            .collect(),
    };
    message.encoded_len() + resource.schema_url.len()
}

fn scope_size(scope: &Scope) -> usize {
    let message = common::InstrumentationScope {
        name: scope.name.to_string(),
        version: scope.version.to_string(),
        attributes: to_proto_attributes(&scope.attributes),
        dropped_attributes_count: scope.dropped_attributes_count,
    };
    message.encoded_len() + scope.schema_url.len()
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(_) | Value::Map(_) => to_proto(value).encoded_len(),
        _ => 0,
    }
}

fn to_proto(value: &Value) -> common::AnyValue {
    let value = match value {
        Value::Empty => None,
        Value::Text(text) => Some(ProtoValue::StringValue(text.to_string())),
        Value::Bool(value) => Some(ProtoValue::BoolValue(*value)),
        Value::Int(value) => Some(ProtoValue::IntValue(*value)),
        Value::Double(value) => Some(ProtoValue::DoubleValue(*value)),
        Value::Bytes(bytes) => Some(ProtoValue::BytesValue(bytes.to_vec())),
        Value::Array(values) => {
            Some(ProtoValue::ArrayValue(common::ArrayValue { values: values.iter().map(to_proto).collect() }))
        }
        Value::Map(entries) => {
            Some(ProtoValue::KvlistValue(common::KeyValueList { values: to_proto_attributes(entries) }))
        }
    };
    common::AnyValue { value }
}

fn to_proto_attributes(attributes: &[KeyValue]) -> Vec<common::KeyValue> {
    attributes
        .iter()
        .map(|attribute| common::KeyValue {
            key: attribute.key.to_string(),
            value: Some(to_proto(&attribute.value)).filter(|value| value.value.is_some()),
            key_strindex: 0,
        })
        .collect()
}

fn proto_resource(resource: resource::Resource, schema_url: String) -> Resource {
    let texts = |texts: Vec<String>| texts.into_iter().map(Box::from).collect();
    Resource {
        attributes: proto_attributes(resource.attributes),
        dropped_attributes_count: resource.dropped_attributes_count,
        entity_refs: resource
            .entity_refs
            .into_iter()
            .map(|entity| EntityRef {
                schema_url: entity.schema_url.into(),
                kind: entity.r#type.into(),
                id_keys: texts(entity.id_keys),
                description_keys: texts(entity.description_keys),
            })
            .collect(),
        schema_url: schema_url.into(),
    }
}

fn proto_scope(scope: common::InstrumentationScope, schema_url: String) -> Scope {
    Scope {
        name: scope.name.into(),
        version: scope.version.into(),
        attributes: proto_attributes(scope.attributes),
        dropped_attributes_count: scope.dropped_attributes_count,
        schema_url: schema_url.into(),
    }
}

fn proto_span(span: trace::Span, resource: &Resource, scope: &Scope) -> PlainSpan {
    let status = span.status.unwrap_or_default();
    PlainSpan {
        trace_id: span.trace_id,
        span_id: span.span_id,
        parent_span_id: span.parent_span_id,
        texts: [span.trace_state, span.name, status.message],
        times: [span.start_time_unix_nano, span.end_time_unix_nano],
        enums: [span.kind, status.code],
        numbers: [
            span.flags,
            span.dropped_attributes_count,
            span.dropped_events_count,
            span.dropped_links_count,
        ],
        attributes: proto_attributes(span.attributes),
        events: span
            .events
            .into_iter()
            .map(|event| {
                let attributes = proto_attributes(event.attributes);
                (event.time_unix_nano, event.name, event.dropped_attributes_count, attributes)
            })
            .collect(),
        links: span
            .links
            .into_iter()
            .map(|link| PlainLink {
                ids: [link.trace_id, link.span_id],
                trace_state: link.trace_state,
                flags: link.flags,
                dropped: link.dropped_attributes_count,
                attributes: proto_attributes(link.attributes),
            })
            .collect(),
        resource: resource.clone(),
        scope: scope.clone(),
    }
}

fn proto_attributes(attributes: Vec<common::KeyValue>) -> Vec<KeyValue> {
    attributes
        .into_iter()
        .map(|attribute| KeyValue {
            key: attribute.key.into(),
            value: proto_value(attribute.value.unwrap_or_default()),
        })
        .collect()
}

fn proto_value(value: common::AnyValue) -> Value {
    match value.value {
        None | Some(ProtoValue::StringValueStrindex(_)) => Value::Empty,
        Some(ProtoValue::StringValue(text)) => Value::Text(text.into()),
        Some(ProtoValue::BoolValue(value)) => Value::Bool(value),
        Some(ProtoValue::IntValue(value)) => Value::Int(value),
        Some(ProtoValue::DoubleValue(value)) => Value::Double(value),
        Some(ProtoValue::BytesValue(bytes)) => Value::Bytes(bytes.into()),
        Some(ProtoValue::ArrayValue(array)) => {
            Value::Array(array.values.into_iter().map(proto_value).collect())
        }
        Some(ProtoValue::KvlistValue(map)) => Value::Map(proto_attributes(map.values)),
    }
}
