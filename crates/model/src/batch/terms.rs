//! A batch's dictionary: each distinct name or key once.

use std::ops::Range;

use super::attribute::TERMS_MAX;

/// A term's number in its batch. [`TermId::EMPTY`] is the empty text in every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TermId(pub(super) u32);

impl TermId {
    /// The empty text.
    pub const EMPTY: Self = Self(0);

    /// The number, from 0 to [`Terms::len`] − 1: an index for tables beside the dictionary.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The distinct texts of a batch.
#[derive(Debug, Clone)]
pub struct Terms {
    text: String,
    /// Term `i` is `text[end[i - 1]..end[i]]`; term 0 is empty.
    end: Vec<u32>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { text: String::new(), end: vec![0] }
    }
}

impl Terms {
    /// How many, the empty one included.
    #[allow(clippy::len_without_is_empty)] // Never empty.
    pub fn len(&self) -> usize {
        self.end.len()
    }

    /// The text of a term.
    ///
    /// # Panics
    /// If the term is of another, larger batch.
    #[inline]
    pub fn get(&self, term: TermId) -> &str {
        &self.text[self.range(term)]
    }

    /// The term of a text, if it has one: all are gone through.
    pub fn find(&self, text: &str) -> Option<TermId> {
        let mut start = 0;
        let is_text = |end: &u32| {
            let range = start..*end as usize;
            start = range.end;
            range.len() == text.len() && self.text.as_bytes().get(range) == Some(text.as_bytes())
        };
        let place = self.end.iter().position(is_text)?;
        Some(TermId(place as u32))
    }

    /// As [`get`](Self::get), to be compared.
    #[inline]
    pub(super) fn bytes(&self, term: TermId) -> &[u8] {
        &self.text.as_bytes()[self.range(term)]
    }

    #[inline]
    fn range(&self, term: TermId) -> Range<usize> {
        let index = term.index();
        let start = if index == 0 { 0 } else { self.end[index - 1] as usize };
        start..self.end[index] as usize
    }

    /// All terms with their texts.
    pub fn iter(&self) -> impl Iterator<Item = (TermId, &str)> {
        (0..self.end.len() as u32).map(|index| (TermId(index), self.get(TermId(index))))
    }

    /// # Panics
    /// If there were more than an attribute can name: more texts than can come in one batch.
    pub(super) fn push(&mut self, text: &str) -> TermId {
        assert!(self.end.len() < TERMS_MAX, "a batch has a bounded number of terms");
        self.text.push_str(text);
        self.end.push(self.text.len() as u32);
        TermId(self.end.len() as u32 - 1)
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.end.truncate(1);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.end.capacity() * size_of::<u32>()
    }

    /// The same without the room for more.
    pub(super) fn content_bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.end)
    }
}
