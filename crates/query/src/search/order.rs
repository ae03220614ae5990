//! In which order traces are answered.

use serde::{Deserialize, Serialize};

/// Which traces come first; of two at the same place the one with the lower ID.
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
}
