//! Rows of several segments become those of one: as if all spans had been written at once.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tracelake_format::segment::{
    Adapter, AttributeColumn, AttributeColumns, AttributeType, FORMAT_VERSION, OpenSegment, PlannedRows,
    RowGroupReader, RowRun, RunSource, SegmentInput, SegmentPlan, SegmentWriter, SegmentWriterOptions,
    WholeSegment, WrittenSegment, write_segment,
};
use tracelake_model::hash::trace_hash;
use tracelake_model::{
    Owner, Resource, Scope, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, TenantId, TraceId,
};
use ulid::Ulid;

use crate::index::indexed;
use crate::random::{Odd, seed};
use crate::support::{lookup, same_spans, small, tenant};

const COLUMN_KEYS: [&str; 9] =
    ["http.route", "http.status", "ratio", "flag", "mixed", "", "user.id", "rare.one", "a\u{0}b"];
const KINDS: [AttributeType; 4] =
    [AttributeType::String, AttributeType::Int, AttributeType::Double, AttributeType::Bool];

/// Some of the keys, each with a type that most of its values need not have.
fn some_columns(random: &mut StdRng) -> AttributeColumns {
    let keys = COLUMN_KEYS.iter().filter(|_| random.random_bool(0.6)).copied().collect::<Vec<_>>();
    let columns = keys.into_iter().map(|key| AttributeColumn {
        key: key.to_owned(),
        kind: *KINDS.choose(random).expect("there are some"),
    });
    AttributeColumns { columns: columns.collect() }
}

/// One tenant's batches.
type Part = (TenantId, Vec<SpanBatch>);

fn write(parts: &[&Part], generation: u64, columns: &AttributeColumns) -> WrittenSegment {
    let input = SegmentInput {
        segment_id: Ulid::from_parts(1, u128::from(generation)),
        tenants: parts
            .iter()
            .map(|(tenant, batches)| {
                (tenant.clone(), batches.iter().map(|batch| (batch, generation)).collect())
            })
            .collect(),
    };
    write_segment(&input, columns, &small()).expect("valid spans")
}

fn whole(segment: &WrittenSegment) -> Arc<WholeSegment> {
    let tail = OpenSegment::tail_range(&segment.meta);
    let tail = segment.bytes.slice(tail.start as usize..tail.end as usize);
    Arc::new(WholeSegment::open(&segment.meta, tail).expect("own bytes"))
}

/// All rows of a segment in the plan's columns, `rows_at_once` together.
fn planned(segment: &WrittenSegment, plan: &SegmentPlan, rows_at_once: usize) -> Vec<PlannedRows> {
    let whole = whole(segment);
    let adapter = Adapter::new(whole.segment(), plan);
    let mut windows = Vec::new();
    for group in 0..whole.segment().row_groups() {
        let (range, _) = RowGroupReader::range(&whole, group).expect("it is there");
        let bytes = segment.bytes.slice(range.start as usize..range.end as usize);
        let rows = RowGroupReader::new(Arc::clone(&whole), group, (range, bytes), rows_at_once);
        for rows in rows.expect("own bytes") {
            windows.push(adapter.adapt(rows.expect("own bytes")).expect("own values"));
        }
    }
    windows
}

/// Where the writer has what the windows refer to.
fn sources<'w>(writer: &mut SegmentWriter, windows: &'w [PlannedRows]) -> Vec<RunSource<'w>> {
    let tables = |rows| RunSource { rows, tables: writer.tables(rows).expect("own bytes") };
    windows.iter().map(tables).collect()
}

/// All rows of the segments, merged; the writer forgets now and then what its rows share.
fn merge(inputs: &[WrittenSegment], plan: &SegmentPlan, random: &mut StdRng) -> WrittenSegment {
    merge_with(inputs, plan, &small(), 0.2, random)
}

/// As [`merge`]; `forgets` is how likely it is with each of some rows that the writer forgets what rows share.
fn merge_with(
    inputs: &[WrittenSegment],
    plan: &SegmentPlan,
    options: &SegmentWriterOptions,
    forgets: f64,
    random: &mut StdRng,
) -> WrittenSegment {
    let mut writer = SegmentWriter::begin(Ulid::from_parts(1, 99), 1, plan, options).expect("valid");
    let mut windows: Vec<PlannedRows> = Vec::new();
    let mut rows: Vec<(&TenantId, usize, usize)> = Vec::new();
    for input in inputs {
        let tenants = &input.meta.tenants;
        let mut tenants = tenants.iter().flat_map(|part| (0..part.rows).map(|_| &part.tenant));
        for window in planned(input, plan, random.random_range(1..40)) {
            let tenants = tenants.by_ref().take(window.rows().len());
            rows.extend(tenants.enumerate().map(|(row, tenant)| (tenant, windows.len(), row)));
            windows.push(window);
        }
    }
    rows.sort_by_key(|(tenant, source, row)| {
        let window = windows[*source].rows();
        let trace_id = window.trace_id(*row).expect("own bytes");
        let span_id = window.span_id(*row).expect("own bytes");
        (*tenant, trace_hash(&trace_id), trace_id, window.start_unix_nano(*row), span_id, *source, *row)
    });
    let mut shared = sources(&mut writer, &windows);
    let mut taken = Vec::new();
    while let Some((tenant, ..)) = rows.first().copied() {
        if random.random_bool(forgets) {
            writer.forget_shared().expect("in memory");
            assert_eq!(writer.shared_bytes(), 0);
            shared = sources(&mut writer, &windows);
        }
        let of_tenant = rows.iter().take_while(|row| row.0 == tenant).count();
        let mut runs: Vec<RowRun> = Vec::new();
        for (_, source, row) in rows.drain(..random.random_range(1..=of_tenant)) {
            let (source, row) = (source as u32, row as u32);
            if !runs.last_mut().is_some_and(|run| run.extend(source, row)) {
                runs.push(RowRun::of_row(source, row));
            }
        }
        writer.push(tenant, &runs, &shared).expect("in order");
        if random.random() {
            taken.extend(writer.take_bytes().expect("in memory"));
        }
    }
    let written = writer.finish().expect("valid");
    assert_eq!(written.offset, taken.len() as u64);
    taken.extend_from_slice(&written.bytes);
    WrittenSegment { bytes: Bytes::from(taken), offset: 0, meta: written.meta }
}

/// Traces of one span each, with so much text that does not compress.
fn large_spans(spans: usize, text_bytes: usize, random: &mut StdRng) -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    let key = builder.known_term("prompt");
    for _ in 0..spans {
        let text: String = (0..text_bytes).map(|_| char::from(random.random_range(b' '..=b'~'))).collect();
        builder.push_text(Owner::Span, key, &text);
        let (trace_id, span_id): ([u8; 16], [u8; 8]) = (random.random(), random.random());
        let ids = (TraceId::from_bytes(&trace_id), SpanId::from_bytes(&span_id));
        let (Some(trace_id), Some(span_id)) = ids else { continue };
        builder.finish_span(SpanScalars { resource, scope, ..SpanScalars::new(trace_id, span_id) });
    }
    builder.finish()
}

#[test]
fn a_row_group_ends_when_it_has_much_however_few_rows_come_at_once() {
    let mut random = StdRng::seed_from_u64(seed());
    let known = AttributeColumns {
        columns: vec![AttributeColumn { key: "prompt".to_owned(), kind: AttributeType::String }],
    };
    let part: Part = (tenant("default"), vec![large_spans(900, 32 << 10, &mut random)]);
    let input = write(&[&part], 1, &known);
    let plan = SegmentPlan::of_sample(&[&part.1[0]], &known, &BTreeSet::new());
    let options = SegmentWriterOptions::default();
    let mut writer = SegmentWriter::begin(Ulid::from_parts(1, 99), 1, &plan, &options).expect("valid");
    for rows in planned(&input, &plan, 40) {
        let sources = [RunSource { tables: writer.tables(&rows).expect("own bytes"), rows: &rows }];
        let mut run = RowRun::of_row(0, 0);
        assert!((1..rows.rows().len()).all(|row| run.extend(0, row as u32)));
        writer.push(&part.0, &[run], &sources).expect("in order");
    }
    let merged = writer.finish().expect("valid");
    let whole = whole(&merged);
    let groups = (0..whole.segment().row_groups()).map(|group| RowGroupReader::range(&whole, group));
    let bytes: Vec<u64> = groups.map(|range| range.map_or(0, |(bytes, _)| bytes.end - bytes.start)).collect();
    // 900 times 32 KiB of seven bits each, and what came last.
    assert!(bytes.len() > 2 && bytes.iter().all(|bytes| *bytes < 10 << 20), "{bytes:?}");
}

/// A file that an earlier version of the format wrote.
fn fixture(version: u32) -> WrittenSegment {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/v{version}"));
    let meta = std::fs::read(folder.join("segment.json")).expect("in the repository");
    let bytes = std::fs::read(folder.join("segment.parquet")).expect("in the repository").into();
    WrittenSegment { bytes, offset: 0, meta: serde_json::from_slice(&meta).expect("a SegmentMeta") }
}

#[test]
fn files_of_all_versions_are_merged_into_one_of_the_newest() {
    let mut random = StdRng::seed_from_u64(seed());
    let inputs: Vec<WrittenSegment> = (1..=FORMAT_VERSION).map(fixture).collect();
    let known = some_columns(&mut random);
    let plan = SegmentPlan::of_sample(&[], &known, &known.columns.iter().map(|c| c.key.clone()).collect());
    let merged = merge(&inputs, &plan, &mut random);
    assert_eq!(merged.meta.format_version, FORMAT_VERSION);
    assert_eq!(merged.meta.rows, inputs.iter().map(|input| input.meta.rows).sum::<u64>());
    let opened = crate::support::open(&merged.meta, &merged.bytes).expect("own bytes");
    assert_eq!(opened.check(&merged.bytes), Vec::<String>::new());
    for part in &inputs[0].meta.tenants {
        let rows = part.first_row..part.first_row + part.rows;
        let first = crate::support::open(&inputs[0].meta, &inputs[0].bytes).expect("own bytes");
        let fetched = crate::support::fetch(&first, &inputs[0].bytes, rows.clone());
        let spans = first.decode_rows(rows, fetched).expect("own bytes");
        for trace_id in spans.trace_ids() {
            let found = lookup(&merged.meta, &merged.bytes, &part.tenant, trace_id).expect("own bytes");
            // Each file has the same spans.
            let of_trace = spans.spans().filter(|span| span.trace_id() == *trace_id);
            let expected: Vec<_> = of_trace.flat_map(|span| inputs.iter().map(move |_| span)).collect();
            assert!(same_spans(expected, found.expect("there").spans()), "{trace_id}");
        }
    }
}

fn rows_of_file(segment: &WrittenSegment) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(segment.bytes.clone()).expect("Parquet");
    let reader = reader.with_batch_size(1 << 20).build().expect("Parquet");
    reader.map(|batch| batch.expect("Parquet")).collect()
}

#[test]
fn merged_rows_are_as_if_all_spans_had_been_written_at_once() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..30 {
        let mut odd = Odd::new(seed.wrapping_add(round), 12);
        // The same traces in all of them.
        let tenants = ["default", "a", "z"].map(tenant);
        let parts: Vec<Vec<Part>> = (0..random.random_range(1..4))
            .map(|_| {
                let tenants = tenants.iter().take(random.random_range(1..=tenants.len()));
                tenants.map(|name| (name.clone(), vec![odd.batch(random.random_range(1..60))])).collect()
            })
            .collect();
        let inputs: Vec<WrittenSegment> = parts
            .iter()
            .zip(1..)
            .map(|(parts, generation)| {
                write(&parts.iter().collect::<Vec<_>>(), generation, &some_columns(&mut random))
            })
            .collect();
        let known = some_columns(&mut random);
        let all: Vec<&Part> = parts.iter().flatten().collect();
        let at_once = write(&all, 1, &known);

        let sample: Vec<&SpanBatch> = all.iter().flat_map(|(_, batches)| batches).collect();
        let plan = SegmentPlan::of_sample(&sample, &known, &BTreeSet::new());
        let merged = merge(&inputs, &plan, &mut random);

        let (merged_rows, rows) = (rows_of_file(&merged), rows_of_file(&at_once));
        assert_eq!(merged_rows.len(), 1);
        assert_eq!(merged_rows[0].schema(), rows[0].schema());
        for (column, field) in rows[0].schema().fields().iter().enumerate() {
            // Generations differ, and in `attributes` the order.
            if !["generation", "attributes"].contains(&field.name().as_str()) {
                let (merged, expected) = (merged_rows[0].column(column), rows[0].column(column));
                assert!(merged.to_data() == expected.to_data(), "{} of round {round}", field.name());
            }
        }
        let opened = crate::support::open(&merged.meta, &merged.bytes).expect("own bytes");
        assert_eq!(opened.check(&merged.bytes), Vec::<String>::new(), "round {round}");
        let (meta, expected) = (&merged.meta, &at_once.meta);
        assert_eq!(meta.tenants, expected.tenants);
        assert_eq!((meta.generation_min, meta.generation_max), (1, inputs.len() as u64));
        assert_eq!(
            (meta.start_unix_nano_min, meta.start_unix_nano_max, meta.end_unix_nano_max),
            (expected.start_unix_nano_min, expected.start_unix_nano_max, expected.end_unix_nano_max)
        );
        for (name, batches) in &all {
            for trace_id in batches.iter().flat_map(|batch| batch.trace_ids()) {
                let found =
                    lookup(meta, &merged.bytes, name, trace_id).expect("own bytes").expect("it is there");
                let of_tenant = all.iter().filter(|part| part.0 == *name).flat_map(|part| &part.1);
                let of_trace =
                    of_tenant.flat_map(|batch| batch.spans()).filter(|span| span.trace_id() == *trace_id);
                assert!(same_spans(of_trace, found.spans()), "{trace_id}");
            }
        }
    }
}

/// The bytes of each part of a segment's index.
fn index_of(segment: &WrittenSegment) -> Vec<Bytes> {
    let opened = crate::support::open(&segment.meta, &segment.bytes).expect("own bytes");
    let bytes = |range: std::ops::Range<u64>| segment.bytes.slice(range.start as usize..range.end as usize);
    opened.index_parts().iter().map(|part| bytes(part.range())).collect()
}

#[test]
fn merged_rows_have_the_index_of_rows_written_at_once() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..10 {
        let mut odd = Odd::new(seed.wrapping_add(round), 40);
        let parts: Vec<Vec<Part>> = (0..random.random_range(1..4))
            .map(|_| {
                ["a", "b"].map(|name| (tenant(name), vec![odd.batch(random.random_range(1..150))])).into()
            })
            .collect();
        let inputs: Vec<WrittenSegment> = parts
            .iter()
            .zip(1..)
            .map(|(parts, generation)| {
                write(&parts.iter().collect::<Vec<_>>(), generation, &some_columns(&mut random))
            })
            .collect();
        // Whatever has a column in either.
        let known = some_columns(&mut random);
        let all: Vec<&Part> = parts.iter().flatten().collect();
        let tenants = all
            .iter()
            .map(|(tenant, batches)| (tenant.clone(), batches.iter().map(|batch| (batch, 1)).collect()))
            .collect();
        let input = SegmentInput { segment_id: Ulid::from_parts(1, 5), tenants };
        let at_once = write_segment(&input, &some_columns(&mut random), &indexed()).expect("valid spans");
        let sample: Vec<&SpanBatch> = all.iter().flat_map(|(_, batches)| batches).collect();
        let plan = SegmentPlan::of_sample(&sample, &known, &BTreeSet::new());

        let merged = merge_with(&inputs, &plan, &indexed(), 0.0, &mut random);
        let (index, expected) = (index_of(&merged), index_of(&at_once));
        assert!(!index.is_empty() && index == expected, "round {round}");
        // Row groups, and so parts, that end elsewhere.
        let merged = merge_with(&inputs, &plan, &indexed(), 0.2, &mut random);
        let opened = crate::support::open(&merged.meta, &merged.bytes).expect("own bytes");
        assert_eq!(opened.check(&merged.bytes), Vec::<String>::new(), "round {round}");
    }
}
