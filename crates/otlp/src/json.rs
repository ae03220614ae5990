//! OTLP's JSON: requests read straight into a batch, and the parts of a span as lossless text.
//!
//! As opentelemetry-proto 1.11 has it: names in lowerCamelCase and no others, trace and span IDs as
//! hexadecimal digits in either case, other bytes as base64, enums as integers, 64-bit integers as
//! text or number, unknown members ignored, `null` the same as absent. A member that occurs twice in
//! one object is refused: implementations do not agree on which one counts.
//!
//! One extension, so that text can stand for every value: a NaN whose bits are not those of the usual
//! quiet NaN (`7ff8000000000000`) is written with them, as `{"doubleValue":"NaN:7ff8000000000001"}`.
//! Other readers refuse such a value; no sender is known to make one.

mod parts;
mod read;
mod request;
mod span;
mod write;

use tracelake_model::{KeyValue, Resource, Scope, Value};

use crate::DecodeError;
pub(crate) use request::read_request;
pub use write::{write_attributes, write_resource, write_scope, write_value};
pub(crate) use write::{write_resource_fields, write_schema_url, write_scope_fields, write_span};

/// Reads what [`write_attributes`] wrote: an array of `KeyValue` objects.
///
/// # Errors
/// If it is no such text, or a value has more than 100 levels.
pub fn parse_attributes(text: &str) -> Result<Vec<KeyValue>, DecodeError> {
    parts::parse_attributes(text)
}

/// Reads what [`write_value`] wrote: an `AnyValue` object.
///
/// # Errors
/// If it is no such text, or the value has more than 100 levels.
pub fn parse_value(text: &str) -> Result<Value, DecodeError> {
    parts::parse_value(text)
}

/// Reads what [`write_resource`] wrote: a `Resource` object with the schema URL as a member.
///
/// # Errors
/// If it is no such text, or a value has more than 100 levels.
pub fn parse_resource(text: &str) -> Result<Resource, DecodeError> {
    parts::parse_resource(text)
}

/// Reads what [`write_scope`] wrote: an `InstrumentationScope` object with the schema URL as a member.
///
/// # Errors
/// If it is no such text, or a value has more than 100 levels.
pub fn parse_scope(text: &str) -> Result<Scope, DecodeError> {
    parts::parse_scope(text)
}

#[cfg(test)]
mod tests;
