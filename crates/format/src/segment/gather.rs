//! Rows to Arrow arrays, one slice of rows at a time. What the columns mean is in `schema`.

mod cells;

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, PrimitiveBuilder, StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, Int32Array, ListArray, PrimitiveArray, StringArray,
    StructArray,
};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::Fields;
use tracelake_model::{SpanView, ValueRef};
use tracelake_otlp::json;

use self::cells::{AttributeCells, TextCells};
use super::columns::AttributeColumn;
use super::residual;
use super::rows::{BatchTables, NO_SLOT, Shared};
use super::schema;
use crate::FormatError;

/// A slice ends early at this much text, far below what offsets of 31 bits can hold.
const SLICE_TEXT_BYTES_MAX: usize = 32 << 20;

/// The columns of one slice of rows.
///
/// Attributes, events and links are appended as rows come, which were brought near. Everything else is gathered at
/// the end, one column after the other: the processor overlaps the misses of a short loop, not those of a whole
/// row's worth of code.
#[derive(Debug)]
pub(super) struct Gather<'a> {
    spans: Vec<SpanView<'a>>,
    tenants: Vec<i32>,
    generations: Vec<u64>,
    resources: Vec<u32>,
    scopes: Vec<u32>,
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
            tenants: Vec::new(),
            generations: Vec::new(),
            resources: Vec::new(),
            scopes: Vec::new(),
            attributes: columns.iter().map(|column| AttributeCells::new(column.kind)).collect(),
            residual: Residual::default(),
            events: Events::default(),
            links: Links::default(),
            scratch: String::new(),
            text_bytes: 0,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.spans.len()
    }

    /// Whether the slice should be written before more is added to it.
    pub(super) fn is_full(&self, rows_max: usize) -> bool {
        self.spans.len() >= rows_max || self.text_bytes > SLICE_TEXT_BYTES_MAX
    }

    /// Adds a row.
    #[inline]
    pub(super) fn push(
        &mut self,
        tenant: u32,
        generation: u64,
        span: SpanView<'a>,
        tables: &BatchTables,
    ) -> Result<(), FormatError> {
        let row = self.spans.len();
        self.tenants.push(tenant as i32);
        self.generations.push(generation);
        self.resources.push(tables.resources.get(span.resource_index()).copied().unwrap_or_default());
        self.scopes.push(tables.scopes.get(span.scope_index()).copied().unwrap_or_default());
        self.push_attributes(row, span, tables)?;
        self.push_events(span)?;
        self.push_links(span)?;
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
        self.residual.lists.end_row(self.residual.keys.len());
        Ok(())
    }

    fn push_events(&mut self, span: SpanView<'_>) -> Result<(), FormatError> {
        let events = &mut self.events;
        for event in span.events() {
            events.times.append_value(event.time_unix_nano());
            self.text_bytes += events.names.push(event.name())?;
            let attributes = event.attributes();
            self.text_bytes += events.attributes.push_list(attributes, &mut self.scratch)?;
            events.dropped.append_value(event.dropped_attributes_count());
        }
        events.lists.end_row(events.names.len());
        Ok(())
    }

    fn push_links(&mut self, span: SpanView<'_>) -> Result<(), FormatError> {
        let links = &mut self.links;
        for link in span.links() {
            // Bounded by the request, as `SLICE_TEXT_BYTES_MAX` ends the slice soon after.
            self.text_bytes += link.trace_id().len() + link.span_id().len();
            cells::check_room(links.trace_ids.values_slice().len(), link.trace_id().len())?;
            cells::check_room(links.span_ids.values_slice().len(), link.span_id().len())?;
            links.trace_ids.append_value(link.trace_id());
            links.span_ids.append_value(link.span_id());
            let row = links.trace_states.len();
            if link.trace_state().is_empty() {
                links.trace_states.pad_to(row + 1);
            } else {
                self.text_bytes += links.trace_states.push(link.trace_state())?;
            }
            links.flags.append_value(link.flags());
            let attributes = link.attributes();
            self.text_bytes += links.attributes.push_list(attributes, &mut self.scratch)?;
            links.dropped.append_value(link.dropped_attributes_count());
        }
        links.lists.end_row(links.trace_states.len());
        Ok(())
    }

    /// The slice's arrays in the order of the schema; the gather is empty again.
    pub(super) fn finish(&mut self, tenants: &[&str], shared: &Shared) -> Result<Vec<ArrayRef>, FormatError> {
        let spans = std::mem::take(&mut self.spans);
        let rows = spans.len();
        self.text_bytes = 0;
        let resources = std::mem::take(&mut self.resources);
        let local = Local::of(&resources, shared.resources.texts.len());
        let text_of = |place: u32| shared.resources.texts.get(place as usize).map(String::as_str);
        let resource_texts = local.array(text_of)?;
        let services = local
            .array(|place| shared.services.get(place as usize).and_then(|service| service.as_deref()))?;
        let scopes = std::mem::take(&mut self.scopes);
        let local_scopes = Local::of(&scopes, shared.scopes.texts.len());
        let scope_texts =
            local_scopes.array(|place| shared.scopes.texts.get(place as usize).map(String::as_str))?;
        let tenant_keys = Int32Array::from(std::mem::take(&mut self.tenants));
        let tenant_names: ArrayRef = Arc::new(StringArray::from_iter_values(tenants));

        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(DictionaryArray::try_new(tenant_keys, tenant_names).map_err(arrow)?),
            Arc::new(PrimitiveArray::<UInt64Type>::from(std::mem::take(&mut self.generations))),
            identifiers::<16>(&spans, |span| Some(*span.trace_id().as_bytes()))?,
            identifiers::<8>(&spans, |span| Some(*span.span_id().as_bytes()))?,
            identifiers::<8>(&spans, |span| span.parent_span_id().map(|id| *id.as_bytes()))?,
            texts(&spans, |span| Some(span.name()))?,
            numbers::<Int32Type>(&spans, SpanView::kind),
            services,
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
            resource_texts,
            scope_texts,
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
    Ok(Arc::new(array.map_err(arrow)?))
}

fn arrow(source: arrow_schema::ArrowError) -> FormatError {
    FormatError::Parquet { what: "building a segment's columns", source: source.into() }
}

/// The few of a segment's texts that a slice refers to.
struct Local {
    keys: Vec<i32>,
    places: Vec<u32>,
}

impl Local {
    fn of(places_of_rows: &[u32], texts: usize) -> Self {
        let mut local = vec![-1i32; texts];
        let mut places = Vec::new();
        let keys = places_of_rows
            .iter()
            .map(|place| match local.get_mut(*place as usize) {
                Some(key) if *key >= 0 => *key,
                Some(key) => {
                    *key = places.len() as i32;
                    places.push(*place);
                    *key
                }
                None => 0,
            })
            .collect();
        Self { keys, places }
    }

    fn array<'t>(&self, text: impl Fn(u32) -> Option<&'t str>) -> Result<ArrayRef, FormatError> {
        let mut values = StringBuilder::new();
        for place in &self.places {
            let text = text(*place);
            cells::check_room(values.values_slice().len(), text.map_or(0, str::len))?;
            values.append_option(text);
        }
        let keys = Int32Array::from(self.keys.clone());
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(values.finish())).map_err(arrow)?))
    }
}

/// Which elements of a list column are each row's; a row without any is null.
#[derive(Debug)]
struct Lists {
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
        let elements = StructArray::try_new(fields.clone(), columns, None).map_err(arrow)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let list = ListArray::try_new(
            Arc::new(schema::element(fields)),
            offsets,
            Arc::new(elements),
            valid.finish(),
        );
        Ok(Arc::new(list.map_err(arrow)?))
    }
}

#[derive(Debug, Default)]
struct Residual {
    lists: Lists,
    keys: TextCells,
    types: TextCells,
    values: TextCells,
}

impl Residual {
    fn push(&mut self, key: &str, value: ValueRef<'_>, scratch: &mut String) -> Result<usize, FormatError> {
        self.types.push(residual::type_name(&value))?;
        let bytes = match value {
            ValueRef::Text(text) => self.values.push(text)?,
            value => {
                scratch.clear();
                residual::write_value(scratch, value);
                self.values.push(scratch)?
            }
        };
        Ok(bytes + self.keys.push(key)?)
    }

    fn finish(&mut self) -> Result<ArrayRef, FormatError> {
        let len = self.keys.len();
        let columns = vec![self.keys.finish(len), self.types.finish(len), self.values.finish(len)];
        self.lists.finish(schema::residual_fields(), columns)
    }
}

#[derive(Debug, Default)]
struct Events {
    lists: Lists,
    times: UInt64Builder,
    names: TextCells,
    attributes: TextCells,
    dropped: UInt32Builder,
}

impl Events {
    fn finish(&mut self) -> Result<ArrayRef, FormatError> {
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
struct Links {
    lists: Lists,
    trace_ids: BinaryBuilder,
    span_ids: BinaryBuilder,
    trace_states: TextCells,
    flags: PrimitiveBuilder<UInt32Type>,
    attributes: TextCells,
    dropped: UInt32Builder,
}

impl Links {
    fn finish(&mut self) -> Result<ArrayRef, FormatError> {
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
