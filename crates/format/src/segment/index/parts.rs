//! Which parts a segment's attribute index has, and where.

use std::ops::Range;

use super::damaged;
use crate::FormatError;
use crate::segment::meta::SegmentMeta;

const MAGIC: [u8; 4] = *b"TLPI";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 12;
const ENTRY_BYTES: usize = 48;

/// Neighbouring rows of one tenant with an index of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexPart {
    /// The tenant's place in [`SegmentMeta::tenants`].
    pub tenant: u32,
    /// The first row in the segment.
    pub first_row: u64,
    /// How many rows.
    pub rows: u32,
    /// In how many traces, of which the first and the last may have more rows elsewhere.
    pub traces: u32,
    pub(super) resources: u32,
    pub(super) scopes: u32,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) header_len: u32,
    pub(super) header_crc32c: u32,
}

impl IndexPart {
    /// Its rows in the segment.
    pub fn row_range(&self) -> Range<u64> {
        self.first_row..self.first_row.saturating_add(self.rows.into())
    }

    /// All its bytes in the file.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.len.into())
    }

    /// The checksum of a header that it has from now on.
    pub(in crate::segment) fn set_header(&mut self, bytes: &[u8]) {
        self.header_crc32c = crc32c::crc32c(bytes);
    }

    /// The bytes of its header, with which it ends.
    pub fn header_range(&self) -> Range<u64> {
        let end = self.range().end;
        end.saturating_sub(self.header_len.into())..end
    }
}

/// The parts of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::segment) struct PartIndex {
    pub(in crate::segment) parts: Vec<IndexPart>,
}

impl PartIndex {
    pub(in crate::segment) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + ENTRY_BYTES * self.parts.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.parts.len() as u32).to_le_bytes());
        for part in &self.parts {
            out.extend_from_slice(&part.tenant.to_le_bytes());
            out.extend_from_slice(&part.rows.to_le_bytes());
            out.extend_from_slice(&part.first_row.to_le_bytes());
            out.extend_from_slice(&part.traces.to_le_bytes());
            out.extend_from_slice(&part.resources.to_le_bytes());
            out.extend_from_slice(&part.scopes.to_le_bytes());
            out.extend_from_slice(&part.len.to_le_bytes());
            out.extend_from_slice(&part.offset.to_le_bytes());
            out.extend_from_slice(&part.header_len.to_le_bytes());
            out.extend_from_slice(&part.header_crc32c.to_le_bytes());
        }
        out
    }

    pub(in crate::segment) fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let (header, entries) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or_else(|| damaged("the index of parts is shorter than its header"))?;
        let [m0, m1, m2, m3, v0, v1, v2, v3, count @ ..] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(damaged("the index of parts does not begin with TLPI"));
        }
        let version = u32::from_le_bytes([v0, v1, v2, v3]);
        if version != VERSION {
            return Err(FormatError::Version { what: super::WHAT, found: version, supported: VERSION });
        }
        let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() || entries.len() as u64 != u64::from(u32::from_le_bytes(count)) {
            return Err(damaged("its length is not that of the parts it names"));
        }
        Ok(Self { parts: entries.iter().map(parse_entry).collect() })
    }

    /// Whether these are parts of that segment: each row of a tenant is in one of them.
    pub(in crate::segment) fn check(&self, meta: &SegmentMeta) -> Result<(), FormatError> {
        let mut parts = self.parts.iter().peekable();
        let mut free_from = 0;
        for (ordinal, tenant) in meta.tenants.iter().enumerate() {
            let mut next_row = tenant.first_row;
            while let Some(part) = parts.next_if(|part| part.tenant as usize == ordinal) {
                let most = [part.traces, part.resources, part.scopes].into_iter().max().unwrap_or_default();
                let least = [part.traces, part.resources, part.scopes].into_iter().min().unwrap_or_default();
                let is_possible = part.first_row == next_row
                    && (1..=part.rows).contains(&least)
                    && most <= part.rows
                    && part.header_len <= part.len
                    && part.offset >= free_from;
                if !is_possible {
                    return Err(damaged("its parts contradict each other"));
                }
                next_row = part.row_range().end;
                free_from = part.range().end;
            }
            if Some(next_row) != tenant.first_row.checked_add(tenant.rows) {
                return Err(damaged(format!("its parts are not all rows of {}", tenant.tenant)));
            }
        }
        if parts.next().is_some() || free_from > meta.filter.offset {
            return Err(damaged("its parts contradict the segment"));
        }
        Ok(())
    }

    pub(in crate::segment) fn heap_bytes(&self) -> usize {
        self.parts.capacity() * size_of::<IndexPart>()
    }
}

fn parse_entry(entry: &[u8; ENTRY_BYTES]) -> IndexPart {
    let (words, _) = entry.as_chunks::<4>();
    let word = |index: usize| words.get(index).map_or(0, |word| u32::from_le_bytes(*word));
    let long = |index: usize| u64::from(word(index)) | u64::from(word(index + 1)) << 32;
    IndexPart {
        tenant: word(0),
        rows: word(1),
        first_row: long(2),
        traces: word(4),
        resources: word(5),
        scopes: word(6),
        len: word(7),
        offset: long(8),
        header_len: word(10),
        header_crc32c: word(11),
    }
}

#[cfg(test)]
mod tests;
