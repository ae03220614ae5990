//! What an open segment says of its index, and bytes of it that were read.

use std::ops::Range;

use bytes::Bytes;

use tracelake_model::TenantId;

use super::damaged;
use super::header::IndexHeader;
use super::parts::IndexPart;
use super::trace_table::TraceTable;
use crate::FormatError;
use crate::segment::open::OpenSegment;

/// Bytes of a segment's index, verified. What is asked of the index is answered from these.
#[derive(Debug, Clone, Default)]
pub struct IndexBytes {
    parts: Vec<(Range<u64>, Bytes)>,
}

impl IndexBytes {
    /// Adds what others have.
    pub fn extend(&mut self, others: Self) {
        self.parts.extend(others.parts);
    }

    /// Of a file that has nothing else.
    pub(super) fn of(file: &Bytes) -> Self {
        Self { parts: vec![(0..file.len() as u64, file.clone())] }
    }

    /// These alone, in memory of their own.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if they were not read.
    pub fn only(&self, range: &Range<u64>) -> Result<Self, FormatError> {
        let bytes = Bytes::copy_from_slice(&self.get(range)?);
        Ok(Self { parts: vec![(range.clone(), bytes)] })
    }

    /// What they take.
    pub fn heap_bytes(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len() + size_of::<(Range<u64>, Bytes)>()).sum()
    }

    /// The bytes of a range.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if not all of it was read.
    pub fn get(&self, range: &Range<u64>) -> Result<Bytes, FormatError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let holds = |(part, _): &&(Range<u64>, Bytes)| part.start <= range.start && part.end >= range.end;
        let found = self.parts.iter().find(holds).and_then(|(part, bytes)| {
            let start = usize::try_from(range.start - part.start).ok()?;
            let end = usize::try_from(range.end - part.start).ok().filter(|end| *end <= bytes.len())?;
            Some(bytes.slice(start..end))
        });
        found.ok_or_else(|| damaged(format!("bytes {} to {} were not read", range.start, range.end)))
    }
}

impl OpenSegment {
    /// The parts of the attribute index in the order of rows; none if the segment has no index.
    pub fn index_parts(&self) -> &[IndexPart] {
        &self.index.parts
    }

    /// Those of a tenant; none if the segment has no index, or nothing of the tenant.
    pub fn index_parts_of(&self, tenant: &TenantId) -> &[IndexPart] {
        let Some((ordinal, _)) = self.meta.tenant(tenant) else { return &[] };
        let from = self.index.parts.partition_point(|part| (part.tenant as usize) < ordinal);
        let to = self.index.parts.partition_point(|part| part.tenant as usize <= ordinal);
        self.index.parts.get(from..to).unwrap_or_default()
    }

    /// Whether it has an attribute index: then each of its rows is in a part.
    pub fn has_index(&self) -> bool {
        self.meta.has_index()
    }

    /// What to read in order to have these bytes: whole checksum blocks, each once, in order. Those that touch are one.
    pub fn index_ranges(&self, wanted: &[Range<u64>]) -> Vec<Range<u64>> {
        let wanted = wanted.iter().filter(|range| !range.is_empty());
        let mut aligned: Vec<Range<u64>> = wanted.map(|range| self.checksums.align(range.clone())).collect();
        aligned.sort_unstable_by_key(|range| range.start);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for range in aligned {
            match ranges.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => ranges.push(range),
            }
        }
        ranges
    }

    /// From parts of the file that have the bytes of [`index_ranges`](Self::index_ranges).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a part has another length than its range, or a checksum differs.
    pub fn index_bytes(&self, fetched: Vec<(Range<u64>, Bytes)>) -> Result<IndexBytes, FormatError> {
        for (range, bytes) in &fetched {
            if range.end.checked_sub(range.start) != Some(bytes.len() as u64) {
                return Err(damaged(format!("of bytes {} to {} others were read", range.start, range.end)));
            }
            self.checksums.verify(range.start, bytes)?;
        }
        Ok(IndexBytes { parts: fetched })
    }

    /// The header of a part, from the bytes of its [`header_range`](IndexPart::header_range).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if they are none.
    pub fn index_header(&self, part: &IndexPart, fetched: &IndexBytes) -> Result<IndexHeader, FormatError> {
        IndexHeader::decode(part, &fetched.get(&part.header_range())?)
    }

    /// The traces of a part, from the bytes of its [`trace_table_range`](IndexHeader::trace_table_range).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if they are none.
    pub fn trace_table(&self, header: &IndexHeader, fetched: &IndexBytes) -> Result<TraceTable, FormatError> {
        let part = header.part();
        let bytes = fetched.get(&header.trace_table_range())?;
        TraceTable::read(&bytes, part.traces, part.first_row, part.rows)
    }
}
