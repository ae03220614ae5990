//! A terms block: the terms of a field of one type, and the ordinals that have each.

use std::ops::Bound;

use fst::{IntoStreamer, Map, MapBuilder, Streamer};

use super::bytes::{Reader, put_varint};
use super::trace_set::TraceSet;
use super::{damaged, postings};
use crate::FormatError;

/// Terms from which on they are in a map: making one takes a megabyte for a moment, and 36 bytes for good.
const LIST_TERMS_MAX: usize = 64;

/// The version of the crate's format that has a checksum.
const MAP_VERSION: u64 = 3;

/// Collects terms in their order.
#[derive(Debug)]
pub(super) struct DictionaryBuilder {
    terms: BuiltTerms,
    postings: Vec<u8>,
    universe: u32,
}

enum BuiltTerms {
    List(Vec<u8>),
    Map(MapBuilder<Vec<u8>>),
}

impl std::fmt::Debug for BuiltTerms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::List(_) => "List",
            Self::Map(_) => "Map",
        })
    }
}

impl DictionaryBuilder {
    /// Of so many terms.
    pub(super) fn new(terms: usize, universe: u32) -> Self {
        let is_list = terms <= LIST_TERMS_MAX;
        let terms =
            if is_list { BuiltTerms::List(Vec::new()) } else { BuiltTerms::Map(MapBuilder::memory()) };
        Self { terms, postings: Vec::new(), universe }
    }

    /// The next term, and the ordinals that have it, ascending.
    pub(super) fn push(&mut self, term: &[u8], ordinals: &[u32]) -> Result<(), FormatError> {
        let value = match ordinals {
            [ordinal] => u64::from(*ordinal) << 1 | 1,
            ordinals => {
                let offset = self.postings.len() as u64;
                postings::write(&mut self.postings, ordinals, self.universe);
                offset << 1
            }
        };
        match &mut self.terms {
            BuiltTerms::List(list) => {
                put_varint(list, term.len() as u64);
                list.extend_from_slice(term);
                put_varint(list, value);
                Ok(())
            }
            BuiltTerms::Map(map) => map.insert(term, value).map_err(map_error),
        }
    }

    /// The block; nothing without terms.
    pub(super) fn finish(self) -> Result<Vec<u8>, FormatError> {
        let dictionary = match self.terms {
            BuiltTerms::List(list) if list.is_empty() => return Ok(Vec::new()),
            BuiltTerms::List(list) => list,
            BuiltTerms::Map(map) => map.into_inner().map_err(map_error)?,
        };
        let mut block = Vec::with_capacity(dictionary.len() + self.postings.len() + 5);
        put_varint(&mut block, dictionary.len() as u64);
        block.extend_from_slice(&dictionary);
        block.extend_from_slice(&self.postings);
        Ok(block)
    }
}

fn map_error(error: fst::Error) -> FormatError {
    damaged(format!("a map of terms: {error}"))
}

/// Whether these are a map's bytes as they were written: the crate follows what is in them without a look at where
/// it leads.
fn verify_map(bytes: &[u8]) -> Result<(), FormatError> {
    let verified = bytes.split_last_chunk::<4>().is_some_and(|(content, checksum)| {
        let version = content.first_chunk::<8>().map(|version| u64::from_le_bytes(*version));
        // As the crate masks it.
        let expected = crc32c::crc32c(content).rotate_right(15).wrapping_add(0xa282_ead8);
        version == Some(MAP_VERSION) && u32::from_le_bytes(*checksum) == expected
    });
    if verified { Ok(()) } else { Err(damaged("the checksum of a map of terms differs")) }
}

/// A terms block that is read.
#[derive(Debug)]
pub(super) struct Dictionary<'b> {
    terms: Terms<'b>,
    postings: &'b [u8],
    universe: u32,
}

#[derive(Debug)]
enum Terms<'b> {
    List(Vec<(&'b [u8], u64)>),
    Map(Map<&'b [u8]>),
}

impl<'b> Dictionary<'b> {
    /// Of a block with so many terms.
    pub(super) fn read(block: &'b [u8], terms: usize, universe: u32) -> Result<Self, FormatError> {
        let mut reader = Reader::new(block);
        let dictionary = reader.sized()?;
        let postings = reader.rest;
        let terms = if terms <= LIST_TERMS_MAX {
            let mut reader = Reader::new(dictionary);
            let mut list = Vec::with_capacity(terms);
            for _ in 0..terms {
                list.push((reader.sized()?, reader.varint()?));
            }
            if !reader.rest.is_empty() || !list.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(damaged("terms are not in order"));
            }
            Terms::List(list)
        } else {
            verify_map(dictionary)?;
            let map = Map::new(dictionary).map_err(map_error)?;
            if map.len() != terms {
                return Err(damaged("a map has another number of terms than its header says"));
            }
            Terms::Map(map)
        };
        Ok(Self { terms, postings, universe })
    }

    /// The value of a term, for [`or_into`](Self::or_into) and [`count`](Self::count).
    pub(super) fn find(&self, term: &[u8]) -> Option<u64> {
        match &self.terms {
            Terms::List(list) => {
                let at = list.binary_search_by(|(other, _)| (*other).cmp(term)).ok()?;
                list.get(at).map(|(_, value)| *value)
            }
            Terms::Map(map) => map.get(term),
        }
    }

    /// Gives the terms within bounds, in order, and the value of each, as long as `take` says so.
    pub(super) fn each(
        &self,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        mut take: impl FnMut(&[u8], u64) -> Result<bool, FormatError>,
    ) -> Result<(), FormatError> {
        match &self.terms {
            Terms::List(list) => {
                for (term, value) in list {
                    let is_above = match lower {
                        Bound::Unbounded => true,
                        Bound::Included(lower) => *term >= lower,
                        Bound::Excluded(lower) => *term > lower,
                    };
                    let is_below = match upper {
                        Bound::Unbounded => true,
                        Bound::Included(upper) => *term <= upper,
                        Bound::Excluded(upper) => *term < upper,
                    };
                    if is_above && is_below && !take(term, *value)? {
                        return Ok(());
                    }
                }
            }
            Terms::Map(map) => {
                let range = match lower {
                    Bound::Unbounded => map.range(),
                    Bound::Included(lower) => map.range().ge(lower),
                    Bound::Excluded(lower) => map.range().gt(lower),
                };
                let range = match upper {
                    Bound::Unbounded => range,
                    Bound::Included(upper) => range.le(upper),
                    Bound::Excluded(upper) => range.lt(upper),
                };
                let mut terms = range.into_stream();
                while let Some((term, value)) = terms.next() {
                    if !take(term, value)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the ordinals of a term to `set`, which has the block's universe.
    pub(super) fn or_into(&self, value: u64, set: &mut TraceSet) -> Result<(), FormatError> {
        match self.of(value)? {
            Ordinals::One(ordinal) => set.insert(ordinal),
            Ordinals::Postings(bytes) => {
                postings::or_into(bytes, set)?;
            }
        }
        Ok(())
    }

    /// How many ordinals a term has.
    pub(super) fn count(&self, value: u64) -> Result<u32, FormatError> {
        match self.of(value)? {
            Ordinals::One(_) => Ok(1),
            Ordinals::Postings(bytes) => postings::count(bytes, self.universe),
        }
    }

    fn of(&self, value: u64) -> Result<Ordinals<'b>, FormatError> {
        if value & 1 == 1 {
            let ordinal = u32::try_from(value >> 1).ok().filter(|ordinal| *ordinal < self.universe);
            return ordinal.map(Ordinals::One).ok_or_else(|| damaged("a term is of no trace of its part"));
        }
        let offset = usize::try_from(value >> 1).ok();
        let bytes = offset.and_then(|offset| self.postings.get(offset..));
        bytes.map(Ordinals::Postings).ok_or_else(|| damaged("the traces of a term are outside of its block"))
    }
}

enum Ordinals<'b> {
    One(u32),
    Postings(&'b [u8]),
}

#[cfg(test)]
mod tests;
