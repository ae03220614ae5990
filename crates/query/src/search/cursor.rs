//! Where a page ended: opaque to whoever carries it, and good for the same search alone.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use tracelake_model::ErrorKind;
use tracelake_model::hash::text_hash;
use tracelake_store::format::manifest::Retention;

use super::SearchQuery;
use super::found::{Place, Sought};
use super::order::{Order, Rank};

/// Where a page ended, and as of which generation. As text it outlives a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    generation: u64,
    as_of_unix_nano: u64,
    /// What retention had removed by the first page; 0 for nothing.
    retention_version: u64,
    /// Of what was given last.
    place: Place,
    /// Of what is searched for: the range, the condition and the order.
    search: u64,
}

/// Why a search cannot go on from a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Nobody was given it.
    #[error("the cursor is none that was given; begin without one")]
    Malformed,
    /// It is of another range, condition or order, or of spans and not of traces.
    #[error(
        "the cursor is of another search: range, condition and order have to stay the same from page to page, \
         and whether spans are its results"
    )]
    OtherSearch,
    /// Further pages would lack, without a word, what the first was asked of.
    #[error("retention has removed spans that this search had; begin without a cursor")]
    Removed,
}

impl CursorError {
    /// What a caller can do about it.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::Malformed | Self::OtherSearch => ErrorKind::Invalid,
            Self::Removed => ErrorKind::Gone,
        }
    }
}

const VERSION: u8 = 3;

/// Hexadecimal digits of the version, of seven numbers, and of a trace ID.
const DIGITS: usize = 2 + 7 * 16 + 32;

impl Cursor {
    pub(super) fn new(
        query: &SearchQuery,
        generation: u64,
        as_of_unix_nano: u64,
        retention_version: u64,
        place: Place,
    ) -> Self {
        Self { generation, as_of_unix_nano, retention_version, place, search: search_hash(query) }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn as_of_unix_nano(&self) -> u64 {
        self.as_of_unix_nano
    }

    pub(super) fn retention_version(&self) -> u64 {
        self.retention_version
    }

    /// Whether what retention has removed by now can have been in the range of the search, and was not removed before
    /// it began. Of generations only the highest is known, and a search has all lower ones.
    pub(super) fn is_removed(&self, retention: &Retention, starts: &Range<u64>) -> bool {
        retention.version > self.retention_version && retention.start_unix_nano_max >= starts.start
    }

    /// Whether one at this place, or further behind, can have been in a page before.
    pub(super) fn may_have_passed(&self, rank: Rank) -> bool {
        rank >= self.place.rank()
    }

    /// Whether all that stands there, or further in front, was in a page before.
    pub(super) fn has_passed(&self, rank: Rank) -> bool {
        rank > self.place.rank()
    }

    /// Whether what stands at this place was in a page before.
    pub(super) fn is_passed(&self, place: &Place) -> bool {
        *place <= self.place
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
    let sought = match query.sought {
        Sought::Traces => "traces",
        Sought::Spans => "spans",
    };
    text_hash(&format!("{:?} {order} {sought} {}", query.starts, query.predicate))
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, as_of_unix_nano, retention_version, place, search } = self;
        let (Place { trace_id, span_id, content, .. }, Rank(rank)) = (place, place.rank());
        write!(f, "{VERSION:02x}{generation:016x}{as_of_unix_nano:016x}{retention_version:016x}")?;
        write!(f, "{rank:016x}{search:016x}{span_id:016x}{content:016x}{trace_id}")
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let malformed = CursorError::Malformed;
        if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(malformed);
        }
        let (version, mut rest) = text.split_at(2);
        if version != format!("{VERSION:02x}") {
            return Err(malformed);
        }
        let mut word = || {
            let (digits, behind) = rest.split_at(16);
            rest = behind;
            u64::from_str_radix(digits, 16).map_err(|_| malformed)
        };
        let (generation, as_of_unix_nano, retention_version) = (word()?, word()?, word()?);
        let (rank, search, span_id, content) = (Rank(word()?), word()?, word()?, word()?);
        let trace_id = rest.parse().map_err(|_| malformed)?;
        let place = Place { span_id, content, ..Place::of_trace(rank, trace_id) };
        Ok(Self { generation, as_of_unix_nano, retention_version, place, search })
    }
}
