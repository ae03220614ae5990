use super::{Fault, Nesting, RECURSION_MAX, Reader};

fn varint(bytes: &[u8]) -> Result<u64, Fault> {
    Reader::new(bytes).varint()
}

fn skip(bytes: &[u8]) -> Result<usize, Fault> {
    let mut reader = Reader::new(bytes);
    let key = reader.key()?.ok_or(Fault::Truncated)?;
    reader.skip(key, RECURSION_MAX)?;
    Ok(bytes.len() - reader.rest.len())
}

#[test]
fn varints_have_up_to_64_bits_and_may_be_longer_than_needed() {
    assert_eq!(varint(&[0]), Ok(0));
    assert_eq!(varint(&[0x80, 0x01]), Ok(128));
    assert_eq!(varint(&[0x80, 0x80, 0x00]), Ok(0));
    assert_eq!(varint(&[0xff; 9]), Err(Fault::Varint));
    let mut max = [0xff; 10];
    max[9] = 1;
    assert_eq!(varint(&max), Ok(u64::MAX));
    max[9] = 2;
    assert_eq!(varint(&max), Err(Fault::Varint));
    assert_eq!(varint(&[]), Err(Fault::Varint));
    assert_eq!(varint(&[0x80]), Err(Fault::Varint));
}

#[test]
fn a_group_is_skipped_with_its_end_and_no_other() {
    // Field 9: a group that holds field 1 and a group of field 2.
    assert_eq!(skip(&[0x4b, 0x08, 0x05, 0x13, 0x14, 0x4c, 0xff]), Ok(6));
    assert_eq!(skip(&[0x4b, 0x54]), Err(Fault::Group));
    assert_eq!(skip(&[0x4c]), Err(Fault::Group));
    assert_eq!(skip(&[0x4b, 0x08]), Err(Fault::Varint));
    assert_eq!(skip(&[0x4b]), Err(Fault::Truncated));
    assert_eq!(skip(&[0x4b, 0x04]), Err(Fault::Key));
}

#[test]
fn groups_nest_as_deep_as_messages() {
    let nested = |levels: usize| [vec![0x4b; levels], vec![0x4c; levels]].concat();
    assert_eq!(skip(&nested(100)), Ok(200));
    assert_eq!(skip(&nested(101)), Err(Fault::Recursion));
}

#[test]
fn impossible_keys_are_refused() {
    assert_eq!(skip(&[0x00, 0x00]), Err(Fault::Key));
    assert_eq!(skip(&[0x0e]), Err(Fault::WireType));
    assert_eq!(skip(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(Fault::Key));
}

#[test]
fn levels_and_messages_are_counted_apart() {
    let nesting = Nesting::new(2, RECURSION_MAX - 3);
    let inner = nesting.level().expect("first level").level().expect("second level");
    assert_eq!(inner.level().err(), Some(Fault::TooDeep));
    assert_eq!(inner.message().expect("third message").message().err(), Some(Fault::Recursion));
}
