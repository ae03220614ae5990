//! A set of traces of a part, by their ordinals: a bit each.

use super::damaged;
use crate::FormatError;

/// Some of the traces of a part. Two sets that are put together are of the same part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSet {
    /// Bits beyond `len` are 0.
    words: Vec<u64>,
    len: u32,
}

impl TraceSet {
    /// None of so many.
    pub fn empty(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize], len }
    }

    /// All of so many.
    pub fn full(len: u32) -> Self {
        let mut set = Self { words: vec![u64::MAX; len.div_ceil(64) as usize], len };
        set.cut();
        set
    }

    /// How many traces it can tell apart: those of the part.
    pub fn universe(&self) -> u32 {
        self.len
    }

    /// Adds a trace; nothing beyond those of the part.
    #[inline]
    pub fn insert(&mut self, ordinal: u32) {
        if ordinal < self.len
            && let Some(word) = self.words.get_mut(ordinal as usize / 64)
        {
            *word |= 1 << (ordinal % 64);
        }
    }

    /// Whether a trace is among them.
    #[inline]
    pub fn contains(&self, ordinal: u32) -> bool {
        self.words.get(ordinal as usize / 64).is_some_and(|word| word >> (ordinal % 64) & 1 == 1)
    }

    /// How many.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// All.
    pub fn is_full(&self) -> bool {
        self.count() == self.len
    }

    /// Keeps those that are in both.
    pub fn and(&mut self, other: &Self) {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words.iter_mut().zip(others).for_each(|(word, other)| *word &= other);
    }

    /// Adds those of the other.
    pub fn or(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
        self.cut();
    }

    /// Ordinals, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().zip(0u32..).flat_map(|(word, at)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.checked_sub(1)?;
                Some(at * 64 + bit)
            })
        })
    }

    /// Bytes that it takes, for accounting.
    pub fn heap_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    pub(super) fn insert_all(&mut self) {
        self.words.fill(u64::MAX);
        self.cut();
    }

    /// Adds those of a bitmap, which has a bit for each that there is, and no other.
    pub(super) fn or_bitmap(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let last = bytes.last().map_or(0, |byte| u32::from(*byte));
        let unused = (bytes.len() * 8).checked_sub(self.len as usize).filter(|unused| *unused < 8);
        let unused = unused.ok_or_else(|| damaged("a bitmap has another length than its part"))?;
        if last >> (8 - unused) != 0 {
            return Err(damaged("a bitmap has traces beyond its part"));
        }
        let (words, rest) = bytes.as_chunks::<8>();
        let rest = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let others = words.iter().map(|word| u64::from_le_bytes(*word)).chain([rest]);
        self.words.iter_mut().zip(others).for_each(|(word, other)| *word |= other);
        Ok(())
    }

    /// Clears the bits behind the last.
    fn cut(&mut self) {
        if !self.len.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.len % 64)) - 1;
        }
    }
}

#[cfg(test)]
mod tests;
