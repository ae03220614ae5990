use tracelake_model::{Owner, Resource, Scope, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, TraceId};

use super::{CHUNK_BYTES, JsonEncoder, ProtobufEncoder, RESOURCE_SPANS_SPANS_MAX, encode_protobuf};
use crate::{DecodeLimits, Decoder};

/// `spans` spans, each with a text of `bytes` bytes; resources and scopes of the given names in turn.
fn batch(spans: u64, bytes: usize, resources: &[&str], scopes: &[&str]) -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    for number in 0..spans {
        let turn = number as usize;
        let resource = builder.resource(
            Resource { schema_url: resources[turn % resources.len()].into(), ..Resource::default() }.into(),
        );
        let scope =
            builder.scope(Scope { name: scopes[turn % scopes.len()].into(), ..Scope::default() }.into());
        let key = builder.known_term("key");
        builder.push_text(Owner::Span, key, &"x".repeat(bytes));
        builder.finish_span(SpanScalars {
            start_unix_nano: number,
            end_unix_nano: number,
            resource,
            scope,
            ..SpanScalars::new(
                TraceId::from_bytes(&[1; 16]).expect("not zero"),
                SpanId::from_bytes(&(number + 1).to_be_bytes()).expect("not zero"),
            )
        });
    }
    builder.finish()
}

fn all_rows(batch: &SpanBatch) -> Vec<(u32, u32)> {
    (0..batch.len() as u32).map(|row| (0, row)).collect()
}

fn starts(batch: &SpanBatch) -> Vec<u64> {
    batch.spans().map(|span| span.start_unix_nano()).collect()
}

#[test]
fn spans_are_grouped_in_order_of_first_occurrence() {
    let batch = batch(6, 1, &["b", "a"], &["z", "y", "x"]);
    let views: Vec<_> = batch.spans().collect();
    let bytes = encode_protobuf(&views);
    let decoded = Decoder::new().decode_protobuf(&bytes, &DecodeLimits::default()).expect("valid").batch;
    // Resource b has spans 0, 2, 4 with scopes z, x, y; resource a has 1, 3, 5 with y, z, x.
    assert_eq!(starts(&decoded), [0, 2, 4, 1, 3, 5]);
    assert_eq!((decoded.resources().len(), decoded.scopes().len()), (2, 3));
    let text: Vec<u8> = JsonEncoder::new([batch.clone()], all_rows(&batch)).flatten().collect();
    let decoded = Decoder::new().decode_json(&text, &DecodeLimits::default()).expect("valid").batch;
    assert_eq!(starts(&decoded), [0, 2, 4, 1, 3, 5]);
    assert_eq!((decoded.resources().len(), decoded.scopes().len()), (2, 6));
}

#[test]
fn equal_resources_of_several_batches_are_one_group() {
    let batches = [batch(2, 1, &["r"], &["s"]), batch(2, 2, &["r"], &["s"])];
    let rows = vec![(1, 1), (0, 0), (1, 0)];
    let text: Vec<u8> = JsonEncoder::new(batches, rows).flatten().collect();
    let text = String::from_utf8(text).expect("JSON is UTF-8");
    assert_eq!(text.matches("\"resource\":").count(), 1);
    assert_eq!(text.matches("\"spanId\":").count(), 3);
}

#[test]
fn chunks_are_small_and_whole_protobuf_messages() {
    let batch = batch(3_000, 100, &["r", "q"], &["s"]);
    let mut decoder = Decoder::new();
    let mut spans = 0;
    for chunk in ProtobufEncoder::new([batch.clone()], all_rows(&batch)) {
        assert!(chunk.len() < 2 * CHUNK_BYTES, "{}", chunk.len());
        let decoded = decoder.decode_protobuf(&chunk, &DecodeLimits::default()).expect("a whole message");
        assert!(decoded.batch.len() <= 3 * RESOURCE_SPANS_SPANS_MAX);
        spans += decoded.batch.len();
    }
    assert_eq!(spans, 3_000);
}

#[test]
fn a_span_larger_than_a_chunk_stands_alone() {
    let batch = batch(3, 3 * CHUNK_BYTES, &["r"], &["s"]);
    let chunks: Vec<_> = ProtobufEncoder::new([batch.clone()], all_rows(&batch)).collect();
    assert_eq!(chunks.len(), 3);
    let chunks: Vec<_> = JsonEncoder::new([batch.clone()], all_rows(&batch)).collect();
    assert_eq!(chunks.len(), 3);
}

#[test]
fn nothing_is_no_chunk_of_protobuf() {
    assert_eq!(ProtobufEncoder::new([SpanBatch::default()], Vec::new()).count(), 0);
    assert!(encode_protobuf(&[]).is_empty());
}

#[test]
fn encoders_can_be_sent_to_another_thread() {
    fn is_send<T: Send + 'static>() {}
    is_send::<ProtobufEncoder>();
    is_send::<JsonEncoder>();
}
