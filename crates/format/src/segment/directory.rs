//! The trace directory: where each trace's rows are and what they amount to, so that neither a lookup
//! nor a summary has to search columns. docs/formats/segment.md, "Directory".

mod block;
mod build;

use std::ops::Range;

use tracelake_model::TraceId;
use tracelake_model::hash::trace_hash;

use super::column_set::ColumnSet;
use crate::FormatError;

pub use block::DirectoryBlock;
pub(super) use build::DirectoryBuilder;

const MAGIC: [u8; 4] = *b"TLDI";
pub(super) const VERSION: u32 = 2;
/// From this version on blocks say in which columns their traces have anything.
const VERSION_WITH_COLUMNS: u32 = 2;
const HEADER_BYTES: usize = 12;
const ENTRY_BYTES: usize = 48;
const WHAT: &str = "trace directory";

/// Traces a block: at some 40 bytes each, a lookup reads and inflates 10 KB at most.
const BLOCK_TRACES: usize = 256;

/// Services listed of one trace; it keeps an entry small whatever is sent.
const SERVICES_MAX: usize = 64;

/// Names are cut to this, for the same reason.
const NAME_BYTES_MAX: usize = 256;

/// One trace's rows in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEntry {
    /// The trace.
    pub trace_id: TraceId,
    /// Its first row in the segment.
    pub first_row: u64,
    /// How many rows it has there.
    pub rows: u64,
    /// The earliest start, in nanoseconds since 1970.
    pub start_unix_nano_min: u64,
    /// The latest end, in nanoseconds since 1970; before the start if no span ends after it.
    pub end_unix_nano_max: u64,
    /// Rows with status code 2.
    pub errors: u64,
    /// The earliest span without a parent, if it is here.
    pub root: Option<RootSpan>,
    /// Services with spans in it, at most 64.
    pub services: Vec<Box<str>>,
    /// Whether there are services beyond those listed.
    pub more_services: bool,
    /// The file's columns in which it may have anything.
    pub columns: ColumnSet,
}

/// What identifies a trace to a reader: its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSpan {
    /// The span's name, cut to 256 bytes.
    pub name: Box<str>,
    /// The service, if its resource names one.
    pub service: Option<Box<str>>,
}

impl TraceEntry {
    /// Its rows in the segment.
    pub fn row_range(&self) -> Range<u64> {
        self.first_row..self.first_row.saturating_add(self.rows)
    }
}

/// A block of the directory, in its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) tenant: u32,
    pub(super) traces: u32,
    pub(super) first_hash: u64,
    pub(super) first_row: u64,
    pub(super) rows: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) crc32c: u32,
}

impl Block {
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(u64::from(self.len))
    }
}

/// Finds the block of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DirectoryIndex {
    version: u32,
    blocks: Vec<Block>,
}

impl DirectoryIndex {
    /// Of the version that is written.
    pub(super) fn new() -> Self {
        Self { version: VERSION, blocks: Vec::new() }
    }

    /// Of the format, which is that of its blocks, too.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The one block that can list the trace.
    pub(super) fn block_of(&self, tenant: u32, trace_id: &TraceId) -> Option<&Block> {
        let key = (tenant, trace_hash(trace_id));
        let after = self.blocks.partition_point(|block| (block.tenant, block.first_hash) <= key);
        self.blocks.get(after.checked_sub(1)?).filter(|block| block.tenant == tenant)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + ENTRY_BYTES * self.blocks.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&(self.blocks.len() as u32).to_le_bytes());
        for block in &self.blocks {
            out.extend_from_slice(&block.tenant.to_le_bytes());
            out.extend_from_slice(&block.traces.to_le_bytes());
            out.extend_from_slice(&block.first_hash.to_le_bytes());
            out.extend_from_slice(&block.first_row.to_le_bytes());
            out.extend_from_slice(&block.rows.to_le_bytes());
            out.extend_from_slice(&block.offset.to_le_bytes());
            out.extend_from_slice(&block.len.to_le_bytes());
            out.extend_from_slice(&block.crc32c.to_le_bytes());
        }
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let damaged = |detail: &str| FormatError::damaged(WHAT, detail);
        let (header, entries) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| damaged("shorter than its header"))?;
        let [m0, m1, m2, m3, v0, v1, v2, v3, count @ ..] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(damaged("does not begin with TLDI"));
        }
        let version = u32::from_le_bytes([v0, v1, v2, v3]);
        if !(1..=VERSION).contains(&version) {
            return Err(FormatError::Version { what: WHAT, found: version, supported: VERSION });
        }
        let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() || entries.len() as u64 != u64::from(u32::from_le_bytes(count)) {
            return Err(damaged("its length is not that of the blocks it names"));
        }
        let blocks: Vec<Block> = entries.iter().map(parse_entry).collect();
        let in_order = blocks.is_sorted_by(|a, b| {
            (a.tenant, a.first_hash) < (b.tenant, b.first_hash)
                && a.first_row.checked_add(a.rows) == Some(b.first_row)
                && a.range().end <= b.offset
        });
        if !in_order {
            return Err(damaged("its blocks are not in order"));
        }
        Ok(Self { version, blocks })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>()
    }
}

fn parse_entry(entry: &[u8; ENTRY_BYTES]) -> Block {
    let (words, _) = entry.as_chunks::<4>();
    let word = |index: usize| words.get(index).map_or(0, |word| u32::from_le_bytes(*word));
    let long = |index: usize| u64::from(word(index)) | u64::from(word(index + 1)) << 32;
    Block {
        tenant: word(0),
        traces: word(1),
        first_hash: long(2),
        first_row: long(4),
        rows: long(6),
        offset: long(8),
        len: word(10),
        crc32c: word(11),
    }
}

#[cfg(test)]
mod tests;
