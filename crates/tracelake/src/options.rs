//! What a store is opened with.

use std::path::PathBuf;
use std::time::Duration;

use tracelake_model::limits;
use tracelake_otlp::DecodeLimits;
use tracelake_query::EngineOptions;
use tracelake_store::ReadOptions;
use tracelake_store::compaction::policy::CompactionPolicy;
use tracelake_store::location::StorePlace;
use tracelake_store::retention::RetentionPolicy;

/// With retention by age, slices that expire at very different times are not merged: by so many parts of
/// the shortest age.
const AGE_PARTS: u32 = 8;

/// Where the store is and how much it may take. Every limit has a default
/// ([`tracelake_model::limits`]).
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder with the WAL, and with segments and manifest if they are nowhere else; made if it is
    /// not there.
    pub data_dir: PathBuf,
    /// Where segments and manifest are.
    pub place: StorePlace,
    /// Memory of the memtable before it is flushed.
    pub generation_bytes_max: u64,
    /// Age of the memtable before it is flushed.
    pub generation_age_max: Duration,
    /// Flushed segments that are merged even if they are small.
    pub flushed_segments_max: usize,
    /// Flushed segments that wait to be merged before spans are turned down: twice the number above at least.
    pub flushed_segments_waiting_max: u64,
    /// The size that merged segments shall have.
    pub slice_bytes: u64,
    /// How much of whose data is kept; by default all.
    pub retention: RetentionPolicy,
    /// How long a replaced file is kept.
    pub deletion_grace: Duration,
    /// What an OTLP request may hold.
    pub decode_limits: DecodeLimits,
    /// How traces are looked up, and what an answer may take.
    pub queries: EngineOptions,
    /// How segments are read.
    pub read: ReadOptions,
    /// Where what was read from a bucket is kept; for a store in a bucket only.
    pub disk_cache: Option<DiskCachePlace>,
}

/// A folder for what was read from a bucket, and may be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCachePlace {
    /// Of one process alone; made if it is not there.
    pub folder: PathBuf,
    /// What it may take.
    pub bytes_max: u64,
}

impl Options {
    /// The defaults, in a folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            place: StorePlace::default(),
            generation_bytes_max: limits::GENERATION_BYTES_MAX,
            generation_age_max: Duration::from_secs(limits::GENERATION_AGE_SECONDS_MAX),
            flushed_segments_max: limits::FLUSHED_SEGMENTS_MAX as usize,
            flushed_segments_waiting_max: limits::FLUSHED_SEGMENTS_WAITING_MAX,
            slice_bytes: limits::SLICE_BYTES,
            retention: RetentionPolicy::default(),
            deletion_grace: Duration::from_secs(limits::DELETION_GRACE_SECONDS),
            decode_limits: DecodeLimits::default(),
            queries: EngineOptions::default(),
            read: ReadOptions::default(),
            disk_cache: None,
        }
    }

    /// When segments are merged, as this and retention want it.
    pub(crate) fn compaction(&self) -> CompactionPolicy {
        let apart = |age: Duration| u64::try_from((age / AGE_PARTS).as_nanos()).unwrap_or(u64::MAX);
        CompactionPolicy {
            slice_bytes: self.slice_bytes,
            flushed_segments_max: self.flushed_segments_max,
            // Else nothing might be merged and nothing taken.
            flushed_segments_waiting_max: self
                .flushed_segments_waiting_max
                .max((self.flushed_segments_max as u64).saturating_mul(2)),
            ends_apart_max: self.retention.age_min().map_or(u64::MAX, apart),
            ..CompactionPolicy::default()
        }
    }
}

#[cfg(test)]
mod tests;
