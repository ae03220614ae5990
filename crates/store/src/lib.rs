//! Where spans live: WAL, memtable, generations, segments, manifest, snapshots.
//!
//! It knows no SQL and serves no protocol. Clock, randomness, file system and object store come in
//! from outside ([`env`]), so that crashes and faults can be played through from a seed.

pub mod env;
pub mod local_store;
pub mod manifest_log;
pub mod wal;
