//! The live segments as operators and tenants are shown them, and the partitions that they make up. It
//! reads the manifest only.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::DateTime;
use serde::Serialize;
use tracelake_format::manifest::State;
use tracelake_format::segment::{SegmentMeta, SegmentTenant};
use tracelake_model::{ErrorKind, TenantId, limits};
use tracelake_store::StoreError;
use tracelake_store::location::StorePlace;
use tracelake_store::manifest_log::{ManifestLog, RetryPolicy};

use crate::place::open_to_read;
use crate::{Error, Tracelake};

/// Whose segments are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those that have spans of this tenant, with nothing of anybody else.
    Tenant(TenantId),
    /// All, with the names of all tenants.
    All,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentInfo {
    /// Its name.
    pub id: String,
    /// How often its rows were merged: 0 as flushed, 1 and more for slices.
    pub level: u32,
    /// Spans; one that was sent twice may be counted twice.
    pub spans: u64,
    /// Traces.
    pub traces: u64,
    /// Bytes; of one tenant, its share by the number of spans.
    pub bytes: u64,
    /// The earliest start of all spans in the file, in nanoseconds since 1970.
    pub start_unix_nano_min: u64,
    /// The latest.
    pub start_unix_nano_max: u64,
    /// The latest end.
    pub end_unix_nano_max: u64,
    /// The lowest hash of a trace ID, hexadecimal.
    pub trace_hash_min: String,
    /// The highest.
    pub trace_hash_max: String,
    /// The lowest generation of a row.
    pub generation_min: u64,
    /// The highest.
    pub generation_max: u64,
    /// Whose spans are in it.
    pub tenants: Vec<String>,
}

/// Some of the live segments, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentPage {
    /// The manifest's version: pages of different versions are of different segments.
    pub manifest_version: u64,
    /// The segments.
    pub segments: Vec<SegmentInfo>,
    /// After which to go on; none when this is the end.
    pub next: Option<String>,
}

/// Segments that begin on the same day and have the same sixteenths of the hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// The day (UTC) on which the earliest span of each began.
    pub day: String,
    /// The first and the last sixteenth of the hashes, hexadecimal.
    pub hashes: String,
    /// How many segments a lookup of a trace in this partition asks at most.
    pub segments: u64,
    /// Of them, those not merged yet.
    pub flushed_segments: u64,
    /// Their spans.
    pub spans: u64,
    /// Their traces; one in several segments is counted in each.
    pub traces: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The earliest start, in nanoseconds since 1970.
    pub start_unix_nano_min: u64,
    /// The latest start.
    pub start_unix_nano_max: u64,
    /// The latest end.
    pub end_unix_nano_max: u64,
}

/// All partitions, by day and hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Partitions {
    /// The manifest's version.
    pub manifest_version: u64,
    /// The partitions; only the newest of many.
    pub partitions: Vec<Partition>,
    /// How many more there are.
    pub more_partitions: u64,
}

impl Tracelake {
    /// The live segments behind the one named `after`, at most `limit`.
    pub fn segments(&self, whose: &Whose, after: Option<&str>, limit: u64) -> SegmentPage {
        page(&self.store.snapshot().manifest, whose, after, limit)
    }

    /// The partitions that the live segments make up.
    pub fn partitions(&self, whose: &Whose) -> Partitions {
        partitions(&self.store.snapshot().manifest, whose)
    }
}

/// As [`Tracelake::segments`], of a store that a server may have open.
///
/// # Errors
/// If there is no store, or its manifest cannot be read.
pub async fn segments(
    data_dir: &Path,
    place: &StorePlace,
    whose: &Whose,
    after: Option<&str>,
    limit: u64,
) -> Result<SegmentPage, Error> {
    Ok(page(&load(data_dir, place).await?, whose, after, limit))
}

/// As [`Tracelake::partitions`], of a store that a server may have open.
///
/// # Errors
/// As for [`segments`].
pub async fn partitions_of(data_dir: &Path, place: &StorePlace, whose: &Whose) -> Result<Partitions, Error> {
    Ok(partitions(&load(data_dir, place).await?, whose))
}

async fn load(data_dir: &Path, place: &StorePlace) -> Result<State, Error> {
    let store = open_to_read(data_dir, place).await?;
    let state = ManifestLog::load(store, RetryPolicy::default()).await.map_err(StoreError::from)?;
    if state.version == 0 {
        let text = "there is no store where that says: its manifest is empty";
        return Err(Error::new(ErrorKind::NotFound, text));
    }
    Ok(state)
}

fn page(state: &State, whose: &Whose, after: Option<&str>, limit: u64) -> SegmentPage {
    let limit = usize::try_from(limit.clamp(1, limits::SEGMENTS_LISTED_MAX)).unwrap_or(usize::MAX);
    let mut metas: Vec<&SegmentMeta> = state.segments.iter().map(|entry| &entry.meta).collect();
    metas.sort_by_key(|meta| meta.id);
    let infos = metas.into_iter().filter_map(|meta| info(meta, whose));
    let mut infos = infos.filter(|info| after.is_none_or(|after| info.id.as_str() > after));
    let segments: Vec<SegmentInfo> = infos.by_ref().take(limit).collect();
    let more = infos.next().is_some();
    let next = segments.last().filter(|_| more).map(|last| last.id.clone());
    SegmentPage { manifest_version: state.version, segments, next }
}

fn info(meta: &SegmentMeta, whose: &Whose) -> Option<SegmentInfo> {
    let parts: Vec<&SegmentTenant> = match whose {
        Whose::All => meta.tenants.iter().collect(),
        Whose::Tenant(tenant) => vec![meta.tenant(tenant)?.1],
    };
    let spans: u64 = parts.iter().map(|part| part.rows).sum();
    Some(SegmentInfo {
        id: meta.id.to_string(),
        level: meta.level,
        spans,
        traces: parts.iter().map(|part| part.traces).sum(),
        bytes: meta.bytes_of(spans),
        start_unix_nano_min: meta.start_unix_nano_min,
        start_unix_nano_max: meta.start_unix_nano_max,
        end_unix_nano_max: meta.end_unix_nano_max,
        trace_hash_min: format!("{:016x}", meta.trace_hash_min),
        trace_hash_max: format!("{:016x}", meta.trace_hash_max),
        generation_min: meta.generation_min,
        generation_max: meta.generation_max,
        tenants: parts.iter().map(|part| part.tenant.to_string()).collect(),
    })
}

fn partitions(state: &State, whose: &Whose) -> Partitions {
    let mut found: BTreeMap<(u64, u64, u64), Partition> = BTreeMap::new();
    for meta in state.segments.iter().map(|entry| &entry.meta) {
        let Some(info) = info(meta, whose) else { continue };
        let day = meta.start_unix_nano_min / DAY_NANOSECONDS;
        let (first, last) = (meta.trace_hash_min >> SIXTEENTH, meta.trace_hash_max >> SIXTEENTH);
        let partition = found.entry((day, first, last)).or_insert_with(|| Partition {
            day: day_text(day),
            hashes: format!("{first:x}-{last:x}"),
            segments: 0,
            flushed_segments: 0,
            spans: 0,
            traces: 0,
            bytes: 0,
            start_unix_nano_min: u64::MAX,
            start_unix_nano_max: 0,
            end_unix_nano_max: 0,
        });
        partition.segments += 1;
        partition.flushed_segments += u64::from(meta.level == 0);
        partition.spans += info.spans;
        partition.traces += info.traces;
        partition.bytes += info.bytes;
        partition.start_unix_nano_min = partition.start_unix_nano_min.min(meta.start_unix_nano_min);
        partition.start_unix_nano_max = partition.start_unix_nano_max.max(meta.start_unix_nano_max);
        partition.end_unix_nano_max = partition.end_unix_nano_max.max(meta.end_unix_nano_max);
    }
    let listed_max = usize::try_from(limits::SEGMENTS_LISTED_MAX).unwrap_or(usize::MAX);
    let more = found.len().saturating_sub(listed_max);
    Partitions {
        manifest_version: state.version,
        partitions: found.into_values().skip(more).collect(),
        more_partitions: more as u64,
    }
}

const DAY_NANOSECONDS: u64 = 86_400_000_000_000;

/// A hash shifted by so many bits is its sixteenth.
const SIXTEENTH: u32 = 60;

/// A day since 1970 as `2025-11-22`.
fn day_text(day: u64) -> String {
    let time = i64::try_from(day).ok().and_then(|day| DateTime::from_timestamp(day * 86_400, 0));
    time.unwrap_or_default().date_naive().to_string()
}

#[cfg(test)]
mod tests;
