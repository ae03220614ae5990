//! Values in full generality: nested ones, and messages in which a field occurs more than once. What
//! repeats is merged as protobuf says: the last scalar wins, an array or map grows by one of its own
//! kind and replaces any other. Elements for which there is no place are read and not kept.

use tracelake_model::{KeyValue, Value};

use crate::extent::Places;
use crate::field::{any_value, array, key_value, map};
use crate::wire::{Fault, Nesting, Reader, utf8};

/// `nesting` is that inside the message, here and below.
pub(super) fn merge_key_value(
    attribute: &mut KeyValue,
    places: &mut Places,
    message: &[u8],
    nesting: Nesting,
) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            key_value::KEY => attribute.key = utf8(reader.bytes()?)?.into(),
            key_value::VALUE => {
                merge_value(&mut attribute.value, places, reader.bytes()?, nesting.message()?)?;
            }
            // Means something in profiles only.
            key_value::KEY_STRINDEX => drop(reader.varint()?),
            _ => reader.unknown(key, 3, nesting.recursion_left())?,
        }
    }
    Ok(())
}

fn merge_value(
    value: &mut Value,
    places: &mut Places,
    message: &[u8],
    nesting: Nesting,
) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            any_value::TEXT => replace(value, places, Value::Text(utf8(reader.bytes()?)?.into())),
            any_value::BOOL => replace(value, places, Value::Bool(reader.varint()? != 0)),
            any_value::INT => replace(value, places, Value::Int(reader.varint()? as i64)),
            any_value::DOUBLE => replace(value, places, Value::Double(f64::from_bits(reader.fixed64()?))),
            any_value::BYTES => replace(value, places, Value::Bytes(reader.bytes()?.into())),
            any_value::ARRAY => {
                let nesting = nesting.level()?;
                let mut values = match std::mem::replace(value, Value::Empty) {
                    Value::Array(values) => values,
                    replaced => {
                        places.give_back(&replaced);
                        Vec::new()
                    }
                };
                merge_array(&mut values, places, reader.bytes()?, nesting)?;
                *value = Value::Array(values);
            }
            any_value::MAP => {
                let nesting = nesting.level()?;
                let mut entries = match std::mem::replace(value, Value::Empty) {
                    Value::Map(entries) => entries,
                    replaced => {
                        places.give_back(&replaced);
                        Vec::new()
                    }
                };
                merge_map(&mut entries, places, reader.bytes()?, nesting)?;
                *value = Value::Map(entries);
            }
            any_value::TEXT_STRINDEX => {
                // Means something in profiles only, yet takes the place of what was set before.
                reader.varint()?;
                replace(value, places, Value::Empty);
            }
            _ => reader.unknown(key, 8, nesting.recursion_left())?,
        }
    }
    Ok(())
}

fn replace(value: &mut Value, places: &mut Places, new: Value) {
    places.give_back(value);
    *value = new;
}

fn merge_array(
    values: &mut Vec<Value>,
    places: &mut Places,
    message: &[u8],
    nesting: Nesting,
) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            array::VALUES => {
                let keep = places.take();
                let mut value = Value::Empty;
                merge_value(&mut value, places, reader.bytes()?, nesting.message()?)?;
                if keep {
                    values.push(value);
                }
            }
            _ => reader.unknown(key, 1, nesting.recursion_left())?,
        }
    }
    Ok(())
}

fn merge_map(
    entries: &mut Vec<KeyValue>,
    places: &mut Places,
    message: &[u8],
    nesting: Nesting,
) -> Result<(), Fault> {
    let mut reader = Reader::new(message);
    while let Some(key) = reader.key()? {
        match key {
            map::VALUES => {
                let keep = places.take();
                let mut entry = KeyValue { key: "".into(), value: Value::Empty };
                merge_key_value(&mut entry, places, reader.bytes()?, nesting.message()?)?;
                if keep {
                    entries.push(entry);
                }
            }
            _ => reader.unknown(key, 1, nesting.recursion_left())?,
        }
    }
    Ok(())
}
