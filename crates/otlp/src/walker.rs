//! Protobuf bytes of an `ExportTraceServiceRequest` (the same as `TracesData`) straight into a batch.
//!
//! It reads what prost would read of the same bytes, whatever they are: fields in any order, the last
//! of repeated scalars, repeated messages merged, unknown fields skipped, and the same inputs refused.
//! Beyond that it refuses only what [`DecodeLimits`] names. Resources and scopes are looked up by their
//! bytes before they are parsed.

mod attributes;
mod owners;
mod prescan;
mod span;
mod value;

use tracelake_model::{Resource, Scope, SpanBatchBuilder};

use crate::field::{resource_spans, scope_spans, traces};
use crate::memo::Memo;
use crate::wire::{Fault, Nesting, RECURSION_MAX, Reader, TextField};
use crate::{DecodeLimits, Rejections};
use owners::{Fragments, Shared};
pub(crate) use prescan::prescan;

/// Walks one request.
pub(crate) struct Walker<'w> {
    pub(crate) builder: &'w mut SpanBatchBuilder,
    pub(crate) resources: &'w mut Memo<Resource>,
    pub(crate) scopes: &'w mut Memo<Scope>,
    pub(crate) limits: &'w DecodeLimits,
    pub(crate) rejections: Rejections,
    /// Spans of the scopes begun so far, all of them.
    spans: usize,
    /// Whether the span being read has a value with too many elements, and whether it has one with too
    /// many bytes.
    too_many_elements: bool,
    value_too_large: bool,
}

impl<'w> Walker<'w> {
    pub(crate) fn new(
        builder: &'w mut SpanBatchBuilder,
        resources: &'w mut Memo<Resource>,
        scopes: &'w mut Memo<Scope>,
        limits: &'w DecodeLimits,
    ) -> Self {
        let rejections = Rejections::default();
        Self {
            builder,
            resources,
            scopes,
            limits,
            rejections,
            spans: 0,
            too_many_elements: false,
            value_too_large: false,
        }
    }

    /// The whole body.
    pub(crate) fn traces(&mut self, body: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::new(body);
        while let Some(key) = reader.key()? {
            match key {
                traces::RESOURCE_SPANS => self.resource_spans(reader.bytes()?)?,
                _ => reader.unknown(key, 1, RECURSION_MAX)?,
            }
        }
        Ok(())
    }

    /// The resource may come after its spans, so the fields are gone over twice; stepping over a
    /// length costs nothing beside reading what is in it.
    fn resource_spans(&mut self, message: &[u8]) -> Result<(), Fault> {
        const RECURSION: u32 = RECURSION_MAX - 1;
        let mut fragments = Fragments::default();
        let mut schema_url = TextField::default();
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            match key {
                resource_spans::RESOURCE => fragments.push(reader.bytes()?),
                resource_spans::SCOPE_SPANS => drop(reader.bytes()?),
                resource_spans::SCHEMA_URL => schema_url.set(reader.bytes()?)?,
                _ => reader.unknown(key, 3, RECURSION)?,
            }
        }
        let mut resource = self.find_resource(fragments, message, schema_url)?;
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            match key {
                resource_spans::SCOPE_SPANS => self.scope_spans(reader.bytes()?, &mut resource)?,
                _ => reader.skip(key, RECURSION)?,
            }
        }
        Ok(())
    }

    fn scope_spans(&mut self, message: &[u8], resource: &mut Shared<Resource>) -> Result<(), Fault> {
        const RECURSION: u32 = RECURSION_MAX - 2;
        let mut fragments = Fragments::default();
        let mut schema_url = TextField::default();
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            match key {
                scope_spans::SCOPE => fragments.push(reader.bytes()?),
                scope_spans::SPANS => {
                    reader.bytes()?;
                    self.spans += 1;
                }
                scope_spans::SCHEMA_URL => schema_url.set(reader.bytes()?)?,
                _ => reader.unknown(key, 3, RECURSION)?,
            }
        }
        if self.spans > self.limits.spans_max {
            return Err(Fault::TooManySpans);
        }
        let mut scope = self.find_scope(fragments, message, schema_url)?;
        let mut reader = Reader::new(message);
        while let Some(key) = reader.key()? {
            match key {
                scope_spans::SPANS => self.span(reader.bytes()?, resource, &mut scope)?,
                _ => reader.skip(key, RECURSION)?,
            }
        }
        Ok(())
    }

    /// For what lies in a message that lies inside `messages` others.
    fn nesting(&self, messages: u32) -> Nesting {
        Nesting::new(self.limits.value_depth_max, messages)
    }
}
