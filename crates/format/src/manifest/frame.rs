//! What surrounds the JSON of a manifest object: magic, version, length, checksums. A single flipped
//! bit anywhere is found here, before anything is parsed.

use crate::FormatError;

/// The newest format that is read.
pub const FORMAT_VERSION: u32 = 4;

/// What is written where nothing of a newer one is needed, so that older builds can read it.
pub(super) const FIRST_VERSION: u32 = 1;

/// The first that knows of retention.
pub(super) const RETENTION_VERSION: u32 = 2;

/// The first whose segments may have an attribute index.
pub(super) const INDEX_VERSION: u32 = 3;

/// The first whose segments may have filters of values.
pub(super) const VALUE_FILTERS_VERSION: u32 = 4;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 32;

/// A payload's size at most. A checkpoint takes about 1 KB for each live segment: this is 250,000 of
/// them, ten times what compaction leaves of a petabyte.
pub const PAYLOAD_BYTES_MAX: u64 = 256 << 20;

const MAGIC: [u8; 8] = *b"TLKMANIF";

/// What a manifest object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One commit.
    Entry = 1,
    /// Everything as of a version.
    Checkpoint = 2,
    /// Everything as of a version, with all segments beside it.
    Backup = 3,
}

impl Kind {
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Entry => "manifest entry",
            Self::Checkpoint => "manifest checkpoint",
            Self::Backup => "backup",
        }
    }
}

/// Puts the header before a payload.
pub(super) fn seal(kind: Kind, version: u32, payload: &[u8]) -> Result<Vec<u8>, FormatError> {
    let len = payload.len() as u64;
    if len > PAYLOAD_BYTES_MAX {
        return Err(FormatError::TooLarge { what: kind.what(), size: len, max: PAYLOAD_BYTES_MAX });
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&(kind as u32).to_le_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// The format's version and the payload, if every byte of the object is what was written.
pub(super) fn open(kind: Kind, object: &[u8]) -> Result<(u32, &[u8]), FormatError> {
    let what = kind.what();
    let Some((header, payload)) = object.split_first_chunk::<HEADER_BYTES>() else {
        return Err(FormatError::damaged(what, format!("{} bytes are less than a header", object.len())));
    };
    let mut fields = Fields(header);
    if fields.take::<8>() != MAGIC {
        return Err(FormatError::damaged(what, "it does not begin as a manifest object does"));
    }
    let version = u32::from_le_bytes(fields.take());
    let found_kind = u32::from_le_bytes(fields.take());
    let payload_len = u64::from_le_bytes(fields.take());
    let payload_crc = u32::from_le_bytes(fields.take());
    let header_crc = u32::from_le_bytes(fields.take());

    if header_crc != header_checksum(header) {
        return Err(FormatError::damaged(what, "the header's checksum does not match"));
    }
    if !(FIRST_VERSION..=FORMAT_VERSION).contains(&version) {
        return Err(FormatError::Version { what, found: version, supported: FORMAT_VERSION });
    }
    if found_kind != kind as u32 {
        return Err(FormatError::damaged(what, format!("its kind is {found_kind}, not {}", kind as u32)));
    }
    if payload_len > PAYLOAD_BYTES_MAX {
        return Err(FormatError::TooLarge { what, size: payload_len, max: PAYLOAD_BYTES_MAX });
    }
    if payload_len != payload.len() as u64 {
        let detail = format!("the payload has {} bytes, not {payload_len}", payload.len());
        return Err(FormatError::damaged(what, detail));
    }
    if payload_crc != crc32c::crc32c(payload) {
        return Err(FormatError::damaged(what, "the payload's checksum does not match"));
    }
    Ok((version, payload))
}

/// Refuses a payload with fields that its format does not have.
pub(super) fn check_version(kind: Kind, found: u32, needed: u32) -> Result<(), FormatError> {
    if found >= needed {
        return Ok(());
    }
    let detail = format!("it says format version {found} and has what came with version {needed}");
    Err(FormatError::damaged(kind.what(), detail))
}

/// The checksum that a header should end with.
pub(super) fn header_checksum(header: &[u8; HEADER_BYTES]) -> u32 {
    crc32c::crc32c(header.first_chunk::<{ HEADER_BYTES - 4 }>().map_or(&[][..], |covered| covered))
}

/// Takes a header apart from its front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes. The fields together are as long as the header, so they are always there.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}
