//! An attribute of a span, an event or a link, in twelve bytes.

use super::terms::TermId;

/// What an attribute belongs to. Resources and scopes have theirs in structs of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The span itself.
    Span,
    /// The event being built.
    Event,
    /// The link being built.
    Link,
}

/// The type of a value; what its 64 bits mean stands beside each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// Nothing.
    Empty,
    /// Offset in the text heap (high half) and length (low half).
    Text,
    /// 0 or 1.
    Bool,
    /// The integer.
    Int,
    /// The float's bits.
    Double,
    /// Offset in the byte heap (high half) and length (low half).
    Bytes,
    /// Index of a nested value.
    Nested,
}

const TAG_BITS: u32 = 3;

/// Terms that a batch may have, as a key has 29 bits.
pub(super) const TERMS_MAX: usize = 1 << (u32::BITS - TAG_BITS);

/// Key, type and value. In halves: a `u64` would be aligned to eight bytes, and make it sixteen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute {
    key_and_tag: u32,
    high: u32,
    low: u32,
}

impl Attribute {
    #[inline]
    pub(super) fn new(key: TermId, tag: Tag, bits: u64) -> Self {
        Self { key_and_tag: key.0 << TAG_BITS | tag as u32, high: (bits >> 32) as u32, low: bits as u32 }
    }

    #[inline]
    pub(super) fn key(self) -> TermId {
        TermId(self.key_and_tag >> TAG_BITS)
    }

    #[inline]
    pub(super) fn tag(self) -> Tag {
        match self.key_and_tag % (1 << TAG_BITS) {
            1 => Tag::Text,
            2 => Tag::Bool,
            3 => Tag::Int,
            4 => Tag::Double,
            5 => Tag::Bytes,
            6 => Tag::Nested,
            _ => Tag::Empty,
        }
    }

    #[inline]
    pub(super) fn bits(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    /// Of a value in a heap: its offset and length.
    #[inline]
    pub(super) fn range(self) -> (u32, u32) {
        (self.high, self.low)
    }
}

#[inline]
pub(super) fn pack(range: (u32, u32)) -> u64 {
    u64::from(range.0) << 32 | u64::from(range.1)
}
