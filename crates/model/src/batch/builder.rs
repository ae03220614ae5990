//! Fills a batch span by span, and is reused: its buffers keep their room between batches.
//!
//! Senders repeat themselves, and the builder bets on it before it hashes: after a key comes the key
//! that came after it last time, and a key's text value is often the one it had last time.

use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::attribute::{Attribute, Owner, Tag, pack};
use super::terms::TermId;
use super::view::{AttributeIter, SpanView};
use super::{EventRow, LinkRow, SpanBatch, SpanRow};
use crate::{Resource, Scope, SpanId, TraceId, Value, ValueRef};

/// A text that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("text is not valid UTF-8")]
pub struct InvalidUtf8;

/// What a span has once.
#[derive(Debug, Clone, Copy)]
pub struct SpanScalars {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own identifier.
    pub span_id: SpanId,
    /// Its parent, if it has one.
    pub parent_span_id: Option<SpanId>,
    /// Nanoseconds since 1970; at most `i64::MAX`.
    pub start_unix_nano: u64,
    /// Nanoseconds since 1970; at most `i64::MAX`.
    pub end_unix_nano: u64,
    /// `SpanKind`.
    pub kind: i32,
    /// `Status.code`.
    pub status_code: i32,
    /// Trace flags.
    pub flags: u32,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
    /// Events that the sender left out.
    pub dropped_events_count: u32,
    /// Links that the sender left out.
    pub dropped_links_count: u32,
    /// From [`SpanBatchBuilder::term`].
    pub name: TermId,
    /// From [`SpanBatchBuilder::term`].
    pub trace_state: TermId,
    /// From [`SpanBatchBuilder::term`].
    pub status_message: TermId,
    /// From [`SpanBatchBuilder::resource`].
    pub resource: u32,
    /// From [`SpanBatchBuilder::scope`].
    pub scope: u32,
}

impl SpanScalars {
    /// A span of which nothing else is known: no parent, no name, zeros, and the first resource and
    /// scope of its batch.
    pub fn new(trace_id: TraceId, span_id: SpanId) -> Self {
        Self {
            trace_id,
            span_id,
            parent_span_id: None,
            start_unix_nano: 0,
            end_unix_nano: 0,
            kind: 0,
            status_code: 0,
            flags: 0,
            dropped_attributes_count: 0,
            dropped_events_count: 0,
            dropped_links_count: 0,
            name: TermId::EMPTY,
            trace_state: TermId::EMPTY,
            status_message: TermId::EMPTY,
            resource: 0,
            scope: 0,
        }
    }
}

/// Builds one [`SpanBatch`] after the other.
///
/// For each span: push its attributes, events and links in any order (an event's attributes before
/// [`finish_event`](Self::finish_event)), then [`finish_span`](Self::finish_span) or
/// [`discard_span`](Self::discard_span).
#[derive(Debug, Default)]
pub struct SpanBatchBuilder {
    /// All but the texts of values.
    batch: SpanBatch,
    /// Texts of values. Whether they are UTF-8 is asked once, of all of them: that is faster than to
    /// ask each. As long as each begins where a character may begin, all are if the whole is.
    texts: Vec<u8>,
    /// Whether one begins with the continuation of a character.
    begins_inside_character: bool,
    hasher: RandomState,
    interned: HashTable<TermId>,
    /// Per term: the key that followed it last.
    next_key: Vec<TermId>,
    last_key: TermId,
    /// Per term: the text that a span attribute of this key had last.
    last_text: Vec<(u32, u32)>,
}

/// Room that a builder keeps between batches. A larger one, left by one huge request, is given back.
const RETAINED_BYTES_MAX: usize = 8 << 20;

impl SpanBatchBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spans finished so far.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether no span is finished yet.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The batch's number of a text. UTF-8 is checked only for texts that are new.
    pub fn term(&mut self, text: &[u8]) -> Result<TermId, InvalidUtf8> {
        if text.is_empty() {
            return Ok(TermId::EMPTY);
        }
        let terms = &mut self.batch.terms;
        let hash = self.hasher.hash_one(text);
        if let Some(term) = self.interned.find(hash, |term| terms.bytes(*term) == text) {
            return Ok(*term);
        }
        let text = simdutf8::basic::from_utf8(text).map_err(|_| InvalidUtf8)?;
        let term = terms.push(text);
        let hasher = &self.hasher;
        self.interned.insert_unique(hash, term, |term| hasher.hash_one(terms.bytes(*term)));
        self.next_key.resize(term.index() + 1, TermId::EMPTY);
        self.last_text.resize(term.index() + 1, (0, 0));
        Ok(term)
    }

    /// As [`term`](Self::term), for the key of an attribute that is pushed next.
    #[inline]
    pub fn key(&mut self, text: &[u8]) -> Result<TermId, InvalidUtf8> {
        let last = self.last_key.index();
        let guess = self.next_key.get(last).copied().unwrap_or_default();
        let key = if self.batch.terms.bytes(guess) == text {
            guess
        } else {
            let key = self.term(text)?;
            if last >= self.next_key.len() {
                self.next_key.resize(last + 1, TermId::EMPTY);
                self.last_text.resize(last + 1, (0, 0));
            }
            self.next_key[last] = key;
            key
        };
        self.last_key = key;
        Ok(key)
    }

    /// The batch's number of a resource. An equal one is not looked for: the caller memoises.
    pub fn resource(&mut self, resource: Arc<Resource>) -> u32 {
        self.batch.resources.push(resource);
        self.batch.resources.len() as u32 - 1
    }

    /// The batch's number of a scope. An equal one is not looked for: the caller memoises.
    pub fn scope(&mut self, scope: Arc<Scope>) -> u32 {
        self.batch.scopes.push(scope);
        self.batch.scopes.len() as u32 - 1
    }

    /// An attribute with a text.
    #[inline]
    pub fn push_text(&mut self, owner: Owner, key: TermId, text: &str) {
        self.push_text_bytes(owner, key, text.as_bytes());
    }

    /// As [`push_text`](Self::push_text), of bytes that [`try_finish`](Self::try_finish) checks.
    #[inline]
    pub fn push_text_bytes(&mut self, owner: Owner, key: TermId, text: &[u8]) {
        let range = if owner == Owner::Span && key != TermId::EMPTY {
            let last = self.last_text[key.index()];
            if self.text(last) == text {
                last
            } else {
                let range = self.push_text_heap(text);
                self.last_text[key.index()] = range;
                range
            }
        } else {
            self.push_text_heap(text)
        };
        self.push(owner, key, Tag::Text, pack(range));
    }

    #[inline]
    fn text(&self, range: (u32, u32)) -> &[u8] {
        &self.texts[range.0 as usize..(range.0 + range.1) as usize]
    }

    #[inline]
    fn push_text_heap(&mut self, text: &[u8]) -> (u32, u32) {
        const CONTINUATION: RangeInclusive<u8> = 0x80..=0xbf;
        self.begins_inside_character |= text.first().is_some_and(|byte| CONTINUATION.contains(byte));
        let start = self.texts.len() as u32;
        self.texts.extend_from_slice(text);
        (start, text.len() as u32)
    }

    fn push_byte_heap(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.batch.byte_heap.len() as u32;
        self.batch.byte_heap.extend_from_slice(bytes);
        (start, bytes.len() as u32)
    }

    /// An attribute with an integer.
    #[inline]
    pub fn push_int(&mut self, owner: Owner, key: TermId, value: i64) {
        self.push(owner, key, Tag::Int, value as u64);
    }

    /// An attribute with a float.
    #[inline]
    pub fn push_double(&mut self, owner: Owner, key: TermId, value: f64) {
        self.push(owner, key, Tag::Double, value.to_bits());
    }

    /// An attribute with a truth value.
    #[inline]
    pub fn push_bool(&mut self, owner: Owner, key: TermId, value: bool) {
        self.push(owner, key, Tag::Bool, u64::from(value));
    }

    /// An attribute with bytes.
    pub fn push_bytes(&mut self, owner: Owner, key: TermId, value: &[u8]) {
        let range = self.push_byte_heap(value);
        self.push(owner, key, Tag::Bytes, pack(range));
    }

    /// An attribute whose value was not set.
    pub fn push_empty(&mut self, owner: Owner, key: TermId) {
        self.push(owner, key, Tag::Empty, 0);
    }

    /// An attribute with a value of any type.
    pub fn push_value(&mut self, owner: Owner, key: TermId, value: Value) {
        match value {
            Value::Array(_) | Value::Map(_) => {
                self.batch.nested.push(value);
                let index = self.batch.nested.len() as u64 - 1;
                self.push(owner, key, Tag::Nested, index);
            }
            value => self.push_ref(owner, key, value.as_ref()),
        }
    }

    /// As [`push_value`](Self::push_value), from a borrowed value.
    pub fn push_ref(&mut self, owner: Owner, key: TermId, value: ValueRef<'_>) {
        match value {
            ValueRef::Empty => self.push_empty(owner, key),
            ValueRef::Text(text) => {
                let range = self.push_text_heap(text.as_bytes());
                self.push(owner, key, Tag::Text, pack(range));
            }
            ValueRef::Bool(value) => self.push_bool(owner, key, value),
            ValueRef::Int(value) => self.push_int(owner, key, value),
            ValueRef::Double(value) => self.push_double(owner, key, value),
            ValueRef::Bytes(bytes) => self.push_bytes(owner, key, bytes),
            ValueRef::Nested(value) => self.push_value(owner, key, value.clone()),
        }
    }

    /// Ends an event of the span being built; its attributes were pushed before.
    pub fn finish_event(&mut self, time_unix_nano: u64, name: TermId, dropped_attributes_count: u32) {
        let batch = &mut self.batch;
        batch.events.push(EventRow {
            time_unix_nano,
            name,
            dropped_attributes: dropped_attributes_count,
            attributes_end: batch.event_attributes.len() as u32,
        });
    }

    /// Ends a link of the span being built; its attributes were pushed before.
    pub fn finish_link(
        &mut self,
        trace_id: &[u8],
        span_id: &[u8],
        trace_state: TermId,
        flags: u32,
        dropped_attributes_count: u32,
    ) {
        let trace_id = self.push_byte_heap(trace_id);
        let span_id = self.push_byte_heap(span_id);
        let batch = &mut self.batch;
        batch.links.push(LinkRow {
            trace_id,
            span_id,
            trace_state,
            flags,
            dropped_attributes: dropped_attributes_count,
            attributes_end: batch.link_attributes.len() as u32,
        });
    }

    /// Ends the span.
    #[inline]
    pub fn finish_span(&mut self, span: SpanScalars) {
        let batch = &mut self.batch;
        let start = span.start_unix_nano;
        let (first, last) = batch.starts.unwrap_or((start, start));
        batch.starts = Some((first.min(start), last.max(start)));
        batch.spans.push(SpanRow {
            scalars: span,
            attributes_end: batch.attributes.len() as u32,
            events_end: batch.events.len() as u32,
            links_end: batch.links.len() as u32,
        });
    }

    /// Forgets what was pushed since the last finished span.
    pub fn discard_span(&mut self) {
        let batch = &mut self.batch;
        let (attributes, events, links) = batch
            .spans
            .last()
            .map_or((0, 0, 0), |span| (span.attributes_end, span.events_end, span.links_end));
        batch.attributes.truncate(attributes as usize);
        batch.events.truncate(events as usize);
        batch.links.truncate(links as usize);
        let event_attributes = batch.events.last().map_or(0, |event| event.attributes_end);
        batch.event_attributes.truncate(event_attributes as usize);
        let link_attributes = batch.links.last().map_or(0, |link| link.attributes_end);
        batch.link_attributes.truncate(link_attributes as usize);
    }

    /// Copies a span of another batch. `resource` and `scope` are of this builder.
    pub fn copy_span(&mut self, span: SpanView<'_>, resource: u32, scope: u32) {
        self.copy_attributes(Owner::Span, span.attributes());
        for event in span.events() {
            self.copy_attributes(Owner::Event, event.attributes());
            let name = self.known_term(event.name());
            self.finish_event(event.time_unix_nano(), name, event.dropped_attributes_count());
        }
        for link in span.links() {
            self.copy_attributes(Owner::Link, link.attributes());
            let trace_state = self.known_term(link.trace_state());
            let dropped = link.dropped_attributes_count();
            self.finish_link(link.trace_id(), link.span_id(), trace_state, link.flags(), dropped);
        }
        let name = self.known_term(span.name());
        let trace_state = self.known_term(span.trace_state());
        let status_message = self.known_term(span.status_message());
        self.finish_span(SpanScalars {
            trace_id: span.trace_id(),
            span_id: span.span_id(),
            parent_span_id: span.parent_span_id(),
            start_unix_nano: span.start_unix_nano(),
            end_unix_nano: span.end_unix_nano(),
            kind: span.kind(),
            status_code: span.status_code(),
            flags: span.flags(),
            dropped_attributes_count: span.dropped_attributes_count(),
            dropped_events_count: span.dropped_events_count(),
            dropped_links_count: span.dropped_links_count(),
            name,
            trace_state,
            status_message,
            resource,
            scope,
        });
    }

    /// As [`term`](Self::term), for a text that is known to be UTF-8.
    pub fn known_term(&mut self, text: &str) -> TermId {
        // A `str` is UTF-8, so the check in `term` cannot fail.
        self.term(text.as_bytes()).unwrap_or_default()
    }

    fn copy_attributes(&mut self, owner: Owner, attributes: AttributeIter<'_>) {
        for (key, value) in attributes {
            let key = self.known_term(key);
            self.push_ref(owner, key, value);
        }
    }

    #[inline]
    fn push(&mut self, owner: Owner, key: TermId, tag: Tag, bits: u64) {
        let attributes = match owner {
            Owner::Span => &mut self.batch.attributes,
            Owner::Event => &mut self.batch.event_attributes,
            Owner::Link => &mut self.batch.link_attributes,
        };
        attributes.push(Attribute::new(key, tag, bits));
    }

    /// The batch, in buffers of exactly its size; the builder is empty again.
    ///
    /// # Panics
    /// If a text of [`push_text_bytes`](Self::push_text_bytes) is not UTF-8: whoever pushes those asks
    /// with [`try_finish`](Self::try_finish).
    pub fn finish(&mut self) -> SpanBatch {
        let batch = self.try_finish();
        assert!(batch.is_ok(), "texts that were not checked are finished as if they had been");
        batch.unwrap_or_default()
    }

    /// As [`finish`](Self::finish), after texts that were not checked.
    ///
    /// # Errors
    /// If a text of [`push_text_bytes`](Self::push_text_bytes) is not UTF-8, of a discarded span too.
    pub fn try_finish(&mut self) -> Result<SpanBatch, InvalidUtf8> {
        self.discard_span();
        let batch = match simdutf8::basic::from_utf8(&self.texts) {
            Ok(texts) if !self.begins_inside_character => {
                let mut batch = self.batch.clone();
                batch.text_heap = texts.to_owned();
                Ok(batch)
            }
            _ => Err(InvalidUtf8),
        };
        self.clear();
        batch
    }

    /// What the batch of the spans so far takes.
    pub fn content_bytes(&self) -> usize {
        self.batch.content_bytes() + self.texts.len()
    }

    /// Forgets everything but the room.
    pub fn clear(&mut self) {
        if self.batch.heap_bytes() + self.texts.capacity() > RETAINED_BYTES_MAX {
            *self = Self::default();
            return;
        }
        let batch = &mut self.batch;
        batch.spans.clear();
        batch.starts = None;
        batch.terms.clear();
        batch.byte_heap.clear();
        batch.nested.clear();
        batch.resources.clear();
        batch.scopes.clear();
        self.discard_span();
        self.texts.clear();
        self.begins_inside_character = false;
        self.interned.clear();
        self.next_key.clear();
        self.last_text.clear();
        self.last_key = TermId::EMPTY;
    }
}
