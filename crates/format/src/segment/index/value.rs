//! What values are as terms: bytes that order as the values do.

use std::ops::Bound;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::TEXT_BYTES_MAX;
use super::field::FieldScope;

/// Beyond it integers share a term with their neighbours.
const EXACT_MAX: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;

/// A value that a field is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum IndexValue<'v> {
    /// Text.
    Text(&'v str),
    /// A truth value.
    Bool(bool),
    /// An integer; a double of equal value is the same.
    Int(i64),
    /// A float. NaN is equal to nothing, and of no order.
    Double(f64),
}

/// The types of terms, by their number in the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TermType {
    Text = 0,
    Bool = 1,
    Number = 2,
    LongText = 3,
}

impl TermType {
    pub(super) const ALL: [Self; 4] = [Self::Text, Self::Bool, Self::Number, Self::LongText];
}

/// A term of few bytes, or a text as it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Term<'v> {
    Text(&'v str),
    Bool([u8; 1]),
    Number([u8; 8]),
    LongText([u8; 8]),
}

impl<'v> Term<'v> {
    pub(super) fn of_text(text: &'v str) -> Self {
        if text.len() <= TEXT_BYTES_MAX {
            Self::Text(text)
        } else {
            Self::LongText(xxh3_64(text.as_bytes()).to_be_bytes())
        }
    }

    pub(super) fn of_bool(value: bool) -> Self {
        Self::Bool([u8::from(value)])
    }

    /// None of NaN.
    pub(super) fn of_number(value: f64) -> Option<Self> {
        (!value.is_nan()).then(|| Self::Number(number_bytes(value)))
    }

    pub(super) fn of(value: IndexValue<'v>) -> Option<Self> {
        match value {
            IndexValue::Text(text) => Some(Self::of_text(text)),
            IndexValue::Bool(value) => Some(Self::of_bool(value)),
            IndexValue::Int(value) => Self::of_number(value as f64),
            IndexValue::Double(value) => Self::of_number(value),
        }
    }

    pub(super) fn term_type(&self) -> TermType {
        match self {
            Self::Text(_) => TermType::Text,
            Self::Bool(_) => TermType::Bool,
            Self::Number(_) => TermType::Number,
            Self::LongText(_) => TermType::LongText,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bool(bytes) => bytes,
            Self::Number(bytes) | Self::LongText(bytes) => bytes,
        }
    }
}

/// Seeds the hashes of a field's terms of a type, so that a value has another one in each field.
pub(super) fn hash_seed(scope: FieldScope, key: &str, term_type: TermType) -> u64 {
    xxh3_64_with_seed(key.as_bytes(), scope as u64 * 8 + term_type as u64)
}

pub(super) fn hash(term: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(term, seed)
}

/// Not of NaN.
pub(super) fn number_bytes(value: f64) -> [u8; 8] {
    // -0 is 0.
    let bits = (value + 0.0).to_bits();
    let is_negative = bits >> 63 == 1;
    (if is_negative { !bits } else { bits | 1 << 63 }).to_be_bytes()
}

pub(super) fn number_of(bytes: [u8; 8]) -> f64 {
    let bits = u64::from_be_bytes(bytes);
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

/// The lowest and the highest term.
pub(super) type NumberBounds = (Bound<[u8; 8]>, Bound<[u8; 8]>);

/// The terms of numbers within bounds: those whose term is in them are no fewer. None if there can be none.
pub(super) fn number_bounds(
    lower: Bound<IndexValue<'_>>,
    upper: Bound<IndexValue<'_>>,
) -> Option<NumberBounds> {
    Some((number_bound(lower)?, number_bound(upper)?))
}

/// None of what numbers are not compared with.
fn number_bound(bound: Bound<IndexValue<'_>>) -> Option<Bound<[u8; 8]>> {
    let number = |value: IndexValue<'_>| match value {
        IndexValue::Int(value) => Some(value as f64),
        IndexValue::Double(value) => Some(value).filter(|value| !value.is_nan()),
        IndexValue::Text(_) | IndexValue::Bool(_) => None,
    };
    Some(match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(value) => Bound::Included(number_bytes(number(value)?)),
        Bound::Excluded(value) => {
            let value = number(value)?;
            let bytes = number_bytes(value);
            // A larger integer may have the same term.
            if value.abs() < EXACT_MAX { Bound::Excluded(bytes) } else { Bound::Included(bytes) }
        }
    })
}

#[cfg(test)]
mod tests;
