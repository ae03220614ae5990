//! In which order traces are answered, or spans.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Which traces come first, or spans by their own start and duration; of two at the same place the one with the lower
/// ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Those that started last.
    #[default]
    Newest,
    /// Those that started first.
    Oldest,
    /// Those that took longest.
    Longest,
}

/// A place in the order: the higher, the further in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(pub(super) u64);

impl Rank {
    /// Before all others.
    pub(crate) const FIRST: Self = Self(u64::MAX);
}

impl Order {
    /// The place of a trace.
    pub(crate) fn rank(self, start_unix_nano: u64, duration_nano: u64) -> Rank {
        Rank(match self {
            Self::Newest => start_unix_nano,
            Self::Oldest => !start_unix_nano,
            Self::Longest => duration_nano,
        })
    }

    /// The foremost and the hindmost place that a span can have which starts in a range, and is one of those that start
    /// and end from `first` to `last`.
    pub(super) fn span_ranks(self, starts: &Range<u64>, first: u64, last: u64) -> (Rank, Rank) {
        let start_min = first.max(starts.start);
        let start_max = last.min(starts.end.saturating_sub(1));
        match self {
            Self::Newest => (Rank(start_max), Rank(start_min)),
            Self::Oldest => (Rank(!start_min), Rank(!start_max)),
            Self::Longest => (Rank(last.saturating_sub(first)), Rank(0)),
        }
    }
}
