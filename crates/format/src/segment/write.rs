//! Writes a segment: sorts, gathers slice by slice into Parquet, collects directory and filter on the
//! way, and puts the checksums over it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::KeyValue;
use tracelake_model::hash::{filter_key, tenant_hash};
use tracelake_model::{SpanBatch, TenantId};
use ulid::Ulid;

use super::columns::{AttributeColumn, AttributeColumns, AttributeCounts};
use super::directory::DirectoryBuilder;
use super::filter::TraceFilter;
use super::gather::Gather;
use super::meta::{Section, SegmentMeta, SegmentTenant};
use super::rows::{Shared, by_name, sorted};
use super::shapes::Shapes;
use super::shared_texts::SharedTexts;
use super::{Description, FORMAT_VERSION, METADATA_KEY, parquet_error, schema};
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
        Self { row_group_rows: 16_384, page_rows: 2_048, zstd_level: 1 }
    }
}

/// A segment's file.
#[derive(Debug, Clone)]
pub struct WrittenSegment {
    /// The whole file.
    pub bytes: Bytes,
    /// What the manifest has to know of it.
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
    let shared = Shared::of(&batches, &present);

    let mut rows_of_tenants = Vec::with_capacity(tenants.len());
    let mut first_batch = 0;
    for (_, batches) in &tenants {
        rows_of_tenants.push(sorted(batches, first_batch)?);
        first_batch += batches.len();
    }
    let shapes = Shapes::of(&rows_of_tenants, &batches, &shared, &present, &counts);
    let mut file = File::create(&present, &shapes, options)?;
    let mut summary = Summary::new(input);
    let mut gather = Gather::new(&present);
    let mut texts = SharedTexts::of(&shared);
    let mut directory = DirectoryBuilder::new();
    let names: Vec<&str> = tenants.iter().map(|(tenant, _)| tenant.as_str()).collect();
    for (ordinal, ((tenant, _), rows)) in tenants.iter().zip(&rows_of_tenants).enumerate() {
        let ordinal = ordinal as u32;
        summary.begin_tenant(tenant);
        for row in rows {
            let (Some(span), Some(tables)) = (row.span(&batches), shared.batches.get(row.batch())) else {
                continue;
            };
            let resource = tables.resources.get(span.resource_index()).copied().unwrap_or_default();
            let service = shared.services.get(resource as usize).copied().flatten();
            directory.push(ordinal, span, service)?;
            summary.push(row.hash(), &span);
            let scope = tables.scopes.get(span.scope_index()).copied().unwrap_or_default();
            if !texts.add(resource, scope, file.group_rows + gather.rows()) {
                file.write(&mut gather, &names, input.generation, &shared)?;
                file.end_row_group()?;
                texts.begin_row_group();
                texts.add(resource, scope, 0);
            }
            gather.push(ordinal, span, tables)?;
            let room = options.row_group_rows.saturating_sub(file.group_rows).max(1);
            if gather.is_full(options.page_rows.min(room)) {
                file.write(&mut gather, &names, input.generation, &shared)?;
                if file.group_rows >= options.row_group_rows {
                    file.end_row_group()?;
                    texts.begin_row_group();
                }
            }
        }
    }
    file.write(&mut gather, &names, input.generation, &shared)?;
    file.finish(directory, summary, present)
}

/// The Parquet file being written.
struct File {
    writer: ArrowWriter<Vec<u8>>,
    schema: SchemaRef,
    group_rows: usize,
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
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), writer_options)
            .map_err(parquet_error("beginning a segment"))?;
        Ok(Self { writer, schema, group_rows: 0 })
    }

    /// Writes the slice that was gathered.
    fn write(
        &mut self,
        gather: &mut Gather<'_>,
        tenants: &[&str],
        generation: u64,
        shared: &Shared<'_>,
    ) -> Result<(), FormatError> {
        let rows = gather.rows();
        if rows == 0 {
            return Ok(());
        }
        let arrays = gather.finish(tenants, generation, shared)?;
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

    /// Directory, filter, checksums, footer.
    fn finish(
        mut self,
        directory: DirectoryBuilder<'_>,
        summary: Summary,
        attribute_columns: Vec<AttributeColumn>,
    ) -> Result<WrittenSegment, FormatError> {
        self.end_row_group()?;
        let Summary { mut meta, mut filter_keys, .. } = summary;
        let (blocks, index) = directory.finish(self.writer.bytes_written() as u64)?;
        self.append(&blocks)?;
        filter_keys.sort_unstable();
        filter_keys.dedup();
        meta.filter = self.append(&TraceFilter::build(&filter_keys))?;
        meta.directory = self.append(&index.to_bytes())?;
        self.writer.sync().map_err(|error| parquet_error("writing a segment's index")(error.into()))?;
        let checksums = ChecksumTable::of(self.writer.inner()).to_bytes();
        meta.checksums = self.append(&checksums)?;

        let description = Description { segment: meta, attribute_columns };
        let json = serde_json::to_string(&description)
            .map_err(|error| FormatError::damaged(super::WHAT, format!("cannot describe itself: {error}")))?;
        self.writer.append_key_value_metadata(KeyValue::new(METADATA_KEY.to_owned(), json));
        let bytes = self.writer.into_inner().map_err(parquet_error("writing a segment's footer"))?;

        let mut meta = description.segment;
        let footer = meta.checksums.range().end;
        let footer_bytes =
            usize::try_from(footer).ok().and_then(|from| bytes.get(from..)).unwrap_or_default();
        meta.footer =
            Section { offset: footer, len: footer_bytes.len() as u64, crc32c: crc32c::crc32c(footer_bytes) };
        meta.size_bytes = bytes.len() as u64;
        Ok(WrittenSegment { bytes: bytes.into(), meta })
    }
}

/// What the manifest and the filter need of the rows.
struct Summary {
    meta: SegmentMeta,
    filter_keys: Vec<u64>,
    tenant_hash: u64,
    newest: Option<tracelake_model::TraceId>,
}

impl Summary {
    fn new(input: &SegmentInput<'_>) -> Self {
        let meta = SegmentMeta {
            format_version: FORMAT_VERSION,
            id: input.segment_id,
            generation: input.generation,
            size_bytes: 0,
            rows: 0,
            traces: 0,
            start_unix_nano_min: u64::MAX,
            start_unix_nano_max: 0,
            end_unix_nano_max: 0,
            trace_hash_min: u64::MAX,
            trace_hash_max: 0,
            tenants: Vec::new(),
            filter: Section::default(),
            directory: Section::default(),
            checksums: Section::default(),
            footer: Section::default(),
        };
        Self { meta, filter_keys: Vec::new(), tenant_hash: 0, newest: None }
    }

    fn begin_tenant(&mut self, tenant: &TenantId) {
        self.tenant_hash = tenant_hash(tenant);
        self.newest = None;
        let first_row = self.meta.rows;
        self.meta.tenants.push(SegmentTenant { tenant: tenant.clone(), first_row, rows: 0, traces: 0 });
    }

    #[inline]
    fn push(&mut self, hash: u64, span: &tracelake_model::SpanView<'_>) {
        let meta = &mut self.meta;
        let trace_id = span.trace_id();
        let new_trace = u64::from(self.newest != Some(trace_id));
        if new_trace == 1 {
            self.newest = Some(trace_id);
            self.filter_keys.push(filter_key(self.tenant_hash, &trace_id));
            meta.trace_hash_min = meta.trace_hash_min.min(hash);
            meta.trace_hash_max = meta.trace_hash_max.max(hash);
        }
        meta.rows += 1;
        meta.traces += new_trace;
        meta.start_unix_nano_min = meta.start_unix_nano_min.min(span.start_unix_nano());
        meta.start_unix_nano_max = meta.start_unix_nano_max.max(span.start_unix_nano());
        meta.end_unix_nano_max = meta.end_unix_nano_max.max(span.end_unix_nano());
        if let Some(part) = meta.tenants.last_mut() {
            part.rows += 1;
            part.traces += new_trace;
        }
    }
}
