//! Where spans live: WAL, memtable, generations, segments, manifest, snapshots.
//!
//! It knows no SQL and serves no protocol. Clock, randomness, file system and object store come in
//! from outside ([`mod@env`]), so that crashes and faults can be played through from a seed.

pub mod backup;
pub mod compaction;
pub mod env;
mod error;
pub mod local_store;
pub mod location;
pub mod locator;
pub mod manifest_log;
pub mod memtable;
mod put;
pub mod remote_store;
pub mod retention;
pub mod segments;
pub mod snapshot;
pub mod store;
pub mod wal;

pub use error::StoreError;
pub use memtable::TraceRows;
pub use segments::{CacheSizes, DiskCache, FoundInSegment, ReadOptions, report};
pub use snapshot::Snapshot;
pub use store::{
    CompactionStatus, Encoding, Ingested, RetentionStatus, Store, StoreOptions, StoreStatus, decode_frame,
};
pub use tracelake_format as format;
