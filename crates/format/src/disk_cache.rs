//! A block of a segment in a file of its own. docs/formats/disk-cache.md specifies it.

use bytes::Bytes;
use ulid::Ulid;

use crate::FormatError;

/// Bytes of a segment's file that are a block; its last one has what is left.
pub const BLOCK_BYTES: u64 = 256 << 10;

/// Magic number, version, checksum.
pub const HEADER_BYTES: usize = 12;

const MAGIC: [u8; 4] = *b"TLDC";
const VERSION: u32 = 1;
const WHAT: &str = "block of the disk cache";

/// The checksum is the block's at its place: a file under another's name is damaged.
fn checksum(segment: Ulid, number: u32, block: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&segment.to_bytes()), &number.to_le_bytes());
    crc32c::crc32c_append(place, block)
}

/// What stands before the bytes of block `number` of a segment.
pub fn write_header(segment: Ulid, number: u32, block: &[u8]) -> [u8; HEADER_BYTES] {
    let parts = [u32::from_le_bytes(MAGIC), VERSION, checksum(segment, number, block)];
    let mut header = [0; HEADER_BYTES];
    for (bytes, part) in header.chunks_exact_mut(4).zip(parts) {
        bytes.copy_from_slice(&part.to_le_bytes());
    }
    header
}

/// The block of a file that should have block `number` of a segment.
///
/// # Errors
/// [`FormatError::Damaged`] if it has not, or was written by another version.
pub fn parse_block(segment: Ulid, number: u32, file: &Bytes) -> Result<Bytes, FormatError> {
    let block = file.slice(HEADER_BYTES.min(file.len())..);
    let is_intact = file.get(..HEADER_BYTES) == Some(&write_header(segment, number, &block));
    is_intact.then_some(block).ok_or_else(|| FormatError::damaged(WHAT, "its checksum differs"))
}

#[cfg(test)]
mod tests;
