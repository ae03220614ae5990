//! For fuzz targets: bytes reach the parsers behind the checksums.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tracelake_model::TraceId;
use ulid::Ulid;

use super::columns::{AttributeColumns, AttributeType};
use super::directory::{Block, DirectoryBlock, DirectoryIndex, VERSION};
use super::filter::KeyFilter;
use super::index;
use super::merge::{Adapter, RowRun, RunSource};
use super::meta::{Section, SegmentMeta, SegmentTenant};
use super::open::{OpenSegment, description, parse_parquet};
use super::row_group::{RowGroupReader, WholeSegment};
use super::write::{SegmentPlan, SegmentWriter, SegmentWriterOptions};
use crate::FormatError;
use crate::checksum::ChecksumTable;

/// Treats `data` as each part of a segment, with a `SegmentMeta` whose checksums are right. Anything may
/// be refused; nothing may panic.
pub fn segment_open(data: &[u8]) {
    if let Ok(filter) = KeyFilter::parse(Bytes::copy_from_slice(data)) {
        for key in 0..16u64 {
            filter.contains(key << 60 | key);
        }
    }
    drop(ChecksumTable::parse(data));
    drop(DirectoryIndex::parse(data));
    let packed = zstd::bulk::compress(data, 1).unwrap_or_default();
    for bytes in [data, &packed] {
        let traces = data.first().map_or(0, |byte| u32::from(*byte & 0x7f));
        let block = Block {
            tenant: 0,
            traces,
            first_hash: 0,
            first_row: 0,
            rows: u64::from(traces),
            offset: 0,
            len: bytes.len() as u32,
            crc32c: crc32c::crc32c(bytes),
        };
        for version in 1..=VERSION {
            if let Ok(block) = DirectoryBlock::decode(&block, version, bytes) {
                assert_eq!(block.entries().count(), traces as usize);
            }
        }
    }
    index::fuzzing::index(data);
    open_tail(data);
}

/// The attribute index of a segment's `file` in which its bytes are damaged, behind checksums that are right, as
/// [`segment_rows`]. Whether all of it was read.
pub fn segment_index(file: &Bytes, edits: &[u8]) -> bool {
    let Some((meta, mut segment)) = open_file(file) else { return false };
    let damaged;
    (damaged, segment.checksums) = damage(file, &meta, edits);
    let mut all = !segment.index_parts().is_empty();
    for part in segment.index_parts() {
        let range = segment.checksums.align(part.range());
        let bytes = damaged.slice(range.start as usize..range.end as usize);
        let Ok(bytes) = segment.index_bytes(vec![(range, bytes)]) else { return false };
        let Some(header) = damaged.get(part.header_range().start as usize..part.header_range().end as usize)
        else {
            return false;
        };
        let mut part = *part;
        part.set_header(header);
        match segment.index_header(&part, &bytes) {
            Ok(header) => {
                all &= segment.trace_table(&header, &bytes).is_ok();
                index::fuzzing::ask(&header, &bytes);
            }
            Err(_) => all = false,
        }
    }
    all
}

/// The rows of a segment's `file` in which pages are damaged, behind checksums that are right: each four bytes of
/// `edits` are a place and what it is changed by. Any error will do; nothing may panic. Whether all were read.
pub fn segment_rows(file: &Bytes, edits: &[u8]) -> bool {
    let Some((meta, mut segment)) = open_file(file) else { return false };
    let damaged;
    (damaged, segment.checksums) = damage(file, &meta, edits);
    let mut all = true;
    for rows in [0..meta.rows, meta.rows / 3..meta.rows / 2] {
        let slice = |range: Range<u64>| {
            let bytes = damaged.slice(range.start as usize..range.end as usize);
            (range, bytes)
        };
        let fetched = segment.ranges_for_rows(rows.clone()).into_iter().map(slice).collect();
        match segment.decode_rows(rows.clone(), fetched) {
            Ok(spans) => assert_eq!(spans.len() as u64, rows.end - rows.start),
            Err(_) => all = false,
        }
    }
    all
}

/// The same for a merge, into a segment with the same columns, into one that has none for attributes, and into one that
/// has them for values of other types. Not for fuzzers that end at a panic which is caught: the Parquet crate's reader has some.
pub fn segment_merge(file: &Bytes, edits: &[u8]) -> bool {
    let Some((meta, segment)) = open_file(file) else { return false };
    let (damaged, checksums) = damage(file, &meta, edits);
    let tail = usize::try_from(OpenSegment::tail_range(&meta).start).unwrap_or(usize::MAX);
    let Ok(mut whole) = WholeSegment::open(&meta, file.slice(tail.min(file.len())..)) else { return false };
    whole.segment.checksums = checksums;
    let whole = Arc::new(whole);
    let columns = segment.attribute_columns().to_vec();
    let keys = columns.iter().map(|column| column.key.clone()).collect();
    let mut others = columns.clone();
    for column in &mut others {
        let is_text = column.kind == AttributeType::String;
        column.kind = if is_text { AttributeType::Int } else { AttributeType::String };
    }
    let plans = [columns, Vec::new(), others]
        .map(|columns| SegmentPlan::of_sample(&[], &AttributeColumns { columns }, &keys));
    let merged = plans.map(|plan| match merge(&meta, &whole, &damaged, &plan) {
        Ok(rows) => {
            assert_eq!(rows, meta.rows);
            true
        }
        Err(_) => false,
    });
    merged == [true; 3]
}

/// All rows in the columns of a plan; how many.
fn merge(
    meta: &SegmentMeta,
    whole: &Arc<WholeSegment>,
    file: &Bytes,
    plan: &SegmentPlan,
) -> Result<u64, FormatError> {
    let adapter = Adapter::new(whole.segment(), plan);
    let mut writer = SegmentWriter::begin(meta.id, 1, plan, &SegmentWriterOptions::default())?;
    for (group, (range, _)) in (0..).map_while(|group| Some((group, RowGroupReader::range(whole, group)?))) {
        let bytes = file.slice(range.start as usize..range.end as usize);
        for rows in RowGroupReader::new(Arc::clone(whole), group, (range, bytes), 20)? {
            let rows = rows?;
            rows.spans()?;
            let rows = adapter.adapt(rows)?;
            let mut run = RowRun::of_row(0, 0);
            let all = (1..rows.rows().len()).all(|row| run.extend(0, row as u32));
            assert!(all, "they are neighbours");
            let sources = [RunSource { tables: writer.tables(&rows)?, rows: &rows }];
            let tenant = meta.tenants.first().map(|part| part.tenant.clone()).unwrap_or_default();
            writer.push(&tenant, &[run], &sources)?;
        }
    }
    Ok(writer.finish()?.meta.rows)
}

/// The file with edits among its pages, and the checksums of that.
fn damage(file: &Bytes, meta: &SegmentMeta, edits: &[u8]) -> (Bytes, ChecksumTable) {
    let mut damaged = file.to_vec();
    let pages_end = usize::try_from(meta.filter.offset).unwrap_or(0).min(damaged.len()).max(1);
    for edit in edits.chunks_exact(4) {
        let [low, middle, high, change] = [0, 1, 2, 3].map(|at| edit.get(at).copied().unwrap_or_default());
        let place = u32::from_le_bytes([low, middle, high, 0]) as usize;
        if let Some(byte) = damaged.get_mut(place % pages_end) {
            *byte ^= change;
        }
    }
    let covered = usize::try_from(meta.checksums.offset).unwrap_or(usize::MAX);
    let checksums = ChecksumTable::of(damaged.get(..covered).unwrap_or_default());
    (Bytes::from(damaged), checksums)
}

/// A segment by what its file says of itself.
fn open_file(file: &Bytes) -> Option<(SegmentMeta, OpenSegment)> {
    let size_bytes = file.len() as u64;
    let mut meta = description(&parse_parquet(file, size_bytes).ok()?).ok()?.segment;
    let offset = meta.checksums.range().end;
    let footer = file.get(usize::try_from(offset).ok()?..)?;
    meta.footer = Section { offset, len: footer.len() as u64, crc32c: crc32c::crc32c(footer) };
    meta.size_bytes = size_bytes;
    let tail = usize::try_from(OpenSegment::tail_range(&meta).start).ok()?;
    let segment = OpenSegment::open(&meta, file.slice(tail..)).ok()?;
    Some((meta, segment))
}

/// `data` as the footer of an empty file, and split into directory index, checksum table and footer.
fn open_tail(data: &[u8]) {
    let index = DirectoryIndex::new().to_bytes();
    let at = index.len() as u64;
    let table = ChecksumTable::of(&vec![0; index.len()]).to_bytes();
    let whole = [index.as_slice(), table.as_slice(), data].concat();
    let meta = meta_of(&whole, 0..index.len(), index.len()..index.len() + table.len());
    debug_assert_eq!(meta.checksums.offset, at);
    read(&meta, whole);
    if let Some((lengths, rest)) = data.split_first_chunk::<4>() {
        let [a, b, c, d] = lengths.map(usize::from);
        let first = (a | b << 8).min(rest.len());
        let second = (first + (c | d << 8)).min(rest.len());
        read(&meta_of(rest, 0..first, first..second), rest.to_vec());
    }
}

fn read(meta: &SegmentMeta, file: Vec<u8>) {
    let file = Bytes::from(file);
    let Ok(segment) = OpenSegment::open(meta, file.clone()) else { return };
    let tenant = tracelake_model::TenantId::default();
    if let Some(id) = TraceId::from_bytes(&[1; 16]) {
        segment.directory_block_range(&tenant, &id);
    }
    segment.ranges_for_rows(0..u64::MAX);
}

fn meta_of(file: &[u8], directory: std::ops::Range<usize>, checksums: std::ops::Range<usize>) -> SegmentMeta {
    let section = |range: std::ops::Range<usize>| Section {
        offset: range.start as u64,
        len: range.len() as u64,
        crc32c: crc32c::crc32c(file.get(range).unwrap_or_default()),
    };
    let footer = section(checksums.end..file.len());
    let tenants = vec![SegmentTenant { tenant: Default::default(), first_row: 0, rows: 0, traces: 0 }];
    SegmentMeta {
        size_bytes: file.len() as u64,
        tenants,
        directory: section(directory),
        checksums: section(checksums),
        footer,
        ..SegmentMeta::new(Ulid::nil(), 0)
    }
}
