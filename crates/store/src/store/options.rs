//! What a store is opened with: settings, and the parts that come from outside.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use tracelake_format::segment::SegmentWriterOptions;
use tracelake_model::limits;
use tracelake_otlp::DecodeLimits;

use crate::compaction::policy::CompactionPolicy;
use crate::env::{Clock, CrashPoints, Files, NoCrashes, SystemClock, SystemFiles};
use crate::retention::RetentionPolicy;
use crate::segments::ReadOptions;

/// Settings and components of a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Where segments and the manifest are.
    pub object_store: Arc<dyn ObjectStore>,
    /// The WAL's folder.
    pub wal_dir: PathBuf,
    /// The WAL's file system.
    pub files: Arc<dyn Files>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Where tests let it crash.
    pub crash_points: Arc<dyn CrashPoints>,
    /// Names of the writer, of segments and of WAL files are made from it.
    pub random_seed: u64,
    /// What an OTLP request may hold.
    pub decode_limits: DecodeLimits,
    /// How segments are written.
    pub segment_writer: SegmentWriterOptions,
    /// Memory of a memtable before it is frozen.
    pub generation_bytes_max: u64,
    /// Age of a memtable before it is frozen.
    pub generation_age_max: Duration,
    /// Frozen memtables that may wait.
    pub frozen_generations_max: usize,
    /// Which segments are merged.
    pub compaction: CompactionPolicy,
    /// How much of whose data is kept.
    pub retention: RetentionPolicy,
    /// How long a file is kept after the manifest ceased to name it: longer than any query.
    pub deletion_grace: Duration,
    /// How segments are read.
    pub read: ReadOptions,
}

impl StoreOptions {
    /// The defaults, on the machine's clock and files.
    pub fn new(object_store: Arc<dyn ObjectStore>, wal_dir: PathBuf, random_seed: u64) -> Self {
        Self {
            object_store,
            wal_dir,
            files: Arc::new(SystemFiles),
            clock: Arc::new(SystemClock),
            crash_points: Arc::new(NoCrashes),
            random_seed,
            decode_limits: DecodeLimits::default(),
            segment_writer: SegmentWriterOptions::default(),
            generation_bytes_max: limits::GENERATION_BYTES_MAX,
            generation_age_max: Duration::from_secs(limits::GENERATION_AGE_SECONDS_MAX),
            frozen_generations_max: limits::FROZEN_GENERATIONS_MAX as usize,
            compaction: CompactionPolicy::default(),
            retention: RetentionPolicy::default(),
            deletion_grace: Duration::from_secs(limits::DELETION_GRACE_SECONDS),
            read: ReadOptions::default(),
        }
    }
}
