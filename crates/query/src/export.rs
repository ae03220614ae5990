//! All spans of a tenant, or those of some traces, as batches: each span once.
//!
//! Segments and memtables are in the same order (by the trace's hash), so they are merged as they are
//! read: a window of rows of each is all that is in memory. Of a trace that is above the limits of one the parts are put
//! together each for itself, and what was sent twice may be in two of them. An export that cannot read something ends
//! with the error: a copy that silently lacks spans is none.

use std::ops::Range;
use std::sync::Arc;

use futures::Stream;
use tracelake_model::hash::trace_hash;
use tracelake_model::{SpanBatch, TenantId, TraceId};
use tracelake_store::format::manifest::SegmentEntry;
use tracelake_store::format::segment::Projection;
use tracelake_store::locator::Partition;
use tracelake_store::memtable::{Memtable, TraceRows};
use tracelake_store::report::ReadReport;
use tracelake_store::{Store, StoreError};

use crate::assemble::{Assembler, TraceLimits, TraceSpans, row_bytes};
use crate::copies::Copies;
use crate::gap::summary;
use crate::lookup::{Lookup, TimeHint};

/// What to export.
#[derive(Debug, Clone)]
pub enum Selection {
    /// Spans whose start is in the range, in nanoseconds since 1970.
    Starts(Range<u64>),
    /// These traces, whole.
    Traces(Vec<TraceId>),
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A trace could not be read whole.
    #[error("trace {trace_id} cannot be exported whole: {missing}")]
    Incomplete {
        /// Which.
        trace_id: TraceId,
        /// What is missing and why.
        missing: String,
    },
}

/// Spans of one batch that is handed out, and its bytes, but for a trace that has more.
const BATCH_SPANS: usize = 1_024;
const BATCH_BYTES: usize = 8 << 20;

/// Rows of all segments that are in memory at once, and the fewest of one.
const WINDOW_ROWS: (u64, u64) = (131_072, 256);

/// What those rows may take, but for a MiB of each segment.
const WINDOW_BYTES: usize = 64 << 20;

/// Batches in no order of time; spans of one trace are next to each other.
pub fn export(
    store: Store,
    tenant: TenantId,
    selection: Selection,
    limits: TraceLimits,
) -> impl Stream<Item = Result<SpanBatch, ExportError>> + Send + 'static {
    let work = match selection {
        Selection::Traces(ids) => Work::Traces(ids.into_iter()),
        Selection::Starts(starts) => Work::Merge(Merge::new(&store, &tenant, starts)),
    };
    let export = Export { store, tenant, limits, work };
    futures::stream::try_unfold(export, |mut export| async move {
        Ok(export.next().await?.map(|batch| (batch, export)))
    })
}

struct Export {
    store: Store,
    tenant: TenantId,
    limits: TraceLimits,
    work: Work,
}

enum Work {
    Traces(std::vec::IntoIter<TraceId>),
    Merge(Merge),
}

impl Export {
    async fn next(&mut self) -> Result<Option<SpanBatch>, ExportError> {
        let mut out = Copies::default();
        while out.len() < BATCH_SPANS && out.content_bytes() < BATCH_BYTES {
            let (spans, starts) = match &mut self.work {
                Work::Traces(ids) => {
                    let Some(id) = ids.next() else { break };
                    let lookup = Lookup {
                        store: &self.store,
                        tenant: &self.tenant,
                        trace_id: &id,
                        hint: TimeHint::default(),
                        limits: self.limits,
                        time_max: None,
                        cache: None,
                    };
                    let (Some(spans), _) = lookup.run().await else { continue };
                    if let Some(missing) = summary(spans.missing()) {
                        return Err(ExportError::Incomplete { trace_id: id, missing });
                    }
                    (spans, 0..u64::MAX)
                }
                Work::Merge(merge) => {
                    let Some(spans) = merge.next_trace(&self.store, self.limits).await? else { break };
                    (spans, merge.starts.clone())
                }
            };
            let chosen = spans.spans().filter(|span| starts.contains(&span.start_unix_nano()));
            chosen.for_each(|span| out.push(span));
        }
        Ok((!out.is_empty()).then(|| out.finish()))
    }
}

/// Goes through all sources at once, trace by trace.
struct Merge {
    starts: Range<u64>,
    segments: Vec<SegmentCursor>,
    memtables: Vec<MemtableCursor>,
}

/// A segment's rows of the tenant, a window at a time.
struct SegmentCursor {
    entry: SegmentEntry,
    left: Range<u64>,
    window_rows: u64,
    window_rows_max: u64,
    window_bytes: usize,
    window: Arc<SpanBatch>,
    /// Of the window.
    row_bytes: usize,
    row: usize,
}

/// A memtable's rows of the tenant, in the order of segments.
struct MemtableCursor {
    batches: Vec<Arc<SpanBatch>>,
    /// (hash, trace, batch, row), sorted.
    rows: Vec<(u64, TraceId, u32, u32)>,
    at: usize,
}

/// The order of traces in a segment.
type TraceKey = (u64, TraceId);

fn key(trace_id: &TraceId) -> TraceKey {
    (trace_hash(trace_id), *trace_id)
}

impl Merge {
    fn new(store: &Store, tenant: &TenantId, starts: Range<u64>) -> Self {
        let snapshot = store.snapshot();
        let partitions = snapshot.partitions.of_starts(tenant, starts.clone());
        let entry = |partition: &Partition| snapshot.manifest.segments.get(partition.segment).cloned();
        let entries: Vec<_> = partitions.filter_map(entry).collect();
        let window_rows = (WINDOW_ROWS.0 / entries.len().max(1) as u64).max(WINDOW_ROWS.1);
        let window_bytes = WINDOW_BYTES / entries.len().max(1);
        let segments = entries.into_iter().filter_map(|entry| {
            let (_, part) = entry.meta.tenant(tenant)?;
            let left = part.first_row..part.first_row + part.rows;
            Some(SegmentCursor {
                entry,
                left,
                window_rows,
                window_rows_max: window_rows,
                window_bytes,
                window: Arc::default(),
                row_bytes: 0,
                row: 0,
            })
        });
        let segments = segments.collect();
        let memtables = snapshot.memtables().map(|memtable| MemtableCursor::new(memtable, tenant)).collect();
        Self { starts, segments, memtables }
    }

    /// The next trace with all its spans, or as many as the limits allow and the rest next time.
    async fn next_trace(
        &mut self,
        store: &Store,
        limits: TraceLimits,
    ) -> Result<Option<TraceSpans>, StoreError> {
        for cursor in &mut self.segments {
            cursor.fill(store).await?;
        }
        let heads = self.segments.iter().filter_map(SegmentCursor::head);
        let Some(next) = heads.chain(self.memtables.iter().filter_map(MemtableCursor::head)).min() else {
            return Ok(None);
        };
        let mut assembler = Assembler::new(limits);
        for cursor in &mut self.memtables {
            cursor.take(&next, &mut assembler);
        }
        for cursor in &mut self.segments {
            while cursor.head() == Some(next) && assembler.spans_left() > 0 {
                cursor.take(&next, &mut assembler);
                cursor.fill(store).await?;
            }
        }
        Ok(assembler.finish())
    }
}

impl SegmentCursor {
    /// Reads the next window if this one is used up.
    async fn fill(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.row < self.window.len() || self.left.is_empty() {
            return Ok(());
        }
        let end = self.left.end.min(self.left.start + self.window_rows);
        let rows = self.left.start..end;
        let report = ReadReport::default();
        let read =
            store.segments().read_rows(&self.entry, rows, &Projection::ALL, self.window_bytes, &report);
        let window = read.await?.batch;
        // What was fetched for more rows than there was room for was fetched in vain.
        let (asked, read) = (end - self.left.start, window.len() as u64);
        let next = if read < asked { read } else { self.window_rows * 2 };
        self.window_rows = next.clamp(1, self.window_rows_max);
        self.row_bytes = row_bytes(&window);
        self.window = Arc::new(window);
        self.row = 0;
        self.left.start += read;
        Ok(())
    }

    fn head(&self) -> Option<TraceKey> {
        self.window.trace_ids_from(self.row).next().map(key)
    }

    fn take(&mut self, trace: &TraceKey, assembler: &mut Assembler) {
        let ids = self.window.trace_ids_from(self.row);
        let len = ids.take_while(|id| **id == trace.1).count().min(assembler.spans_left());
        let rows = (self.row as u32..(self.row + len) as u32).collect();
        assembler.add_window(TraceRows { batch: Arc::clone(&self.window), rows }, self.row_bytes);
        self.row += len;
    }
}

impl MemtableCursor {
    fn new(memtable: &Memtable, tenant: &TenantId) -> Self {
        let batches = memtable.batches_of(tenant);
        let mut rows: Vec<_> = batches
            .iter()
            .enumerate()
            .flat_map(|(batch, spans)| {
                let ids = spans.trace_ids().enumerate();
                ids.map(move |(row, id)| (trace_hash(id), *id, batch as u32, row as u32))
            })
            .collect();
        rows.sort_unstable();
        Self { batches, rows, at: 0 }
    }

    fn head(&self) -> Option<TraceKey> {
        self.rows.get(self.at).map(|(hash, id, ..)| (*hash, *id))
    }

    fn take(&mut self, trace: &TraceKey, assembler: &mut Assembler) {
        let rest = self.rows.get(self.at..).unwrap_or_default();
        let of_trace = rest.iter().take_while(|(hash, id, ..)| (*hash, *id) == *trace);
        for (_, _, batch, row) in of_trace.take(assembler.spans_left()) {
            self.at += 1;
            if let Some(batch) = self.batches.get(*batch as usize) {
                assembler.add(TraceRows { batch: Arc::clone(batch), rows: vec![*row] });
            }
        }
    }
}
