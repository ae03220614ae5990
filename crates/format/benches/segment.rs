//! Writing a segment, and reading one trace of it, on a realistic generation.

#[path = "../tests/it/realistic.rs"]
mod realistic;

use std::hint::black_box;
use std::ops::Range;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tracelake_format::segment::{
    AttributeColumns, AttributeCounts, OpenSegment, SegmentInput, SegmentWriterOptions, WrittenSegment,
    write_segment,
};
use tracelake_model::{SpanBatch, TenantId, TraceId};
use ulid::Ulid;

const SPANS: usize = 200_000;

fn write(batches: &[SpanBatch], columns: &AttributeColumns) -> WrittenSegment {
    write_with(batches, columns, &SegmentWriterOptions::default())
}

fn without_index() -> SegmentWriterOptions {
    SegmentWriterOptions { attribute_index: false, ..SegmentWriterOptions::default() }
}

fn write_with(
    batches: &[SpanBatch],
    columns: &AttributeColumns,
    options: &SegmentWriterOptions,
) -> WrittenSegment {
    let input = SegmentInput {
        segment_id: Ulid::nil(),
        tenants: vec![(TenantId::default(), batches.iter().map(|batch| (batch, 1)).collect())],
    };
    write_segment(&input, columns, options).expect("valid spans")
}

fn slice(file: &Bytes, range: Range<u64>) -> Bytes {
    // Copied, as from a file.
    Bytes::copy_from_slice(&file[range.start as usize..range.end as usize])
}

fn lookup(segment: &OpenSegment, file: &Bytes, tenant: &TenantId, id: &TraceId) -> SpanBatch {
    let range = segment.directory_block_range(tenant, id).expect("a block");
    let block = segment.directory_block(&range, &slice(file, range.clone())).expect("own bytes");
    let entry = segment.find_trace(&block, tenant, id).expect("own bytes").expect("there");
    let ranges = segment.ranges_for_rows(entry.row_range());
    let fetched = ranges.into_iter().map(|range| (range.clone(), slice(file, range))).collect();
    segment.decode_trace(&entry, fetched).expect("own bytes")
}

fn benches(criterion: &mut Criterion) {
    let batches = realistic::batches(1, SPANS);
    let rows: usize = batches.iter().map(SpanBatch::len).sum();
    let mut columns = AttributeColumns::default();
    columns.extend_from(&AttributeCounts::of(&batches));
    let segment = write(&batches, &columns);
    let tail = segment.bytes.slice(OpenSegment::tail_range(&segment.meta).start as usize..);
    let opened = OpenSegment::open(&segment.meta, tail.clone()).expect("own bytes");
    println!(
        "{rows} spans, {} traces, {} attribute columns: {:.1} bytes a span, tail {} bytes, open {} bytes",
        segment.meta.traces,
        columns.columns.len(),
        segment.bytes.len() as f64 / rows as f64,
        tail.len(),
        opened.heap_bytes(),
    );
    let memory: usize = batches.iter().map(SpanBatch::heap_bytes).sum();
    println!("in memory {:.0} bytes a span", memory as f64 / rows as f64);
    report_columns(&segment, rows);
    report_index(&segment, &opened, rows);
    report_best(&batches, &columns, &segment, &opened);

    let mut group = criterion.benchmark_group("segment");
    group.sample_size(10);
    group.throughput(Throughput::Elements(rows as u64));
    group.bench_function("count attributes", |bencher| {
        bencher.iter(|| AttributeCounts::of(black_box(&batches)))
    });
    group.bench_function("write", |bencher| bencher.iter(|| write(black_box(&batches), &columns)));
    group.bench_function("write without an index", |bencher| {
        bencher.iter(|| write_with(black_box(&batches), &columns, &without_index()))
    });
    group.finish();

    let tenant = TenantId::default();
    let ids: Vec<TraceId> = batches.iter().filter_map(|batch| batch.trace_ids().next().copied()).collect();
    let mut next = ids.iter().cycle();
    let mut group = criterion.benchmark_group("segment");
    group.bench_function("open", |bencher| {
        bencher.iter(|| OpenSegment::open(&segment.meta, tail.clone()).expect("own bytes"));
    });
    group.bench_function("one trace", |bencher| {
        bencher.iter(|| lookup(&opened, &segment.bytes, &tenant, next.next().expect("endless")));
    });
    group.bench_function("plan one trace", |bencher| {
        bencher.iter(|| opened.ranges_for_rows(black_box(100_000..100_030)));
    });
    group.finish();
}

/// The best of many: what it takes when the machine has nothing else to do.
fn report_best(
    batches: &[SpanBatch],
    columns: &AttributeColumns,
    segment: &WrittenSegment,
    opened: &OpenSegment,
) {
    let best = |times: usize, work: &mut dyn FnMut()| {
        let once = |()| {
            let start = std::time::Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e6
        };
        std::iter::repeat_n((), times).map(once).fold(f64::INFINITY, f64::min)
    };
    let rows = segment.meta.rows as f64;
    let write_us = best(7, &mut || drop(write(black_box(batches), columns))) / rows;
    let without = best(7, &mut || drop(write_with(black_box(batches), columns, &without_index()))) / rows;
    println!("at best: {:.2} µs a span of it for the attribute index", write_us - without);
    let tenant = TenantId::default();
    let mut lookups: Vec<f64> = batches
        .iter()
        .filter_map(|batch| batch.trace_ids().next())
        .map(|id| best(10, &mut || drop(lookup(opened, &segment.bytes, &tenant, id))))
        .collect();
    lookups.sort_by(f64::total_cmp);
    let middle = lookups.get(lookups.len() / 2).copied().unwrap_or_default();
    println!("at best: write {write_us:.2} µs a span, lookup {middle:.0} µs in the middle");
}

/// What an attribute index takes, and its headers in memory.
fn report_index(segment: &WrittenSegment, opened: &OpenSegment, rows: usize) {
    let mut bytes = 0;
    for part in opened.index_parts() {
        let range = part.range();
        bytes += range.end - range.start;
        let wanted = opened.index_ranges(&[part.header_range()]);
        let fetched = wanted.into_iter().map(|range| (range.clone(), slice(&segment.bytes, range))).collect();
        let fetched = opened.index_bytes(fetched).expect("own bytes");
        let header = opened.index_header(part, &fetched).expect("own bytes");
        println!(
            "index of {} rows, {} traces, {} fields: header {} bytes, {} in memory",
            part.rows,
            part.traces,
            header.fields().count(),
            part.header_range().end - part.header_range().start,
            header.heap_bytes(),
        );
    }
    println!("index: {:.2} bytes a span", bytes as f64 / rows as f64);
}

fn report_columns(segment: &WrittenSegment, rows: usize) {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let reader = SerializedFileReader::new(segment.bytes.clone()).expect("a Parquet file");
    let mut sizes = std::collections::BTreeMap::<String, i64>::new();
    for group in reader.metadata().row_groups() {
        for column in group.columns() {
            *sizes.entry(column.column_path().string()).or_default() += column.compressed_size();
        }
    }
    let mut sizes: Vec<_> = sizes.into_iter().collect();
    sizes.sort_by_key(|(_, size)| -size);
    for (name, size) in sizes.iter().take(30) {
        println!("  {:6.2} B  {name}", *size as f64 / rows as f64);
    }
    let filter = segment.meta.filter.len as f64 / rows as f64;
    let footer = segment.meta.footer.len as f64 / rows as f64;
    let data: i64 = sizes.iter().map(|(_, size)| size).sum();
    let directory = (segment.meta.filter.offset as f64 - data as f64) / rows as f64;
    println!(
        "  columns {:.2}, directory {directory:.2}, filter {filter:.2}, page index and footer {footer:.2}",
        data as f64 / rows as f64
    );
}

criterion_group!(segment, benches);
criterion_main!(segment);
