//! Where a page ended: opaque to whoever carries it, and good for the same search alone.

use std::fmt;
use std::str::FromStr;

use tracelake_model::TraceId;
use tracelake_model::hash::text_hash;

use super::SearchQuery;
use super::order::{Order, Rank};

/// Where a page ended, and as of which generation. As text it outlives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    generation: u64,
    as_of_unix_nano: u64,
    rank: u64,
    trace_id: TraceId,
    /// Of the range, the condition and the order.
    search: u64,
}

/// Why a text is no cursor for a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Nobody was given it.
    #[error("the cursor is none that was given; begin without one")]
    Malformed,
    /// It is of another range, condition or order.
    #[error(
        "the cursor is of another search: range, condition and order have to stay the same from page to page"
    )]
    OtherSearch,
}

const VERSION: u8 = 1;
const WORDS: usize = 4;
const BYTES: usize = 1 + 8 * WORDS + 16;

impl Cursor {
    pub(super) fn new(
        query: &SearchQuery,
        generation: u64,
        as_of_unix_nano: u64,
        rank: Rank,
        trace_id: TraceId,
    ) -> Self {
        Self { generation, as_of_unix_nano, rank: rank.0, trace_id, search: search_hash(query) }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn as_of_unix_nano(&self) -> u64 {
        self.as_of_unix_nano
    }

    /// Whether one at this place, or further behind, can have been in a page before.
    pub(super) fn may_have_passed(&self, rank: Rank) -> bool {
        rank.0 >= self.rank
    }

    /// Whether a trace at this place was in a page before.
    pub(super) fn is_passed(&self, rank: Rank, trace_id: &TraceId) -> bool {
        rank.0 > self.rank || rank.0 == self.rank && *trace_id <= self.trace_id
    }

    /// Whether it is of this search.
    ///
    /// # Errors
    /// [`CursorError::OtherSearch`] if not.
    pub fn check(&self, query: &SearchQuery) -> Result<(), CursorError> {
        if self.search == search_hash(query) { Ok(()) } else { Err(CursorError::OtherSearch) }
    }
}

fn search_hash(query: &SearchQuery) -> u64 {
    let order = match query.order {
        Order::Newest => "newest",
        Order::Oldest => "oldest",
        Order::Longest => "longest",
    };
    text_hash(&format!("{:?} {order} {}", query.starts, query.predicate))
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; BYTES];
        let mut out = bytes.as_mut_slice();
        let mut put = |part: &[u8]| {
            let (place, rest) = std::mem::take(&mut out).split_at_mut(part.len());
            place.copy_from_slice(part);
            out = rest;
        };
        put(&[VERSION]);
        for word in [self.generation, self.as_of_unix_nano, self.rank, self.search] {
            put(&word.to_be_bytes());
        }
        put(self.trace_id.as_bytes());
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let malformed = CursorError::Malformed;
        if text.len() != 2 * BYTES || !text.is_ascii() {
            return Err(malformed);
        }
        let mut bytes = Vec::with_capacity(BYTES);
        for at in (0..text.len()).step_by(2) {
            let digits = text.get(at..at + 2).ok_or(malformed)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| malformed)?);
        }
        let (version, rest) = bytes.split_first().ok_or(malformed)?;
        let (words, id) = rest.split_at_checked(8 * WORDS).ok_or(malformed)?;
        let mut words = words.as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word));
        let mut word = || words.next().ok_or(malformed);
        let (generation, as_of_unix_nano, rank, search) = (word()?, word()?, word()?, word()?);
        let trace_id = TraceId::from_bytes(id).ok_or(malformed)?;
        if *version != VERSION {
            return Err(malformed);
        }
        Ok(Self { generation, as_of_unix_nano, rank, trace_id, search })
    }
}
