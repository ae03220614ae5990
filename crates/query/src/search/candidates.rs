//! Which traces of a source are worth a look, and how far in front they can stand: all that have a span in the range
//! that can satisfy the condition. A source is a segment, or a piece of what is in memory.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use futures::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;
use tracelake_model::{SpanView, TenantId, TraceId};
use tracelake_store::format::FormatError;
use tracelake_store::format::manifest::SegmentEntry;
use tracelake_store::format::segment::{
    IndexPart, OpenSegment, Projection, TraceEntry, TraceSet, TraceTable, ValueFilters,
};
use tracelake_store::memtable::Memtable;
use tracelake_store::report::ReadReport;
use tracelake_store::segments::ReadRows;
use tracelake_store::{Snapshot, Store, StoreError};
use tracelake_traceql::{Predicate, TraceFacts};

use super::filtered::Filtered;
use super::found::Sought;
use super::order::{Order, Rank};
use super::plan::PlannedCondition;
use super::{add_field, indexed};
use crate::gap::Gap;
use crate::lookup::{twice, unread};

/// What the rows of a segment that are decoded together may take.
const WINDOW_BYTES: usize = 32 << 20;

/// What is asked of so few bytes of an index takes no longer than to hand it to another thread.
const INLINE_INDEX_BYTES_MAX: u64 = 1 << 10;

/// Traces of which it is found out without a rest whether they are elsewhere: a millisecond where there are a hundred
/// segments.
const CANDIDATES_OF_TURN: usize = 64;

/// What is worth a look in a source.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) traces: Vec<Candidate>,
    /// As the index names them.
    pub(super) rows: Vec<IndexedRow>,
}

/// A row of a trace that is worth a look, in a segment with an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexedRow {
    /// By its place in the manifest.
    pub(super) segment: usize,
    pub(super) row: u64,
    /// Its earliest start, and what its latest start or end is at most, in that part of the index.
    pub(super) start_unix_nano_min: u64,
    pub(super) last_unix_nano_max: u64,
    /// What the trace's start is at most, as of the generation: its earliest start in that part of the index. Where
    /// the segment has rows of later generations that start may be of one of those; then its latest start or end.
    pub(super) start_unix_nano_max: u64,
    /// Whether that is its start, if it has no rows elsewhere.
    pub(super) is_start: bool,
}

/// A trace that is worth a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) trace_id: TraceId,
    /// Its earliest start in the source, or in memory that of its matching spans where that is enough; elsewhere it may
    /// have an earlier one.
    pub(super) start_unix_nano: u64,
    /// From there to its latest end in the source.
    pub(super) duration_nano: u64,
    /// Its latest start or end in the source, as far as that was gone through: a directory has ends alone.
    pub(super) last_unix_nano: u64,
    /// Whether it has no spans in other sources.
    pub(super) is_alone: bool,
    /// Whether start and duration may be of rows of later generations.
    pub(super) is_vague: bool,
}

/// What candidates are looked for in, and by what.
pub(super) struct Candidates {
    pub(super) store: Store,
    pub(super) tenant: TenantId,
    pub(super) snapshot: Snapshot,
    /// Rows of later ones are not there.
    pub(super) generation: u64,
    pub(super) starts: Range<u64>,
    /// A trace is worth a look if a span satisfies one of them.
    pub(super) conditions: Arc<[Predicate]>,
    /// The only traces that are worth a look, if the conditions name them.
    pub(super) named: Option<BTreeSet<TraceId>>,
    /// The conditions as filters of values are asked.
    pub(super) filtered: Filtered,
    pub(super) sought: Sought,
    pub(super) order: Order,
    pub(super) reads: Arc<ReadReport>,
    pub(super) workers: usize,
    /// One for each part of an index that is looked into at once, of whatever segment.
    pub(super) turns: Semaphore,
    /// Whether it matters if a trace has spans in other sources.
    pub(super) asks_where_else: bool,
    /// Where it is asked for: how the first part of an index that is looked into answers the conditions.
    pub(super) planned: Option<OnceLock<Vec<PlannedCondition>>>,
}

/// What a search has read is counted, also of one that nobody waits for any more.
impl Drop for Candidates {
    fn drop(&mut self) {
        self.store.segments().account(&self.reads);
    }
}

/// How a source was looked into.
pub(super) enum LookedInto {
    /// Its filters say that there is nothing.
    RuledOut,
    /// By its rows, in so many pieces.
    Rows(Vec<Candidate>, u64),
    /// By its index, in so many parts.
    Index(Vec<IndexedRow>, u64),
}

/// A trace's rows in a source, as they are gone through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    start: u64,
    end: u64,
    /// The latest start or end.
    last: u64,
    matches: bool,
}

impl Extent {
    pub(super) const NONE: Self = Self { start: u64::MAX, end: 0, last: 0, matches: false };

    pub(super) fn add(&mut self, span: &SpanView<'_>, matches: bool) {
        self.start = self.start.min(span.start_unix_nano());
        self.end = self.end.max(span.end_unix_nano());
        self.last = self.last.max(span.start_unix_nano()).max(span.end_unix_nano());
        self.matches |= matches;
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
            last: self.last.max(other.last),
            matches: self.matches || other.matches,
        }
    }
}

impl Candidates {
    /// The segments that can have spans in the range, each with the foremost place that one can have.
    pub(super) fn segments(&self) -> impl Iterator<Item = (Rank, usize)> {
        let of_starts = self.snapshot.partitions.of_starts(&self.tenant, self.starts.clone());
        of_starts.filter_map(|partition| {
            let meta = &self.entry(partition.segment)?.meta;
            let rank = self.foremost(meta.start_unix_nano_min, meta.start_unix_nano_max);
            (meta.generation_min <= self.generation).then_some((rank, partition.segment))
        })
    }

    /// The foremost place of what has spans that start from `first` to `last`.
    pub(super) fn foremost(&self, first: u64, last: u64) -> Rank {
        match (self.order, self.sought) {
            (Order::Newest, _) => self.order.rank(last.min(self.starts.end.saturating_sub(1)), 0),
            (Order::Oldest, Sought::Spans) => self.order.rank(first.max(self.starts.start), 0),
            // A trace may have begun, and may end, where nothing of it matches.
            (Order::Oldest, Sought::Traces) | (Order::Longest, _) => Rank::FIRST,
        }
    }

    /// The part of the range in which spans can start, as far as is known without a look at them.
    pub(super) fn known_starts(&self) -> Range<u64> {
        let (mut start, mut end) = (u64::MAX, 0);
        let mut add = |min: u64, max: u64| {
            start = start.min(min);
            end = end.max(max.saturating_add(1));
        };
        for partition in self.snapshot.partitions.of_starts(&self.tenant, self.starts.clone()) {
            if let Some(entry) = self.entry(partition.segment) {
                add(entry.meta.start_unix_nano_min, entry.meta.start_unix_nano_max);
            }
        }
        for (memtable, until) in self.memtables() {
            for batch in memtable.batches_until(&self.tenant, until) {
                batch.starts_unix_nano().into_iter().for_each(|(first, last)| add(first, last));
            }
        }
        start.max(self.starts.start)..end.min(self.starts.end)
    }

    pub(super) fn entry(&self, segment: usize) -> Option<&SegmentEntry> {
        self.snapshot.manifest.segments.get(segment)
    }

    /// The memtables, each up to which of its generations.
    pub(super) fn memtables(&self) -> impl Iterator<Item = (&Arc<Memtable>, u32)> {
        self.snapshot.generations().filter_map(|(memtable, first)| {
            let until = self.generation.checked_sub(first)?;
            Some((memtable, u32::try_from(until).unwrap_or(u32::MAX)))
        })
    }

    /// What is worth a look in a segment.
    pub(super) async fn of_segment(&self, segment: usize) -> Result<LookedInto, Gap> {
        let Some(entry) = self.entry(segment) else { return Ok(LookedInto::Index(Vec::new(), 0)) };
        if self.is_ruled_out(entry) {
            return Ok(LookedInto::RuledOut);
        }
        let unread = |error| unread(&self.store, entry, &error);
        if let Some((rows, parts)) = twice(|| self.indexed(segment, entry)).await.map_err(unread)? {
            return Ok(LookedInto::Index(rows, parts));
        }
        let (extents, pieces) = self.scan(entry).await.map_err(unread)?;
        Ok(LookedInto::Rows(self.candidates(extents, Some(segment)).await, pieces))
    }

    /// Whether its filters of values, if they are in memory, say that no span satisfies the condition.
    fn is_ruled_out(&self, entry: &SegmentEntry) -> bool {
        let may_match = |filters: &ValueFilters| self.filtered.may_match(filters, &entry.meta, &self.tenant);
        let segments = self.store.segments();
        self.filtered.is_selective()
            && segments.may_hold_values(entry.meta.id, may_match, &self.reads) == Some(false)
    }

    /// Traces that were found by their rows, which are in order.
    pub(super) async fn of_rows(&self, segment: usize, rows: &[u64]) -> Result<Vec<Candidate>, Gap> {
        let Some(entry) = self.entry(segment) else { return Ok(Vec::new()) };
        let found = || self.store.segments().traces_of_rows(entry, &self.tenant, rows, &self.reads);
        let found = twice(found).await.map_err(|error| unread(&self.store, entry, &error))?;
        let extent = |trace: TraceEntry| {
            let (start, end) = (trace.start_unix_nano_min, trace.end_unix_nano_max);
            (trace.trace_id, Extent { start, end, last: end, matches: true })
        };
        let mut candidates = self.candidates(found.into_iter().map(extent).collect(), Some(segment)).await;
        // The directory does not tell generations apart.
        let is_vague = entry.meta.generation_max > self.generation;
        candidates.iter_mut().for_each(|candidate| candidate.is_vague = is_vague);
        Ok(candidates)
    }

    /// What the segment's index names, and of how many parts it is; none if it has no index.
    async fn indexed(
        &self,
        segment: usize,
        entry: &SegmentEntry,
    ) -> Result<Option<(Vec<IndexedRow>, u64)>, StoreError> {
        let (segments, reads) = (self.store.segments(), &*self.reads);
        let opened = segments.opened(entry, reads).await?;
        if !opened.has_index() {
            return Ok(None);
        }
        let parts = opened.index_parts_of(&self.tenant);
        // By number, as futures over references are not general enough for their caller to be spawned.
        let found = (0..parts.len()).map(|at| self.of_part(segment, entry, &opened, parts.get(at)));
        let found = futures::stream::iter(found).buffer_unordered(self.workers.max(1));
        let rows: Vec<IndexedRow> = found.try_concat().await?;
        Ok(Some((rows, parts.len() as u64)))
    }

    /// What a part of the segment's index names.
    async fn of_part(
        &self,
        segment: usize,
        entry: &SegmentEntry,
        opened: &OpenSegment,
        part: Option<&IndexPart>,
    ) -> Result<Vec<IndexedRow>, StoreError> {
        let Some(part) = part else { return Ok(Vec::new()) };
        // Closed by nobody.
        let _turn = self.turns.acquire().await;
        let (segments, reads) = (self.store.segments(), &*self.reads);
        let header = segments.index_header(entry, opened, part, reads).await?;
        if let Some(planned) = &self.planned {
            planned.get_or_init(|| indexed::planned(&self.conditions, &header));
        }
        if !self.conditions.iter().any(|condition| indexed::is_possible(condition, &header)) {
            return Ok(Vec::new());
        }
        let table = segments.index_traces(entry, opened, &header, reads).await?;
        let wanted: Vec<_> =
            self.conditions.iter().flat_map(|condition| indexed::ranges(condition, &header)).collect();
        let bytes = segments.index_bytes(entry, opened, &wanted, reads).await?;
        let (conditions, starts) = (Arc::clone(&self.conditions), self.starts.clone());
        // The index does not tell generations apart.
        let is_start = entry.meta.generation_max <= self.generation;
        let named = move || {
            let mut found = TraceSet::empty(header.part().traces);
            for condition in &*conditions {
                match indexed::traces(condition, &header, &table, &bytes)? {
                    Some(set) => found.or(&set),
                    None => found = TraceSet::full(header.part().traces),
                }
            }
            Ok(rows_of(&found, &table, &starts, is_start, segment))
        };
        let bytes_asked: u64 = wanted.iter().map(|range| range.end - range.start).sum();
        let named = if bytes_asked <= INLINE_INDEX_BYTES_MAX {
            // Where all was in memory, others have their turn, and the time is looked at.
            tokio::task::yield_now().await;
            named()
        } else {
            let task = tokio::task::spawn_blocking(named).await;
            task.map_err(|_| StoreError::TaskDied { what: "a search" })?
        };
        named.map_err(|error: FormatError| segments.damaged(entry, error))
    }

    /// `segment` is where they were found, if not in memory.
    pub(super) async fn candidates(
        &self,
        extents: Vec<(TraceId, Extent)>,
        segment: Option<usize>,
    ) -> Vec<Candidate> {
        let mut candidates = Vec::with_capacity(extents.len());
        for (at, (trace_id, extent)) in extents.into_iter().enumerate() {
            candidates.push(self.candidate(trace_id, extent, segment));
            // Each may ask every segment's filter, and others have their turn.
            if at % CANDIDATES_OF_TURN == CANDIDATES_OF_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        candidates
    }

    fn candidate(&self, trace_id: TraceId, extent: Extent, segment: Option<usize>) -> Candidate {
        Candidate {
            trace_id,
            start_unix_nano: extent.start,
            duration_nano: extent.end.saturating_sub(extent.start),
            last_unix_nano: extent.last,
            is_alone: self.asks_where_else && !self.may_be_elsewhere(&trace_id, segment),
            is_vague: false,
        }
    }

    /// Whether a trace may have spans in other sources than this one.
    fn may_be_elsewhere(&self, trace_id: &TraceId, segment: Option<usize>) -> bool {
        let (key, mut partitions) = self.snapshot.partitions.of_trace(&self.tenant, trace_id);
        let in_others = partitions.any(|partition| {
            let sees = |entry: &SegmentEntry| entry.meta.generation_min <= self.generation;
            Some(partition.segment) != segment
                && self.entry(partition.segment).is_some_and(sees)
                && self.store.segments().may_hold(partition.id, key, &self.reads) != Some(false)
        });
        let has = |(memtable, until): (&Arc<Memtable>, u32)| {
            !memtable.find_until(&self.tenant, trace_id, 1, until).0.is_empty()
        };
        in_others || segment.is_some() && self.memtables().any(has)
    }

    /// Goes through all rows of a segment, in the columns that the conditions ask of. In so many pieces.
    async fn scan(&self, entry: &SegmentEntry) -> Result<(Vec<(TraceId, Extent)>, u64), StoreError> {
        let Some((_, part)) = entry.meta.tenant(&self.tenant) else { return Ok((Vec::new(), 0)) };
        let mut projection = Projection::least();
        for condition in &*self.conditions {
            condition.fields(&mut |field| add_field(&mut projection, field));
        }
        if entry.meta.generation_max > self.generation {
            projection = projection.with_generations();
        }
        let mut rows = part.first_row..part.first_row + part.rows;
        let (mut found, mut last, mut pieces) = (Vec::new(), None::<(TraceId, Extent)>, 0);
        while !rows.is_empty() {
            pieces += 1;
            let read = || {
                self.store.segments().read_rows(entry, rows.clone(), &projection, WINDOW_BYTES, &self.reads)
            };
            let read = twice(read).await?;
            rows.start += (read.batch.len() as u64).max(1);
            let (conditions, starts, generation) =
                (Arc::clone(&self.conditions), self.starts.clone(), self.generation);
            let extents =
                tokio::task::spawn_blocking(move || extents(&read, &conditions, &starts, generation));
            let extents = extents.await.map_err(|_| StoreError::TaskDied { what: "a search" })?;
            for (trace_id, extent) in extents {
                match &mut last {
                    Some((same, before)) if *same == trace_id => *before = before.and(extent),
                    // What has nothing that matches is not kept.
                    _ => found.extend(last.replace((trace_id, extent)).filter(|(_, extent)| extent.matches)),
                }
            }
        }
        found.extend(last.filter(|(_, extent)| extent.matches));
        Ok((found, pieces))
    }
}

/// The rows of traces with spans that can start in a range.
fn rows_of(
    found: &TraceSet,
    table: &TraceTable,
    starts: &Range<u64>,
    is_start: bool,
    segment: usize,
) -> Vec<IndexedRow> {
    let row = |trace: u32| {
        let start_unix_nano = table.start_unix_nano_min(trace);
        let last = start_unix_nano.saturating_add(table.duration_nano_max(trace));
        let is_in = start_unix_nano < starts.end && last >= starts.start;
        is_in.then(|| IndexedRow {
            segment,
            row: table.rows(trace).start,
            start_unix_nano_min: start_unix_nano,
            last_unix_nano_max: last,
            start_unix_nano_max: if is_start { start_unix_nano } else { last },
            is_start,
        })
    };
    found.iter().filter_map(row).collect()
}

/// Of each trace in rows of a segment, which are together, what it has there up to a generation.
fn extents(
    read: &ReadRows,
    conditions: &[Predicate],
    starts: &Range<u64>,
    generation: u64,
) -> Vec<(TraceId, Extent)> {
    let mut extents: Vec<(TraceId, Extent)> = Vec::new();
    for (row, span) in read.batch.spans().enumerate() {
        if read.generations.get(row).is_some_and(|of_row| *of_row > generation) {
            continue;
        }
        let matches = is_match(conditions, starts, &span);
        match extents.last_mut() {
            Some((same, extent)) if *same == span.trace_id() => extent.add(&span, matches),
            _ => {
                let mut extent = Extent::NONE;
                extent.add(&span, matches);
                extents.push((span.trace_id(), extent));
            }
        }
    }
    extents
}

pub(super) fn is_match(conditions: &[Predicate], starts: &Range<u64>, span: &SpanView<'_>) -> bool {
    let facts = TraceFacts::default();
    starts.contains(&span.start_unix_nano()) && conditions.iter().any(|one| one.matches(span, &facts))
}
