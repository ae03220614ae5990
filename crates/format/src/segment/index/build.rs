//! Collects the index of a part while its rows are written, column by column: neighbouring rows repeat, and a column's
//! values come from few places in memory.

mod columns;
mod fields;
mod finish;
mod operations;
mod owners;
mod resources;
mod terms;

pub(in crate::segment) use self::finish::BuiltPart;

use arrow_array::ArrayRef;
use arrow_schema::Schema;
use tracelake_model::limits;

use self::columns::Source;
use self::fields::Fields;
use self::operations::OperationTable;
use self::owners::Owners;
use self::resources::SpansOfResources;
use self::terms::TermTable;
use super::trace_table::TraceRows;
use crate::FormatError;

/// What a builder holds before its part ends. It takes half as much again while it is written.
const BYTES_MAX: usize = limits::INDEX_PART_BYTES_MAX as usize;

/// Resources, and scopes, of a part: each has a set of traces, and is parsed.
const OWNERS_MAX: usize = 16_384;

/// The index of the part that rows are added to.
#[derive(Debug)]
pub(in crate::segment) struct PartBuilder {
    /// By column.
    sources: Vec<Source>,
    rows: usize,
    traces: Vec<TraceRows>,
    newest: Option<[u8; 16]>,
    fields: Fields,
    terms: TermTable,
    resources: Owners,
    scopes: Owners,
    spans: SpansOfResources,
    operations: OperationTable,
    /// Of each of the rows that are being added.
    resource_of: Vec<u32>,
    /// The same: the term that is its name, if its operation is listed.
    name_of: Vec<Option<u32>>,
}

impl PartBuilder {
    /// Of rows in these columns.
    pub(in crate::segment) fn new(schema: &Schema) -> Self {
        let mut fields = Fields::new();
        Self {
            sources: columns::sources(schema, &mut fields),
            rows: 0,
            traces: Vec::new(),
            newest: None,
            fields,
            terms: TermTable::new(),
            resources: Owners::default(),
            scopes: Owners::default(),
            spans: SpansOfResources::default(),
            operations: OperationTable::default(),
            resource_of: Vec::new(),
            name_of: Vec::new(),
        }
    }

    /// Adds rows, which come after all before.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a value is none of its type.
    pub(in crate::segment) fn push(&mut self, arrays: &[ArrayRef]) -> Result<(), FormatError> {
        let ordinals = self.begin_rows(arrays)?;
        self.resource_of.clear();
        self.name_of.clear();
        for (array, source) in arrays.iter().zip(self.sources.clone()) {
            self.push_column(array, source, &ordinals)?;
        }
        self.push_spans(arrays, &ordinals)?;
        self.rows += ordinals.len();
        Ok(())
    }

    pub(in crate::segment) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether its part should end as soon as it can, however few rows it has.
    pub(in crate::segment) fn is_large(&self) -> bool {
        self.bytes() >= BYTES_MAX || self.resources.len() >= OWNERS_MAX || self.scopes.len() >= OWNERS_MAX
    }

    fn bytes(&self) -> usize {
        let owners = self.resources.bytes() + self.scopes.bytes() + self.spans.bytes();
        let traces = self.traces.len() * size_of::<TraceRows>();
        traces + self.fields.bytes() + self.terms.bytes() + owners + self.operations.bytes()
    }
}
