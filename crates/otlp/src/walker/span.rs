//! One span: its fields, events, links and status, and whether it is kept.

use tracelake_model::{Owner, Resource, Scope, SpanId, SpanScalars, TermId, TraceId};

use super::Walker;
use super::owners::Shared;
use crate::field::{event, link, span, status};
use crate::rejections::RejectReason;
use crate::wire::{Fault, Nesting, Reader, TextField};

/// What a span has once, as it stands on the wire.
#[derive(Default)]
struct Fields<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
    trace_state: TextField<'a>,
    name: TextField<'a>,
    status_message: TextField<'a>,
    start_unix_nano: u64,
    end_unix_nano: u64,
    kind: i32,
    status_code: i32,
    flags: u32,
    dropped_attributes_count: u32,
    dropped_events_count: u32,
    dropped_links_count: u32,
    attributes: usize,
    /// Attributes of the event or link that has most.
    inner_attributes_max: usize,
    events: usize,
    links: usize,
}

impl Walker<'_> {
    pub(super) fn span(
        &mut self,
        message: &[u8],
        resource: &mut Shared<Resource>,
        scope: &mut Shared<Scope>,
    ) -> Result<(), Fault> {
        let nesting = self.nesting(3);
        self.too_many_elements = false;
        self.value_too_large = false;
        let mut fields = Fields::default();
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            match key {
                // Attributes come one after the other: a loop of its own is predicted better.
                span::ATTRIBUTES => loop {
                    self.attribute(Owner::Span, reader.bytes()?, nesting)?;
                    fields.attributes += 1;
                    if !reader.take_key(span::ATTRIBUTES) {
                        break;
                    }
                },
                span::TRACE_ID => fields.trace_id = reader.bytes()?,
                span::SPAN_ID => fields.span_id = reader.bytes()?,
                span::TRACE_STATE => fields.trace_state.set(reader.bytes()?)?,
                span::PARENT_SPAN_ID => fields.parent_span_id = reader.bytes()?,
                span::NAME => fields.name.set(reader.bytes()?)?,
                span::KIND => fields.kind = reader.varint()? as i32,
                span::START => fields.start_unix_nano = reader.fixed64()?,
                span::END => fields.end_unix_nano = reader.fixed64()?,
                span::DROPPED_ATTRIBUTES => fields.dropped_attributes_count = reader.varint()? as u32,
                span::EVENTS => {
                    let attributes = self.event(reader.bytes()?, nesting.message()?)?;
                    fields.inner_attributes_max = fields.inner_attributes_max.max(attributes);
                    fields.events += 1;
                }
                span::DROPPED_EVENTS => fields.dropped_events_count = reader.varint()? as u32,
                span::LINKS => {
                    let attributes = self.link(reader.bytes()?, nesting.message()?)?;
                    fields.inner_attributes_max = fields.inner_attributes_max.max(attributes);
                    fields.links += 1;
                }
                span::DROPPED_LINKS => fields.dropped_links_count = reader.varint()? as u32,
                span::STATUS => fields.merge_status(reader.bytes()?, nesting.message()?)?,
                span::FLAGS => fields.flags = reader.fixed32()?,
                _ => reader.unknown(key, 16, nesting.recursion_left())?,
            }
        }
        self.finish_span(&fields, resource, scope)
    }

    fn finish_span(
        &mut self,
        fields: &Fields<'_>,
        resource: &mut Shared<Resource>,
        scope: &mut Shared<Scope>,
    ) -> Result<(), Fault> {
        // Checked before anything is decided: a text that is not UTF-8 refuses the request even if
        // its span would not be kept.
        let name = self.builder.term(fields.name.bytes())?;
        let trace_state = self.builder.term(fields.trace_state.bytes())?;
        let status_message = self.builder.term(fields.status_message.bytes())?;
        let mut scalars = match self.judge(fields, resource, scope) {
            Ok(scalars) => scalars,
            Err(reason) => {
                self.rejections.add(reason);
                self.builder.discard_span();
                return Ok(());
            }
        };
        scalars.name = name;
        scalars.trace_state = trace_state;
        scalars.status_message = status_message;
        scalars.resource = self.resource_index(resource);
        scalars.scope = self.scope_index(scope);
        self.builder.finish_span(scalars);
        Ok(())
    }

    /// What the span has once, its texts, resource and scope aside; or why it is not kept.
    #[inline]
    fn judge(
        &self,
        fields: &Fields<'_>,
        resource: &Shared<Resource>,
        scope: &Shared<Scope>,
    ) -> Result<SpanScalars, RejectReason> {
        const TIME_MAX: u64 = i64::MAX as u64;
        let limits = self.limits;
        let trace_id = TraceId::from_bytes(fields.trace_id).ok_or(RejectReason::TraceId)?;
        let span_id = SpanId::from_bytes(fields.span_id).ok_or(RejectReason::SpanId)?;
        let parent_span_id = SpanId::from_bytes(fields.parent_span_id);
        if parent_span_id.is_none() && !matches!(fields.parent_span_id.len(), 0 | 8) {
            return Err(RejectReason::ParentSpanId);
        }
        if fields.start_unix_nano > TIME_MAX || fields.end_unix_nano > TIME_MAX {
            return Err(RejectReason::Time);
        }
        if self.too_many_elements {
            return Err(RejectReason::ValueElementCount);
        }
        if self.value_too_large {
            return Err(RejectReason::AttributeValueSize);
        }
        if fields.attributes.max(fields.inner_attributes_max) > limits.attributes_max {
            return Err(RejectReason::AttributeCount);
        }
        if fields.events > limits.span_events_max {
            return Err(RejectReason::EventCount);
        }
        if fields.links > limits.span_links_max {
            return Err(RejectReason::LinkCount);
        }
        if let Some(reason) = resource.rejection.or(scope.rejection) {
            return Err(reason);
        }
        Ok(SpanScalars {
            trace_id,
            span_id,
            parent_span_id,
            start_unix_nano: fields.start_unix_nano,
            end_unix_nano: fields.end_unix_nano,
            kind: fields.kind,
            status_code: fields.status_code,
            flags: fields.flags,
            dropped_attributes_count: fields.dropped_attributes_count,
            dropped_events_count: fields.dropped_events_count,
            dropped_links_count: fields.dropped_links_count,
            name: TermId::EMPTY,
            trace_state: TermId::EMPTY,
            status_message: TermId::EMPTY,
            resource: 0,
            scope: 0,
        })
    }

    /// How many attributes the event has.
    fn event(&mut self, message: &[u8], nesting: Nesting) -> Result<usize, Fault> {
        let (mut time_unix_nano, mut name, mut dropped) = (0, TextField::default(), 0);
        let mut attributes = 0;
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            match key {
                event::TIME => time_unix_nano = reader.fixed64()?,
                event::NAME => name.set(reader.bytes()?)?,
                event::ATTRIBUTES => {
                    self.attribute(Owner::Event, reader.bytes()?, nesting)?;
                    attributes += 1;
                }
                event::DROPPED_ATTRIBUTES => dropped = reader.varint()? as u32,
                _ => reader.unknown(key, 4, nesting.recursion_left())?,
            }
        }
        let name = self.builder.term(name.bytes())?;
        self.builder.finish_event(time_unix_nano, name, dropped);
        Ok(attributes)
    }

    /// How many attributes the link has.
    fn link(&mut self, message: &[u8], nesting: Nesting) -> Result<usize, Fault> {
        let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
        let (mut trace_state, mut flags, mut dropped) = (TextField::default(), 0, 0);
        let mut attributes = 0;
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            match key {
                link::TRACE_ID => trace_id = reader.bytes()?,
                link::SPAN_ID => span_id = reader.bytes()?,
                link::TRACE_STATE => trace_state.set(reader.bytes()?)?,
                link::ATTRIBUTES => {
                    self.attribute(Owner::Link, reader.bytes()?, nesting)?;
                    attributes += 1;
                }
                link::DROPPED_ATTRIBUTES => dropped = reader.varint()? as u32,
                link::FLAGS => flags = reader.fixed32()?,
                _ => reader.unknown(key, 6, nesting.recursion_left())?,
            }
        }
        let trace_state = self.builder.term(trace_state.bytes())?;
        self.builder.finish_link(trace_id, span_id, trace_state, flags, dropped);
        Ok(attributes)
    }
}

impl<'a> Fields<'a> {
    fn merge_status(&mut self, message: &'a [u8], nesting: Nesting) -> Result<(), Fault> {
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            match key {
                status::MESSAGE => self.status_message.set(reader.bytes()?)?,
                status::CODE => self.status_code = reader.varint()? as i32,
                // Field 1 was removed from the message: it is unknown.
                _ if key >> 3 == 1 => reader.skip(key, nesting.recursion_left())?,
                _ => reader.unknown(key, 3, nesting.recursion_left())?,
            }
        }
        Ok(())
    }
}
