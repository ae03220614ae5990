//! An open segment: its Parquet metadata, directory index and checksums, verified and checked against
//! each other. It answers where a trace and its bytes are; `plan` and `decode` read them.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{
    FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::schema::types::SchemaDescPtr;
use tracelake_model::{TenantId, TraceId};

use super::columns::AttributeColumn;
use super::directory::{Block, DirectoryBlock, DirectoryIndex, TraceEntry};
use super::index::PartIndex;
use super::layout::GroupLayout;
use super::meta::{Section, SegmentMeta, SegmentTenant};
use super::{Description, FORMAT_VERSION, METADATA_KEY, WHAT, parquet_error, schema};
use crate::FormatError;
use crate::checksum::ChecksumTable;

/// A segment whose tail was read. Cheap to keep: [`heap_bytes`](Self::heap_bytes) says what it costs.
#[derive(Debug)]
pub struct OpenSegment {
    pub(super) meta: SegmentMeta,
    pub(super) attribute_columns: Vec<AttributeColumn>,
    /// What the columns are read as.
    pub(super) schema: SchemaRef,
    pub(super) descriptor: SchemaDescPtr,
    pub(super) directory: DirectoryIndex,
    /// Of the attribute index; none without one.
    pub(super) index: PartIndex,
    pub(super) checksums: ChecksumTable,
    pub(super) groups: Vec<RowGroup>,
    /// Leaf columns of each column.
    pub(super) leaves: Vec<Range<usize>>,
    heap_bytes: usize,
}

/// What reading needs to know of a row group.
#[derive(Debug)]
pub(super) struct RowGroup {
    pub(super) rows: Range<u64>,
    pub(super) layout: GroupLayout,
    /// By column: the rows of the group in pages that need not be read, in order.
    pub(super) uniform: Vec<Vec<UniformRows>>,
}

/// Neighbouring rows of a row group in whose pages a column has one value, or none.
#[derive(Debug)]
pub(super) struct UniformRows {
    pub(super) rows: Range<u64>,
    /// `None` for null; a 32-bit number is extended as its type is.
    pub(super) value: Option<i32>,
}

impl OpenSegment {
    /// The bytes at the file's end that [`open`](Self::open) wants.
    pub fn tail_range(meta: &SegmentMeta) -> Range<u64> {
        meta.directory.offset.min(meta.size_bytes)..meta.size_bytes
    }

    /// Whether these are a section's bytes.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if not.
    pub fn verify_section(section: &Section, bytes: &[u8]) -> Result<(), FormatError> {
        if bytes.len() as u64 != section.len || crc32c::crc32c(bytes) != section.crc32c {
            let detail = format!("checksum of the section at byte {} differs", section.offset);
            return Err(FormatError::damaged(WHAT, detail));
        }
        Ok(())
    }

    /// Opens a segment from its tail.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a checksum differs or the file is not the one that `meta` describes;
    /// [`FormatError::Version`] if a newer build wrote it.
    pub fn open(meta: &SegmentMeta, tail: Bytes) -> Result<Self, FormatError> {
        Self::open_whole(meta, tail).map(|(segment, _)| segment)
    }

    /// And what the footer says, which is not kept otherwise.
    pub(super) fn open_whole(
        meta: &SegmentMeta,
        tail: Bytes,
    ) -> Result<(Self, ParquetMetaData), FormatError> {
        if meta.format_version > FORMAT_VERSION {
            return Err(FormatError::Version {
                what: WHAT,
                found: meta.format_version,
                supported: FORMAT_VERSION,
            });
        }
        let range = Self::tail_range(meta);
        if tail.len() as u64 != range.end - range.start || meta.footer.range().end != meta.size_bytes {
            return Err(FormatError::damaged(WHAT, "its tail has not the length that the manifest says"));
        }
        let section = |section: &Section| {
            let from = section.offset.checked_sub(range.start).and_then(|from| usize::try_from(from).ok());
            let len = usize::try_from(section.len).ok();
            let bytes = from.zip(len).and_then(|(from, len)| tail.get(from..from.checked_add(len)?));
            let bytes =
                bytes.ok_or_else(|| FormatError::damaged(WHAT, "a section is outside of its tail"))?;
            Self::verify_section(section, bytes)?;
            Ok::<_, FormatError>(bytes)
        };
        section(&meta.footer)?;
        let directory = DirectoryIndex::parse(section(&meta.directory)?)?;
        let index = match &meta.index {
            Some(index) if meta.has_index() => PartIndex::parse(section(index)?)?,
            _ => PartIndex::default(),
        };
        let checksums = ChecksumTable::parse(section(&meta.checksums)?)?;
        if checksums.covered() != meta.checksums.offset {
            return Err(FormatError::damaged(WHAT, "its checksums do not cover what is before them"));
        }
        let metadata = parse_parquet(&tail, meta.size_bytes)?;
        let attribute_columns = described(meta, &metadata)?;
        let segment =
            Self::assemble(meta.clone(), attribute_columns, &metadata, directory, index, checksums)?;
        Ok((segment, metadata))
    }

    fn assemble(
        meta: SegmentMeta,
        attribute_columns: Vec<AttributeColumn>,
        metadata: &ParquetMetaData,
        directory: DirectoryIndex,
        index: PartIndex,
        checksums: ChecksumTable,
    ) -> Result<Self, FormatError> {
        check_directory(&meta, &directory)?;
        if meta.has_index() {
            index.check(&meta)?;
        }
        let descriptor = metadata.file_metadata().schema_descr_ptr();
        let mut leaves: Vec<Range<usize>> = Vec::new();
        for leaf in 0..descriptor.num_columns() {
            match leaves.get_mut(descriptor.get_column_root_idx(leaf)) {
                Some(range) => range.end = leaf + 1,
                None => leaves.push(leaf..leaf + 1),
            }
        }
        let expected = schema::schema(&attribute_columns);
        let same_names = descriptor
            .root_schema()
            .get_fields()
            .iter()
            .map(|field| field.name())
            .eq(expected.fields().iter().map(|field| field.name()));
        if !same_names || leaves.len() != expected.fields().len() {
            return Err(FormatError::damaged(WHAT, "its columns are not those that it describes"));
        }
        let groups = row_groups(&meta, metadata, &leaves)?;
        // The schema that was written: resources are read as a dictionary, of which a row is a number,
        // not as a copy of the text for each row. Whether the file's columns can be read so is checked here.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(expected);
        let footer = FileMetaData::clone(metadata.file_metadata());
        let footer = Arc::new(ParquetMetaData::new(footer, Vec::new()));
        let schema = ArrowReaderMetadata::try_new(footer, options)
            .map(|read| Arc::clone(read.schema()))
            .map_err(parquet_error("reading a segment's schema"))?;
        let of_group = |group: &RowGroup| {
            let uniform =
                group.uniform.iter().map(|uniform| size_of_val(uniform) + size_of_val(uniform.as_slice()));
            size_of::<RowGroup>() + group.layout.heap_bytes() + uniform.sum::<usize>()
        };
        let heap_bytes = size_of::<Self>()
            + directory.heap_bytes()
            + index.heap_bytes()
            + checksums.heap_bytes()
            + 2 * 256 * leaves.len()
            + groups.iter().map(of_group).sum::<usize>();
        Ok(Self {
            meta,
            attribute_columns,
            schema,
            descriptor,
            directory,
            index,
            checksums,
            groups,
            leaves,
            heap_bytes,
        })
    }

    /// What the manifest says of it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// How many row groups it has.
    pub fn row_groups(&self) -> usize {
        self.groups.len()
    }

    /// The attributes with a column in this file.
    pub fn attribute_columns(&self) -> &[AttributeColumn] {
        &self.attribute_columns
    }

    /// Bytes kept in memory, for accounting.
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// The directory block that lists the trace, if any can.
    pub fn directory_block_range(&self, tenant: &TenantId, trace_id: &TraceId) -> Option<Range<u64>> {
        let (ordinal, _) = self.meta.tenant(tenant)?;
        self.directory.block_of(u32::try_from(ordinal).ok()?, trace_id).map(Block::range)
    }

    /// The trace's entry in the block of [`directory_block_range`](Self::directory_block_range); `None`
    /// if the segment has nothing of it.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if the block gives it rows of another tenant.
    pub fn find_trace(
        &self,
        block: &DirectoryBlock,
        tenant: &TenantId,
        trace_id: &TraceId,
    ) -> Result<Option<TraceEntry>, FormatError> {
        let Some(entry) = block.find(trace_id) else { return Ok(None) };
        let range = entry.row_range();
        let is_its = |(_, part): (usize, &SegmentTenant)| {
            range.start >= part.first_row && range.end <= part.first_row.saturating_add(part.rows)
        };
        if self.meta.tenant(tenant).is_none_or(|part| !is_its(part)) {
            return Err(FormatError::damaged(WHAT, "its directory gives a trace rows of another tenant"));
        }
        Ok(Some(entry))
    }

    /// The directory block that lists the trace of a tenant's row, for [`directory_block`](Self::directory_block).
    pub fn directory_block_of_row(&self, tenant: &TenantId, row: u64) -> Option<Range<u64>> {
        let (ordinal, _) = self.meta.tenant(tenant)?;
        let blocks = self.directory.blocks();
        let after = blocks.partition_point(|block| block.first_row <= row);
        let block = blocks.get(after.checked_sub(1)?)?;
        (block.tenant as usize == ordinal && row < block.first_row.saturating_add(block.rows))
            .then(|| block.range())
    }

    /// The directory blocks of a tenant, in order of rows, for [`directory_block`](Self::directory_block).
    pub fn directory_block_ranges(&self, tenant: &TenantId) -> Vec<Range<u64>> {
        let ordinal = self.meta.tenant(tenant).map(|(ordinal, _)| ordinal as u32);
        self.directory
            .blocks()
            .iter()
            .filter(|block| Some(block.tenant) == ordinal)
            .map(Block::range)
            .collect()
    }

    /// A directory block, from its bytes.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if the bytes are not of a block at that place.
    pub fn directory_block(
        &self,
        block_range: &Range<u64>,
        block_bytes: &[u8],
    ) -> Result<DirectoryBlock, FormatError> {
        let blocks = self.directory.blocks();
        // Blocks lie in the file in the order of their rows.
        let at = blocks.partition_point(|block| block.offset < block_range.start);
        let block = blocks.get(at).filter(|block| block.range() == *block_range);
        let block =
            block.ok_or_else(|| FormatError::damaged(WHAT, "has no directory block at that place"))?;
        DirectoryBlock::decode(block, self.directory.version(), block_bytes)
    }
}

pub(super) fn parse_parquet(tail: &Bytes, size_bytes: u64) -> Result<ParquetMetaData, FormatError> {
    let mut reader = ParquetMetaDataReader::new()
        .with_offset_index_policy(PageIndexPolicy::Required)
        .with_column_index_policy(PageIndexPolicy::Optional);
    reader
        .try_parse_sized(tail, size_bytes)
        .and_then(|()| reader.finish())
        .map_err(parquet_error("reading a segment's footer"))
}

/// What the file says of itself.
pub(super) fn description(metadata: &ParquetMetaData) -> Result<Description, FormatError> {
    let json = metadata
        .file_metadata()
        .key_value_metadata()
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == METADATA_KEY))
        .and_then(|pair| pair.value.as_deref())
        .ok_or_else(|| FormatError::damaged(WHAT, "does not describe itself"))?;
    serde_json::from_str(json)
        .map_err(|error| FormatError::damaged(WHAT, format!("describes itself wrongly: {error}")))
}

/// The attribute columns, from what the file says of itself, which must be what the manifest says.
fn described(meta: &SegmentMeta, metadata: &ParquetMetaData) -> Result<Vec<AttributeColumn>, FormatError> {
    let description = description(metadata)?;
    if description.segment != meta.without_footer() {
        return Err(FormatError::damaged(
            WHAT,
            format!("is segment {}, not what the manifest says of {}", description.segment.id, meta.id),
        ));
    }
    Ok(description.attribute_columns)
}

fn check_directory(meta: &SegmentMeta, directory: &DirectoryIndex) -> Result<(), FormatError> {
    let mut next_row = 0;
    for (ordinal, part) in meta.tenants.iter().enumerate() {
        let blocks = directory.blocks().iter().filter(|block| block.tenant as usize == ordinal);
        let (rows, traces) = blocks.clone().fold((0u64, 0u64), |(rows, traces), block| {
            (rows.saturating_add(block.rows), traces + u64::from(block.traces))
        });
        let first_row = blocks.clone().next().map_or(part.first_row, |block| block.first_row);
        if (part.first_row, first_row, rows, traces) != (next_row, next_row, part.rows, part.traces) {
            return Err(FormatError::damaged(
                WHAT,
                format!("its directory contradicts the rows of {}", part.tenant),
            ));
        }
        next_row = next_row.saturating_add(rows);
    }
    let known = directory.blocks().iter().all(|block| (block.tenant as usize) < meta.tenants.len());
    let within = directory.blocks().iter().all(|block| block.range().end <= meta.checksums.offset);
    if next_row != meta.rows || !known || !within || !meta.tenants.is_sorted_by_key(|part| &part.tenant) {
        return Err(FormatError::damaged(WHAT, "its directory contradicts its rows"));
    }
    Ok(())
}

fn row_groups(
    meta: &SegmentMeta,
    metadata: &ParquetMetaData,
    leaves: &[Range<usize>],
) -> Result<Vec<RowGroup>, FormatError> {
    let damaged = || FormatError::damaged(WHAT, "its page index contradicts its row groups");
    let mut next_row = 0u64;
    let mut groups = Vec::with_capacity(metadata.num_row_groups());
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let rows = u64::try_from(group.num_rows()).map_err(|_| damaged())?;
        let end = next_row.checked_add(rows).ok_or_else(damaged)?;
        let offsets = metadata.offset_index().and_then(|indexes| indexes.get(index)).ok_or_else(damaged)?;
        let layout = GroupLayout::of(group, offsets).ok_or_else(damaged)?;
        let uniform = leaves.iter().map(|leaves| {
            let mut uniform = uniform_rows(metadata, index, group, leaves);
            uniform.shrink_to_fit();
            uniform
        });
        let uniform = uniform.collect();
        groups.push(RowGroup { rows: next_row..end, layout, uniform });
        next_row = end;
    }
    if next_row != meta.rows {
        return Err(damaged());
    }
    Ok(groups)
}

/// Rows of a row group where a column has only nulls, or one and the same 32-bit number, by the first of
/// its leaves that tells.
fn uniform_rows(
    metadata: &ParquetMetaData,
    group_index: usize,
    group: &RowGroupMetaData,
    leaves: &Range<usize>,
) -> Vec<UniformRows> {
    let indexes = metadata.column_index().and_then(|indexes| indexes.get(group_index));
    let offsets = metadata.offset_index().and_then(|indexes| indexes.get(group_index));
    let (Some(indexes), Some(offsets)) = (indexes, offsets) else { return Vec::new() };
    let group_rows = group.num_rows() as u64;
    for leaf in leaves.clone() {
        let (Some(index), Some(offsets)) = (indexes.get(leaf), offsets.get(leaf)) else { continue };
        let pages = offsets.page_locations().len();
        // Without statistics there is no index, of which nothing may be asked.
        if matches!(index, ColumnIndexMetaData::NONE) || index.num_pages() != pages as u64 {
            continue;
        }
        let flat = leaves.len() == 1;
        let mut uniform: Vec<UniformRows> = Vec::new();
        for page in 0..pages {
            let value = match index {
                _ if index.is_null_page(page) => None,
                ColumnIndexMetaData::INT32(bounds) if flat && index.null_count(page) == Some(0) => {
                    match (bounds.min_value(page), bounds.max_value(page)) {
                        (Some(min), Some(max)) if min == max => Some(*min),
                        _ => continue,
                    }
                }
                _ => continue,
            };
            let rows = page_rows(offsets, page, group_rows);
            match uniform.last_mut() {
                Some(last) if last.rows.end == rows.start && last.value == value => last.rows.end = rows.end,
                _ => uniform.push(UniformRows { rows, value }),
            }
        }
        return uniform;
    }
    Vec::new()
}

/// The rows of a page, counted within its row group.
pub(super) fn page_rows(offsets: &OffsetIndexMetaData, page: usize, group_rows: u64) -> Range<u64> {
    let first = |page: usize| offsets.page_locations().get(page).map(|page| page.first_row_index as u64);
    first(page).unwrap_or(group_rows)..first(page + 1).unwrap_or(group_rows)
}
