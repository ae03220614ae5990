//! When two spans are one that came twice: same identity and same content (span, resource, scope), the
//! order of attributes aside.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::view::{AttributeIter, SpanView};
use crate::{KeyValue, Resource, Scope, Value, ValueRef};

impl SpanView<'_> {
    /// Equal for duplicates, and different for other spans but for chance. Resource and scope are left
    /// out: they differ rarely where all else is equal. Not on disk: it may change with every build.
    pub fn content_hash(&self) -> u64 {
        let hashes = FixedState::default();
        let mut state = hashes.build_hasher();
        (self.trace_id(), self.span_id(), self.parent_span_id()).hash(&mut state);
        (self.start_unix_nano(), self.end_unix_nano(), self.kind()).hash(&mut state);
        (self.name(), self.trace_state(), self.flags()).hash(&mut state);
        (self.status_code(), self.status_message()).hash(&mut state);
        hash_attributes(&hashes, self.attributes()).hash(&mut state);
        for event in self.events() {
            (event.time_unix_nano(), event.name()).hash(&mut state);
            hash_attributes(&hashes, event.attributes()).hash(&mut state);
        }
        for link in self.links() {
            (link.trace_id(), link.span_id()).hash(&mut state);
            hash_attributes(&hashes, link.attributes()).hash(&mut state);
        }
        state.finish()
    }

    /// Whether both have the same identity and content (span, resource, scope; the order of
    /// attributes aside): then they are one span that came twice.
    pub fn is_duplicate_of(&self, other: &SpanView<'_>) -> bool {
        self.span_id() == other.span_id()
            && self.trace_id() == other.trace_id()
            && self.parent_span_id() == other.parent_span_id()
            && self.start_unix_nano() == other.start_unix_nano()
            && self.end_unix_nano() == other.end_unix_nano()
            && self.kind() == other.kind()
            && self.status_code() == other.status_code()
            && self.flags() == other.flags()
            && self.dropped_attributes_count() == other.dropped_attributes_count()
            && self.dropped_events_count() == other.dropped_events_count()
            && self.dropped_links_count() == other.dropped_links_count()
            && self.name() == other.name()
            && self.trace_state() == other.trace_state()
            && self.status_message() == other.status_message()
            && same_resource(self.resource(), other.resource())
            && same_scope(self.scope(), other.scope())
            && same_multiset(self.attributes(), other.attributes())
            && self.events().len() == other.events().len()
            && self.events().zip(other.events()).all(|(a, b)| {
                a.time_unix_nano() == b.time_unix_nano()
                    && a.name() == b.name()
                    && a.dropped_attributes_count() == b.dropped_attributes_count()
                    && same_multiset(a.attributes(), b.attributes())
            })
            && self.links().len() == other.links().len()
            && self.links().zip(other.links()).all(|(a, b)| {
                a.trace_id() == b.trace_id()
                    && a.span_id() == b.span_id()
                    && a.trace_state() == b.trace_state()
                    && a.flags() == b.flags()
                    && a.dropped_attributes_count() == b.dropped_attributes_count()
                    && same_multiset(a.attributes(), b.attributes())
            })
    }
}

/// A sum, so that order does not matter.
fn hash_attributes(hashes: &FixedState, attributes: AttributeIter<'_>) -> u64 {
    attributes.fold(0u64, |sum, (key, value)| {
        let mut state = hashes.build_hasher();
        key.hash(&mut state);
        hash_value(value, &mut state);
        sum.wrapping_add(state.finish())
    })
}

fn hash_value(value: ValueRef<'_>, state: &mut impl Hasher) {
    match value {
        ValueRef::Empty => 0u8.hash(state),
        ValueRef::Text(text) => (1u8, text).hash(state),
        ValueRef::Bool(value) => (2u8, value).hash(state),
        ValueRef::Int(value) => (3u8, value).hash(state),
        ValueRef::Double(value) => (4u8, value.to_bits()).hash(state),
        ValueRef::Bytes(bytes) => (5u8, bytes).hash(state),
        ValueRef::Nested(Value::Array(values)) => {
            (6u8, values.len()).hash(state);
            values.iter().for_each(|value| hash_value(value.as_ref(), state));
        }
        ValueRef::Nested(Value::Map(entries)) => {
            (7u8, entries.len()).hash(state);
            for entry in entries {
                entry.key.hash(state);
                hash_value(entry.value.as_ref(), state);
            }
        }
        ValueRef::Nested(value) => hash_value(value.as_ref(), state),
    }
}

/// Same order is the common case and costs no allocation.
fn same_multiset<'a>(
    a: impl ExactSizeIterator<Item = (&'a str, ValueRef<'a>)> + Clone,
    b: impl ExactSizeIterator<Item = (&'a str, ValueRef<'a>)> + Clone,
) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if a.clone().zip(b.clone()).all(|(a, b)| a == b) {
        return true;
    }
    // Group by key first: values need no order, only groups of one key are compared pairwise.
    let mut rest: Vec<_> = b.collect();
    rest.sort_by(|a, b| a.0.cmp(b.0));
    let mut taken = vec![false; rest.len()];
    a.into_iter().all(|(key, value)| {
        let first = rest.partition_point(|(other, _)| *other < key);
        let hit = (first..rest.len())
            .take_while(|index| rest[*index].0 == key)
            .find(|index| !taken[*index] && rest[*index].1 == value);
        hit.is_some_and(|index| {
            taken[index] = true;
            true
        })
    })
}

fn same_key_values(a: &[KeyValue], b: &[KeyValue]) -> bool {
    same_multiset(
        a.iter().map(|attribute| (&*attribute.key, attribute.value.as_ref())),
        b.iter().map(|attribute| (&*attribute.key, attribute.value.as_ref())),
    )
}

fn same_resource(a: &Arc<Resource>, b: &Arc<Resource>) -> bool {
    Arc::ptr_eq(a, b)
        || (a.dropped_attributes_count == b.dropped_attributes_count
            && a.schema_url == b.schema_url
            && a.entity_refs == b.entity_refs
            && same_key_values(&a.attributes, &b.attributes))
}

fn same_scope(a: &Arc<Scope>, b: &Arc<Scope>) -> bool {
    Arc::ptr_eq(a, b)
        || (a.name == b.name
            && a.version == b.version
            && a.dropped_attributes_count == b.dropped_attributes_count
            && a.schema_url == b.schema_url
            && same_key_values(&a.attributes, &b.attributes))
}
