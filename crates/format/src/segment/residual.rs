//! Attribute values as text and back, every bit kept. docs/formats/segment.md, "`attributes.type`".

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tracelake_model::{Value, ValueRef};
use tracelake_otlp::json;

use crate::FormatError;

const WHAT: &str = "attribute in a segment";

/// The NaN that is written without its bits.
const PLAIN_NAN: u64 = 0x7ff8_0000_0000_0000;

pub(super) fn type_name(value: &ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Empty => "empty",
        ValueRef::Text(_) => "string",
        ValueRef::Bool(_) => "bool",
        ValueRef::Int(_) => "int",
        ValueRef::Double(_) => "double",
        ValueRef::Bytes(_) => "bytes",
        ValueRef::Nested(Value::Map(_)) => "map",
        ValueRef::Nested(_) => "array",
    }
}

/// Appends the value's text.
pub(super) fn write_value(out: &mut String, value: ValueRef<'_>) {
    // Writing to a `String` cannot fail.
    let _infallible = match value {
        ValueRef::Empty => Ok(()),
        ValueRef::Text(text) => out.write_str(text),
        ValueRef::Bool(value) => write!(out, "{value}"),
        ValueRef::Int(value) => write!(out, "{value}"),
        ValueRef::Double(value) if value.is_nan() && value.to_bits() != PLAIN_NAN => {
            write!(out, "NaN:{:016x}", value.to_bits())
        }
        ValueRef::Double(value) if value.is_nan() => out.write_str("NaN"),
        ValueRef::Double(value) if value.is_infinite() => {
            out.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" })
        }
        // `{:?}` is the shortest text that reads back to the same float, with an exponent if long.
        ValueRef::Double(value) => write!(out, "{value:?}"),
        ValueRef::Bytes(bytes) => {
            STANDARD.encode_string(bytes, out);
            Ok(())
        }
        ValueRef::Nested(_) => {
            json::write_value(out, value);
            Ok(())
        }
    };
}

/// The value of a text written by [`write_value`]; for `string` the caller has it already.
pub(super) fn parse_value(kind: &str, text: &str) -> Result<Value, FormatError> {
    let damaged = || FormatError::damaged(WHAT, format!("a text of type {kind:?} is none"));
    Ok(match kind {
        "empty" => Value::Empty,
        "string" => Value::Text(text.into()),
        "bool" => Value::Bool(text.parse().map_err(|_| damaged())?),
        "int" => Value::Int(text.parse().map_err(|_| damaged())?),
        "double" => Value::Double(parse_double(text).ok_or_else(damaged)?),
        "bytes" => Value::Bytes(STANDARD.decode(text).map_err(|_| damaged())?.into()),
        "array" | "map" => {
            json::parse_value(text).map_err(|error| FormatError::damaged(WHAT, error.to_string()))?
        }
        _ => return Err(damaged()),
    })
}

fn parse_double(text: &str) -> Option<f64> {
    Some(match text {
        "NaN" => f64::from_bits(PLAIN_NAN),
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ => match text.strip_prefix("NaN:") {
            Some(bits) => f64::from_bits(u64::from_str_radix(bits, 16).ok()?),
            None => text.parse().ok()?,
        },
    })
}

#[cfg(test)]
mod tests;
