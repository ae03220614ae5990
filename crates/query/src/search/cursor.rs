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

/// Hexadecimal digits of the version, of four numbers, and of a trace ID.
const DIGITS: usize = 2 + 4 * 16 + 32;

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
        let Self { generation, as_of_unix_nano, rank, trace_id, search } = self;
        write!(f, "{VERSION:02x}{generation:016x}{as_of_unix_nano:016x}{rank:016x}{search:016x}{trace_id}")
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
        let (generation, as_of_unix_nano, rank, search) = (word()?, word()?, word()?, word()?);
        let trace_id = rest.parse().map_err(|_| malformed)?;
        Ok(Self { generation, as_of_unix_nano, rank, trace_id, search })
    }
}
