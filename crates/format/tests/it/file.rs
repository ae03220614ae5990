//! The file as others see it: its size, and its columns through a plain Parquet reader.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampNanosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tracelake_format::segment::{SegmentMeta, SegmentWriterOptions};

use crate::random::{Odd, seed};
use crate::realistic;
use crate::support::{columns, open, small, tenant, write};

#[test]
fn a_plain_parquet_reader_sees_spans() {
    let mut odd = Odd::new(seed(), 30);
    let tenants = vec![(tenant("a"), vec![odd.batch(100)]), (tenant("b"), vec![odd.batch(50)])];
    let segment = write(&tenants, &columns(&tenants), &small());
    let reader = ParquetRecordBatchReaderBuilder::try_new(segment.bytes.clone()).expect("a Parquet file");
    let schema = std::sync::Arc::clone(reader.schema());
    let type_of = |name: &str| schema.field_with_name(name).expect(name).data_type().clone();
    assert_eq!(type_of("trace_id"), DataType::FixedSizeBinary(16));
    assert_eq!(type_of("start_time"), DataType::Timestamp(TimeUnit::Nanosecond, None));
    assert_eq!(type_of("duration_nano"), DataType::Int64);
    assert_eq!(type_of("generation"), DataType::UInt64);
    assert_eq!(type_of("flags"), DataType::UInt32);
    assert_eq!(type_of("service_name"), DataType::Utf8);
    assert_eq!(type_of("attr.http.route"), DataType::Utf8);
    assert_eq!(type_of("attr.http.status"), DataType::Int64);
    assert_eq!(type_of("attr.ratio"), DataType::Float64);
    assert_eq!(type_of("attr.flag"), DataType::Boolean);
    assert!(matches!(type_of("events"), DataType::List(_)));
    let batches: Vec<RecordBatch> =
        reader.build().expect("readable").map(|batch| batch.expect("readable")).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 150);
    for batch in &batches {
        let starts =
            batch.column_by_name("start_time").expect("there").as_primitive::<TimestampNanosecondType>();
        let durations = batch.column_by_name("duration_nano").expect("there").as_primitive::<Int64Type>();
        assert_eq!((starts.null_count(), durations.null_count()), (0, 0));
        let ends =
            starts.values().iter().zip(durations.values()).map(|(start, length)| start.checked_add(*length));
        assert!(ends.into_iter().all(|end| end.is_some_and(|end| end >= 0)));
    }
}

#[test]
fn the_footer_says_what_the_manifest_says() {
    let mut odd = Odd::new(seed(), 30);
    let tenants = vec![(tenant("a"), vec![odd.batch(100)])];
    let segment = write(&tenants, &columns(&tenants), &small());
    let json = serde_json::to_string(&segment.meta).expect("plain data");
    assert_eq!(serde_json::from_str::<SegmentMeta>(&json).expect("own text"), segment.meta);
    assert_eq!(segment.meta.size_bytes, segment.bytes.len() as u64);
    let mut other = segment.meta.clone();
    other.generation_max += 1;
    assert!(open(&other, &segment.bytes).is_err(), "another segment's description");
    let mut newer = segment.meta.clone();
    newer.format_version += 1;
    let error = open(&newer, &segment.bytes).expect_err("a newer version");
    assert_eq!(error.kind(), tracelake_model::ErrorKind::Unsupported);
}

#[test]
fn columns_without_values_are_left_out() {
    let mut odd = Odd::new(seed(), 3);
    let tenants = vec![(tenant("a"), vec![odd.batch(50)])];
    let mut columns = columns(&tenants);
    let column = tracelake_format::segment::AttributeColumn {
        key: "nowhere".to_owned(),
        kind: tracelake_format::segment::AttributeType::Int,
    };
    columns.columns.insert(0, column);
    let segment = write(&tenants, &columns, &small());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    assert_eq!(opened.attribute_columns(), columns.columns.get(1..).expect("others"));
}

#[test]
fn a_span_costs_few_bytes() {
    let tenants = vec![(tenant("default"), realistic::batches(3, 40_000))];
    let segment = write(&tenants, &columns(&tenants), &SegmentWriterOptions::default());
    let bytes_a_span = segment.bytes.len() as f64 / segment.meta.rows as f64;
    println!("{bytes_a_span:.1} bytes a span");
    assert!(bytes_a_span < 60.0, "{bytes_a_span:.1} bytes a span");
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    assert!(opened.heap_bytes() < 256 << 10, "{} bytes are kept of an open segment", opened.heap_bytes());
}
