//! In which columns of its file a trace has anything: what a lookup need not read. A trace of a few services has
//! something in a third of the columns that all services together have.

use std::ops::Range;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::BooleanBuffer;

/// Columns that a set can tell apart, far more than a segment has. Others are taken to be in each.
const COLUMNS_MAX: usize = 128;

/// Columns of a file by their place. One that is not in it has nothing but nulls and empty lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnSet(u128);

impl ColumnSet {
    /// Of which nothing is known.
    pub const ALL: Self = Self(u128::MAX);

    pub(super) const NONE: Self = Self(0);

    /// Whether it names this column, which is one that it can tell apart.
    pub(super) fn has(self, column: usize) -> bool {
        column < COLUMNS_MAX && self.contains(column)
    }

    /// Whether there may be something in this column.
    pub fn contains(self, column: usize) -> bool {
        column >= COLUMNS_MAX || self.0 >> column & 1 == 1
    }

    /// The columns of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn insert(&mut self, column: usize) {
        if column < COLUMNS_MAX {
            self.0 |= 1 << column;
        }
    }

    pub(super) fn to_le_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    pub(super) fn from_le_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

/// Adds the columns in which rows of these arrays, which are a file's columns, have anything: of each range of
/// rows to the set beside it.
pub(super) fn add_columns(sets: &mut [(Range<usize>, ColumnSet)], arrays: &[ArrayRef]) {
    for (column, array) in arrays.iter().enumerate() {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        if nulls.is_some_and(|nulls| nulls.null_count() == nulls.len()) {
            continue;
        }
        for (rows, set) in &mut *sets {
            if nulls.is_none_or(|nulls| any(nulls.inner(), rows)) {
                set.insert(column);
            }
        }
    }
}

/// Whether any of these bits is set. They are some thirty, and there are thousands of such ranges: a slice of the
/// buffer, which counts, takes several times as long.
fn any(bits: &BooleanBuffer, range: &Range<usize>) -> bool {
    let (start, end) = (bits.offset() + range.start, bits.offset() + range.end);
    let bytes = bits.values().get(start / 8..end.div_ceil(8)).unwrap_or_default();
    let Some((first, rest)) = bytes.split_first() else { return false };
    let first = first & (0xff << (start % 8));
    let behind = if end % 8 == 0 { 0xff } else { !(0xff << (end % 8)) };
    match rest.split_last() {
        None => first & behind != 0,
        Some((last, between)) => first != 0 || last & behind != 0 || between.iter().any(|byte| *byte != 0),
    }
}

#[cfg(test)]
mod tests;
