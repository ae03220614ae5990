//! Values in full generality: nested ones, and messages in which a field occurs more than once. What
//! repeats is merged as protobuf says: the last scalar wins, an array or map grows by one of its own
//! kind and replaces any other.

use tracelake_model::{KeyValue, Value};

use crate::field::{any_value, array, key_value, map};
use crate::wire::{Fault, Nesting, Reader, utf8};

/// `nesting` is that inside the message, here and below.
pub(super) fn merge_key_value(
    attribute: &mut KeyValue,
    message: &[u8],
    nesting: Nesting,
) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            key_value::KEY => attribute.key = utf8(reader.bytes()?)?.into(),
            key_value::VALUE => merge_value(&mut attribute.value, reader.bytes()?, nesting.message()?)?,
            // Means something in profiles only.
            key_value::KEY_STRINDEX => drop(reader.varint()?),
            _ => reader.unknown(key, 3, nesting.recursion_left())?,
        }
    }
    Ok(())
}

fn merge_value(value: &mut Value, message: &[u8], nesting: Nesting) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            any_value::TEXT => *value = Value::Text(utf8(reader.bytes()?)?.into()),
            any_value::BOOL => *value = Value::Bool(reader.varint()? != 0),
            any_value::INT => *value = Value::Int(reader.varint()? as i64),
            any_value::DOUBLE => *value = Value::Double(f64::from_bits(reader.fixed64()?)),
            any_value::BYTES => *value = Value::Bytes(reader.bytes()?.into()),
            any_value::ARRAY => {
                let nesting = nesting.level()?;
                let mut values = match std::mem::replace(value, Value::Empty) {
                    Value::Array(values) => values,
                    _ => Vec::new(),
                };
                merge_array(&mut values, reader.bytes()?, nesting)?;
                *value = Value::Array(values);
            }
            any_value::MAP => {
                let nesting = nesting.level()?;
                let mut entries = match std::mem::replace(value, Value::Empty) {
                    Value::Map(entries) => entries,
                    _ => Vec::new(),
                };
                merge_map(&mut entries, reader.bytes()?, nesting)?;
                *value = Value::Map(entries);
            }
            any_value::TEXT_STRINDEX => {
                // Means something in profiles only, yet takes the place of what was set before.
                reader.varint()?;
                *value = Value::Empty;
            }
            _ => reader.unknown(key, 8, nesting.recursion_left())?,
        }
    }
    Ok(())
}

fn merge_array(values: &mut Vec<Value>, message: &[u8], nesting: Nesting) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            array::VALUES => {
                let mut value = Value::Empty;
                merge_value(&mut value, reader.bytes()?, nesting.message()?)?;
                values.push(value);
            }
            _ => reader.unknown(key, 1, nesting.recursion_left())?,
        }
    }
    Ok(())
}

fn merge_map(entries: &mut Vec<KeyValue>, message: &[u8], nesting: Nesting) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            map::VALUES => {
                let mut entry = KeyValue { key: "".into(), value: Value::Empty };
                merge_key_value(&mut entry, reader.bytes()?, nesting.message()?)?;
                entries.push(entry);
            }
            _ => reader.unknown(key, 1, nesting.recursion_left())?,
        }
    }
    Ok(())
}
