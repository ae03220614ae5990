//! Resources and scopes: found in the memo by their bytes, or parsed. A batch gets one when the first
//! span that is kept refers to it.

use std::sync::Arc;

use tracelake_model::{EntityRef, KeyValue, Resource, Scope};

use super::Walker;
use super::value::merge_key_value;
use crate::encode::any_value_len;
use crate::field::{entity_ref, resource, resource_spans, scope, scope_spans};
use crate::memo::Extent;
use crate::wire::{Fault, Nesting, RECURSION_MAX, Reader, TextField, utf8};
use crate::{DecodeLimits, RejectReason};

/// The occurrences of a field that should occur once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fragments<'a> {
    only: &'a [u8],
    count: usize,
}

impl<'a> Fragments<'a> {
    pub(super) fn push(&mut self, message: &'a [u8]) {
        self.only = message;
        self.count += 1;
    }
}

/// A resource or scope of the spans being read.
#[derive(Debug)]
pub(super) struct Shared<T> {
    value: Arc<T>,
    /// Why none of its spans is kept.
    pub(super) rejection: Option<RejectReason>,
    slot: Option<usize>,
    index: Option<u32>,
}

impl Extent {
    /// Why spans of such a resource or scope are not kept.
    pub(crate) fn rejection(&self, limits: &DecodeLimits) -> Option<RejectReason> {
        if self.value_bytes_max > limits.attribute_value_bytes_max {
            Some(RejectReason::AttributeValueSize)
        } else if self.attributes > limits.attributes_max {
            Some(RejectReason::AttributeCount)
        } else {
            None
        }
    }

    /// Of these attributes.
    pub(crate) fn of(attributes: &[KeyValue]) -> Self {
        Self {
            attributes: attributes.len(),
            value_bytes_max: attributes.iter().map(|a| value_bytes(&a.value)).max().unwrap_or(0),
        }
    }
}

/// The size that `attribute_value_bytes_max` limits.
pub(crate) fn value_bytes(value: &tracelake_model::Value) -> usize {
    use tracelake_model::Value;
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(_) | Value::Map(_) => any_value_len(value),
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
    }
}

impl Walker<'_> {
    pub(super) fn find_resource(
        &mut self,
        fragments: Fragments<'_>,
        resource_spans: &[u8],
        schema_url: TextField<'_>,
    ) -> Result<Shared<Resource>, Fault> {
        let memo = &mut self.resources;
        if fragments.count <= 1
            && let Some(slot) = memo.find(fragments.only, schema_url.bytes())
        {
            let (value, extent) = memo.value(slot);
            let (value, rejection) = (Arc::clone(value), extent.rejection(self.limits));
            return Ok(Shared { value, rejection, slot: Some(slot), index: memo.index(slot) });
        }
        let nesting = self.nesting(2);
        let mut value = Resource { schema_url: schema_url.text()?.into(), ..Resource::default() };
        if fragments.count <= 1 {
            merge_resource(&mut value, fragments.only, nesting)?;
        } else {
            let mut reader = Reader::new(resource_spans);
            while let Some(key) = reader.key()? {
                match key {
                    resource_spans::RESOURCE => merge_resource(&mut value, reader.bytes()?, nesting)?,
                    _ => reader.skip(key, RECURSION_MAX - 1)?,
                }
            }
        }
        let extent = Extent::of(&value.attributes);
        let value_bytes = value.heap_bytes();
        let value = Arc::new(value);
        let slot = match fragments.count {
            0 | 1 => self.resources.insert(fragments.only, schema_url.bytes(), &value, value_bytes, extent),
            _ => None,
        };
        Ok(Shared { value, rejection: extent.rejection(self.limits), slot, index: None })
    }

    pub(super) fn find_scope(
        &mut self,
        fragments: Fragments<'_>,
        scope_spans: &[u8],
        schema_url: TextField<'_>,
    ) -> Result<Shared<Scope>, Fault> {
        let memo = &mut self.scopes;
        if fragments.count <= 1
            && let Some(slot) = memo.find(fragments.only, schema_url.bytes())
        {
            let (value, extent) = memo.value(slot);
            let (value, rejection) = (Arc::clone(value), extent.rejection(self.limits));
            return Ok(Shared { value, rejection, slot: Some(slot), index: memo.index(slot) });
        }
        let nesting = self.nesting(3);
        let mut value = Scope { schema_url: schema_url.text()?.into(), ..Scope::default() };
        if fragments.count <= 1 {
            merge_scope(&mut value, fragments.only, nesting)?;
        } else {
            let mut reader = Reader::new(scope_spans);
            while let Some(key) = reader.key()? {
                match key {
                    scope_spans::SCOPE => merge_scope(&mut value, reader.bytes()?, nesting)?,
                    _ => reader.skip(key, RECURSION_MAX - 2)?,
                }
            }
        }
        let extent = Extent::of(&value.attributes);
        let value_bytes = value.heap_bytes();
        let value = Arc::new(value);
        let slot = match fragments.count {
            0 | 1 => self.scopes.insert(fragments.only, schema_url.bytes(), &value, value_bytes, extent),
            _ => None,
        };
        Ok(Shared { value, rejection: extent.rejection(self.limits), slot, index: None })
    }

    /// Its number in the batch, which has it from now on.
    #[inline]
    pub(super) fn resource_index(&mut self, shared: &mut Shared<Resource>) -> u32 {
        if let Some(index) = shared.index {
            return index;
        }
        let index = self.builder.resource(Arc::clone(&shared.value));
        shared.index = Some(index);
        if let Some(slot) = shared.slot {
            self.resources.set_index(slot, index);
        }
        index
    }

    /// Its number in the batch, which has it from now on.
    #[inline]
    pub(super) fn scope_index(&mut self, shared: &mut Shared<Scope>) -> u32 {
        if let Some(index) = shared.index {
            return index;
        }
        let index = self.builder.scope(Arc::clone(&shared.value));
        shared.index = Some(index);
        if let Some(slot) = shared.slot {
            self.scopes.set_index(slot, index);
        }
        index
    }
}

fn merge_resource(value: &mut Resource, message: &[u8], nesting: Nesting) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            resource::ATTRIBUTES => value.attributes.push(key_value(reader.bytes()?, nesting)?),
            resource::DROPPED_ATTRIBUTES => value.dropped_attributes_count = reader.varint()? as u32,
            resource::ENTITY_REFS => {
                value.entity_refs.push(entity_ref(reader.bytes()?, nesting.message()?)?);
            }
            _ => reader.unknown(key, 3, nesting.recursion_left())?,
        }
    }
    Ok(())
}

fn merge_scope(value: &mut Scope, message: &[u8], nesting: Nesting) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            scope::NAME => value.name = utf8(reader.bytes()?)?.into(),
            scope::VERSION => value.version = utf8(reader.bytes()?)?.into(),
            scope::ATTRIBUTES => value.attributes.push(key_value(reader.bytes()?, nesting)?),
            scope::DROPPED_ATTRIBUTES => value.dropped_attributes_count = reader.varint()? as u32,
            _ => reader.unknown(key, 4, nesting.recursion_left())?,
        }
    }
    Ok(())
}

fn key_value(message: &[u8], nesting: Nesting) -> Result<KeyValue, Fault> {
    let mut attribute = KeyValue { key: "".into(), value: tracelake_model::Value::Empty };
    merge_key_value(&mut attribute, message, nesting.message()?)?;
    Ok(attribute)
}

fn entity_ref(message: &[u8], nesting: Nesting) -> Result<EntityRef, Fault> {
    let mut value = EntityRef::default();
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            entity_ref::SCHEMA_URL => value.schema_url = utf8(reader.bytes()?)?.into(),
            entity_ref::KIND => value.kind = utf8(reader.bytes()?)?.into(),
            entity_ref::ID_KEYS => value.id_keys.push(utf8(reader.bytes()?)?.into()),
            entity_ref::DESCRIPTION_KEYS => value.description_keys.push(utf8(reader.bytes()?)?.into()),
            _ => reader.unknown(key, 4, nesting.recursion_left())?,
        }
    }
    Ok(value)
}
