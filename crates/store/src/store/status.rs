//! How the store is, in numbers.

use std::sync::PoisonError;

use serde::Serialize;

use super::{CompactionStatus, RetentionStatus, Store};

/// The store at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct StoreStatus {
    /// The manifest's version.
    pub manifest_version: u64,
    /// The epoch of this writer.
    pub writer_epoch: u64,
    /// Live segments.
    pub segments: u64,
    /// Their size.
    pub segment_bytes: u64,
    /// Their rows; a span that was sent twice may be counted twice.
    pub segment_rows: u64,
    /// Attributes that may have a column.
    pub attribute_columns: u64,
    /// The generation of what comes in now.
    pub generation: u64,
    /// Spans in memory, frozen ones included.
    pub memtable_spans: u64,
    /// Memory they take.
    pub memtable_bytes: u64,
    /// Memtables that wait to be flushed.
    pub frozen_generations: u64,
    /// Size of the WAL file being written.
    pub wal_bytes: u64,
    /// Requests that would be recognised if they were sent again.
    pub recent_requests: u64,
    /// Why the last flush did not work.
    pub flush_error: Option<String>,
    /// Why the store has stopped for good.
    pub failure: Option<String>,
    /// How segments are merged.
    pub compaction: CompactionStatus,
    /// What was removed because its time was over.
    pub retention: RetentionStatus,
    /// What the start found in the WAL.
    pub recovery: RecoverySummary,
}

/// What a start found in the WAL.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RecoverySummary {
    /// Files read.
    pub wal_files: u64,
    /// Frames with spans that were read back.
    pub frames: u64,
    /// Spans in them.
    pub spans: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// Bytes that were cut off the end of the newest file, as they are no whole frames.
    pub torn_bytes: u64,
    /// Whose spans those may have been. A group that a crash interrupted was not acknowledged; one that
    /// was damaged later was.
    pub torn: Option<String>,
    /// Damage: what was lost, of which tenants and times, and where the damaged file is kept.
    pub damage: Vec<String>,
}

impl Store {
    /// How the store is.
    pub fn status(&self) -> StoreStatus {
        let inner = &self.inner;
        let snapshot = inner.flusher.current.get();
        let sizes: Vec<_> = snapshot.memtables().map(|memtable| memtable.size()).collect();
        let manifest = &snapshot.manifest;
        StoreStatus {
            manifest_version: manifest.version,
            writer_epoch: manifest.epoch,
            segments: manifest.segments.len() as u64,
            segment_bytes: manifest.segments.iter().map(|segment| segment.meta.size_bytes).sum(),
            segment_rows: manifest.segments.iter().map(|segment| segment.meta.rows).sum(),
            attribute_columns: manifest.attribute_columns.columns.len() as u64,
            generation: snapshot.generation(),
            memtable_spans: sizes.iter().map(|size| size.spans).sum(),
            memtable_bytes: sizes.iter().map(|size| size.heap_bytes).sum(),
            frozen_generations: snapshot.frozen.len() as u64,
            wal_bytes: inner.wal.status().file_bytes,
            recent_requests: inner.recent.len() as u64,
            flush_error: inner
                .flusher
                .signals
                .flush_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            failure: inner.flusher.signals.failure(),
            compaction: inner.compaction_status(manifest),
            retention: self.retention_status(),
            recovery: inner.recovery.clone(),
        }
    }
}
