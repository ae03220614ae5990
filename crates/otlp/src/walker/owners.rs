//! Resources and scopes: found in the memo by their bytes, or parsed. A batch gets one when the first
//! span that is kept refers to it.

use std::sync::Arc;

use tracelake_model::{EntityRef, KeyValue, Resource, Scope, Value};

use super::Walker;
use super::value::merge_key_value;
use crate::extent::{Extent, Places};
use crate::field::{entity_ref, resource, resource_spans, scope, scope_spans};
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
        let mut extent = Extent::default();
        if fragments.count <= 1 {
            merge_resource(&mut value, &mut extent, fragments.only, nesting, self.limits)?;
        } else {
            let mut reader = Reader::new(resource_spans);
            while let Some(key) = reader.key()? {
                match key {
                    resource_spans::RESOURCE => {
                        merge_resource(&mut value, &mut extent, reader.bytes()?, nesting, self.limits)?;
                    }
                    _ => reader.skip(key, RECURSION_MAX - 1)?,
                }
            }
        }
        extent.finish_resource(&value);
        let rejection = extent.rejection(self.limits);
        let value_bytes = value.heap_bytes();
        let value = Arc::new(value);
        let slot = match fragments.count {
            // One that is rejected was not kept whole, and under other limits it may be wanted.
            0 | 1 if rejection.is_none() => {
                self.resources.insert(fragments.only, schema_url.bytes(), &value, value_bytes, extent)
            }
            _ => None,
        };
        Ok(Shared { value, rejection, slot, index: None })
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
        let mut extent = Extent::default();
        if fragments.count <= 1 {
            merge_scope(&mut value, &mut extent, fragments.only, nesting, self.limits)?;
        } else {
            let mut reader = Reader::new(scope_spans);
            while let Some(key) = reader.key()? {
                match key {
                    scope_spans::SCOPE => {
                        merge_scope(&mut value, &mut extent, reader.bytes()?, nesting, self.limits)?;
                    }
                    _ => reader.skip(key, RECURSION_MAX - 2)?,
                }
            }
        }
        extent.finish_scope(&value);
        let rejection = extent.rejection(self.limits);
        let value_bytes = value.heap_bytes();
        let value = Arc::new(value);
        let slot = match fragments.count {
            // One that is rejected was not kept whole, and under other limits it may be wanted.
            0 | 1 if rejection.is_none() => {
                self.scopes.insert(fragments.only, schema_url.bytes(), &value, value_bytes, extent)
            }
            _ => None,
        };
        Ok(Shared { value, rejection, slot, index: None })
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

fn merge_resource(
    value: &mut Resource,
    extent: &mut Extent,
    message: &[u8],
    nesting: Nesting,
    limits: &DecodeLimits,
) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            resource::ATTRIBUTES => {
                let attribute = key_value(reader.bytes()?, nesting, limits, extent)?;
                value.attributes.extend(attribute);
            }
            resource::DROPPED_ATTRIBUTES => value.dropped_attributes_count = reader.varint()? as u32,
            resource::ENTITY_REFS => {
                let entity = entity_ref(reader.bytes()?, nesting.message()?, limits, extent)?;
                value.entity_refs.extend(entity);
            }
            _ => reader.unknown(key, 3, nesting.recursion_left())?,
        }
    }
    Ok(())
}

fn merge_scope(
    value: &mut Scope,
    extent: &mut Extent,
    message: &[u8],
    nesting: Nesting,
    limits: &DecodeLimits,
) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            scope::NAME => value.name = utf8(reader.bytes()?)?.into(),
            scope::VERSION => value.version = utf8(reader.bytes()?)?.into(),
            scope::ATTRIBUTES => {
                let attribute = key_value(reader.bytes()?, nesting, limits, extent)?;
                value.attributes.extend(attribute);
            }
            scope::DROPPED_ATTRIBUTES => value.dropped_attributes_count = reader.varint()? as u32,
            _ => reader.unknown(key, 4, nesting.recursion_left())?,
        }
    }
    Ok(())
}

/// The attribute, if it is to be kept.
fn key_value(
    message: &[u8],
    nesting: Nesting,
    limits: &DecodeLimits,
    extent: &mut Extent,
) -> Result<Option<KeyValue>, Fault> {
    let mut attribute = KeyValue { key: "".into(), value: Value::Empty };
    let mut places = Places::new(limits);
    merge_key_value(&mut attribute, &mut places, message, nesting.message()?)?;
    Ok(extent.attribute(&attribute, places.taken(), limits).then_some(attribute))
}

/// The reference, if it is to be kept.
fn entity_ref(
    message: &[u8],
    nesting: Nesting,
    limits: &DecodeLimits,
    extent: &mut Extent,
) -> Result<Option<EntityRef>, Fault> {
    let mut value = EntityRef::default();
    let mut key_bytes = 0;
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        let keys = match key {
            entity_ref::SCHEMA_URL => {
                value.schema_url = utf8(reader.bytes()?)?.into();
                continue;
            }
            entity_ref::KIND => {
                value.kind = utf8(reader.bytes()?)?.into();
                continue;
            }
            entity_ref::ID_KEYS => &mut value.id_keys,
            entity_ref::DESCRIPTION_KEYS => &mut value.description_keys,
            _ => {
                reader.unknown(key, 4, nesting.recursion_left())?;
                continue;
            }
        };
        let text = utf8(reader.bytes()?)?;
        if extent.entity_key(text, &mut key_bytes, limits) {
            keys.push(text.into());
        }
    }
    Ok(extent.entity(&value, key_bytes, limits).then_some(value))
}
