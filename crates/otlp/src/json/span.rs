//! One span in JSON, read into the builder, and whether it is kept. An attribute goes to the batch as
//! soon as its object ends; what the span has once is gathered until its own object does.

use serde::de::{Deserializer, Error, MapAccess};
use tracelake_model::{Owner, SpanId, SpanScalars, TermId, TraceId, Value};

use super::parts::{Parsed, read_key_value};
use super::read::{Array, ArraySeed, Object, ObjectSeed, Scalar, hex_bytes, object_element};
use super::request::Sink;
use crate::RejectReason;
use crate::extent::value_bytes;
use crate::wire::Nesting;

/// An ID: its bytes, or none if the text is not hexadecimal.
type Id = Option<Vec<u8>>;

/// A `Span` object on its way into the builder.
pub(super) struct Span<'t, 's> {
    sink: &'t mut Sink<'s>,
    trace_id: Id,
    span_id: Id,
    parent_span_id: Id,
    start_unix_nano: u64,
    end_unix_nano: u64,
    kind: i32,
    status_code: i32,
    flags: u32,
    dropped_attributes_count: u32,
    dropped_events_count: u32,
    dropped_links_count: u32,
    name: TermId,
    trace_state: TermId,
    status_message: TermId,
    /// Whether a link has an ID that is no hexadecimal text.
    link_id_invalid: bool,
    too_many_elements: bool,
    value_too_large: bool,
    /// Attributes of whichever of span, events and links has most.
    attributes_max: usize,
    events: usize,
    links: usize,
}

impl<'t, 's> Span<'t, 's> {
    pub(super) fn new(sink: &'t mut Sink<'s>) -> Self {
        Self {
            sink,
            trace_id: Some(Vec::new()),
            span_id: Some(Vec::new()),
            parent_span_id: Some(Vec::new()),
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
            link_id_invalid: false,
            too_many_elements: false,
            value_too_large: false,
            attributes_max: 0,
            events: 0,
            links: 0,
        }
    }

    pub(super) fn finish(self) {
        match self.judge() {
            Ok(scalars) => self.sink.builder.finish_span(scalars),
            Err(reason) => {
                self.sink.outcome.rejections.add(reason);
                self.sink.builder.discard_span();
            }
        }
    }

    /// What the span has once; or why it is not kept, in the walker's order.
    fn judge(&self) -> Result<SpanScalars, RejectReason> {
        const TIME_MAX: u64 = i64::MAX as u64;
        let limits = self.sink.budget.limits;
        let trace_id = self.trace_id.as_deref().and_then(TraceId::from_bytes).ok_or(RejectReason::TraceId)?;
        let span_id = self.span_id.as_deref().and_then(SpanId::from_bytes).ok_or(RejectReason::SpanId)?;
        let parent = self.parent_span_id.as_deref().filter(|id| matches!(id.len(), 0 | 8));
        let parent_span_id = SpanId::from_bytes(parent.ok_or(RejectReason::ParentSpanId)?);
        if self.link_id_invalid {
            return Err(RejectReason::LinkId);
        }
        if self.start_unix_nano > TIME_MAX || self.end_unix_nano > TIME_MAX {
            return Err(RejectReason::Time);
        }
        if self.too_many_elements {
            return Err(RejectReason::ValueElementCount);
        }
        if self.value_too_large {
            return Err(RejectReason::AttributeValueSize);
        }
        if self.attributes_max > limits.attributes_max {
            return Err(RejectReason::AttributeCount);
        }
        if self.events > limits.span_events_max {
            return Err(RejectReason::EventCount);
        }
        if self.links > limits.span_links_max {
            return Err(RejectReason::LinkCount);
        }
        Ok(SpanScalars {
            trace_id,
            span_id,
            parent_span_id,
            start_unix_nano: self.start_unix_nano,
            end_unix_nano: self.end_unix_nano,
            kind: self.kind,
            status_code: self.status_code,
            flags: self.flags,
            dropped_attributes_count: self.dropped_attributes_count,
            dropped_events_count: self.dropped_events_count,
            dropped_links_count: self.dropped_links_count,
            name: self.name,
            trace_state: self.trace_state,
            status_message: self.status_message,
            resource: self.sink.resources,
            scope: self.sink.scopes,
        })
    }

    fn attributes<'de, A: MapAccess<'de>>(
        &mut self,
        owner: Owner,
        nesting: Nesting,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let mut attributes = Attributes { span: self, owner, nesting, count: 0 };
        map.next_value_seed(ArraySeed(&mut attributes))?;
        self.attributes_max = attributes.count.max(self.attributes_max);
        Ok(())
    }

    fn term<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<TermId, A::Error> {
        let text = map.next_value::<Scalar<'de>>()?.text(name)?.unwrap_or_default();
        Ok(self.sink.builder.known_term(&text))
    }
}

fn id<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<Id, A::Error> {
    Ok(hex_bytes(&map.next_value::<Scalar<'de>>()?.text(name)?.unwrap_or_default()))
}

fn u32_member<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<u32, A::Error> {
    Ok(map.next_value::<Scalar<'de>>()?.u32(name)?.unwrap_or(0))
}

fn u64_member<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<u64, A::Error> {
    Ok(map.next_value::<Scalar<'de>>()?.u64(name)?.unwrap_or(0))
}

fn enum_member<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> Result<i32, A::Error> {
    Ok(map.next_value::<Scalar<'de>>()?.enumeration(name)?.unwrap_or(0))
}

impl<'de> Object<'de> for Span<'_, '_> {
    const NAME: &'static str = "a span";
    const MEMBERS: &'static [&'static str] = &[
        "traceId",
        "spanId",
        "traceState",
        "parentSpanId",
        "flags",
        "name",
        "kind",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "attributes",
        "droppedAttributesCount",
        "events",
        "droppedEventsCount",
        "links",
        "droppedLinksCount",
        "status",
    ];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "traceId" => self.trace_id = id(name, map)?,
            "spanId" => self.span_id = id(name, map)?,
            "traceState" => self.trace_state = self.term(name, map)?,
            "parentSpanId" => self.parent_span_id = id(name, map)?,
            "flags" => self.flags = u32_member(name, map)?,
            "name" => self.name = self.term(name, map)?,
            "kind" => self.kind = enum_member(name, map)?,
            "startTimeUnixNano" => self.start_unix_nano = u64_member(name, map)?,
            "endTimeUnixNano" => self.end_unix_nano = u64_member(name, map)?,
            "attributes" => {
                let nesting = self.sink.nesting(3);
                self.attributes(Owner::Span, nesting, map)?;
            }
            "droppedAttributesCount" => self.dropped_attributes_count = u32_member(name, map)?,
            "events" => map.next_value_seed(ArraySeed(&mut Events(self)))?,
            "droppedEventsCount" => self.dropped_events_count = u32_member(name, map)?,
            "links" => map.next_value_seed(ArraySeed(&mut Links(self)))?,
            "droppedLinksCount" => self.dropped_links_count = u32_member(name, map)?,
            _ => drop(map.next_value_seed(ObjectSeed(&mut Status(self)))?),
        }
        Ok(())
    }
}

struct Status<'p, 't, 's>(&'p mut Span<'t, 's>);

impl<'de> Object<'de> for Status<'_, '_, '_> {
    const NAME: &'static str = "a status";
    const MEMBERS: &'static [&'static str] = &["message", "code"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "message" => self.0.status_message = self.0.term(name, map)?,
            _ => self.0.status_code = enum_member(name, map)?,
        }
        Ok(())
    }
}

/// An array of attributes that go to the batch.
struct Attributes<'p, 't, 's> {
    span: &'p mut Span<'t, 's>,
    owner: Owner,
    nesting: Nesting,
    count: usize,
}

impl<'de> Array<'de> for Attributes<'_, '_, '_> {
    const NAME: &'static str = "attributes";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        let sink = &mut *self.span.sink;
        sink.budget.attribute()?;
        let (key, value) = read_key_value(&mut sink.budget, self.nesting, element)?;
        self.count += 1;
        if sink.budget.elements() > sink.budget.limits.value_elements_max {
            self.span.too_many_elements = true;
            return Ok(());
        }
        let limit = sink.budget.limits.attribute_value_bytes_max;
        let bytes = match &value {
            Parsed::Empty => 0,
            Parsed::Text(text) => text.len(),
            Parsed::Other(_) if limit == usize::MAX => 0,
            Parsed::Other(value) => value_bytes(value),
        };
        if bytes > limit {
            self.span.value_too_large = true;
            return Ok(());
        }
        // From a `str`, so it cannot fail.
        let key = sink.builder.key(key.as_bytes()).map_err(D::Error::custom)?;
        match value {
            Parsed::Empty => sink.builder.push_empty(self.owner, key),
            Parsed::Text(text) => sink.builder.push_text(self.owner, key, &text),
            Parsed::Other(Value::Int(value)) => sink.builder.push_int(self.owner, key, value),
            Parsed::Other(value) => sink.builder.push_value(self.owner, key, value),
        }
        Ok(())
    }
}

struct Events<'p, 't, 's>(&'p mut Span<'t, 's>);

impl<'de> Array<'de> for Events<'_, '_, '_> {
    const NAME: &'static str = "events";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        self.0.sink.budget.item()?;
        self.0.events += 1;
        let mut event = Event { span: self.0, time_unix_nano: 0, name: TermId::EMPTY, dropped: 0 };
        object_element(&mut event, element)?;
        let Event { span, time_unix_nano, name, dropped } = event;
        span.sink.builder.finish_event(time_unix_nano, name, dropped);
        Ok(())
    }
}

struct Event<'p, 't, 's> {
    span: &'p mut Span<'t, 's>,
    time_unix_nano: u64,
    name: TermId,
    dropped: u32,
}

impl<'de> Object<'de> for Event<'_, '_, '_> {
    const NAME: &'static str = "an event";
    const MEMBERS: &'static [&'static str] =
        &["timeUnixNano", "name", "attributes", "droppedAttributesCount"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "timeUnixNano" => self.time_unix_nano = u64_member(name, map)?,
            "name" => self.name = self.span.term(name, map)?,
            "attributes" => {
                let nesting = self.span.sink.nesting(4);
                self.span.attributes(Owner::Event, nesting, map)?;
            }
            _ => self.dropped = u32_member(name, map)?,
        }
        Ok(())
    }
}

struct Links<'p, 't, 's>(&'p mut Span<'t, 's>);

impl<'de> Array<'de> for Links<'_, '_, '_> {
    const NAME: &'static str = "links";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        self.0.sink.budget.item()?;
        self.0.links += 1;
        let mut link = Link {
            span: self.0,
            trace_id: Some(Vec::new()),
            span_id: Some(Vec::new()),
            trace_state: TermId::EMPTY,
            flags: 0,
            dropped: 0,
        };
        object_element(&mut link, element)?;
        let Link { span, trace_id, span_id, trace_state, flags, dropped } = link;
        // A link keeps an ID of any length, but there must be bytes to keep.
        span.link_id_invalid |= trace_id.is_none() || span_id.is_none();
        let (trace_id, span_id) = (trace_id.unwrap_or_default(), span_id.unwrap_or_default());
        span.sink.builder.finish_link(&trace_id, &span_id, trace_state, flags, dropped);
        Ok(())
    }
}

struct Link<'p, 't, 's> {
    span: &'p mut Span<'t, 's>,
    trace_id: Id,
    span_id: Id,
    trace_state: TermId,
    flags: u32,
    dropped: u32,
}

impl<'de> Object<'de> for Link<'_, '_, '_> {
    const NAME: &'static str = "a link";
    const MEMBERS: &'static [&'static str] =
        &["traceId", "spanId", "traceState", "attributes", "droppedAttributesCount", "flags"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "traceId" => self.trace_id = id(name, map)?,
            "spanId" => self.span_id = id(name, map)?,
            "traceState" => self.trace_state = self.span.term(name, map)?,
            "attributes" => {
                let nesting = self.span.sink.nesting(4);
                self.span.attributes(Owner::Link, nesting, map)?;
            }
            "droppedAttributesCount" => self.dropped = u32_member(name, map)?,
            _ => self.flags = u32_member(name, map)?,
        }
        Ok(())
    }
}
