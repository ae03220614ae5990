//! Attributes, values, resources and scopes, read from JSON.

use std::borrow::Cow;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess};
use tracelake_model::{EntityRef, KeyValue, Resource, Scope, Value};

use super::read::{Array, ArraySeed, Budget, Object, ObjectSeed, Scalar, object_element, read_text};
use crate::extent::Extent;
use crate::wire::Nesting;
use crate::{DecodeError, DecodeLimits};

/// A value as it was read: texts borrowed from the JSON where they have no escapes.
#[derive(Debug)]
pub(super) enum Parsed<'de> {
    Empty,
    Text(Cow<'de, str>),
    /// Neither text nor unset.
    Other(Value),
}

impl Parsed<'_> {
    fn into_value(self) -> Value {
        match self {
            Self::Empty => Value::Empty,
            Self::Text(text) => Value::Text(text.into()),
            Self::Other(value) => value,
        }
    }
}

/// An `AnyValue` object. `nesting` is that inside its message.
pub(super) struct AnyValue<'b, 'l, 'de> {
    budget: &'b mut Budget<'l>,
    nesting: Nesting,
    parsed: Parsed<'de>,
}

impl<'de> AnyValue<'_, '_, 'de> {
    fn set<E: Error>(&mut self, parsed: Option<Parsed<'de>>) -> Result<(), E> {
        match (parsed, &self.parsed) {
            (None, _) => Ok(()),
            (Some(parsed), Parsed::Empty) => {
                self.parsed = parsed;
                Ok(())
            }
            (Some(_), _) => Err(E::custom("a value has more than one type")),
        }
    }
}

impl<'de> Object<'de> for AnyValue<'_, '_, 'de> {
    const NAME: &'static str = "a value";
    const MEMBERS: &'static [&'static str] =
        &["stringValue", "boolValue", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        let parsed = match name {
            "stringValue" => map.next_value::<Scalar<'de>>()?.text(name)?.map(Parsed::Text),
            "boolValue" => map.next_value::<Scalar<'de>>()?.bool(name)?.map(Value::Bool).map(Parsed::Other),
            "intValue" => map.next_value::<Scalar<'de>>()?.i64(name)?.map(Value::Int).map(Parsed::Other),
            "doubleValue" => {
                map.next_value::<Scalar<'de>>()?.double(name)?.map(Value::Double).map(Parsed::Other)
            }
            "bytesValue" => {
                let bytes = map.next_value::<Scalar<'de>>()?.base64(name)?;
                bytes.map(|bytes| Parsed::Other(Value::Bytes(bytes.into())))
            }
            "arrayValue" => {
                let nesting = self.budget.nest(self.nesting.level())?;
                let mut values = ArrayValue { budget: self.budget, nesting, values: Vec::new() };
                let there = map.next_value_seed(ObjectSeed(&mut values))?;
                there.then_some(Parsed::Other(Value::Array(values.values)))
            }
            _ => {
                let nesting = self.budget.nest(self.nesting.level())?;
                let mut entries = MapValue { budget: self.budget, nesting, entries: Vec::new() };
                let there = map.next_value_seed(ObjectSeed(&mut entries))?;
                there.then_some(Parsed::Other(Value::Map(entries.entries)))
            }
        };
        self.set(parsed)
    }
}

struct ArrayValue<'b, 'l> {
    budget: &'b mut Budget<'l>,
    nesting: Nesting,
    values: Vec<Value>,
}

impl<'de> Object<'de> for ArrayValue<'_, '_> {
    const NAME: &'static str = "an array value";
    const MEMBERS: &'static [&'static str] = &["values"];

    fn member<A: MapAccess<'de>>(&mut self, _: &'static str, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(ArraySeed(self))
    }
}

impl<'de> Array<'de> for ArrayValue<'_, '_> {
    const NAME: &'static str = "values";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        let keep = self.budget.element()?;
        let nesting = self.budget.nest(self.nesting.message())?;
        let mut value = AnyValue { budget: self.budget, nesting, parsed: Parsed::Empty };
        object_element(&mut value, element)?;
        if keep {
            self.values.push(value.parsed.into_value());
        }
        Ok(())
    }
}

struct MapValue<'b, 'l> {
    budget: &'b mut Budget<'l>,
    nesting: Nesting,
    entries: Vec<KeyValue>,
}

impl<'de> Object<'de> for MapValue<'_, '_> {
    const NAME: &'static str = "a map value";
    const MEMBERS: &'static [&'static str] = &["values"];

    fn member<A: MapAccess<'de>>(&mut self, _: &'static str, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(ArraySeed(self))
    }
}

impl<'de> Array<'de> for MapValue<'_, '_> {
    const NAME: &'static str = "attributes";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        let keep = self.budget.element()?;
        let (key, value) = read_key_value(self.budget, self.nesting, element)?;
        if keep {
            self.entries.push(KeyValue { key: key.into(), value: value.into_value() });
        }
        Ok(())
    }
}

/// The attributes of a resource or scope. `nesting` is that of the message which they are fields of.
struct KeyValues<'b, 'l> {
    budget: &'b mut Budget<'l>,
    nesting: Nesting,
    extent: Extent,
    entries: Vec<KeyValue>,
}

impl<'de> Array<'de> for KeyValues<'_, '_> {
    const NAME: &'static str = "attributes";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        self.budget.attribute()?;
        let (key, value) = read_key_value(self.budget, self.nesting, element)?;
        let attribute = KeyValue { key: key.into(), value: value.into_value() };
        if self.extent.attribute(&attribute, self.budget.elements(), self.budget.limits) {
            self.entries.push(attribute);
        }
        Ok(())
    }
}

/// A `KeyValue` object, which the caller has counted. `nesting` is that of the message which it is a
/// field of.
pub(super) fn read_key_value<'de, D: Deserializer<'de>>(
    budget: &mut Budget<'_>,
    nesting: Nesting,
    element: D,
) -> Result<(Cow<'de, str>, Parsed<'de>), D::Error> {
    let nesting = budget.nest(nesting.message())?;
    let mut attribute = Attribute { budget, nesting, key: Cow::Borrowed(""), value: Parsed::Empty };
    object_element(&mut attribute, element)?;
    Ok((attribute.key, attribute.value))
}

struct Attribute<'b, 'l, 'de> {
    budget: &'b mut Budget<'l>,
    nesting: Nesting,
    key: Cow<'de, str>,
    value: Parsed<'de>,
}

impl<'de> Object<'de> for Attribute<'_, '_, 'de> {
    const NAME: &'static str = "an attribute";
    const MEMBERS: &'static [&'static str] = &["key", "value"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        if name == "key" {
            self.key = map.next_value::<Scalar<'de>>()?.text(name)?.unwrap_or_default();
        } else {
            let nesting = self.budget.nest(self.nesting.message())?;
            let mut value = AnyValue { budget: self.budget, nesting, parsed: Parsed::Empty };
            map.next_value_seed(ObjectSeed(&mut value))?;
            self.value = value.parsed;
        }
        Ok(())
    }
}

/// A `Resource` object. `nesting` is that inside its message.
pub(super) struct ResourceObject<'b, 'l> {
    pub(super) budget: &'b mut Budget<'l>,
    pub(super) nesting: Nesting,
    /// Whether the schema URL is a member, as in our own text.
    pub(super) with_schema_url: bool,
    pub(super) extent: Extent,
    pub(super) resource: Resource,
}

impl<'de> Object<'de> for ResourceObject<'_, '_> {
    const NAME: &'static str = "a resource";
    const MEMBERS: &'static [&'static str] =
        &["attributes", "droppedAttributesCount", "entityRefs", "schemaUrl"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "attributes" => {
                let (budget, nesting, extent) = (&mut *self.budget, self.nesting, self.extent);
                let mut attributes = KeyValues { budget, nesting, extent, entries: Vec::new() };
                map.next_value_seed(ArraySeed(&mut attributes))?;
                self.extent = attributes.extent;
                self.resource.attributes = attributes.entries;
            }
            "droppedAttributesCount" => {
                self.resource.dropped_attributes_count =
                    map.next_value::<Scalar<'de>>()?.u32(name)?.unwrap_or(0);
            }
            "entityRefs" => {
                let extent = &mut self.extent;
                let mut entities = EntityRefs { budget: self.budget, extent, entities: Vec::new() };
                map.next_value_seed(ArraySeed(&mut entities))?;
                self.resource.entity_refs = entities.entities;
            }
            _ if self.with_schema_url => self.resource.schema_url = boxed_text(name, map)?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

struct EntityRefs<'b, 'l> {
    budget: &'b mut Budget<'l>,
    extent: &'b mut Extent,
    entities: Vec<EntityRef>,
}

impl<'de> Array<'de> for EntityRefs<'_, '_> {
    const NAME: &'static str = "entity references";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        self.budget.item()?;
        let (budget, extent) = (&mut *self.budget, *self.extent);
        let mut entity = Entity { budget, extent, key_bytes: 0, entity: EntityRef::default() };
        object_element(&mut entity, element)?;
        let Entity { entity, key_bytes, .. } = entity;
        if self.extent.entity(&entity, key_bytes, self.budget.limits) {
            self.entities.push(entity);
        }
        Ok(())
    }
}

struct Entity<'b, 'l> {
    budget: &'b mut Budget<'l>,
    /// Of the resource so far.
    extent: Extent,
    key_bytes: usize,
    entity: EntityRef,
}

impl<'de> Object<'de> for Entity<'_, '_> {
    const NAME: &'static str = "an entity reference";
    const MEMBERS: &'static [&'static str] = &["schemaUrl", "type", "idKeys", "descriptionKeys"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        let keys = match name {
            "schemaUrl" => {
                self.entity.schema_url = boxed_text(name, map)?;
                return Ok(());
            }
            "type" => {
                self.entity.kind = boxed_text(name, map)?;
                return Ok(());
            }
            "idKeys" => &mut self.entity.id_keys,
            _ => &mut self.entity.description_keys,
        };
        let (extent, key_bytes) = (self.extent, &mut self.key_bytes);
        map.next_value_seed(ArraySeed(&mut Keys { budget: self.budget, extent, key_bytes, keys }))
    }
}

struct Keys<'b, 'l> {
    budget: &'b mut Budget<'l>,
    extent: Extent,
    key_bytes: &'b mut usize,
    keys: &'b mut Vec<Box<str>>,
}

impl<'de> Array<'de> for Keys<'_, '_> {
    const NAME: &'static str = "texts";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        self.budget.item()?;
        let text = <Scalar<'de> as serde::Deserialize>::deserialize(element)?.text("a key")?;
        let text = text.ok_or_else(|| D::Error::custom("expected a key, found null"))?;
        if self.extent.entity_key(&text, self.key_bytes, self.budget.limits) {
            self.keys.push(text.into());
        }
        Ok(())
    }
}

/// An `InstrumentationScope` object. `nesting` is that inside its message.
pub(super) struct ScopeObject<'b, 'l> {
    pub(super) budget: &'b mut Budget<'l>,
    pub(super) nesting: Nesting,
    /// Whether the schema URL is a member, as in our own text.
    pub(super) with_schema_url: bool,
    pub(super) extent: Extent,
    pub(super) scope: Scope,
}

impl<'de> Object<'de> for ScopeObject<'_, '_> {
    const NAME: &'static str = "a scope";
    const MEMBERS: &'static [&'static str] =
        &["name", "version", "attributes", "droppedAttributesCount", "schemaUrl"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "name" => self.scope.name = boxed_text(name, map)?,
            "version" => self.scope.version = boxed_text(name, map)?,
            "attributes" => {
                let (budget, nesting, extent) = (&mut *self.budget, self.nesting, self.extent);
                let mut attributes = KeyValues { budget, nesting, extent, entries: Vec::new() };
                map.next_value_seed(ArraySeed(&mut attributes))?;
                self.extent = attributes.extent;
                self.scope.attributes = attributes.entries;
            }
            "droppedAttributesCount" => {
                self.scope.dropped_attributes_count =
                    map.next_value::<Scalar<'de>>()?.u32(name)?.unwrap_or(0);
            }
            _ if self.with_schema_url => self.scope.schema_url = boxed_text(name, map)?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

/// A text member; empty for `null`.
pub(super) fn boxed_text<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<Box<str>, A::Error> {
    Ok(map.next_value::<Scalar<'de>>()?.text(name)?.unwrap_or_default().into())
}

/// With no limit but that of levels.
fn parse<T>(
    read: impl FnOnce(&mut Budget<'_>, Nesting) -> Result<T, serde_json::Error>,
) -> Result<T, DecodeError> {
    let limits = DecodeLimits::recovery();
    let mut budget = Budget::new(&limits);
    let nesting = Nesting::of_levels(limits.value_depth_max);
    read(&mut budget, nesting).map_err(|error| budget.reason(&error))
}

pub(super) fn parse_attributes(text: &str) -> Result<Vec<KeyValue>, DecodeError> {
    parse(|budget, nesting| {
        let mut attributes = KeyValues { budget, nesting, extent: Extent::default(), entries: Vec::new() };
        read_text(text, ArraySeed(&mut attributes))?;
        Ok(attributes.entries)
    })
}

pub(super) fn parse_value(text: &str) -> Result<Value, DecodeError> {
    parse(|budget, nesting| {
        let mut value = AnyValue { budget, nesting, parsed: Parsed::Empty };
        read_text(text, ObjectSeed(&mut value))?;
        Ok(value.parsed.into_value())
    })
}

pub(super) fn parse_resource(text: &str) -> Result<Resource, DecodeError> {
    parse(|budget, nesting| {
        let mut object = ResourceObject {
            budget,
            nesting,
            with_schema_url: true,
            extent: Extent::default(),
            resource: Resource::default(),
        };
        read_text(text, ObjectSeed(&mut object))?;
        Ok(object.resource)
    })
}

pub(super) fn parse_scope(text: &str) -> Result<Scope, DecodeError> {
    parse(|budget, nesting| {
        let mut object = ScopeObject {
            budget,
            nesting,
            with_schema_url: true,
            extent: Extent::default(),
            scope: Scope::default(),
        };
        read_text(text, ObjectSeed(&mut object))?;
        Ok(object.scope)
    })
}
