use super::*;
use crate::segment::index::postings;

fn postings_of(ordinals: &[u32], universe: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    postings::write(&mut bytes, ordinals, universe);
    bytes
}

fn list(term_type: TermType) -> WrittenList {
    WrittenList {
        term_type,
        terms: 2,
        block: vec![1; 20],
        // Ordinals have ten bits.
        hashed_counts: vec![3, 0, 2],
        hashed: vec![2; (6 + 4) + (4 + 3)],
        opaque: if term_type == TermType::Bool { Vec::new() } else { postings_of(&[1, 5], 1_000) },
        bounds: (term_type == TermType::Number).then_some(([1; 8], [2; 8])),
    }
}

fn part() -> (IndexPart, Vec<u8>) {
    let mut writer = PartWriter::begin(true, [&[0; 100], &[1; 10], &[2; 3], &[3; 2]]);
    let every_third: Vec<u32> = (0..1_000).step_by(3).collect();
    let fields = [
        (FieldScope::Intrinsic, "name", vec![TermType::Text, TermType::LongText]),
        (FieldScope::Span, "", vec![TermType::Bool]),
        (FieldScope::Span, "key", vec![]),
        (FieldScope::Span, "size", vec![TermType::Text, TermType::Number]),
    ];
    for (scope, key, types) in fields {
        let lists = types.into_iter().map(list).collect();
        writer.push(&WrittenField { scope, key, exists: postings_of(&every_third, 1_000), lists });
    }
    let (bytes, header_len) = writer.finish();
    let header = &bytes[bytes.len() - header_len..];
    let part = IndexPart {
        tenant: 0,
        first_row: 0,
        rows: 5_000,
        traces: 1_000,
        resources: 3,
        scopes: 2,
        offset: 4_000,
        len: bytes.len() as u32,
        header_len: header_len as u32,
        header_crc32c: crc32c::crc32c(header),
    };
    (part, header.to_vec())
}

#[test]
fn a_header_says_where_what_is() {
    let (part, header) = part();
    let read = IndexHeader::decode(&part, &header.into()).expect("own bytes");
    assert_eq!((read.trace_table_range(), read.is_complete()), (4_000..4_100, true));
    assert_eq!(read.traces_of(Universe::Scopes), Some(4_110..4_113));
    assert_eq!(read.operations_range(), 4_113..4_115);
    assert_eq!((read.universe(Universe::Resources), read.fields().count()), (3, 4));
    let name = read.fields().next().expect("the first");
    assert!(matches!(read.field(FieldScope::Intrinsic, "name"), FieldLookup::Known(_)));
    // A bitmap of a thousand, and how many are in it.
    assert_eq!(name.exists_ranges().first(), Some(&(4_115..4_242)));
    // Five hashes of texts, and of long texts seven values.
    assert_eq!(name.unlisted_values(), 12);
    assert!(matches!(read.field(FieldScope::Span, "name"), FieldLookup::Absent));
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    assert!(matches!(read.field(FieldScope::Span, &long), FieldLookup::Unknown));
}

#[test]
fn what_an_incomplete_header_does_not_list_is_unknown() {
    let (mut bytes, len) = PartWriter::begin(false, [&[]; 4]).finish();
    let (mut part, _) = part();
    (part.len, part.header_len) = (len as u32, len as u32);
    let header = bytes.split_off(bytes.len() - len);
    let read = IndexHeader::parse(&part, &header.into()).expect("own bytes");
    assert!(!read.is_complete());
    assert!(matches!(read.field(FieldScope::Span, "key"), FieldLookup::Unknown));
    // The keys of a part may have taken all places before its first link.
    assert!(matches!(read.field(FieldScope::Intrinsic, "link:spanID"), FieldLookup::Unknown));
}

#[test]
fn a_damaged_header_is_refused_or_another_one() {
    let (part, header) = part();
    for at in 0..header.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = header.clone();
            damaged[at] ^= change;
            drop(IndexHeader::parse(&part, &damaged.clone().into()));
            assert!(IndexHeader::decode(&part, &damaged.into()).is_err(), "byte {at}");
        }
        assert!(IndexHeader::parse(&part, &header[..at].to_vec().into()).is_err(), "cut at {at}");
    }
    let longer = IndexPart { len: part.len + 1, ..part };
    assert!(IndexHeader::parse(&longer, &header.into()).is_err(), "a byte that nothing names");
}
