//! The directory and the filter find each trace, and no other.

use std::collections::{BTreeMap, BTreeSet};

use tracelake_format::segment::{ColumnSet, Decoding, SegmentWriterOptions, TraceFilter};
use tracelake_model::hash::{filter_key, tenant_hash, trace_hash};
use tracelake_model::{SpanBatch, SpanView, TenantId, TraceId};

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
            let plan = opened.plan_rows(std::slice::from_ref(&(first..last)), ColumnSet::ALL, None);
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
fn columns_in_which_a_trace_has_nothing_are_not_read() {
    let tenants = two_tenants(seed());
    // Traces of several slices, and slices of several traces.
    let segment = write(&tenants, &columns(&tenants), &small());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let (tenant, batches) = &tenants[0];
    let (mut read, mut all, mut in_two_slices) = (0, 0, 0);
    for id in traces(batches).keys() {
        let entry = find(&opened, &segment.bytes, tenant, id).expect("own bytes").expect("there");
        let pages = |filled| opened.plan_rows(&[entry.row_range()], filled, None).pages().0;
        read += pages(entry.columns);
        all += pages(ColumnSet::ALL);
        let everything =
            opened.decode_rows(entry.row_range(), fetch(&opened, &segment.bytes, entry.row_range()));
        // What is missing among the bytes would be an error.
        let plan = opened.plan_rows(&[entry.row_range()], entry.columns, None);
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
        let plan = opened.plan_rows(std::slice::from_ref(&(0..10)), ColumnSet::ALL, None);
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
        TraceFilter::parse(segment.bytes.slice(section.start as usize..section.end as usize)).expect("own");
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
