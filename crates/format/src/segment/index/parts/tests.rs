use tracelake_model::TenantId;
use ulid::Ulid;

use super::*;
use crate::segment::meta::{Section, SegmentTenant};

fn part(tenant: u32, first_row: u64, rows: u32, offset: u64) -> IndexPart {
    IndexPart {
        tenant,
        first_row,
        rows,
        traces: 3,
        resources: 2,
        scopes: 1,
        offset,
        len: 100,
        header_len: 40,
        header_crc32c: 9,
    }
}

fn meta() -> SegmentMeta {
    let tenant = |name: &str, first_row| SegmentTenant {
        tenant: name.parse::<TenantId>().expect("a name"),
        first_row,
        rows: 30,
        traces: 6,
    };
    SegmentMeta {
        rows: 60,
        tenants: vec![tenant("a", 0), tenant("b", 30)],
        filter: Section { offset: 1_000, ..Section::default() },
        ..SegmentMeta::new(Ulid::nil(), 1)
    }
}

#[test]
fn parts_come_back_and_are_those_of_their_segment() {
    let index = PartIndex { parts: vec![part(0, 0, 20, 4), part(0, 20, 10, 200), part(1, 30, 30, 900)] };
    assert_eq!(PartIndex::parse(&index.to_bytes()).expect("own bytes"), index);
    index.check(&meta()).expect("all rows");
    assert_eq!((index.parts[0].range(), index.parts[0].header_range()), (4..104, 64..104));
    let edits: [fn(&mut Vec<IndexPart>); 9] = [
        |parts| parts.truncate(2),
        |parts| parts.rotate_left(1),
        |parts| parts.push(part(1, 60, 1, 1_000)),
        |parts| parts[1].first_row = 21,
        |parts| parts[1].traces = 11,
        |parts| parts[1].scopes = 0,
        |parts| parts[1].offset = 103,
        |parts| parts[2].offset = 901,
        |parts| parts[0].header_len = 101,
    ];
    for (at, edit) in edits.into_iter().enumerate() {
        let mut other = index.clone();
        edit(&mut other.parts);
        assert!(other.check(&meta()).is_err(), "edit {at}");
    }
}

#[test]
fn other_bytes_are_refused() {
    let bytes = PartIndex { parts: vec![part(0, 0, 20, 4)] }.to_bytes();
    assert!(PartIndex::parse(&bytes[..bytes.len() - 1]).is_err());
    assert!(PartIndex::parse(&bytes[..8]).is_err());
    let mut other = bytes.clone();
    for version in [1, 3] {
        other[4] = version;
        let error = PartIndex::parse(&other).expect_err("another version");
        assert_eq!(error.kind(), tracelake_model::ErrorKind::Unsupported);
    }
    other[0] = 0;
    assert!(PartIndex::parse(&other).is_err());
}
