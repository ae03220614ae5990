//! One frame of the WAL: what a request was, and its bytes. Both checksums are seeded with the file
//! and the place, so a frame is whole only where it was written.

use std::str;

use bytes::Bytes;
use tracelake_model::{TenantId, limits};

use super::{FRAME_HEADER_BYTES, FileHeader};
use crate::FormatError;

pub(super) const MARKER: [u8; 4] = [0xF7, b'T', b'L', b'F'];
const TENANT_AT: usize = 64;
const TENANT_BYTES: usize = 64;
const CRC_AT: usize = FRAME_HEADER_BYTES - 4;
const WHAT: &str = "WAL frame";

/// What a frame's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// One request: an OTLP `ExportTraceServiceRequest` in protobuf.
    Spans,
    /// The recent requests at the beginning of a file, see [`super::decode_requests`].
    Requests,
}

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// One LZ4 block.
    Lz4,
}

/// What a frame says about its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameMeta {
    /// What the payload is.
    pub kind: FrameKind,
    /// Whose spans; none in [`FrameKind::Requests`].
    pub tenant: Option<TenantId>,
    /// When the request arrived.
    pub arrival_unix_nano: u64,
    /// The request's hash, by which it is recognised when it is sent again.
    pub request_hash: u128,
    /// Number of spans.
    pub span_count: u32,
    /// Earliest start of the spans.
    pub start_unix_nano_min: u64,
    /// Latest start of the spans.
    pub start_unix_nano_max: u64,
}

/// What a frame says about its group: the frames that were made durable together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameGroup {
    /// The file's length that was durable when this frame was written: where its group begins.
    pub durable_bytes: u64,
    /// Whether a generation ended right before this group, and before the group before it.
    pub cuts: [bool; 2],
}

/// A frame's header, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameHeader {
    /// What it says about the payload.
    pub meta: FrameMeta,
    /// How the payload is stored.
    pub compression: Compression,
    /// Bytes of the payload in the file.
    pub stored_bytes: u32,
    /// Bytes of the payload decoded.
    pub decoded_bytes: u32,
    /// What it says about its group.
    pub group: FrameGroup,
    payload_crc: u32,
}

impl FrameHeader {
    /// Bytes of the whole frame in the file.
    pub fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.stored_bytes)
    }
}

/// A whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it says about the payload.
    pub meta: FrameMeta,
    /// What it says about its group.
    pub group: FrameGroup,
    /// Where in the file it begins.
    pub offset: u64,
    /// The payload, decoded.
    pub payload: Bytes,
}

/// A payload as it goes into the file.
#[derive(Debug, Clone, Copy)]
pub struct StoredPayload<'a> {
    /// How it is stored.
    pub compression: Compression,
    /// Its bytes decoded.
    pub decoded_bytes: usize,
    /// Its bytes as stored.
    pub stored: &'a [u8],
}

impl<'a> StoredPayload<'a> {
    /// A payload stored as it is.
    pub fn plain(payload: &'a [u8]) -> Self {
        Self { compression: Compression::None, decoded_bytes: payload.len(), stored: payload }
    }
}

/// Ties checksums to one file; from its header.
#[derive(Debug, Clone, Copy)]
pub struct FileSeal {
    crc: u32,
}

impl FileSeal {
    /// The seal of the file with this header.
    pub fn new(header: &FileHeader) -> Self {
        let crc = crc32c::crc32c(&header.salt.to_le_bytes());
        Self { crc: crc32c::crc32c_append(crc, &header.sequence.to_le_bytes()) }
    }

    fn checksum(self, offset: u64, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.crc, &offset.to_le_bytes()), bytes)
    }
}

/// Compresses a payload, if that makes it smaller. `buffer` is where the compressed bytes go.
pub fn compress<'a>(
    payload: &'a [u8],
    compression: Compression,
    buffer: &'a mut Vec<u8>,
) -> StoredPayload<'a> {
    if compression == Compression::Lz4 {
        buffer.resize(lz4_flex::block::get_maximum_output_size(payload.len()), 0);
        let compressed = lz4_flex::block::compress_into(payload, buffer).ok();
        if let Some(stored) = compressed.filter(|len| *len < payload.len()).and_then(|len| buffer.get(..len))
        {
            return StoredPayload { compression, decoded_bytes: payload.len(), stored };
        }
    }
    StoredPayload::plain(payload)
}

/// The bytes that stand before the payload of a frame at `offset`.
///
/// # Errors
/// [`FormatError::TooLarge`] if the payload is over `wal_frame_bytes_max`.
pub fn encode_frame_header(
    seal: FileSeal,
    offset: u64,
    group: FrameGroup,
    meta: &FrameMeta,
    payload: StoredPayload<'_>,
) -> Result<[u8; FRAME_HEADER_BYTES], FormatError> {
    let length = |size: usize| match u32::try_from(size) {
        Ok(length) if u64::from(length) <= limits::WAL_FRAME_BYTES_MAX => Ok(length),
        _ => {
            let max = limits::WAL_FRAME_BYTES_MAX;
            Err(FormatError::TooLarge { what: "WAL frame's payload in bytes", size: size as u64, max })
        }
    };
    let tenant = meta.tenant.as_ref().map_or("", TenantId::as_str).as_bytes();
    let mut bytes = [0; FRAME_HEADER_BYTES];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &MARKER);
    put(
        4,
        &[
            match meta.kind {
                FrameKind::Spans => 1,
                FrameKind::Requests => 2,
            },
            match payload.compression {
                Compression::None => 0,
                Compression::Lz4 => 1,
            },
            tenant.len() as u8,
        ],
    );
    put(8, &length(payload.stored.len())?.to_le_bytes());
    put(12, &length(payload.decoded_bytes)?.to_le_bytes());
    put(16, &meta.arrival_unix_nano.to_le_bytes());
    put(24, &meta.request_hash.to_le_bytes());
    put(40, &meta.start_unix_nano_min.to_le_bytes());
    put(48, &meta.start_unix_nano_max.to_le_bytes());
    put(56, &meta.span_count.to_le_bytes());
    put(60, &seal.checksum(offset, payload.stored).to_le_bytes());
    put(TENANT_AT, tenant);
    put(128, &group.durable_bytes.to_le_bytes());
    let [before_this, before_last] = group.cuts.map(u8::from);
    put(136, &[before_this | before_last << 1]);
    let crc = seal.checksum(offset, &bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// Appends a whole frame, header and payload, as it stands at `offset` of the file.
///
/// # Errors
/// As [`encode_frame_header`]; `out` is then unchanged.
pub fn encode_frame(
    out: &mut Vec<u8>,
    seal: FileSeal,
    offset: u64,
    group: FrameGroup,
    meta: &FrameMeta,
    payload: StoredPayload<'_>,
) -> Result<(), FormatError> {
    let header = encode_frame_header(seal, offset, group, meta, payload)?;
    out.extend_from_slice(&header);
    out.extend_from_slice(payload.stored);
    Ok(())
}

/// Reads the header of the frame at `offset` from the first [`FRAME_HEADER_BYTES`] of `bytes`. The
/// error says what is wrong.
pub(super) fn decode_frame_header(
    seal: FileSeal,
    offset: u64,
    bytes: &[u8],
) -> Result<FrameHeader, &'static str> {
    const SHORT: &str = "the file ends within the frame's header";
    let bytes = bytes.get(..FRAME_HEADER_BYTES).ok_or(SHORT)?;
    if !bytes.starts_with(&MARKER) {
        return Err("no frame begins here");
    }
    let u32_at = |at| u32_at(bytes, at).ok_or(SHORT);
    let u64_at = |at| u64_at(bytes, at).ok_or(SHORT);
    if seal.checksum(offset, bytes.get(..CRC_AT).ok_or(SHORT)?) != u32_at(CRC_AT)? {
        return Err("the checksum of the frame's header does not match");
    }
    // What follows can fail only if a writer was wrong: the checksum has held.
    let [kind, compression, tenant_bytes, 0] = *bytes.get(4..8).ok_or(SHORT)? else {
        return Err("the frame has fields that this version does not know");
    };
    let kind = match kind {
        1 => FrameKind::Spans,
        2 => FrameKind::Requests,
        _ => return Err("the frame is of an unknown kind"),
    };
    let compression = match compression {
        0 => Compression::None,
        1 => Compression::Lz4,
        _ => return Err("the frame's payload is compressed in an unknown way"),
    };
    let tenant = match (kind, usize::from(tenant_bytes)) {
        (FrameKind::Requests, 0) => None,
        (_, length) => {
            let field = bytes.get(TENANT_AT..TENANT_AT + TENANT_BYTES).and_then(|field| field.get(..length));
            let name = field.and_then(|name| str::from_utf8(name).ok()).and_then(|name| name.parse().ok());
            Some(name.ok_or("the frame's tenant is not a tenant's name")?)
        }
    };
    let (stored_bytes, decoded_bytes) = (u32_at(8)?, u32_at(12)?);
    if u64::from(stored_bytes.max(decoded_bytes)) > limits::WAL_FRAME_BYTES_MAX
        || (compression == Compression::None && stored_bytes != decoded_bytes)
    {
        return Err("the lengths of the frame's payload do not fit");
    }
    let hash = bytes.get(24..40).and_then(|hash| hash.try_into().ok()).ok_or(SHORT)?;
    Ok(FrameHeader {
        meta: FrameMeta {
            kind,
            tenant,
            arrival_unix_nano: u64_at(16)?,
            request_hash: u128::from_le_bytes(hash),
            start_unix_nano_min: u64_at(40)?,
            start_unix_nano_max: u64_at(48)?,
            span_count: u32_at(56)?,
        },
        compression,
        stored_bytes,
        decoded_bytes,
        group: FrameGroup {
            durable_bytes: u64_at(128)?,
            cuts: [1, 2].map(|bit| bytes.get(136).is_some_and(|cuts| cuts & bit != 0)),
        },
        payload_crc: u32_at(60)?,
    })
}

/// Checks and decodes the payload of the frame at `offset`.
pub(super) fn decode_payload(
    seal: FileSeal,
    offset: u64,
    header: &FrameHeader,
    stored: Bytes,
) -> Result<Bytes, &'static str> {
    if seal.checksum(offset, &stored) != header.payload_crc {
        return Err("the checksum of the frame's payload does not match");
    }
    match header.compression {
        Compression::None => Ok(stored),
        Compression::Lz4 => {
            let mut decoded = vec![0; header.decoded_bytes as usize];
            match lz4_flex::block::decompress_into(&stored, &mut decoded) {
                Ok(length) if length == decoded.len() => Ok(decoded.into()),
                _ => Err("the frame's payload does not decompress to its length"),
            }
        }
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

impl FrameKind {
    /// What the payload is, in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Requests => "requests",
        }
    }
}

/// Shorthand for damage of a frame.
pub(super) fn damaged(detail: &str) -> FormatError {
    FormatError::damaged(WHAT, detail)
}
