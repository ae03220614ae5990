//! What a segment's attribute index knows of a condition: an upper bound of the traces of a part that satisfy it.
//! First which bytes it takes, then the answer from them; both go through the condition alike. What has to be satisfied
//! together is answered cheapest first, and no further once no trace is left.

use std::ops::{Bound, Range};

use tracelake_store::format::FormatError;
use tracelake_store::format::segment::{
    FieldLookup, FieldScope, IndexBytes, IndexHeader, IndexValue, IndexedField, SpanBounds, TraceSet,
    TraceTable,
};
use tracelake_traceql::{
    AttributeScope, Comparison, Field, Intrinsic, Literal, Operand, Pattern, Predicate, Status,
};

use super::plan::{ConditionHow, PlannedCondition};

/// What is asked of one field of a part.
#[derive(Clone, Copy)]
enum Question<'q> {
    Exists,
    Equal(IndexValue<'q>),
    Numbers(Bound<IndexValue<'q>>, Bound<IndexValue<'q>>),
    Texts(Comparison, &'q str),
    Matches(&'q Pattern),
}

/// What it takes to answer a condition from a part, as its header tells: the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// Nothing: no trace of the part has what it asks of.
    Absent,
    /// So many bytes of the index.
    Bytes(u64),
    /// The index does not know: any trace may satisfy it.
    Unknown,
}

impl Cost {
    /// Of what has to be satisfied together: one that is known is enough.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Absent, _) | (_, Self::Absent) => Self::Absent,
            (Self::Unknown, known) | (known, Self::Unknown) => known,
            (Self::Bytes(one), Self::Bytes(other)) => Self::Bytes(one.saturating_add(other)),
        }
    }

    /// Of alternatives: one that is not known is enough.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Absent, other) | (other, Self::Absent) => other,
            (Self::Bytes(one), Self::Bytes(other)) => Self::Bytes(one.saturating_add(other)),
        }
    }
}

/// Whether the header leaves it open that spans of the part satisfy the condition.
pub(super) fn is_possible(condition: &Predicate, header: &IndexHeader) -> bool {
    cost(condition, header) != Cost::Absent
}

/// The bytes that [`traces`] takes.
pub(crate) fn ranges(condition: &Predicate, header: &IndexHeader) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    add_ranges(condition, header, &mut ranges);
    ranges
}

fn add_ranges(condition: &Predicate, header: &IndexHeader, ranges: &mut Vec<Range<u64>>) {
    if !matches!(cost(condition, header), Cost::Bytes(_)) {
        return;
    }
    match condition {
        Predicate::And(all) | Predicate::Or(all) => {
            all.iter().for_each(|one| add_ranges(one, header, ranges));
        }
        leaf => each_leaf(leaf, &mut |field, question| {
            for (scope, key) in places(field) {
                if let FieldLookup::Known(found) = header.field(scope, key) {
                    ranges.extend(question.ranges(found));
                }
            }
        }),
    }
}

/// How conditions are answered from a part, of which each is enough, in the order in which that is done.
pub(super) fn planned(conditions: &[Predicate], header: &IndexHeader) -> Vec<PlannedCondition> {
    let mut planned = Vec::new();
    conditions.iter().for_each(|condition| add_planned(condition, header, &mut planned));
    planned
}

fn add_planned(condition: &Predicate, header: &IndexHeader, planned: &mut Vec<PlannedCondition>) {
    match condition {
        Predicate::Constant(true) => {}
        Predicate::And(all) => {
            cheapest_first(all, header).into_iter().for_each(|one| add_planned(one, header, planned));
        }
        one => {
            let (how, index_bytes) = match cost(one, header) {
                Cost::Absent => (ConditionHow::Index, Some(0)),
                Cost::Bytes(bytes) if is_indexed(one) => (ConditionHow::Index, Some(bytes)),
                Cost::Bytes(bytes) => (ConditionHow::IndexUpperBound, Some(bytes)),
                Cost::Unknown => (ConditionHow::Rows, None),
            };
            planned.push(PlannedCondition { condition: one.to_string(), how, index_bytes });
        }
    }
}

/// Whether the index is asked for the very values of a condition, and not for what follows from it.
fn is_indexed(condition: &Predicate) -> bool {
    let (field, is_weaker) = match condition {
        Predicate::Exists(field) => (field, false),
        Predicate::Match { field, negated, .. } => (field, *negated),
        Predicate::Compare { left: Operand::Field(field), comparison, right: Operand::Literal(literal) } => {
            (field, matches!(of_comparison(*comparison, literal), Question::Exists))
        }
        _ => return false,
    };
    // Of several places the first that a span has decides, which the index does not know.
    !is_weaker && places(field).len() == 1
}

fn cheapest_first<'p>(all: &'p [Predicate], header: &IndexHeader) -> Vec<&'p Predicate> {
    let mut costed: Vec<_> = all.iter().map(|one| (cost(one, header), one)).collect();
    costed.sort_by_key(|(cost, _)| *cost);
    costed.into_iter().map(|(_, one)| one).collect()
}

fn cost(condition: &Predicate, header: &IndexHeader) -> Cost {
    match condition {
        Predicate::Constant(false) => Cost::Absent,
        Predicate::Constant(true) | Predicate::Absent(_) | Predicate::Not(_) => Cost::Unknown,
        Predicate::And(all) => all.iter().map(|one| cost(one, header)).fold(Cost::Unknown, Cost::and),
        Predicate::Or(any) => any.iter().map(|one| cost(one, header)).fold(Cost::Absent, Cost::or),
        leaf => {
            // Durations are in the table of traces, which is there in any case.
            let is_of_duration = duration_nano_min(leaf).is_some();
            let mut all = if is_of_duration { Cost::Bytes(0) } else { Cost::Unknown };
            each_leaf(leaf, &mut |field, question| all = all.and(cost_of(field, question, header)));
            all
        }
    }
}

fn cost_of(field: &Field, question: Question<'_>, header: &IndexHeader) -> Cost {
    let places = places(field);
    if places.is_empty() {
        return Cost::Unknown;
    }
    let costs = places.into_iter().map(|(scope, key)| match header.field(scope, key) {
        FieldLookup::Absent => Cost::Absent,
        FieldLookup::Unknown => Cost::Unknown,
        FieldLookup::Known(found) => {
            Cost::Bytes(question.ranges(found).iter().map(|range| range.end - range.start).sum())
        }
    });
    costs.fold(Cost::Absent, Cost::or)
}

/// The traces of a part that may satisfy the condition; none if it may be any.
pub(crate) fn traces(
    condition: &Predicate,
    header: &IndexHeader,
    table: &TraceTable,
    bytes: &IndexBytes,
) -> Result<Option<TraceSet>, FormatError> {
    Part { header, table, bytes }.traces(condition, SpanBounds::default())
}

/// What is known of a part.
struct Part<'p> {
    header: &'p IndexHeader,
    table: &'p TraceTable,
    bytes: &'p IndexBytes,
}

impl Part<'_> {
    /// The same of spans that are known to be like this.
    fn traces(&self, condition: &Predicate, spans: SpanBounds) -> Result<Option<TraceSet>, FormatError> {
        // For what the header tells no bytes were read.
        match cost(condition, self.header) {
            Cost::Absent => return Ok(Some(self.none())),
            Cost::Unknown => return Ok(None),
            Cost::Bytes(_) => {}
        }
        match condition {
            Predicate::And(all) => {
                let spans = all.iter().fold(spans, with);
                let mut narrowest: Option<TraceSet> = None;
                for one in cheapest_first(all, self.header) {
                    let Some(mut found) = self.traces(one, spans)? else { continue };
                    if let Some(before) = &narrowest {
                        found.and(before);
                    }
                    let is_over = found.is_empty();
                    narrowest = Some(found);
                    if is_over {
                        break;
                    }
                }
                Ok(narrowest)
            }
            Predicate::Or(any) => {
                let mut union = self.none();
                for one in any {
                    match self.traces(one, spans)? {
                        Some(found) => union.or(&found),
                        None => return Ok(None),
                    }
                }
                Ok(Some(union))
            }
            leaf => {
                let mut found: Result<Option<TraceSet>, FormatError> = Ok(self.of_duration(leaf));
                each_leaf(leaf, &mut |field, question| {
                    let Ok(before) = &mut found else { return };
                    match self.answer(field, question, spans) {
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

    fn none(&self) -> TraceSet {
        TraceSet::empty(self.header.part().traces)
    }

    /// A span is no longer than its trace.
    fn of_duration(&self, leaf: &Predicate) -> Option<TraceSet> {
        let least = duration_nano_min(leaf)?;
        let mut found = self.none();
        let is_long = |trace: &u32| self.table.duration_nano_max(*trace) >= least;
        (0..self.table.len() as u32).filter(is_long).for_each(|trace| found.insert(trace));
        Some(found)
    }

    /// None if it may be any.
    fn answer(
        &self,
        field: &Field,
        question: Question<'_>,
        spans: SpanBounds,
    ) -> Result<Option<TraceSet>, FormatError> {
        let places = places(field);
        if places.is_empty() {
            return Ok(None);
        }
        let mut union = self.none();
        for (scope, key) in places {
            match self.header.field(scope, key) {
                FieldLookup::Absent => {}
                FieldLookup::Unknown => return Ok(None),
                FieldLookup::Known(found) => union.or(&question.traces(found, spans, self.bytes)?),
            }
        }
        Ok(Some(union))
    }
}

/// What spans are like that satisfy one more condition.
fn with(spans: SpanBounds, condition: &Predicate) -> SpanBounds {
    let least = duration_nano_min(condition).unwrap_or_default();
    SpanBounds {
        duration_nano_min: spans.duration_nano_min.max(least),
        is_error: spans.is_error || is_error(condition),
    }
}

/// How long a span is at least that satisfies the condition, if it says.
fn duration_nano_min(condition: &Predicate) -> Option<u64> {
    match condition {
        Predicate::Compare {
            left: Operand::Field(Field::Intrinsic(Intrinsic::Duration)),
            comparison: Comparison::Greater | Comparison::GreaterOrEqual | Comparison::Equal,
            right: Operand::Literal(Literal::Duration(least) | Literal::Int(least)),
        } => Some(u64::try_from(*least).unwrap_or(0)),
        _ => None,
    }
}

fn is_error(condition: &Predicate) -> bool {
    matches!(
        condition,
        Predicate::Compare {
            left: Operand::Field(Field::Intrinsic(Intrinsic::Status)),
            comparison: Comparison::Equal,
            right: Operand::Literal(Literal::Status(Status::Error)),
        }
    )
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

/// A value as the index has it.
pub(super) fn value_of(literal: &Literal) -> IndexValue<'_> {
    match literal {
        Literal::Text(text) => IndexValue::Text(text),
        Literal::Int(int) | Literal::Duration(int) => IndexValue::Int(*int),
        Literal::Double(double) => IndexValue::Double(*double),
        Literal::Bool(value) => IndexValue::Bool(*value),
        Literal::Status(status) => IndexValue::Int(*status as i64),
        Literal::Kind(kind) => IndexValue::Int(*kind as i64),
    }
}

fn of_comparison(comparison: Comparison, literal: &Literal) -> Question<'_> {
    let value = value_of(literal);
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
pub(super) fn places(field: &Field) -> Vec<(FieldScope, &str)> {
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

impl Question<'_> {
    fn ranges(self, field: IndexedField<'_>) -> Vec<Range<u64>> {
        match self {
            Self::Exists => field.exists_ranges(),
            Self::Equal(value) => field.equal_ranges(value),
            Self::Numbers(lower, upper) => field.numbers_ranges(lower, upper),
            Self::Texts(..) | Self::Matches(_) => field.texts_ranges(),
        }
    }

    fn traces(
        self,
        field: IndexedField<'_>,
        spans: SpanBounds,
        bytes: &IndexBytes,
    ) -> Result<TraceSet, FormatError> {
        match self {
            Self::Exists => field.exists(spans, bytes),
            Self::Equal(value) => field.equal(value, spans, bytes),
            Self::Numbers(lower, upper) => field.numbers(lower, upper, spans, bytes),
            Self::Matches(Pattern::Prefix(prefix)) => field.prefix(prefix, spans, bytes),
            Self::Matches(pattern) => field.matching(&mut |text| pattern.matches(text), spans, bytes),
            Self::Texts(comparison, than) => {
                let is_match = |text: &str| match comparison {
                    Comparison::Greater => text > than,
                    Comparison::GreaterOrEqual => text >= than,
                    Comparison::Less => text < than,
                    Comparison::LessOrEqual => text <= than,
                    Comparison::Equal => text == than,
                    Comparison::NotEqual => text != than,
                };
                field.matching(&mut |text| is_match(text), spans, bytes)
            }
        }
    }
}
