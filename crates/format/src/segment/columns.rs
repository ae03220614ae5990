//! Which span attributes may have a Parquet column of their own, and which have one in a segment. The set of those that
//! may belongs to a store and is kept in its manifest; it only grows, so that a column means the same in every segment.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tracelake_model::{SpanBatch, ValueRef, limits};

/// The longest key that gets a column: it stands in every footer.
pub const KEY_BYTES_MAX: usize = 256;

/// A key gets a column when it is on more than one row in this many: 2 %, where a column's cost for a
/// lookup (one page to decode) begins to be less than that of the residual's text.
const ROWS_PER_VALUE_MAX: u64 = 50;

/// The types that a column can have; other values stay in the residual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeType {
    /// UTF-8 text.
    String,
    /// 64-bit integers.
    Int,
    /// 64-bit floats.
    Double,
    /// Truth values.
    Bool,
}

impl AttributeType {
    /// The type of a column that can hold this value.
    #[inline]
    pub fn of(value: &ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Text(_) => Some(Self::String),
            ValueRef::Int(_) => Some(Self::Int),
            ValueRef::Double(_) => Some(Self::Double),
            ValueRef::Bool(_) => Some(Self::Bool),
            ValueRef::Empty | ValueRef::Bytes(_) | ValueRef::Nested(_) => None,
        }
    }
}

/// An attribute with a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeColumn {
    /// The attribute's key.
    pub key: String,
    /// The one type that goes into the column.
    #[serde(rename = "type")]
    pub kind: AttributeType,
}

/// The attributes that may have a column, each key once, in the order in which they were added.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttributeColumns {
    /// At most [`limits::ATTRIBUTE_KEYS_MAX`].
    pub columns: Vec<AttributeColumn>,
}

impl AttributeColumns {
    /// Adds the attributes that are frequent enough, the most frequent first, up to the limit. Returns
    /// whether any was added.
    pub fn extend_from(&mut self, counts: &AttributeCounts) -> bool {
        let mut best: BTreeMap<&str, (u64, AttributeType)> = BTreeMap::new();
        for ((key, kind), count) in &counts.values {
            let entry = best.entry(key).or_insert((0, *kind));
            if *count > entry.0 {
                *entry = (*count, *kind);
            }
        }
        for column in &self.columns {
            best.remove(column.key.as_str());
        }
        let mut frequent: Vec<_> = best
            .into_iter()
            .filter(|(key, (count, _))| {
                count.saturating_mul(ROWS_PER_VALUE_MAX) > counts.rows && key.len() <= KEY_BYTES_MAX
            })
            .collect();
        frequent.sort_by_key(|(key, (count, _))| (Reverse(*count), *key));
        let room = (limits::ATTRIBUTE_KEYS_MAX as usize).saturating_sub(self.columns.len());
        frequent.truncate(room);
        let added = !frequent.is_empty();
        self.columns.extend(
            frequent.into_iter().map(|(key, (_, kind))| AttributeColumn { key: key.to_owned(), kind }),
        );
        added
    }

    /// Those that have a column in a segment of which these are the counts, or a sample's: all that occur or are
    /// `expected` to, and if these are more than [`limits::ATTRIBUTE_COLUMNS_MAX`], the most frequent. What is expected
    /// counts a quarter more, so that what is about as frequent as others does not move with each merge.
    pub fn of_segment(&self, counts: &AttributeCounts, expected: &BTreeSet<String>) -> Vec<AttributeColumn> {
        let mut chosen: Vec<(u64, usize, &AttributeColumn)> = Vec::new();
        for (place, column) in self.columns.iter().enumerate() {
            let (count, is_expected) = (counts.get(column), expected.contains(&column.key));
            if count > 0 || is_expected {
                chosen.push((if is_expected { count + count / 4 } else { count }, place, column));
            }
        }
        chosen.sort_by_key(|(count, place, _)| (Reverse(*count), *place));
        chosen.truncate(limits::ATTRIBUTE_COLUMNS_MAX as usize);
        // In the set's order, so that segments are alike.
        chosen.sort_by_key(|(_, place, _)| *place);
        chosen.into_iter().map(|(.., column)| column.clone()).collect()
    }
}

/// How many values of each key and type there are on spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttributeCounts {
    rows: u64,
    values: BTreeMap<(String, AttributeType), u64>,
}

impl AttributeCounts {
    /// Counts in these batches.
    pub fn of<'a>(batches: impl IntoIterator<Item = &'a SpanBatch>) -> Self {
        let mut counts = Self::default();
        let mut by_term: Vec<[u32; 4]> = Vec::new();
        for batch in batches {
            counts.rows += batch.len() as u64;
            by_term.clear();
            by_term.resize(batch.terms().len(), [0; 4]);
            for span in batch.spans() {
                for (key, value) in span.attributes().terms() {
                    let Some(kind) = AttributeType::of(&value) else { continue };
                    if let Some(count) = by_term.get_mut(key.index()) {
                        count[kind as usize] += 1;
                    }
                }
            }
            let kinds =
                [AttributeType::String, AttributeType::Int, AttributeType::Double, AttributeType::Bool];
            for ((_, key), by_kind) in batch.terms().iter().zip(&by_term) {
                for (kind, count) in kinds.iter().zip(by_kind) {
                    if *count > 0 {
                        *counts.values.entry((key.to_owned(), *kind)).or_default() += u64::from(*count);
                    }
                }
            }
        }
        counts
    }

    /// How many rows were counted.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many values of this key and type.
    pub fn get(&self, column: &AttributeColumn) -> u64 {
        self.values.get(&(column.key.clone(), column.kind)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
