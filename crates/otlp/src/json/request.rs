//! A request in JSON, read into the builder as it is parsed.
//!
//! A resource may come after its spans: spans take the number that it will have, and it is handed to
//! the builder when its object ends. What speaks against a resource is then known too late for spans
//! that are in the batch already; their rows are noted, and the decoder leaves them out.

use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess};
use tracelake_model::{Resource, Scope, SpanBatchBuilder};

use super::parts::{ResourceObject, ScopeObject, boxed_text};
use super::read::{Array, ArraySeed, Budget, Object, ObjectSeed, object_element, read_text};
use super::span::Span;
use crate::extent::Extent;
use crate::wire::Nesting;
use crate::{DecodeError, DecodeLimits, RejectReason, Rejections};

/// What was not kept.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(super) rejections: Rejections,
    /// Rows whose scope or resource speaks against them; a resource's after its scopes'.
    dropped: Vec<(Range<usize>, RejectReason)>,
}

impl Outcome {
    /// All rejections, and which of the batch's `rows` are among them.
    pub(crate) fn settle(mut self, rows: usize) -> (Rejections, Vec<bool>) {
        let mut dropped = Vec::new();
        // The resource's reason goes before the scope's, as in the walker.
        for (range, reason) in self.dropped.into_iter().rev() {
            dropped.resize(rows, false);
            for row in dropped.get_mut(range).unwrap_or_default() {
                if !std::mem::replace(row, true) {
                    self.rejections.add(reason);
                }
            }
        }
        (self.rejections, dropped)
    }
}

/// Reads a request into an empty builder.
pub(crate) fn read_request(
    body: &[u8],
    builder: &mut SpanBatchBuilder,
    limits: &DecodeLimits,
) -> Result<Outcome, DecodeError> {
    let text = simdutf8::basic::from_utf8(body)
        .map_err(|_| DecodeError::Json { problem: "it is not UTF-8".into() })?;
    let mut sink =
        Sink { builder, budget: Budget::new(limits), outcome: Outcome::default(), resources: 0, scopes: 0 };
    match read_text(text, ObjectSeed(&mut Traces(&mut sink))) {
        Ok(true) => Ok(sink.outcome),
        Ok(false) => Err(DecodeError::Json { problem: "expected an object, found null".into() }),
        Err(error) => Err(sink.budget.reason(&error)),
    }
}

/// Where everything goes.
pub(super) struct Sink<'s> {
    pub(super) builder: &'s mut SpanBatchBuilder,
    pub(super) budget: Budget<'s>,
    pub(super) outcome: Outcome,
    /// How many the builder has: the number of the next.
    pub(super) resources: u32,
    pub(super) scopes: u32,
}

impl Sink<'_> {
    /// For what lies in a message that lies inside `messages` others, were it protobuf.
    pub(super) fn nesting(&self, messages: u32) -> Nesting {
        Nesting::new(self.budget.limits.value_depth_max, messages)
    }

    fn drop_rows(&mut self, rows: Range<usize>, extent: Extent) {
        if let Some(reason) = extent.rejection(self.budget.limits) {
            self.outcome.dropped.push((rows, reason));
        }
    }
}

struct Traces<'t, 's>(&'t mut Sink<'s>);

impl<'de> Object<'de> for Traces<'_, '_> {
    const NAME: &'static str = "a trace request";
    const MEMBERS: &'static [&'static str] = &["resourceSpans"];

    fn member<A: MapAccess<'de>>(&mut self, _: &'static str, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(ArraySeed(self))
    }
}

impl<'de> Array<'de> for Traces<'_, '_> {
    const NAME: &'static str = "resource spans";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        let sink = &mut *self.0;
        sink.budget.item()?;
        let first_row = sink.builder.len();
        let (resource, extent, schema_url) = (Resource::default(), Extent::default(), "".into());
        let mut object = ResourceSpans { sink, resource, extent, schema_url };
        object_element(&mut object, element)?;
        let ResourceSpans { sink, mut resource, mut extent, schema_url } = object;
        let rows = first_row..sink.builder.len();
        if !rows.is_empty() {
            resource.schema_url = schema_url;
            extent.finish_resource(&resource);
            sink.drop_rows(rows, extent);
            sink.builder.resource(Arc::new(resource));
            sink.resources += 1;
        }
        Ok(())
    }
}

struct ResourceSpans<'t, 's> {
    sink: &'t mut Sink<'s>,
    resource: Resource,
    extent: Extent,
    schema_url: Box<str>,
}

impl<'de> Object<'de> for ResourceSpans<'_, '_> {
    const NAME: &'static str = "a resource spans";
    const MEMBERS: &'static [&'static str] = &["resource", "scopeSpans", "schemaUrl"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "resource" => {
                let mut object = ResourceObject {
                    nesting: self.sink.nesting(2),
                    budget: &mut self.sink.budget,
                    with_schema_url: false,
                    extent: Extent::default(),
                    resource: Resource::default(),
                };
                map.next_value_seed(ObjectSeed(&mut object))?;
                (self.resource, self.extent) = (object.resource, object.extent);
                Ok(())
            }
            "scopeSpans" => map.next_value_seed(ArraySeed(self)),
            _ => {
                self.schema_url = boxed_text(name, map)?;
                Ok(())
            }
        }
    }
}

impl<'de> Array<'de> for ResourceSpans<'_, '_> {
    const NAME: &'static str = "scope spans";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        let sink = &mut *self.sink;
        sink.budget.item()?;
        let first_row = sink.builder.len();
        let (scope, extent, schema_url) = (Scope::default(), Extent::default(), "".into());
        let mut object = ScopeSpans { sink, scope, extent, schema_url };
        object_element(&mut object, element)?;
        let ScopeSpans { sink, mut scope, mut extent, schema_url } = object;
        let rows = first_row..sink.builder.len();
        if !rows.is_empty() {
            scope.schema_url = schema_url;
            extent.finish_scope(&scope);
            sink.drop_rows(rows, extent);
            sink.builder.scope(Arc::new(scope));
            sink.scopes += 1;
        }
        Ok(())
    }
}

struct ScopeSpans<'t, 's> {
    sink: &'t mut Sink<'s>,
    scope: Scope,
    extent: Extent,
    schema_url: Box<str>,
}

impl<'de> Object<'de> for ScopeSpans<'_, '_> {
    const NAME: &'static str = "a scope spans";
    const MEMBERS: &'static [&'static str] = &["scope", "spans", "schemaUrl"];

    fn member<A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "scope" => {
                let mut object = ScopeObject {
                    nesting: self.sink.nesting(3),
                    budget: &mut self.sink.budget,
                    with_schema_url: false,
                    extent: Extent::default(),
                    scope: Scope::default(),
                };
                map.next_value_seed(ObjectSeed(&mut object))?;
                (self.scope, self.extent) = (object.scope, object.extent);
                Ok(())
            }
            "spans" => map.next_value_seed(ArraySeed(self)),
            _ => {
                self.schema_url = boxed_text(name, map)?;
                Ok(())
            }
        }
    }
}

impl<'de> Array<'de> for ScopeSpans<'_, '_> {
    const NAME: &'static str = "spans";

    fn element<D: Deserializer<'de>>(&mut self, element: D) -> Result<(), D::Error> {
        self.sink.budget.span()?;
        let mut span = Span::new(self.sink);
        object_element(&mut span, element)?;
        span.finish();
        Ok(())
    }
}
