//! One span, event or link of a batch, read in place.

use std::sync::Arc;

use super::SpanBatch;
use super::attributes::{AttributeTable, Tag, unpack};
use super::terms::TermId;
use crate::{Resource, Scope, SpanId, TraceId, ValueRef};

/// A span of a batch.
#[derive(Clone, Copy)]
pub struct SpanView<'a> {
    pub(super) batch: &'a SpanBatch,
    pub(super) row: usize,
}

/// An event of a span.
#[derive(Clone, Copy)]
pub struct EventView<'a> {
    batch: &'a SpanBatch,
    index: usize,
}

/// A link of a span.
#[derive(Clone, Copy)]
pub struct LinkView<'a> {
    batch: &'a SpanBatch,
    index: usize,
}

/// Attributes as (key, value), in the order in which they came.
#[derive(Clone)]
pub struct AttributeIter<'a> {
    batch: &'a SpanBatch,
    table: &'a AttributeTable,
    range: std::ops::Range<usize>,
}

impl<'a> AttributeIter<'a> {
    /// As the iterator itself, with the key as a term of the batch.
    pub fn terms(mut self) -> impl Iterator<Item = (TermId, ValueRef<'a>)> {
        std::iter::from_fn(move || {
            let index = self.range.next()?;
            Some((self.table.keys[index], self.value(index)))
        })
    }

    #[inline]
    fn value(&self, index: usize) -> ValueRef<'a> {
        let bits = self.table.bits[index];
        match self.table.tags[index] {
            Tag::Empty => ValueRef::Empty,
            Tag::Text => ValueRef::Text(self.batch.text(unpack(bits))),
            Tag::Bool => ValueRef::Bool(bits != 0),
            Tag::Int => ValueRef::Int(bits as i64),
            Tag::Double => ValueRef::Double(f64::from_bits(bits)),
            Tag::Bytes => ValueRef::Bytes(self.batch.bytes(unpack(bits))),
            Tag::Nested => ValueRef::Nested(&self.batch.nested[bits as usize]),
        }
    }
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = (&'a str, ValueRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.range.next()?;
        Some((self.batch.terms.get(self.table.keys[index]), self.value(index)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl ExactSizeIterator for AttributeIter<'_> {}

impl<'a> SpanView<'a> {
    /// The batch it belongs to.
    pub fn batch(&self) -> &'a SpanBatch {
        self.batch
    }

    /// Its row in the batch.
    pub fn row(&self) -> usize {
        self.row
    }

    /// The trace it belongs to.
    #[inline]
    pub fn trace_id(&self) -> TraceId {
        self.batch.trace_ids[self.row]
    }

    /// Its own identifier.
    #[inline]
    pub fn span_id(&self) -> SpanId {
        self.batch.span_ids[self.row]
    }

    /// Its parent; none for a root.
    #[inline]
    pub fn parent_span_id(&self) -> Option<SpanId> {
        self.batch.parent_span_ids[self.row]
    }

    /// When it began, in nanoseconds since 1970; at most `i64::MAX`.
    #[inline]
    pub fn start_unix_nano(&self) -> u64 {
        self.batch.start_unix_nano[self.row]
    }

    /// When it ended, in nanoseconds since 1970, as it came: it may be before the start.
    #[inline]
    pub fn end_unix_nano(&self) -> u64 {
        self.batch.end_unix_nano[self.row]
    }

    /// From start to end in nanoseconds; 0 if it ends before it starts.
    pub fn duration_nano(&self) -> u64 {
        self.end_unix_nano().saturating_sub(self.start_unix_nano())
    }

    /// `SpanKind` as a number; unknown numbers are kept.
    pub fn kind(&self) -> i32 {
        self.batch.kinds[self.row]
    }

    /// `Status.code` as a number; 2 is an error, unknown numbers are kept.
    pub fn status_code(&self) -> i32 {
        self.batch.status_codes[self.row]
    }

    /// `Status.message`.
    pub fn status_message(&self) -> &'a str {
        self.batch.terms.get(self.batch.status_messages[self.row])
    }

    /// W3C trace flags and what else the field carries.
    pub fn flags(&self) -> u32 {
        self.batch.flags[self.row]
    }

    /// The name.
    pub fn name(&self) -> &'a str {
        self.batch.terms.get(self.batch.names[self.row])
    }

    /// W3C trace state.
    pub fn trace_state(&self) -> &'a str {
        self.batch.terms.get(self.batch.trace_states[self.row])
    }

    /// How many attributes the sender left out.
    pub fn dropped_attributes_count(&self) -> u32 {
        self.batch.dropped_attributes[self.row]
    }

    /// How many events the sender left out.
    pub fn dropped_events_count(&self) -> u32 {
        self.batch.dropped_events[self.row]
    }

    /// How many links the sender left out.
    pub fn dropped_links_count(&self) -> u32 {
        self.batch.dropped_links[self.row]
    }

    /// Which of [`SpanBatch::resources`].
    pub fn resource_index(&self) -> usize {
        self.batch.resource_indexes[self.row] as usize
    }

    /// Which of [`SpanBatch::scopes`].
    pub fn scope_index(&self) -> usize {
        self.batch.scope_indexes[self.row] as usize
    }

    /// Its resource.
    pub fn resource(&self) -> &'a Arc<Resource> {
        &self.batch.resources[self.resource_index()]
    }

    /// Its scope.
    pub fn scope(&self) -> &'a Arc<Scope> {
        &self.batch.scopes[self.scope_index()]
    }

    /// Its attributes.
    #[inline]
    pub fn attributes(&self) -> AttributeIter<'a> {
        let table = &self.batch.attributes;
        AttributeIter { batch: self.batch, table, range: table.range(self.row) }
    }

    /// Its events.
    pub fn events(&self) -> impl ExactSizeIterator<Item = EventView<'a>> + use<'a> {
        let (batch, end) = (self.batch, &self.batch.events.end);
        let start = if self.row == 0 { 0 } else { end[self.row - 1] as usize };
        (start..end[self.row] as usize).map(move |index| EventView { batch, index })
    }

    /// Its links.
    pub fn links(&self) -> impl ExactSizeIterator<Item = LinkView<'a>> + use<'a> {
        let (batch, end) = (self.batch, &self.batch.links.end);
        let start = if self.row == 0 { 0 } else { end[self.row - 1] as usize };
        (start..end[self.row] as usize).map(move |index| LinkView { batch, index })
    }
}

impl<'a> EventView<'a> {
    /// When it happened, in nanoseconds since 1970; any 64-bit number.
    pub fn time_unix_nano(&self) -> u64 {
        self.batch.events.time_unix_nano[self.index]
    }

    /// The name.
    pub fn name(&self) -> &'a str {
        self.batch.terms.get(self.batch.events.names[self.index])
    }

    /// How many attributes the sender left out.
    pub fn dropped_attributes_count(&self) -> u32 {
        self.batch.events.dropped_attributes[self.index]
    }

    /// Its attributes.
    pub fn attributes(&self) -> AttributeIter<'a> {
        let table = &self.batch.events.attributes;
        AttributeIter { batch: self.batch, table, range: table.range(self.index) }
    }
}

impl<'a> LinkView<'a> {
    /// The linked trace, as it came: of any length.
    pub fn trace_id(&self) -> &'a [u8] {
        self.batch.bytes(self.batch.links.trace_ids[self.index])
    }

    /// The linked span, as it came: of any length.
    pub fn span_id(&self) -> &'a [u8] {
        self.batch.bytes(self.batch.links.span_ids[self.index])
    }

    /// W3C trace state of the linked span.
    pub fn trace_state(&self) -> &'a str {
        self.batch.terms.get(self.batch.links.trace_states[self.index])
    }

    /// W3C trace flags of the linked span.
    pub fn flags(&self) -> u32 {
        self.batch.links.flags[self.index]
    }

    /// How many attributes the sender left out.
    pub fn dropped_attributes_count(&self) -> u32 {
        self.batch.links.dropped_attributes[self.index]
    }

    /// Its attributes.
    pub fn attributes(&self) -> AttributeIter<'a> {
        let table = &self.batch.links.attributes;
        AttributeIter { batch: self.batch, table, range: table.range(self.index) }
    }
}

impl std::fmt::Debug for SpanView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Span")
            .field("trace_id", &self.trace_id())
            .field("span_id", &self.span_id())
            .field("parent_span_id", &self.parent_span_id())
            .field("name", &self.name())
            .field("start_unix_nano", &self.start_unix_nano())
            .field("end_unix_nano", &self.end_unix_nano())
            .field("kind", &self.kind())
            .field("status", &(self.status_code(), self.status_message()))
            .field("trace_state", &self.trace_state())
            .field("flags", &self.flags())
            .field(
                "dropped",
                &(self.dropped_attributes_count(), self.dropped_events_count(), self.dropped_links_count()),
            )
            .field("attributes", &self.attributes())
            .field("events", &self.events().collect::<Vec<_>>())
            .field("links", &self.links().collect::<Vec<_>>())
            .field("resource", self.resource())
            .field("scope", self.scope())
            .finish()
    }
}

impl std::fmt::Debug for EventView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("time_unix_nano", &self.time_unix_nano())
            .field("name", &self.name())
            .field("dropped_attributes_count", &self.dropped_attributes_count())
            .field("attributes", &self.attributes())
            .finish()
    }
}

impl std::fmt::Debug for LinkView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("trace_id", &self.trace_id())
            .field("span_id", &self.span_id())
            .field("trace_state", &self.trace_state())
            .field("flags", &self.flags())
            .field("dropped_attributes_count", &self.dropped_attributes_count())
            .field("attributes", &self.attributes())
            .finish()
    }
}

impl std::fmt::Debug for AttributeIter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.clone()).finish()
    }
}
