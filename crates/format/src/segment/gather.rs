//! Rows to Arrow arrays, one slice of rows at a time. What the columns mean is in `schema`.

pub(super) mod cells;
pub(super) mod lists;

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, FixedSizeBinaryArray, PrimitiveArray};
use arrow_buffer::{Buffer, NullBufferBuilder, ScalarBuffer};
use tracelake_model::SpanView;

use self::cells::{AttributeCells, TextCells};
use self::lists::{Events, Links, Residual};
use super::columns::AttributeColumn;
use super::rows::{BatchTables, NO_SLOT, Shared};
use super::slice::{ReferenceColumns, References, RowFacts, SLICE_TEXT_BYTES_MAX, Slice, columns_error};
use crate::FormatError;

/// The columns of one slice of rows.
///
/// Attributes, events and links are appended as rows come, which were brought near. Everything else is gathered at
/// the end, one column after the other: the processor overlaps the misses of a short loop, not those of a whole
/// row's worth of code.
#[derive(Debug)]
pub(super) struct Gather<'a> {
    spans: Vec<SpanView<'a>>,
    references: References,
    generations: Vec<u64>,
    attributes: Vec<AttributeCells>,
    residual: Residual,
    events: Events,
    links: Links,
    scratch: String,
    text_bytes: usize,
}

impl<'a> Gather<'a> {
    pub(super) fn new(columns: &[AttributeColumn]) -> Self {
        Self {
            spans: Vec::new(),
            references: References::default(),
            generations: Vec::new(),
            attributes: columns.iter().map(|column| AttributeCells::new(column.kind)).collect(),
            residual: Residual::default(),
            events: Events::default(),
            links: Links::default(),
            scratch: String::new(),
            text_bytes: 0,
        }
    }

    /// Adds a row.
    #[inline]
    pub(super) fn push(
        &mut self,
        row: &RowFacts,
        span: SpanView<'a>,
        tables: &BatchTables,
    ) -> Result<(), FormatError> {
        self.references.push(row);
        self.generations.push(row.generation);
        self.push_attributes(self.spans.len(), span, tables)?;
        self.text_bytes += self.events.push(span, &mut self.scratch)?;
        self.text_bytes += self.links.push(span, &mut self.scratch)?;
        self.text_bytes += span.name().len() + span.status_message().len() + span.trace_state().len();
        self.spans.push(span);
        Ok(())
    }

    #[inline]
    fn push_attributes(
        &mut self,
        row: usize,
        span: SpanView<'_>,
        tables: &BatchTables,
    ) -> Result<(), FormatError> {
        let batch = span.batch();
        for (key, value) in span.attributes().terms() {
            let slot = tables.slots.get(key.index()).copied().unwrap_or(NO_SLOT);
            if let Some(cells) = self.attributes.get_mut(usize::from(slot))
                && let Some(bytes) = cells.set(row, value)?
            {
                self.text_bytes += bytes;
                continue;
            }
            self.text_bytes += self.residual.push(batch.terms().get(key), value, &mut self.scratch)?;
        }
        self.residual.end_row();
        Ok(())
    }
}

impl Slice for Gather<'_> {
    fn rows(&self) -> usize {
        self.spans.len()
    }

    fn is_full(&self, rows_max: usize) -> bool {
        self.spans.len() >= rows_max || self.text_bytes > SLICE_TEXT_BYTES_MAX
    }

    fn finish(&mut self, tenants: &[&str], shared: &Shared) -> Result<Vec<ArrayRef>, FormatError> {
        let spans = std::mem::take(&mut self.spans);
        let rows = spans.len();
        self.text_bytes = 0;
        let ReferenceColumns { tenant, resource, service, scope } =
            self.references.finish(tenants, shared)?;
        let mut columns: Vec<ArrayRef> = vec![
            tenant,
            Arc::new(PrimitiveArray::<UInt64Type>::from(std::mem::take(&mut self.generations))),
            identifiers::<16>(&spans, |span| Some(*span.trace_id().as_bytes()))?,
            identifiers::<8>(&spans, |span| Some(*span.span_id().as_bytes()))?,
            identifiers::<8>(&spans, |span| span.parent_span_id().map(|id| *id.as_bytes()))?,
            texts(&spans, |span| Some(span.name()))?,
            numbers::<Int32Type>(&spans, SpanView::kind),
            service,
            numbers::<TimestampNanosecondType>(&spans, |span| span.start_unix_nano() as i64),
            numbers::<Int64Type>(&spans, |span| {
                span.end_unix_nano().wrapping_sub(span.start_unix_nano()) as i64
            }),
            numbers::<Int32Type>(&spans, SpanView::status_code),
            texts(&spans, |span| Some(span.status_message()).filter(|text| !text.is_empty()))?,
            texts(&spans, |span| Some(span.trace_state()).filter(|text| !text.is_empty()))?,
            numbers::<UInt32Type>(&spans, SpanView::flags),
            numbers::<UInt32Type>(&spans, SpanView::dropped_attributes_count),
            numbers::<UInt32Type>(&spans, SpanView::dropped_events_count),
            numbers::<UInt32Type>(&spans, SpanView::dropped_links_count),
            resource,
            scope,
        ];
        columns.extend(self.attributes.iter_mut().map(|cells| cells.finish(rows)));
        columns.push(self.residual.finish()?);
        columns.push(self.events.finish()?);
        columns.push(self.links.finish()?);
        Ok(columns)
    }
}

fn numbers<'a, T: ArrowPrimitiveType>(
    spans: &[SpanView<'a>],
    number: impl Fn(&SpanView<'a>) -> T::Native,
) -> ArrayRef {
    let values: Vec<T::Native> = spans.iter().map(number).collect();
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), None))
}

fn texts<'a>(
    spans: &[SpanView<'a>],
    text: impl Fn(&SpanView<'a>) -> Option<&'a str>,
) -> Result<ArrayRef, FormatError> {
    let mut cells = TextCells::default();
    for (row, span) in spans.iter().enumerate() {
        if let Some(text) = text(span) {
            cells.set(row, text)?;
        }
    }
    Ok(cells.finish(spans.len()))
}

fn identifiers<'a, const BYTES: usize>(
    spans: &[SpanView<'a>],
    id: impl Fn(&SpanView<'a>) -> Option<[u8; BYTES]>,
) -> Result<ArrayRef, FormatError> {
    let mut bytes = Vec::with_capacity(BYTES * spans.len());
    let mut valid = NullBufferBuilder::new(spans.len());
    for span in spans {
        let id = id(span);
        valid.append(id.is_some());
        bytes.extend_from_slice(&id.unwrap_or([0; BYTES]));
    }
    let array = FixedSizeBinaryArray::try_new(BYTES as i32, Buffer::from_vec(bytes), valid.finish());
    Ok(Arc::new(array.map_err(columns_error)?))
}
