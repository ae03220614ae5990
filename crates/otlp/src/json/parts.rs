//! Attributes, values, resources and scopes, read from JSON.

use std::borrow::Cow;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess};
use tracelake_model::{EntityRef, KeyValue, Resource, Scope, Value};

use super::read::{Array, ArraySeed, Budget, Object, ObjectSeed, Scalar, object_element, read_text};
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
                let mut entries = KeyValues { budget: self.budget, nesting, entries: Vec::new() };
                let there = map.next_value_seed(ObjectSeed(&mut KeyValueList(&mut entries)))?;
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
        self.budget.item()?;
        let nesting = self.budget.nest(self.nesting.message())?;
        let mut value = AnyValue { budget: self.budget, nesting, parsed: Parsed::Empty };
        object_element(&mut value, element)?;
        self.values.push(value.parsed.into_value());
        Ok(())
    }
}

struct KeyValueList<'k, 'b, 'l>(&'k mut KeyValues<'b, 'l>);

impl<'de> Object<'de> for KeyValueList<'_, '_, '_> {
    const NAME: &'static str = "a map value";
    const MEMBERS: &'static [&'static str] = &["values"];

    fn member<A: MapAccess<'de>>(&mut self, _: &'static str, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(ArraySeed(self.0))
    }
}

/// An array of `KeyValue` objects, owned. `nesting` is that of the message which they are fields of.
pub(super) struct KeyValues<'b, 'l> {
    pub(super) budget: &'b mut Budget<'l>,
    pub(super) nesting: Nesting,
    pub(super) entries: Vec<KeyValue>,
}

impl<'de> Array<'de> for KeyValues<'_, '_> {
    const NAME: &'static str = "attributes";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        let (key, value) = read_attribute(self.budget, self.nesting, element)?;
        self.entries.push(KeyValue { key: key.into(), value: value.into_value() });
        Ok(())
    }
}

/// A `KeyValue` object. `nesting` is that of the message which it is a field of.
pub(super) fn read_attribute<'de, D: Deserializer<'de>>(
    budget: &mut Budget<'_>,
    nesting: Nesting,
    element: D,
) -> Result<(Cow<'de, str>, Parsed<'de>), D::Error> {
    budget.item()?;
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
    pub(super) resource: Resource,
}

impl<'de> Object<'de> for ResourceObject<'_, '_> {
    const NAME: &'static str = "a resource";
    const MEMBERS: &'static [&'static str] =
        &["attributes", "droppedAttributesCount", "entityRefs", "schemaUrl"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "attributes" => {
                let mut attributes =
                    KeyValues { budget: self.budget, nesting: self.nesting, entries: Vec::new() };
                map.next_value_seed(ArraySeed(&mut attributes))?;
                self.resource.attributes = attributes.entries;
            }
            "droppedAttributesCount" => {
                self.resource.dropped_attributes_count =
                    map.next_value::<Scalar<'de>>()?.u32(name)?.unwrap_or(0);
            }
            "entityRefs" => {
                let mut entities = EntityRefs { budget: self.budget, entities: Vec::new() };
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
    entities: Vec<EntityRef>,
}

impl<'de> Array<'de> for EntityRefs<'_, '_> {
    const NAME: &'static str = "entity references";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        self.budget.item()?;
        let mut entity = Entity { budget: self.budget, entity: EntityRef::default() };
        object_element(&mut entity, element)?;
        self.entities.push(entity.entity);
        Ok(())
    }
}

struct Entity<'b, 'l> {
    budget: &'b mut Budget<'l>,
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
        map.next_value_seed(ArraySeed(&mut Texts { budget: self.budget, texts: keys }))
    }
}

struct Texts<'b, 'l> {
    budget: &'b mut Budget<'l>,
    texts: &'b mut Vec<Box<str>>,
}

impl<'de> Array<'de> for Texts<'_, '_> {
    const NAME: &'static str = "texts";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        self.budget.item()?;
        let text = <Scalar<'de> as serde::Deserialize>::deserialize(element)?.text("a key")?;
        self.texts.push(text.ok_or_else(|| D::Error::custom("expected a key, found null"))?.into());
        Ok(())
    }
}

/// An `InstrumentationScope` object. `nesting` is that inside its message.
pub(super) struct ScopeObject<'b, 'l> {
    pub(super) budget: &'b mut Budget<'l>,
    pub(super) nesting: Nesting,
    /// Whether the schema URL is a member, as in our own text.
    pub(super) with_schema_url: bool,
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
                let mut attributes =
                    KeyValues { budget: self.budget, nesting: self.nesting, entries: Vec::new() };
                map.next_value_seed(ArraySeed(&mut attributes))?;
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
        let mut attributes = KeyValues { budget, nesting, entries: Vec::new() };
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
        let mut object =
            ResourceObject { budget, nesting, with_schema_url: true, resource: Resource::default() };
        read_text(text, ObjectSeed(&mut object))?;
        Ok(object.resource)
    })
}

pub(super) fn parse_scope(text: &str) -> Result<Scope, DecodeError> {
    parse(|budget, nesting| {
        let mut object = ScopeObject { budget, nesting, with_schema_url: true, scope: Scope::default() };
        read_text(text, ObjectSeed(&mut object))?;
        Ok(object.scope)
    })
}
