//! What Tracelake writes to disk, byte for byte: WAL frames, segments with their directory, filter
//! and checksums, manifest entries. docs/formats.md specifies each.
//!
//! Pure: bytes in, bytes out. Where they come from and go to is `tracelake-store`'s business.

pub mod checksum;
pub mod disk_cache;
pub mod error;
pub mod manifest;
pub mod segment;
pub mod wal;

pub use error::FormatError;
