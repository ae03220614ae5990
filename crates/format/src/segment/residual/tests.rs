use tracelake_model::KeyValue;

use super::*;

fn text_of(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value.as_ref());
    text
}

#[test]
fn every_value_reads_back_bit_for_bit() {
    let values = [
        Value::Empty,
        Value::Text("".into()),
        Value::Text("a\u{0}\"\\é𝄞".into()),
        Value::Bool(true),
        Value::Bool(false),
        Value::Int(i64::MIN),
        Value::Int(i64::MAX),
        Value::Double(0.0),
        Value::Double(-0.0),
        Value::Double(0.1 + 0.2),
        Value::Double(f64::MIN_POSITIVE / 8.0),
        Value::Double(f64::MAX),
        Value::Double(-1e300),
        Value::Double(f64::INFINITY),
        Value::Double(f64::NEG_INFINITY),
        Value::Double(f64::from_bits(PLAIN_NAN)),
        Value::Double(f64::from_bits(0xfff8_0000_0000_0000)),
        Value::Double(f64::from_bits(0x7ff0_0000_0000_0001)),
        Value::Bytes(Box::from([])),
        Value::Bytes(Box::from([0u8, 255, 7])),
        Value::Array(vec![]),
        Value::Map(vec![]),
        Value::Array(vec![Value::Empty, Value::Double(-0.0), Value::Array(vec![Value::Int(1)])]),
        Value::Map(vec![
            KeyValue { key: "k".into(), value: Value::Int(1) },
            KeyValue { key: "k".into(), value: Value::Bytes(Box::from([9u8])) },
        ]),
    ];
    for value in values {
        let text = text_of(&value);
        let read = parse_value(type_name(&value.as_ref()), &text).expect("own text");
        assert_eq!(read, value, "{text}");
    }
}

#[test]
fn texts_of_another_type_are_refused() {
    for (kind, text) in [
        ("int", "1.5"),
        ("int", ""),
        ("double", "one"),
        ("double", "NaN:zz"),
        ("bool", "yes"),
        ("bytes", "*"),
        ("array", "{"),
        ("colour", "red"),
    ] {
        assert!(parse_value(kind, text).is_err(), "{kind} {text}");
    }
}
