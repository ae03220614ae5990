use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::ZstdLevel;
use parquet::column::page::PageReader;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;

use super::*;
use crate::segment::layout::GroupLayout;

fn file(compression: Compression) -> Bytes {
    let rows = 1_000;
    let texts: StringArray =
        (0..rows).map(|row| (row % 7 != 0).then(|| format!("text {}", row % 20))).collect();
    let numbers: Int64Array = (0..rows).map(|row| row * row % 1_013).collect();
    let columns: [(&str, ArrayRef); 2] = [("texts", Arc::new(texts)), ("numbers", Arc::new(numbers))];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_data_page_row_count_limit(300)
        .set_write_batch_size(100)
        .set_column_dictionary_enabled("numbers".into(), false)
        .set_column_encoding("numbers".into(), Encoding::DELTA_BINARY_PACKED);
    let mut writer =
        ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).expect("valid");
    writer.write(&batch).expect("in memory");
    writer.into_inner().expect("in memory").into()
}

/// All pages: as they are in the file, how they are compressed, and as the Parquet crate reads them.
fn pages(file: &Bytes) -> Vec<(Bytes, Compression, Page)> {
    let options = ReadOptionsBuilder::new().with_page_index().build();
    let reader = SerializedFileReader::new_with_options(file.clone(), options).expect("a file");
    let group = reader.get_row_group(0).expect("one");
    let mut pages = Vec::new();
    for leaf in 0..2 {
        let mut expected: Box<dyn PageReader> = group.get_column_page_reader(leaf).expect("a column");
        let compression = reader.metadata().row_group(0).column(leaf).compression();
        for place in GroupLayout::of_first(reader.metadata()).pages(leaf) {
            let len = (place.range.end - place.range.start) as usize;
            let bytes = file.get_bytes(place.range.start, len).expect("within the file");
            pages.push((bytes, compression, expected.get_next_page().expect("whole").expect("one more")));
        }
        assert!(expected.get_next_page().expect("whole").is_none());
    }
    pages
}

#[test]
fn pages_are_what_the_parquet_crate_makes_of_them() {
    for compression in [Compression::UNCOMPRESSED, Compression::ZSTD(ZstdLevel::default())] {
        let pages = pages(&file(compression));
        assert_eq!(pages.len(), 1 + 4 + 4, "a dictionary, and four data pages of each column");
        for (bytes, compression, expected) in &pages {
            let read = decode_page(bytes, *compression, 1 << 20).expect("whole");
            assert_eq!(format!("{read:?}"), format!("{expected:?}"));
        }
    }
}

#[test]
fn a_page_that_is_cut_or_larger_than_it_may_be_is_an_error() {
    for (bytes, compression, page) in pages(&file(Compression::ZSTD(ZstdLevel::default()))) {
        for len in 0..bytes.len() {
            assert!(decode_page(&bytes.slice(..len), compression, 1 << 20).is_err(), "cut to {len}");
        }
        assert!(decode_page(&bytes, compression, page.buffer().len() - 1).is_err());
        assert!(decode_page(&bytes, Compression::SNAPPY, 1 << 20).is_err());
    }
}

#[test]
fn any_flipped_bit_of_a_header_is_an_error_or_another_page_but_no_panic() {
    for (bytes, compression, _) in pages(&file(Compression::ZSTD(ZstdLevel::default()))) {
        for bit in 0..8 * bytes.len().min(64) {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = decode_page(&flipped.into(), compression, 1 << 20);
        }
    }
}
