//! The attribute index against the rows that it is of.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_format::FormatError;
use tracelake_format::segment::{
    FieldLookup, FieldScope, IndexBytes, IndexHeader, IndexPart, IndexValue, IndexedField, OpenSegment,
    Operations, SegmentWriterOptions, SpanBounds, TraceSet, ValueFilters, ValueKey, WrittenSegment,
};
use tracelake_model::{
    KeyValue, Owner, Resource, Scope, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, SpanView, TenantId,
    TraceId, Value, ValueRef,
};

use crate::random::{Odd, seed};
use crate::support::{columns, fetch, open, small, tenant, write};

/// Small parts, so that small tests have several, of several row groups.
pub(crate) fn indexed() -> SegmentWriterOptions {
    SegmentWriterOptions { index_part_rows: 128, ..small() }
}

/// Whatever the spans are like.
const ANY: SpanBounds = SpanBounds { duration_nano_min: 0, is_error: false };

/// A value as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    Text(String),
    Bool(bool),
    /// By what orders it among others, and the term that it has.
    Int(i64),
    Double(u64),
}

impl Known {
    fn of(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Text(text) => Some(Self::Text(text.to_owned())),
            ValueRef::Bool(value) => Some(Self::Bool(value)),
            ValueRef::Int(value) => Some(Self::Int(value)),
            ValueRef::Double(value) if value.is_nan() => None,
            ValueRef::Double(value) => Some(Self::Double(value.to_bits())),
            ValueRef::Empty | ValueRef::Bytes(_) | ValueRef::Nested(_) => None,
        }
    }

    fn asked(&self) -> IndexValue<'_> {
        match self {
            Self::Text(text) => IndexValue::Text(text),
            Self::Bool(value) => IndexValue::Bool(*value),
            Self::Int(value) => IndexValue::Int(*value),
            Self::Double(bits) => IndexValue::Double(f64::from_bits(*bits)),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Double(bits) => Some(f64::from_bits(*bits)),
            Self::Text(_) | Self::Bool(_) => None,
        }
    }

    /// Whether both have the same term, as equal values do.
    fn is_same_term(&self, other: &Self) -> bool {
        match (self.number(), other.number()) {
            (Some(a), Some(b)) => a == b,
            _ => self == other,
        }
    }
}

/// What the rows of a part say of a field.
#[derive(Debug, Default)]
struct Expected {
    exists: BTreeSet<u32>,
    values: BTreeMap<Known, BTreeSet<u32>>,
}

#[derive(Debug, Default)]
struct Rows {
    fields: BTreeMap<(FieldScope, String), Expected>,
    traces: u32,
}

impl Rows {
    fn of(spans: &SpanBatch) -> Self {
        let mut rows = Self::default();
        let mut newest = None;
        for span in spans.spans() {
            if newest != Some(span.trace_id()) {
                newest = Some(span.trace_id());
                rows.traces += 1;
            }
            rows.add(&span, rows.traces - 1);
        }
        rows
    }

    fn put(&mut self, scope: FieldScope, key: &str, value: ValueRef<'_>, trace: u32) {
        let field = self.fields.entry((scope, key.to_owned())).or_default();
        field.exists.insert(trace);
        let values: Vec<ValueRef<'_>> = match value {
            ValueRef::Nested(Value::Array(values)) => values.iter().map(Value::as_ref).collect(),
            value => vec![value],
        };
        for value in values.into_iter().filter_map(Known::of) {
            field.values.entry(value).or_default().insert(trace);
        }
    }

    fn put_all<'v>(
        &mut self,
        scope: FieldScope,
        attributes: impl IntoIterator<Item = (&'v str, ValueRef<'v>)>,
        trace: u32,
    ) {
        attributes.into_iter().for_each(|(key, value)| self.put(scope, key, value, trace));
    }

    fn add(&mut self, span: &SpanView<'_>, trace: u32) {
        let intrinsic = FieldScope::Intrinsic;
        self.put(intrinsic, "name", ValueRef::Text(span.name()), trace);
        self.put(intrinsic, "kind", ValueRef::Int(span.kind().into()), trace);
        self.put(intrinsic, "status", ValueRef::Int(span.status_code().into()), trace);
        if !span.status_message().is_empty() {
            self.put(intrinsic, "statusMessage", ValueRef::Text(span.status_message()), trace);
        }
        self.put_all(FieldScope::Span, span.attributes(), trace);
        let of_owner = |attributes: &[KeyValue]| {
            attributes
                .iter()
                .map(|attribute| (attribute.key.clone(), attribute.value.clone()))
                .collect::<Vec<_>>()
        };
        for (key, value) in of_owner(&span.resource().attributes) {
            self.put(FieldScope::Resource, &key, value.as_ref(), trace);
        }
        for (key, value) in of_owner(&span.scope().attributes) {
            self.put(FieldScope::Instrumentation, &key, value.as_ref(), trace);
        }
        self.put(intrinsic, "instrumentation:name", ValueRef::Text(&span.scope().name), trace);
        if !span.scope().version.is_empty() {
            self.put(intrinsic, "instrumentation:version", ValueRef::Text(&span.scope().version), trace);
        }
        for event in span.events() {
            self.put(intrinsic, "event:name", ValueRef::Text(event.name()), trace);
            self.put_all(FieldScope::Event, event.attributes(), trace);
        }
        let digits = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for link in span.links() {
            self.put(intrinsic, "link:traceID", ValueRef::Text(&digits(link.trace_id())), trace);
            self.put(intrinsic, "link:spanID", ValueRef::Text(&digits(link.span_id())), trace);
            self.put_all(FieldScope::Link, link.attributes(), trace);
        }
    }
}

/// The index of a file in memory, read as a store reads it: nothing but what was asked for.
struct Index {
    segment: OpenSegment,
    file: Bytes,
}

impl Index {
    fn of(written: &WrittenSegment) -> Self {
        Self { segment: open(&written.meta, &written.bytes).expect("own bytes"), file: written.bytes.clone() }
    }

    fn read(&self, wanted: &[Range<u64>]) -> IndexBytes {
        let ranges = self.segment.index_ranges(wanted).into_iter();
        let slice = |range: Range<u64>| {
            let bytes = self.file.slice(range.start as usize..range.end as usize);
            (range, bytes)
        };
        self.segment.index_bytes(ranges.map(slice).collect()).expect("own bytes")
    }

    fn header(&self, part: &IndexPart) -> IndexHeader {
        let bytes = self.read(&[part.header_range()]);
        self.segment.index_header(part, &bytes).expect("own bytes")
    }

    fn value_filters(&self) -> ValueFilters {
        let section = self.segment.meta().value_filters.expect("it has an index");
        let range = section.range();
        let bytes = self.file.slice(range.start as usize..range.end as usize);
        OpenSegment::verify_section(&section, &bytes).expect("own bytes");
        ValueFilters::parse(&bytes).expect("own bytes")
    }

    /// The spans of a part, in the order of its rows.
    fn spans(&self, part: &IndexPart) -> SpanBatch {
        let fetched = fetch(&self.segment, &self.file, part.row_range());
        self.segment.decode_rows(part.row_range(), fetched).expect("own bytes")
    }
}

fn set(found: Result<TraceSet, FormatError>) -> BTreeSet<u32> {
    found.expect("own bytes").iter().collect()
}

fn known(found: FieldLookup<'_>) -> Option<IndexedField<'_>> {
    match found {
        FieldLookup::Known(field) => Some(field),
        FieldLookup::Absent | FieldLookup::Unknown => None,
    }
}

/// Compares a part with its rows.
fn compare(index: &Index, part: &IndexPart, random: &mut StdRng) {
    let (header, spans) = (index.header(part), index.spans(part));
    let rows = Rows::of(&spans);
    assert_eq!(part.traces, rows.traces);
    assert!(header.is_complete());
    let listed: Vec<_> = header.fields().map(|field| (field.scope(), field.key().to_owned())).collect();
    assert_eq!(listed, rows.fields.keys().cloned().collect::<Vec<_>>());
    assert!(matches!(header.field(FieldScope::Span, "no such key"), FieldLookup::Absent));
    for ((scope, key), expected) in &rows.fields {
        let field = known(header.field(*scope, key)).expect("it is listed");
        let exists = index.read(&field.exists_ranges());
        assert_eq!(set(field.exists(ANY, &exists)), expected.exists, "{key}");
        let is_never_hashed = matches!(scope, FieldScope::Resource | FieldScope::Instrumentation)
            || ["name", "kind", "status", "instrumentation:name"].contains(&key.as_str());
        for value in expected.values.keys() {
            let same = expected.values.iter().filter(|(other, _)| other.is_same_term(value));
            let same: BTreeSet<u32> = same.flat_map(|(_, traces)| traces.iter().copied()).collect();
            let found = set(field.equal(value.asked(), ANY, &index.read(&field.equal_ranges(value.asked()))));
            assert!(found.is_superset(&same), "{key} = {value:?}");
            if is_never_hashed || same.len() > 1 || matches!(value, Known::Bool(_)) {
                assert_eq!(found, same, "{key} = {value:?}");
            }
        }
        for other in
            [IndexValue::Text("no such value"), IndexValue::Int(987_654_321), IndexValue::Double(f64::NAN)]
        {
            set(field.equal(other, ANY, &index.read(&field.equal_ranges(other))));
        }
        texts(index, &field, expected, random);
        numbers(index, &field, expected);
    }
    table(index, &header, &spans);
    of_resources(index, &header, &spans, random);
    operations(index, &header, &spans);
}

/// The filters hold every value, and one in 256 of others.
fn filters(index: &Index, tenant: &TenantId, part: &IndexPart) {
    let (filters, rows) = (index.value_filters(), Rows::of(&index.spans(part)));
    let (mut asked, mut held) = (0, 0);
    for ((scope, key), expected) in &rows.fields {
        for value in expected.values.keys() {
            let value = ValueKey::of(*scope, key, value.asked()).expect("a value that is indexed");
            assert!(filters.may_hold(index.segment.meta(), tenant, value), "{key}");
        }
        for number in 0..100 {
            let value = ValueKey::of(*scope, key, IndexValue::Double(f64::from(number) + 0.123_456));
            asked += 1;
            let value = value.expect("a value that is indexed");
            held += usize::from(filters.may_hold(index.segment.meta(), tenant, value));
        }
    }
    // Each part of a tenant is asked.
    let parts = index.segment.index_parts_of(tenant).len();
    assert!(held * 256 <= asked * parts * 3, "{held} of {asked} in {parts} parts");
}

/// The spans of a resource in a trace are no longer than is said, and failed where that is said.
fn of_resources(index: &Index, header: &IndexHeader, spans: &SpanBatch, random: &mut StdRng) {
    let mut durations: Vec<u64> = spans.spans().map(|span| span.duration_nano()).collect();
    durations.push(0);
    for field in header.fields().filter(|field| field.scope() == FieldScope::Resource) {
        let bytes = index.read(&field.exists_ranges());
        for is_error in [false, true] {
            let duration_nano_min = durations[random.random_range(0..durations.len())];
            let bounds = SpanBounds { duration_nano_min, is_error };
            let found = set(field.exists(bounds, &bytes));
            let with_field = |least: u64| -> BTreeSet<u32> {
                let mut traces: BTreeMap<(u32, usize), (bool, bool)> = BTreeMap::new();
                let mut ids = Vec::new();
                for span in spans.spans() {
                    if ids.last() != Some(&span.trace_id()) {
                        ids.push(span.trace_id());
                    }
                    let resource = span.resource();
                    if resource.attributes.iter().any(|attribute| &*attribute.key == field.key()) {
                        // What is told apart is the resource, not the span.
                        let key = (ids.len() as u32 - 1, span.resource_index());
                        let of_resource = traces.entry(key).or_default();
                        of_resource.0 |= span.duration_nano() >= least;
                        of_resource.1 |= span.status_code() == 2;
                    }
                }
                let is_in = |(is_long, has_error): (bool, bool)| is_long && (has_error || !is_error);
                traces.into_iter().filter(|(_, seen)| is_in(*seen)).map(|((trace, _), _)| trace).collect()
            };
            assert!(found.is_superset(&with_field(duration_nano_min)), "{}", field.key());
            // At most a quarter more is said.
            let most = with_field(duration_nano_min / 5 * 4);
            assert!(found.is_subset(&most), "{} {bounds:?}", field.key());
        }
    }
}

fn operations(index: &Index, header: &IndexHeader, spans: &SpanBatch) {
    let range = header.operations_range();
    let bytes = index.read(std::slice::from_ref(&range)).get(&range).expect("it was read");
    let operations = Operations::read(&bytes).expect("own bytes");
    assert!(operations.is_complete());
    let mut expected: BTreeMap<Option<String>, BTreeMap<String, BTreeSet<TraceId>>> = BTreeMap::new();
    for span in spans.spans().filter(|span| span.name().len() <= 256) {
        let service = span.resource().service_name();
        if service.is_none_or(|service| service.len() <= 256) {
            let names = expected.entry(service.map(str::to_owned)).or_default();
            names.entry(span.name().to_owned()).or_default().insert(span.trace_id());
        }
    }
    for (service, names) in &expected {
        let listed: Vec<(&str, u32)> = operations.of_service(service.as_deref()).collect();
        let names: Vec<(&str, u32)> =
            names.iter().map(|(name, traces)| (name.as_str(), traces.len() as u32)).collect();
        assert_eq!(listed, names, "{service:?}");
    }
    assert_eq!(operations.of_service(Some("no such service")).count(), 0);
}

/// All that have such a value are found, and of those that are not hashed none else.
fn texts(index: &Index, field: &IndexedField<'_>, expected: &Expected, random: &mut StdRng) {
    let bytes = index.read(&field.texts_ranges());
    let texts = expected.values.iter().filter_map(|(value, traces)| match value {
        Known::Text(text) => Some((text.as_str(), traces)),
        _ => None,
    });
    let texts: Vec<(&str, &BTreeSet<u32>)> = texts.collect();
    let traces_of = |is_match: &dyn Fn(&str) -> bool| -> BTreeSet<u32> {
        texts
            .iter()
            .filter(|(text, _)| is_match(text))
            .flat_map(|(_, traces)| traces.iter().copied())
            .collect()
    };
    for (text, _) in &texts {
        let end = text.floor_char_boundary(random.random_range(0..=text.len()));
        let prefix = &text[..end];
        let found = set(field.prefix(prefix, ANY, &bytes));
        assert!(
            found.is_superset(&traces_of(&|text| text.starts_with(prefix))),
            "{} {prefix:?}",
            field.key()
        );
    }
    let found = set(field.matching(&mut |text| text.contains('5'), ANY, &bytes));
    assert!(found.is_superset(&traces_of(&|text| text.contains('5'))));
    assert!(found.is_subset(&expected.exists));

    let mut listed = Vec::new();
    let mut take = |text: &str, traces| {
        listed.push((text.to_owned(), traces));
        true
    };
    field.texts("va", None, &bytes, &mut take).expect("own bytes");
    for (text, traces) in &listed {
        let (_, expected) = texts.iter().find(|(other, _)| other == text).expect("a value of it");
        assert_eq!(*traces as usize, expected.len(), "{text}");
    }
    let many = texts.iter().filter(|(text, traces)| text.starts_with("va") && traces.len() > 1);
    assert!(many.into_iter().all(|(text, _)| listed.iter().any(|(other, _)| other == text)));
    let mut first = None;
    let mut take = |text: &str, _| first.replace(text.to_owned()).is_some();
    field.texts("va", None, &bytes, &mut take).expect("own bytes");
    assert_eq!(first.as_ref(), listed.first().map(|(text, _)| text));
}

fn numbers(index: &Index, field: &IndexedField<'_>, expected: &Expected) {
    let numbers: Vec<(f64, &Known, &BTreeSet<u32>)> =
        expected.values.iter().filter_map(|(value, traces)| Some((value.number()?, value, traces))).collect();
    let min = numbers.iter().map(|(number, ..)| *number).min_by(f64::total_cmp);
    let max = numbers.iter().map(|(number, ..)| *number).max_by(f64::total_cmp);
    // Beyond the lowest and the highest nothing is read. Integers beyond 2⁵³ share a term with their neighbours.
    let exact = |number: &f64| number.abs() < 9_007_199_254_740_992.0;
    let (min, max) = (min.filter(exact), max.filter(exact));
    for (lower, upper) in [(None, min), (max, None)] {
        let beyond = |bound: Option<f64>| {
            bound.map_or(Bound::Unbounded, |number| Bound::Excluded(IndexValue::Double(number)))
        };
        if lower.or(upper).is_some() {
            assert!(field.numbers_ranges(beyond(lower), beyond(upper)).is_empty(), "{}", field.key());
        }
    }
    for number in min.into_iter().chain(max) {
        let number = IndexValue::Double(number);
        let ranges = field.numbers_ranges(Bound::Included(number), Bound::Included(number));
        let found =
            set(field.numbers(Bound::Included(number), Bound::Included(number), ANY, &index.read(&ranges)));
        assert!(!found.is_empty(), "{}", field.key());
    }
    let bounds = numbers.iter().flat_map(|(_, value, _)| [Bound::Included(*value), Bound::Excluded(*value)]);
    for bound in bounds.chain([Bound::Unbounded]) {
        let asked = bound.map(Known::asked);
        for (lower, upper) in [(asked, Bound::Unbounded), (Bound::Unbounded, asked), (asked, asked)] {
            let found = field.numbers(lower, upper, ANY, &index.read(&field.numbers_ranges(lower, upper)));
            let found = set(found);
            let within = numbers.iter().filter(|(_, value, _)| is_within(value, lower, upper));
            let within: BTreeSet<u32> = within.flat_map(|(.., traces)| traces.iter().copied()).collect();
            assert!(found.is_superset(&within), "{} in {lower:?} {upper:?}", field.key());
        }
    }
}

/// As the numbers are, not as their nearest doubles.
fn is_within(value: &Known, lower: Bound<IndexValue<'_>>, upper: Bound<IndexValue<'_>>) -> bool {
    // -0 is 0.
    let number = |value: &Known| value.number().expect("a number") + 0.0;
    let order = |bound: IndexValue<'_>| match (value, bound) {
        (Known::Int(a), IndexValue::Int(b)) => a.cmp(&b),
        (value, IndexValue::Int(b)) => number(value).total_cmp(&(b as f64)),
        (value, IndexValue::Double(b)) => number(value).total_cmp(&(b + 0.0)),
        _ => unreachable!("not a number"),
    };
    let is_above = match lower {
        Bound::Unbounded => true,
        Bound::Included(bound) => order(bound).is_ge(),
        Bound::Excluded(bound) => order(bound).is_gt(),
    };
    is_above
        && match upper {
            Bound::Unbounded => true,
            Bound::Included(bound) => order(bound).is_le(),
            Bound::Excluded(bound) => order(bound).is_lt(),
        }
}

fn table(index: &Index, header: &IndexHeader, spans: &SpanBatch) {
    let bytes = index.read(&[header.trace_table_range()]);
    let table = index.segment.trace_table(header, &bytes).expect("own bytes");
    assert_eq!(table.len(), header.part().traces as usize);
    let mut next_row = header.part().first_row;
    for ordinal in 0..header.part().traces {
        let rows = table.rows(ordinal);
        assert_eq!(rows.start, next_row);
        next_row = rows.end;
        let first = header.part().first_row;
        let of_trace = (rows.start - first..rows.end - first).map(|row| spans.span(row as usize));
        let start = of_trace.clone().map(|span| span.start_unix_nano()).min().expect("a row");
        let ends = of_trace.map(|span| span.end_unix_nano().max(span.start_unix_nano()));
        let end = ends.max().expect("a row");
        assert_eq!(table.start_unix_nano_min(ordinal), start);
        let duration = end.saturating_sub(start);
        assert!(table.duration_nano_max(ordinal) >= duration);
        assert!(table.duration_nano_max(ordinal) / 2 <= duration);
    }
    assert_eq!(next_row, header.part().row_range().end);
}

/// Two tenants with odd spans.
pub(crate) fn odd_tenants(seed: u64, random: &mut StdRng) -> Vec<(TenantId, Vec<SpanBatch>)> {
    let mut odd = Odd::new(seed, random.random_range(1..200));
    ["default", "other"].map(|name| (tenant(name), vec![odd.batch(random.random_range(1..500))])).into()
}

#[test]
fn what_has_a_value_is_found() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..12 {
        let tenants = odd_tenants(seed.wrapping_add(round), &mut random);
        let written = write(&tenants, &columns(&tenants), &indexed());
        let index = Index::of(&written);
        assert_eq!(index.segment.check(&written.bytes), Vec::<String>::new());
        assert!(index.segment.has_index());
        for (name, batches) in &tenants {
            let parts = index.segment.index_parts_of(name);
            let rows: u64 = parts.iter().map(|part| u64::from(part.rows)).sum();
            assert_eq!(rows as usize, batches.iter().map(SpanBatch::len).sum::<usize>());
            assert!(parts.iter().all(|part| part.rows <= 128 + 64));
            parts.iter().for_each(|part| compare(&index, part, &mut random));
            parts.iter().for_each(|part| filters(&index, name, part));
        }
        assert!(index.segment.index_parts_of(&tenant("nobody")).is_empty());
    }
}

#[test]
fn a_segment_without_an_index_says_so() {
    let mut odd = Odd::new(seed(), 5);
    let tenants = vec![(tenant("default"), vec![odd.batch(20)])];
    let options = SegmentWriterOptions { attribute_index: false, ..small() };
    let written = write(&tenants, &columns(&tenants), &options);
    let opened = open(&written.meta, &written.bytes).expect("own bytes");
    assert!(!opened.has_index() && opened.index_parts().is_empty());
}

#[test]
fn bytes_that_were_not_read_are_an_error() {
    let mut random = StdRng::seed_from_u64(7);
    let tenants = odd_tenants(7, &mut random);
    let written = write(&tenants, &columns(&tenants), &indexed());
    let index = Index::of(&written);
    let part = index.segment.index_parts()[0];
    assert!(index.segment.index_header(&part, &IndexBytes::default()).is_err());
    let header = index.header(&part);
    assert!(index.segment.trace_table(&header, &IndexBytes::default()).is_err());
    let FieldLookup::Known(name) = header.field(FieldScope::Resource, "service.name") else { return };
    assert!(name.exists(ANY, &IndexBytes::default()).is_err());
    let range = index.segment.index_ranges(&[part.header_range()])[0].clone();
    let bytes = index.file.slice(range.start as usize..range.end as usize);
    let mut damaged = bytes.to_vec();
    damaged[0] ^= 1;
    assert!(index.segment.index_bytes(vec![(range.clone(), damaged.into())]).is_err());
    assert!(index.segment.index_bytes(vec![(range.clone(), bytes.slice(1..))]).is_err());
    assert!(index.segment.index_bytes(vec![(range, bytes)]).is_ok());
}

/// One span a trace; each has one of so many resources.
fn spans(count: u32, resources: u32, mut each: impl FnMut(&mut SpanBatchBuilder, u32)) -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    let scope = builder.scope(Arc::new(Scope::default()));
    let name = builder.known_term("GET /");
    for at in 1..=count {
        let pod = format!("pod-{}", at % resources);
        let attributes = vec![KeyValue { key: "k8s.pod.name".into(), value: Value::Text(pod.into()) }];
        let resource = builder.resource(Arc::new(Resource { attributes, ..Resource::default() }));
        each(&mut builder, at);
        let trace_id = TraceId::from_bytes(&u128::from(at).to_be_bytes()).expect("not zero");
        let span_id = SpanId::from_bytes(&u64::from(at).to_be_bytes()).expect("not zero");
        builder.finish_span(SpanScalars { name, resource, scope, ..SpanScalars::new(trace_id, span_id) });
    }
    builder.finish()
}

fn whole(batch: SpanBatch) -> Index {
    let tenants = vec![(tenant("default"), vec![batch])];
    Index::of(&write(&tenants, &columns(&tenants), &SegmentWriterOptions::default()))
}

#[test]
fn of_too_many_fields_the_most_common_are_listed() {
    let long = "long".repeat(100);
    let index = whole(spans(100, 3, |builder, at| {
        for key in 0..50 {
            let key = builder.known_term(&format!("rare.{}", at * 50 + key));
            builder.push_int(Owner::Span, key, 1);
        }
        for key in ["common", &long] {
            let key = builder.known_term(key);
            builder.push_text(Owner::Span, key, &format!("value {}", at % 7));
        }
    }));
    assert_eq!(index.segment.check(&index.file), Vec::<String>::new());
    let header = index.header(&index.segment.index_parts()[0]);
    assert_eq!((header.fields().count(), header.is_complete()), (4_096, false));
    let common = known(header.field(FieldScope::Span, "common")).expect("it is on every span");
    let value = IndexValue::Text("value 3");
    assert_eq!(set(common.equal(value, ANY, &index.read(&common.equal_ranges(value)))).len(), 14);
    assert!(known(header.field(FieldScope::Resource, "k8s.pod.name")).is_some());
    let is_listed = |key: &u32| known(header.field(FieldScope::Span, &format!("rare.{key}"))).is_some();
    // Beside that, name, kind, status, and the scope's name.
    assert_eq!((50..5_050).filter(is_listed).count(), 4_096 - 6);
    for key in ["rare.999", "rare.no", &long] {
        assert!(matches!(header.field(FieldScope::Span, key), FieldLookup::Unknown), "{key}");
    }
    assert!(matches!(header.field(FieldScope::Intrinsic, "event:name"), FieldLookup::Unknown));
}

#[test]
fn long_texts_are_found_whole_and_never_missed() {
    let text = |at: u32| format!("{}{}", "x".repeat(300), at % 40);
    let index = whole(spans(60, 3, |builder, at| {
        let key = builder.known_term("statement");
        builder.push_text(Owner::Span, key, &text(at));
    }));
    let header = index.header(&index.segment.index_parts()[0]);
    let field = known(header.field(FieldScope::Span, "statement")).expect("it is listed");
    for at in 1..=60 {
        let text = text(at);
        let value = IndexValue::Text(&text);
        let found = set(field.equal(value, ANY, &index.read(&field.equal_ranges(value))));
        // 20 of them are on two traces; others are hashed.
        let expected = if (1..=20).contains(&(at % 40)) { 2..=2 } else { 1..=60 };
        assert!(expected.contains(&found.len()), "{at}: {}", found.len());
    }
    let bytes = index.read(&field.texts_ranges());
    assert_eq!(set(field.prefix("xxx", ANY, &bytes)).len(), 60);
    assert_eq!(set(field.matching(&mut |_| false, ANY, &bytes)).len(), 60);
}

#[test]
fn a_part_ends_before_it_has_too_many_resources() {
    let index = whole(spans(20_000, 20_000, |_, _| ()));
    assert_eq!(index.segment.check(&index.file), Vec::<String>::new());
    let rows: Vec<u32> = index.segment.index_parts().iter().map(|part| part.rows).collect();
    assert_eq!(rows, [16_384, 20_000 - 16_384]);
    for part in index.segment.index_parts() {
        let header = index.header(part);
        let field = known(header.field(FieldScope::Resource, "k8s.pod.name")).expect("it is listed");
        let mut texts = 0;
        let bytes = index.read(&field.texts_ranges());
        let mut take = |_: &str, traces| {
            texts += traces;
            true
        };
        field.texts("", None, &bytes, &mut take).expect("own bytes");
        assert_eq!((texts, field.unlisted_values()), (part.rows, 0));
    }
}

/// What it costs, of spans that mean something.
#[test]
fn an_index_costs_few_bytes() {
    let tenants = vec![(tenant("default"), crate::realistic::batches(3, 60_000))];
    let options = SegmentWriterOptions::default();
    let with = write(&tenants, &columns(&tenants), &options);
    let without =
        write(&tenants, &columns(&tenants), &SegmentWriterOptions { attribute_index: false, ..options });
    let bytes = (with.bytes.len() - without.bytes.len()) as f64 / with.meta.rows as f64;
    println!("{bytes:.2} bytes a span");
    assert!(bytes < 8.0, "{bytes:.2} bytes a span");
}
