//! Writes a segment: slice by slice into Parquet, collects directory, filter and index on the way, and puts the
//! checksums over it. From batches in memory, which are sorted first, or from rows of other segments that come in
//! order.

mod file;
mod indexer;
mod summary;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tracelake_model::{SpanBatch, TenantId, bring_near};
use ulid::Ulid;

use self::file::File;
use self::indexer::Indexer;
use self::summary::Summary;
use super::columns::{AttributeColumn, AttributeColumns, AttributeCounts};
use super::directory::DirectoryBuilder;
use super::filter::{KeyFilter, Width};
use super::gather::Gather;
use super::index::PART_ROWS;
use super::merge::{PlannedRows, RowRun, RunSource, Runs, SharedTables};
use super::meta::SegmentMeta;
use super::rows::{BatchTables, RowRef, Shared, by_name, sorted};
use super::shapes::{SAMPLE_ROWS, Shapes};
use super::shared_texts::SharedTexts;
use super::slice::{RowFacts, Slice};
use crate::FormatError;

/// What goes into a segment.
#[derive(Debug)]
pub struct SegmentInput<'a> {
    /// Names the file.
    pub segment_id: Ulid,
    /// Each tenant's batches with the generation of their rows, in any order; empty ones are left out.
    pub tenants: Vec<(TenantId, Vec<(&'a SpanBatch, u64)>)>,
}

/// How a segment is written. The default is what docs/formats/segment.md gives; other values make
/// files that are read as well, for tests and measurements.
#[derive(Debug, Clone)]
pub struct SegmentWriterOptions {
    /// Rows of a row group.
    pub row_group_rows: usize,
    /// Rows of a data page.
    pub page_rows: usize,
    /// zstd's level.
    pub zstd_level: i32,
    /// Whether it gets an attribute index. Segments of older formats have none.
    pub attribute_index: bool,
    /// Rows after which a part of the attribute index ends.
    pub index_part_rows: usize,
}

impl Default for SegmentWriterOptions {
    fn default() -> Self {
        Self {
            row_group_rows: 32_768,
            page_rows: 4_096,
            zstd_level: 1,
            attribute_index: true,
            index_part_rows: PART_ROWS,
        }
    }
}

/// A row group ends when its encoded pages have this many bytes, far above those of ordinary spans: whoever
/// goes through a segment reads row groups whole.
const ROW_GROUP_BYTES_MAX: usize = 8 << 20;

/// Rows that are brought near at a time: with their texts some 20 KB, half of the nearest cache.
const ROWS_NEAR: usize = 32;

/// A segment's file.
#[derive(Debug, Clone)]
pub struct WrittenSegment {
    /// The file from `offset` to its end; the bytes before were taken while it was written.
    pub bytes: Bytes,
    /// Where `bytes` begin in the file.
    pub offset: u64,
    /// What the manifest says of it.
    pub meta: SegmentMeta,
}

/// Writes the rows of a generation as one file. Takes processor time, no I/O; memory is the input's,
/// the file's, and that of one row group.
///
/// # Errors
/// [`FormatError::TooLarge`] if there are more rows, or more text in a few rows, than the format holds;
/// [`FormatError::Parquet`] if the library refuses.
pub fn write_segment(
    input: &SegmentInput<'_>,
    columns: &AttributeColumns,
    options: &SegmentWriterOptions,
) -> Result<WrittenSegment, FormatError> {
    let tenants = by_name(&input.tenants);
    let (batches, generations): (Vec<&SpanBatch>, Vec<u64>) =
        tenants.iter().flat_map(|(_, batches)| batches).copied().unzip();
    let counts = AttributeCounts::of(batches.iter().copied());
    let present = columns.of_segment(&counts, &BTreeSet::new());
    let mut shared = Shared::new(&present);
    let tables = shared.add(&batches);

    let mut rows_of_tenants = Vec::with_capacity(tenants.len());
    let mut first_batch = 0;
    for (_, of_tenant) in &tenants {
        let of_tenant = batches.get(first_batch..first_batch + of_tenant.len()).unwrap_or_default();
        rows_of_tenants.push(sorted(of_tenant, first_batch)?);
        first_batch += of_tenant.len();
    }
    // From the middle: rows that are neighbours, as those of a row group are.
    let total: usize = rows_of_tenants.iter().map(Vec::len).sum();
    let sample = rows_of_tenants.iter().flatten().skip(total.saturating_sub(SAMPLE_ROWS) / 2);
    let sample = sample.filter_map(|row| Some((row.span(&batches)?, &**tables.get(row.source())?)));
    let shapes = Shapes::of(sample, &present, &counts);

    let plan = SegmentPlan { columns: present, shapes };
    let mut writer = SegmentWriter::with_shared(input.segment_id, 0, &plan, shared, options)?;
    for ((tenant, _), rows) in tenants.iter().zip(&rows_of_tenants) {
        writer.push_spans(tenant, &generations, rows, &batches, &tables)?;
    }
    writer.finish()
}

/// The columns of a file and how they are written.
#[derive(Debug, Clone)]
pub struct SegmentPlan {
    pub(super) columns: Vec<AttributeColumn>,
    shapes: Shapes,
}

impl SegmentPlan {
    /// For rows of which these are a sample. Of the `known` attributes those have a column that occur in
    /// the sample or are among `present`, the most frequent first, as far as there is room.
    pub fn of_sample(sample: &[&SpanBatch], known: &AttributeColumns, present: &BTreeSet<String>) -> Self {
        let counts = AttributeCounts::of(sample.iter().copied());
        let columns = known.of_segment(&counts, present);
        let tables = Shared::new(&columns).add(sample);
        let rows = sample
            .iter()
            .zip(&tables)
            .flat_map(|(batch, tables)| batch.spans().map(move |span| (span, &**tables)));
        let shapes = Shapes::of(rows, &columns, &counts);
        Self { columns, shapes }
    }
}

/// Writes a segment from rows that come in its order, piece by piece. What it holds is bounded by a row
/// group, what rows of the file share, a part of the attribute index, and some bytes a trace, if its bytes are
/// taken as they come.
#[derive(Debug)]
pub struct SegmentWriter {
    file: File,
    columns: Vec<AttributeColumn>,
    options: SegmentWriterOptions,
    shared: Shared,
    texts: SharedTexts,
    directory: DirectoryBuilder,
    index: Option<Indexer>,
    summary: Summary,
}

impl SegmentWriter {
    /// Begins a file.
    ///
    /// # Errors
    /// [`FormatError::Parquet`] if the library refuses.
    pub fn begin(
        segment_id: Ulid,
        level: u32,
        plan: &SegmentPlan,
        options: &SegmentWriterOptions,
    ) -> Result<Self, FormatError> {
        Self::with_shared(segment_id, level, plan, Shared::new(&plan.columns), options)
    }

    fn with_shared(
        segment_id: Ulid,
        level: u32,
        plan: &SegmentPlan,
        shared: Shared,
        options: &SegmentWriterOptions,
    ) -> Result<Self, FormatError> {
        let file = File::create(&plan.columns, &plan.shapes, options)?;
        let index = options.attribute_index.then(|| Indexer::new(file.schema(), options.index_part_rows));
        Ok(Self {
            file,
            index,
            columns: plan.columns.clone(),
            options: options.clone(),
            shared,
            texts: SharedTexts::new(),
            directory: DirectoryBuilder::new(),
            summary: Summary::new(segment_id, level),
        })
    }

    /// Where the file has the resources and scopes of these rows, for [`RunSource`]s.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a resource is none.
    pub fn tables(&mut self, rows: &PlannedRows) -> Result<SharedTables, FormatError> {
        rows.tables(&mut self.shared)
    }

    /// Bytes of the resources and scopes that are held.
    pub fn shared_bytes(&self) -> usize {
        self.shared.bytes()
    }

    /// Forgets the resources and scopes, and so ends the row group. Tables given out before mean nothing
    /// from now on.
    ///
    /// # Errors
    /// [`FormatError::Parquet`] if the library refuses.
    pub fn forget_shared(&mut self) -> Result<(), FormatError> {
        self.end_row_group()?;
        self.texts = SharedTexts::new();
        self.shared.clear();
        Ok(())
    }

    /// Adds rows of a tenant, which come after all before: by tenant, then in order of (hash, trace ID,
    /// start, span ID).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if they do not, or an identifier of theirs is none; [`FormatError::TooLarge`] if
    /// there is more text in a few rows than the format holds; [`FormatError::Parquet`] if the library refuses.
    pub fn push(
        &mut self,
        tenant: &TenantId,
        runs: &[RowRun],
        sources: &[RunSource<'_>],
    ) -> Result<(), FormatError> {
        let ordinal = self.begin_tenant(tenant)?;
        let mut slice = Runs::new(self.file.schema(), sources);
        for run in runs {
            let Some(source) = sources.get(run.source()) else { continue };
            for row in run.rows() {
                let facts = source.facts(ordinal, row)?;
                self.begin_row(&mut slice, &facts, || source.rows.name(row))?;
                slice.push(&facts, run.source(), row);
                self.end_row(&mut slice)?;
            }
        }
        self.write(&mut slice)
    }

    /// The same from batches, whose tables are those of what the writer shares.
    fn push_spans(
        &mut self,
        tenant: &TenantId,
        generations: &[u64],
        rows: &[RowRef],
        batches: &[&SpanBatch],
        tables: &[Arc<BatchTables>],
    ) -> Result<(), FormatError> {
        let ordinal = self.begin_tenant(tenant)?;
        let mut gather = Gather::new(&self.columns);
        let mut near = Vec::with_capacity(ROWS_NEAR);
        for (at, row) in rows.iter().enumerate() {
            if at % ROWS_NEAR == 0 {
                near.clear();
                near.extend(rows.iter().skip(at).take(ROWS_NEAR).filter_map(|row| row.span(batches)));
                bring_near(&near);
            }
            let (Some(span), Some(tables)) = (row.span(batches), tables.get(row.source())) else { continue };
            let generation = generations.get(row.source()).copied().unwrap_or_default();
            let facts = RowFacts::of_span(ordinal, generation, row.hash(), &span, tables);
            self.begin_row(&mut gather, &facts, || span.name())?;
            gather.push(&facts, span, tables)?;
            self.end_row(&mut gather)?;
        }
        self.write(&mut gather)
    }

    /// The ordinal of the tenant whose rows come next. A part of the index is of one tenant, and so its row groups.
    fn begin_tenant(&mut self, tenant: &TenantId) -> Result<u32, FormatError> {
        let ordinal = self.summary.tenant(tenant)?;
        if self.index.as_ref().is_some_and(|index| index.is_of_another(ordinal)) {
            self.end_row_group()?;
            self.end_part()?;
        }
        Ok(ordinal)
    }

    /// Notes a row that is added to the slice next, and ends the row group before it if it must.
    #[inline]
    fn begin_row<'n>(
        &mut self,
        slice: &mut impl Slice,
        row: &RowFacts,
        name: impl FnOnce() -> &'n str,
    ) -> Result<(), FormatError> {
        let rows = self.file.rows_of_group() + slice.rows();
        if !self.texts.add(&self.shared, row.resource, row.scope, rows) {
            self.write(slice)?;
            self.end_row_group()?;
            self.texts.add(&self.shared, row.resource, row.scope, 0);
        }
        let service = self.shared.services.get(row.resource as usize).and_then(|service| service.as_deref());
        self.directory.push(row, name, service);
        self.summary.push(row)
    }

    /// Writes the slice if it has enough.
    #[inline]
    fn end_row(&mut self, slice: &mut impl Slice) -> Result<(), FormatError> {
        let room = self.options.row_group_rows.saturating_sub(self.file.rows_of_group()).max(1);
        if slice.is_full(self.options.page_rows.min(room)) { self.write(slice) } else { Ok(()) }
    }

    /// Writes the slice, whatever it has, and ends the row group if that has enough.
    fn write(&mut self, slice: &mut impl Slice) -> Result<(), FormatError> {
        let rows = slice.rows();
        if rows == 0 {
            return Ok(());
        }
        let tenants = self.summary.meta.tenants.iter().map(|part| part.tenant.as_str()).collect::<Vec<_>>();
        let arrays = slice.finish(&tenants, &self.shared)?;
        self.directory.push_columns(&arrays)?;
        if let Some(index) = &mut self.index {
            index.push(self.summary.meta.tenants.len() as u32 - 1, &arrays)?;
        }
        self.file.write(rows, arrays)?;
        if self.file.rows_of_group() >= self.options.row_group_rows
            || self.file.bytes_of_group() >= ROW_GROUP_BYTES_MAX
            || self.index.as_ref().is_some_and(Indexer::is_large)
        {
            self.end_row_group()?;
        }
        Ok(())
    }

    fn end_row_group(&mut self) -> Result<(), FormatError> {
        self.file.end_row_group()?;
        self.texts.begin_row_group();
        if self.index.as_ref().is_some_and(Indexer::is_full) {
            self.end_part()?;
        }
        Ok(())
    }

    /// Writes the part of the index that the rows so far are in, behind its last row group.
    fn end_part(&mut self) -> Result<(), FormatError> {
        if let Some(index) = &mut self.index
            && let Some(part) = index.end_part(self.file.bytes_written())?
        {
            self.file.append(&part)?;
        }
        Ok(())
    }

    /// How many rows it has so far.
    pub fn rows(&self) -> u64 {
        self.summary.meta.rows
    }

    /// Takes the bytes that are written so far and were not taken before.
    ///
    /// # Errors
    /// [`FormatError::Parquet`] if the library refuses.
    pub fn take_bytes(&mut self) -> Result<Vec<u8>, FormatError> {
        self.file.take_bytes()
    }

    /// The rest of the attribute index, directory, filter, checksums, footer.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`] and [`FormatError::Parquet`], as while writing.
    pub fn finish(mut self) -> Result<WrittenSegment, FormatError> {
        self.end_row_group()?;
        self.end_part()?;
        let Self { mut file, columns, directory, index, summary, .. } = self;
        let Summary { mut meta, mut filter_keys, .. } = summary;
        let (blocks, blocks_index) = directory.finish(file.bytes_written())?;
        file.append(&blocks)?;
        drop(blocks);
        filter_keys.sort_unstable();
        filter_keys.dedup();
        meta.filter = file.append(&KeyFilter::build(&filter_keys, Width::Four))?;
        let (parts, value_filters) = index.map(Indexer::finish).unzip();
        meta.value_filters = value_filters.map(|filters| file.append(&filters)).transpose()?;
        meta.directory = file.append(&blocks_index.to_bytes())?;
        meta.index = parts.map(|parts| file.append(&parts)).transpose()?;
        let checksums = file.checksums()?.to_bytes();
        meta.checksums = file.append(&checksums)?;
        file.finish(meta, columns)
    }
}
