//! Any bytes behind the checksums of an index.

use std::ops::Bound;

use bytes::Bytes;

use super::fetched::IndexBytes;
use super::field::{FieldLookup, FieldScope};
use super::header::IndexHeader;
use super::operations::Operations;
use super::parts::{IndexPart, PartIndex};
use super::query::SpanBounds;
use super::trace_set::TraceSet;
use super::trace_table::TraceTable;
use super::value::IndexValue;
use super::value_filters::ValueFilters;
use super::{hashed, postings};

/// `data` as each thing that an index has. Anything may be refused; nothing may panic.
pub(in crate::segment) fn index(data: &[u8]) {
    drop(PartIndex::parse(data));
    let universe = data.first().map_or(0, |byte| u32::from(*byte) * 5 + 1);
    let mut set = TraceSet::empty(universe);
    drop(postings::or_into(data, &mut set));
    drop(postings::count(data, universe));
    let hashes = usize::from(data.get(1).copied().unwrap_or_default());
    drop(hashed::or_into(data, hashes, u64::from(universe), &mut set));
    assert!(set.iter().all(|ordinal| ordinal < universe));
    let bytes = Bytes::copy_from_slice(data);
    drop(TraceTable::read(&bytes, universe, 0, universe));
    drop(Operations::read(&bytes));
    drop(ValueFilters::parse(&bytes));
    part(&bytes, universe);
}

/// `data` as a part, of which the second two bytes say how long its header is.
fn part(data: &Bytes, universe: u32) {
    let Some([_, _, low, high]) = data.first_chunk::<4>() else { return };
    let part = IndexPart {
        tenant: 0,
        first_row: 0,
        rows: universe,
        traces: universe,
        resources: universe.min(3),
        scopes: universe.min(2),
        offset: 0,
        len: data.len() as u32,
        header_len: u32::from(*low) | u32::from(*high) << 8,
        header_crc32c: 0,
    };
    let range = part.header_range();
    let Some(header) = data.get(range.start as usize..range.end as usize) else { return };
    let Ok(header) = IndexHeader::parse(&part, &data.slice_ref(header)) else { return };
    ask(&header, &IndexBytes::of(data));
}

/// Asks whatever can be asked.
pub(in crate::segment) fn ask(header: &IndexHeader, bytes: &IndexBytes) {
    let traces = header.part().traces;
    let check = |found: Result<TraceSet, crate::FormatError>| {
        if let Ok(set) = found {
            assert_eq!(set.universe(), traces);
        }
    };
    let failed = SpanBounds { duration_nano_min: 1_000, is_error: true };
    for (field, spans) in header.fields().flat_map(|field| [(field, SpanBounds::default()), (field, failed)])
    {
        assert!(matches!(header.field(field.scope(), field.key()), FieldLookup::Known(_)));
        check(field.exists(spans, bytes));
        let numbers = [0, 1, -1, i64::MAX].map(IndexValue::Int);
        let texts = ["", "GET", "value-1"].map(IndexValue::Text);
        for value in numbers.into_iter().chain(texts).chain([true, false].map(IndexValue::Bool)) {
            check(field.equal(value, spans, bytes));
            check(field.numbers(Bound::Excluded(value), Bound::Unbounded, spans, bytes));
        }
        check(field.prefix("v", spans, bytes));
        check(field.matching(&mut |text| text.len() > 3, spans, bytes));
        drop(field.texts("", None, bytes, &mut |_, count| count <= traces));
        drop(field.each_number(None, bytes, &mut |_, count| count <= traces));
    }
    assert!(!matches!(header.field(FieldScope::Intrinsic, "no such"), FieldLookup::Known(_)));
}
