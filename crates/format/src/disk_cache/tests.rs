use super::*;

fn file(segment: Ulid, number: u32, block: &[u8]) -> Bytes {
    Bytes::from([write_header(segment, number, block).as_slice(), block].concat())
}

#[test]
fn a_block_reads_back_and_nothing_else_does() {
    let segment = Ulid::from_parts(1, 2);
    let whole = file(segment, 3, b"some bytes");
    assert_eq!(parse_block(segment, 3, &whole).expect("intact"), &b"some bytes"[..]);
    assert_eq!(parse_block(segment, 3, &file(segment, 3, b"")).expect("intact"), Bytes::new());
    assert!(parse_block(segment, 4, &whole).is_err());
    assert!(parse_block(Ulid::from_parts(1, 3), 3, &whole).is_err());
    for len in 0..whole.len() {
        assert!(parse_block(segment, 3, &whole.slice(..len)).is_err(), "cut at {len}");
    }
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(parse_block(segment, 3, &damaged.into()).is_err(), "bit {bit}");
    }
}

/// As docs/formats/disk-cache.md has it, byte for byte.
#[test]
fn the_header_is_what_it_was() {
    let header = write_header(Ulid::from_parts(1, 2), 3, b"some bytes");
    assert_eq!(header, *b"TLDC\x01\0\0\0\x80\xd7\x3c\xe0");
}
