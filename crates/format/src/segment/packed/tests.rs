use super::*;

fn all(hybrid: &mut Hybrid<'_>, count: usize) -> Vec<u32> {
    let mut values = Vec::new();
    hybrid.each(count, |value| values.push(value)).expect("whole");
    values
}

/// From Parquet's description of the encoding: 0 to 7 in three bits each.
const ZERO_TO_SEVEN: [u8; 4] = [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010];

#[test]
fn runs_and_bits_follow_each_other() {
    let mut bytes = ZERO_TO_SEVEN.to_vec();
    bytes.extend([5 << 1, 6]);
    bytes.extend(ZERO_TO_SEVEN);
    let expected = [&(0..8).collect::<Vec<u32>>()[..], &[6; 5], &(0..8).collect::<Vec<u32>>()].concat();
    for first in 0..=expected.len() {
        let hybrid = Hybrid::new(&bytes, 3).expect("3 bits");
        let mut skipped = hybrid.clone();
        skipped.skip(first).expect("there");
        let mut bytes = Vec::new();
        skipped.clone().append(expected.len() - first, &mut bytes).expect("there");
        assert!(bytes.iter().map(|value| u32::from(*value)).eq(expected[first..].iter().copied()));
        assert_eq!(all(&mut skipped, expected.len() - first), expected[first..]);
        assert!(skipped.skip(1).is_err(), "nothing is left");
        for wanted in [0, 3, 6, 9] {
            let count = hybrid.clone().count(first, wanted).expect("there");
            assert_eq!(count, expected[..first].iter().filter(|value| **value == wanted).count());
        }
    }
}

#[test]
fn single_bits_are_counted_wherever_they_begin() {
    let bits: Vec<u8> = (0..40).map(|n: u8| n.wrapping_mul(151) ^ 0x5a).collect();
    let mut bytes = vec![(40 << 1) | 1];
    bytes.extend(&bits);
    let one = |at: usize| u32::from(bits[at / 8] >> (at % 8) & 1);
    for from in [0, 1, 7, 8, 63, 64, 65] {
        for len in [0, 1, 56, 57, 58, 64, 200] {
            let mut hybrid = Hybrid::new(&bytes, 1).expect("one bit");
            hybrid.skip(from).expect("there");
            let ones = (from..from + len).map(|at| one(at) as usize).sum::<usize>();
            assert_eq!(hybrid.clone().count(len, 1).expect("there"), ones, "{from} {len}");
            assert_eq!(hybrid.count(len, 0).expect("there"), len - ones, "{from} {len}");
        }
    }
}

#[test]
fn without_bits_there_is_only_zero() {
    let mut hybrid = Hybrid::new(&[(2 << 1) | 1, 7 << 1], 0).expect("no bits");
    assert_eq!(all(&mut hybrid, 23), [0; 23]);
    assert!(hybrid.skip(1).is_err());
}

#[test]
fn what_ends_early_or_cannot_be_is_an_error() {
    assert!(Hybrid::new(&[], 33).is_err());
    for bytes in [&[][..], &[0x80], &[0xff; 11], &[2 << 1], &[3, 1]] {
        assert!(Hybrid::new(bytes, 9).expect("9 bits").skip(9).is_err(), "{bytes:?}");
    }
    for bytes in [&[][..], &[0x80, 0x01], &[0, 0, 1, 0], &[7, 1, 1, 0], &[0x80, 0x01, 0, 9, 0]] {
        assert!(Deltas::new(bytes).is_err(), "{bytes:?}");
    }
    let mut deltas = Deltas::new(&[0x80, 0x01, 4, 2, 10]).expect("a header");
    assert!(deltas.each(3, drop).is_err(), "more than it says it has");
    let mut deltas = Deltas::new(&[0x80, 0x01, 4, 2, 10]).expect("a header");
    assert!(deltas.each(2, drop).is_err(), "the block is not there");
}

/// From Parquet's description: 7, 5, 3, 1, 2, 3, 4, 5 are differences of −2 and 1 in two bits each.
#[test]
fn deltas_add_up() {
    let bytes = [0x80, 0x01, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
    let mut deltas = Deltas::new(&bytes).expect("a header");
    let mut values = Vec::new();
    deltas.each(3, |value| values.push(value)).expect("whole");
    deltas.each(5, |value| values.push(value)).expect("whole");
    assert_eq!(values, [7, 5, 3, 1, 2, 3, 4, 5]);
    assert!(deltas.each(1, drop).is_err());
}

#[test]
fn wide_deltas_wrap() {
    // One of 64 bits, shifted by none, and one that crosses nine bytes.
    let mut bytes = vec![8, 1, 3, 0, 1, 64];
    bytes.extend(u64::MAX.to_le_bytes());
    bytes.extend(5u64.to_le_bytes());
    bytes.resize(6 + 64, 0);
    let mut values = Vec::new();
    Deltas::new(&bytes).expect("a header").each(3, |value| values.push(value)).expect("whole");
    assert_eq!(values, [0, -2, 2]);
    let packed = [0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f];
    assert_eq!(bits_at(&packed, 5, 64), u64::MAX);
    assert_eq!(bits_at(&packed, 5, 63), u64::MAX >> 1);
}
