//! Puts the parts of a trace together: each span once, by start, within limits.
//!
//! Parts come from memtables and segments and may overlap: a client that got no answer sends a
//! request again. Spans that share an ID and differ are all kept, and named as conflicting.

use std::collections::HashMap;
use std::sync::Arc;

use tracelake_model::{SpanBatch, SpanId, SpanView};
use tracelake_store::TraceRows;

/// How large an answer may be.
#[derive(Debug, Clone, Copy)]
pub struct TraceLimits {
    /// Spans, duplicates included, that are looked at.
    pub spans_max: usize,
    /// Memory of the batches that were read for it.
    pub heap_bytes_max: usize,
}

/// The spans of one trace, or as many as the limits allowed.
#[derive(Debug)]
pub struct TraceSpans {
    batches: Vec<Arc<SpanBatch>>,
    /// (batch, row), by start and span ID.
    rows: Vec<(u32, u32)>,
    conflicting: Vec<SpanId>,
    missing: Vec<String>,
}

impl TraceSpans {
    /// How many spans.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none: only when something is missing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The spans, by start and span ID.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = SpanView<'_>> {
        self.rows.iter().map(|(batch, row)| self.batches[*batch as usize].span(*row as usize))
    }

    /// Identifiers that several different spans of the trace have.
    pub fn conflicting_span_ids(&self) -> &[SpanId] {
        &self.conflicting
    }

    /// What the answer lacks and why, a sentence each.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// The batches and the rows of them, for encoders that go through them piece by piece.
    pub fn into_parts(self) -> (Vec<Arc<SpanBatch>>, Vec<(u32, u32)>) {
        (self.batches, self.rows)
    }
}

/// A span that is kept, with its content's hash once there was something to compare it with.
type Seen = (Option<u64>, (u32, u32));

/// Collects the parts.
#[derive(Debug)]
pub struct Assembler {
    limits: TraceLimits,
    batches: Vec<Arc<SpanBatch>>,
    rows: Vec<(u32, u32)>,
    heap_bytes: usize,
    missing: Vec<String>,
}

impl Assembler {
    /// Nothing yet.
    pub fn new(limits: TraceLimits) -> Self {
        Self { limits, batches: Vec::new(), rows: Vec::new(), heap_bytes: 0, missing: Vec::new() }
    }

    /// How many more spans may be added.
    pub fn spans_left(&self) -> usize {
        if self.heap_bytes >= self.limits.heap_bytes_max {
            return 0;
        }
        self.limits.spans_max.saturating_sub(self.rows.len())
    }

    /// Adds rows of a batch that is in memory anyway.
    pub fn add(&mut self, part: TraceRows) {
        let batch = self.batches.len() as u32;
        self.rows.extend(part.rows.into_iter().map(|row| (batch, row)));
        self.batches.push(part.batch);
    }

    /// Adds the first `spans_max` rows of a batch that was read for this trace and has nothing else.
    pub fn add_read(&mut self, batch: SpanBatch, spans_max: usize) {
        self.heap_bytes += batch.heap_bytes();
        let rows = (0..batch.len().min(spans_max) as u32).collect();
        self.add(TraceRows { batch: Arc::new(batch), rows });
    }

    /// Notes what the answer lacks and why.
    pub fn lacks(&mut self, what: String) {
        if !self.missing.contains(&what) {
            self.missing.push(what);
        }
    }

    /// The trace; none if there is no span and nothing is missing.
    pub fn finish(mut self) -> Option<TraceSpans> {
        if self.rows.is_empty() && self.missing.is_empty() {
            return None;
        }
        let batches = self.batches;
        let span = |at: &(u32, u32)| batches[at.0 as usize].span(at.1 as usize);
        // Stable: of two duplicates the older one stays.
        self.rows.sort_by_cached_key(|at| {
            let span = span(at);
            (span.start_unix_nano(), span.span_id())
        });
        let mut seen: HashMap<SpanId, Vec<Seen>> = HashMap::with_capacity(self.rows.len());
        let mut conflicting = Vec::new();
        self.rows.retain(|at| {
            let candidate = span(at);
            let same_id = seen.entry(candidate.span_id()).or_default();
            if same_id.is_empty() {
                same_id.push((None, *at));
                return true;
            }
            // The hash is only worth its cost once there is something to compare with.
            if let [(hash @ None, first)] = same_id.as_mut_slice() {
                *hash = Some(span(first).content_hash());
            }
            let hash = Some(candidate.content_hash());
            let duplicate = same_id
                .iter()
                .any(|(other, first)| *other == hash && span(first).is_duplicate_of(&candidate));
            if duplicate {
                return false;
            }
            if same_id.len() == 1 {
                conflicting.push(candidate.span_id());
            }
            same_id.push((hash, *at));
            true
        });
        Some(TraceSpans { batches, rows: self.rows, conflicting, missing: self.missing })
    }
}

#[cfg(test)]
mod tests;
