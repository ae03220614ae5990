//! Resources and scopes: a file has each of them once in a row group, however large they are and however
//! many rows refer to them.

use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_format::segment::{AttributeColumns, SegmentWriterOptions};
use tracelake_model::{
    KeyValue, Resource, Scope, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, TraceId, Value,
};

use crate::random::seed;
use crate::support::{lookup, same_spans, tenant, write};

fn id(bytes: u128) -> TraceId {
    TraceId::from_bytes(&bytes.to_be_bytes()).expect("not zero")
}

/// A resource that zstd does not make small.
fn resource(random: &mut StdRng, bytes: usize) -> Arc<Resource> {
    let text = Value::Text(Alphanumeric.sample_string(random, bytes).into());
    Arc::new(Resource {
        attributes: vec![KeyValue { key: "process.command_line".into(), value: text }],
        ..Resource::default()
    })
}

/// Spans with the given trace and resource.
fn batch(resources: &[Arc<Resource>], spans: impl IntoIterator<Item = (u128, usize)>) -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    builder.scope(Arc::new(Scope::default()));
    let places: Vec<u32> = resources.iter().map(|resource| builder.resource(Arc::clone(resource))).collect();
    for (number, (trace, resource)) in (1u64..).zip(spans) {
        builder.finish_span(SpanScalars {
            start_unix_nano: number,
            end_unix_nano: number,
            resource: places[resource],
            ..SpanScalars::new(id(trace), SpanId::from_bytes(&number.to_be_bytes()).expect("not zero"))
        });
    }
    builder.finish()
}

#[test]
fn a_large_resource_is_written_and_read_once() {
    let mut random = StdRng::seed_from_u64(seed());
    let large = resource(&mut random, 1 << 20);
    let tenants = vec![(tenant("a"), vec![batch(&[large], (0..3_000).map(|_| (7, 0)))])];
    let segment = write(&tenants, &AttributeColumns::default(), &SegmentWriterOptions::default());
    assert!(segment.bytes.len() < 3 << 20, "{} bytes", segment.bytes.len());
    // 3,000 copies of the text would be 3 GB, which no array of texts holds.
    let found =
        lookup(&segment.meta, &segment.bytes, &tenants[0].0, &id(7)).expect("own bytes").expect("there");
    assert_eq!(found.len(), 3_000);
    assert!(found.heap_bytes() < 4 << 20, "{} bytes", found.heap_bytes());
    assert!(same_spans(found.spans().take(5), tenants[0].1[0].spans().take(5)));
}

/// Writes spans of random traces and resources, checks some traces, and gives each row group's rows and
/// bytes of resources.
fn row_groups(resources: usize, bytes: usize) -> Vec<(i64, i64)> {
    let mut random = StdRng::seed_from_u64(seed());
    let resources: Vec<_> = (0..resources).map(|_| resource(&mut random, bytes)).collect();
    let spans: Vec<(u128, usize)> = (0..5_000)
        .map(|_| (random.random_range(1..1_000), random.random_range(0..resources.len())))
        .collect();
    let tenants = vec![(tenant("a"), vec![batch(&resources, spans)])];
    let segment = write(&tenants, &AttributeColumns::default(), &SegmentWriterOptions::default());
    let all: Vec<_> = tenants[0].1[0].spans().collect();
    for trace in 1..50 {
        let sent: Vec<_> = all.iter().filter(|span| span.trace_id() == id(trace)).copied().collect();
        let found = lookup(&segment.meta, &segment.bytes, &tenants[0].0, &id(trace)).expect("own bytes");
        assert!(same_spans(sent, found.iter().flat_map(SpanBatch::spans)), "trace {trace}");
    }
    let reader = SerializedFileReader::new(segment.bytes).expect("a Parquet file");
    let groups = reader.metadata().row_groups().iter().map(|group| {
        let resources = group.columns().iter().find(|column| column.column_path().string() == "resource");
        (group.num_rows(), resources.expect("there").uncompressed_size())
    });
    groups.collect()
}

#[test]
fn a_row_group_ends_before_its_resources_are_too_much() {
    let groups = row_groups(20_000, 3_000);
    assert!(groups.len() >= 3, "{groups:?}");
    assert!(groups.iter().all(|(_, bytes)| *bytes < 5 << 20), "{groups:?}");
}

#[test]
fn a_few_large_resources_do_not_make_small_row_groups() {
    // All of them are 15 MB: each row group has them within its first rows, wherever it ends.
    let groups = row_groups(100, 150_000);
    assert!(groups.len() <= 5_000_usize.div_ceil(1_024), "{groups:?}");
}
