//! The distinct terms of a part, and what has each.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Terms with the ordinals that have them.
#[derive(Debug)]
pub(super) struct TermTable {
    /// Of all terms, one after the other.
    bytes: Vec<u8>,
    terms: Vec<Seen>,
    /// With half of the hash of each, so that the table grows without a look at terms.
    places: HashTable<(u32, u32)>,
    hasher: RandomState,
    /// Term and ordinal, but for the first of each term: most terms of a part may have no other.
    pub(super) more: Vec<(u32, u32)>,
}

/// A term. Of 2³² bytes and terms, far more than the builder holds before its part ends.
#[derive(Debug)]
pub(super) struct Seen {
    /// Of which field and type.
    pub(super) list: u32,
    pub(super) first: u32,
    last: u32,
    start: u32,
    len: u32,
}

impl TermTable {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            terms: Vec::new(),
            places: HashTable::new(),
            hasher: RandomState::default(),
            more: Vec::new(),
        }
    }

    /// Adds an ordinal that has the term; where that is, for [`add_again`](Self::add_again).
    #[inline]
    pub(super) fn add(&mut self, list: u32, term: &[u8], ordinal: u32) -> u32 {
        let hash = hash(&self.hasher, list, term);
        let (bytes, terms) = (&self.bytes, &self.terms);
        let is_it = |(place, of_term): &(u32, u32)| {
            let is_it = |seen: &Seen| seen.list == list && bytes_of(bytes, seen) == term;
            *of_term == hash && terms.get(*place as usize).is_some_and(is_it)
        };
        if let Some((place, _)) = self.places.find(spread(hash), is_it).copied() {
            self.add_again(place, ordinal);
            return place;
        }
        let place = self.terms.len() as u32;
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(term);
        self.terms.push(Seen { list, first: ordinal, last: ordinal, start, len: term.len() as u32 });
        self.places.insert_unique(spread(hash), (place, hash), |(_, hash)| spread(*hash));
        place
    }

    /// Adds an ordinal that has a term, by where that is.
    #[inline]
    pub(super) fn add_again(&mut self, place: u32, ordinal: u32) {
        if let Some(seen) = self.terms.get_mut(place as usize)
            && seen.last != ordinal
        {
            seen.last = ordinal;
            self.more.push((place, ordinal));
        }
    }

    pub(super) fn terms(&self) -> &[Seen] {
        &self.terms
    }

    pub(super) fn term(&self, seen: &Seen) -> &[u8] {
        bytes_of(&self.bytes, seen)
    }

    pub(super) fn bytes(&self) -> usize {
        let of_term = size_of::<Seen>() + 2 * size_of::<(u32, u32)>();
        self.bytes.len() + self.terms.len() * of_term + self.more.len() * size_of::<(u32, u32)>()
    }
}

#[inline]
fn bytes_of<'b>(bytes: &'b [u8], seen: &Seen) -> &'b [u8] {
    let start = seen.start as usize;
    bytes.get(start..start + seen.len as usize).unwrap_or_default()
}

#[inline]
fn hash(hasher: &RandomState, list: u32, term: &[u8]) -> u32 {
    let mut state = hasher.build_hasher();
    state.write_u32(list);
    state.write(term);
    (state.finish() >> 32) as u32
}

/// A table takes the lowest bits of a hash, and the highest ones.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
