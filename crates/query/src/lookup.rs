//! A trace by its ID: memtables and segments of one snapshot, whatever overlaps told apart.

use std::cmp::Reverse;

use futures::StreamExt;
use tracelake_model::{TenantId, TraceId};
use tracelake_store::format::manifest::SegmentEntry;
use tracelake_store::{FoundInSegment, Store, StoreError};

use crate::assemble::{Assembler, TraceLimits, TraceSpans};

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
    fn overlaps(&self, entry: &SegmentEntry) -> bool {
        let meta = &entry.meta;
        self.start_unix_nano.is_none_or(|start| meta.end_unix_nano_max >= start)
            && self.end_unix_nano.is_none_or(|end| meta.start_unix_nano_min <= end)
    }
}

/// Segments of one lookup that are read at once: enough to hide an object store's latency, few enough
/// that one lookup does not hold many times its limit in memory.
const SEGMENTS_AT_ONCE: usize = 4;

/// The trace; none if no span of it is stored. What could not be read, or was over a limit, is named
/// in the answer.
pub async fn lookup(
    store: &Store,
    tenant: &TenantId,
    trace_id: &TraceId,
    hint: TimeHint,
    limits: TraceLimits,
) -> Option<TraceSpans> {
    let snapshot = store.snapshot();
    let mut assembler = Assembler::new(limits);
    for memtable in snapshot.memtables() {
        let (parts, more) = memtable.find(tenant, trace_id, assembler.spans_left());
        parts.into_iter().for_each(|part| assembler.add(part));
        if more {
            assembler.lacks(over_limit(limits));
            return assembler.finish();
        }
    }
    let segments = &snapshot.manifest.segments;
    let mut order: Vec<usize> = (0..segments.len()).collect();
    order.sort_by_key(|at| (!hint.overlaps(&segments[*at]), Reverse(segments[*at].meta.generation_max)));
    let spans_max = limits.spans_max as u64;
    let reads = order.into_iter().map(|at| async move {
        let entry = &segments[at];
        (entry, find_twice(store, entry, tenant, trace_id, spans_max).await)
    });
    let mut reads = futures::stream::iter(reads).buffer_unordered(SEGMENTS_AT_ONCE);
    while let Some((entry, found)) = reads.next().await {
        match found {
            Ok(None) => {}
            Ok(Some(found)) => {
                if add(&mut assembler, found, limits) == Room::Exceeded {
                    // The answer says so. What else there is would be read to be thrown away.
                    break;
                }
            }
            Err(error) => {
                tracing::warn!(segment = entry.path, %error, "a segment is left out of an answer");
                assembler.lacks(format!("{} could not be read: {error}", entry.path));
            }
        }
    }
    assembler.finish()
}

/// Whether an answer has room for more.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    Left,
    Exceeded,
}

fn add(assembler: &mut Assembler, found: FoundInSegment, limits: TraceLimits) -> Room {
    let read_whole = found.rows_total <= found.batch.len() as u64;
    let added_whole = assembler.add_read(found.batch);
    if read_whole && added_whole {
        return Room::Left;
    }
    assembler.lacks(over_limit(limits));
    Room::Exceeded
}

fn over_limit(limits: TraceLimits) -> String {
    format!(
        "the trace is larger than an answer may be (trace_spans_max {}, trace_bytes_max {})",
        limits.spans_max, limits.heap_bytes_max
    )
}

/// A read that failed is tried once more: a connection may have been lost.
async fn find_twice(
    store: &Store,
    entry: &SegmentEntry,
    tenant: &TenantId,
    trace_id: &TraceId,
    rows_max: u64,
) -> Result<Option<FoundInSegment>, StoreError> {
    match store.segments().find(entry, tenant, trace_id, rows_max).await {
        Err(_) => store.segments().find(entry, tenant, trace_id, rows_max).await,
        found => found,
    }
}
