//! Trace and span identifiers: what is a valid one, and how they read as text.
//!
//! An all-zero identifier is invalid in OpenTelemetry, so neither type can hold one.

use std::fmt;
use std::str::FromStr;

/// A 16-byte trace identifier that is not all zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

/// An 8-byte span identifier that is not all zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Nothing, or more digits than the identifier has.
    #[error("has {digits} digits, expected 1 to {max_digits} hexadecimal digits")]
    Length {
        /// How many characters were given.
        digits: usize,
        /// How many the identifier can have.
        max_digits: usize,
    },
    /// A character that is no hexadecimal digit.
    #[error("has a character that is not a hexadecimal digit")]
    Digit,
    /// Only zeros.
    #[error("is all zeros, which is not a valid identifier")]
    Zero,
}

impl TraceId {
    /// From the bytes on the wire; `None` if there are not 16 of them, or all are zero.
    #[inline]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 16] = bytes.try_into().ok()?;
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The bytes, as on the wire.
    #[inline]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl SpanId {
    /// From the bytes on the wire; `None` if there are not 8 of them, or all are zero.
    #[inline]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 8] = bytes.try_into().ok()?;
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// The bytes, as on the wire.
    #[inline]
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// Hexadecimal in either case; shorter texts are padded with zeros on the left, as some tools drop
/// the leading zeros of 64-bit identifiers.
fn parse_padded<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let digits = text.as_bytes();
    if digits.is_empty() || digits.len() > 2 * N {
        return Err(ParseIdError::Length { digits: digits.len(), max_digits: 2 * N });
    }
    let mut bytes = [0; N];
    for (place, digit) in digits.iter().rev().enumerate() {
        let nibble = (*digit as char).to_digit(16).ok_or(ParseIdError::Digit)? as u8;
        bytes[N - 1 - place / 2] |= nibble << (4 * (place % 2));
    }
    if bytes == [0; N] { Err(ParseIdError::Zero) } else { Ok(bytes) }
}

impl FromStr for TraceId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_padded(text).map(Self)
    }
}

impl FromStr for SpanId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_padded(text).map(Self)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

#[cfg(test)]
mod tests;
