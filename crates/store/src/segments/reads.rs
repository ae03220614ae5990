//! Byte ranges of segments from the object store: counted, and begun a second time where the first takes
//! much longer than usual.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::Semaphore;
use tracelake_format::manifest::SegmentEntry;

use super::disk_cache::DiskCache;
use super::report::{ReadReport, add};
use super::unreadable;
use crate::StoreError;

/// Second tries at once, by all requests together: where more reads are slow than that, the store is, and twice as
/// many requests would make it slower.
const HEDGES_AT_ONCE: usize = 16;

/// Reads segments' files.
#[derive(Debug, Clone)]
pub(super) struct RangeReader {
    object_store: Arc<dyn ObjectStore>,
    /// None: never twice, as on a disk of one's own.
    hedge_after: Option<Duration>,
    /// Ranges with at most this between them are read as one.
    gap_bytes_max: u64,
    hedges: Arc<Semaphore>,
    disk_cache: Option<Arc<DiskCache>>,
}

impl RangeReader {
    pub(super) fn new(
        object_store: Arc<dyn ObjectStore>,
        hedge_after: Option<Duration>,
        gap_bytes_max: u64,
        disk_cache: Option<Arc<DiskCache>>,
    ) -> Self {
        let hedges = Arc::new(Semaphore::new(HEDGES_AT_ONCE));
        Self { object_store, hedge_after, gap_bytes_max, hedges, disk_cache }
    }

    /// What is between it and the object store, if anything.
    pub(super) fn disk_cache(&self) -> Option<&DiskCache> {
        self.disk_cache.as_deref()
    }

    /// The same for those who go through much: what they read is not kept.
    pub(super) fn without_disk_cache(&self) -> Self {
        Self { disk_cache: None, ..self.clone() }
    }

    /// Bytes of a segment's file.
    pub(super) async fn range(
        &self,
        entry: &SegmentEntry,
        range: Range<u64>,
        report: &ReadReport,
    ) -> Result<Bytes, StoreError> {
        let read = self.ranges(entry, &[range], report).await?;
        Ok(read.into_iter().next().map(|(_, bytes)| bytes).unwrap_or_default())
    }

    /// Ranges of a segment's file, which are in order, and what lies between those that are near each other.
    pub(super) async fn ranges(
        &self,
        entry: &SegmentEntry,
        ranges: &[Range<u64>],
        report: &ReadReport,
    ) -> Result<Vec<(Range<u64>, Bytes)>, StoreError> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let ranges = self.merged(ranges);
        let read = match &self.disk_cache {
            Some(cache) if cache.is_for(entry.meta.id, &ranges) => {
                let fetch =
                    |missing: Vec<Range<u64>>| async move { self.fetch(entry, &missing, report).await };
                cache.ranges(entry, &ranges, report, fetch).await?
            }
            _ => self.fetch(entry, &ranges, report).await?,
        };
        Ok(ranges.into_iter().zip(read).collect())
    }

    async fn fetch(
        &self,
        entry: &SegmentEntry,
        ranges: &[Range<u64>],
        report: &ReadReport,
    ) -> Result<Vec<Bytes>, StoreError> {
        let path = Path::from(entry.path.as_str());
        add(&report.range_reads, ranges.len() as u64);
        add(&report.bytes_read, ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum());
        let read = || self.object_store.get_ranges(&path, ranges);
        self.hedged(read, report).await.map_err(|source| unreadable(entry, source))
    }

    fn merged(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end.saturating_add(self.gap_bytes_max) => {
                    last.end = last.end.max(range.end);
                }
                _ => merged.push(range.clone()),
            }
        }
        merged
    }

    /// Of two tries the first that succeeds (Dean and Barroso, "The Tail at Scale", 2013).
    async fn hedged<T, F: Future<Output = object_store::Result<T>>>(
        &self,
        read: impl Fn() -> F,
        report: &ReadReport,
    ) -> object_store::Result<T> {
        let mut first = Box::pin(read());
        let Some(after) = self.hedge_after else { return first.await };
        if let Ok(outcome) = tokio::time::timeout(after, &mut first).await {
            return outcome;
        }
        let Ok(_permit) = self.hedges.try_acquire() else { return first.await };
        add(&report.hedged_reads, 1);
        match select(first, Box::pin(read())).await {
            Either::Left((Ok(bytes), _)) | Either::Right((Ok(bytes), _)) => Ok(bytes),
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
        }
    }
}

#[cfg(test)]
mod tests;
