use tracelake_model::{EntityRef, KeyValue, Resource, Scope, Value};

use super::{
    parse_attributes, parse_resource, parse_scope, parse_value, write_resource, write_scope, write_value,
};
use crate::DecodeError;

fn text(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value.as_ref());
    out
}

#[test]
fn every_value_has_its_text() {
    let map = Value::Map(vec![
        KeyValue { key: "k".into(), value: Value::Int(i64::MIN) },
        KeyValue { key: "k".into(), value: Value::Empty },
    ]);
    for (value, expected) in [
        (Value::Empty, "{}"),
        (Value::Text("a\"\\\u{1}\n漢".into()), r#"{"stringValue":"a\"\\\u0001\n漢"}"#),
        (Value::Bool(true), r#"{"boolValue":true}"#),
        (Value::Int(-5), r#"{"intValue":"-5"}"#),
        (Value::Double(-0.0), r#"{"doubleValue":-0.0}"#),
        (Value::Double(0.1), r#"{"doubleValue":0.1}"#),
        (Value::Double(1e300), r#"{"doubleValue":1e300}"#),
        (Value::Double(f64::NEG_INFINITY), r#"{"doubleValue":"-Infinity"}"#),
        (Value::Double(f64::from_bits(0x7ff8_0000_0000_0000)), r#"{"doubleValue":"NaN"}"#),
        (Value::Double(f64::from_bits(0x7ff8_0000_0000_0001)), r#"{"doubleValue":"NaN:7ff8000000000001"}"#),
        (Value::Bytes([0, 255].into()), r#"{"bytesValue":"AP8="}"#),
        (
            Value::Array(vec![Value::Empty, Value::Array(vec![])]),
            r#"{"arrayValue":{"values":[{},{"arrayValue":{"values":[]}}]}}"#,
        ),
        (
            map,
            r#"{"kvlistValue":{"values":[{"key":"k","value":{"intValue":"-9223372036854775808"}},{"key":"k","value":{}}]}}"#,
        ),
    ] {
        assert_eq!(text(&value), expected);
        assert_eq!(parse_value(expected).as_ref(), Ok(&value));
    }
}

#[test]
fn doubles_read_back_bit_for_bit() {
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        bits = bits.wrapping_mul(0xd129_0d3f_7a55_2c35).wrapping_add(1);
        let value = Value::Double(f64::from_bits(bits));
        assert_eq!(parse_value(&text(&value)), Ok(value), "{bits:016x}");
    }
}

#[test]
fn a_resource_carries_its_schema_url() {
    let resource = Resource {
        attributes: vec![KeyValue { key: "a".into(), value: Value::Bool(false) }],
        dropped_attributes_count: 2,
        entity_refs: vec![EntityRef {
            schema_url: "e".into(),
            kind: "service".into(),
            id_keys: vec!["a".into(), "".into()],
            description_keys: vec!["b".into()],
        }],
        schema_url: "u".into(),
    };
    let mut out = String::new();
    write_resource(&mut out, &resource);
    assert_eq!(
        out,
        r#"{"attributes":[{"key":"a","value":{"boolValue":false}}],"droppedAttributesCount":2,"entityRefs":[{"schemaUrl":"e","type":"service","idKeys":["a",""],"descriptionKeys":["b"]}],"schemaUrl":"u"}"#
    );
    assert_eq!(parse_resource(&out), Ok(resource));
    assert_eq!(parse_resource("{}"), Ok(Resource::default()));
}

#[test]
fn a_scope_carries_its_schema_url() {
    let scope = Scope {
        name: "n".into(),
        version: "v".into(),
        attributes: vec![KeyValue { key: "".into(), value: Value::Empty }],
        dropped_attributes_count: 1,
        schema_url: "u".into(),
    };
    let mut out = String::new();
    write_scope(&mut out, &scope);
    assert_eq!(
        out,
        r#"{"name":"n","version":"v","attributes":[{"key":"","value":{}}],"droppedAttributesCount":1,"schemaUrl":"u"}"#
    );
    assert_eq!(parse_scope(&out), Ok(scope));
}

#[test]
fn deep_values_read_back_and_deeper_ones_are_refused() {
    let nested = |levels: usize| {
        (0..levels).fold(Value::Empty, |inner, level| match level % 2 {
            0 => Value::Array(vec![inner]),
            _ => Value::Map(vec![KeyValue { key: "k".into(), value: inner }]),
        })
    };
    assert_eq!(parse_value(&text(&nested(100))), Ok(nested(100)));
    assert_eq!(parse_value(&text(&nested(101))), Err(DecodeError::TooDeep { levels_max: 100 }));
}

#[test]
fn what_is_no_such_text_is_refused() {
    assert!(parse_attributes("{}").is_err());
    assert!(parse_attributes("[1]").is_err());
    assert!(parse_attributes("[] []").is_err());
    assert!(parse_value("[]").is_err());
    assert!(parse_resource("").is_err());
    assert_eq!(parse_attributes("[]"), Ok(vec![]));
}
