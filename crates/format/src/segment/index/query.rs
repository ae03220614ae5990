//! What is asked of a field: first the bytes that an answer needs, then the answer.
//!
//! Every answer is an upper bound. What is hashed cannot be told from few others, and where no single value is asked
//! for it is not seen at all: then all that has such values is in the answer.

use std::ops::{Bound, Range};

use super::bytes::Reader;
use super::dictionary::Dictionary;
use super::fetched::IndexBytes;
use super::field::{FieldScope, Universe};
use super::header::{Field, IndexHeader, List, Place};
use super::trace_set::TraceSet;
use super::trace_table::duration_of;
use super::value::{IndexValue, NumberBounds, Term, TermType, hash, hash_seed, number_bounds, number_of};
use super::{TEXT_BYTES_MAX, damaged, hashed, postings};
use crate::FormatError;

/// What a span is like that has the value: of a field of resources this leaves out traces in which the resource has none
/// such. Of other fields it changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanBounds {
    /// It takes at least so long.
    pub duration_nano_min: u64,
    /// It failed.
    pub is_error: bool,
}

/// A field that a part lists. Ranges are bytes of the file, to be read with
/// [`index_ranges`](crate::segment::OpenSegment::index_ranges).
#[derive(Debug, Clone, Copy)]
pub struct IndexedField<'h> {
    pub(super) header: &'h IndexHeader,
    pub(super) field: &'h Field,
}

impl<'h> IndexedField<'h> {
    /// Where its key stands.
    pub fn scope(&self) -> FieldScope {
        self.field.scope
    }

    /// Its key.
    pub fn key(&self) -> &'h str {
        &self.field.key
    }

    /// What [`exists`](Self::exists) needs.
    pub fn exists_ranges(&self) -> Vec<Range<u64>> {
        self.with_owners(self.field.exists.range().into_iter().collect())
    }

    /// The traces that have the field, whatever its values are. Exactly those, without bounds.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if the bytes were not read, or are not what the header says.
    pub fn exists(&self, spans: SpanBounds, fetched: &IndexBytes) -> Result<TraceSet, FormatError> {
        let mut set = self.none();
        or_place(&self.field.exists, fetched, &mut set)?;
        self.traces(set, spans, fetched)
    }

    /// What [`equal`](Self::equal) needs; nothing where no trace can have the value.
    pub fn equal_ranges(&self, value: IndexValue<'_>) -> Vec<Range<u64>> {
        let Some((list, term)) = self.list_of(value) else { return Vec::new() };
        let mut ranges: Vec<_> = has_terms(list).then(|| list.block.clone()).into_iter().collect();
        ranges.extend(self.hash_block(list, &term).map(|(range, ..)| range));
        self.with_owners(ranges)
    }

    /// The traces in which the field may have this value. Exactly those, if several have it.
    ///
    /// # Errors
    /// As [`exists`](Self::exists).
    pub fn equal(
        &self,
        value: IndexValue<'_>,
        spans: SpanBounds,
        fetched: &IndexBytes,
    ) -> Result<TraceSet, FormatError> {
        let mut set = self.none();
        let Some((list, term)) = self.list_of(value) else {
            return Ok(TraceSet::empty(self.header.part().traces));
        };
        let mut is_listed = false;
        if has_terms(list) {
            let block = fetched.get(&list.block)?;
            let dictionary = self.dictionary(list, &block)?;
            if let Some(value) = dictionary.find(term.bytes()) {
                dictionary.or_into(value, &mut set)?;
                is_listed = true;
            }
        }
        // What is listed is not hashed: what has its fingerprint is another.
        if !is_listed && let Some((range, hashes, hash)) = self.hash_block(list, &term) {
            hashed::or_into(&fetched.get(&range)?, hashes, hash, &mut set)?;
        }
        self.traces(set, spans, fetched)
    }

    /// What [`numbers`](Self::numbers) with these bounds needs.
    pub fn numbers_ranges(
        &self,
        lower: Bound<IndexValue<'_>>,
        upper: Bound<IndexValue<'_>>,
    ) -> Vec<Range<u64>> {
        match self.numbers_within(lower, upper) {
            Some((list, ..)) => self.with_owners(list_ranges(list)),
            None => Vec::new(),
        }
    }

    /// The traces in which the field may have a number within bounds. Nothing is within bounds that are no numbers.
    ///
    /// # Errors
    /// As [`exists`](Self::exists).
    pub fn numbers(
        &self,
        lower: Bound<IndexValue<'_>>,
        upper: Bound<IndexValue<'_>>,
        spans: SpanBounds,
        fetched: &IndexBytes,
    ) -> Result<TraceSet, FormatError> {
        let mut set = self.none();
        let Some((list, (lower, upper))) = self.numbers_within(lower, upper) else {
            return Ok(TraceSet::empty(self.header.part().traces));
        };
        or_place(&list.opaque, fetched, &mut set)?;
        if has_terms(list) {
            let block = fetched.get(&list.block)?;
            let dictionary = self.dictionary(list, &block)?;
            let [lower, upper] = [&lower, &upper].map(|bound| bound.as_ref().map(<[u8; 8]>::as_slice));
            dictionary.each(lower, upper, |_, value| dictionary.or_into(value, &mut set).map(|()| true))?;
        }
        self.traces(set, spans, fetched)
    }

    /// What [`matching`](Self::matching), [`prefix`](Self::prefix) and [`texts`](Self::texts) need.
    pub fn texts_ranges(&self) -> Vec<Range<u64>> {
        let texts = self.list(TermType::Text).map(list_ranges).unwrap_or_default();
        let long = self.list(TermType::LongText).and_then(|list| list.opaque.range());
        self.with_owners(texts.into_iter().chain(long).collect())
    }

    /// The traces in which the field may have a text that begins so.
    ///
    /// # Errors
    /// As [`exists`](Self::exists).
    pub fn prefix(
        &self,
        prefix: &str,
        spans: SpanBounds,
        fetched: &IndexBytes,
    ) -> Result<TraceSet, FormatError> {
        let mut set = self.opaque_texts(fetched)?;
        if prefix.len() <= TEXT_BYTES_MAX {
            self.each_text(prefix, fetched, |_, dictionary, value| {
                dictionary.or_into(value, &mut set).map(|()| true)
            })?;
        }
        self.traces(set, spans, fetched)
    }

    /// The traces in which the field may have a text of which `is_match` says so.
    ///
    /// # Errors
    /// As [`exists`](Self::exists).
    pub fn matching(
        &self,
        is_match: &mut dyn FnMut(&str) -> bool,
        spans: SpanBounds,
        fetched: &IndexBytes,
    ) -> Result<TraceSet, FormatError> {
        let mut set = self.opaque_texts(fetched)?;
        self.each_text("", fetched, |text, dictionary, value| {
            if is_match(text) {
                dictionary.or_into(value, &mut set)?;
            }
            Ok(true)
        })?;
        self.traces(set, spans, fetched)
    }

    /// Whether it has values of that type.
    pub fn has_texts(&self) -> bool {
        self.list(TermType::Text).or(self.list(TermType::LongText)).is_some()
    }

    /// The same of numbers.
    pub fn has_numbers(&self) -> bool {
        self.list(TermType::Number).is_some()
    }

    /// The same of truth values.
    pub fn has_bools(&self) -> bool {
        self.list(TermType::Bool).is_some()
    }

    /// How many of its values cannot be listed: of those there are hashes.
    pub fn unlisted_values(&self) -> u64 {
        let hashed = |list: &List| list.hashed.iter().map(|hashes| u64::from(*hashes)).sum::<u64>();
        let long = self.list(TermType::LongText).map_or(0, |list| u64::from(list.terms));
        self.field.lists.iter().map(hashed).sum::<u64>() + long
    }

    /// Gives the field's texts that begin so, in order, and how many traces have each, of all or of a set, as long as
    /// `take` says so. Not those that are hashed. A text that no trace of the set has comes with 0.
    ///
    /// # Errors
    /// As [`exists`](Self::exists).
    pub fn texts(
        &self,
        prefix: &str,
        within: Option<&TraceSet>,
        fetched: &IndexBytes,
        take: &mut dyn FnMut(&str, u32) -> bool,
    ) -> Result<(), FormatError> {
        self.each_text(prefix, fetched, |text, dictionary, value| {
            Ok(take(text, self.count(dictionary, value, within, fetched)?))
        })
    }

    /// The same of its numbers; from the bytes for [`numbers`](Self::numbers) without bounds.
    ///
    /// # Errors
    /// As [`exists`](Self::exists).
    pub fn each_number(
        &self,
        within: Option<&TraceSet>,
        fetched: &IndexBytes,
        take: &mut dyn FnMut(f64, u32) -> bool,
    ) -> Result<(), FormatError> {
        let Some(list) = self.list(TermType::Number).filter(|list| has_terms(list)) else { return Ok(()) };
        let block = fetched.get(&list.block)?;
        let dictionary = self.dictionary(list, &block)?;
        dictionary.each(Bound::Unbounded, Bound::Unbounded, |term, value| {
            let number =
                term.try_into().map(number_of).map_err(|_| damaged("a number has not eight bytes"))?;
            Ok(take(number, self.count(&dictionary, value, within, fetched)?))
        })
    }

    fn each_text(
        &self,
        prefix: &str,
        fetched: &IndexBytes,
        mut take: impl FnMut(&str, &Dictionary<'_>, u64) -> Result<bool, FormatError>,
    ) -> Result<(), FormatError> {
        let Some(list) = self.list(TermType::Text).filter(|list| has_terms(list)) else { return Ok(()) };
        let block = fetched.get(&list.block)?;
        let dictionary = self.dictionary(list, &block)?;
        dictionary.each(Bound::Included(prefix.as_bytes()), Bound::Unbounded, |term, value| {
            if !term.starts_with(prefix.as_bytes()) {
                return Ok(false);
            }
            let text = std::str::from_utf8(term).map_err(|_| damaged("a text is not UTF-8"))?;
            take(text, &dictionary, value)
        })
    }

    fn count(
        &self,
        dictionary: &Dictionary<'_>,
        value: u64,
        within: Option<&TraceSet>,
        fetched: &IndexBytes,
    ) -> Result<u32, FormatError> {
        if within.is_none() && self.universe() == Universe::Traces {
            return dictionary.count(value);
        }
        let mut set = self.none();
        dictionary.or_into(value, &mut set)?;
        let mut traces = self.traces(set, SpanBounds::default(), fetched)?;
        if let Some(within) = within {
            traces.and(within);
        }
        Ok(traces.count())
    }

    /// What has texts that are not in the terms block.
    fn opaque_texts(&self, fetched: &IndexBytes) -> Result<TraceSet, FormatError> {
        let mut set = self.none();
        for list in [TermType::Text, TermType::LongText].into_iter().filter_map(|kind| self.list(kind)) {
            or_place(&list.opaque, fetched, &mut set)?;
        }
        Ok(set)
    }

    fn universe(&self) -> Universe {
        Universe::of(self.field.scope, &self.field.key)
    }

    /// No ordinal of the field's.
    fn none(&self) -> TraceSet {
        TraceSet::empty(self.header.universe(self.universe()))
    }

    fn list(&self, term_type: TermType) -> Option<&'h List> {
        self.field.lists.iter().find(|list| list.term_type == term_type)
    }

    /// None if no value is equal to this one.
    fn list_of<'v>(&self, value: IndexValue<'v>) -> Option<(&'h List, Term<'v>)> {
        let term = Term::of(value)?;
        let list = self.list(term.term_type())?;
        let is_outside = list
            .bounds
            .is_some_and(|(min, max)| term.bytes() < min.as_slice() || term.bytes() > max.as_slice());
        (!is_outside).then_some((list, term))
    }

    /// None if no number of the field is within these.
    fn numbers_within(
        &self,
        lower: Bound<IndexValue<'_>>,
        upper: Bound<IndexValue<'_>>,
    ) -> Option<(&'h List, NumberBounds)> {
        let list = self.list(TermType::Number)?;
        let (lower, upper) = number_bounds(lower, upper)?;
        let (min, max) = list.bounds?;
        let is_above = match lower {
            Bound::Unbounded => false,
            Bound::Included(lower) => lower > max,
            Bound::Excluded(lower) => lower >= max,
        };
        let is_below = match upper {
            Bound::Unbounded => false,
            Bound::Included(upper) => upper < min,
            Bound::Excluded(upper) => upper <= min,
        };
        (!is_above && !is_below).then_some((list, (lower, upper)))
    }

    /// The bytes of the block that a term is in if it is hashed, how many hashes it has, and the term's.
    fn hash_block(&self, list: &List, term: &Term<'_>) -> Option<(Range<u64>, usize, u64)> {
        let hash = hash(term.bytes(), hash_seed(self.field.scope, &self.field.key, list.term_type));
        let (block, hashes) = hashed::block(&list.hashed, hash, self.header.universe(self.universe()))?;
        let from = list.hashed_from;
        Some((from + block.start as u64..from + block.end as u64, hashes, hash))
    }

    fn dictionary<'b>(&self, list: &List, block: &'b [u8]) -> Result<Dictionary<'b>, FormatError> {
        Dictionary::read(block, list.terms as usize, self.header.universe(self.universe()))
    }

    /// And what says which traces have the resources or scopes, where ordinals are of those.
    fn with_owners(&self, mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
        ranges.extend(self.header.traces_of(self.universe()));
        ranges
    }

    /// The traces of ordinals.
    fn traces(
        &self,
        ordinals: TraceSet,
        spans: SpanBounds,
        fetched: &IndexBytes,
    ) -> Result<TraceSet, FormatError> {
        let has_bounds = self.universe() == Universe::Resources && spans != SpanBounds::default();
        let Some(range) = self.header.traces_of(self.universe()) else { return Ok(ordinals) };
        let bytes = fetched.get(&range)?;
        let mut reader = Reader::new(&bytes);
        let (offsets, _) = reader.take(4 * ordinals.universe() as usize)?.as_chunks::<4>();
        let mut traces = TraceSet::empty(self.header.part().traces);
        for ordinal in ordinals.iter() {
            let offset = offsets.get(ordinal as usize).map(|offset| u32::from_le_bytes(*offset) as usize);
            let postings =
                offset.and_then(|offset| reader.rest.get(offset..)).ok_or_else(|| reader.damaged())?;
            if has_bounds {
                spans.or_into(postings, &mut traces)?;
            } else {
                postings::or_into(postings, &mut traces)?;
            }
        }
        Ok(traces)
    }
}

impl SpanBounds {
    /// Adds the traces of a resource in which it has such spans.
    fn or_into(self, of_resource: &[u8], traces: &mut TraceSet) -> Result<(), FormatError> {
        let mut all = TraceSet::empty(traces.universe());
        let mut reader = Reader::new(postings::or_into(of_resource, &mut all)?);
        let count = all.count() as usize;
        let durations = reader.take(count)?;
        let errors = reader.take(count.div_ceil(8))?;
        for (at, (ordinal, duration)) in all.iter().zip(durations).enumerate() {
            let has_error = errors.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
            if duration_of(*duration) >= self.duration_nano_min && (has_error || !self.is_error) {
                traces.insert(ordinal);
            }
        }
        Ok(())
    }
}

fn has_terms(list: &List) -> bool {
    list.terms > 0
}

fn list_ranges(list: &List) -> Vec<Range<u64>> {
    let block = has_terms(list).then(|| list.block.clone());
    block.into_iter().chain(list.opaque.range()).collect()
}

fn or_place(place: &Place, fetched: &IndexBytes, set: &mut TraceSet) -> Result<(), FormatError> {
    match place {
        Place::Inline(bytes) => postings::or_into(bytes, set)?.len(),
        Place::At(range) => postings::or_into(&fetched.get(range)?, set)?.len(),
    };
    Ok(())
}
