use std::ops::Range;

use tracelake_format::segment::{
    AttributeColumns, ColumnSet, Decoding, OpenSegment, Projection, SegmentInput, SegmentWriterOptions,
    WrittenSegment, write_segment,
};
use tracelake_model::{Scope, SpanBatchBuilder, SpanId, SpanScalars, TenantId, TraceId};

use super::*;

/// Rows of a row group, which is one page of each column.
const GROUP_ROWS: u64 = 64;

/// Spans with much text that does not repeat, in many row groups, whose resources are a small dictionary each.
fn segment(rows: u64) -> WrittenSegment {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    for row in 1..=rows {
        let name = builder.known_term(&format!("{row:01000}"));
        let trace_id = TraceId::from_bytes(&u128::from(row).to_be_bytes()).expect("not zero");
        let span_id = SpanId::from_bytes(&row.to_be_bytes()).expect("not zero");
        builder.finish_span(SpanScalars { name, resource, scope, ..SpanScalars::new(trace_id, span_id) });
    }
    let batch = builder.finish();
    let input = SegmentInput {
        segment_id: Ulid::from_parts(1, 2),
        tenants: vec![(TenantId::default(), vec![(&batch, 1)])],
    };
    let options = SegmentWriterOptions {
        row_group_rows: GROUP_ROWS as usize,
        page_rows: GROUP_ROWS as usize,
        ..SegmentWriterOptions::default()
    };
    write_segment(&input, &AttributeColumns::default(), &options).expect("valid spans")
}

struct Reader {
    written: WrittenSegment,
    opened: OpenSegment,
    cache: Arc<BlockCache>,
}

impl Reader {
    fn new(rows: u64, bytes_max: u64) -> Self {
        let written = segment(rows);
        let tail = OpenSegment::tail_range(&written.meta);
        let tail = written.bytes.slice(tail.start as usize..tail.end as usize);
        let opened = OpenSegment::open(&written.meta, tail).expect("own bytes");
        Self { written, opened, cache: Arc::new(BlockCache::new(bytes_max)) }
    }

    /// Reads the row group; how many data pages and dictionaries it took, each with how many were in the cache.
    fn read(&self, group: u64) -> [(usize, usize); 2] {
        let cache: Arc<dyn ReadCache> = Arc::clone(&self.cache) as _;
        let rows = group * GROUP_ROWS..(group + 1) * GROUP_ROWS;
        let plan = self.opened.plan_rows(&[rows], ColumnSet::ALL, &Projection::ALL, Some(&cache));
        let ((pages, pages_cached), dictionaries) = (plan.pages(), plan.dictionaries());
        let bytes = |range: &Range<u64>| {
            (range.clone(), self.written.bytes.slice(range.start as usize..range.end as usize))
        };
        let fetched = plan.ranges().iter().map(bytes).collect();
        let batch = Decoding::new(&self.opened, plan, fetched).and_then(|decoding| decoding.finish());
        assert_eq!(batch.expect("own bytes").len() as u64, GROUP_ROWS);
        [(pages - dictionaries.0, pages_cached - dictionaries.1), dictionaries]
    }
}

#[test]
fn a_page_is_kept_when_it_was_asked_for_again_and_a_dictionary_at_once() {
    let reader = Reader::new(2 * GROUP_ROWS, 1 << 20);
    let [(pages, cached), (dictionaries, dictionaries_cached)] = reader.read(0);
    assert!(pages > 3 && dictionaries > 1, "{pages} {dictionaries}");
    assert_eq!((cached, dictionaries_cached), (0, 0));
    let before = reader.cache.bytes();
    assert_eq!(reader.read(0), [(pages, 0), (dictionaries, dictionaries)]);
    assert!(reader.cache.bytes() > before + 64_000, "the names are in it now");
    assert_eq!(reader.read(0), [(pages, pages), (dictionaries, dictionaries)]);
}

#[test]
fn pages_do_not_drive_out_small_dictionaries_and_all_is_within_the_budget() {
    const BYTES_MAX: u64 = 4 << 20;
    let groups = 200;
    // 12.8 MB of names alone.
    let reader = Reader::new(groups * GROUP_ROWS, BYTES_MAX);
    for _ in 0..3 {
        for group in 0..groups {
            reader.read(group);
            assert!(reader.cache.bytes() <= BYTES_MAX, "{} bytes", reader.cache.bytes());
        }
    }
    assert!(reader.cache.bytes() > BYTES_MAX / 2, "{} bytes: pages are in it, too", reader.cache.bytes());
    let kept = (0..groups).filter(|group| {
        let [_, (dictionaries, cached)] = reader.read(*group);
        dictionaries == cached
    });
    assert_eq!(kept.count() as u64, groups);
}

#[test]
fn pages_that_are_missed_in_turns_are_told_from_new_ones() {
    let missed = Missed::new(1 << 20);
    let page = |offset| (Ulid::from_parts(1, 2), offset);
    for round in 0..3 {
        let again = (0..100).filter(|offset| missed.again(&page(*offset))).count();
        assert_eq!(again, if round == 0 { 0 } else { 100 });
    }
    // A hundred times as many as there is room for are all new.
    let again = (1_000..100_000).filter(|offset| missed.again(&page(*offset))).count();
    assert_eq!(again, 0);
    assert!((0..100).all(|offset| !missed.again(&page(offset))), "long ago");
}

#[test]
fn a_budget_of_nothing_keeps_nothing() {
    for bytes_max in [0, 1, 4, 64, 1_000] {
        let cache = BlockCache::new(bytes_max);
        for number in 0..100u64 {
            cache.insert_resource(&format!("{number}"), &Arc::new(Resource::default()));
        }
        let table = cache.missed.heap_bytes();
        assert!(cache.bytes() <= bytes_max + table && table <= 64, "{} of {bytes_max}", cache.bytes());
    }
}
