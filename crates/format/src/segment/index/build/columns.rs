//! From the columns of a slice of rows to terms.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, BinaryArray, StringArray};
use arrow_schema::Schema;
use tracelake_model::{KeyValue, Value, ValueRef};
use tracelake_otlp::json;

use super::fields::{Fields, list};
use super::resources::Spans;
use super::{PartBuilder, TraceRows};
use crate::FormatError;
use crate::segment::index::field::{
    EVENT_NAME, FieldScope, INSTRUMENTATION_NAME, INSTRUMENTATION_VERSION, KIND, LINK_SPAN_ID, LINK_TRACE_ID,
    NAME, STATUS, STATUS_MESSAGE,
};
use crate::segment::index::value::Term;
use crate::segment::index::{TEXT_BYTES_MAX, damaged};
use crate::segment::slice::STATUS_ERROR;
use crate::segment::unpack::{List, Residual, wrong_type};
use crate::segment::{residual, schema};

/// What of the index comes from a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Nothing,
    TraceId,
    Start,
    Duration,
    /// Values of the field at this place.
    Values(u32),
    /// The same of these fields.
    Name(u32),
    Status(u32),
    Attributes,
    Events,
    Links,
    Resource,
    Scope,
}

/// Where columns go, of these in their order.
pub(super) fn sources(columns: &Schema, fields: &mut Fields) -> Vec<Source> {
    let mut from = |scope, key: &str, source: fn(u32) -> Source| {
        fields.place(scope, key).map_or(Source::Nothing, source)
    };
    let mut source = |name: &str| match name {
        schema::TRACE_ID => Source::TraceId,
        schema::START_TIME => Source::Start,
        schema::DURATION_NANO => Source::Duration,
        schema::NAME => from(FieldScope::Intrinsic, NAME, Source::Name),
        schema::KIND => from(FieldScope::Intrinsic, KIND, Source::Values),
        schema::STATUS_CODE => from(FieldScope::Intrinsic, STATUS, Source::Status),
        schema::STATUS_MESSAGE => from(FieldScope::Intrinsic, STATUS_MESSAGE, Source::Values),
        schema::ATTRIBUTES => Source::Attributes,
        schema::EVENTS => Source::Events,
        schema::LINKS => Source::Links,
        schema::RESOURCE => Source::Resource,
        schema::SCOPE => Source::Scope,
        _ => match name.strip_prefix(schema::ATTRIBUTE_PREFIX) {
            Some(key) => from(FieldScope::Span, key, Source::Values),
            None => Source::Nothing,
        },
    };
    columns.fields().iter().map(|field| source(field.name())).collect()
}

impl PartBuilder {
    /// The column that comes from a source.
    fn column<'a>(
        &self,
        arrays: &'a [ArrayRef],
        is_it: impl Fn(&Source) -> bool,
    ) -> Result<&'a ArrayRef, FormatError> {
        let place = self.sources.iter().position(is_it);
        place.and_then(|place| arrays.get(place)).ok_or_else(wrong_type)
    }

    /// The trace of each row, which are added to the part's traces.
    pub(super) fn begin_rows(&mut self, arrays: &[ArrayRef]) -> Result<Vec<u32>, FormatError> {
        let column = |source: Source| self.column(arrays, |other| *other == source);
        let ids = column(Source::TraceId)?.as_fixed_size_binary_opt().ok_or_else(wrong_type)?;
        let starts = column(Source::Start)?.as_primitive_opt::<TimestampNanosecondType>();
        let durations = column(Source::Duration)?.as_primitive_opt::<Int64Type>();
        let (starts, durations) = starts.zip(durations).ok_or_else(wrong_type)?;
        let mut ordinals = Vec::with_capacity(ids.len());
        for ((id, start), duration) in ids.iter().zip(starts.values()).zip(durations.values()) {
            let id = id.and_then(|id| id.first_chunk::<16>()).ok_or_else(wrong_type)?;
            if self.newest != Some(*id) {
                self.newest = Some(*id);
                self.traces.push(TraceRows { rows: 0, start_min: u64::MAX, end_max: 0 });
            }
            let start = *start as u64;
            if let Some(trace) = self.traces.last_mut() {
                trace.rows += 1;
                trace.start_min = trace.start_min.min(start);
                // A span that ended before it began starts behind its end.
                trace.end_max = trace.end_max.max(start).max(start.wrapping_add_signed(*duration));
            }
            ordinals.push(self.traces.len() as u32 - 1);
        }
        Ok(ordinals)
    }

    pub(super) fn push_column(
        &mut self,
        array: &ArrayRef,
        source: Source,
        ordinals: &[u32],
    ) -> Result<(), FormatError> {
        if array.null_count() == array.len() {
            return Ok(());
        }
        match source {
            Source::Nothing | Source::TraceId | Source::Start | Source::Duration => Ok(()),
            Source::Values(field) | Source::Status(field) => self.push_values(array, field, ordinals),
            Source::Name(field) => self.push_names(array, field, ordinals),
            Source::Attributes => self.push_attributes(array, ordinals),
            Source::Events => self.push_events(array, ordinals),
            Source::Links => self.push_links(array, ordinals),
            Source::Resource => self.push_resources(array, ordinals),
            Source::Scope => self.push_scopes(array, ordinals),
        }
    }

    fn push_values(&mut self, array: &ArrayRef, field: u32, ordinals: &[u32]) -> Result<(), FormatError> {
        if let Some(texts) = array.as_string_opt::<i32>() {
            self.push_texts(texts, field, ordinals, |_, _| {});
        } else if let Some(numbers) = array.as_primitive_opt::<Int64Type>() {
            let numbers = numbers.iter().map(|value| value.map(|value| (value as u64, value as f64)));
            self.push_numbers(numbers, field, ordinals);
        } else if let Some(numbers) = array.as_primitive_opt::<Int32Type>() {
            let numbers = numbers.iter().map(|value| value.map(|value| (value as u64, f64::from(value))));
            self.push_numbers(numbers, field, ordinals);
        } else if let Some(numbers) = array.as_primitive_opt::<Float64Type>() {
            let numbers = numbers.iter().map(|value| value.map(|value| (value.to_bits(), value)));
            self.push_numbers(numbers, field, ordinals);
        } else {
            let bools = array.as_boolean_opt().ok_or_else(wrong_type)?;
            for (value, ordinal) in bools.iter().zip(ordinals) {
                if let Some(value) = value {
                    self.fields.add(field, *ordinal);
                    self.push_term(field, &Term::of_bool(value), *ordinal);
                }
            }
        }
        Ok(())
    }

    fn push_names(&mut self, array: &ArrayRef, field: u32, ordinals: &[u32]) -> Result<(), FormatError> {
        let texts: &StringArray = array.as_string_opt().ok_or_else(wrong_type)?;
        let mut names = std::mem::take(&mut self.name_of);
        names.resize(ordinals.len(), None);
        self.push_texts(texts, field, ordinals, |row, place| {
            let is_listed = texts.value_length(row) as usize <= TEXT_BYTES_MAX;
            if let Some(name) = names.get_mut(row).filter(|_| is_listed) {
                *name = Some(place);
            }
        });
        self.name_of = names;
        Ok(())
    }

    /// Tells of each row with a text where that is among the terms.
    fn push_texts(
        &mut self,
        texts: &StringArray,
        field: u32,
        ordinals: &[u32],
        mut take: impl FnMut(usize, u32),
    ) {
        let mut known = KnownTexts::new();
        for (row, (text, ordinal)) in texts.iter().zip(ordinals).enumerate() {
            let Some(text) = text else { continue };
            self.fields.add(field, *ordinal);
            let place = match known.place(text) {
                Some(place) => {
                    self.terms.add_again(place, *ordinal);
                    place
                }
                None => known.keep(text, self.push_term(field, &Term::of_text(text), *ordinal)),
            };
            take(row, place);
        }
    }

    /// Of numbers beside what tells them from each other.
    fn push_numbers(
        &mut self,
        numbers: impl Iterator<Item = Option<(u64, f64)>>,
        field: u32,
        ordinals: &[u32],
    ) {
        let mut newest: Option<(u64, u32)> = None;
        for (number, ordinal) in numbers.zip(ordinals) {
            let Some((identity, number)) = number else { continue };
            self.fields.add(field, *ordinal);
            newest = match newest {
                Some((before, place)) if before == identity => {
                    self.terms.add_again(place, *ordinal);
                    newest
                }
                _ => Term::of_number(number).map(|term| (identity, self.push_term(field, &term, *ordinal))),
            };
        }
    }

    #[inline]
    fn push_term(&mut self, field: u32, term: &Term<'_>, ordinal: u32) -> u32 {
        self.terms.add(list(field, term.term_type()), term.bytes(), ordinal)
    }

    /// A value of any type, and those in an array.
    fn push_value(&mut self, field: u32, value: ValueRef<'_>, ordinal: u32) {
        self.fields.add(field, ordinal);
        match value {
            ValueRef::Nested(Value::Array(values)) => {
                for value in values {
                    self.push_scalar(field, value.as_ref(), ordinal);
                }
            }
            value => self.push_scalar(field, value, ordinal),
        }
    }

    fn push_scalar(&mut self, field: u32, value: ValueRef<'_>, ordinal: u32) {
        let term = match value {
            ValueRef::Text(text) => Some(Term::of_text(text)),
            ValueRef::Bool(value) => Some(Term::of_bool(value)),
            ValueRef::Int(value) => Term::of_number(value as f64),
            ValueRef::Double(value) => Term::of_number(value),
            ValueRef::Empty | ValueRef::Bytes(_) | ValueRef::Nested(_) => None,
        };
        if let Some(term) = term {
            self.push_term(field, &term, ordinal);
        }
    }

    fn push_attributes(&mut self, array: &ArrayRef, ordinals: &[u32]) -> Result<(), FormatError> {
        let attributes = Residual::of(List::of_array(array)?)?;
        let mut newest: Option<(&str, Option<u32>)> = None;
        for (row, ordinal) in ordinals.iter().enumerate() {
            for element in attributes.list.elements_of(row) {
                let key = attributes.keys.value(element);
                let field = match newest {
                    Some((before, field)) if before == key => field,
                    _ => self.fields.place(FieldScope::Span, key),
                };
                newest = Some((key, field));
                let Some(field) = field else { continue };
                let text = attributes.values.value(element);
                match attributes.types.value(element) {
                    "string" => self.push_value(field, ValueRef::Text(text), *ordinal),
                    "bytes" | "map" | "empty" => self.fields.add(field, *ordinal),
                    kind => self.push_value(field, residual::parse_value(kind, text)?.as_ref(), *ordinal),
                }
            }
        }
        Ok(())
    }

    fn push_key_values(&mut self, scope: FieldScope, attributes: &[KeyValue], ordinal: u32) {
        for attribute in attributes {
            if let Some(field) = self.fields.place(scope, &attribute.key) {
                self.push_value(field, attribute.value.as_ref(), ordinal);
            }
        }
    }

    /// Attributes of elements, each an OTLP JSON list.
    fn push_json(
        &mut self,
        scope: FieldScope,
        texts: &StringArray,
        element: usize,
        ordinal: u32,
    ) -> Result<(), FormatError> {
        if texts.is_valid(element) && !texts.value(element).is_empty() {
            let attributes = json::parse_attributes(texts.value(element));
            let attributes = attributes.map_err(|error| damaged(error.to_string()))?;
            self.push_key_values(scope, &attributes, ordinal);
        }
        Ok(())
    }

    fn push_events(&mut self, array: &ArrayRef, ordinals: &[u32]) -> Result<(), FormatError> {
        let list = List::of_array(array)?;
        let (names, attributes): (&StringArray, &StringArray) =
            (list.field("name")?, list.field("attributes")?);
        let name = self.fields.place(FieldScope::Intrinsic, EVENT_NAME);
        for (row, ordinal) in ordinals.iter().enumerate() {
            for element in list.elements_of(row) {
                if let Some(name) = name {
                    self.push_value(name, ValueRef::Text(names.value(element)), *ordinal);
                }
                self.push_json(FieldScope::Event, attributes, element, *ordinal)?;
            }
        }
        Ok(())
    }

    fn push_links(&mut self, array: &ArrayRef, ordinals: &[u32]) -> Result<(), FormatError> {
        let list = List::of_array(array)?;
        let ids = [(LINK_TRACE_ID, "trace_id"), (LINK_SPAN_ID, "span_id")];
        let mut of_links: Vec<(Option<u32>, &BinaryArray)> = Vec::new();
        for (key, column) in ids {
            of_links.push((self.fields.place(FieldScope::Intrinsic, key), list.field(column)?));
        }
        let attributes: &StringArray = list.field("attributes")?;
        let mut digits = String::new();
        for (row, ordinal) in ordinals.iter().enumerate() {
            for element in list.elements_of(row) {
                for (field, ids) in &of_links {
                    digits.clear();
                    write_hex(&mut digits, ids.value(element));
                    if let Some(field) = field {
                        self.push_value(*field, ValueRef::Text(&digits), *ordinal);
                    }
                }
                self.push_json(FieldScope::Link, attributes, element, *ordinal)?;
            }
        }
        Ok(())
    }

    fn push_resources(&mut self, array: &ArrayRef, ordinals: &[u32]) -> Result<(), FormatError> {
        each_owner(array, ordinals, |text, trace, known| {
            let (place, is_new) = known.map_or_else(|| self.resources.place(text), |place| (place, false));
            if is_new {
                let resource = json::parse_resource(text).map_err(|error| damaged(error.to_string()))?;
                self.push_key_values(FieldScope::Resource, &resource.attributes, place);
                self.operations.push_resource(resource.service_name());
            }
            self.resources.add(place, trace);
            self.resource_of.push(place);
            Ok(place)
        })
    }

    /// What the spans of resources are like, and how they are named.
    pub(super) fn push_spans(&mut self, arrays: &[ArrayRef], ordinals: &[u32]) -> Result<(), FormatError> {
        let durations = self.column(arrays, |source| *source == Source::Duration)?;
        let durations = durations.as_primitive_opt::<Int64Type>().ok_or_else(wrong_type)?;
        let statuses = self.column(arrays, |source| matches!(source, Source::Status(_)))?;
        let statuses = statuses.as_primitive_opt::<Int32Type>().ok_or_else(wrong_type)?;
        let spans = durations.values().iter().zip(statuses.values()).zip(&self.name_of).zip(ordinals);
        for ((((duration, status), name), trace), resource) in spans.zip(&self.resource_of) {
            self.spans.add(*resource, *trace, Spans::of(*duration, *status == STATUS_ERROR));
            if let Some(name) = name {
                self.operations.add(*resource, *name, *trace);
            }
        }
        Ok(())
    }

    fn push_scopes(&mut self, array: &ArrayRef, ordinals: &[u32]) -> Result<(), FormatError> {
        each_owner(array, ordinals, |text, trace, known| {
            let (place, is_new) = known.map_or_else(|| self.scopes.place(text), |place| (place, false));
            if is_new {
                let scope = json::parse_scope(text).map_err(|error| damaged(error.to_string()))?;
                self.push_key_values(FieldScope::Instrumentation, &scope.attributes, place);
                let own = [(INSTRUMENTATION_NAME, &scope.name), (INSTRUMENTATION_VERSION, &scope.version)];
                for (key, text) in own {
                    let is_none = text.is_empty() && key == INSTRUMENTATION_VERSION;
                    if let Some(field) = self.fields.place(FieldScope::Intrinsic, key).filter(|_| !is_none) {
                        self.push_value(field, ValueRef::Text(text), place);
                    }
                }
            }
            self.scopes.add(place, trace);
            Ok(place)
        })
    }
}

/// Where the last few texts of a column are among the terms: most columns have few that come again and again, and to
/// compare one is less than to hash it.
struct KnownTexts<'t> {
    slots: [Option<(&'t str, u32)>; KNOWN_TEXTS],
}

const KNOWN_TEXTS: usize = 64;

impl<'t> KnownTexts<'t> {
    fn new() -> Self {
        Self { slots: [None; KNOWN_TEXTS] }
    }

    /// By its length and its last bytes, in which texts of one column differ most.
    #[inline]
    fn slot(&mut self, text: &str) -> Option<&mut Option<(&'t str, u32)>> {
        let last = text.as_bytes().last_chunk::<8>().map_or_else(
            || text.bytes().fold(0, |all, byte| all << 8 | u64::from(byte)),
            |last| u64::from_le_bytes(*last),
        );
        let mixed = (last ^ (text.len() as u64) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.slots.get_mut((mixed >> (u64::BITS - KNOWN_TEXTS.ilog2())) as usize)
    }

    #[inline]
    fn place(&mut self, text: &str) -> Option<u32> {
        let slot = (*self.slot(text)?)?;
        (slot.0 == text).then_some(slot.1)
    }

    #[inline]
    fn keep(&mut self, text: &'t str, place: u32) -> u32 {
        if let Some(slot) = self.slot(text) {
            *slot = Some((text, place));
        }
        place
    }
}

/// Gives the text of each row, its trace, and what was returned of the same text before.
fn each_owner(
    array: &ArrayRef,
    ordinals: &[u32],
    mut take: impl FnMut(&str, u32, Option<u32>) -> Result<u32, FormatError>,
) -> Result<(), FormatError> {
    let array = array.as_dictionary_opt::<Int32Type>().ok_or_else(wrong_type)?;
    let texts = array.values().as_string_opt::<i32>().ok_or_else(wrong_type)?;
    let mut places: Vec<Option<u32>> = vec![None; texts.len()];
    for (key, trace) in array.keys().iter().zip(ordinals) {
        let key = key.and_then(|key| usize::try_from(key).ok()).ok_or_else(wrong_type)?;
        let place = places.get_mut(key).filter(|_| texts.is_valid(key)).ok_or_else(wrong_type)?;
        *place = Some(take(texts.value(key), *trace, *place)?);
    }
    Ok(())
}

fn write_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(digit.into(), 16));
        }
    }
}
