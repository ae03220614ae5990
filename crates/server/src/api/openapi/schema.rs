//! Schemas of JSON values, written as short as the values are, and of the values that many operations have.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// One that all operations share, by its name.
pub(crate) fn shared(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

pub(crate) fn text() -> Value {
    json!({"type": "string"})
}

/// A text that looks so.
pub(crate) fn pattern(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

/// One of these texts.
pub(crate) fn word(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

/// A whole number that is not negative.
pub(crate) fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// A whole number within these.
pub(crate) fn number(least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

pub(crate) fn truth() -> Value {
    json!({"type": "boolean"})
}

/// So many nanoseconds since 1970, as a text: readers of JSON round such numbers.
pub(crate) fn nanos_text() -> Value {
    pattern("^[0-9]+$")
}

/// As answers have it.
pub(crate) fn trace_id() -> Value {
    pattern("^[0-9a-f]{32}$")
}

/// As answers have it.
pub(crate) fn span_id() -> Value {
    pattern("^[0-9a-f]{16}$")
}

/// As answers have it, in UTC.
pub(crate) fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

pub(crate) fn list(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

pub(crate) fn or_null(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// Exactly one of these.
pub(crate) fn either<const N: usize>(schemas: [Value; N]) -> Value {
    json!({"oneOf": schemas.to_vec()})
}

/// A time as it is asked for in an address.
pub(crate) fn asked_time() -> Value {
    noted(text(), "RFC 3339, or seconds, milliseconds, microseconds or nanoseconds since 1970.")
}

/// The same in a body.
pub(crate) fn asked_time_of_body() -> Value {
    json!({"anyOf": [asked_time(), count()]})
}

/// A schema with what people should know of it.
pub(crate) fn noted(mut schema: Value, note: &str) -> Value {
    if let Some(members) = schema.as_object_mut() {
        members.insert("description".to_owned(), json!(note));
    }
    schema
}

/// An object that has these members and no others.
pub(crate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    with_required(json!({"type": "object", "additionalProperties": false}), members)
}

/// The same with further ones.
pub(crate) fn with_required<const N: usize>(mut object: Value, members: [(&str, Value); N]) -> Value {
    if let Some(schema) = object.as_object_mut() {
        let required = schema.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut() {
            required.extend(members.iter().map(|(name, _)| json!(name)));
        }
    }
    with_optional(object, members)
}

/// The same with some that may be missing.
pub(crate) fn with_optional<const N: usize>(mut object: Value, members: [(&str, Value); N]) -> Value {
    if let Some(schema) = object.as_object_mut() {
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.extend(members.map(|(name, schema)| (name.to_owned(), schema)));
        }
    }
    object
}

/// An object with the members of this type's default: numbers, truths and texts. What is null there is a text or
/// null, so that whoever adds a count to the type need not come here.
pub(crate) fn flat<T: Serialize + Default>() -> Value {
    let Ok(Value::Object(default)) = serde_json::to_value(T::default()) else { return json!({}) };
    let schema = |value: &Value| match value {
        Value::Number(_) => count(),
        Value::Bool(_) => truth(),
        Value::Null => or_null(text()),
        _ => text(),
    };
    let properties: Map<_, _> = default.iter().map(|(name, value)| (name.clone(), schema(value))).collect();
    let required: Vec<&String> = default.keys().collect();
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_its_members_and_no_others() {
        let schema = with_optional(object([("a", text()), ("b", count())]), [("c", truth())]);
        assert_eq!(schema["required"], json!(["a", "b"]));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["b"]["type"], "integer");
        assert_eq!(schema["properties"]["c"]["type"], "boolean");
    }

    #[test]
    fn a_flat_type_tells_its_members() {
        #[derive(Default, Serialize)]
        struct Flat {
            count: u64,
            on: bool,
            error: Option<String>,
        }
        let schema = flat::<Flat>();
        assert_eq!(schema["required"], json!(["count", "error", "on"]));
        let of = |name: &str| schema["properties"][name].clone();
        assert_eq!((of("count"), of("on"), of("error")), (count(), truth(), or_null(text())));
    }
}
