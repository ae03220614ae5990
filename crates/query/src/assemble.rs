//! Puts the parts of a trace together: each span once, by start, within limits.
//!
//! Parts come from memtables and segments and may overlap: a client that got no answer sends a
//! request again. Spans that share an ID and differ are all kept, and named as conflicting.

use std::collections::HashMap;
use std::sync::Arc;

use tracelake_model::batch::AttributeIter;
use tracelake_model::{SpanBatch, SpanBatchBuilder, SpanId, SpanView, ValueRef};
use tracelake_store::TraceRows;

use crate::gap::Gap;

/// How large an answer may be.
#[derive(Debug, Clone, Copy)]
pub struct TraceLimits {
    /// Spans, duplicates included, that are looked at.
    pub spans_max: usize,
    /// Memory of the batches that were read for it. What is decoded at once comes on top: some thousand rows, with
    /// 32 MiB of text.
    pub heap_bytes_max: usize,
}

/// The spans of one trace, or as many as the limits allowed.
#[derive(Debug, Clone)]
pub struct TraceSpans {
    batches: Vec<Arc<SpanBatch>>,
    /// (batch, row), by start and span ID.
    rows: Vec<(u32, u32)>,
    conflicting: Vec<SpanId>,
    has_shared_ids: bool,
    missing: Vec<Gap>,
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

    /// Whether several spans had the same ID, duplicates included.
    pub(crate) fn has_shared_ids(&self) -> bool {
        self.has_shared_ids
    }

    /// Identifiers that several different spans of the trace have.
    pub fn conflicting_span_ids(&self) -> &[SpanId] {
        &self.conflicting
    }

    /// What the answer lacks and why.
    pub fn missing(&self) -> &[Gap] {
        &self.missing
    }

    /// What it keeps in memory.
    pub(crate) fn heap_bytes(&self) -> usize {
        let batches: usize = self.batches.iter().map(|batch| batch.heap_bytes()).sum();
        batches + size_of_val(self.rows.as_slice()) + size_of_val(self.conflicting.as_slice())
    }

    /// The batches and the rows of them, for encoders that go through them piece by piece.
    pub fn into_parts(self) -> (Vec<Arc<SpanBatch>>, Vec<(u32, u32)>) {
        (self.batches, self.rows)
    }
}

/// A span that is kept, with its content's hash once there was something to compare it with.
type Seen = (Option<u64>, (u32, u32));

/// Collects the parts.
#[derive(Debug, Clone)]
pub struct Assembler {
    limits: TraceLimits,
    batches: Vec<Arc<SpanBatch>>,
    rows: Vec<(u32, u32)>,
    heap_bytes: usize,
    missing: Vec<Gap>,
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

    /// What was read for it.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// What more may be read for it.
    pub(crate) fn heap_bytes_left(&self) -> usize {
        self.limits.heap_bytes_max.saturating_sub(self.heap_bytes)
    }

    /// Adds rows of a batch that is in memory anyway.
    pub fn add(&mut self, part: TraceRows) {
        let batch = self.batches.len() as u32;
        self.rows.extend(part.rows.into_iter().map(|row| (batch, row)));
        self.batches.push(part.batch);
    }

    /// Adds rows of a batch that goes when its traces have gone, whether or not there is room for them: their part
    /// of its memory counts.
    pub(crate) fn add_window(&mut self, part: TraceRows, row_bytes: usize) {
        self.heap_bytes += part.rows.len() * row_bytes;
        self.add(part);
    }

    /// Adds rows of a batch that was read for this trace and has nothing else: those that fit. Gives
    /// whether all did.
    #[must_use]
    pub fn add_read(&mut self, batch: SpanBatch) -> bool {
        let spans = batch.len().min(self.spans_left());
        let room = self.heap_bytes_left();
        let (batch, rows) = if batch.heap_bytes() <= room {
            (batch, spans)
        } else {
            let fitting = fitting(&batch, spans, room);
            let rows = fitting.len();
            (fitting, rows)
        };
        let all = rows == batch.len() && spans == batch.len();
        if rows > 0 {
            self.heap_bytes += batch.heap_bytes();
            self.add(TraceRows { batch: Arc::new(batch), rows: (0..rows as u32).collect() });
        }
        all
    }

    /// Adds what was put together before: the spans that there is room for, and what is missing.
    pub(crate) fn add_spans(&mut self, spans: &TraceSpans) {
        let before = self.batches.len() as u32;
        let left = self.limits.spans_max.saturating_sub(self.rows.len());
        self.rows.extend(spans.rows.iter().take(left).map(|(batch, row)| (before + batch, *row)));
        self.batches.extend(spans.batches.iter().cloned());
        if spans.rows.len() > left {
            self.lacks(Gap::over_limit(self.limits));
        }
        spans.missing.iter().for_each(|gap| self.lacks(gap.clone()));
    }

    /// Adds rows of a batch that was read for several traces: those that there is room for, with their part
    /// of its memory. Gives whether all were.
    #[must_use]
    pub(crate) fn add_shared(&mut self, mut part: TraceRows, row_bytes: usize) -> bool {
        let room = self.heap_bytes_left() / row_bytes.max(1);
        let wanted = part.rows.len();
        part.rows.truncate(self.spans_left().min(room));
        let added = part.rows.len();
        self.heap_bytes += added * row_bytes;
        if added > 0 {
            self.add(part);
        }
        added == wanted
    }

    /// Whether nothing was added, and nothing is missing.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.missing.is_empty()
    }

    /// Whether something is missing.
    pub(crate) fn lacks_something(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Notes what the answer lacks and why.
    pub fn lacks(&mut self, what: Gap) {
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
        let mut has_shared_ids = false;
        self.rows.retain(|at| {
            let candidate = span(at);
            let same_id = seen.entry(candidate.span_id()).or_default();
            if same_id.is_empty() {
                same_id.push((None, *at));
                return true;
            }
            has_shared_ids = true;
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
        let (batches, rows) = without_unused(batches, self.rows);
        Some(TraceSpans { batches, rows, conflicting, has_shared_ids, missing: self.missing })
    }
}

/// What a row of a batch takes on average. It goes through all nested values: to be asked once a batch.
pub(crate) fn row_bytes(batch: &SpanBatch) -> usize {
    (batch.heap_bytes() / batch.len().max(1)).max(1)
}

/// A batch of which every row was a duplicate would only take memory.
fn without_unused(
    batches: Vec<Arc<SpanBatch>>,
    mut rows: Vec<(u32, u32)>,
) -> (Vec<Arc<SpanBatch>>, Vec<(u32, u32)>) {
    let mut places: Vec<Option<u32>> = vec![None; batches.len()];
    let mut used = Vec::with_capacity(batches.len());
    for (batch, _) in &mut rows {
        let index = *batch as usize;
        *batch = *places[index].get_or_insert_with(|| {
            used.push(Arc::clone(&batches[index]));
            used.len() as u32 - 1
        });
    }
    (used, rows)
}

/// Of the first `spans` of a batch those for which there is room, in a batch of their own: the memory of
/// the others must not stay.
fn fitting(batch: &SpanBatch, spans: usize, room: usize) -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    let mut resources = vec![None; batch.resources().len()];
    let mut scopes = vec![None; batch.scopes().len()];
    let mut room = room.saturating_sub(size_of::<SpanBatch>());
    for span in batch.spans().take(spans) {
        let (resource, scope) = (&mut resources[span.resource_index()], &mut scopes[span.scope_index()]);
        let mut bytes = span_bytes(&span);
        if resource.is_none() {
            bytes += span.resource().heap_bytes();
        }
        if scope.is_none() {
            bytes += span.scope().heap_bytes();
        }
        let Some(left) = room.checked_sub(bytes) else { continue };
        room = left;
        let resource = *resource.get_or_insert_with(|| builder.resource(Arc::clone(span.resource())));
        let scope = *scope.get_or_insert_with(|| builder.scope(Arc::clone(span.scope())));
        builder.copy_span(span, resource, scope);
    }
    builder.finish()
}

/// What a span adds to a batch, or somewhat more: texts that spans share are counted with each.
fn span_bytes(span: &SpanView<'_>) -> usize {
    /// A span's row, rounded up.
    const ROW: usize = 160;
    /// The same of an event, a link, an attribute, and a text's place among the terms.
    const INNER_ROW: usize = 64;
    let text = |text: &str| INNER_ROW + text.len();
    let attributes = |attributes: AttributeIter<'_>| -> usize {
        let value = |value: ValueRef<'_>| match value {
            ValueRef::Text(text) => text.len(),
            ValueRef::Bytes(bytes) => bytes.len(),
            ValueRef::Nested(value) => value.heap_bytes(),
            ValueRef::Empty | ValueRef::Bool(_) | ValueRef::Int(_) | ValueRef::Double(_) => 0,
        };
        attributes.map(|attribute| text(attribute.0) + value(attribute.1)).sum()
    };
    let events = span.events().map(|event| text(event.name()) + attributes(event.attributes()));
    let links = span.links().map(|link| {
        let ids = link.trace_id().len() + link.span_id().len();
        ids + text(link.trace_state()) + attributes(link.attributes())
    });
    ROW + text(span.name())
        + text(span.trace_state())
        + text(span.status_message())
        + attributes(span.attributes())
        + events.sum::<usize>()
        + links.sum::<usize>()
}

#[cfg(test)]
mod tests;
