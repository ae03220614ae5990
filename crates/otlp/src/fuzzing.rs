//! What must hold of any input, for cargo-fuzz and for bounded runs on stable. Not part of the API.

use tracelake_model::SpanBatch;

use crate::{DecodeLimits, Decoder, JsonEncoder, encode_protobuf};

/// Limits small enough that a fuzzer reaches them.
fn limits() -> DecodeLimits {
    DecodeLimits {
        spans_max: 64,
        items_max: 512,
        attribute_value_bytes_max: 256,
        value_elements_max: 16,
        attributes_max: 32,
        span_events_max: 16,
        span_links_max: 16,
        resource_bytes_max: 512,
        ..DecodeLimits::default()
    }
}

/// Any bytes as protobuf: no panic, and what is accepted survives both encodings.
///
/// # Panics
/// If that does not hold.
pub fn protobuf(data: &[u8]) {
    let mut decoder = Decoder::new();
    let small = decoder.decode_protobuf(data, &limits());
    let whole = decoder.decode_protobuf(data, &DecodeLimits::recovery());
    if let Ok(decoded) = &small {
        survives(&mut decoder, &decoded.batch);
        assert!(whole.is_ok(), "what was accepted must be accepted under wider limits");
    }
    if let Ok(decoded) = &whole {
        survives(&mut decoder, &decoded.batch);
    }
}

/// Any bytes as JSON: no panic, and what is accepted survives both encodings.
///
/// # Panics
/// If that does not hold.
pub fn json(data: &[u8]) {
    let mut decoder = Decoder::new();
    let small = decoder.decode_json(data, &limits());
    let whole = decoder.decode_json(data, &DecodeLimits::recovery());
    if let Ok(decoded) = &small {
        survives(&mut decoder, &decoded.batch);
        assert!(whole.is_ok(), "what was accepted must be accepted under wider limits");
    }
    if let Ok(decoded) = &whole {
        survives(&mut decoder, &decoded.batch);
    }
}

/// Encoded and decoded again, the batch has the same spans in the order of their groups.
fn survives(decoder: &mut Decoder, batch: &SpanBatch) {
    let recovery = DecodeLimits::recovery();
    let views: Vec<_> = batch.spans().collect();
    let bytes = encode_protobuf(&views);
    let from_protobuf = decoder.decode_protobuf(&bytes, &recovery).expect("what was encoded decodes");
    let rows = (0..batch.len() as u32).map(|row| (0, row)).collect();
    let text: Vec<u8> = JsonEncoder::new([batch.clone()], rows).flatten().collect();
    let from_json = decoder.decode_json(&text, &recovery).expect("what was encoded decodes");
    for decoded in [&from_protobuf, &from_json] {
        assert!(decoded.rejections.is_empty());
        assert_eq!(decoded.batch.len(), batch.len());
    }
    for (a, b) in from_protobuf.batch.spans().zip(from_json.batch.spans()) {
        assert!(a.is_duplicate_of(&b), "both encodings must say the same: {a:?} {b:?}");
    }
    let again: Vec<_> = from_protobuf.batch.spans().collect();
    assert!(encode_protobuf(&again) == bytes, "encoding must be stable");
    for span in batch.spans() {
        // Quadratic, but a fuzzer's inputs are small and a batch without its own span is a bug.
        assert!(again.iter().any(|other| other.is_duplicate_of(&span)), "a span was lost: {span:?}");
    }
}
