//! Searching: the traces with spans that satisfy a condition, or those spans, in order, page by page.
//!
//! Two steps. Every source (a segment, the memtables) tells which of its traces are worth a look and how far in front
//! they can stand; then traces are read in that order, only what the condition asks of, and decided by their
//! spans. Reading stops when nothing that is unread can come before what was found. A search is as of one
//! generation, whatever comes in meanwhile or is merged.

mod candidates;
mod cursor;
mod filtered;
mod found;
mod hits;
mod in_memory;
pub(crate) mod indexed;
mod named;
mod order;
mod plan;
mod sources;
mod totals;
mod whole;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio::sync::Semaphore;
use tracelake_model::{TenantId, TraceId};
use tracelake_store::Store;
use tracelake_store::format::segment::Projection;
use tracelake_store::report::{ReadCounts, ReadReport};
use tracelake_traceql::{Field, Intrinsic, Predicate, TracePredicate};

use self::candidates::{Candidate, Candidates, IndexedRow, Opened};
pub use self::cursor::{Cursor, CursorError};
use self::filtered::Filtered;
use self::found::{Found, Place};
pub use self::found::{Sought, SpanHit};
pub use self::hits::TraceHit;
pub use self::order::Order;
use self::order::Rank;
pub use self::plan::{ConditionHow, NotRead, PlannedCondition, PlannedSource, SearchPlan, SourceHow};
use self::sources::Sources;
pub use self::totals::{Histogram, Totals};
pub use self::whole::WholeEvent;
pub(crate) use self::whole::search_whole;
use crate::assemble::TraceLimits;
use crate::batch::{BatchLimits, BatchView, batch};
use crate::gap::{Gap, GapKind};

/// What is searched for.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    /// Spans whose start is in the range, in nanoseconds since 1970.
    pub starts: Range<u64>,
    /// What they, or their trace, satisfy.
    pub predicate: TracePredicate,
    /// Whether it is those spans that are found, or their traces.
    pub sought: Sought,
    /// Which come first.
    pub order: Order,
    /// Traces of a page, or spans.
    pub limit: usize,
    /// Matching spans that are given of each trace; the others are counted.
    pub spans_per_trace: usize,
    /// Attributes that matching spans are to have.
    pub select: Vec<Field>,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Whether all traces that satisfy the condition are counted, of every page; or all spans.
    pub count: bool,
    /// Into how many parts of the range they are counted.
    pub histogram: Option<usize>,
    /// Whether the answer tells how it was found.
    pub explain: bool,
}

/// A page.
#[derive(Debug)]
pub struct SearchPage {
    /// In order; none if spans are sought.
    pub traces: Vec<TraceHit>,
    /// In order; none if traces are sought.
    pub spans: Vec<SpanHit>,
    /// What there is to say when they have been found.
    pub end: SearchEnd,
}

/// What comes of a search, one by one.
#[derive(Debug)]
pub enum SearchEvent {
    /// The next trace of the page.
    Trace(Box<TraceHit>),
    /// The next span, if those are sought.
    Span(SpanHit),
    /// There is no further one.
    End(Box<SearchEnd>),
}

/// What there is to say of a page.
#[derive(Debug)]
pub struct SearchEnd {
    /// Where the next page begins; none if there is nothing more.
    pub next: Option<Cursor>,
    /// What was counted, if it was asked for.
    pub totals: Option<Totals>,
    /// What the answer lacks and why.
    pub missing: Vec<Gap>,
    /// Everything that was acknowledged before this time was looked at, in nanoseconds since 1970.
    pub complete_up_to_unix_nano: u64,
    /// What it cost.
    pub stats: SearchStats,
    /// How it was found, if it was asked for.
    pub plan: Option<Box<SearchPlan>>,
}

/// What a search did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SearchStats {
    /// Segments of the store.
    pub segments_live: u64,
    /// Segments whose time and tenant did not rule them out.
    pub segments_considered: u64,
    /// Of those, segments of which filters of values said that there is nothing.
    pub segments_ruled_out: u64,
    /// Segments whose attribute index told which traces are worth a look.
    pub segments_indexed: u64,
    /// Segments of which all rows in the columns of the condition were read.
    pub segments_scanned: u64,
    /// Traces that were worth a look.
    pub candidates: u64,
    /// Traces that were read and decided.
    pub traces_read: u64,
    /// What was asked and read. The times in it add up what was done at once.
    #[serde(flatten)]
    pub reads: ReadCounts,
    /// Time for finding which traces are worth a look, in microseconds, as all times.
    pub sources_us: u64,
    /// Time for reading and deciding them.
    pub decide_us: u64,
    /// Time for all of it.
    pub total_us: u64,
}

/// What a search may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SearchLimits {
    /// Of each trace that is read.
    pub(crate) trace: TraceLimits,
    /// Work that is done at once.
    pub(crate) workers: usize,
    /// How long it may work. Who takes traces slowly is dealt with by whoever sends them.
    pub(crate) time_max: Duration,
    /// Traces worth a look that are kept.
    pub(crate) candidates_max: usize,
}

/// Traces that are decided together at most.
const DECIDED_AT_ONCE_MAX: usize = 512;

/// Traces that are decided for each that is needed, at most, where few of those before satisfied the condition.
const DECIDED_FOR_EACH_MAX: usize = 16;

/// A trace that is worth a look, the foremost first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pending {
    rank: Rank,
    what: What,
}

impl Pending {
    /// Of a trace that can have any place.
    fn foremost(trace_id: TraceId) -> Self {
        Self { rank: Rank::FIRST, what: What::Trace(trace_id) }
    }
}

/// Which trace it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Trace(TraceId),
    /// That of a row of a segment.
    Row(usize, u64),
}

/// A page; an error if it cannot go on from where the one before ended.
pub(crate) async fn search_page(
    store: Store,
    tenant: TenantId,
    query: SearchQuery,
    limits: SearchLimits,
) -> Result<SearchPage, CursorError> {
    let mut run = Run::new(store, tenant, query, limits)?;
    let (mut traces, mut spans) = (Vec::new(), Vec::new());
    while let Some(found) = run.next_in_time().await {
        match found {
            Found::Trace(hit) => traces.push(*hit),
            Found::Span(hit) => spans.push(hit),
        }
    }
    Ok(SearchPage { traces, spans, end: run.end() })
}

/// What is on a page as it is found, then its end; an error if it cannot go on, before anything is read.
pub(crate) fn search_events(
    store: Store,
    tenant: TenantId,
    query: SearchQuery,
    limits: SearchLimits,
) -> Result<impl Stream<Item = SearchEvent> + Send + 'static, CursorError> {
    let run = Run::new(store, tenant, query, limits)?;
    Ok(futures::stream::unfold(Some(run), |run| async move {
        let mut run = run?;
        Some(match run.next_in_time().await {
            Some(Found::Trace(hit)) => (SearchEvent::Trace(hit), Some(run)),
            Some(Found::Span(hit)) => (SearchEvent::Span(hit), Some(run)),
            None => (SearchEvent::End(Box::new(run.end())), None),
        })
    }))
}

/// A search that has begun.
struct Run {
    work: Candidates,
    sources: Sources,
    query: SearchQuery,
    limits: SearchLimits,
    complete_up_to_unix_nano: u64,
    /// What retention had removed by the first page.
    retention_version: u64,
    pending: BinaryHeap<Pending>,
    /// All that are known to have been pending; where spans are sought, all that were decided.
    seen: HashSet<TraceId>,
    /// What satisfies the condition and was not given yet: what the page lacks and one more.
    found: BTreeMap<Place, Found>,
    /// As many spans as that takes the room of.
    found_spans: usize,
    given: usize,
    last: Option<Place>,
    totals: Option<Totals>,
    /// Traces that were decided, those of them that satisfy the condition, and what was found by that.
    decided: usize,
    satisfied: usize,
    matched: usize,
    missing: Vec<Gap>,
    /// Whether there was no time, or no room, for all of the page.
    is_stopped: bool,
    /// Rows of the batches that spans which were found lie in.
    copied: usize,
    stats: SearchStats,
    worked: Duration,
}

impl Run {
    fn new(
        store: Store,
        tenant: TenantId,
        query: SearchQuery,
        limits: SearchLimits,
    ) -> Result<Self, CursorError> {
        let now_unix_nano = store.now_unix_nano();
        let snapshot = store.snapshot();
        let retention = snapshot.manifest.retention;
        if let (Some(after), Some(retention)) = (&query.after, &retention)
            && after.is_removed(retention, &query.starts)
        {
            return Err(CursorError::Removed);
        }
        let retention_version = retention.map_or(0, |retention| retention.version);
        // Before anything is read: what comes in from here on is of a later generation.
        let generation = query.after.as_ref().map_or_else(|| snapshot.cut(), Cursor::generation);
        let conditions: Arc<[Predicate]> = found::span_conditions(&query).into();
        let work = Candidates {
            starts: query.starts.clone(),
            named: named::by_any(&conditions),
            filtered: Filtered::Any(conditions.iter().map(Filtered::of).collect()),
            conditions,
            sought: query.sought,
            order: query.order,
            reads: Arc::new(ReadReport::default()),
            workers: limits.workers,
            turns: Semaphore::new(limits.workers.max(1)),
            asks_where_else: query.sought == Sought::Traces
                && (query.order != Order::Newest || query.after.is_some()),
            planned: query.explain.then(OnceLock::new),
            store,
            tenant,
            snapshot,
            generation,
        };
        let sources = Sources::of(&work);
        let wants_totals = query.count || query.histogram.is_some();
        Ok(Self {
            complete_up_to_unix_nano: query.after.as_ref().map_or(now_unix_nano, Cursor::as_of_unix_nano),
            retention_version: query.after.as_ref().map_or(retention_version, Cursor::retention_version),
            pending: work.named.iter().flatten().copied().map(Pending::foremost).collect(),
            seen: HashSet::new(),
            found: BTreeMap::new(),
            found_spans: 0,
            given: 0,
            last: None,
            totals: wants_totals
                .then(|| Totals::new(query.histogram.map(|parts| (parts, work.known_starts())))),
            decided: 0,
            satisfied: 0,
            matched: 0,
            missing: Vec::new(),
            is_stopped: false,
            copied: 0,
            stats: SearchStats {
                segments_live: work.snapshot.manifest.segments.len() as u64,
                segments_considered: sources.segments() as u64,
                candidates: work.named.as_ref().map_or(0, |named| named.len() as u64),
                ..SearchStats::default()
            },
            worked: Duration::ZERO,
            work,
            sources,
            query,
            limits,
        })
    }

    /// What is next on the page, if there is time for it.
    async fn next_in_time(&mut self) -> Option<Found> {
        let left = self.limits.time_max.saturating_sub(self.worked);
        let since = Instant::now();
        let next = tokio::time::timeout(left, self.next()).await;
        self.worked += since.elapsed();
        next.unwrap_or_else(|_| {
            self.stop(Gap::late_search(self.limits.time_max));
            None
        })
    }

    /// What is next on the page.
    async fn next(&mut self) -> Option<Found> {
        loop {
            let unread = self.unread();
            if self.given < self.query.limit
                && let Some(first) = self.found.first_entry()
                && unread.is_none_or(|unread| first.key().rank() > unread)
            {
                self.last = Some(*first.key());
                self.given += 1;
                let found = first.remove();
                self.found_spans -= found.spans();
                return Some(found);
            }
            // Whether there is a next page is known once there is something of it.
            let is_over = self.given >= self.query.limit && !self.found.is_empty();
            if unread.is_none() || is_over && self.totals.is_none() {
                return None;
            }
            self.work().await;
        }
    }

    /// The foremost place of what was not looked at.
    fn unread(&self) -> Option<Rank> {
        self.pending.peek().map(|pending| pending.rank).max(self.sources.next_rank())
    }

    /// Looks into the next source, or decides what is the foremost.
    async fn work(&mut self) {
        let pending = self.pending.peek().map(|pending| pending.rank);
        let unopened = self.sources.next_rank();
        if unopened.is_some() && unopened >= pending {
            let since = Instant::now();
            let (opened, gaps) = self.sources.open_next(&self.work, &mut self.stats).await;
            gaps.into_iter().for_each(|gap| self.lacks(gap));
            self.stats.sources_us += micros(since.elapsed());
            return self.add_opened(opened).await;
        }
        let at_once = self.decided_at_once();
        let mut traces = Vec::with_capacity(at_once);
        let mut rows: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for _ in 0..at_once {
            // What an unopened source may have before them is not passed by.
            let is_next = |next: &Pending| unopened.is_none_or(|rank| next.rank > rank);
            if !self.pending.peek().is_some_and(is_next) {
                break;
            }
            match self.pending.pop().map(|pending| pending.what) {
                // Where spans are sought, each source with some of its spans may have named it.
                Some(What::Trace(trace_id))
                    if self.query.sought == Sought::Traces || self.seen.insert(trace_id) =>
                {
                    traces.push(trace_id);
                }
                Some(What::Row(segment, row)) => rows.entry(segment).or_default().push(row),
                Some(What::Trace(_)) | None => {}
            }
        }
        for trace in self.resolved(rows).await {
            if self.seen.insert(trace.trace_id) {
                traces.push(trace.trace_id);
            }
        }
        self.decide(traces).await;
    }

    /// How many traces are worth deciding together: those that the page lacks, and one more which says that there is a
    /// next page; more if not all satisfied the condition so far, as each turn costs a wait.
    fn decided_at_once(&self) -> usize {
        if self.totals.is_some() {
            return DECIDED_AT_ONCE_MAX.min(self.traces_with_room());
        }
        let lacking = (self.query.limit + 1).saturating_sub(self.given + self.found.len()).max(1);
        let of_each = (self.matched / self.satisfied.max(1)).max(1);
        let for_each = self.decided.div_ceil(self.satisfied.max(1)).clamp(1, DECIDED_FOR_EACH_MAX);
        (lacking.div_ceil(of_each) * for_each).min(DECIDED_AT_ONCE_MAX).min(self.traces_with_room())
    }

    /// The traces of rows of segments.
    async fn resolved(&mut self, rows: BTreeMap<usize, Vec<u64>>) -> Vec<Candidate> {
        let mut traces = Vec::new();
        for (segment, mut rows) in rows {
            rows.sort_unstable();
            match self.work.of_rows(segment, &rows).await {
                Ok(found) => traces.extend(found),
                Err(gap) => self.lacks(gap),
            }
        }
        traces
    }

    /// Adds what a source has. What the index names is not looked up before it is its turn, where its place is known
    /// well enough.
    async fn add_opened(&mut self, mut opened: Opened) {
        if self.query.sought == Sought::Traces {
            // Another piece of memory, or another segment, has named it already.
            opened.traces.retain(|trace| !self.seen.contains(&trace.trace_id));
        }
        let opened = self.admitted(opened);
        if self.query.sought == Sought::Spans {
            return self.add_spans(opened);
        }
        let Opened { mut traces, rows } = opened;
        let (mut clear, mut unclear) = (Vec::with_capacity(rows.len()), BTreeMap::<usize, Vec<u64>>::new());
        for IndexedRow { segment, row, start_unix_nano_max, is_start, .. } in rows {
            let rank = self.query.order.rank(start_unix_nano_max, 0);
            let may_be_passed = self.query.after.as_ref().is_some_and(|after| after.may_have_passed(rank));
            // Only what may have been given before is worth finding out, where that can be known without its rows.
            if self.query.order == Order::Newest && !(may_be_passed && is_start) {
                clear.push(Pending { rank, what: What::Row(segment, row) });
            } else {
                unclear.entry(segment).or_default().push(row);
            }
        }
        // All at once: a heap is made of many in less time than one by one.
        self.pending.extend(clear);
        traces.extend(self.resolved(unclear).await);
        self.add(traces).await;
    }

    /// As much of what a source has as there is room for, what started last first.
    fn admitted(&mut self, mut opened: Opened) -> Opened {
        let room = self.limits.candidates_max.saturating_sub(self.stats.candidates as usize);
        if opened.traces.len() + opened.rows.len() > room {
            opened.rows.sort_unstable_by_key(|row| Reverse(row.start_unix_nano_max));
            opened.traces.sort_unstable_by_key(|trace| Reverse(trace.start_unix_nano));
            opened.rows.truncate(room);
            opened.traces.truncate(room - opened.rows.len());
            self.lacks(Gap::too_many_candidates(self.limits.candidates_max));
        }
        self.stats.candidates += (opened.traces.len() + opened.rows.len()) as u64;
        opened
    }

    /// The page ends before it is full, and the next one can go on from there.
    fn stop(&mut self, gap: Gap) {
        self.is_stopped = true;
        self.lacks(gap);
    }

    fn lacks(&mut self, gap: Gap) {
        if !self.missing.contains(&gap) {
            self.missing.push(gap);
        }
    }

    /// Adds what is worth a look. Where the place of a trace depends on what other sources have of it, and they may
    /// have it before, it is decided at once.
    async fn add(&mut self, candidates: Vec<Candidate>) {
        let mut at_once = Vec::new();
        for candidate in candidates {
            if !self.seen.insert(candidate.trace_id) {
                continue;
            }
            let rank = self.query.order.rank(candidate.start_unix_nano, candidate.duration_nano);
            let place = Place::of_trace(rank, candidate.trace_id);
            let is_passed = self.query.after.as_ref().is_some_and(|after| after.is_passed(&place));
            let is_certain = candidate.is_alone && !candidate.is_vague;
            // Of a trace above the limits of one the duration is that of what is read.
            let is_known = is_certain && self.query.order != Order::Longest;
            if is_passed && is_known && self.totals.is_none() {
                continue;
            }
            if is_certain || self.query.order == Order::Newest && !candidate.is_vague {
                self.pending.push(Pending { rank, what: What::Trace(candidate.trace_id) });
            } else {
                at_once.push(candidate.trace_id);
            }
        }
        for traces in at_once.chunks(DECIDED_AT_ONCE_MAX) {
            self.decide(traces.to_vec()).await;
        }
    }

    /// Reads traces and keeps what of them satisfies the condition.
    async fn decide(&mut self, traces: Vec<TraceId>) {
        let since = Instant::now();
        let twice = self.decide_by(traces, projection(&self.query)).await;
        // Whether spans of one ID are duplicates, all that they have tells.
        if !twice.is_empty() {
            self.decide_by(twice, Projection::ALL).await;
        }
        self.stats.decide_us += micros(since.elapsed());
    }

    /// The same by some columns; gives the traces of which more has to be known.
    async fn decide_by(&mut self, traces: Vec<TraceId>, projection: Projection) -> Vec<TraceId> {
        self.stats.traces_read += traces.len() as u64;
        let is_all = projection.is_all();
        let mut twice = Vec::new();
        let view = BatchView {
            snapshot: Some(self.work.snapshot.clone()),
            generation: self.work.generation,
            projection,
            reads: Some(Arc::clone(&self.work.reads)),
        };
        let limits = BatchLimits {
            trace: self.limits.trace,
            workers: self.limits.workers,
            group_time_max: self.limits.time_max,
        };
        let (store, tenant) = (self.work.store.clone(), self.work.tenant.clone());
        let mut unanswered = traces.len();
        let answers = batch(store, tenant, traces, view, limits);
        let mut answers = std::pin::pin!(answers);
        while let Some((trace_id, spans)) = answers.next().await {
            unanswered = unanswered.saturating_sub(1);
            let Some(spans) = spans else { continue };
            if spans.has_shared_ids() && !is_all {
                twice.push(trace_id);
                continue;
            }
            spans.missing().iter().for_each(|gap| self.lacks_of(gap));
            self.decided += 1;
            if let Some(trace) = hits::decide(&self.query, &spans) {
                self.keep(trace_id, &trace, spans.conflicting_span_ids());
            }
        }
        if unanswered > 0 {
            self.lacks(Gap::undecided(unanswered));
        }
        twice
    }

    /// What a trace lacks that was read for the search, whose time it was.
    fn lacks_of(&mut self, gap: &Gap) {
        match gap.kind {
            GapKind::Deadline => self.lacks(Gap::late_search(self.limits.time_max)),
            _ => self.lacks(gap.clone()),
        }
    }

    fn end(self) -> SearchEnd {
        let Self { work, sources, query, found, given, last, totals, missing, is_stopped, .. } = self;
        let Self { mut stats, worked, .. } = self;
        // What was stopped goes on from what it gave last.
        let is_cut = !found.is_empty() || given > 0 && is_stopped;
        let next = last.filter(|_| is_cut).map(|place| {
            let (as_of, removed) = (self.complete_up_to_unix_nano, self.retention_version);
            Cursor::new(&query, work.generation, as_of, removed, place)
        });
        // Where there was no time for a single one the same page can be asked for again.
        let next = next.or_else(|| query.after.clone().filter(|_| given == 0 && is_stopped));
        stats.reads = work.reads.counts();
        stats.total_us = micros(worked);
        let plan = sources.into_looked_into().map(|looked_into| {
            let indexed = work.planned.as_ref().and_then(OnceLock::get).map(Vec::as_slice);
            Box::new(SearchPlan::new(&work, indexed, looked_into, &stats))
        });
        let complete_up_to_unix_nano = self.complete_up_to_unix_nano;
        SearchEnd { next, totals, missing, complete_up_to_unix_nano, stats, plan }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What has to be read of spans to decide and to answer.
fn projection(query: &SearchQuery) -> Projection {
    let mut projection = Projection::least();
    let mut add = |field: &Field| add_field(&mut projection, field);
    query.predicate.fields(&mut add);
    query.select.iter().for_each(add);
    projection
}

pub(crate) fn add_field(projection: &mut Projection, field: &Field) {
    if field.is_of_event() {
        return projection.add_events();
    }
    if field.is_of_link() {
        return projection.add_links();
    }
    match field {
        Field::Attribute { key, .. } => projection.add_attribute(key),
        Field::Intrinsic(Intrinsic::StatusMessage) => projection.add_status_message(),
        Field::Intrinsic(_) => {}
    }
}
