//! Columns of lists: attributes without a column of their own, events, links.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, PrimitiveBuilder, UInt32Builder, UInt64Builder};
use arrow_array::types::UInt32Type;
use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::Fields;
use tracelake_model::{SpanView, ValueRef};
use tracelake_otlp::json;

use super::cells::TextCells;
use crate::FormatError;
use crate::segment::slice::{check_room, columns_error};
use crate::segment::{residual, schema};

/// Which elements of a list column are each row's; a row without any is null.
#[derive(Debug)]
pub(in crate::segment) struct Lists {
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
}

impl Default for Lists {
    fn default() -> Self {
        Self { offsets: vec![0], valid: NullBufferBuilder::new(0) }
    }
}

impl Lists {
    /// The row ends before element `elements`. There are far fewer than 2³¹ in a slice: each is at
    /// least a byte of a request.
    #[inline]
    fn end_row(&mut self, elements: usize) {
        let end = i32::try_from(elements).unwrap_or(i32::MAX);
        self.valid.append(self.offsets.last() != Some(&end));
        self.offsets.push(end);
    }

    fn finish(&mut self, fields: Fields, columns: Vec<ArrayRef>) -> Result<ArrayRef, FormatError> {
        let Self { offsets, mut valid } = std::mem::take(self);
        let elements = StructArray::try_new(fields.clone(), columns, None).map_err(columns_error)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let list = ListArray::try_new(
            Arc::new(schema::element(fields)),
            offsets,
            Arc::new(elements),
            valid.finish(),
        );
        Ok(Arc::new(list.map_err(columns_error)?))
    }
}

#[derive(Debug, Default)]
pub(in crate::segment) struct Residual {
    lists: Lists,
    keys: TextCells,
    types: TextCells,
    values: TextCells,
}

impl Residual {
    /// Adds an attribute of the row, and returns the bytes of text added.
    pub(in crate::segment) fn push(
        &mut self,
        key: &str,
        value: ValueRef<'_>,
        scratch: &mut String,
    ) -> Result<usize, FormatError> {
        let kind = residual::type_name(&value);
        if let ValueRef::Text(text) = value {
            return self.push_text(key, kind, text);
        }
        scratch.clear();
        residual::write_value(scratch, value);
        self.push_text(key, kind, scratch)
    }

    /// The same of a value that is written already.
    pub(in crate::segment) fn push_text(
        &mut self,
        key: &str,
        kind: &str,
        value: &str,
    ) -> Result<usize, FormatError> {
        self.types.push(kind)?;
        Ok(self.keys.push(key)? + self.values.push(value)?)
    }

    #[inline]
    pub(in crate::segment) fn end_row(&mut self) {
        self.lists.end_row(self.keys.len());
    }

    pub(in crate::segment) fn finish(&mut self) -> Result<ArrayRef, FormatError> {
        let len = self.keys.len();
        let columns = vec![self.keys.finish(len), self.types.finish(len), self.values.finish(len)];
        self.lists.finish(schema::residual_fields(), columns)
    }
}

#[derive(Debug, Default)]
pub(super) struct Events {
    lists: Lists,
    times: UInt64Builder,
    names: TextCells,
    attributes: TextCells,
    dropped: UInt32Builder,
}

impl Events {
    /// Adds a row, and returns the bytes of text added.
    pub(super) fn push(&mut self, span: SpanView<'_>, scratch: &mut String) -> Result<usize, FormatError> {
        let mut bytes = 0;
        for event in span.events() {
            self.times.append_value(event.time_unix_nano());
            bytes += self.names.push(event.name())?;
            bytes += self.attributes.push_list(event.attributes(), scratch)?;
            self.dropped.append_value(event.dropped_attributes_count());
        }
        self.lists.end_row(self.names.len());
        Ok(bytes)
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, FormatError> {
        let len = self.names.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.times.finish()),
            self.names.finish(len),
            self.attributes.finish(len),
            Arc::new(self.dropped.finish()),
        ];
        self.lists.finish(schema::event_fields(), columns)
    }
}

#[derive(Debug, Default)]
pub(super) struct Links {
    lists: Lists,
    trace_ids: BinaryBuilder,
    span_ids: BinaryBuilder,
    trace_states: TextCells,
    flags: PrimitiveBuilder<UInt32Type>,
    attributes: TextCells,
    dropped: UInt32Builder,
}

impl Links {
    /// Adds a row, and returns the bytes of text added.
    pub(super) fn push(&mut self, span: SpanView<'_>, scratch: &mut String) -> Result<usize, FormatError> {
        let mut bytes = 0;
        for link in span.links() {
            // Bounded by the request, as much text ends the slice soon after.
            bytes += link.trace_id().len() + link.span_id().len();
            check_room(self.trace_ids.values_slice().len(), link.trace_id().len())?;
            check_room(self.span_ids.values_slice().len(), link.span_id().len())?;
            self.trace_ids.append_value(link.trace_id());
            self.span_ids.append_value(link.span_id());
            let row = self.trace_states.len();
            if link.trace_state().is_empty() {
                self.trace_states.pad_to(row + 1);
            } else {
                bytes += self.trace_states.push(link.trace_state())?;
            }
            self.flags.append_value(link.flags());
            bytes += self.attributes.push_list(link.attributes(), scratch)?;
            self.dropped.append_value(link.dropped_attributes_count());
        }
        self.lists.end_row(self.trace_states.len());
        Ok(bytes)
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, FormatError> {
        let len = self.trace_states.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.trace_ids.finish()),
            Arc::new(self.span_ids.finish()),
            self.trace_states.finish(len),
            Arc::new(self.flags.finish()),
            self.attributes.finish(len),
            Arc::new(self.dropped.finish()),
        ];
        self.lists.finish(schema::link_fields(), columns)
    }
}

impl TextCells {
    /// Attributes as an OTLP JSON list; null without any.
    fn push_list<'v>(
        &mut self,
        attributes: impl ExactSizeIterator<Item = (&'v str, ValueRef<'v>)>,
        scratch: &mut String,
    ) -> Result<usize, FormatError> {
        if attributes.len() == 0 {
            self.pad_to(self.len() + 1);
            return Ok(0);
        }
        scratch.clear();
        json::write_attributes(scratch, attributes);
        self.push(scratch)
    }
}
