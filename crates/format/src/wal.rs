//! The bytes of the write-ahead log: file header, frames, and the walk that tells whole frames, a
//! torn tail and damage apart. docs/formats/wal.md specifies them.
//!
//! Refuses a newer version; never decides what becomes of a file.

mod file_header;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod reader;
mod requests;

pub use file_header::{DecodedFileHeader, FileHeader, decode_file_header, encode_file_header};
pub use frame::{
    Compression, FileSeal, Frame, FrameGroup, FrameHeader, FrameKind, FrameMeta, StoredPayload, compress,
    encode_frame, encode_frame_header,
};
pub use reader::{Damage, FileEnd, FileRole, FrameReader, Step, TornTail};
pub use requests::{decode_requests, encode_requests};

/// Newest version that is read, and the one that is written.
pub const VERSION: u32 = 1;
/// Bytes of the file header: two blocks of 512.
pub const FILE_HEADER_BYTES: usize = 1024;
/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 144;

#[cfg(test)]
mod tests;
