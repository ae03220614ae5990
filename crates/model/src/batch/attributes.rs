//! Attributes of many owners (spans, events or links), each owner's together.

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

/// Attributes in columns. Owner `i` has those from `end[i - 1]` to `end[i]`.
#[derive(Debug, Clone, Default)]
pub struct AttributeTable {
    pub(super) end: Vec<u32>,
    pub(super) keys: Vec<TermId>,
    pub(super) tags: Vec<Tag>,
    pub(super) bits: Vec<u64>,
}

impl AttributeTable {
    #[inline]
    pub(super) fn push(&mut self, key: TermId, tag: Tag, bits: u64) {
        self.keys.push(key);
        self.tags.push(tag);
        self.bits.push(bits);
    }

    #[inline]
    pub(super) fn finish_owner(&mut self) {
        self.end.push(self.keys.len() as u32);
    }

    /// Back to `owners` owners, with whatever was begun after them gone.
    pub(super) fn truncate(&mut self, owners: usize) {
        self.end.truncate(owners);
        let len = self.end.last().map_or(0, |end| *end as usize);
        self.keys.truncate(len);
        self.tags.truncate(len);
        self.bits.truncate(len);
    }

    #[inline]
    pub(super) fn range(&self, owner: usize) -> std::ops::Range<usize> {
        let start = if owner == 0 { 0 } else { self.end[owner - 1] as usize };
        start..self.end[owner] as usize
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.end.capacity() * size_of::<u32>()
            + self.keys.capacity() * size_of::<TermId>()
            + self.tags.capacity() * size_of::<Tag>()
            + self.bits.capacity() * size_of::<u64>()
    }
}

#[inline]
pub(super) fn pack(range: (u32, u32)) -> u64 {
    u64::from(range.0) << 32 | u64::from(range.1)
}

#[inline]
pub(super) fn unpack(bits: u64) -> (u32, u32) {
    ((bits >> 32) as u32, bits as u32)
}
