//! One span, event or link of a batch, read in place.

use std::sync::Arc;

use super::attribute::{Attribute, Tag};
use super::builder::SpanScalars;
use super::terms::TermId;
use super::{EventRow, LinkRow, SpanBatch, SpanRow};
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
    attributes: std::slice::Iter<'a, Attribute>,
}

impl<'a> AttributeIter<'a> {
    pub(super) fn as_slice(&self) -> &'a [Attribute] {
        self.attributes.as_slice()
    }

    /// As the iterator itself, with the key as a term of the batch.
    pub fn terms(self) -> impl Iterator<Item = (TermId, ValueRef<'a>)> {
        let Self { batch, attributes } = self;
        attributes.map(move |attribute| (attribute.key(), batch.value(*attribute)))
    }

    /// The values of a key, which may occur more than once. Others are not looked at.
    #[inline]
    pub fn values_of(self, key: TermId) -> impl Iterator<Item = ValueRef<'a>> {
        let Self { batch, attributes } = self;
        let of_key = attributes.filter(move |attribute| attribute.key() == key);
        of_key.map(move |attribute| batch.value(*attribute))
    }
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = (&'a str, ValueRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let attribute = self.attributes.next()?;
        Some((self.batch.terms.get(attribute.key()), self.batch.value(*attribute)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.attributes.size_hint()
    }
}

impl SpanBatch {
    #[inline]
    fn value(&self, attribute: Attribute) -> ValueRef<'_> {
        match attribute.tag() {
            Tag::Empty => ValueRef::Empty,
            Tag::Text => ValueRef::Text(self.text(attribute.range())),
            Tag::Bool => ValueRef::Bool(attribute.bits() != 0),
            Tag::Int => ValueRef::Int(attribute.bits() as i64),
            Tag::Double => ValueRef::Double(f64::from_bits(attribute.bits())),
            Tag::Bytes => ValueRef::Bytes(self.bytes(attribute.range())),
            Tag::Nested => ValueRef::Nested(&self.nested[attribute.bits() as usize]),
        }
    }
}

/// Those of an owner: from where the owner before it ends.
#[inline]
fn owned<T>(all: &[T], before: Option<u32>, end: u32) -> &[T] {
    &all[before.unwrap_or(0) as usize..end as usize]
}

impl ExactSizeIterator for AttributeIter<'_> {}

impl<'a> SpanView<'a> {
    #[inline]
    pub(super) fn fields(&self) -> &'a SpanRow {
        &self.batch.spans[self.row]
    }

    #[inline]
    fn scalars(&self) -> &'a SpanScalars {
        &self.fields().scalars
    }

    #[inline]
    pub(super) fn before(&self) -> Option<&'a SpanRow> {
        self.row.checked_sub(1).map(|before| &self.batch.spans[before])
    }

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
        self.scalars().trace_id
    }

    /// Its own identifier.
    #[inline]
    pub fn span_id(&self) -> SpanId {
        self.scalars().span_id
    }

    /// Its parent; none for a root.
    #[inline]
    pub fn parent_span_id(&self) -> Option<SpanId> {
        self.scalars().parent_span_id
    }

    /// When it began, in nanoseconds since 1970; at most `i64::MAX`.
    #[inline]
    pub fn start_unix_nano(&self) -> u64 {
        self.scalars().start_unix_nano
    }

    /// When it ended, in nanoseconds since 1970, as it came: it may be before the start.
    #[inline]
    pub fn end_unix_nano(&self) -> u64 {
        self.scalars().end_unix_nano
    }

    /// From start to end in nanoseconds; 0 if it ends before it starts.
    pub fn duration_nano(&self) -> u64 {
        self.end_unix_nano().saturating_sub(self.start_unix_nano())
    }

    /// `SpanKind` as a number; unknown numbers are kept.
    pub fn kind(&self) -> i32 {
        self.scalars().kind
    }

    /// `Status.code` as a number; 2 is an error, unknown numbers are kept.
    pub fn status_code(&self) -> i32 {
        self.scalars().status_code
    }

    /// `Status.message`.
    pub fn status_message(&self) -> &'a str {
        self.batch.terms.get(self.scalars().status_message)
    }

    /// `Status.message` as a term of the batch.
    #[inline]
    pub fn status_message_term(&self) -> TermId {
        self.scalars().status_message
    }

    /// W3C trace flags and what else the field carries.
    pub fn flags(&self) -> u32 {
        self.scalars().flags
    }

    /// The name.
    pub fn name(&self) -> &'a str {
        self.batch.terms.get(self.scalars().name)
    }

    /// The name as a term of the batch.
    #[inline]
    pub fn name_term(&self) -> TermId {
        self.scalars().name
    }

    /// W3C trace state.
    pub fn trace_state(&self) -> &'a str {
        self.batch.terms.get(self.scalars().trace_state)
    }

    /// How many attributes the sender left out.
    pub fn dropped_attributes_count(&self) -> u32 {
        self.scalars().dropped_attributes_count
    }

    /// How many events the sender left out.
    pub fn dropped_events_count(&self) -> u32 {
        self.scalars().dropped_events_count
    }

    /// How many links the sender left out.
    pub fn dropped_links_count(&self) -> u32 {
        self.scalars().dropped_links_count
    }

    /// Which of [`SpanBatch::resources`].
    pub fn resource_index(&self) -> usize {
        self.scalars().resource as usize
    }

    /// Which of [`SpanBatch::scopes`].
    pub fn scope_index(&self) -> usize {
        self.scalars().scope as usize
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
        let before = self.before().map(|before| before.attributes_end);
        let attributes = owned(&self.batch.attributes, before, self.fields().attributes_end);
        AttributeIter { batch: self.batch, attributes: attributes.iter() }
    }

    /// Its events.
    pub fn events(&self) -> impl ExactSizeIterator<Item = EventView<'a>> + use<'a> {
        let batch = self.batch;
        let start = self.before().map_or(0, |before| before.events_end as usize);
        (start..self.fields().events_end as usize).map(move |index| EventView { batch, index })
    }

    /// Its links.
    pub fn links(&self) -> impl ExactSizeIterator<Item = LinkView<'a>> + use<'a> {
        let batch = self.batch;
        let start = self.before().map_or(0, |before| before.links_end as usize);
        (start..self.fields().links_end as usize).map(move |index| LinkView { batch, index })
    }
}

impl<'a> EventView<'a> {
    fn fields(&self) -> &'a EventRow {
        &self.batch.events[self.index]
    }

    /// When it happened, in nanoseconds since 1970; any 64-bit number.
    pub fn time_unix_nano(&self) -> u64 {
        self.fields().time_unix_nano
    }

    /// The name.
    pub fn name(&self) -> &'a str {
        self.batch.terms.get(self.fields().name)
    }

    /// How many attributes the sender left out.
    pub fn dropped_attributes_count(&self) -> u32 {
        self.fields().dropped_attributes
    }

    /// Its attributes.
    pub fn attributes(&self) -> AttributeIter<'a> {
        let before = self.index.checked_sub(1).map(|before| self.batch.events[before].attributes_end);
        let attributes = owned(&self.batch.event_attributes, before, self.fields().attributes_end);
        AttributeIter { batch: self.batch, attributes: attributes.iter() }
    }
}

impl<'a> LinkView<'a> {
    fn fields(&self) -> &'a LinkRow {
        &self.batch.links[self.index]
    }

    /// The linked trace, as it came: of any length.
    pub fn trace_id(&self) -> &'a [u8] {
        self.batch.bytes(self.fields().trace_id)
    }

    /// The linked span, as it came: of any length.
    pub fn span_id(&self) -> &'a [u8] {
        self.batch.bytes(self.fields().span_id)
    }

    /// W3C trace state of the linked span.
    pub fn trace_state(&self) -> &'a str {
        self.batch.terms.get(self.fields().trace_state)
    }

    /// W3C trace flags of the linked span.
    pub fn flags(&self) -> u32 {
        self.fields().flags
    }

    /// How many attributes the sender left out.
    pub fn dropped_attributes_count(&self) -> u32 {
        self.fields().dropped_attributes
    }

    /// Its attributes.
    pub fn attributes(&self) -> AttributeIter<'a> {
        let before = self.index.checked_sub(1).map(|before| self.batch.links[before].attributes_end);
        let attributes = owned(&self.batch.link_attributes, before, self.fields().attributes_end);
        AttributeIter { batch: self.batch, attributes: attributes.iter() }
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
