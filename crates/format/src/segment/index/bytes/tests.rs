use super::*;

#[test]
fn varints_come_back_and_are_refused_when_cut() {
    for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.varint().expect("own bytes"), value);
        assert!(reader.rest.is_empty());
        assert!(Reader::new(&out[..out.len() - 1]).varint().is_err(), "{value}");
    }
}

#[test]
fn packed_numbers_of_every_width_come_back() {
    for width in 0..=64 {
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        let values: Vec<u64> = (0..99u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask).collect();
        let mut out = Vec::new();
        pack(&mut out, values.iter().copied(), width);
        assert_eq!(Some(out.len()), packed_len(values.len(), width));
        let read: Vec<u64> = (0..values.len()).map(|at| unpack(&out, at, width)).collect();
        assert_eq!(read, values, "{width} bits");
    }
}

#[test]
fn unary_numbers_end_at_their_limit_and_at_the_last_byte() {
    let mut out = Vec::new();
    let mut bits = BitWriter::new(&mut out);
    for zeros in [0, 1, 31, 32, 33, 57, 200] {
        bits.put_unary(zeros);
        bits.put(5, 3);
    }
    bits.finish();
    let mut reader = BitReader::new(&out);
    for zeros in [0, 1, 31, 32, 33, 57, 200] {
        assert_eq!(reader.unary(200), Some(zeros));
        assert_eq!(reader.bits(3), 5);
    }
    assert!(reader.is_within());
    assert_eq!(reader.unary(u64::MAX), None);
    assert_eq!(BitReader::new(&[0; 100]).unary(99), None);
    assert_eq!(BitReader::new(&[0; 100]).unary(u64::MAX), None);
}
