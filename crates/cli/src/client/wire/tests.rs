use std::time::Duration;

use super::*;

#[test]
fn fields_of_every_wire_type_are_read() {
    let message = [
        0x08, 0xac, 0x02, // 1: varint 300
        0x11, 1, 0, 0, 0, 0, 0, 0, 0x80, // 2: fixed64
        0x1a, 2, b'h', b'i', // 3: bytes
        0x25, 7, 0, 0, 0, // 4: fixed32
    ];
    let fields: Result<Vec<_>, _> = Fields::new(&message).collect();
    let expected = vec![
        (1, Field::Varint(300)),
        (2, Field::Fixed64(0x8000_0000_0000_0001)),
        (3, Field::Bytes(b"hi")),
        (4, Field::Fixed32(7)),
    ];
    assert_eq!(fields, Ok(expected));
}

#[test]
fn what_is_cut_off_is_malformed() {
    let message = [0x1a, 2, b'h', b'i', 0x11, 1, 0, 0, 0, 0, 0, 0, 0x80, 0x08, 0xac, 0x02];
    let whole = [0, 4, 13, 16];
    for len in 0..=message.len() {
        let fields: Result<Vec<_>, _> = Fields::new(&message[..len]).collect();
        assert_eq!(fields.is_ok(), whole.contains(&len), "cut to {len} bytes");
    }
    assert!(Fields::new(&[0x0b]).all(|field| field.is_err()), "a group");
    assert!(Fields::new(&[0x02, 0]).all(|field| field.is_err()), "field number 0");
}

#[test]
fn a_varint_of_more_than_64_bits_is_refused() {
    let mut bytes = [0xff; 10];
    bytes[9] = 0x01;
    assert_eq!(read_varint(&bytes), Some((u64::MAX, 10)));
    bytes[9] = 0x02;
    assert_eq!(read_varint(&bytes), None);
    assert_eq!(read_varint(&[0x80; 11]), None);
}

#[test]
fn the_answer_to_an_export_is_read() {
    assert_eq!(partial_success(&[]), Ok(PartialSuccess::default()));
    let response = [0x0a, 7, 0x08, 3, 0x12, 3, b'b', b'a', b'd'];
    let expected = PartialSuccess { rejected_spans: 3, message: Some("bad".to_owned()) };
    assert_eq!(partial_success(&response), Ok(expected));
    assert_eq!(partial_success(&response[..5]), Err(MalformedMessage));
}

#[test]
fn retry_info_is_found_among_the_details() {
    let type_url = b"type.googleapis.com/google.rpc.RetryInfo";
    let delay = [0x0a, 9, 0x08, 2, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01, 0x18, 0];
    let mut any = vec![0x0a, type_url.len() as u8];
    any.extend_from_slice(type_url);
    any.extend_from_slice(&[0x12, delay.len() as u8 - 1]);
    any.extend_from_slice(&delay[..delay.len() - 1]);
    let mut status = vec![0x08, 14, 0x12, 4, b'b', b'u', b's', b'y', 0x1a, any.len() as u8];
    status.extend_from_slice(&any);
    assert_eq!(status_message(&status).as_deref(), Some("busy"));
    assert_eq!(retry_delay(&status[..8]), None);
    // The extra byte within the duration is malformed, and then no delay was named.
    assert_eq!(retry_delay(&status), None);

    let delay = [0x0a, 8, 0x08, 2, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
    let mut any = vec![0x0a, type_url.len() as u8];
    any.extend_from_slice(type_url);
    any.extend_from_slice(&[0x12, delay.len() as u8]);
    any.extend_from_slice(&delay);
    let mut status = vec![0x1a, any.len() as u8];
    status.extend_from_slice(&any);
    assert_eq!(retry_delay(&status), Some(Duration::from_millis(2_500)));
}
