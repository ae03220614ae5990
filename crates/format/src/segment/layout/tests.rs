use parquet::file::metadata::{OffsetIndexBuilder, ParquetMetaData};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;

use super::*;

impl GroupLayout {
    pub(in crate::segment) fn of_first(metadata: &ParquetMetaData) -> Self {
        let index = metadata.offset_index().and_then(|index| index.first()).expect("an index");
        Self::of(metadata.row_group(0), index).expect("a whole one")
    }
}

/// Where it is, its length, its first row.
type Page = (i64, i32, i64);

/// A row group with as many columns as there are lists of pages, each with the place of its dictionary.
fn group(rows: i64, columns: &[(Option<i64>, &[Page])]) -> Option<GroupLayout> {
    let fields: Vec<String> = (0..columns.len()).map(|at| format!("required int64 c{at};")).collect();
    let message = format!("message m {{ {} }}", fields.join(" "));
    let schema = parse_message_type(&message).expect("a schema");
    let schema = std::sync::Arc::new(SchemaDescriptor::new(std::sync::Arc::new(schema)));
    let (mut chunks, mut indexes) = (Vec::new(), Vec::new());
    for (at, (dictionary, pages)) in columns.iter().enumerate() {
        let chunk = parquet::file::metadata::ColumnChunkMetaData::builder(schema.column(at))
            .set_data_page_offset(pages.first().map_or(0, |page| page.0))
            .set_dictionary_page_offset(*dictionary)
            .set_total_uncompressed_size(1_000)
            .set_compression(Compression::SNAPPY);
        chunks.push(chunk.build().expect("a chunk"));
        let mut index = OffsetIndexBuilder::new();
        for (at, (offset, len, first_row)) in pages.iter().enumerate() {
            let next = pages.get(at + 1).map_or(rows, |next| next.2);
            assert!(at > 0 || *first_row == 0, "the builder counts from 0");
            index.append_row_count(next - first_row);
            index.append_offset_and_size(*offset, *len);
        }
        indexes.push(index.build());
    }
    let group = RowGroupMetaData::builder(schema).set_num_rows(rows).set_column_metadata(chunks).build();
    GroupLayout::of(&group.expect("a row group"), &indexes)
}

fn places(layout: &GroupLayout, leaf: usize) -> Vec<(Range<u64>, Option<Range<u64>>)> {
    layout.pages(leaf).map(|place| (place.range, place.rows)).collect()
}

#[test]
fn pages_are_where_the_index_says() {
    let layout = group(
        100,
        &[
            (Some(4), &[(30, 10, 0), (40, 5, 60)]),
            (None, &[(45, 7, 0), (60, 1, 60)]),
            (Some(61), &[(70, 9, 0)]),
        ],
    );
    let layout = layout.expect("whole");
    assert_eq!(places(&layout, 0), [(4..30, None), (30..40, Some(0..60)), (40..45, Some(60..100))]);
    assert_eq!(places(&layout, 1), [(45..52, Some(0..60)), (60..61, Some(60..100))]);
    assert_eq!(places(&layout, 2), [(61..70, None), (70..79, Some(0..100))]);
    assert_eq!(places(&layout, 3), []);
    assert_eq!(layout.bytes(), Some(4..79));
    assert_eq!(layout.first_rows.len(), 2, "the same list is kept once");
    let codec = layout.codec(1).expect("a column");
    assert_eq!((codec.compression, codec.uncompressed_bytes), (Compression::SNAPPY, 1_000));
    assert!(layout.codec(3).is_none());
}

#[test]
fn an_index_that_contradicts_itself_is_none() {
    let is_none = |rows, pages: &[Page]| group(rows, &[(None, pages)]).is_none();
    assert!(!is_none(10, &[(0, 5, 0), (5, 5, 4)]));
    assert!(is_none(10, &[]), "no page");
    assert!(is_none(10, &[(0, 5, 0), (4, 5, 4)]), "pages overlap");
    assert!(is_none(10, &[(0, -5, 0)]), "a negative length");
    assert!(is_none(10, &[(-1, 5, 0)]), "a negative place");
    assert!(is_none(10, &[(0, 5, 0), (5, 5, 0)]), "two pages begin with one row");
    assert!(is_none(10, &[(0, 5, 0), (5, 5, 10)]), "a page behind the last row");
    assert!(is_none(10, &[(0, 5, 0), (1 << 33, 5, 4)]), "further than a chunk is long");
}
