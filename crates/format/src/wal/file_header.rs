//! The header of a WAL file: which file this is, and the salt that ties its frames to it.

use ulid::Ulid;

use super::{FILE_HEADER_BYTES, VERSION};
use crate::FormatError;

const MAGIC: &[u8; 8] = b"TLAKEWAL";
const BLOCK_BYTES: usize = FILE_HEADER_BYTES / 2;
const CRC_AT: usize = BLOCK_BYTES - 4;
const WHAT: &str = "WAL file header";

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    /// The file's number, which is its generation's.
    pub sequence: u64,
    /// Random; seeds every CRC of the file.
    pub salt: u64,
    /// When the file was begun.
    pub created_unix_nano: u64,
    /// Length of the file with the sequence before, when this one was begun; 0: not known.
    pub previous_bytes: u64,
    /// The log that the file is of: two logs have files with the same numbers.
    pub wal: Ulid,
}

/// A header as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodedFileHeader {
    /// What it says.
    pub header: FileHeader,
    /// Whether both its copies are whole.
    pub intact: bool,
}

/// The first [`FILE_HEADER_BYTES`] of a file.
pub fn encode_file_header(header: &FileHeader) -> [u8; FILE_HEADER_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        block[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    };
    put(MAGIC);
    put(&VERSION.to_le_bytes());
    put(&(FILE_HEADER_BYTES as u32).to_le_bytes());
    put(&header.sequence.to_le_bytes());
    put(&header.salt.to_le_bytes());
    put(&header.created_unix_nano.to_le_bytes());
    put(&header.previous_bytes.to_le_bytes());
    put(&header.wal.to_bytes());
    let crc = crc32c::crc32c(&block[..CRC_AT]);
    block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());

    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[..BLOCK_BYTES].copy_from_slice(&block);
    bytes[BLOCK_BYTES..].copy_from_slice(&block);
    bytes
}

/// Reads the header from the start of a file; one whole copy is enough.
///
/// # Errors
/// [`FormatError::Version`] if a newer Tracelake wrote it, [`FormatError::Damaged`] if neither copy
/// is whole.
pub fn decode_file_header(bytes: &[u8]) -> Result<DecodedFileHeader, FormatError> {
    let first = decode_block(bytes.get(..BLOCK_BYTES));
    let second = decode_block(bytes.get(BLOCK_BYTES..FILE_HEADER_BYTES));
    match (first, second) {
        (Err(newer @ FormatError::Version { .. }), _) | (_, Err(newer @ FormatError::Version { .. })) => {
            Err(newer)
        }
        (Ok(header), other) => Ok(DecodedFileHeader { header, intact: other.is_ok_and(|o| o == header) }),
        (Err(_), Ok(header)) => Ok(DecodedFileHeader { header, intact: false }),
        (Err(damaged), Err(_)) => Err(damaged),
    }
}

fn decode_block(block: Option<&[u8]>) -> Result<FileHeader, FormatError> {
    let short = || FormatError::damaged(WHAT, "the file ends within it");
    let block = block.ok_or_else(short)?;
    let u32_at = |at| super::frame::u32_at(block, at).ok_or_else(short);
    let u64_at = |at| super::frame::u64_at(block, at).ok_or_else(short);
    if !block.starts_with(MAGIC) {
        return Err(FormatError::damaged(WHAT, "it does not begin with the magic"));
    }
    if block.get(..CRC_AT).map(crc32c::crc32c) != Some(u32_at(CRC_AT)?) {
        return Err(FormatError::damaged(WHAT, "its checksum does not match"));
    }
    // Only after the checksum: a flipped bit must not look like a newer version.
    let version = u32_at(8)?;
    if version > VERSION {
        return Err(FormatError::Version { what: "WAL file", found: version, supported: VERSION });
    }
    if version == 0 || u32_at(12)? as usize != FILE_HEADER_BYTES {
        return Err(FormatError::damaged(WHAT, "its version and size do not fit"));
    }
    Ok(FileHeader {
        sequence: u64_at(16)?,
        salt: u64_at(24)?,
        created_unix_nano: u64_at(32)?,
        previous_bytes: u64_at(40)?,
        wal: Ulid::from_bytes(block.get(48..64).and_then(|wal| wal.try_into().ok()).ok_or_else(short)?),
    })
}
