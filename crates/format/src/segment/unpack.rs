//! Arrow arrays of a segment back to spans.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, ListArray,
    PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use tracelake_model::{Owner, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, TermId, TraceId, ValueRef};
use tracelake_otlp::json;

use super::columns::{AttributeColumn, AttributeType};
use super::pages::ReadCache;
use super::{WHAT, residual, schema};
use crate::FormatError;

/// Collects spans of any number of record batches.
#[derive(Debug)]
pub(super) struct Unpacker<'s> {
    attribute_columns: &'s [AttributeColumn],
    builder: SpanBatchBuilder,
    /// By OTLP JSON.
    resources: HashMap<String, u32>,
    scopes: HashMap<String, u32>,
    cache: Option<Arc<dyn ReadCache>>,
    /// Of each row, where they are read.
    generations: Vec<u64>,
}

impl<'s> Unpacker<'s> {
    pub(super) fn new(attribute_columns: &'s [AttributeColumn], cache: Option<Arc<dyn ReadCache>>) -> Self {
        Self {
            attribute_columns,
            cache,
            builder: SpanBatchBuilder::new(),
            resources: HashMap::new(),
            scopes: HashMap::new(),
            generations: Vec::new(),
        }
    }

    /// What the spans so far take.
    pub(super) fn content_bytes(&self) -> usize {
        self.builder.content_bytes()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// The spans, and their generations where they were read.
    pub(super) fn finish(mut self) -> (SpanBatch, Vec<u64>) {
        (self.builder.finish(), self.generations)
    }

    /// Adds the batch's rows; `constants` are the numbers of columns that are not in it.
    pub(super) fn push(&mut self, batch: &RecordBatch, constants: &[(&str, i32)]) -> Result<(), FormatError> {
        let columns = Columns::of(batch, constants)?;
        let attributes = self.attribute_cells(batch)?;
        let mut resources = Places::of(batch, schema::RESOURCE)?;
        let mut scopes = Places::of(batch, schema::SCOPE)?;
        if let Some(generations) = optional::<PrimitiveArray<UInt64Type>>(batch, schema::GENERATION)? {
            self.generations.extend_from_slice(generations.values());
        }
        for row in 0..batch.num_rows() {
            for (key, cells) in &attributes {
                push_cell(&mut self.builder, *key, cells, row);
            }
            if let Some(residual) = &columns.residual {
                residual.push(&mut self.builder, row)?;
            }
            if let Some(events) = &columns.events {
                events.push(&mut self.builder, row)?;
            }
            if let Some(links) = &columns.links {
                links.push(&mut self.builder, row)?;
            }
            let resource = resources.place(row, |text| self.resource(text))?;
            let scope = scopes.place(row, |text| self.scope(text))?;
            let scalars = columns.scalars(&mut self.builder, row, resource, scope)?;
            self.builder.finish_span(scalars);
        }
        Ok(())
    }

    fn attribute_cells<'b>(
        &mut self,
        batch: &'b RecordBatch,
    ) -> Result<Vec<(TermId, Cells<'b>)>, FormatError> {
        let schema = batch.schema_ref();
        let mut cells = Vec::new();
        for column in self.attribute_columns {
            let name = schema::attribute_field_name(&column.key);
            let Some((index, _)) = schema.column_with_name(&name) else { continue };
            let array = batch.column(index);
            if array.null_count() < array.len() {
                cells.push((self.builder.known_term(&column.key), Cells::of(array, column.kind)?));
            }
        }
        Ok(cells)
    }

    fn resource(&mut self, text: &str) -> Result<u32, FormatError> {
        if let Some(index) = self.resources.get(text) {
            return Ok(*index);
        }
        // Parsing is a seventh of what a lookup takes.
        let resource = match self.cache.as_ref().and_then(|cache| cache.resource(text)) {
            Some(resource) => resource,
            None => {
                let resource = json::parse_resource(text).map_err(|error| damaged(error.to_string()))?;
                let resource = Arc::new(resource);
                if let Some(cache) = &self.cache {
                    cache.insert_resource(text, &resource);
                }
                resource
            }
        };
        let index = self.builder.resource(resource);
        self.resources.insert(text.to_owned(), index);
        Ok(index)
    }

    fn scope(&mut self, text: &str) -> Result<u32, FormatError> {
        if let Some(index) = self.scopes.get(text) {
            return Ok(*index);
        }
        let scope = json::parse_scope(text).map_err(|error| damaged(error.to_string()))?;
        let index = self.builder.scope(Arc::new(scope));
        self.scopes.insert(text.to_owned(), index);
        Ok(index)
    }
}

pub(super) fn damaged(detail: impl Into<String>) -> FormatError {
    FormatError::damaged(WHAT, detail)
}

pub(super) fn wrong_type() -> FormatError {
    damaged("a column is not of its type")
}

/// A column that may have been left unread, because it has nothing but nulls in these rows.
pub(super) fn optional<'b, A: Array + 'static>(
    batch: &'b RecordBatch,
    name: &str,
) -> Result<Option<&'b A>, FormatError> {
    match batch.column_by_name(name) {
        None => Ok(None),
        Some(column) => column.as_any().downcast_ref().map(Some).ok_or_else(wrong_type),
    }
}

/// A column that every row has a value of.
pub(super) fn required<'b, A: Array + 'static>(
    batch: &'b RecordBatch,
    name: &str,
) -> Result<&'b A, FormatError> {
    optional::<A>(batch, name)?.filter(|column| column.null_count() == 0).ok_or_else(wrong_type)
}

fn text_at(texts: Option<&StringArray>, row: usize) -> &str {
    texts.filter(|texts| texts.is_valid(row)).map_or("", |texts| texts.value(row))
}

/// A column of 32-bit numbers, which may be one and the same.
enum Numbers<'b, T: ArrowPrimitiveType> {
    Same(i32),
    Column(&'b PrimitiveArray<T>),
}

impl<'b, T: ArrowPrimitiveType> Numbers<'b, T> {
    fn of(batch: &'b RecordBatch, constants: &[(&str, i32)], name: &str) -> Result<Self, FormatError> {
        match constants.iter().find(|(constant, _)| *constant == name) {
            Some((_, number)) => Ok(Self::Same(*number)),
            None => required(batch, name).map(Self::Column),
        }
    }

    /// `extend` is how Parquet's 32 bits become the type.
    #[inline]
    fn value(&self, row: usize, extend: impl Fn(i32) -> T::Native) -> T::Native {
        match self {
            Self::Same(number) => extend(*number),
            Self::Column(column) => column.value(row),
        }
    }
}

struct Columns<'b> {
    trace_ids: &'b FixedSizeBinaryArray,
    span_ids: &'b FixedSizeBinaryArray,
    parent_span_ids: Option<&'b FixedSizeBinaryArray>,
    names: &'b StringArray,
    kinds: Numbers<'b, Int32Type>,
    starts: &'b PrimitiveArray<TimestampNanosecondType>,
    durations: &'b PrimitiveArray<Int64Type>,
    status_codes: Numbers<'b, Int32Type>,
    status_messages: Option<&'b StringArray>,
    trace_states: Option<&'b StringArray>,
    flags: Numbers<'b, UInt32Type>,
    dropped_attributes: Numbers<'b, UInt32Type>,
    dropped_events: Numbers<'b, UInt32Type>,
    dropped_links: Numbers<'b, UInt32Type>,
    residual: Option<Residual<'b>>,
    events: Option<Events<'b>>,
    links: Option<Links<'b>>,
}

impl<'b> Columns<'b> {
    fn of(batch: &'b RecordBatch, constants: &[(&str, i32)]) -> Result<Self, FormatError> {
        Ok(Self {
            trace_ids: required(batch, schema::TRACE_ID)?,
            span_ids: required(batch, schema::SPAN_ID)?,
            parent_span_ids: optional(batch, schema::PARENT_SPAN_ID)?,
            names: required(batch, schema::NAME)?,
            kinds: Numbers::of(batch, constants, schema::KIND)?,
            starts: required(batch, schema::START_TIME)?,
            durations: required(batch, schema::DURATION_NANO)?,
            status_codes: Numbers::of(batch, constants, schema::STATUS_CODE)?,
            status_messages: optional(batch, schema::STATUS_MESSAGE)?,
            trace_states: optional(batch, schema::TRACE_STATE)?,
            flags: Numbers::of(batch, constants, schema::FLAGS)?,
            dropped_attributes: Numbers::of(batch, constants, schema::DROPPED_ATTRIBUTES)?,
            dropped_events: Numbers::of(batch, constants, schema::DROPPED_EVENTS)?,
            dropped_links: Numbers::of(batch, constants, schema::DROPPED_LINKS)?,
            residual: List::of(batch, schema::ATTRIBUTES)?.map(Residual::of).transpose()?,
            events: List::of(batch, schema::EVENTS)?.map(Events::of).transpose()?,
            links: List::of(batch, schema::LINKS)?.map(Links::of).transpose()?,
        })
    }

    fn scalars(
        &self,
        builder: &mut SpanBatchBuilder,
        row: usize,
        resource: u32,
        scope: u32,
    ) -> Result<SpanScalars, FormatError> {
        let zero = || damaged("an identifier is zero");
        let parent = self.parent_span_ids.filter(|ids| ids.is_valid(row));
        let start = self.starts.value(row);
        let end = start.wrapping_add(self.durations.value(row));
        Ok(SpanScalars {
            trace_id: TraceId::from_bytes(self.trace_ids.value(row)).ok_or_else(zero)?,
            span_id: SpanId::from_bytes(self.span_ids.value(row)).ok_or_else(zero)?,
            parent_span_id: parent
                .map(|ids| SpanId::from_bytes(ids.value(row)).ok_or_else(zero))
                .transpose()?,
            start_unix_nano: start as u64,
            end_unix_nano: end as u64,
            kind: self.kinds.value(row, |number| number),
            status_code: self.status_codes.value(row, |number| number),
            flags: self.flags.value(row, |number| number as u32),
            dropped_attributes_count: self.dropped_attributes.value(row, |number| number as u32),
            dropped_events_count: self.dropped_events.value(row, |number| number as u32),
            dropped_links_count: self.dropped_links.value(row, |number| number as u32),
            name: builder.known_term(self.names.value(row)),
            trace_state: builder.known_term(text_at(self.trace_states, row)),
            status_message: builder.known_term(text_at(self.status_messages, row)),
            resource,
            scope,
        })
    }
}

/// A dictionary column, and where the builder has each of its texts that was asked for.
struct Places<'b> {
    keys: &'b PrimitiveArray<Int32Type>,
    texts: &'b StringArray,
    places: Vec<Option<u32>>,
}

impl<'b> Places<'b> {
    fn of(batch: &'b RecordBatch, name: &str) -> Result<Self, FormatError> {
        let column = required::<DictionaryArray<Int32Type>>(batch, name)?;
        let texts = column.values().as_string_opt().ok_or_else(wrong_type)?;
        Ok(Self { keys: column.keys(), texts, places: vec![None; texts.len()] })
    }

    fn place(
        &mut self,
        row: usize,
        parse: impl FnOnce(&str) -> Result<u32, FormatError>,
    ) -> Result<u32, FormatError> {
        let key = self.keys.value(row) as usize;
        let place = self.places.get_mut(key).filter(|_| self.texts.is_valid(key)).ok_or_else(wrong_type)?;
        match place {
            Some(place) => Ok(*place),
            None => Ok(*place.insert(parse(self.texts.value(key))?)),
        }
    }
}

pub(super) enum Cells<'b> {
    Text(&'b StringArray),
    Int(&'b PrimitiveArray<Int64Type>),
    Double(&'b PrimitiveArray<Float64Type>),
    Bool(&'b BooleanArray),
}

impl<'b> Cells<'b> {
    pub(super) fn of(array: &'b ArrayRef, kind: AttributeType) -> Result<Self, FormatError> {
        let cells = match kind {
            AttributeType::String => array.as_string_opt().map(Self::Text),
            AttributeType::Int => array.as_primitive_opt().map(Self::Int),
            AttributeType::Double => array.as_primitive_opt().map(Self::Double),
            AttributeType::Bool => array.as_boolean_opt().map(Self::Bool),
        };
        cells.ok_or_else(wrong_type)
    }

    /// The row's value, if it has one.
    pub(super) fn value(&self, row: usize) -> Option<ValueRef<'b>> {
        match self {
            Self::Text(texts) => texts.is_valid(row).then(|| ValueRef::Text(texts.value(row))),
            Self::Int(values) => values.is_valid(row).then(|| ValueRef::Int(values.value(row))),
            Self::Double(values) => values.is_valid(row).then(|| ValueRef::Double(values.value(row))),
            Self::Bool(values) => values.is_valid(row).then(|| ValueRef::Bool(values.value(row))),
        }
    }
}

/// Not by way of a value: equal texts of neighbours share a place, which [`SpanBatchBuilder::push_text`] sees to.
#[inline]
fn push_cell(builder: &mut SpanBatchBuilder, key: TermId, cells: &Cells<'_>, row: usize) {
    match cells {
        Cells::Text(texts) if texts.is_valid(row) => builder.push_text(Owner::Span, key, texts.value(row)),
        Cells::Int(values) if values.is_valid(row) => builder.push_int(Owner::Span, key, values.value(row)),
        Cells::Double(values) if values.is_valid(row) => {
            builder.push_double(Owner::Span, key, values.value(row));
        }
        Cells::Bool(values) if values.is_valid(row) => builder.push_bool(Owner::Span, key, values.value(row)),
        _ => {}
    }
}

/// A list column: elements of all rows, and which are whose.
pub(super) struct List<'b> {
    rows: &'b ListArray,
    elements: &'b StructArray,
}

impl<'b> List<'b> {
    pub(super) fn of(batch: &'b RecordBatch, name: &str) -> Result<Option<Self>, FormatError> {
        optional::<ListArray>(batch, name)?.map(Self::of_rows).transpose()
    }

    pub(super) fn of_array(array: &'b ArrayRef) -> Result<Self, FormatError> {
        Self::of_rows(array.as_list_opt().ok_or_else(wrong_type)?)
    }

    fn of_rows(rows: &'b ListArray) -> Result<Self, FormatError> {
        Ok(Self { rows, elements: rows.values().as_struct_opt().ok_or_else(wrong_type)? })
    }

    pub(super) fn field<A: Array + 'static>(&self, name: &str) -> Result<&'b A, FormatError> {
        let column = self.elements.column_by_name(name).ok_or_else(wrong_type)?;
        column.as_any().downcast_ref().ok_or_else(wrong_type)
    }

    fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Result<&'b PrimitiveArray<T>, FormatError> {
        self.field(name)
    }

    pub(super) fn elements_of(&self, row: usize) -> std::ops::Range<usize> {
        if self.rows.is_null(row) {
            return 0..0;
        }
        let offsets = self.rows.value_offsets();
        let at = |row: usize| offsets.get(row).map_or(0, |offset| *offset as usize);
        at(row)..at(row + 1)
    }
}

pub(super) struct Residual<'b> {
    pub(super) list: List<'b>,
    pub(super) keys: &'b StringArray,
    pub(super) types: &'b StringArray,
    pub(super) values: &'b StringArray,
}

impl<'b> Residual<'b> {
    pub(super) fn of(list: List<'b>) -> Result<Self, FormatError> {
        Ok(Self { keys: list.field("key")?, types: list.field("type")?, values: list.field("value")?, list })
    }

    fn push(&self, builder: &mut SpanBatchBuilder, row: usize) -> Result<(), FormatError> {
        for element in self.list.elements_of(row) {
            let key = builder.known_term(self.keys.value(element));
            let text = self.values.value(element);
            match self.types.value(element) {
                "string" => builder.push_text(Owner::Span, key, text),
                kind => builder.push_value(Owner::Span, key, residual::parse_value(kind, text)?),
            }
        }
        Ok(())
    }
}

struct Events<'b> {
    list: List<'b>,
    times: &'b PrimitiveArray<UInt64Type>,
    names: &'b StringArray,
    attributes: &'b StringArray,
    dropped: &'b PrimitiveArray<UInt32Type>,
}

impl<'b> Events<'b> {
    fn of(list: List<'b>) -> Result<Self, FormatError> {
        Ok(Self {
            times: list.numbers("time_unix_nano")?,
            names: list.field("name")?,
            attributes: list.field("attributes")?,
            dropped: list.numbers("dropped_attributes_count")?,
            list,
        })
    }

    fn push(&self, builder: &mut SpanBatchBuilder, row: usize) -> Result<(), FormatError> {
        for element in self.list.elements_of(row) {
            push_list(builder, Owner::Event, text_at(Some(self.attributes), element))?;
            let name = builder.known_term(self.names.value(element));
            builder.finish_event(self.times.value(element), name, self.dropped.value(element));
        }
        Ok(())
    }
}

struct Links<'b> {
    list: List<'b>,
    trace_ids: &'b BinaryArray,
    span_ids: &'b BinaryArray,
    trace_states: &'b StringArray,
    flags: &'b PrimitiveArray<UInt32Type>,
    attributes: &'b StringArray,
    dropped: &'b PrimitiveArray<UInt32Type>,
}

impl<'b> Links<'b> {
    fn of(list: List<'b>) -> Result<Self, FormatError> {
        Ok(Self {
            trace_ids: list.field("trace_id")?,
            span_ids: list.field("span_id")?,
            trace_states: list.field("trace_state")?,
            flags: list.numbers("flags")?,
            attributes: list.field("attributes")?,
            dropped: list.numbers("dropped_attributes_count")?,
            list,
        })
    }

    fn push(&self, builder: &mut SpanBatchBuilder, row: usize) -> Result<(), FormatError> {
        for element in self.list.elements_of(row) {
            push_list(builder, Owner::Link, text_at(Some(self.attributes), element))?;
            let trace_state = builder.known_term(text_at(Some(self.trace_states), element));
            builder.finish_link(
                self.trace_ids.value(element),
                self.span_ids.value(element),
                trace_state,
                self.flags.value(element),
                self.dropped.value(element),
            );
        }
        Ok(())
    }
}

/// Attributes of an event or link, from an OTLP JSON list; none without text.
fn push_list(builder: &mut SpanBatchBuilder, owner: Owner, text: &str) -> Result<(), FormatError> {
    if text.is_empty() {
        return Ok(());
    }
    for attribute in json::parse_attributes(text).map_err(|error| damaged(error.to_string()))? {
        let key = builder.known_term(&attribute.key);
        builder.push_value(owner, key, attribute.value);
    }
    Ok(())
}
