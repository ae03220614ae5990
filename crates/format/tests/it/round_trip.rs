//! What goes in comes out, bit for bit.

use std::sync::Arc;

use tracelake_format::segment::{AttributeColumn, AttributeColumns, AttributeType, SegmentWriterOptions};
use tracelake_model::{
    Owner, Resource, Scope, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, TenantId, TraceId, ValueRef,
};

use crate::random::{Odd, seed};
use crate::support::{columns, fetch, open, same_spans, small, tenant, write};

fn round_trip(tenants: &[(TenantId, Vec<SpanBatch>)], columns: &AttributeColumns) {
    let segment = write(tenants, columns, &small());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    for part in &segment.meta.tenants {
        let rows = part.first_row..part.first_row + part.rows;
        let read = opened.decode_rows(rows.clone(), fetch(&opened, &segment.bytes, rows)).expect("own bytes");
        let written = tenants.iter().filter(|(tenant, _)| *tenant == part.tenant);
        let written = written.flat_map(|(_, batches)| batches).flat_map(SpanBatch::spans);
        assert!(same_spans(written, read.spans()), "tenant {}", part.tenant);
    }
    assert_eq!(opened.check(&segment.bytes), Vec::<String>::new());
}

#[test]
fn odd_spans_of_several_tenants_read_back_equal() {
    let mut odd = Odd::new(seed(), 40);
    let tenants: Vec<_> = ["b", "default", "A-1"]
        .into_iter()
        .map(|name| (tenant(name), (0..4).map(|_| odd.batch(60)).collect()))
        .collect();
    round_trip(&tenants, &columns(&tenants));
}

#[test]
fn attributes_read_back_equal_whatever_has_a_column() {
    let mut odd = Odd::new(seed(), 5);
    let tenants = vec![(tenant("default"), vec![odd.batch(100)])];
    round_trip(&tenants, &AttributeColumns::default());
    for kind in [AttributeType::String, AttributeType::Int, AttributeType::Double, AttributeType::Bool] {
        let column = |key: &str| AttributeColumn { key: key.to_owned(), kind };
        let keys =
            ["http.route", "http.status", "ratio", "flag", "mixed", "", "a\u{0}b", "`'\"\\", "not there"];
        round_trip(&tenants, &AttributeColumns { columns: keys.map(column).to_vec() });
    }
}

#[test]
fn a_tenant_that_is_given_twice_is_one() {
    let mut odd = Odd::new(seed(), 3);
    let (first, second) = (odd.batch(10), odd.batch(10));
    let tenants = vec![(tenant("t"), vec![first]), (tenant("u"), vec![]), (tenant("t"), vec![second])];
    round_trip(&tenants, &columns(&tenants));
    let segment = write(&tenants, &columns(&tenants), &small());
    assert_eq!(segment.meta.tenants.len(), 1);
}

#[test]
fn a_generation_without_spans_is_a_segment_without_rows() {
    let segment = write(&[], &AttributeColumns::default(), &small());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    assert_eq!((opened.meta().rows, opened.check(&segment.bytes)), (0, vec![]));
    assert!(opened.ranges_for_rows(0..10).is_empty());
    assert!(opened.decode_rows(0..0, vec![]).expect("nothing").is_empty());
}

#[test]
fn any_range_of_rows_reads_alone() {
    let mut odd = Odd::new(seed(), 6);
    let tenants = vec![(tenant("default"), vec![odd.batch(200)])];
    let segment = write(&tenants, &columns(&tenants), &small());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let all = opened.decode_rows(0..200, fetch(&opened, &segment.bytes, 0..200)).expect("own bytes");
    for (start, end) in [(0, 1), (15, 17), (63, 65), (0, 64), (64, 128), (60, 200), (199, 200), (100, 100)] {
        let rows =
            opened.decode_rows(start..end, fetch(&opened, &segment.bytes, start..end)).expect("own bytes");
        let expected = (start..end).map(|row| all.span(row as usize));
        assert!(expected.zip(rows.spans()).all(|(a, b)| a.is_duplicate_of(&b)), "{start} to {end}");
        assert_eq!(rows.len() as u64, end - start);
    }
}

/// A dictionary makes one stack trace on thousands of rows small on disk, and large when it is decoded.
#[test]
fn rows_with_much_text_that_repeats_are_read_in_parts() {
    let stack = "at shop.Checkout.place(Checkout.java:97)\n".repeat(400);
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    let (key, exception) = (builder.known_term("exception.stacktrace"), builder.known_term("exception"));
    for number in 1..=3_000u64 {
        builder.push_text(Owner::Event, key, &stack);
        builder.finish_event(number, exception, 0);
        let trace = TraceId::from_bytes(&u128::from(number / 10 + 1).to_be_bytes()).expect("not zero");
        let span = SpanId::from_bytes(&number.to_be_bytes()).expect("not zero");
        builder.finish_span(SpanScalars { resource, scope, ..SpanScalars::new(trace, span) });
    }
    let tenants = vec![(tenant("default"), vec![builder.finish()])];
    let segment = write(&tenants, &AttributeColumns::default(), &SegmentWriterOptions::default());
    assert!(segment.bytes.len() < 1 << 20, "{} bytes", segment.bytes.len());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    for rows in [0..3_000, 1_000..2_999, 7..8] {
        let read = opened.decode_rows(rows.clone(), fetch(&opened, &segment.bytes, rows.clone()));
        let read = read.expect("own bytes");
        assert_eq!(read.len() as u64, rows.end - rows.start);
        for span in read.spans() {
            let event = span.events().next().expect("one");
            assert_eq!(event.attributes().next(), Some(("exception.stacktrace", ValueRef::Text(&stack))));
        }
    }
}
