//! The directory and the filter find each trace, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tracelake_format::segment::{
    ColumnSet, Decoding, KeyFilter, OpenSegment, Projection, RowsPlan, SegmentWriterOptions,
};
use tracelake_model::hash::{filter_key, tenant_hash, trace_hash};
use tracelake_model::{
    Owner, Resource, Scope, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, SpanView, TenantId, TraceId,
};

use crate::random::{Odd, seed};
use crate::support::{columns, fetch, find, lookup, open, same_spans, small, tenant, write};

fn traces(batches: &[SpanBatch]) -> BTreeMap<TraceId, Vec<SpanView<'_>>> {
    let mut traces = BTreeMap::<_, Vec<_>>::new();
    for span in batches.iter().flat_map(SpanBatch::spans) {
        traces.entry(span.trace_id()).or_default().push(span);
    }
    traces
}

/// Two tenants that share half of their traces.
fn two_tenants(seed: u64) -> Vec<(TenantId, Vec<SpanBatch>)> {
    let mut odd = Odd::new(seed, 700);
    vec![(tenant("one"), vec![odd.batch(300), odd.batch(700)]), (tenant("two"), vec![odd.batch(500)])]
}

/// How all that these rows have is read.
fn plan(opened: &OpenSegment, rows: &[Range<u64>]) -> RowsPlan {
    opened.plan_rows(rows, ColumnSet::ALL, &Projection::ALL, None)
}

#[test]
fn each_trace_is_found_with_exactly_its_spans() {
    let tenants = two_tenants(seed());
    let segment = write(&tenants, &columns(&tenants), &small());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let everything: BTreeSet<TraceId> =
        tenants.iter().flat_map(|(_, batches)| traces(batches).into_keys()).collect();
    for (tenant, batches) in &tenants {
        let traces = traces(batches);
        for id in &everything {
            let entry = find(&opened, &segment.bytes, tenant, id).expect("own bytes");
            let (Some(spans), Some(entry)) = (traces.get(id), entry.clone()) else {
                assert_eq!(traces.contains_key(id), entry.is_some(), "{tenant} {id}");
                continue;
            };
            let fetched = fetch(&opened, &segment.bytes, entry.row_range());
            let read = opened.decode_trace(&entry, fetched).expect("own bytes");
            assert!(same_spans(spans.iter().copied(), read.spans()), "{tenant} {id}");
        }
    }
}

#[test]
fn threads_that_share_the_decoding_of_rows_get_what_one_gets() {
    let seed = seed();
    let mut odd = Odd::new(seed, 700);
    let tenants = vec![(tenant("one"), vec![odd.batch(2_000)])];
    // One row group and one slab, so that columns are shared; several of each, so that they are not.
    for options in [SegmentWriterOptions::default(), small()] {
        let segment = write(&tenants, &columns(&tenants), &options);
        let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
        let mut shared = 0;
        for (first, last) in [(0, 2_000), (0, 1), (17, 40), (63, 64), (60, 70), (1_999, 2_000)] {
            let alone = opened.decode_rows(first..last, fetch(&opened, &segment.bytes, first..last));
            let alone = alone.expect("own bytes");
            let plan = plan(&opened, std::slice::from_ref(&(first..last)));
            let decoding =
                Decoding::new(&opened, plan, fetch(&opened, &segment.bytes, first..last)).expect("own bytes");
            shared += usize::from(decoding.shared_columns() > 0);
            let together = std::thread::scope(|scope| {
                scope.spawn(|| decoding.work());
                scope.spawn(|| decoding.work());
                decoding.finish()
            });
            let together = together.expect("own bytes");
            assert!(same_spans(alone.spans(), together.spans()), "{first} to {last}");
            assert!(decoding.finish().is_err(), "once");
        }
        assert_eq!(shared, if options.row_group_rows > 64 { 6 } else { 4 });
    }
}

#[test]
fn rows_far_from_each_other_are_read_as_each_alone() {
    let seed = seed();
    let mut odd = Odd::new(seed, 700);
    // More rows than are decoded at once, and fewer of those that are asked for.
    let tenants = vec![(tenant("one"), vec![odd.batch(9_000)])];
    for options in [SegmentWriterOptions::default(), small()] {
        let segment = write(&tenants, &columns(&tenants), &options);
        let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
        for step in [40, 977] {
            let wanted: Vec<_> = (0..9_000).step_by(step).map(|at| at..at + 1 + at % 23).collect();
            let plan = plan(&opened, &wanted);
            let runs = plan.runs().to_vec();
            let bytes = |range: &std::ops::Range<u64>| {
                (range.clone(), segment.bytes.slice(range.start as usize..range.end as usize))
            };
            let fetched = plan.ranges().iter().map(bytes).collect();
            let together = Decoding::new(&opened, plan, fetched).and_then(|decoding| decoding.finish());
            let together = together.expect("own bytes");
            let mut at = 0;
            for run in runs {
                let alone = opened.decode_rows(run.clone(), fetch(&opened, &segment.bytes, run.clone()));
                let alone = alone.expect("own bytes");
                let part = together.spans().skip(at).take(alone.len());
                assert!(same_spans(part, alone.spans()), "{run:?}");
                at += alone.len();
            }
            assert_eq!(at, together.len());
        }
    }
}

#[test]
fn columns_in_which_a_trace_has_nothing_are_not_read() {
    let tenants = two_tenants(seed());
    // Traces of several slices, and slices of several traces.
    let segment = write(&tenants, &columns(&tenants), &small());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let (tenant, batches) = &tenants[0];
    let (mut read, mut all, mut in_two_slices) = (0, 0, 0);
    for id in traces(batches).keys() {
        let entry = find(&opened, &segment.bytes, tenant, id).expect("own bytes").expect("there");
        let plan = |filled| opened.plan_rows(&[entry.row_range()], filled, &Projection::ALL, None);
        read += plan(entry.columns).pages().0;
        all += plan(ColumnSet::ALL).pages().0;
        let everything =
            opened.decode_rows(entry.row_range(), fetch(&opened, &segment.bytes, entry.row_range()));
        // What is missing among the bytes would be an error.
        let plan = plan(entry.columns);
        let bytes = |range: &std::ops::Range<u64>| {
            (range.clone(), segment.bytes.slice(range.start as usize..range.end as usize))
        };
        let fetched = plan.ranges().iter().map(bytes).collect();
        let alone = Decoding::new(&opened, plan, fetched).and_then(|decoding| decoding.finish());
        let (alone, everything) = (alone.expect("own bytes"), everything.expect("own bytes"));
        assert!(same_spans(alone.spans(), everything.spans()), "{id}");
        let slice_of = |row: u64| row / small().page_rows as u64;
        in_two_slices += usize::from(slice_of(entry.first_row) != slice_of(entry.row_range().end - 1));
    }
    assert!(read * 10 < all * 9, "{read} of {all} pages");
    assert!(in_two_slices > 5, "{in_two_slices} traces lie in two slices");
}

/// Spans of one trace with so many attributes of so much text, another in each, that compresses.
fn wide(spans: u64, attributes: usize, text_bytes: usize) -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    let keys: Vec<_> = (0..attributes).map(|key| builder.known_term(&format!("key.{key}"))).collect();
    for number in 1..=spans {
        for (at, key) in keys.iter().enumerate() {
            builder.push_text(Owner::Span, *key, &format!("{number:07}{at:02}{:1$}", "", text_bytes));
        }
        let trace_id = TraceId::from_bytes(&[1; 16]).expect("not zero");
        let span_id = SpanId::from_bytes(&number.to_be_bytes()).expect("not zero");
        builder.finish_span(SpanScalars {
            start_unix_nano: number,
            resource,
            scope,
            ..SpanScalars::new(trace_id, span_id)
        });
    }
    builder.finish()
}

/// The first rows, as many as that many bytes allow.
fn first_rows(opened: &OpenSegment, file: &Bytes, rows: Range<u64>, heap_bytes_max: usize) -> SpanBatch {
    let plan = plan(opened, std::slice::from_ref(&rows));
    let decoding = Decoding::new(opened, plan, fetch(opened, file, rows)).expect("own bytes");
    decoding.at_most(heap_bytes_max).finish().expect("own bytes")
}

#[test]
fn of_rows_that_are_too_much_together_the_first_are_decoded_one_at_least() {
    let tenants = vec![(tenant("one"), vec![wide(200, 2, 10)])];
    let segment = write(&tenants, &columns(&tenants), &small());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let whole = opened.decode_rows(0..200, fetch(&opened, &segment.bytes, 0..200)).expect("own bytes");
    for heap_bytes_max in [0, 1, 300, 5_000, whole.heap_bytes() / 2] {
        let (mut row, mut batches) = (0, 0);
        while row < 200 {
            let batch = first_rows(&opened, &segment.bytes, row..200, heap_bytes_max);
            assert!(!batch.is_empty(), "row {row} with {heap_bytes_max} bytes");
            let expected = whole.spans().skip(row as usize).take(batch.len());
            assert!(same_spans(expected, batch.spans()), "row {row} with {heap_bytes_max} bytes");
            row += batch.len() as u64;
            batches += 1;
        }
        assert_eq!(row, 200);
        assert!(batches > 1, "{heap_bytes_max} bytes");
    }
}

#[test]
fn texts_of_many_columns_are_bounded_together() {
    // 60 MB, 2 MB a column.
    let tenants = vec![(tenant("one"), vec![wide(2_000, 30, 1_000)])];
    let segment = write(&tenants, &columns(&tenants), &SegmentWriterOptions::default());
    assert!(segment.bytes.len() < 4 << 20, "{} bytes", segment.bytes.len());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let mib = 1 << 20;
    for (heap_bytes_max, expected) in [(mib, 0..3 * mib), (8 * mib, 8 * mib..18 * mib)] {
        let batch = first_rows(&opened, &segment.bytes, 0..2_000, heap_bytes_max);
        assert!(expected.contains(&batch.heap_bytes()), "{} of {heap_bytes_max}", batch.heap_bytes());
        assert!(same_spans(tenants[0].1[0].spans().take(batch.len()), batch.spans()));
    }
    let whole = first_rows(&opened, &segment.bytes, 0..2_000, usize::MAX);
    assert!(same_spans(tenants[0].1[0].spans(), whole.spans()));
}

#[test]
fn columns_with_little_text_take_little_of_the_room() {
    let tenants = vec![(tenant("one"), vec![wide(2_000, 40, 1)])];
    let segment = write(&tenants, &columns(&tenants), &SegmentWriterOptions::default());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    // The first slab comes whole: it is not taken row by row.
    assert_eq!(first_rows(&opened, &segment.bytes, 0..2_000, 1).len(), 2_000);
}

#[test]
fn blocks_of_the_directory_that_end_within_one_slice_are_right() {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    let keys = ["even", "odd"].map(|key| builder.known_term(key));
    for number in 1..=3_000u64 {
        builder.push_int(Owner::Span, keys[number as usize % 2], 1);
        let trace_id = TraceId::from_bytes(&u128::from(number).to_be_bytes()).expect("not zero");
        let span_id = SpanId::from_bytes(&number.to_be_bytes()).expect("not zero");
        builder.finish_span(SpanScalars { resource, scope, ..SpanScalars::new(trace_id, span_id) });
    }
    let tenants = vec![(tenant("one"), vec![builder.finish()])];
    let segment = write(&tenants, &columns(&tenants), &SegmentWriterOptions::default());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    assert_eq!(opened.check(&segment.bytes), Vec::<String>::new());
    let sets = (1..=3_000u64).map(|number| {
        let trace_id = TraceId::from_bytes(&u128::from(number).to_be_bytes()).expect("not zero");
        find(&opened, &segment.bytes, &tenants[0].0, &trace_id).expect("own bytes").expect("there").columns
    });
    let sets: Vec<ColumnSet> = sets.collect();
    assert_ne!(sets[0], sets[1]);
    assert!(sets.iter().zip(sets.iter().skip(2)).all(|(one, next)| one == next));
}

#[test]
fn a_damaged_page_is_an_error_whoever_decodes_it() {
    let tenants = two_tenants(seed());
    let segment = write(&tenants, &columns(&tenants), &SegmentWriterOptions::default());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let mut fetched = fetch(&opened, &segment.bytes, 0..10);
    for part in 0..fetched.len() {
        let (range, whole) = fetched[part].clone();
        let mut damaged = whole.to_vec();
        damaged[whole.len() / 2] ^= 1;
        fetched[part] = (range.clone(), damaged.into());
        let plan = plan(&opened, std::slice::from_ref(&(0..10)));
        let decoding = Decoding::new(&opened, plan, fetched.clone()).expect("all there");
        decoding.work();
        let error = decoding.finish().expect_err("damaged").to_string();
        assert!(error.contains("checksum"), "{error}");
        decoding.finish().expect_err("once");
        fetched[part] = (range, whole);
    }
}

#[test]
fn an_entry_sums_up_its_trace() {
    let tenants = two_tenants(seed());
    let segment = write(&tenants, &columns(&tenants), &small());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let (tenant, batches) = &tenants[0];
    for (id, spans) in traces(batches) {
        let entry = find(&opened, &segment.bytes, tenant, &id).expect("own bytes").expect("there");
        assert_eq!(entry.rows, spans.len() as u64);
        assert_eq!(Some(entry.start_unix_nano_min), spans.iter().map(SpanView::start_unix_nano).min());
        assert_eq!(Some(entry.end_unix_nano_max), spans.iter().map(SpanView::end_unix_nano).max());
        assert_eq!(entry.errors, spans.iter().filter(|span| span.status_code() == 2).count() as u64);
        let services: BTreeSet<&str> =
            spans.iter().filter_map(|span| span.resource().service_name()).collect();
        let cut = |text: &str| text[..text.floor_char_boundary(256)].to_owned();
        let listed: BTreeSet<String> = entry.services.iter().map(|service| service.to_string()).collect();
        assert_eq!(listed, services.iter().map(|service| cut(service)).collect());
        let roots = || spans.iter().filter(|span| span.parent_span_id().is_none());
        let first = roots().map(SpanView::start_unix_nano).min();
        assert_eq!(entry.root.is_some(), first.is_some());
        if let Some(root) = entry.root {
            let earliest = roots().filter(|span| Some(span.start_unix_nano()) == first);
            let names: Vec<_> =
                earliest.map(|span| (cut(span.name()), span.resource().service_name().map(cut))).collect();
            let found = (root.name.to_string(), root.service.map(|service| service.to_string()));
            assert!(names.contains(&found), "{found:?} of {names:?}");
        }
    }
}

#[test]
fn rows_are_in_the_documented_order() {
    let tenants = two_tenants(seed());
    let segment = write(&tenants, &columns(&tenants), &small());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    assert!(segment.meta.tenants.is_sorted_by_key(|part| &part.tenant));
    for part in &segment.meta.tenants {
        let rows = part.first_row..part.first_row + part.rows;
        let read = opened.decode_rows(rows.clone(), fetch(&opened, &segment.bytes, rows)).expect("own bytes");
        let keys: Vec<_> = read
            .spans()
            .map(|span| {
                (trace_hash(&span.trace_id()), span.trace_id(), span.start_unix_nano(), span.span_id())
            })
            .collect();
        assert!(keys.is_sorted());
        assert!(
            keys.iter()
                .all(|key| (segment.meta.trace_hash_min..=segment.meta.trace_hash_max).contains(&key.0))
        );
        let listed: Vec<_> = opened
            .directory_block_ranges(&part.tenant)
            .into_iter()
            .flat_map(|range| {
                let bytes = segment.bytes.slice(range.start as usize..range.end as usize);
                let block = opened.directory_block(&range, &bytes).expect("own bytes");
                block.entries().map(|entry| entry.trace_id).collect::<Vec<_>>()
            })
            .collect();
        let mut ids: Vec<_> = keys.iter().map(|key| key.1).collect();
        ids.dedup();
        assert_eq!(listed, ids);
        assert_eq!(part.traces, ids.len() as u64);
    }
}

#[test]
fn the_filter_denies_no_trace_and_keeps_tenants_apart() {
    let tenants = two_tenants(seed());
    let segment = write(&tenants, &columns(&tenants), &small());
    let section = segment.meta.filter.range();
    let filter =
        KeyFilter::parse(segment.bytes.slice(section.start as usize..section.end as usize)).expect("own");
    let (one, two) = (tenant_hash(&tenants[0].0), tenant_hash(&tenants[1].0));
    let (in_one, in_two) = (traces(&tenants[0].1), traces(&tenants[1].1));
    assert!(in_one.keys().all(|id| filter.contains(filter_key(one, id))));
    assert!(in_two.keys().all(|id| filter.contains(filter_key(two, id))));
    let only_one = in_one.keys().filter(|id| !in_two.contains_key(id));
    assert_eq!(only_one.filter(|id| filter.contains(filter_key(two, id))).count(), 0);
}

#[test]
fn tenants_and_traces_that_are_not_there_are_not_found() {
    let tenants = two_tenants(seed());
    let segment = write(&tenants, &columns(&tenants), &small());
    let id = *traces(&tenants[0].1).keys().next().expect("some");
    let nobody = tenant("nobody");
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    assert_eq!(opened.directory_block_range(&nobody, &id), None);
    assert!(opened.directory_block_ranges(&nobody).is_empty());
    let mut odd = Odd::new(1, 50);
    for id in traces(&[odd.batch(100)]).keys() {
        assert!(lookup(&segment.meta, &segment.bytes, &tenants[0].0, id).expect("own bytes").is_none());
        assert_eq!(find(&opened, &segment.bytes, &tenants[0].0, id).expect("own bytes"), None);
    }
}
