//! Slices of a merge: runs of neighbouring rows, copied column by column.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, make_array, new_null_array};
use arrow_data::transform::MutableArrayData;
use arrow_schema::{Field, SchemaRef};

use super::rows::{PlannedRows, SharedTables};
use crate::FormatError;
use crate::segment::rows::Shared;
use crate::segment::schema;
use crate::segment::slice::{
    ReferenceColumns, References, RowFacts, SLICE_TEXT_BYTES_MAX, Slice, columns_error,
};
use crate::segment::unpack::wrong_type;

/// Neighbouring rows of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRun {
    source: u32,
    first_row: u32,
    rows: u32,
}

impl RowRun {
    /// One row of a source.
    pub fn of_row(source: u32, row: u32) -> Self {
        Self { source, first_row: row, rows: 1 }
    }

    /// Adds a row behind the last. Whether it is.
    #[inline]
    pub fn extend(&mut self, source: u32, row: u32) -> bool {
        let is_next = self.source == source && self.first_row + self.rows == row;
        self.rows += u32::from(is_next);
        is_next
    }

    #[inline]
    pub(in crate::segment) fn source(&self) -> usize {
        self.source as usize
    }

    #[inline]
    pub(in crate::segment) fn rows(&self) -> Range<usize> {
        self.first_row as usize..self.first_row as usize + self.rows as usize
    }
}

/// Rows that runs refer to.
#[derive(Debug)]
pub struct RunSource<'a> {
    /// In the columns of the writer's plan.
    pub rows: &'a PlannedRows,
    /// From [`SegmentWriter::tables`](crate::segment::SegmentWriter::tables) of the writer that gets the rows.
    pub tables: SharedTables,
}

impl RunSource<'_> {
    #[inline]
    pub(in crate::segment) fn facts(&self, tenant: u32, row: usize) -> Result<RowFacts, FormatError> {
        self.rows.facts(tenant, row, &self.tables)
    }
}

/// A slice of runs.
#[derive(Debug)]
pub(in crate::segment) struct Runs<'a> {
    schema: SchemaRef,
    sources: &'a [RunSource<'a>],
    runs: Vec<RowRun>,
    references: References,
    /// Of the rows, as far as their sources' say.
    bytes: usize,
}

impl<'a> Runs<'a> {
    pub(in crate::segment) fn new(schema: &SchemaRef, sources: &'a [RunSource<'a>]) -> Self {
        Self {
            schema: Arc::clone(schema),
            sources,
            runs: Vec::new(),
            references: References::default(),
            bytes: 0,
        }
    }

    #[inline]
    pub(in crate::segment) fn push(&mut self, facts: &RowFacts, source: usize, row: usize) {
        self.references.push(facts);
        self.bytes += self.sources.get(source).map_or(0, |source| source.rows.row_bytes());
        let (source, row) = (source as u32, row as u32);
        if !self.runs.last_mut().is_some_and(|run| run.extend(source, row)) {
            self.runs.push(RowRun::of_row(source, row));
        }
    }

    /// The rows of all runs in one column.
    fn copied(&self, column: usize, field: &Field, rows: usize) -> Result<ArrayRef, FormatError> {
        let mut arrays = Vec::with_capacity(self.sources.len());
        let places = self.sources.iter().map(|source| {
            arrays.push(source.rows.column(column)?);
            Some(arrays.len() - 1)
        });
        let places: Vec<Option<usize>> = places.collect();
        let has_absent = arrays.len() < self.sources.len();
        if has_absent && !field.is_nullable() {
            return Err(wrong_type());
        }
        if arrays.is_empty() {
            return Ok(new_null_array(field.data_type(), rows));
        }
        let mut copy = MutableArrayData::new(arrays, has_absent, rows);
        for run in &self.runs {
            let Range { start, end } = run.rows();
            match places.get(run.source()).copied().flatten() {
                Some(place) => copy.try_extend(place, start, end),
                None => copy.try_extend_nulls(end - start),
            }
            .map_err(columns_error)?;
        }
        Ok(make_array(copy.freeze()))
    }
}

impl Slice for Runs<'_> {
    fn rows(&self) -> usize {
        self.references.rows()
    }

    fn is_full(&self, rows_max: usize) -> bool {
        self.rows() >= rows_max || self.bytes > SLICE_TEXT_BYTES_MAX
    }

    fn finish(&mut self, tenants: &[&str], shared: &Shared) -> Result<Vec<ArrayRef>, FormatError> {
        let rows = self.rows();
        let ReferenceColumns { tenant, resource, service, scope } =
            self.references.finish(tenants, shared)?;
        let fields = self.schema.fields().iter().enumerate();
        let columns = fields.map(|(column, field)| match field.name().as_str() {
            schema::TENANT => Ok(Arc::clone(&tenant)),
            schema::SERVICE_NAME => Ok(Arc::clone(&service)),
            schema::RESOURCE => Ok(Arc::clone(&resource)),
            schema::SCOPE => Ok(Arc::clone(&scope)),
            _ => self.copied(column, field, rows),
        });
        let columns = columns.collect();
        self.runs.clear();
        self.bytes = 0;
        columns
    }
}
