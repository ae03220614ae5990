//! What goes in comes out, bit for bit.

use tracelake_format::segment::{AttributeColumn, AttributeColumns, AttributeType};
use tracelake_model::{SpanBatch, TenantId};

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
