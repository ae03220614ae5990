//! Attributes of spans, events and links. Nearly all are a key and one scalar, in that order: those go
//! to the batch as they lie in the body. Any other goes through the general, owned form.

use tracelake_model::{KeyValue, Owner, Value};

use super::Walker;
use super::value::merge_key_value;
use crate::extent::{Places, value_bytes};
use crate::field::{any_value, key_value};
use crate::wire::{Fault, Nesting, Reader, utf8};

/// A value that is not nested.
enum Scalar<'a> {
    Empty,
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
}

impl Walker<'_> {
    /// `nesting` is that of the message which the attribute is a field of.
    #[inline]
    pub(super) fn attribute(&mut self, owner: Owner, message: &[u8], nesting: Nesting) -> Result<(), Fault> {
        let mut reader = Reader::new(message);
        if !reader.take_key(key_value::KEY) {
            return self.general_attribute(owner, message, nesting);
        }
        let key = reader.bytes()?;
        if !reader.take_key(key_value::VALUE) {
            return self.general_attribute(owner, message, nesting);
        }
        let value = reader.bytes()?;
        if !reader.is_empty() {
            return self.general_attribute(owner, message, nesting);
        }
        let Some(value) = scalar(value)? else {
            return self.general_attribute(owner, message, nesting);
        };
        let key = self.builder.key(key)?;
        match value {
            Scalar::Text(text) if text.len() <= self.limits.attribute_value_bytes_max => {
                self.builder.push_text_bytes(owner, key, text);
            }
            Scalar::Text(text) => {
                utf8(text)?;
                self.value_too_large = true;
            }
            Scalar::Int(value) => self.builder.push_int(owner, key, value),
            Scalar::Bool(value) => self.builder.push_bool(owner, key, value),
            Scalar::Double(value) => self.builder.push_double(owner, key, value),
            Scalar::Bytes(bytes) if bytes.len() <= self.limits.attribute_value_bytes_max => {
                self.builder.push_bytes(owner, key, bytes);
            }
            Scalar::Bytes(_) => self.value_too_large = true,
            Scalar::Empty => self.builder.push_empty(owner, key),
        }
        Ok(())
    }

    #[cold]
    fn general_attribute(&mut self, owner: Owner, message: &[u8], nesting: Nesting) -> Result<(), Fault> {
        let mut attribute = KeyValue { key: "".into(), value: Value::Empty };
        let mut places = Places::new(self.limits);
        merge_key_value(&mut attribute, &mut places, message, nesting.message()?)?;
        if places.taken() > self.limits.value_elements_max {
            self.too_many_elements = true;
            return Ok(());
        }
        let limit = self.limits.attribute_value_bytes_max;
        if limit < usize::MAX && value_bytes(&attribute.value) > limit {
            self.value_too_large = true;
            return Ok(());
        }
        let key = self.builder.key(attribute.key.as_bytes())?;
        self.builder.push_value(owner, key, attribute.value);
        Ok(())
    }
}

/// The value if its message has one field, and that a scalar.
#[inline(always)]
fn scalar(message: &[u8]) -> Result<Option<Scalar<'_>>, Fault> {
    let mut reader = Reader::new(message);
    let value = match reader.key()? {
        None => Scalar::Empty,
        Some(any_value::TEXT) => Scalar::Text(reader.bytes()?),
        Some(any_value::INT) => Scalar::Int(reader.varint()? as i64),
        Some(any_value::BOOL) => Scalar::Bool(reader.varint()? != 0),
        Some(any_value::DOUBLE) => Scalar::Double(f64::from_bits(reader.fixed64()?)),
        Some(any_value::BYTES) => Scalar::Bytes(reader.bytes()?),
        Some(_) => return Ok(None),
    };
    Ok(reader.is_empty().then_some(value))
}
