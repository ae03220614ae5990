//! Whole row groups, through the Parquet crate's reader.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::file::metadata::ColumnChunkMetaData;
use tracelake_model::SpanBatch;

use super::decode::READING;
use super::open::OpenSegment;
use super::pages::GroupPages;
use super::unpack::{self, Unpacker};
use super::{parquet_error, schema};
use crate::FormatError;

/// A row group that was fetched whole, for whoever goes through a segment from its first row to its last.
/// An iterator of batches in order, with the generations of their rows.
pub struct RowGroupReader {
    segment: Arc<OpenSegment>,
    reader: ParquetRecordBatchReader,
}

impl std::fmt::Debug for RowGroupReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowGroupReader").field("segment", &self.segment.meta.id).finish_non_exhaustive()
    }
}

impl RowGroupReader {
    /// The bytes of a row group, in whole checksum blocks, and the rows that it has; none beyond the last.
    pub fn range(segment: &OpenSegment, index: usize) -> Option<(Range<u64>, Range<u64>)> {
        let group = segment.groups.get(index)?;
        let columns = segment.parquet.metadata().row_group(index).columns();
        let start = |column: &ColumnChunkMetaData| {
            column.dictionary_page_offset().unwrap_or(column.data_page_offset()) as u64
        };
        let from = columns.iter().map(start).min()?;
        let to = columns.iter().map(|column| start(column) + column.compressed_size() as u64).max()?;
        Some((segment.checksums.align(from..to), group.rows.clone()))
    }

    /// From the bytes of [`range`](Self::range).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a checksum differs; [`FormatError::Parquet`] if what was verified cannot
    /// be decoded.
    pub fn new(
        segment: Arc<OpenSegment>,
        index: usize,
        fetched: (Range<u64>, Bytes),
        batch_rows: usize,
    ) -> Result<Self, FormatError> {
        segment.checksums.verify(fetched.0.start, &fetched.1)?;
        let source = Arc::new(segment.page_source(vec![fetched])?);
        let columns = segment.parquet.schema().fields().iter().enumerate();
        let columns: Vec<usize> = columns
            .filter(|(_, field)| ![schema::TENANT, schema::SERVICE_NAME].contains(&field.name().as_str()))
            .map(|(column, _)| column)
            .collect();
        let schema = segment.parquet.parquet_schema();
        let columns = ProjectionMask::roots(schema, columns);
        let pages = GroupPages { source: Arc::clone(&source), group: index };
        let reader = parquet_to_arrow_field_levels(schema, columns, Some(segment.parquet.schema().fields()))
            .and_then(|levels| {
                ParquetRecordBatchReader::try_new_with_row_groups(&levels, &pages, batch_rows, None)
            })
            .map_err(parquet_error(READING))?;
        Ok(Self { segment, reader })
    }
}

impl Iterator for RowGroupReader {
    type Item = Result<(SpanBatch, Vec<u64>), FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.reader.next()?.map_err(|source| parquet_error(READING)(source.into()));
        Some(rows.and_then(|rows| {
            let generations = unpack::generations(&rows)?;
            let mut unpacker = Unpacker::new(&self.segment.attribute_columns, None);
            unpacker.push(&rows, &[])?;
            Ok((unpacker.finish(), generations))
        }))
    }
}
