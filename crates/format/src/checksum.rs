//! Checksums of a file in blocks, so that a part of it can be verified alone. CRC32C, because
//! processors compute it. What the file means is not known here. docs/formats/segment.md, "Checksums".

use std::ops::Range;

use crate::FormatError;

/// Bytes a block: what file systems read at least, with a table of 0.1 % of the file.
pub const BLOCK_BYTES: u64 = 4096;

const MAGIC: [u8; 4] = *b"TLCS";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 20;
const WHAT: &str = "checksum table";

/// CRC32C of each block of a file's first bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChecksumTable {
    covered: u64,
    blocks: Vec<u32>,
}

impl ChecksumTable {
    /// The table of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut table = Self::default();
        table.extend(bytes);
        table
    }

    /// Covers more bytes, which come after those that are covered.
    pub fn extend(&mut self, bytes: &[u8]) {
        let begun = (self.covered % BLOCK_BYTES) as usize;
        let room = if begun == 0 { 0 } else { BLOCK_BYTES as usize - begun };
        let (rest_of_block, blocks) = bytes.split_at(room.min(bytes.len()));
        if let Some(last) = self.blocks.last_mut().filter(|_| !rest_of_block.is_empty()) {
            *last = crc32c::crc32c_append(*last, rest_of_block);
        }
        self.blocks.extend(blocks.chunks(BLOCK_BYTES as usize).map(crc32c::crc32c));
        self.covered += bytes.len() as u64;
    }

    /// How many bytes of the file the table covers, from its beginning.
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// The smallest range of whole blocks that holds `range`, cut at the end of what is covered.
    pub fn align(&self, range: Range<u64>) -> Range<u64> {
        let start = range.start.min(self.covered) / BLOCK_BYTES * BLOCK_BYTES;
        let end = range.end.min(self.covered).div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES);
        start..end.min(self.covered).max(start)
    }

    /// Whether `bytes`, which begin at `start` in the file, are what was written. They must be whole
    /// blocks, as [`align`](Self::align) gives them.
    pub fn verify(&self, start: u64, bytes: &[u8]) -> Result<(), FormatError> {
        let end = start.saturating_add(bytes.len() as u64);
        if self.align(start..end) != (start..end) {
            return Err(FormatError::damaged(
                "file",
                format!("bytes {start} to {end} are not whole blocks of the {} covered", self.covered),
            ));
        }
        let first = usize::try_from(start / BLOCK_BYTES).unwrap_or(usize::MAX);
        let expected = self.blocks.get(first..).unwrap_or_default();
        for (index, block) in bytes.chunks(BLOCK_BYTES as usize).enumerate() {
            if expected.get(index) != Some(&crc32c::crc32c(block)) {
                let at = start + index as u64 * BLOCK_BYTES;
                return Err(FormatError::damaged(
                    "file",
                    format!("checksum of the block at byte {at} differs"),
                ));
            }
        }
        Ok(())
    }

    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + 4 * self.blocks.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
        out.extend_from_slice(&self.covered.to_le_bytes());
        for block in &self.blocks {
            out.extend_from_slice(&block.to_le_bytes());
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let damaged = |detail: &str| FormatError::damaged(WHAT, detail);
        let header: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or_else(|| damaged("shorter than its header"))?;
        let [m0, m1, m2, m3, v0, v1, v2, v3, b0, b1, b2, b3, covered @ ..] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(damaged("does not begin with TLCS"));
        }
        let version = u32::from_le_bytes([v0, v1, v2, v3]);
        if version != VERSION {
            return Err(FormatError::Version { what: WHAT, found: version, supported: VERSION });
        }
        let covered = u64::from_le_bytes(covered);
        let table = bytes.get(HEADER_BYTES..).unwrap_or_default();
        if u64::from(u32::from_le_bytes([b0, b1, b2, b3])) != BLOCK_BYTES {
            return Err(damaged("blocks are not of 4096 bytes"));
        }
        if table.len() as u64 != covered.div_ceil(BLOCK_BYTES).saturating_mul(4) {
            return Err(damaged("its length is not that of the blocks it names"));
        }
        let (words, _) = table.as_chunks::<4>();
        Ok(Self { covered, blocks: words.iter().map(|word| u32::from_le_bytes(*word)).collect() })
    }

    /// Bytes on the heap, for accounting.
    pub fn heap_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests;
