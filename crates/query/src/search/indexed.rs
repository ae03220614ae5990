//! What a segment's attribute index knows of a condition: an upper bound of the traces of a part that satisfy it.
//! First which bytes it takes, then the answer from them; both go through the condition alike.

use std::ops::{Bound, Range};

use tracelake_store::format::FormatError;
use tracelake_store::format::segment::{
    FieldLookup, FieldScope, IndexBytes, IndexHeader, IndexValue, IndexedField, TraceSet, TraceTable,
};
use tracelake_traceql::{AttributeScope, Comparison, Field, Intrinsic, Literal, Operand, Pattern, Predicate};

/// What is asked of one field of a part.
#[derive(Clone, Copy)]
enum Question<'q> {
    Exists,
    Equal(IndexValue<'q>),
    Numbers(Bound<IndexValue<'q>>, Bound<IndexValue<'q>>),
    Texts(Comparison, &'q str),
    Matches(&'q Pattern),
}

/// The bytes that [`traces`] takes.
pub(super) fn ranges(condition: &Predicate, header: &IndexHeader) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let mut ask = |question: Question<'_>, field: IndexedField<'_>| ranges.extend(question.ranges(field));
    each_leaf(condition, &mut |field, question| {
        for (scope, key) in places(field) {
            if let FieldLookup::Known(found) = header.field(scope, key) {
                ask(question, found);
            }
        }
    });
    ranges
}

/// The traces of a part that may satisfy the condition; none if it may be any.
pub(super) fn traces(
    condition: &Predicate,
    header: &IndexHeader,
    table: &TraceTable,
    bytes: &IndexBytes,
) -> Result<Option<TraceSet>, FormatError> {
    match condition {
        Predicate::Constant(true) | Predicate::Absent(_) | Predicate::Not(_) => Ok(None),
        Predicate::Constant(false) => Ok(Some(TraceSet::empty(header.part().traces))),
        Predicate::And(all) => {
            let mut narrowest: Option<TraceSet> = None;
            for one in all {
                let Some(found) = traces(one, header, table, bytes)? else { continue };
                match &mut narrowest {
                    Some(set) => set.and(&found),
                    None => narrowest = Some(found),
                }
            }
            Ok(narrowest)
        }
        Predicate::Or(any) => {
            let mut union = TraceSet::empty(header.part().traces);
            for one in any {
                match traces(one, header, table, bytes)? {
                    Some(found) => union.or(&found),
                    None => return Ok(None),
                }
            }
            Ok(Some(union))
        }
        leaf => {
            let mut found: Result<Option<TraceSet>, FormatError> = Ok(of_duration(leaf, table));
            each_leaf(leaf, &mut |field, question| {
                let Ok(before) = &mut found else { return };
                match answer(field, question, header, bytes) {
                    Err(error) => found = Err(error),
                    Ok(None) => {}
                    Ok(Some(set)) => match before {
                        Some(before) => before.and(&set),
                        None => *before = Some(set),
                    },
                }
            });
            found
        }
    }
}

/// A span is no longer than its trace.
fn of_duration(leaf: &Predicate, table: &TraceTable) -> Option<TraceSet> {
    let Predicate::Compare {
        left: Operand::Field(Field::Intrinsic(Intrinsic::Duration)),
        comparison: Comparison::Greater | Comparison::GreaterOrEqual | Comparison::Equal,
        right: Operand::Literal(Literal::Duration(least) | Literal::Int(least)),
    } = leaf
    else {
        return None;
    };
    let least = u64::try_from(*least).unwrap_or(0);
    let count = table.len() as u32;
    let mut found = TraceSet::empty(count);
    (0..count).filter(|trace| table.duration_nano_max(*trace) >= least).for_each(|trace| found.insert(trace));
    Some(found)
}

/// Calls for what the leaves of a condition ask, of which every trace that satisfies the leaf satisfies each.
fn each_leaf<'p>(condition: &'p Predicate, visit: &mut dyn FnMut(&'p Field, Question<'p>)) {
    match condition {
        Predicate::Constant(_) | Predicate::Absent(_) | Predicate::Not(_) => {}
        Predicate::And(all) | Predicate::Or(all) => all.iter().for_each(|one| each_leaf(one, visit)),
        Predicate::Exists(field) | Predicate::Match { field, negated: true, .. } => {
            visit(field, Question::Exists)
        }
        Predicate::Match { field, pattern, negated: false } => visit(field, Question::Matches(pattern)),
        Predicate::Compare { left: Operand::Field(field), comparison, right: Operand::Literal(literal) } => {
            visit(field, of_comparison(*comparison, literal));
        }
        Predicate::Compare { left, right, .. } => {
            // Where one of them is absent nothing follows, whatever is compared.
            for operand in [left, right] {
                each_field(operand, &mut |field| visit(field, Question::Exists));
            }
        }
    }
}

fn each_field<'p>(operand: &'p Operand, visit: &mut dyn FnMut(&'p Field)) {
    match operand {
        Operand::Field(field) => visit(field),
        Operand::Literal(_) => {}
        Operand::Arithmetic { left, right, .. } => {
            each_field(left, visit);
            each_field(right, visit);
        }
        Operand::Negated(of) => each_field(of, visit),
    }
}

fn of_comparison(comparison: Comparison, literal: &Literal) -> Question<'_> {
    let value = match literal {
        Literal::Text(text) => IndexValue::Text(text),
        Literal::Int(int) | Literal::Duration(int) => IndexValue::Int(*int),
        Literal::Double(double) => IndexValue::Double(*double),
        Literal::Bool(value) => IndexValue::Bool(*value),
        Literal::Status(status) => IndexValue::Int(*status as i64),
        Literal::Kind(kind) => IndexValue::Int(*kind as i64),
    };
    match (comparison, literal) {
        (Comparison::Equal, _) => Question::Equal(value),
        (Comparison::NotEqual, _) | (_, Literal::Bool(_)) => Question::Exists,
        (_, Literal::Text(text)) => Question::Texts(comparison, text),
        (Comparison::Greater, _) => Question::Numbers(Bound::Excluded(value), Bound::Unbounded),
        (Comparison::GreaterOrEqual, _) => Question::Numbers(Bound::Included(value), Bound::Unbounded),
        (Comparison::Less, _) => Question::Numbers(Bound::Unbounded, Bound::Excluded(value)),
        (Comparison::LessOrEqual, _) => Question::Numbers(Bound::Unbounded, Bound::Included(value)),
    }
}

/// Where a field's values are looked for in the index; nowhere if they are not in it.
fn places(field: &Field) -> Vec<(FieldScope, &str)> {
    match field {
        Field::Intrinsic(intrinsic) => {
            let is_indexed = matches!(
                intrinsic,
                Intrinsic::Name
                    | Intrinsic::Kind
                    | Intrinsic::Status
                    | Intrinsic::StatusMessage
                    | Intrinsic::EventName
                    | Intrinsic::LinkTraceId
                    | Intrinsic::LinkSpanId
                    | Intrinsic::InstrumentationName
                    | Intrinsic::InstrumentationVersion
            );
            if is_indexed { vec![(FieldScope::Intrinsic, intrinsic.name())] } else { Vec::new() }
        }
        Field::Attribute { scope, key } => match scope {
            AttributeScope::Span => vec![(FieldScope::Span, key)],
            AttributeScope::Resource => vec![(FieldScope::Resource, key)],
            AttributeScope::Instrumentation => vec![(FieldScope::Instrumentation, key)],
            AttributeScope::Event => vec![(FieldScope::Event, key)],
            AttributeScope::Link => vec![(FieldScope::Link, key)],
            AttributeScope::Any => vec![
                (FieldScope::Span, &**key),
                (FieldScope::Resource, &**key),
                (FieldScope::Instrumentation, &**key),
            ],
        },
    }
}

/// None if it may be any.
fn answer(
    field: &Field,
    question: Question<'_>,
    header: &IndexHeader,
    bytes: &IndexBytes,
) -> Result<Option<TraceSet>, FormatError> {
    let places = places(field);
    if places.is_empty() {
        return Ok(None);
    }
    let mut union = TraceSet::empty(header.part().traces);
    for (scope, key) in places {
        match header.field(scope, key) {
            FieldLookup::Absent => {}
            FieldLookup::Unknown => return Ok(None),
            FieldLookup::Known(found) => union.or(&question.traces(found, bytes)?),
        }
    }
    Ok(Some(union))
}

impl Question<'_> {
    fn ranges(self, field: IndexedField<'_>) -> Vec<Range<u64>> {
        match self {
            Self::Exists => field.exists_ranges(),
            Self::Equal(value) => field.equal_ranges(value),
            Self::Numbers(lower, upper) => field.numbers_ranges(lower, upper),
            Self::Texts(..) | Self::Matches(_) => field.texts_ranges(),
        }
    }

    fn traces(self, field: IndexedField<'_>, bytes: &IndexBytes) -> Result<TraceSet, FormatError> {
        match self {
            Self::Exists => field.exists(bytes),
            Self::Equal(value) => field.equal(value, bytes),
            Self::Numbers(lower, upper) => field.numbers(lower, upper, bytes),
            Self::Matches(Pattern::Prefix(prefix)) => field.prefix(prefix, bytes),
            Self::Matches(pattern) => field.matching(&mut |text| pattern.matches(text), bytes),
            Self::Texts(comparison, than) => {
                let is_match = |text: &str| match comparison {
                    Comparison::Greater => text > than,
                    Comparison::GreaterOrEqual => text >= than,
                    Comparison::Less => text < than,
                    Comparison::LessOrEqual => text <= than,
                    Comparison::Equal => text == than,
                    Comparison::NotEqual => text != than,
                };
                field.matching(&mut |text| is_match(text), bytes)
            }
        }
    }
}
