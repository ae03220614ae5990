//! Spans in columns: the one shape in which spans live in memory, from the wire to the segment and
//! back.
//!
//! A [`SpanBatch`] is immutable and belongs to one tenant (which stands beside it, not in it). Texts
//! that repeat (names, keys) are terms of the batch's own dictionary; attribute values lie in one
//! heap. A [`SpanBatchBuilder`] fills it and is reused from request to request.
//!
//! It refuses nothing: what a valid span is, the decoders decide.

mod attributes;
mod builder;
mod content;
mod terms;
mod view;

use std::sync::Arc;

pub use attributes::{AttributeTable, Owner};
pub use builder::{InvalidUtf8, SpanBatchBuilder, SpanScalars};
pub use terms::{TermId, Terms};
pub use view::{AttributeIter, EventView, LinkView, SpanView};

use crate::{Resource, Scope, SpanId, TraceId, Value};

/// Spans in columns. Row `i` of every column is span `i`.
#[derive(Debug, Clone, Default)]
pub struct SpanBatch {
    trace_ids: Vec<TraceId>,
    span_ids: Vec<SpanId>,
    parent_span_ids: Vec<Option<SpanId>>,
    start_unix_nano: Vec<u64>,
    end_unix_nano: Vec<u64>,
    kinds: Vec<i32>,
    status_codes: Vec<i32>,
    flags: Vec<u32>,
    dropped_attributes: Vec<u32>,
    dropped_events: Vec<u32>,
    dropped_links: Vec<u32>,
    names: Vec<TermId>,
    trace_states: Vec<TermId>,
    status_messages: Vec<TermId>,
    resource_indexes: Vec<u32>,
    scope_indexes: Vec<u32>,
    attributes: AttributeTable,
    events: EventTable,
    links: LinkTable,
    terms: Terms,
    /// Texts of attribute values; equal neighbours share a range.
    text_heap: String,
    byte_heap: Vec<u8>,
    nested: Vec<Value>,
    resources: Vec<Arc<Resource>>,
    scopes: Vec<Arc<Scope>>,
}

/// Events of all spans, each span's together; `end` has one entry a span.
#[derive(Debug, Clone, Default)]
struct EventTable {
    end: Vec<u32>,
    time_unix_nano: Vec<u64>,
    names: Vec<TermId>,
    dropped_attributes: Vec<u32>,
    attributes: AttributeTable,
}

/// Links of all spans, each span's together; `end` has one entry a span. Identifiers are ranges of
/// the byte heap: a link may carry one of any length, and the span is not lost for it.
#[derive(Debug, Clone, Default)]
struct LinkTable {
    end: Vec<u32>,
    trace_ids: Vec<(u32, u32)>,
    span_ids: Vec<(u32, u32)>,
    trace_states: Vec<TermId>,
    flags: Vec<u32>,
    dropped_attributes: Vec<u32>,
    attributes: AttributeTable,
}

impl SpanBatch {
    /// How many spans.
    pub fn len(&self) -> usize {
        self.trace_ids.len()
    }

    /// Whether there is no span.
    pub fn is_empty(&self) -> bool {
        self.trace_ids.is_empty()
    }

    /// Span `row`.
    ///
    /// # Panics
    /// When used, if `row` is not below [`Self::len`].
    #[inline]
    pub fn span(&self, row: usize) -> SpanView<'_> {
        SpanView { batch: self, row }
    }

    /// All spans in row order.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = SpanView<'_>> {
        (0..self.len()).map(|row| self.span(row))
    }

    /// The column of trace IDs.
    pub fn trace_ids(&self) -> &[TraceId] {
        &self.trace_ids
    }

    /// The column of start times, in nanoseconds since 1970.
    pub fn start_unix_nano(&self) -> &[u64] {
        &self.start_unix_nano
    }

    /// The distinct resources that rows refer to, by [`SpanView::resource_index`].
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// The distinct scopes that rows refer to, by [`SpanView::scope_index`].
    pub fn scopes(&self) -> &[Arc<Scope>] {
        &self.scopes
    }

    /// The batch's dictionary of names and keys.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Bytes on the heap: what the memtable accounts for. Resources and scopes are counted although
    /// batches may share them, so this never says too little.
    pub fn heap_bytes(&self) -> usize {
        fn column<T>(column: &Vec<T>) -> usize {
            column.capacity() * size_of::<T>()
        }
        size_of::<Self>()
            + column(&self.trace_ids)
            + column(&self.span_ids)
            + column(&self.parent_span_ids)
            + column(&self.start_unix_nano)
            + column(&self.end_unix_nano)
            + column(&self.kinds)
            + column(&self.status_codes)
            + column(&self.flags)
            + column(&self.dropped_attributes)
            + column(&self.dropped_events)
            + column(&self.dropped_links)
            + column(&self.names)
            + column(&self.trace_states)
            + column(&self.status_messages)
            + column(&self.resource_indexes)
            + column(&self.scope_indexes)
            + self.attributes.heap_bytes()
            + column(&self.events.end)
            + column(&self.events.time_unix_nano)
            + column(&self.events.names)
            + column(&self.events.dropped_attributes)
            + self.events.attributes.heap_bytes()
            + column(&self.links.end)
            + column(&self.links.trace_ids)
            + column(&self.links.span_ids)
            + column(&self.links.trace_states)
            + column(&self.links.flags)
            + column(&self.links.dropped_attributes)
            + self.links.attributes.heap_bytes()
            + self.terms.heap_bytes()
            + self.text_heap.capacity()
            + self.byte_heap.capacity()
            + self.nested.iter().map(Value::heap_bytes).sum::<usize>()
            + self.resources.iter().map(|resource| resource.heap_bytes()).sum::<usize>()
            + self.scopes.iter().map(|scope| scope.heap_bytes()).sum::<usize>()
    }

    fn text(&self, range: (u32, u32)) -> &str {
        &self.text_heap[range.0 as usize..(range.0 + range.1) as usize]
    }

    fn bytes(&self, range: (u32, u32)) -> &[u8] {
        &self.byte_heap[range.0 as usize..(range.0 + range.1) as usize]
    }
}

#[cfg(test)]
mod tests;
