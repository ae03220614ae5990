//! What produced a span: its resource and its instrumentation scope, each with the schema URL that
//! stands beside it on the wire. Few and shared, so they are owned structs behind an `Arc`.

use crate::value::{KeyValue, Value};

/// A resource and the schema URL of its `ResourceSpans`. An absent one equals an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// What describes it.
    pub attributes: Vec<KeyValue>,
    /// How many attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// The entities that the attributes describe.
    pub entity_refs: Vec<EntityRef>,
    /// The schema URL of the enclosing `ResourceSpans`.
    pub schema_url: Box<str>,
}

/// A reference to an entity, by keys of the resource's attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityRef {
    /// The schema URL of the entity.
    pub schema_url: Box<str>,
    /// The entity's type, such as `service`.
    pub kind: Box<str>,
    /// Keys of attributes that identify it.
    pub id_keys: Vec<Box<str>>,
    /// Keys of attributes that describe it.
    pub description_keys: Vec<Box<str>>,
}

/// An instrumentation scope and the schema URL of its `ScopeSpans`. An absent one equals an empty
/// one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Name of the instrumentation library.
    pub name: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// What describes it.
    pub attributes: Vec<KeyValue>,
    /// How many attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// The schema URL of the enclosing `ScopeSpans`.
    pub schema_url: Box<str>,
}

impl Resource {
    /// The text of `service.name`, if it has one.
    pub fn service_name(&self) -> Option<&str> {
        self.attributes.iter().find_map(|attribute| match &attribute.value {
            Value::Text(text) if &*attribute.key == "service.name" => Some(&**text),
            _ => None,
        })
    }

    /// Bytes on the heap, for accounting.
    pub fn heap_bytes(&self) -> usize {
        let entities: usize = self
            .entity_refs
            .iter()
            .map(|entity| {
                let keys = entity.id_keys.iter().chain(&entity.description_keys);
                size_of::<EntityRef>()
                    + entity.schema_url.len()
                    + entity.kind.len()
                    + keys.map(|key| size_of::<Box<str>>() + key.len()).sum::<usize>()
            })
            .sum();
        size_of::<Self>()
            + self.attributes.iter().map(KeyValue::heap_bytes).sum::<usize>()
            + entities
            + self.schema_url.len()
    }
}

impl Scope {
    /// Bytes on the heap, for accounting.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.name.len()
            + self.version.len()
            + self.schema_url.len()
            + self.attributes.iter().map(KeyValue::heap_bytes).sum::<usize>()
    }
}
