//! What a part of a segment's attribute index says of what is asked: first which bytes it takes, then the counts.

use std::ops::{Bound, Range};

use tracelake_model::limits;
use tracelake_store::format::FormatError;
use tracelake_store::format::segment::{
    FieldLookup, FieldScope, IndexBytes, IndexHeader, IndexValue, IndexedField, Operations, SpanBounds,
    TraceSet, TraceTable,
};

use super::asked::{Asked, Question};
use super::tally::{Scalar, Seen, Tally, ValueTypes};

/// The traces of a part with spans that can start in a range.
pub(super) fn overlapping(table: &TraceTable, starts: &Range<u64>) -> TraceSet {
    let count = u32::try_from(table.len()).unwrap_or(u32::MAX);
    let mut found = TraceSet::empty(count);
    for trace in 0..count {
        let start_unix_nano = table.start_unix_nano_min(trace);
        let last = start_unix_nano.saturating_add(table.duration_nano_max(trace));
        if start_unix_nano < starts.end && last >= starts.start {
            found.insert(trace);
        }
    }
    found
}

/// The bytes that [`count`] takes; none if the rows alone can tell. `is_cut`: only some of its traces count.
pub(super) fn ranges(question: &Question, header: &IndexHeader, is_cut: bool) -> Option<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    match question {
        Question::Values { scopes, key, .. } => {
            for scope in scopes {
                match header.field(*scope, key) {
                    FieldLookup::Known(field) => ranges.extend(value_ranges(field)),
                    FieldLookup::Absent => {}
                    FieldLookup::Unknown => return None,
                }
            }
        }
        // Such a long one is not listed.
        Question::Operations { service } if service.len() as u64 > limits::INDEX_TEXT_BYTES_MAX => {
            return None;
        }
        // It says how many traces, and not which.
        Question::Operations { .. } if is_cut => return None,
        Question::Operations { .. } => ranges.push(header.operations_range()),
        Question::Keys { .. } => ranges.extend(attributes(header).flat_map(|field| field.exists_ranges())),
    }
    // Fields of resources all need what says whose those are.
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    ranges.dedup();
    Some(ranges)
}

/// Adds what the traces of a part have, of all or of some. False, and nothing added, if the rows alone can tell.
pub(super) fn count(
    asked: &Asked,
    header: &IndexHeader,
    within: Option<&TraceSet>,
    bytes: &IndexBytes,
    tally: &mut Tally,
) -> Result<bool, FormatError> {
    match &asked.question {
        Question::Values { scopes, key, texts_alone } => {
            for scope in scopes {
                if let FieldLookup::Known(field) = header.field(*scope, key) {
                    count_values(asked, field, *texts_alone, within, bytes, tally)?;
                }
            }
        }
        Question::Operations { service } => {
            let operations = Operations::read(&bytes.get(&header.operations_range())?)?;
            if !operations.is_complete() {
                return Ok(false);
            }
            for (name, traces) in operations.of_service(Some(&**service)) {
                if name.starts_with(&*asked.prefix) {
                    tally.add_value(Scalar::Text(name), Seen::Traces(traces.into()));
                }
            }
        }
        Question::Keys { .. } => {
            for field in attributes(header).filter(|field| asked.lists_key(field.scope(), field.key())) {
                let mut traces = field.exists(SpanBounds::default(), bytes)?;
                if let Some(within) = within {
                    traces.and(within);
                }
                let types = ValueTypes {
                    texts: field.has_texts(),
                    numbers: field.has_numbers(),
                    bools: field.has_bools(),
                };
                if !traces.is_empty() {
                    tally.add_key(field.scope(), field.key(), types, Seen::Traces(traces.count().into()));
                }
            }
            if !header.is_complete() {
                tally.lack_fields();
            }
        }
    }
    Ok(true)
}

fn attributes(header: &IndexHeader) -> impl Iterator<Item = IndexedField<'_>> {
    header.fields().filter(|field| field.scope() != FieldScope::Intrinsic)
}

fn value_ranges(field: IndexedField<'_>) -> Vec<Range<u64>> {
    let mut ranges = field.texts_ranges();
    ranges.extend(field.numbers_ranges(Bound::Unbounded, Bound::Unbounded));
    ranges.extend([false, true].into_iter().flat_map(|value| field.equal_ranges(IndexValue::Bool(value))));
    ranges
}

fn count_values(
    asked: &Asked,
    field: IndexedField<'_>,
    texts_alone: bool,
    within: Option<&TraceSet>,
    bytes: &IndexBytes,
    tally: &mut Tally,
) -> Result<(), FormatError> {
    tally.add_hashed(field.unlisted_values());
    let mut add = |value: Scalar<'_>, traces: u32| {
        if traces > 0 && asked.lists(value) {
            tally.add_value(value, Seen::Traces(traces.into()));
        }
        // Beyond the room for others those that have been found are counted on.
        true
    };
    field.texts(&asked.prefix, within, bytes, &mut |text, traces| add(Scalar::Text(text), traces))?;
    if texts_alone {
        return Ok(());
    }
    field.each_number(within, bytes, &mut |number, traces| add(Scalar::Number(number), traces))?;
    for value in [false, true] {
        let mut traces = field.equal(IndexValue::Bool(value), SpanBounds::default(), bytes)?;
        if let Some(within) = within {
            traces.and(within);
        }
        add(Scalar::Bool(value), traces.count());
    }
    Ok(())
}
