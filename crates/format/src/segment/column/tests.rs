use std::collections::BTreeSet;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, PrimitiveBuilder, StringBuilder,
    StringDictionaryBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, StringArray};
use arrow_schema::{Fields, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::reader::ChunkReader;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::segment::layout::GroupLayout;
use crate::segment::page::decode_page;
use crate::segment::pages::CachedPage;
use crate::segment::schema;
use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type, UInt64Type,
};

const ROWS: usize = 3_000;

/// How often what a column has repeats.
fn text(random: &mut StdRng, few: bool) -> String {
    let range = if few { 0..9u32 } else { 0..1 << 30 };
    let number = random.random_range(range);
    if number % 11 == 0 { String::new() } else { format!("{}{number}", "text ".repeat(number as usize % 5)) }
}

fn number(random: &mut StdRng) -> i64 {
    match random.random_range(0..4) {
        0 => random.random(),
        1 => 7,
        _ => random.random_range(-100..100),
    }
}

fn is_some(random: &mut StdRng, field: &Field) -> bool {
    !field.is_nullable() || random.random_range(0..3) > 0
}

fn primitives<T: ArrowPrimitiveType>(
    random: &mut StdRng,
    field: &Field,
    len: usize,
    convert: impl Fn(i64) -> T::Native,
) -> ArrayRef {
    let mut builder = PrimitiveBuilder::<T>::new().with_data_type(field.data_type().clone());
    for _ in 0..len {
        builder.append_option(is_some(random, field).then(|| convert(number(random))));
    }
    Arc::new(builder.finish())
}

/// Of every type that a segment's columns have.
fn array(random: &mut StdRng, field: &Field, len: usize, few: bool) -> ArrayRef {
    match field.data_type() {
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            (0..len).for_each(|_| builder.append_option(is_some(random, field).then(|| text(random, few))));
            Arc::new(builder.finish())
        }
        DataType::Binary => {
            let mut builder = BinaryBuilder::new();
            (0..len).for_each(|_| builder.append_option(is_some(random, field).then(|| text(random, few))));
            Arc::new(builder.finish())
        }
        DataType::Dictionary(..) => {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            (0..len).for_each(|_| builder.append_option(is_some(random, field).then(|| text(random, few))));
            Arc::new(builder.finish())
        }
        DataType::FixedSizeBinary(size) => {
            let mut builder = FixedSizeBinaryBuilder::new(*size);
            for _ in 0..len {
                let bytes: Vec<u8> = (0..*size).map(|_| random.random()).collect();
                if is_some(random, field) {
                    builder.append_value(bytes).expect("of this size");
                } else {
                    builder.append_null();
                }
            }
            Arc::new(builder.finish())
        }
        DataType::Boolean => {
            let mut builder = BooleanBuilder::new();
            (0..len).for_each(|_| builder.append_option(is_some(random, field).then(|| random.random())));
            Arc::new(builder.finish())
        }
        DataType::Float64 => {
            let mut builder = Float64Builder::new();
            (0..len).for_each(|_| builder.append_option(is_some(random, field).then(|| random.random())));
            Arc::new(builder.finish())
        }
        DataType::Int32 => primitives::<Int32Type>(random, field, len, |n| n as i32),
        DataType::UInt32 => primitives::<UInt32Type>(random, field, len, |n| n as u32),
        DataType::Int64 => primitives::<Int64Type>(random, field, len, |n| n),
        DataType::UInt64 => primitives::<UInt64Type>(random, field, len, |n| n as u64),
        DataType::List(element) => {
            let fields = match element.data_type() {
                DataType::Struct(fields) => fields.clone(),
                _ => Fields::empty(),
            };
            let mut ends = Vec::new();
            let mut valid = Vec::new();
            let mut end = 0;
            for _ in 0..len {
                valid.push(random.random_range(0..3) > 0);
                end += if valid.last() == Some(&true) { random.random_range(0..4) } else { 0 };
                ends.push(end);
            }
            let arrays = fields.iter().map(|field| array(random, field, end as usize, few)).collect();
            let elements = StructArray::new(fields.clone(), arrays, None);
            let offsets = OffsetBuffer::new(std::iter::once(0).chain(ends).collect());
            let nulls = Some(NullBuffer::from(valid));
            Arc::new(ListArray::new(Arc::clone(element), offsets, Arc::new(elements), nulls))
        }
        // Whatever else there is does not pass as one.
        _ => primitives::<TimestampNanosecondType>(random, field, len, |n| n),
    }
}

/// A file with columns of all types, twice each, and the columns as the Parquet crate reads them.
fn file(random: &mut StdRng, is_delta: bool) -> (Bytes, RecordBatch) {
    let all = schema::schema(&[]);
    let types: BTreeSet<String> = all.fields().iter().map(|field| field.data_type().to_string()).collect();
    let mut fields: Vec<Field> = Vec::new();
    for field in all.fields() {
        fields.push(field.as_ref().clone());
        if !matches!(field.data_type(), DataType::List(_)) {
            fields.push(Field::new(format!("{}_2", field.name()), field.data_type().clone(), true));
        }
    }
    for (name, data_type) in [("bool", DataType::Boolean), ("double", DataType::Float64)] {
        fields.push(Field::new(name, data_type, true));
    }
    assert!(types.len() > 8, "{types:?}");
    let schema = Arc::new(Schema::new(Fields::from(fields)));
    let arrays = schema.fields().iter().enumerate().map(|(at, field)| {
        let few = at % 2 == 0;
        array(random, field, ROWS, few)
    });
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).expect("of this schema");
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_data_page_row_count_limit(700)
        // Small pages end at other rows in each leaf of a list.
        .set_data_page_size_limit(if is_delta { 2_000 } else { 1 << 20 })
        .set_write_batch_size(100)
        // Some columns begin with a dictionary and go on without.
        .set_dictionary_page_size_limit(6_000)
        .set_dictionary_enabled(!is_delta);
    if is_delta {
        for field in schema.fields() {
            if field.data_type().is_integer() || matches!(field.data_type(), DataType::Timestamp(..)) {
                let column = field.name().as_str().into();
                properties = properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
            }
        }
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties.build())).expect("valid");
    writer.write(&batch).expect("in memory");
    (writer.into_inner().expect("in memory").into(), batch)
}

#[test]
fn any_rows_of_any_column_are_what_the_parquet_crate_reads() {
    let seed = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("TRACELAKE_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for is_delta in [false, true] {
        let (file, written) = file(&mut random, is_delta);
        let options = ArrowReaderOptions::new()
            .with_page_index_policy(parquet::file::metadata::PageIndexPolicy::Required)
            .with_schema(written.schema());
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options);
        let reader = reader.expect("a file").with_batch_size(ROWS);
        let metadata = Arc::clone(reader.metadata());
        let descriptor = metadata.file_metadata().schema_descr_ptr();
        let read = reader.build().expect("whole").next().expect("rows").expect("whole");
        assert_eq!(read.num_rows(), ROWS);
        let (layout, mut pages) = (GroupLayout::of_first(&metadata), Vec::new());
        for leaf in 0..descriptor.num_columns() {
            let chunk = metadata.row_group(0).column(leaf);
            let places = layout.pages(leaf).map(|place| {
                let len = (place.range.end - place.range.start) as usize;
                let bytes = file.get_bytes(place.range.start, len).expect("within the file");
                let page = decode_page(&bytes, chunk.compression(), 1 << 24).expect("whole");
                (CachedPage::new(page, &descriptor.column(leaf)).expect("whole"), place.rows)
            });
            pages.push(places.collect::<Vec<_>>());
        }
        for round in 0..30 {
            let mut cuts: Vec<u64> = (0..6).map(|_| random.random_range(0..=ROWS as u64)).collect();
            cuts.extend([0, ROWS as u64].into_iter().filter(|_| round == 0));
            cuts.sort_unstable();
            let runs: Vec<Range<u64>> =
                cuts.chunks_exact(2).map(|cut| cut[0]..cut[1]).filter(|run| !run.is_empty()).collect();
            for (index, field) in written.schema().fields().iter().enumerate() {
                let of_column = (0..descriptor.num_columns())
                    .filter(|leaf| descriptor.get_column_root_idx(*leaf) == index);
                let leaves: Vec<LeafPages<'_>> = of_column
                    .map(|leaf| LeafPages {
                        descriptor: descriptor.column(leaf),
                        dictionary: pages[leaf].first().and_then(|(page, _)| page.dictionary()),
                        pages: pages[leaf]
                            .iter()
                            .filter_map(|(page, rows)| Some((page.data()?, rows.clone()?)))
                            .filter(|(_, rows)| {
                                runs.iter().any(|run| run.start < rows.end && rows.start < run.end)
                            })
                            .collect(),
                    })
                    .collect();
                let column = read_column(field, &leaves, &runs, &TextRoom::new(1 << 30))
                    .expect("whole")
                    .expect("not large");
                let mut at = 0;
                for run in &runs {
                    let len = (run.end - run.start) as usize;
                    let expected = read.column(index).slice(run.start as usize, len);
                    let found = column.slice(at, len);
                    assert_eq!(&plain(&found), &plain(&expected), "{field} {run:?} of {runs:?}");
                    at += len;
                }
                assert_eq!(at, column.len());
            }
        }
    }
}

/// Dictionaries may differ where values do not.
fn plain(array: &ArrayRef) -> ArrayRef {
    let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() else { return Arc::clone(array) };
    let texts = dictionary.downcast_dict::<StringArray>().expect("of texts");
    Arc::new(texts.into_iter().collect::<StringArray>())
}

/// What a checksum would have told must neither panic nor take memory without end.
#[test]
fn pages_that_contradict_themselves_are_errors_or_other_rows() {
    let seed = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("TRACELAKE_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (file, written) = file(&mut random, false);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(
        file.clone(),
        ArrowReaderOptions::new().with_page_index_policy(parquet::file::metadata::PageIndexPolicy::Required),
    );
    let metadata = Arc::clone(reader.expect("a file").metadata());
    let descriptor = metadata.file_metadata().schema_descr_ptr();
    for (index, field) in written.schema().fields().iter().enumerate() {
        let leaves: Vec<usize> = (0..descriptor.num_columns())
            .filter(|leaf| descriptor.get_column_root_idx(*leaf) == index)
            .collect();
        for _ in 0..60 {
            let spoilt = random.random_range(0..leaves.len());
            let mut of_leaves = Vec::new();
            for (at, leaf) in leaves.iter().enumerate() {
                let chunk = metadata.row_group(0).column(*leaf);
                let mut pages = Vec::new();
                for place in GroupLayout::of_first(&metadata).pages(*leaf) {
                    let len = (place.range.end - place.range.start) as usize;
                    let bytes = file.get_bytes(place.range.start, len).expect("within the file");
                    let mut page = decode_page(&bytes, chunk.compression(), 1 << 24).expect("whole");
                    if at == spoilt
                        && let Page::DataPage { buf, num_values, .. }
                        | Page::DictionaryPage { buf, num_values, .. } = &mut page
                    {
                        let mut other = buf.to_vec();
                        match random.random_range(0..4) {
                            0 => other.truncate(random.random_range(0..=other.len())),
                            1 => *num_values = random.random(),
                            _ if other.is_empty() => {}
                            // The first bytes are lengths and widths.
                            2 => other[random.random_range(0..buf.len().min(12))] = random.random(),
                            _ => other[random.random_range(0..buf.len())] ^= 1 << random.random_range(0..8),
                        }
                        *buf = other.into();
                    }
                    if let Ok(page) = CachedPage::new(page, &descriptor.column(*leaf)) {
                        pages.push((page, place.rows));
                    }
                }
                of_leaves.push(pages);
            }
            let leaves: Vec<LeafPages<'_>> = leaves
                .iter()
                .zip(&of_leaves)
                .map(|(leaf, pages)| LeafPages {
                    descriptor: descriptor.column(*leaf),
                    dictionary: pages.first().and_then(|(page, _)| page.dictionary()),
                    pages: pages
                        .iter()
                        .filter_map(|(page, rows)| Some((page.data()?, rows.clone()?)))
                        .collect(),
                })
                .collect();
            let run = 10..ROWS as u64 - 10;
            if let Ok(Some(column)) =
                read_column(field, &leaves, std::slice::from_ref(&run), &TextRoom::new(1 << 24))
            {
                assert_eq!(column.len(), ROWS - 20, "{field}");
            }
        }
    }
}
