//! A trace by its ID: memtables and segments of one snapshot, whatever overlaps told apart.
//!
//! The way of a lookup: cache, memtables, the segments that can have the trace by the manifest, their
//! filters, their directories, the ranges of bytes with its rows.

use std::time::{Duration, Instant};

use futures::StreamExt;
use serde::Serialize;
use tracelake_model::{SpanBatch, TenantId, TraceId};
use tracelake_store::format::manifest::SegmentEntry;
use tracelake_store::locator::Partition;
use tracelake_store::report::{ReadCounts, ReadReport};
use tracelake_store::{FoundInSegment, Snapshot, Store, StoreError};

use crate::assemble::{Assembler, TraceLimits, TraceSpans};
use crate::cache::{CachedTrace, TraceCache};
use crate::gap::Gap;

/// When the trace is thought to have been, in nanoseconds since 1970. Segments that overlap it are
/// read first; the answer is the same without it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeHint {
    /// Not before.
    pub start_unix_nano: Option<u64>,
    /// Not after.
    pub end_unix_nano: Option<u64>,
}

impl TimeHint {
    fn overlaps(&self, partition: &Partition) -> bool {
        partition.overlaps(self.start_unix_nano, self.end_unix_nano)
    }
}

/// Segments of one lookup that are read at once: enough to hide an object store's latency, few enough
/// that one lookup does not hold many times its limit in memory.
const SEGMENTS_AT_ONCE: usize = 4;

/// Filters of one lookup that are read at once where they are not in memory.
const FILTERS_AT_ONCE: usize = 16;

/// What a lookup did, for those who want to know why it took so long, or what an answer rests on.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Explained {
    /// Whether the trace cache had the spans that are in segments; none if there is no cache.
    pub trace_cache_hit: Option<bool>,
    /// Segments of the store.
    pub segments_live: u64,
    /// What was asked and read. The times in it add up what was done at once.
    #[serde(flatten)]
    pub reads: ReadCounts,
    /// Time for memtables, in microseconds, as all times.
    pub memtable_us: u64,
    /// Time for choosing segments: by the manifest and by filters.
    pub choose_us: u64,
    /// Time for reading the chosen ones.
    pub read_us: u64,
    /// Time for putting the trace together.
    pub assemble_us: u64,
    /// Time for all of it.
    pub total_us: u64,
}

/// A lookup, and what it may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup<'a> {
    pub(crate) store: &'a Store,
    pub(crate) tenant: &'a TenantId,
    pub(crate) trace_id: &'a TraceId,
    pub(crate) hint: TimeHint,
    pub(crate) limits: TraceLimits,
    /// None: it may take as long as it takes.
    pub(crate) time_max: Option<Duration>,
    pub(crate) cache: Option<&'a TraceCache>,
}

/// Time since `from`, which becomes now.
fn lap_us(from: &mut Instant) -> u64 {
    let now = Instant::now();
    let micros = now.duration_since(*from).as_micros();
    *from = now;
    u64::try_from(micros).unwrap_or(u64::MAX)
}

impl Lookup<'_> {
    /// The trace; none if no span of it is stored. What could not be read, or was over a limit, is named
    /// in the answer.
    pub(crate) async fn run(&self) -> (Option<TraceSpans>, Explained) {
        let mut began = Instant::now();
        let (reads, mut explained) = (ReadReport::default(), Explained::default());
        let answer = self.answer(&reads, &mut explained).await;
        self.store.segments().account(&reads);
        explained.reads = reads.counts();
        explained.total_us = lap_us(&mut began);
        (answer, explained)
    }

    async fn answer(&self, reads: &ReadReport, explained: &mut Explained) -> Option<TraceSpans> {
        let mut lap = Instant::now();
        let deadline = self.time_max.map(|time_max| tokio::time::Instant::now() + time_max);
        let snapshot = self.store.snapshot();
        explained.segments_live = snapshot.manifest.segments.len() as u64;
        let mut fresh = Assembler::new(self.limits);
        for memtable in snapshot.memtables() {
            let (parts, more) = memtable.find(self.tenant, self.trace_id, fresh.spans_left());
            parts.into_iter().for_each(|part| fresh.add(part));
            if more {
                fresh.lacks(Gap::over_limit(self.limits));
                return fresh.finish();
            }
        }
        explained.memtable_us = lap_us(&mut lap);
        let retention_version = snapshot.manifest.retention.map_or(0, |retention| retention.version);
        let mut cached =
            self.cache.and_then(|cache| cache.get(self.tenant, self.trace_id, retention_version));

        let mut stored = Assembler::new(self.limits);
        let generation = cached.as_ref().map(|cached| cached.generation);
        let (mut candidates, mut unread) = self.candidates(&snapshot, generation, deadline, reads).await;
        if cached.as_ref().is_some_and(|cached| overlap(&candidates, cached.generation)) {
            // New rows were merged with rows that are in the cache: together they would count twice.
            cached = None;
            (candidates, unread) = self.candidates(&snapshot, None, deadline, reads).await;
        }
        explained.trace_cache_hit = self.cache.map(|_| cached.is_some());
        unread.into_iter().for_each(|gap| stored.lacks(gap));
        explained.choose_us = lap_us(&mut lap);
        if let Some(cached) = &cached {
            stored.add_spans(&cached.spans);
        }
        let is_new = !candidates.is_empty();
        self.read(candidates, deadline, &mut stored, reads).await;
        explained.read_us = lap_us(&mut lap);

        let stored = match cached {
            // Nothing has come to what was put together before.
            Some(cached) if !is_new && !stored.lacks_something() => Some(cached.spans.clone()),
            _ => stored.finish(),
        };
        if let Some(cache) = self.cache
            && (is_new || explained.trace_cache_hit == Some(false))
            && let Some(spans) = stored.as_ref().filter(|spans| spans.missing().is_empty())
        {
            let generation = snapshot.manifest.generation;
            let trace = CachedTrace { generation, retention_version, spans: spans.clone() };
            cache.insert(self.tenant, self.trace_id, trace);
        }
        let answer = match stored {
            Some(stored) if fresh.is_empty() => Some(stored),
            None => fresh.finish(),
            Some(stored) => {
                fresh.add_spans(&stored);
                fresh.finish()
            }
        };
        explained.assemble_us = lap_us(&mut lap);
        answer
    }

    /// The segments to look into, in the order in which that is best done, and what kept from knowing.
    async fn candidates<'s>(
        &self,
        snapshot: &'s Snapshot,
        known_generation: Option<u64>,
        deadline: Option<tokio::time::Instant>,
        reads: &ReadReport,
    ) -> (Vec<&'s SegmentEntry>, Vec<Gap>) {
        let segments = self.store.segments();
        let entry = |partition: &Partition| snapshot.manifest.segments.get(partition.segment);
        let (key, partitions) = snapshot.partitions.of_trace(self.tenant, self.trace_id);
        let (mut chosen, mut unknown, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        let mut considered = 0;
        for partition in partitions {
            if known_generation.is_some_and(|known| partition.generation_max <= known) {
                continue;
            }
            considered += 1;
            match segments.may_hold(partition.id, key, reads) {
                Some(true) => chosen.push(partition),
                Some(false) => {}
                None => unknown.push(partition),
            }
        }
        reads.consider(considered);
        let unknown: Vec<_> =
            unknown.into_iter().filter_map(|partition| Some((partition, entry(partition)?))).collect();
        let unknown = unknown.as_slice();
        let mut left: Vec<&SegmentEntry> = unknown.iter().map(|(_, entry)| *entry).collect();
        // By number, as futures over references are not general enough for their caller to be spawned.
        let asked = (0..unknown.len()).map(|at| async move {
            let (partition, entry) = unknown[at];
            let keys = [key];
            let may_hold = twice(|| segments.may_hold_read(entry, &keys, reads)).await;
            (partition, entry, may_hold.map(|may_hold| may_hold == [true]))
        });
        let mut asked = futures::stream::iter(asked).buffer_unordered(FILTERS_AT_ONCE);
        loop {
            let Some(next) = within(deadline, asked.next()).await else {
                gaps.extend(self.late(&left));
                break;
            };
            let Some((partition, entry, may_hold)) = next else { break };
            left.retain(|other| other.meta.id != entry.meta.id);
            match may_hold {
                Ok(true) => chosen.push(partition),
                Ok(false) => {}
                Err(error) => gaps.push(unread(self.store, entry, &error)),
            }
        }
        chosen.sort_by_key(|partition| !self.hint.overlaps(partition));
        (chosen.into_iter().filter_map(entry).collect(), gaps)
    }

    async fn read(
        &self,
        candidates: Vec<&SegmentEntry>,
        deadline: Option<tokio::time::Instant>,
        stored: &mut Assembler,
        report: &ReadReport,
    ) {
        let (rows_max, bytes_max) = (self.limits.spans_max as u64, self.limits.heap_bytes_max);
        let segments = self.store.segments();
        let mut left = candidates.clone();
        let candidates = candidates.as_slice();
        let reads = (0..candidates.len()).map(|at| async move {
            let entry = candidates[at];
            let read = || segments.search(entry, self.tenant, self.trace_id, rows_max, bytes_max, report);
            (entry, twice(read).await)
        });
        let mut reads = futures::stream::iter(reads).buffer_unordered(SEGMENTS_AT_ONCE);
        loop {
            let Some(next) = within(deadline, reads.next()).await else {
                self.late(&left).for_each(|gap| stored.lacks(gap));
                return;
            };
            let Some((entry, found)) = next else { return };
            left.retain(|other| other.meta.id != entry.meta.id);
            match found {
                Ok(None) => {}
                Ok(Some(found)) => {
                    if !add(stored, found) {
                        // The answer says so. What else there is would be read to be thrown away.
                        stored.lacks(Gap::over_limit(self.limits));
                        return;
                    }
                }
                Err(error) => stored.lacks(unread(self.store, entry, &error)),
            }
        }
    }

    /// What there was no time for.
    fn late(&self, left: &[&SegmentEntry]) -> impl Iterator<Item = Gap> {
        let allowed = self.time_max.unwrap_or_default();
        left.iter().map(move |entry| Gap::late(entry, allowed))
    }
}

/// Whether a segment has rows of that generation or of an earlier one.
fn overlap(segments: &[&SegmentEntry], generation: u64) -> bool {
    segments.iter().any(|entry| entry.meta.generation_min <= generation)
}

/// Each answer says it; the log says it once, however many lookups there are.
pub(crate) fn unread(store: &Store, entry: &SegmentEntry, error: &StoreError) -> Gap {
    if store.segments().is_first_failure(entry.meta.id) {
        tracing::warn!(segment = entry.path, %error, "a segment cannot be read; answers lack what is in it");
    }
    Gap::unread(entry, error)
}

/// Whether all of it was added.
fn add(assembler: &mut Assembler, found: FoundInSegment) -> bool {
    let rows: usize = found.batches.iter().map(SpanBatch::len).sum();
    let read_whole = found.rows_total <= rows as u64;
    found.batches.into_iter().all(|batch| assembler.add_read(batch)) && read_whole
}

/// None if the time has passed before.
async fn within<T>(deadline: Option<tokio::time::Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(work.await),
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
    }
}

/// A read that failed is tried once more: a connection may have been lost.
pub(crate) async fn twice<T, F: Future<Output = Result<T, StoreError>>>(
    read: impl Fn() -> F,
) -> Result<T, StoreError> {
    match read().await {
        Err(_) => read().await,
        done => done,
    }
}
