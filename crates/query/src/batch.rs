//! Many traces at once: IDs are taken in the order of segments, a group at a time, so that each segment is
//! read from its begin to its end and each part of it once.
//!
//! In memory are the rows of one group for each worker and the answers that nobody has taken yet, which are
//! bounded in number and in bytes. Whoever drops the stream stops the work.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tracelake_model::hash::trace_hash;
use tracelake_model::{SpanBatch, TenantId, TraceId};
use tracelake_store::format::manifest::SegmentEntry;
use tracelake_store::format::segment::{Projection, TraceEntry};
use tracelake_store::locator::{Partition, PartitionLocator};
use tracelake_store::report::ReadReport;
use tracelake_store::segments::{ReadRows, other_trace};
use tracelake_store::{Snapshot, Store, TraceRows};

use crate::assemble::{Assembler, TraceLimits, TraceSpans, row_bytes};
use crate::gap::Gap;
use crate::lookup::{twice, unread};

/// Traces of a group: enough that neighbours share pages, few enough that the first answers come soon.
const GROUP_TRACES: usize = 128;

/// Rows that are decoded together, unless one trace has more.
const GROUP_ROWS: u64 = 8_192;

/// Bytes of those rows, as far as their segments' sizes tell, and how many times a row's bytes in its file that is.
const GROUP_BYTES: u64 = 32 << 20;
const DECODED_RATIO: u64 = 10;

/// What those rows may take in truth; traces of a group that takes more are read one by one.
const GROUP_BYTES_MAX: usize = 64 << 20;

/// Segments that a worker asks at once.
const SEGMENTS_AT_ONCE: usize = 4;

/// Answers that wait to be taken: as many as let a worker read on while its last group is taken.
const ANSWERS_AHEAD: usize = GROUP_TRACES;

/// What was read for them, in KiB: large traces wait until those before them are taken.
const ANSWERS_AHEAD_KIB: u32 = 4 << 10;

/// A trace that was asked for; none if no span of it is stored.
pub type BatchAnswer = (TraceId, Option<TraceSpans>);

/// What of the traces is read.
#[derive(Debug, Clone)]
pub(crate) struct BatchView {
    /// None: of each group as it is when it is begun.
    pub(crate) snapshot: Option<Snapshot>,
    /// Up to this generation.
    pub(crate) generation: u64,
    /// What else is read as if spans did not have it.
    pub(crate) projection: Projection,
    /// Where what it costs is added up; none: in the store's totals alone.
    pub(crate) reads: Option<Arc<ReadReport>>,
}

impl BatchView {
    /// All of them.
    pub(crate) const ALL: Self =
        Self { snapshot: None, generation: u64::MAX, projection: Projection::ALL, reads: None };
}

/// What a batch may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// Of each trace.
    pub(crate) trace: TraceLimits,
    /// Groups worked on at once.
    pub(crate) workers: usize,
    /// How long one group may take.
    pub(crate) group_time_max: Duration,
}

/// The traces, each ID once, in no order that means something.
pub(crate) fn batch(
    store: Store,
    tenant: TenantId,
    mut trace_ids: Vec<TraceId>,
    view: BatchView,
    limits: BatchLimits,
) -> impl Stream<Item = BatchAnswer> + Send + 'static {
    trace_ids.sort_by_cached_key(|trace_id| (trace_hash(trace_id), *trace_id));
    trace_ids.dedup();
    let of_group = trace_ids.len().div_ceil(limits.workers.max(1)).clamp(1, GROUP_TRACES);
    let groups: VecDeque<Vec<TraceId>> = trace_ids.chunks(of_group).map(<[TraceId]>::to_vec).collect();
    let workers = limits.workers.clamp(1, groups.len().max(1));
    let groups = Arc::new(Mutex::new(groups));
    let (sender, receiver) = mpsc::channel(ANSWERS_AHEAD);
    let answers = Answers { sender, room: Arc::new(Semaphore::new(ANSWERS_AHEAD_KIB as usize)) };
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let work = Worker {
            store: store.clone(),
            tenant: tenant.clone(),
            view: view.clone(),
            limits,
            answers: answers.clone(),
        };
        let groups = Arc::clone(&groups);
        tasks.spawn(async move {
            let next = || groups.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(trace_ids) = next() {
                if work.run(&trace_ids).await.is_none() {
                    return;
                }
            }
        });
    }
    // The tasks end with the stream.
    futures::stream::unfold((receiver, tasks), |(mut receiver, tasks)| async move {
        let (answer, _room) = receiver.recv().await?;
        Some((answer, (receiver, tasks)))
    })
}

/// Where answers wait to be taken.
#[derive(Clone)]
struct Answers {
    sender: mpsc::Sender<(BatchAnswer, OwnedSemaphorePermit)>,
    /// A permit for each KiB that may still wait.
    room: Arc<Semaphore>,
}

impl Answers {
    /// Waits for room; one that is larger than all room waits until it is alone. None if nobody wants it any more.
    async fn send(&self, answer: BatchAnswer, bytes: usize) -> Option<()> {
        let kib = u32::try_from(bytes / 1_024).unwrap_or(u32::MAX).clamp(1, ANSWERS_AHEAD_KIB);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.ok()?;
        self.sender.send((answer, room)).await.ok()
    }
}

/// What works on groups.
struct Worker {
    store: Store,
    tenant: TenantId,
    view: BatchView,
    limits: BatchLimits,
    answers: Answers,
}

/// A trace's rows in one segment, by the segment's place in the manifest.
struct Located {
    segment: usize,
    trace: TraceEntry,
}

/// By trace, where its rows are.
type Parts = BTreeMap<TraceId, Vec<Located>>;

/// Where traces are, and what could not be looked into, which concerns all of them.
type Places = (HashMap<TraceId, Vec<Located>>, Vec<Gap>);

impl Worker {
    /// None if nobody wants the answers any more.
    async fn run(&self, trace_ids: &[TraceId]) -> Option<()> {
        let report = ReadReport::default();
        let snapshot = self.view.snapshot.clone().unwrap_or_else(|| self.store.snapshot());
        let mut traces = self.in_memory(&snapshot, trace_ids);
        // Who is slow to take answers must not hold memtables.
        let Snapshot { manifest, partitions, .. } = snapshot;
        let view = View { segments: &manifest.segments, partitions: &partitions };
        let mut time = TimeLeft(self.limits.group_time_max);
        let places = time.spend(self.locate(&view, trace_ids, &report)).await;
        self.account(&report);
        match places {
            Some(places) => self.read_all(&view, trace_ids, &mut traces, places, &mut time).await,
            None => self.give_up(&view, trace_ids, &mut traces).await,
        }
    }

    /// What memtables have of the traces.
    fn in_memory(&self, snapshot: &Snapshot, trace_ids: &[TraceId]) -> HashMap<TraceId, Assembler> {
        let limits = self.limits.trace;
        let until = |first| u32::try_from(self.view.generation.checked_sub(first)?.min(u32::MAX.into())).ok();
        let memtables: Vec<_> =
            snapshot.generations().filter_map(|(memtable, first)| Some((memtable, until(first)?))).collect();
        let trace = |trace_id: &TraceId| {
            let mut assembler = Assembler::new(limits);
            for (memtable, until) in &memtables {
                let (parts, more) =
                    memtable.find_until(&self.tenant, trace_id, assembler.spans_left(), *until);
                parts.into_iter().for_each(|part| assembler.add(part));
                if more {
                    assembler.lacks(Gap::over_limit(limits));
                }
            }
            (*trace_id, assembler)
        };
        trace_ids.iter().map(trace).collect()
    }

    /// Adds up what was read.
    fn account(&self, report: &ReadReport) {
        match &self.view.reads {
            Some(reads) => reads.add_all(report),
            None => self.store.segments().account(report),
        }
    }

    /// Whether a segment has rows of a generation that is asked for.
    fn sees(&self, view: &View<'_>, partition: &Partition) -> bool {
        let meta = view.segments.get(partition.segment).map(|entry| &entry.meta);
        meta.is_some_and(|meta| meta.generation_min <= self.view.generation)
    }

    async fn locate(&self, view: &View<'_>, trace_ids: &[TraceId], report: &ReadReport) -> Places {
        let segments = self.store.segments();
        let mut chosen: BTreeMap<usize, Vec<TraceId>> = BTreeMap::new();
        let mut unknown: BTreeMap<usize, Vec<(TraceId, u64)>> = BTreeMap::new();
        for trace_id in trace_ids {
            let (key, partitions) = view.partitions.of_trace(&self.tenant, trace_id);
            for partition in partitions.filter(|partition| self.sees(view, partition)) {
                report.consider(1);
                match segments.may_hold(partition.id, key, report) {
                    Some(true) => chosen.entry(partition.segment).or_default().push(*trace_id),
                    Some(false) => {}
                    None => unknown.entry(partition.segment).or_default().push((*trace_id, key)),
                }
            }
        }
        let mut gaps: Vec<Gap> = Vec::new();
        let asked = unknown.into_iter().map(|(segment, traces)| async move {
            let keys: Vec<u64> = traces.iter().map(|(_, key)| *key).collect();
            let entry = view.segments.get(segment)?;
            let may_hold = twice(|| segments.may_hold_read(entry, &keys, report)).await;
            Some((segment, entry, traces, may_hold))
        });
        let mut asked = futures::stream::iter(asked).buffer_unordered(SEGMENTS_AT_ONCE);
        while let Some(answer) = asked.next().await {
            match answer {
                Some((segment, _, traces, Ok(may_hold))) => {
                    let held = traces.iter().zip(may_hold).filter(|(_, may_hold)| *may_hold);
                    chosen.entry(segment).or_default().extend(held.map(|((trace_id, _), _)| *trace_id));
                }
                Some((_, entry, _, Err(error))) => gaps.push(unread(&self.store, entry, &error)),
                None => {}
            }
        }
        let mut located: HashMap<TraceId, Vec<Located>> = HashMap::new();
        let found = chosen.into_iter().map(|(segment, trace_ids)| async move {
            let entry = view.segments.get(segment)?;
            let found = twice(|| segments.locate_many(entry, &self.tenant, &trace_ids, report)).await;
            Some((segment, entry, found))
        });
        let mut found = futures::stream::iter(found).buffer_unordered(SEGMENTS_AT_ONCE);
        while let Some(answer) = found.next().await {
            match answer {
                Some((segment, _, Ok(traces))) => {
                    for trace in traces {
                        located.entry(trace.trace_id).or_default().push(Located { segment, trace });
                    }
                }
                Some((_, entry, Err(error))) => gaps.push(unread(&self.store, entry, &error)),
                None => {}
            }
        }
        (located, gaps)
    }

    async fn read_all(
        &self,
        view: &View<'_>,
        trace_ids: &[TraceId],
        traces: &mut HashMap<TraceId, Assembler>,
        (mut located, gaps): Places,
        time: &mut TimeLeft,
    ) -> Option<()> {
        for assembler in traces.values_mut() {
            gaps.iter().for_each(|gap| assembler.lacks(gap.clone()));
        }
        let rows_max = self.limits.trace.spans_max as u64;
        let mut rest = trace_ids;
        while !rest.is_empty() {
            let (mut rows, mut bytes) = (0, 0);
            let fitting = rest.iter().take_while(|trace_id| {
                for part in located.get(*trace_id).map(Vec::as_slice).unwrap_or_default() {
                    let rows_of_part = part.trace.rows.min(rows_max);
                    rows += rows_of_part;
                    bytes += rows_of_part.saturating_mul(view.row_bytes(part.segment));
                }
                rows <= GROUP_ROWS && bytes <= GROUP_BYTES
            });
            let (now, later) = rest.split_at_checked(fitting.count().max(1)).unwrap_or((rest, &[]));
            let parts: Parts = now.iter().filter_map(|id| Some((*id, located.remove(id)?))).collect();
            rest = later;
            if now.len() == 1 {
                self.read_one_by_one(view, &parts, now, traces, time).await?;
                continue;
            }
            let before: Vec<_> = now.iter().filter_map(|id| Some((*id, traces.get(id)?.clone()))).collect();
            let report = ReadReport::default();
            let read = time.spend(self.read(view, &parts, traces, &report)).await;
            // Before answers are waited for: who leaves has caused it as well.
            self.account(&report);
            match read {
                Some(true) => {
                    // What it alone keeps alive goes before answers are waited for.
                    drop(before);
                    self.answer(now, traces).await?;
                }
                Some(false) => {
                    traces.extend(before);
                    self.read_one_by_one(view, &parts, now, traces, time).await?;
                }
                None => {
                    self.give_up(view, now, traces).await?;
                    return self.give_up(view, rest, traces).await;
                }
            }
        }
        Some(())
    }

    /// Answers with what there is, and names the segments that may have more.
    async fn give_up(
        &self,
        view: &View<'_>,
        trace_ids: &[TraceId],
        traces: &mut HashMap<TraceId, Assembler>,
    ) -> Option<()> {
        let (segments, report) = (self.store.segments(), ReadReport::default());
        for trace_id in trace_ids {
            let Some(assembler) = traces.get_mut(trace_id) else { continue };
            let (key, partitions) = view.partitions.of_trace(&self.tenant, trace_id);
            for partition in partitions.filter(|partition| self.sees(view, partition)) {
                if segments.may_hold(partition.id, key, &report) != Some(false)
                    && let Some(entry) = view.segments.get(partition.segment)
                {
                    assembler.lacks(Gap::late_group(entry, self.limits.group_time_max));
                }
            }
        }
        self.answer(trace_ids, traces).await
    }

    async fn answer(&self, trace_ids: &[TraceId], traces: &mut HashMap<TraceId, Assembler>) -> Option<()> {
        for trace_id in trace_ids {
            let trace = traces.remove(trace_id);
            let bytes = trace.as_ref().map_or(0, Assembler::heap_bytes);
            self.answers.send((*trace_id, trace.and_then(Assembler::finish)), bytes).await?;
        }
        Some(())
    }

    /// Traces of which a few are large: each is answered before the next one is read.
    async fn read_one_by_one(
        &self,
        view: &View<'_>,
        parts: &Parts,
        trace_ids: &[TraceId],
        traces: &mut HashMap<TraceId, Assembler>,
        time: &mut TimeLeft,
    ) -> Option<()> {
        let mut rest = trace_ids;
        while let Some((trace_id, later)) = rest.split_first() {
            let report = ReadReport::default();
            let parts = parts.get(trace_id).map(Vec::as_slice).unwrap_or_default();
            let read = time.spend(self.read_one(view, parts, trace_id, traces, &report)).await;
            self.account(&report);
            match read {
                Some(()) => self.answer(slice::from_ref(trace_id), traces).await?,
                None => return self.give_up(view, rest, traces).await,
            }
            rest = later;
        }
        Some(())
    }

    async fn read_one(
        &self,
        view: &View<'_>,
        parts: &[Located],
        trace_id: &TraceId,
        traces: &mut HashMap<TraceId, Assembler>,
        report: &ReadReport,
    ) {
        let segments = self.store.segments();
        let Some(assembler) = traces.get_mut(trace_id) else { return };
        for Located { segment, trace } in parts {
            let Some(entry) = view.segments.get(*segment) else { continue };
            let (rows_max, bytes_max) = (assembler.spans_left() as u64, assembler.heap_bytes_left());
            let projection = self.projection(entry);
            let read = || segments.read_trace(entry, trace, rows_max, &projection, bytes_max, report);
            let read = twice(read).await;
            match read {
                Ok(parts) => {
                    let rows: usize = parts.iter().map(|part| part.batch.len()).sum();
                    let all = parts.into_iter().all(|part| self.add(part, assembler));
                    if !all || (rows as u64) < trace.rows {
                        return assembler.lacks(Gap::over_limit(self.limits.trace));
                    }
                }
                Err(error) => assembler.lacks(unread(&self.store, entry, &error)),
            }
        }
    }

    /// Reads the parts into the traces, one segment after the other: of a trace no more than there is still
    /// room for. False if they are too much together: then nothing is to be made of what was read.
    async fn read(
        &self,
        view: &View<'_>,
        parts: &Parts,
        traces: &mut HashMap<TraceId, Assembler>,
        report: &ReadReport,
    ) -> bool {
        let mut by_segment: BTreeMap<usize, Vec<&TraceEntry>> = BTreeMap::new();
        for part in parts.values().flatten() {
            by_segment.entry(part.segment).or_default().push(&part.trace);
        }
        let mut bytes = 0;
        for (segment, mut parts) in by_segment {
            let Some(entry) = view.segments.get(segment) else { continue };
            parts.sort_by_key(|part| part.first_row);
            let mut wanted = Vec::with_capacity(parts.len());
            for part in &parts {
                let Some(assembler) = traces.get_mut(&part.trace_id) else { continue };
                let rows = part.rows.min(assembler.spans_left() as u64);
                if rows < part.rows {
                    assembler.lacks(Gap::over_limit(self.limits.trace));
                }
                if rows > 0 {
                    wanted.push((part.trace_id, part.first_row..part.first_row + rows));
                }
            }
            let mut rest = wanted.as_slice();
            while !rest.is_empty() {
                if bytes >= GROUP_BYTES_MAX {
                    return false;
                }
                let rows: Vec<Range<u64>> = rest.iter().map(|(_, rows)| rows.clone()).collect();
                let bytes_max = GROUP_BYTES_MAX - bytes;
                let projection = self.projection(entry);
                let read = || self.store.segments().read_runs(entry, &rows, &projection, bytes_max, report);
                let read = twice(read).await;
                let now = read.as_ref().map_or(rest.len(), |read| read.asked.clamp(1, rest.len()));
                let (now, later) = rest.split_at_checked(now).unwrap_or((rest, &[]));
                rest = later;
                if let Ok(ReadRows { batch, runs, .. }) = &read {
                    bytes += batch.heap_bytes();
                    let rows: u64 = runs.iter().map(|run| run.end - run.start).sum();
                    if (batch.len() as u64) < rows {
                        return false;
                    }
                }
                let shared = read.map(|ReadRows { batch, generations, runs, .. }| {
                    let row_bytes = row_bytes(&batch);
                    Shared { runs, batch: Arc::new(batch), generations, row_bytes }
                });
                for (trace_id, rows) in now {
                    let Some(assembler) = traces.get_mut(trace_id) else { continue };
                    match &shared {
                        Ok(shared) => self.share(entry, trace_id, shared, rows, assembler),
                        Err(error) => assembler.lacks(unread(&self.store, entry, error)),
                    }
                }
            }
        }
        true
    }

    /// Gives a trace its rows of those that were read for several.
    fn share(
        &self,
        entry: &SegmentEntry,
        trace_id: &TraceId,
        shared: &Shared,
        rows: &Range<u64>,
        assembler: &mut Assembler,
    ) {
        let mut found = shared.rows(rows);
        let same = |row: &u32| found.batch.trace_ids_from(*row as usize).next() == Some(trace_id);
        if found.rows.len() as u64 != rows.end - rows.start || !found.rows.iter().all(same) {
            return assembler.lacks(unread(&self.store, entry, &other_trace(entry, trace_id)));
        }
        if !shared.generations.is_empty() {
            let generation = |row: &u32| shared.generations.get(*row as usize).copied();
            found.rows.retain(|row| generation(row).is_some_and(|one| one <= self.view.generation));
        }
        if !assembler.add_shared(found, shared.row_bytes) {
            assembler.lacks(Gap::over_limit(self.limits.trace));
        }
    }

    /// Adds what was read for one trace; whether all of it was.
    fn add(&self, part: ReadRows, assembler: &mut Assembler) -> bool {
        let ReadRows { batch, generations, .. } = part;
        if generations.is_empty() {
            return assembler.add_read(batch);
        }
        let row_bytes = row_bytes(&batch);
        let rows = (0u32..).zip(generations).filter(|(_, generation)| *generation <= self.view.generation);
        let rows = rows.map(|(row, _)| row).collect();
        assembler.add_shared(TraceRows { batch: Arc::new(batch), rows }, row_bytes)
    }

    /// What is read of a segment: where it has rows of later generations, which row is of which.
    fn projection(&self, entry: &SegmentEntry) -> Projection {
        let projection = self.view.projection.clone();
        if entry.meta.generation_max > self.view.generation {
            projection.with_generations()
        } else {
            projection
        }
    }
}

/// What a group may still take. Only work counts: who takes answers slowly is dealt with by whoever sends them.
struct TimeLeft(Duration);

impl TimeLeft {
    /// None if it takes longer than what is left. Where nothing is left it is not begun.
    async fn spend<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        if self.0.is_zero() {
            return None;
        }
        let since = Instant::now();
        let done = tokio::time::timeout(self.0, work).await;
        self.0 = self.0.saturating_sub(since.elapsed());
        done.ok()
    }
}

/// The segments of a snapshot.
struct View<'s> {
    segments: &'s [SegmentEntry],
    partitions: &'s PartitionLocator,
}

impl View<'_> {
    /// What a row of a segment takes when it is decoded, roughly.
    fn row_bytes(&self, segment: usize) -> u64 {
        let meta = self.segments.get(segment).map(|entry| &entry.meta);
        meta.map_or(0, |meta| (meta.size_bytes / meta.rows.max(1)).saturating_mul(DECODED_RATIO))
    }
}

/// Rows that traces of a group share.
struct Shared {
    runs: Vec<Range<u64>>,
    batch: Arc<SpanBatch>,
    /// Of each row, where some are later than what is asked for.
    generations: Vec<u64>,
    row_bytes: usize,
}

impl Shared {
    /// Of the segment's rows those in the batch.
    fn rows(&self, rows: &Range<u64>) -> TraceRows {
        let mut before = 0;
        for run in &self.runs {
            if run.start <= rows.start && rows.end <= run.end {
                let first = before + (rows.start - run.start);
                let rows = first..first + (rows.end - rows.start);
                return TraceRows {
                    batch: Arc::clone(&self.batch),
                    rows: rows.map(|row| row as u32).collect(),
                };
            }
            before += run.end - run.start;
        }
        TraceRows { batch: Arc::clone(&self.batch), rows: Vec::new() }
    }
}
