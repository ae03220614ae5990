use super::*;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + index / 251) as u8).collect()
}

#[test]
fn a_table_reads_back() {
    for len in [0, 1, 4095, 4096, 4097, 20_000] {
        let table = ChecksumTable::of(&bytes(len));
        assert_eq!(ChecksumTable::parse(&table.to_bytes()).expect("own bytes"), table);
        assert_eq!(table.covered(), len as u64);
    }
}

#[test]
fn a_table_of_bytes_that_come_in_pieces_is_that_of_the_whole() {
    let file = bytes(20_000);
    for piece in [1, 7, 4095, 4096, 4097, 9_000] {
        let mut table = ChecksumTable::default();
        file.chunks(piece).for_each(|piece| table.extend(piece));
        assert_eq!(table, ChecksumTable::of(&file), "pieces of {piece}");
    }
}

#[test]
fn any_aligned_part_verifies_and_no_changed_bit_does() {
    let mut file = bytes(10_000);
    let table = ChecksumTable::of(&file);
    for range in [0..1, 0..4096, 4095..4097, 5000..6000, 8192..10_000, 9_999..10_000, 10_000..10_000] {
        let aligned = table.align(range.clone());
        assert!(aligned.start <= range.start && range.end <= aligned.end, "{range:?} in {aligned:?}");
        let part = file.get(aligned.start as usize..aligned.end as usize).expect("within");
        table.verify(aligned.start, part).expect("unchanged");
    }
    for bit in (0..8 * file.len()).step_by(97) {
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(table.verify(0, &file).is_err(), "bit {bit}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn parts_of_blocks_and_bytes_beyond_the_table_are_refused() {
    let file = bytes(10_000);
    let table = ChecksumTable::of(&file);
    assert!(table.verify(0, &file[..100]).is_err());
    assert!(table.verify(1, &file[1..4096]).is_err());
    assert!(table.verify(8192, &bytes(4096)).is_err());
    assert!(table.verify(u64::MAX, &file).is_err());
    assert_eq!(table.align(20_000..30_000), 8192..10_000);
}

#[test]
fn a_cut_or_extended_table_is_refused() {
    let mut stored = ChecksumTable::of(&bytes(10_000)).to_bytes();
    for len in 0..stored.len() {
        assert!(ChecksumTable::parse(&stored[..len]).is_err(), "cut to {len}");
    }
    stored.push(0);
    assert!(ChecksumTable::parse(&stored).is_err());
}
