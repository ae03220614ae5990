//! Whole row groups, through the Parquet crate's reader.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::decode::READING;
use super::merge::SegmentRows;
use super::meta::SegmentMeta;
use super::open::OpenSegment;
use super::pages::GroupPages;
use super::{WHAT, parquet_error, schema};
use crate::FormatError;

/// A segment with all that its footer says: what reading row groups takes, and too much to be kept for lookups.
#[derive(Debug)]
pub struct WholeSegment {
    pub(super) segment: OpenSegment,
    metadata: ParquetMetaData,
}

impl WholeSegment {
    /// From its tail, as [`OpenSegment::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open(meta: &SegmentMeta, tail: Bytes) -> Result<Self, FormatError> {
        let (segment, metadata) = OpenSegment::open_whole(meta, tail)?;
        // Pages are found by the segment's layout, and bounds of values are most of what a footer takes.
        let metadata = metadata.into_builder().set_column_index(None).set_offset_index(None).build();
        Ok(Self { segment, metadata })
    }

    /// The segment.
    pub fn segment(&self) -> &OpenSegment {
        &self.segment
    }
}

/// Columns that say what is known: tenants stand in the directory, services in their resources.
pub(super) fn is_read(column: &str) -> bool {
    ![schema::TENANT, schema::SERVICE_NAME].contains(&column)
}

/// A row group that was fetched whole, for whoever goes through a segment from its first row to its last.
/// An iterator of its rows in order.
pub struct RowGroupReader {
    whole: Arc<WholeSegment>,
    /// None behind the last row, and behind an error.
    reader: Option<ParquetRecordBatchReader>,
}

impl std::fmt::Debug for RowGroupReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowGroupReader").field("segment", &self.whole.segment.meta.id).finish_non_exhaustive()
    }
}

impl RowGroupReader {
    /// The bytes of a row group, in whole checksum blocks, and the rows that it has; none beyond the last.
    pub fn range(whole: &WholeSegment, index: usize) -> Option<(Range<u64>, Range<u64>)> {
        let group = whole.segment.groups.get(index)?;
        Some((whole.segment.checksums.align(group.layout.bytes()?), group.rows.clone()))
    }

    /// From the bytes of [`range`](Self::range).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a checksum differs; that or [`FormatError::Parquet`] if what was verified cannot
    /// be decoded.
    pub fn new(
        whole: Arc<WholeSegment>,
        index: usize,
        fetched: (Range<u64>, Bytes),
        batch_rows: usize,
    ) -> Result<Self, FormatError> {
        let WholeSegment { segment, metadata } = &*whole;
        segment.checksums.verify(fetched.0.start, &fetched.1)?;
        let source = Arc::new(segment.page_source(vec![fetched])?);
        let group = segment.groups.get(index);
        let group = group.ok_or_else(|| FormatError::damaged(WHAT, "it has no such row group"))?;
        let fields = segment.schema.fields();
        let columns = fields.iter().enumerate();
        let columns = columns.filter(|(_, field)| is_read(field.name())).map(|(column, _)| column);
        let columns = ProjectionMask::roots(&segment.descriptor, columns);
        let pages = GroupPages { source, layout: &group.layout, metadata, group: index };
        let reader = caught(|| {
            let levels = parquet_to_arrow_field_levels(&segment.descriptor, columns, Some(fields))?;
            ParquetRecordBatchReader::try_new_with_row_groups(&levels, &pages, batch_rows, None)
        })?;
        Ok(Self { whole, reader: Some(reader) })
    }
}

impl Iterator for RowGroupReader {
    type Item = Result<SegmentRows, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.reader.take()?;
        let rows = match caught(|| Ok((reader.next().transpose()?, reader))) {
            Ok((rows, reader)) => {
                self.reader = rows.is_some().then_some(reader);
                rows?
            }
            Err(error) => return Some(Err(error)),
        };
        Some(SegmentRows::new(Arc::clone(&self.whole), rows))
    }
}

/// The Parquet crate's reader trusts some of what it reads: where a file was wrong before its checksums were made
/// it may panic. Whoever merges many segments would not know which of them it was.
fn caught<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, FormatError> {
    // The reader is gone after a panic, and what it read from does not change.
    catch_unwind(AssertUnwindSafe(read)).map_or_else(
        |panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let detail =
                format!("a page of it cannot be decoded ({})", text.unwrap_or("for no reason given"));
            Err(FormatError::damaged(WHAT, detail))
        },
        |read| read.map_err(parquet_error(READING)),
    )
}
