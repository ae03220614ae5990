//! Which bytes hold rows, and from those bytes the rows.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use tracelake_model::SpanBatch;

use super::directory::TraceEntry;
use super::open::{OpenSegment, RowGroup, UniformRows, page_rows};
use super::unpack::{self, Unpacker};
use super::{WHAT, parquet_error, schema};
use crate::FormatError;

/// Ranges with less than this between them are read as one: on an object store a request costs more than
/// the bytes, and a lookup's pages lie within one row group of about a megabyte.
const GAP_BYTES_MAX: u64 = 64 << 10;

/// Rows decoded at once; bounds what a large range holds beside its spans.
const BATCH_ROWS: usize = 4_096;

const READING: &str = "reading a segment's rows";

/// Columns that spans are not made of: known otherwise, or derived.
const NOT_READ: [&str; 3] = [schema::TENANT, schema::GENERATION, schema::SERVICE_NAME];

impl OpenSegment {
    /// The ranges of the file that hold these rows: pages and dictionaries of all columns, in whole
    /// checksum blocks, in order, without overlap. Rows beyond the last are ignored.
    pub fn ranges_for_rows(&self, rows: Range<u64>) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        for (index, group, part) in self.parts(&rows) {
            for column in self.columns_to_read(group, &part) {
                for leaf in self.leaves.get(column).cloned().unwrap_or_default() {
                    self.leaf_ranges(index, leaf, &part, &mut ranges);
                }
            }
        }
        for range in &mut ranges {
            *range = self.checksums.align(range.clone());
        }
        ranges.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end.saturating_add(GAP_BYTES_MAX) => {
                    last.end = last.end.max(range.end);
                }
                _ => merged.push(range),
            }
        }
        merged
    }

    /// Row groups that overlap `rows`, with the overlap counted within the group.
    fn parts<'s>(&'s self, rows: &Range<u64>) -> impl Iterator<Item = (usize, &'s RowGroup, Range<u64>)> {
        let rows = rows.clone();
        self.groups.iter().enumerate().filter_map(move |(index, group)| {
            let start = rows.start.max(group.rows.start);
            let end = rows.end.min(group.rows.end);
            (start < end).then(|| (index, group, start - group.rows.start..end - group.rows.start))
        })
    }

    /// The columns that have to be read for a part of a row group.
    fn columns_to_read(&self, group: &RowGroup, part: &Range<u64>) -> Vec<usize> {
        let fields = self.parquet.schema().fields().iter().enumerate();
        fields
            .filter(|(column, field)| {
                !NOT_READ.contains(&field.name().as_str()) && uniform_value(group, *column, part).is_none()
            })
            .map(|(column, _)| column)
            .collect()
    }

    /// Numbers of columns that need not be read for a part of a row group.
    fn constants<'s>(&'s self, group: &RowGroup, part: &Range<u64>) -> Vec<(&'s str, i32)> {
        let fields = self.parquet.schema().fields().iter().enumerate();
        fields
            .filter_map(|(column, field)| {
                uniform_value(group, column, part).flatten().map(|value| (field.name().as_str(), value))
            })
            .collect()
    }

    fn leaf_ranges(&self, group: usize, leaf: usize, part: &Range<u64>, ranges: &mut Vec<Range<u64>>) {
        let metadata = self.parquet.metadata();
        let offsets = metadata.offset_index().and_then(|indexes| indexes.get(group)?.get(leaf));
        let Some(offsets) = offsets else { return };
        let group = metadata.row_group(group);
        let group_rows = group.num_rows() as u64;
        let pages = offsets.page_locations();
        let chunk = group.column(leaf);
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset()) as u64;
        if let Some(first) = pages.first()
            && first.offset as u64 > start
        {
            ranges.push(start..first.offset as u64);
        }
        for (index, page) in pages.iter().enumerate() {
            let rows = page_rows(offsets, index, group_rows);
            if rows.start < part.end && part.start < rows.end {
                let start = page.offset as u64;
                ranges.push(start..start + page.compressed_page_size as u64);
            }
        }
    }

    /// The spans of these rows, in order, from the bytes of [`ranges_for_rows`](Self::ranges_for_rows).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a checksum differs or bytes are missing; [`FormatError::Parquet`] if
    /// what was verified cannot be decoded.
    pub fn decode_rows(
        &self,
        rows: Range<u64>,
        fetched: Vec<(Range<u64>, Bytes)>,
    ) -> Result<SpanBatch, FormatError> {
        let wanted = rows.end.min(self.meta.rows).saturating_sub(rows.start);
        let file = self.verified(fetched)?;
        let mut unpacker = Unpacker::new(&self.attribute_columns);
        for (index, group, part) in self.parts(&rows) {
            self.decode_part(index, group, part, &file, &mut unpacker)?;
        }
        let batch = unpacker.finish();
        if batch.len() as u64 != wanted {
            let detail = format!("{} rows were decoded instead of {wanted}", batch.len());
            return Err(FormatError::damaged(WHAT, detail));
        }
        Ok(batch)
    }

    /// The spans of a trace that [`find_trace`](Self::find_trace) found. Never another trace's.
    ///
    /// # Errors
    /// As [`decode_rows`](Self::decode_rows).
    pub fn decode_trace(
        &self,
        entry: &TraceEntry,
        fetched: Vec<(Range<u64>, Bytes)>,
    ) -> Result<SpanBatch, FormatError> {
        let batch = self.decode_rows(entry.row_range(), fetched)?;
        let others = batch.trace_ids().iter().any(|trace_id| *trace_id != entry.trace_id);
        if others || batch.len() as u64 != entry.rows {
            return Err(FormatError::damaged(WHAT, "its directory and rows contradict each other"));
        }
        Ok(batch)
    }

    fn verified(&self, mut fetched: Vec<(Range<u64>, Bytes)>) -> Result<SparseFile, FormatError> {
        for (range, bytes) in &fetched {
            if range.end.checked_sub(range.start) != Some(bytes.len() as u64) {
                return Err(FormatError::damaged(
                    WHAT,
                    format!("the read of {range:?} gave {} bytes", bytes.len()),
                ));
            }
            self.checksums.verify(range.start, bytes)?;
        }
        fetched.sort_unstable_by_key(|(range, _)| range.start);
        let parts = fetched.into_iter().map(|(range, bytes)| (range.start, bytes)).collect();
        Ok(SparseFile { size_bytes: self.meta.size_bytes, parts })
    }

    fn decode_part(
        &self,
        index: usize,
        group: &RowGroup,
        part: Range<u64>,
        file: &SparseFile,
        unpacker: &mut Unpacker<'_>,
    ) -> Result<(), FormatError> {
        let rows = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let select = rows(part.end - part.start);
        let columns = self.columns_to_read(group, &part);
        let selection =
            RowSelection::from(vec![RowSelector::skip(rows(part.start)), RowSelector::select(select)]);
        let constants = self.constants(group, &part);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), self.parquet.clone())
            .with_row_groups(vec![index])
            .with_projection(ProjectionMask::roots(self.parquet.parquet_schema(), columns))
            .with_row_selection(selection)
            .with_batch_size(select.min(BATCH_ROWS))
            .build()
            .map_err(parquet_error(READING))?;
        for batch in reader {
            let batch = batch.map_err(|source| parquet_error(READING)(source.into()))?;
            unpacker.push(&batch, &constants)?;
        }
        Ok(())
    }
}

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
        let file = segment.verified(vec![fetched])?;
        let columns = segment.parquet.schema().fields().iter().enumerate();
        let columns = columns
            .filter(|(_, field)| ![schema::TENANT, schema::SERVICE_NAME].contains(&field.name().as_str()))
            .map(|(column, _)| column);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, segment.parquet.clone())
            .with_row_groups(vec![index])
            .with_projection(ProjectionMask::roots(segment.parquet.parquet_schema(), columns))
            .with_batch_size(batch_rows)
            .build()
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
            let mut unpacker = Unpacker::new(&self.segment.attribute_columns);
            unpacker.push(&rows, &[])?;
            Ok((unpacker.finish(), generations))
        }))
    }
}

/// What a column has in all of these rows, if its pages need not be read: `Some(None)` for null.
fn uniform_value(group: &RowGroup, column: usize, part: &Range<u64>) -> Option<Option<i32>> {
    let uniform = group.uniform.get(column)?;
    let within = |uniform: &&UniformRows| uniform.rows.start <= part.start && part.end <= uniform.rows.end;
    uniform.iter().find(within).map(|uniform| uniform.value)
}

/// The parts of a file that were fetched; others are an error, not zeros.
#[derive(Debug, Clone)]
struct SparseFile {
    size_bytes: u64,
    parts: Vec<(u64, Bytes)>,
}

impl SparseFile {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let after = self.parts.partition_point(|(offset, _)| *offset <= start);
        let part = after.checked_sub(1).and_then(|index| self.parts.get(index));
        let within = part.and_then(|(offset, bytes)| {
            let from = usize::try_from(start - offset).ok()?;
            (from < bytes.len()).then(|| bytes.slice(from..))
        });
        within.ok_or_else(|| ParquetError::EOF(format!("byte {start} was not fetched")))
    }
}

impl Length for SparseFile {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

impl ChunkReader for SparseFile {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!(
                "bytes {start} to {} were not fetched",
                start + length as u64
            )));
        }
        Ok(bytes.slice(..length))
    }
}
