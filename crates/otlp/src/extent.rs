//! How large a value, a resource or a scope is, measured while it is read: what is beyond a limit is read
//! on, as it may yet be malformed, but not kept. So a span, resource or scope that will be rejected costs
//! no more memory than one that is just small enough.

use tracelake_model::{EntityRef, KeyValue, Resource, Scope, Value};

use crate::encode::{any_value_len, field_len, key_value_len, varint_field_len};
use crate::{DecodeLimits, RejectReason};

/// Places for the elements of one attribute's value: one more than there may be, so that a value with
/// too many shows by having taken them all.
#[derive(Debug)]
pub(crate) struct Places {
    all: usize,
    left: usize,
}

impl Places {
    pub(crate) fn new(limits: &DecodeLimits) -> Self {
        let all = limits.value_elements_max.saturating_add(1);
        Self { all, left: all }
    }

    /// Whether there is a place for one more element.
    pub(crate) fn take(&mut self) -> bool {
        let there_is = self.left > 0;
        self.left -= usize::from(there_is);
        there_is
    }

    /// A value takes the place of another, and its elements those of the other's.
    pub(crate) fn give_back(&mut self, replaced: &Value) {
        self.left += elements(replaced);
    }

    /// How many elements there are; of too many, one too many.
    pub(crate) fn taken(&self) -> usize {
        self.all - self.left
    }
}

/// Elements of arrays and maps, at all levels.
fn elements(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(|value| 1 + elements(value)).sum(),
        Value::Map(entries) => entries.iter().map(|entry| 1 + elements(&entry.value)).sum(),
        _ => 0,
    }
}

/// The size that `attribute_value_bytes_max` limits.
pub(crate) fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(_) | Value::Map(_) => any_value_len(value),
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
    }
}

/// What of a resource or scope is compared with limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// How many attributes there are.
    attributes: usize,
    /// Elements of the value that has most.
    value_elements_max: usize,
    /// Bytes of the largest value.
    value_bytes_max: usize,
    /// Bytes of the encoding, as far as it was read.
    bytes: usize,
}

impl Extent {
    /// Why spans of such a resource or scope are not kept.
    pub(crate) fn rejection(&self, limits: &DecodeLimits) -> Option<RejectReason> {
        if self.value_elements_max > limits.value_elements_max {
            // Such a value was not kept whole, so the sizes below say nothing.
            Some(RejectReason::ValueElementCount)
        } else if self.value_bytes_max > limits.attribute_value_bytes_max {
            Some(RejectReason::AttributeValueSize)
        } else if self.attributes > limits.attributes_max {
            Some(RejectReason::AttributeCount)
        } else if self.bytes > limits.resource_bytes_max {
            Some(RejectReason::ResourceSize)
        } else {
            None
        }
    }

    /// One more attribute; whether to keep it.
    pub(crate) fn attribute(&mut self, attribute: &KeyValue, elements: usize, limits: &DecodeLimits) -> bool {
        self.attributes += 1;
        self.value_elements_max = self.value_elements_max.max(elements);
        self.value_bytes_max = self.value_bytes_max.max(value_bytes(&attribute.value));
        self.bytes += field_len(key_value_len(attribute));
        self.rejection(limits).is_none()
    }

    /// One more reference to an entity, without its keys; whether to keep it.
    pub(crate) fn entity(&mut self, entity: &EntityRef, key_bytes: usize, limits: &DecodeLimits) -> bool {
        let texts = [&entity.schema_url, &entity.kind].into_iter().filter(|text| !text.is_empty());
        let len = key_bytes + texts.map(|text| field_len(text.len())).sum::<usize>();
        self.bytes += field_len(len);
        self.rejection(limits).is_none()
    }

    /// One more key of an entity that has `key_bytes` of them by now; whether to keep it.
    pub(crate) fn entity_key(&self, key: &str, key_bytes: &mut usize, limits: &DecodeLimits) -> bool {
        *key_bytes += field_len(key.len());
        self.bytes + *key_bytes <= limits.resource_bytes_max
    }

    /// The resource has been read to its end: what it has once.
    pub(crate) fn finish_resource(&mut self, resource: &Resource) {
        self.bytes += resource.schema_url.len() + varint_field_len(resource.dropped_attributes_count);
    }

    /// The scope has been read to its end: what it has once.
    pub(crate) fn finish_scope(&mut self, scope: &Scope) {
        let texts = [&scope.name, &scope.version].into_iter().filter(|text| !text.is_empty());
        self.bytes += texts.map(|text| field_len(text.len())).sum::<usize>()
            + scope.schema_url.len()
            + varint_field_len(scope.dropped_attributes_count);
    }
}
