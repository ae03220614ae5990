use tracelake_model::{KeyValue, Value};

use super::{any_value, any_value_len, message, varint, varint_len};

#[test]
fn a_varint_is_as_long_as_it_says() {
    for bits in 0..64 {
        for value in [(1_u64 << bits) - 1, 1 << bits, u64::MAX >> bits] {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
        }
    }
}

#[test]
fn a_long_message_moves_up_for_its_length() {
    for len in [0, 1, 127, 128, 129, 16_383, 16_384, 3_000_000] {
        let content: Vec<u8> = (0..len).map(|index| index as u8).collect();
        let mut expected = vec![7, 0x0a];
        varint(&mut expected, len as u64);
        expected.extend_from_slice(&content);
        let mut out = vec![7];
        message(&mut out, 0x0a, |out| out.extend_from_slice(&content));
        assert!(out == expected, "length {len}");
    }
}

#[test]
fn the_length_of_a_value_is_that_of_its_encoding() {
    let inner = Value::Map(vec![
        KeyValue { key: "".into(), value: Value::Empty },
        KeyValue { key: "k".repeat(200).into(), value: Value::Int(-1) },
        KeyValue { key: "d".into(), value: Value::Double(f64::NAN) },
    ]);
    let value = Value::Array(vec![
        Value::Empty,
        Value::Bool(false),
        Value::Text("t".repeat(127).into()),
        Value::Bytes([0; 128].into()),
        inner,
    ]);
    let mut out = Vec::new();
    any_value(&mut out, value.as_ref());
    assert_eq!(out.len(), any_value_len(&value));
}
