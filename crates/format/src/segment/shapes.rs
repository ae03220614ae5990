//! What a file's columns are like, by which `schema` chooses how each is written. From a sample.

use std::collections::HashSet;

use tracelake_model::{SpanView, ValueRef};

use super::columns::{AttributeColumn, AttributeCounts};
use super::rows::{BatchTables, NO_SLOT};
use super::schema::DICTIONARY_BYTES_MAX;

/// How far a dictionary is of use for a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repetition {
    /// Most values are distinct.
    Rare,
    /// A dictionary saves bytes, but is large or might not hold all values.
    Common,
    /// A dictionary holds all values in a few kilobytes.
    Few,
}

/// An attribute column.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnShape {
    pub(super) repetition: Repetition,
    /// Few rows have one.
    pub(super) is_sparse: bool,
}

/// The columns of a file that differ from file to file.
#[derive(Debug, Clone)]
pub(super) struct Shapes {
    pub(super) name: Repetition,
    pub(super) status_message: Repetition,
    pub(super) trace_state: Repetition,
    /// In the order of the attribute columns.
    pub(super) attributes: Vec<ColumnShape>,
}

/// Rows that are looked at. They are neighbours, as those of a row group are.
pub(super) const SAMPLE_ROWS: usize = 8_192;

/// Rows a value, from which a column counts as sparse.
const SPARSE_ROWS_PER_VALUE: u64 = 10;

impl Shapes {
    /// From the first [`SAMPLE_ROWS`] of these rows.
    pub(super) fn of<'r>(
        rows: impl Iterator<Item = (SpanView<'r>, &'r BatchTables)>,
        columns: &[AttributeColumn],
        counts: &AttributeCounts,
    ) -> Self {
        let mut attributes = vec![Sample::default(); columns.len()];
        let [mut name, mut status_message, mut trace_state] = [(); 3].map(|()| Sample::default());
        for (span, tables) in rows.take(SAMPLE_ROWS) {
            name.add_text(span.name());
            status_message.add_text(span.status_message());
            trace_state.add_text(span.trace_state());
            for (key, value) in span.attributes().terms() {
                let slot = usize::from(tables.slots.get(key.index()).copied().unwrap_or(NO_SLOT));
                if let Some(sample) = attributes.get_mut(slot) {
                    sample.add(value);
                }
            }
        }
        let shape = |(sample, column): (&Sample<'_>, &AttributeColumn)| ColumnShape {
            repetition: sample.repetition(),
            is_sparse: counts.get(column).saturating_mul(SPARSE_ROWS_PER_VALUE) < counts.rows(),
        };
        Self {
            name: name.repetition(),
            status_message: status_message.repetition(),
            trace_state: trace_state.repetition(),
            attributes: attributes.iter().zip(columns).map(shape).collect(),
        }
    }
}

/// The distinct values of a column.
#[derive(Default, Clone)]
struct Sample<'a> {
    values: usize,
    texts: HashSet<&'a str>,
    text_bytes: usize,
    ints: HashSet<i64>,
}

impl<'a> Sample<'a> {
    fn add_text(&mut self, text: &'a str) {
        self.values += 1;
        if self.texts.insert(text) {
            self.text_bytes += text.len() + size_of::<u32>();
        }
    }

    fn add(&mut self, value: ValueRef<'a>) {
        match value {
            ValueRef::Text(text) => self.add_text(text),
            ValueRef::Int(value) => {
                self.values += 1;
                self.ints.insert(value);
            }
            _ => {}
        }
    }

    fn repetition(&self) -> Repetition {
        let distinct = self.texts.len() + self.ints.len();
        let bytes = self.text_bytes + size_of::<i64>() * self.ints.len();
        if bytes <= SMALL_BYTES_MAX && (distinct < 16 || self.mostly_repeats(distinct)) {
            Repetition::Few
        } else if self.mostly_repeats(distinct) {
            Repetition::Common
        } else {
            Repetition::Rare
        }
    }

    /// Fewer than 30 % of the values are distinct: above that a dictionary's decoding costs a lookup
    /// more than its bytes are worth.
    fn mostly_repeats(&self, distinct: usize) -> bool {
        distinct * 10 < self.values * 3
    }
}

/// A sample's dictionary that is small. A row group has more rows than the sample and therefore more
/// values: a quarter of the room leaves enough for them.
const SMALL_BYTES_MAX: usize = DICTIONARY_BYTES_MAX / 4;
