//! Spans in rows: the one shape in which spans live in memory, from the wire to the segment and back.
//!
//! A [`SpanBatch`] is immutable and belongs to one tenant (which stands beside it, not in it). Texts
//! that repeat (names, keys) are terms of the batch's own dictionary; attribute values lie in one
//! heap. A [`SpanBatchBuilder`] fills it and is reused from request to request.
//!
//! Rows and not columns: a segment's order is not the order in which spans came, so whoever writes one asks for
//! rows from all over memory. A row with its attributes is some seven cache lines; in columns it was thirty.
//!
//! It refuses nothing: what a valid span is, the decoders decide.

mod attribute;
mod builder;
mod content;
mod near;
mod terms;
mod view;

use std::sync::Arc;

pub use attribute::Owner;
pub use builder::{InvalidUtf8, SpanBatchBuilder, SpanScalars};
pub use near::bring_near;
pub use terms::{TermId, Terms};
pub use view::{AttributeIter, EventView, LinkView, SpanView};

use self::attribute::Attribute;
use crate::{Resource, Scope, TraceId, Value};

/// Spans, by row.
#[derive(Debug, Clone, Default)]
pub struct SpanBatch {
    spans: Vec<SpanRow>,
    events: Vec<EventRow>,
    links: Vec<LinkRow>,
    attributes: Vec<Attribute>,
    event_attributes: Vec<Attribute>,
    link_attributes: Vec<Attribute>,
    terms: Terms,
    /// Texts of attribute values; equal neighbours share a range.
    text_heap: String,
    byte_heap: Vec<u8>,
    nested: Vec<Value>,
    resources: Vec<Arc<Resource>>,
    scopes: Vec<Arc<Scope>>,
    /// The earliest and the latest start.
    starts: Option<(u64, u64)>,
}

/// A span, and behind the last of its attributes, events and links: they begin where those of the row before end.
#[derive(Debug, Clone, Copy)]
struct SpanRow {
    scalars: SpanScalars,
    attributes_end: u32,
    events_end: u32,
    links_end: u32,
}

#[derive(Debug, Clone, Copy)]
struct EventRow {
    time_unix_nano: u64,
    name: TermId,
    dropped_attributes: u32,
    attributes_end: u32,
}

/// Identifiers are ranges of the byte heap: a link may carry one of any length, and the span is not lost for it.
#[derive(Debug, Clone, Copy)]
struct LinkRow {
    trace_id: (u32, u32),
    span_id: (u32, u32),
    trace_state: TermId,
    flags: u32,
    dropped_attributes: u32,
    attributes_end: u32,
}

impl SpanBatch {
    /// How many spans.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no span.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
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

    /// The trace IDs of all spans in row order.
    pub fn trace_ids(&self) -> impl ExactSizeIterator<Item = &TraceId> {
        self.spans.iter().map(|span| &span.scalars.trace_id)
    }

    /// The trace IDs of the spans from `row` on; none behind the last.
    pub fn trace_ids_from(&self, row: usize) -> impl ExactSizeIterator<Item = &TraceId> {
        self.spans.get(row..).unwrap_or_default().iter().map(|span| &span.scalars.trace_id)
    }

    /// The earliest and the latest start of its spans, in nanoseconds since 1970; none without spans.
    pub fn starts_unix_nano(&self) -> Option<(u64, u64)> {
        self.starts
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
        fn rows<T>(rows: &Vec<T>) -> usize {
            rows.capacity() * size_of::<T>()
        }
        let rows = rows(&self.spans)
            + rows(&self.events)
            + rows(&self.links)
            + rows(&self.attributes)
            + rows(&self.event_attributes)
            + rows(&self.link_attributes);
        let heaps = self.terms.heap_bytes() + self.text_heap.capacity() + self.byte_heap.capacity();
        rows + heaps + self.bytes_elsewhere()
    }

    /// The same without the room for more that vectors have: what a copy of it takes.
    fn content_bytes(&self) -> usize {
        let rows = size_of_val(&*self.spans)
            + size_of_val(&*self.events)
            + size_of_val(&*self.links)
            + size_of_val(&*self.attributes)
            + size_of_val(&*self.event_attributes)
            + size_of_val(&*self.link_attributes);
        let heaps = self.terms.content_bytes() + self.text_heap.len() + self.byte_heap.len();
        rows + heaps + self.bytes_elsewhere()
    }

    fn bytes_elsewhere(&self) -> usize {
        size_of::<Self>()
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
