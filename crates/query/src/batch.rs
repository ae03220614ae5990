//! Many traces at once: IDs are taken in the order of segments, a group at a time, so that each segment is
//! read from its begin to its end and each part of it once.
//!
//! In memory are the rows of one group for each worker and the answers that nobody has taken yet. Whoever
//! drops the stream stops the work.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracelake_model::hash::trace_hash;
use tracelake_model::{TenantId, TraceId};
use tracelake_store::format::manifest::SegmentEntry;
use tracelake_store::format::segment::TraceEntry;
use tracelake_store::report::ReadReport;
use tracelake_store::segments::other_trace;
use tracelake_store::{Snapshot, Store, StoreError, TraceRows};

use crate::assemble::{Assembler, TraceLimits, TraceSpans};
use crate::gap::Gap;
use crate::lookup::{twice, unread};

/// Traces of a group: enough that neighbours share pages, few enough that the first answers come soon.
const GROUP_TRACES: usize = 128;

/// Rows that are decoded together, unless one trace has more.
const GROUP_ROWS: u64 = 8_192;

/// Answers that wait to be taken.
const ANSWERS_AHEAD: usize = 16;

/// A trace that was asked for; none if no span of it is stored.
pub type BatchAnswer = (TraceId, Option<TraceSpans>);

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
    limits: BatchLimits,
) -> impl Stream<Item = BatchAnswer> + Send + 'static {
    trace_ids.sort_by_cached_key(|trace_id| (trace_hash(trace_id), *trace_id));
    trace_ids.dedup();
    let groups: VecDeque<Vec<TraceId>> = trace_ids.chunks(GROUP_TRACES).map(<[TraceId]>::to_vec).collect();
    let workers = limits.workers.clamp(1, groups.len().max(1));
    let groups = Arc::new(Mutex::new(groups));
    let snapshot = store.snapshot();
    let (answers, receiver) = mpsc::channel(ANSWERS_AHEAD);
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let work = Group {
            store: store.clone(),
            snapshot: snapshot.clone(),
            tenant: tenant.clone(),
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
        let answer = receiver.recv().await?;
        Some((answer, (receiver, tasks)))
    })
}

struct Group {
    store: Store,
    snapshot: Snapshot,
    tenant: TenantId,
    limits: BatchLimits,
    answers: mpsc::Sender<BatchAnswer>,
}

/// A trace's rows in one segment.
struct Located<'s> {
    entry: &'s SegmentEntry,
    trace: TraceEntry,
}

impl Group {
    /// None if nobody wants the answers any more.
    async fn run(&self, trace_ids: &[TraceId]) -> Option<()> {
        let report = ReadReport::default();
        let deadline = tokio::time::Instant::now() + self.limits.group_time_max;
        let found = tokio::time::timeout_at(deadline, self.locate(trace_ids, &report)).await;
        let done = match found {
            Ok((located, gaps)) => self.read_all(trace_ids, located, gaps, deadline, &report).await,
            Err(_) => self.give_up(trace_ids).await,
        };
        self.store.segments().account(&report);
        done
    }

    /// Where the traces are, by trace, and what could not be looked into, which concerns all of them.
    async fn locate(
        &self,
        trace_ids: &[TraceId],
        report: &ReadReport,
    ) -> (HashMap<TraceId, Vec<Located<'_>>>, Vec<Gap>) {
        let segments = self.store.segments();
        let mut by_segment: HashMap<usize, Vec<TraceId>> = HashMap::new();
        let mut gaps: Vec<Gap> = Vec::new();
        for trace_id in trace_ids {
            let (key, partitions) = self.snapshot.partitions.of_trace(&self.tenant, trace_id);
            for partition in partitions {
                report.consider(1);
                let Some(entry) = self.snapshot.manifest.segments.get(partition.segment) else { continue };
                let may_hold = match segments.may_hold(partition.id, key, report) {
                    Some(may_hold) => Ok(may_hold),
                    None => twice(|| segments.may_hold_read(entry, key, report)).await,
                };
                match may_hold {
                    Ok(true) => by_segment.entry(partition.segment).or_default().push(*trace_id),
                    Ok(false) => {}
                    Err(error) => self.lacks(&mut gaps, entry, &error),
                }
            }
        }
        let mut located: HashMap<TraceId, Vec<Located<'_>>> = HashMap::new();
        for (segment, trace_ids) in by_segment {
            let Some(entry) = self.snapshot.manifest.segments.get(segment) else { continue };
            match twice(|| segments.locate_many(entry, &self.tenant, &trace_ids, report)).await {
                Ok(found) => {
                    for trace in found {
                        located.entry(trace.trace_id).or_default().push(Located { entry, trace });
                    }
                }
                Err(error) => self.lacks(&mut gaps, entry, &error),
            }
        }
        (located, gaps)
    }

    fn lacks(&self, gaps: &mut Vec<Gap>, entry: &SegmentEntry, error: &StoreError) {
        if !gaps.iter().any(|gap| gap.segment.as_ref() == Some(&entry.path)) {
            gaps.push(unread(&self.store, entry, error));
        }
    }

    async fn read_all(
        &self,
        trace_ids: &[TraceId],
        mut located: HashMap<TraceId, Vec<Located<'_>>>,
        gaps: Vec<Gap>,
        deadline: tokio::time::Instant,
        report: &ReadReport,
    ) -> Option<()> {
        let mut rest = trace_ids;
        while !rest.is_empty() {
            let mut rows = 0;
            let fitting = rest.iter().take_while(|trace_id| {
                let parts = located.get(*trace_id).map(Vec::as_slice).unwrap_or_default();
                rows += parts.iter().map(|part| self.rows_of(part).end - part.trace.first_row).sum::<u64>();
                rows <= GROUP_ROWS
            });
            let (now, later) = rest.split_at_checked(fitting.count().max(1)).unwrap_or((rest, &[]));
            let parts = now.iter().filter_map(|trace_id| located.remove(trace_id)).flatten().collect();
            let read = self.read(now, parts, &gaps, report);
            let Ok(answers) = tokio::time::timeout_at(deadline, read).await else {
                return self.give_up(rest).await;
            };
            for answer in answers {
                self.answers.send(answer).await.ok()?;
            }
            rest = later;
        }
        Some(())
    }

    async fn give_up(&self, trace_ids: &[TraceId]) -> Option<()> {
        for trace_id in trace_ids {
            let mut assembler = Assembler::new(self.limits.trace);
            assembler.lacks(Gap::late_group(self.limits.group_time_max));
            self.answers.send((*trace_id, assembler.finish())).await.ok()?;
        }
        Some(())
    }

    /// The rows of a trace to read: no more than an answer may have.
    fn rows_of(&self, part: &Located<'_>) -> Range<u64> {
        let rows = part.trace.rows.min(self.limits.trace.spans_max as u64);
        part.trace.first_row..part.trace.first_row + rows
    }

    async fn read(
        &self,
        trace_ids: &[TraceId],
        parts: Vec<Located<'_>>,
        gaps: &[Gap],
        report: &ReadReport,
    ) -> Vec<BatchAnswer> {
        let limits = self.limits.trace;
        let mut traces: HashMap<TraceId, Assembler> = HashMap::with_capacity(trace_ids.len());
        for trace_id in trace_ids {
            let mut assembler = Assembler::new(limits);
            gaps.iter().for_each(|gap| assembler.lacks(gap.clone()));
            for memtable in self.snapshot.memtables() {
                let (parts, more) = memtable.find(&self.tenant, trace_id, assembler.spans_left());
                parts.into_iter().for_each(|part| assembler.add(part));
                if more {
                    assembler.lacks(Gap::over_limit(limits));
                }
            }
            traces.insert(*trace_id, assembler);
        }
        let mut by_segment: HashMap<&str, Vec<Located<'_>>> = HashMap::new();
        for part in parts {
            by_segment.entry(part.entry.path.as_str()).or_default().push(part);
        }
        for mut parts in by_segment.into_values() {
            parts.sort_by_key(|part| part.trace.first_row);
            let Some(entry) = parts.first().map(|part| part.entry) else { continue };
            let rows: Vec<Range<u64>> = parts.iter().map(|part| self.rows_of(part)).collect();
            let read = twice(|| self.store.segments().read_runs(entry, &rows, report)).await;
            let shared = read.map(|read| Shared { runs: read.runs, batch: Arc::new(read.batch) });
            for (part, rows) in parts.iter().zip(rows) {
                let Some(assembler) = traces.get_mut(&part.trace.trace_id) else { continue };
                let found = match &shared {
                    Ok(shared) => shared.rows(&rows),
                    Err(error) => {
                        assembler.lacks(unread(&self.store, entry, error));
                        continue;
                    }
                };
                let ids = found.batch.trace_ids();
                if found.rows.iter().any(|row| ids.get(*row as usize) != Some(&part.trace.trace_id)) {
                    let error = other_trace(entry, &part.trace.trace_id);
                    assembler.lacks(unread(&self.store, entry, &error));
                    continue;
                }
                let whole = found.rows.len() as u64 == part.trace.rows;
                let left = assembler.spans_left();
                let fits = found.rows.len() <= left;
                assembler.add(TraceRows { rows: found.rows.into_iter().take(left).collect(), ..found });
                if !whole || !fits {
                    assembler.lacks(Gap::over_limit(limits));
                }
            }
        }
        let answers = trace_ids.iter().filter_map(|trace_id| Some((*trace_id, traces.remove(trace_id)?)));
        answers.map(|(trace_id, assembler)| (trace_id, assembler.finish())).collect()
    }
}

/// Rows that traces of a group share.
struct Shared {
    runs: Vec<Range<u64>>,
    batch: Arc<tracelake_model::SpanBatch>,
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
