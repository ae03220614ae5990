//! Writes a segment: gathers slice by slice into Parquet, collects directory and filter on the way, and
//! puts the checksums over it. From batches in memory, which are sorted first, or from rows that come in
//! order.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::KeyValue;
use tracelake_model::hash::{filter_key, tenant_hash};
use tracelake_model::{SpanBatch, SpanView, TenantId, TraceId, bring_near};
use ulid::Ulid;

use super::columns::{AttributeColumn, AttributeColumns, AttributeCounts};
use super::directory::DirectoryBuilder;
use super::filter::TraceFilter;
use super::gather::Gather;
use super::meta::{Section, SegmentMeta, SegmentTenant};
use super::rows::{BatchTables, RowRef, Shared, by_name, sorted};
use super::shapes::{SAMPLE_ROWS, Shapes};
use super::shared_texts::SharedTexts;
use super::{Description, METADATA_KEY, parquet_error, schema};
use crate::FormatError;
use crate::checksum::ChecksumTable;

/// What goes into a segment.
#[derive(Debug)]
pub struct SegmentInput<'a> {
    /// Names the file.
    pub segment_id: Ulid,
    /// The generation that all rows belong to.
    pub generation: u64,
    /// Each tenant's batches, in any order; empty ones are left out.
    pub tenants: Vec<(TenantId, Vec<&'a SpanBatch>)>,
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
}

impl Default for SegmentWriterOptions {
    fn default() -> Self {
        Self { row_group_rows: 32_768, page_rows: 4_096, zstd_level: 1 }
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
    let batches: Vec<&SpanBatch> = tenants.iter().flat_map(|(_, batches)| batches).copied().collect();
    let counts = AttributeCounts::of(batches.iter().copied());
    let present: Vec<AttributeColumn> =
        columns.columns.iter().filter(|column| counts.get(column) > 0).cloned().collect();
    let mut shared = Shared::new(&present);
    let tables = shared.add(&batches);

    let mut rows_of_tenants = Vec::with_capacity(tenants.len());
    let mut first_batch = 0;
    for (_, batches) in &tenants {
        rows_of_tenants.push(sorted(batches, first_batch)?);
        first_batch += batches.len();
    }
    // From the middle: rows that are neighbours, as those of a row group are.
    let total: usize = rows_of_tenants.iter().map(Vec::len).sum();
    let sample = rows_of_tenants.iter().flatten().skip(total.saturating_sub(SAMPLE_ROWS) / 2);
    let sample = sample.filter_map(|row| Some((row.span(&batches)?, &**tables.get(row.source())?)));
    let shapes = Shapes::of(sample, &present, &counts);

    let plan = SegmentPlan { columns: present, shapes };
    let mut writer = SegmentWriter::with_shared(input.segment_id, 0, &plan, shared, options)?;
    let generations = Generations::Same(input.generation);
    let sources: Vec<Source<'_>> = batches
        .iter()
        .zip(&tables)
        .map(|(batch, tables)| Source { batch, generations, tables: Arc::clone(tables) })
        .collect();
    for ((tenant, _), rows) in tenants.iter().zip(&rows_of_tenants) {
        writer.push(tenant, rows, &sources)?;
    }
    writer.finish()
}

/// The columns of a file and how they are written.
#[derive(Debug, Clone)]
pub struct SegmentPlan {
    columns: Vec<AttributeColumn>,
    shapes: Shapes,
}

impl SegmentPlan {
    /// For rows of which these are a sample. Of the `known` attributes those have a column that occur in
    /// the sample or are among `present`.
    pub fn of_sample(sample: &[&SpanBatch], known: &AttributeColumns, present: &BTreeSet<String>) -> Self {
        let counts = AttributeCounts::of(sample.iter().copied());
        let occurs = |column: &&AttributeColumn| counts.get(column) > 0 || present.contains(&column.key);
        let columns: Vec<AttributeColumn> = known.columns.iter().filter(occurs).cloned().collect();
        let tables = Shared::new(&columns).add(sample);
        let rows = sample
            .iter()
            .zip(&tables)
            .flat_map(|(batch, tables)| batch.spans().map(move |span| (span, &**tables)));
        let shapes = Shapes::of(rows, &columns, &counts);
        Self { columns, shapes }
    }
}

/// Where rows lie, with what their segment shares.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// The spans.
    pub batch: &'a SpanBatch,
    /// Their generations.
    pub generations: Generations<'a>,
    /// From [`SegmentWriter::tables`] of the writer that gets the rows.
    pub tables: Arc<BatchTables>,
}

/// The generations of a batch's rows.
#[derive(Debug, Clone, Copy)]
pub enum Generations<'a> {
    /// All of them are of this one.
    Same(u64),
    /// Row by row.
    Each(&'a [u64]),
}

impl Generations<'_> {
    /// That of a row.
    #[inline]
    pub fn of(&self, row: usize) -> u64 {
        match self {
            Self::Same(generation) => *generation,
            Self::Each(generations) => generations.get(row).copied().unwrap_or_default(),
        }
    }
}

/// Writes a segment from rows that come in its order, piece by piece. What it holds is bounded by a row
/// group, what rows of the file share, and some bytes a trace, if its bytes are taken as they come.
#[derive(Debug)]
pub struct SegmentWriter {
    file: File,
    columns: Vec<AttributeColumn>,
    options: SegmentWriterOptions,
    shared: Shared,
    texts: SharedTexts,
    directory: DirectoryBuilder,
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
        Ok(Self {
            file: File::create(&plan.columns, &plan.shapes, options)?,
            columns: plan.columns.clone(),
            options: options.clone(),
            shared,
            texts: SharedTexts::new(),
            directory: DirectoryBuilder::new(),
            summary: Summary::new(segment_id, level),
        })
    }

    /// What the file shares of batches, for [`Source`]s.
    pub fn tables(&mut self, batches: &[&SpanBatch]) -> Vec<Arc<BatchTables>> {
        self.shared.add(batches)
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
        self.file.end_row_group()?;
        self.texts = SharedTexts::new();
        self.shared.clear();
        Ok(())
    }

    /// Adds rows of a tenant, which come after all before: by tenant, then in order of (hash, trace ID,
    /// start, span ID).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if they do not; [`FormatError::TooLarge`] if there is more text in a few
    /// rows than the format holds; [`FormatError::Parquet`] if the library refuses.
    pub fn push(
        &mut self,
        tenant: &TenantId,
        rows: &[RowRef],
        sources: &[Source<'_>],
    ) -> Result<(), FormatError> {
        let ordinal = self.summary.tenant(tenant)?;
        let mut gather = Gather::new(&self.columns);
        let mut near = Vec::with_capacity(ROWS_NEAR);
        for (at, row) in rows.iter().enumerate() {
            if at % ROWS_NEAR == 0 {
                let next = rows.iter().skip(at).take(ROWS_NEAR);
                near.clear();
                near.extend(next.filter_map(|row| Some(sources.get(row.source())?.batch.span(row.row()))));
                bring_near(&near);
            }
            let Some(source) = sources.get(row.source()) else { continue };
            let span = source.batch.span(row.row());
            let generation = source.generations.of(row.row());
            let tables = &source.tables;
            let resource = tables.resources.get(span.resource_index()).copied().unwrap_or_default();
            let scope = tables.scopes.get(span.scope_index()).copied().unwrap_or_default();
            let service = self.shared.services.get(resource as usize).and_then(|service| service.as_deref());
            self.directory.push(ordinal, span, service)?;
            self.summary.push(row.hash(), generation, &span)?;
            if !self.texts.add(&self.shared, resource, scope, self.file.group_rows + gather.rows()) {
                self.write(&mut gather)?;
                self.end_row_group()?;
                self.texts.add(&self.shared, resource, scope, 0);
            }
            gather.push(ordinal, generation, span, tables)?;
            let room = self.options.row_group_rows.saturating_sub(self.file.group_rows).max(1);
            if gather.is_full(self.options.page_rows.min(room)) {
                self.write(&mut gather)?;
                if self.file.group_rows >= self.options.row_group_rows
                    || self.file.writer.in_progress_size() >= ROW_GROUP_BYTES_MAX
                {
                    self.end_row_group()?;
                }
            }
        }
        self.write(&mut gather)
    }

    fn write(&mut self, gather: &mut Gather<'_>) -> Result<(), FormatError> {
        let tenants = self.summary.meta.tenants.iter().map(|part| part.tenant.as_str()).collect::<Vec<_>>();
        self.file.write(gather, &tenants, &self.shared)
    }

    fn end_row_group(&mut self) -> Result<(), FormatError> {
        self.file.end_row_group()?;
        self.texts.begin_row_group();
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

    /// Directory, filter, checksums, footer.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`] and [`FormatError::Parquet`], as while writing.
    pub fn finish(self) -> Result<WrittenSegment, FormatError> {
        let Self { mut file, columns, directory, summary, .. } = self;
        file.end_row_group()?;
        let Summary { mut meta, mut filter_keys, .. } = summary;
        let (blocks, index) = directory.finish(file.writer.bytes_written() as u64)?;
        file.append(&blocks)?;
        filter_keys.sort_unstable();
        filter_keys.dedup();
        meta.filter = file.append(&TraceFilter::build(&filter_keys))?;
        meta.directory = file.append(&index.to_bytes())?;
        let checksums = file.checksums()?.to_bytes();
        meta.checksums = file.append(&checksums)?;
        file.finish(meta, columns)
    }
}

/// The Parquet file being written.
#[derive(Debug)]
struct File {
    writer: ArrowWriter<Sink>,
    schema: SchemaRef,
    group_rows: usize,
}

/// What was written and not yet taken, and the checksums of everything written.
#[derive(Debug, Default)]
struct Sink {
    offset: u64,
    bytes: Vec<u8>,
    checksums: ChecksumTable,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.checksums.extend(bytes);
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl File {
    fn create(
        columns: &[AttributeColumn],
        shapes: &Shapes,
        options: &SegmentWriterOptions,
    ) -> Result<Self, FormatError> {
        let schema = schema::schema(columns);
        let properties = schema::properties(options, columns, shapes)?;
        // The Arrow schema would be kilobytes of what the Parquet schema says as well.
        let writer_options =
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Sink::default(), Arc::clone(&schema), writer_options)
            .map_err(parquet_error("beginning a segment"))?;
        Ok(Self { writer, schema, group_rows: 0 })
    }

    /// Writes the slice that was gathered.
    fn write(
        &mut self,
        gather: &mut Gather<'_>,
        tenants: &[&str],
        shared: &Shared,
    ) -> Result<(), FormatError> {
        let rows = gather.rows();
        if rows == 0 {
            return Ok(());
        }
        let arrays = gather.finish(tenants, shared)?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|source| parquet_error("gathering a segment's rows")(source.into()))?;
        self.writer.write(&batch).map_err(parquet_error("writing a segment's rows"))?;
        self.group_rows += rows;
        Ok(())
    }

    fn end_row_group(&mut self) -> Result<(), FormatError> {
        self.group_rows = 0;
        self.writer.flush().map_err(parquet_error("ending a row group"))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Section, FormatError> {
        let offset = self.writer.bytes_written() as u64;
        self.writer
            .write_all(bytes)
            .map_err(|error| parquet_error("writing a segment's index")(error.into()))?;
        Ok(Section { offset, len: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) })
    }

    /// What the library holds back comes into the sink.
    fn sink(&mut self) -> Result<&mut Sink, FormatError> {
        self.writer.sync().map_err(|error| parquet_error("writing a segment")(error.into()))?;
        Ok(self.writer.inner_mut())
    }

    fn checksums(&mut self) -> Result<&ChecksumTable, FormatError> {
        Ok(&self.sink()?.checksums)
    }

    fn take_bytes(&mut self) -> Result<Vec<u8>, FormatError> {
        let sink = self.sink()?;
        let bytes = std::mem::take(&mut sink.bytes);
        sink.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// The footer, with what the file says of itself.
    fn finish(
        mut self,
        meta: SegmentMeta,
        attribute_columns: Vec<AttributeColumn>,
    ) -> Result<WrittenSegment, FormatError> {
        let description = Description { segment: meta, attribute_columns };
        let json = serde_json::to_string(&description)
            .map_err(|error| FormatError::damaged(super::WHAT, format!("cannot describe itself: {error}")))?;
        self.writer.append_key_value_metadata(KeyValue::new(METADATA_KEY.to_owned(), json));
        let Sink { offset, bytes, .. } =
            self.writer.into_inner().map_err(parquet_error("writing a segment's footer"))?;

        let mut meta = description.segment;
        let footer = meta.checksums.range().end;
        let footer_bytes = footer
            .checked_sub(offset)
            .and_then(|from| bytes.get(usize::try_from(from).ok()?..))
            .unwrap_or_default();
        meta.footer =
            Section { offset: footer, len: footer_bytes.len() as u64, crc32c: crc32c::crc32c(footer_bytes) };
        meta.size_bytes = offset + bytes.len() as u64;
        Ok(WrittenSegment { bytes: bytes.into(), offset, meta })
    }
}

/// What the manifest and the filter need of the rows.
#[derive(Debug)]
struct Summary {
    meta: SegmentMeta,
    filter_keys: Vec<u64>,
    tenant_hash: u64,
    newest: Option<(u64, TraceId)>,
}

impl Summary {
    fn new(id: Ulid, level: u32) -> Self {
        let meta = SegmentMeta::new(id, level);
        Self { meta, filter_keys: Vec::new(), tenant_hash: 0, newest: None }
    }

    /// The ordinal of the tenant whose rows come next.
    fn tenant(&mut self, tenant: &TenantId) -> Result<u32, FormatError> {
        match self.meta.tenants.last().map(|last| last.tenant.cmp(tenant)) {
            Some(Ordering::Equal) => {}
            Some(Ordering::Greater) => return Err(disorder()),
            None | Some(Ordering::Less) => {
                self.tenant_hash = tenant_hash(tenant);
                self.newest = None;
                let first_row = self.meta.rows;
                let part = SegmentTenant { tenant: tenant.clone(), first_row, rows: 0, traces: 0 };
                self.meta.tenants.push(part);
            }
        }
        Ok(self.meta.tenants.len() as u32 - 1)
    }

    #[inline]
    fn push(&mut self, hash: u64, generation: u64, span: &SpanView<'_>) -> Result<(), FormatError> {
        let meta = &mut self.meta;
        let trace = (hash, span.trace_id());
        let new_trace = u64::from(self.newest != Some(trace));
        if new_trace == 1 {
            if self.newest.is_some_and(|newest| newest > trace) {
                return Err(disorder());
            }
            self.newest = Some(trace);
            self.filter_keys.push(filter_key(self.tenant_hash, &trace.1));
            meta.trace_hash_min = meta.trace_hash_min.min(hash);
            meta.trace_hash_max = meta.trace_hash_max.max(hash);
        }
        meta.rows += 1;
        meta.traces += new_trace;
        meta.generation_min = meta.generation_min.min(generation);
        meta.generation_max = meta.generation_max.max(generation);
        meta.start_unix_nano_min = meta.start_unix_nano_min.min(span.start_unix_nano());
        meta.start_unix_nano_max = meta.start_unix_nano_max.max(span.start_unix_nano());
        meta.end_unix_nano_max = meta.end_unix_nano_max.max(span.end_unix_nano());
        if let Some(part) = meta.tenants.last_mut() {
            part.rows += 1;
            part.traces += new_trace;
        }
        Ok(())
    }
}

fn disorder() -> FormatError {
    FormatError::damaged(super::WHAT, "its rows do not come in the order of a segment")
}
