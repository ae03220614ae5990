//! Which bytes hold rows, and from those bytes the rows.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::file::metadata::ColumnChunkMetaData;
use tracelake_model::SpanBatch;

use super::column::{LeafPages, read_column};
use super::directory::TraceEntry;
use super::open::{OpenSegment, RowGroup, UniformRows};
use super::page::PageDecoder;
use super::pages::{CachedPage, FetchedParts, GroupPages, PagePlace, PageSource, ReadCache, page_places};
use super::unpack::{self, Unpacker};
use super::{WHAT, parquet_error, schema};
use crate::FormatError;

/// Ranges with less than this between them are read as one: on an object store a request costs more than
/// the bytes, and a lookup's pages lie within one row group of about 1.4 MB.
const GAP_BYTES_MAX: u64 = 64 << 10;

/// Rows with fewer than this between them are read as one run: decoding a few more is cheaper than beginning anew.
const GAP_ROWS_MAX: u64 = 256;

/// Rows decoded at once; bounds what a large range holds beside its spans. Pages have a power of two of rows, as
/// a rule, so that few lie in two slabs.
const SLAB_ROWS: u64 = 4_096;

/// Text of one leaf of a slab: one that is above it is decoded in parts.
const SLAB_TEXT_BYTES_MAX: usize = 32 << 20;

const READING: &str = "reading a segment's rows";

/// Columns that spans are not made of: known otherwise, or derived.
const NOT_READ: [&str; 3] = [schema::TENANT, schema::GENERATION, schema::SERVICE_NAME];

/// How rows will be read: from which bytes, and with which pages of a cache.
#[derive(Debug)]
pub struct RowsPlan {
    runs: Vec<Range<u64>>,
    ranges: Vec<Range<u64>>,
    parts: Vec<PlannedPart>,
    cache: Option<Arc<dyn ReadCache>>,
    pages: usize,
    pages_cached: usize,
}

impl RowsPlan {
    /// The rows that will be read, in order: those asked for, and a few between them.
    pub fn runs(&self) -> &[Range<u64>] {
        &self.runs
    }

    /// The ranges of the file to fetch: pages and dictionaries of all columns, in whole checksum blocks, in
    /// order, without overlap.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// How many pages it reads, and how many of them were in the cache.
    pub fn pages(&self) -> (usize, usize) {
        (self.pages, self.pages_cached)
    }
}

/// What is read of a row group.
#[derive(Debug)]
struct PlannedPart {
    group: usize,
    /// Counted within the group, in order.
    runs: Vec<Range<u64>>,
    /// By column, then by leaf.
    columns: Vec<(usize, Vec<PlannedLeaf>)>,
}

/// The pages of a leaf that are read, in order, the dictionary first.
#[derive(Debug)]
struct PlannedLeaf {
    leaf: usize,
    pages: Vec<PlannedPage>,
}

#[derive(Debug)]
struct PlannedPage {
    place: PagePlace,
    /// None: it is among what is fetched.
    page: Option<CachedPage>,
}

/// The rows of a run, or of several, in one row group.
struct Part<'s> {
    index: usize,
    group: &'s RowGroup,
    /// Counted within the group, in order.
    runs: Vec<Range<u64>>,
}

impl Part<'_> {
    fn overlaps(&self, rows: &Range<u64>) -> bool {
        let after = self.runs.partition_point(|run| run.end <= rows.start);
        self.runs.get(after).is_some_and(|run| run.start < rows.end)
    }
}

/// From the first row to the last.
fn hull(runs: &[Range<u64>]) -> Range<u64> {
    let end = runs.last().map_or(0, |run| run.end);
    runs.first().map_or(end, |run| run.start)..end
}

impl OpenSegment {
    /// How to read these rows, which are in order. Rows beyond the last are ignored.
    pub fn plan_rows(&self, rows: &[Range<u64>], cache: Option<&Arc<dyn ReadCache>>) -> RowsPlan {
        let mut runs: Vec<Range<u64>> = Vec::with_capacity(rows.len());
        for range in rows {
            let range = range.start..range.end.min(self.meta.rows);
            match runs.last_mut() {
                _ if range.is_empty() => {}
                Some(last) if range.start < last.end.saturating_add(GAP_ROWS_MAX) => {
                    last.end = last.end.max(range.end);
                }
                _ => runs.push(range),
            }
        }
        let metadata = self.parquet.metadata();
        let (mut parts, mut ranges, mut pages, mut pages_cached) = (Vec::new(), Vec::new(), 0, 0);
        for part in self.parts(&runs) {
            let mut columns = Vec::new();
            for column in self.columns_to_read(&part) {
                let mut planned = Vec::new();
                for leaf in self.leaves.get(column).cloned().into_iter().flatten() {
                    let places = page_places(metadata, part.index, leaf);
                    let places =
                        places.filter(|place| place.rows.as_ref().is_none_or(|rows| part.overlaps(rows)));
                    let places = places.map(|place| {
                        let page = cache.and_then(|cache| cache.page(self.meta.id, place.range.start));
                        pages += 1;
                        pages_cached += usize::from(page.is_some());
                        if page.is_none() {
                            ranges.push(self.checksums.align(place.range.clone()));
                        }
                        PlannedPage { place, page }
                    });
                    planned.push(PlannedLeaf { leaf, pages: places.collect() });
                }
                columns.push((column, planned));
            }
            parts.push(PlannedPart { group: part.index, runs: part.runs, columns });
        }
        RowsPlan { runs, ranges: merged(ranges), parts, cache: cache.cloned(), pages, pages_cached }
    }

    /// The spans of the plan's [runs](RowsPlan::runs), in order, from the bytes of its
    /// [ranges](RowsPlan::ranges).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a checksum differs or bytes are missing; [`FormatError::Parquet`] if
    /// what was verified cannot be decoded.
    pub fn decode_plan(
        &self,
        plan: RowsPlan,
        fetched: Vec<(Range<u64>, Bytes)>,
    ) -> Result<SpanBatch, FormatError> {
        let wanted: u64 = plan.runs.iter().map(|run| run.end - run.start).sum();
        let mut unpacker = Unpacker::new(&self.attribute_columns, plan.cache.clone());
        let source = self.page_source(fetched)?;
        for part in plan.parts {
            self.decode_part(part, &source, plan.cache.as_ref(), &mut unpacker)?;
        }
        let batch = unpacker.finish();
        if batch.len() as u64 != wanted {
            let detail = format!("{} rows were decoded instead of {wanted}", batch.len());
            return Err(FormatError::damaged(WHAT, detail));
        }
        Ok(batch)
    }

    /// The ranges of the file that hold these rows, for [`decode_rows`](Self::decode_rows). Rows beyond the
    /// last are ignored.
    pub fn ranges_for_rows(&self, rows: Range<u64>) -> Vec<Range<u64>> {
        self.plan_rows(&[rows], None).ranges
    }

    /// The spans of these rows, in order, from the bytes of [`ranges_for_rows`](Self::ranges_for_rows).
    ///
    /// # Errors
    /// As [`decode_plan`](Self::decode_plan).
    pub fn decode_rows(
        &self,
        rows: Range<u64>,
        fetched: Vec<(Range<u64>, Bytes)>,
    ) -> Result<SpanBatch, FormatError> {
        self.decode_plan(self.plan_rows(&[rows], None), fetched)
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

    /// Row groups that have rows of the runs.
    fn parts<'s>(&'s self, runs: &[Range<u64>]) -> impl Iterator<Item = Part<'s>> {
        self.groups.iter().enumerate().filter_map(move |(index, group)| {
            let first = group.rows.start;
            let runs: Vec<_> =
                within(runs, &group.rows).map(|run| run.start - first..run.end - first).collect();
            (!runs.is_empty()).then_some(Part { index, group, runs })
        })
    }

    /// The columns that have to be read for a part of a row group.
    fn columns_to_read(&self, part: &Part<'_>) -> Vec<usize> {
        let hull = hull(&part.runs);
        let fields = self.parquet.schema().fields().iter().enumerate();
        fields
            .filter(|(column, field)| {
                !NOT_READ.contains(&field.name().as_str())
                    && uniform_value(part.group, *column, &hull).is_none()
            })
            .map(|(column, _)| column)
            .collect()
    }

    /// Numbers of columns that need not be read for these rows of a row group.
    fn constants<'s>(&'s self, group: &RowGroup, runs: &[Range<u64>]) -> Vec<(&'s str, i32)> {
        let hull = hull(runs);
        let fields = self.parquet.schema().fields().iter().enumerate();
        fields
            .filter_map(|(column, field)| {
                uniform_value(group, column, &hull).flatten().map(|value| (field.name().as_str(), value))
            })
            .collect()
    }

    fn page_source(&self, mut fetched: Vec<(Range<u64>, Bytes)>) -> Result<PageSource, FormatError> {
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
        Ok(PageSource {
            metadata: Arc::clone(self.parquet.metadata()),
            fetched: FetchedParts { parts },
            decoder: Mutex::new(PageDecoder::new().map_err(parquet_error(READING))?),
        })
    }

    /// Slab by slab, so that a large range takes little beside its spans. A slab with very much text is taken in
    /// parts.
    fn decode_part(
        &self,
        mut part: PlannedPart,
        source: &PageSource,
        cache: Option<&Arc<dyn ReadCache>>,
        unpacker: &mut Unpacker<'_>,
    ) -> Result<(), FormatError> {
        let Some(group) = self.groups.get(part.group) else { return Ok(()) };
        let constants = self.constants(group, &part.runs);
        let (mut rows_at_once, mut start) = (SLAB_ROWS, 0);
        while let Some(run) = part.runs.get(part.runs.partition_point(|run| run.end <= start)) {
            start = start.max(run.start);
            let behind = (start / SLAB_ROWS + 1) * SLAB_ROWS;
            let slab = start..behind.min(start + rows_at_once);
            let runs: Vec<Range<u64>> = within(&part.runs, &slab).collect();
            match self.decode_slab(&mut part, &slab, &runs, source, cache)? {
                Some(batch) => unpacker.push(&batch, &constants)?,
                None if slab.end - slab.start > 1 => {
                    rows_at_once = (slab.end - slab.start) / 2;
                    continue;
                }
                None => {
                    let detail = format!("row {start} of a row group has more than can be held");
                    return Err(FormatError::damaged(WHAT, detail));
                }
            }
            start = slab.end;
            if start == behind {
                rows_at_once = SLAB_ROWS;
            }
        }
        Ok(())
    }

    /// The rows of a slab; none if they are too much to be read at once.
    fn decode_slab(
        &self,
        part: &mut PlannedPart,
        slab: &Range<u64>,
        runs: &[Range<u64>],
        source: &PageSource,
        cache: Option<&Arc<dyn ReadCache>>,
    ) -> Result<Option<RecordBatch>, FormatError> {
        // What the offsets of an Arrow array can say.
        let text_bytes_max = if slab.end - slab.start > 1 { SLAB_TEXT_BYTES_MAX } else { i32::MAX as usize };
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (column, leaves) in &mut part.columns {
            let Some(field) = self.parquet.schema().fields().get(*column) else { continue };
            for leaf in leaves.iter_mut() {
                self.load_pages(part.group, leaf, slab, source, cache)?;
            }
            let leaves: Vec<LeafPages<'_>> = leaves.iter().map(|leaf| self.leaf_pages(leaf, slab)).collect();
            let array = read_column(field, &leaves, runs, text_bytes_max).map_err(parquet_error(READING))?;
            let Some(array) = array else { return Ok(None) };
            fields.push(Arc::clone(field));
            arrays.push(array);
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
        batch.map(Some).map_err(|source| parquet_error(READING)(source.into()))
    }

    /// Has the leaf's dictionary and its pages with rows of the slab in memory, and no pages before.
    fn load_pages(
        &self,
        group: usize,
        leaf: &mut PlannedLeaf,
        slab: &Range<u64>,
        source: &PageSource,
        cache: Option<&Arc<dyn ReadCache>>,
    ) -> Result<(), FormatError> {
        for planned in &mut leaf.pages {
            let is_behind = planned.place.rows.as_ref().is_some_and(|rows| rows.end <= slab.start);
            let is_ahead = planned.place.rows.as_ref().is_some_and(|rows| rows.start >= slab.end);
            if is_behind {
                planned.page = None;
            } else if planned.page.is_none() && !is_ahead {
                let (page, fetched) =
                    source.load(group, leaf.leaf, &planned.place.range).map_err(parquet_error(READING))?;
                let descriptor = self.parquet.parquet_schema().column(leaf.leaf);
                let page = CachedPage::new(page, &descriptor).map_err(parquet_error(READING))?;
                if let Some(cache) = cache {
                    cache.insert_page(self.meta.id, planned.place.range.start, page.without(&fetched));
                }
                planned.page = Some(page);
            }
        }
        Ok(())
    }

    fn leaf_pages<'p>(&'p self, leaf: &'p PlannedLeaf, slab: &Range<u64>) -> LeafPages<'p> {
        let pages = leaf.pages.iter().filter_map(|planned| {
            let rows =
                planned.place.rows.clone().filter(|rows| rows.end > slab.start && rows.start < slab.end)?;
            Some((planned.page.as_ref()?.data()?, rows))
        });
        let dictionary = leaf.pages.first().filter(|planned| planned.place.rows.is_none());
        LeafPages {
            descriptor: self.parquet.parquet_schema().column(leaf.leaf),
            dictionary: dictionary.and_then(|planned| planned.page.as_ref()?.dictionary()),
            pages: pages.collect(),
        }
    }
}

/// Of runs in order what lies within a range.
fn within<'r>(runs: &'r [Range<u64>], range: &'r Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'r> {
    let first = runs.partition_point(|run| run.end <= range.start);
    let runs = runs.iter().skip(first).take_while(|run| run.start < range.end);
    runs.map(|run| run.start.max(range.start)..run.end.min(range.end))
}

/// In order, as few as there may be.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
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

/// What a column has in all of these rows, if its pages need not be read: `Some(None)` for null.
fn uniform_value(group: &RowGroup, column: usize, part: &Range<u64>) -> Option<Option<i32>> {
    let uniform = group.uniform.get(column)?;
    let within = |uniform: &&UniformRows| uniform.rows.start <= part.start && part.end <= uniform.rows.end;
    uniform.iter().find(within).map(|uniform| uniform.value)
}
