//! What a file's columns are like, by which `schema` chooses how each is written. From a sample.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use tracelake_model::{SpanView, ValueRef};

use super::columns::{AttributeColumn, AttributeCounts};
use super::rows::{BatchTables, NO_SLOT};

/// An attribute column.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnShape {
    /// Whether a dictionary saves bytes.
    pub(super) repeats: bool,
    /// Few rows have one.
    pub(super) is_sparse: bool,
}

/// The columns of a file that differ from file to file.
#[derive(Debug, Clone)]
pub(super) struct Shapes {
    /// Whether a dictionary saves bytes.
    pub(super) name: bool,
    pub(super) status_message: bool,
    pub(super) trace_state: bool,
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
            repeats: sample.repeats(),
            is_sparse: counts.get(column).saturating_mul(SPARSE_ROWS_PER_VALUE) < counts.rows(),
        };
        Self {
            name: name.repeats(),
            status_message: status_message.repeats(),
            trace_state: trace_state.repeats(),
            attributes: attributes.iter().zip(columns).map(shape).collect(),
        }
    }
}

/// The distinct values of a column.
#[derive(Default, Clone)]
struct Sample<'a> {
    values: usize,
    texts: HashSet<&'a str, RandomState>,
    ints: HashSet<i64, RandomState>,
}

impl<'a> Sample<'a> {
    fn add_text(&mut self, text: &'a str) {
        self.values += 1;
        self.texts.insert(text);
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

    /// Fewer than half of the values are distinct, or so few that it does not matter. A row group has more rows
    /// than the sample, and repeats more.
    fn repeats(&self) -> bool {
        let distinct = self.texts.len() + self.ints.len();
        distinct < 16 || distinct * 2 < self.values
    }
}
