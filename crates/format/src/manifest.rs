//! The manifest's objects: entries of its log, checkpoints, backups, their names, and what a sequence of
//! entries adds up to. docs/formats/manifest.md and docs/formats/backup.md specify them.
//!
//! What contradicts its checksum, its name or the entries before it is refused, never repaired.

mod backup;
mod entry;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod name;
mod state;

pub use backup::{Backup, BackupName};
pub use entry::{Change, Commit, CoveredWal, Entry, Flushed, Open, SegmentEntry};
pub use frame::{FORMAT_VERSION, HEADER_BYTES, PAYLOAD_BYTES_MAX};
pub use name::ObjectName;
pub use state::{Retention, State, WALS_MAX};

#[cfg(test)]
mod tests;
