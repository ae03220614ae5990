//! The parts of a file's attribute index, one after the other.

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;

use crate::FormatError;
use crate::segment::index::{PartBuilder, PartIndex, ValueFilters};

/// Collects the index of what is written.
#[derive(Debug)]
pub(super) struct Indexer {
    schema: SchemaRef,
    part_rows: usize,
    /// The part that rows are added to, and the tenant that it is of.
    part: Option<(u32, PartBuilder)>,
    /// The first row of that part, or of the next.
    first_row: u64,
    ended: PartIndex,
    /// Of the parts that ended, as they are stored.
    value_filters: Vec<u8>,
}

impl Indexer {
    pub(super) fn new(schema: &SchemaRef, part_rows: usize) -> Self {
        Self {
            schema: SchemaRef::clone(schema),
            part_rows,
            part: None,
            first_row: 0,
            ended: PartIndex::default(),
            value_filters: Vec::new(),
        }
    }

    /// Adds rows of a tenant, which is the part's.
    pub(super) fn push(&mut self, tenant: u32, arrays: &[ArrayRef]) -> Result<(), FormatError> {
        let new = || (tenant, PartBuilder::new(&self.schema));
        let (_, part) = self.part.get_or_insert_with(new);
        part.push(arrays)
    }

    /// Whether the part has rows of a tenant that is not this one.
    pub(super) fn is_of_another(&self, tenant: u32) -> bool {
        self.part.as_ref().is_some_and(|(of_part, _)| *of_part != tenant)
    }

    /// Whether the part holds so much that it should end with what is written now.
    pub(super) fn is_large(&self) -> bool {
        self.part.as_ref().is_some_and(|(_, part)| part.is_large())
    }

    /// Whether the part ends with the row group that ended.
    pub(super) fn is_full(&self) -> bool {
        self.is_large() || self.part.as_ref().is_some_and(|(_, part)| part.rows() >= self.part_rows)
    }

    /// The bytes of the part as they lie at `offset` of the file; none if it has no rows.
    pub(super) fn end_part(&mut self, offset: u64) -> Result<Option<Vec<u8>>, FormatError> {
        let Some((tenant, part)) = self.part.take() else { return Ok(None) };
        let built = part.finish(tenant, self.first_row, offset)?;
        self.first_row = built.part.row_range().end;
        self.ended.parts.push(built.part);
        ValueFilters::push(&mut self.value_filters, tenant, &built.value_filter);
        Ok(Some(built.bytes))
    }

    /// The index of the parts, and their filters.
    pub(super) fn finish(self) -> (Vec<u8>, Vec<u8>) {
        (self.ended.to_bytes(), self.value_filters)
    }
}
