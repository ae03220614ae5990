//! The walker against prost.

use tracelake_otlp::{
    DecodeLimits, Decoder, ProtobufEncoder, RejectReason, Rejections, encode_protobuf, fuzzing,
};

use crate::generate::{Oddity, mutated, seeded, traces};
use crate::oracle::{expected, plain};

/// Both accept or both refuse, and read the same.
fn compare(decoder: &mut Decoder, body: &[u8], limits: &DecodeLimits) -> bool {
    let expected = expected(body, limits);
    let actual = decoder.decode_protobuf(body, limits);
    assert_eq!(
        expected.is_some(),
        actual.is_ok(),
        "prost {} but the walker said {:?} of {body:02x?}",
        if expected.is_some() { "accepted" } else { "refused" },
        actual.map(|decoded| decoded.rejections)
    );
    let (Some((spans, rejections)), Ok(actual)) = (expected, actual) else { return false };
    assert_eq!(plain(&actual.batch), spans, "of {body:02x?}");
    assert_eq!(actual.rejections, rejections, "of {body:02x?}");
    true
}

/// Low enough that random messages exceed each.
pub(crate) fn tight() -> DecodeLimits {
    DecodeLimits {
        attribute_value_bytes_max: 60,
        value_elements_max: 3,
        attributes_max: 3,
        span_events_max: 1,
        span_links_max: 1,
        resource_bytes_max: 100,
        ..DecodeLimits::recovery()
    }
}

/// For each of these reasons some span must have been rejected, or a test of limits tests nothing.
pub(crate) fn assert_all_seen(rejections: &Rejections) {
    for reason in [
        RejectReason::ValueElementCount,
        RejectReason::AttributeValueSize,
        RejectReason::AttributeCount,
        RejectReason::EventCount,
        RejectReason::LinkCount,
        RejectReason::ResourceSize,
    ] {
        assert!(rejections.count(reason) > 0, "no span was rejected {reason:?}: {rejections:?}");
    }
}

#[test]
fn the_walker_reads_what_prost_reads_of_random_messages() {
    let mut rng = seeded();
    let mut decoder = Decoder::new();
    let (mut spans, mut rejections) = (0, Rejections::default());
    for round in 0..600 {
        let oddity = if round % 3 == 0 { Oddity::NONE } else { Oddity::MUCH };
        let body = traces(&mut rng, oddity);
        assert!(compare(&mut decoder, &body, &DecodeLimits::recovery()), "generated messages are valid");
        compare(&mut decoder, &body, &tight());
        if let Some((kept, rejected)) = expected(&body, &tight()) {
            spans += kept.len();
            rejections.merge(&rejected);
        }
    }
    assert!(spans > 100, "only {spans} spans were ever kept");
    assert_all_seen(&rejections);
}

#[test]
fn the_walker_accepts_and_refuses_what_prost_does_of_mutated_messages() {
    let mut rng = seeded();
    let mut decoder = Decoder::new();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..250 {
        let body = traces(&mut rng, Oddity::MUCH);
        let other = traces(&mut rng, Oddity::NONE);
        for _ in 0..100 {
            let body = mutated(&mut rng, &body, &other);
            match compare(&mut decoder, &body, &DecodeLimits::recovery()) {
                true => {
                    accepted += 1;
                    compare(&mut decoder, &body, &tight());
                }
                false => refused += 1,
            }
        }
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
}

#[test]
fn the_walker_agrees_with_prost_on_every_short_input() {
    let mut decoder = Decoder::new();
    let limits = DecodeLimits::recovery();
    for first in 0..=u8::MAX {
        compare(&mut decoder, &[first], &limits);
        for second in 0..=u8::MAX {
            compare(&mut decoder, &[first, second], &limits);
            // In a span, where most fields are.
            compare(&mut decoder, &[0x0a, 6, 0x12, 4, 0x12, 2, first, second], &limits);
            // In an attribute's value.
            let value = [0x0a, 12, 0x12, 10, 0x12, 8, 0x4a, 6, 0x12, 4, 0x28 | 2, 2, first, second];
            compare(&mut decoder, &value, &limits);
            let value = [0x0a, 10, 0x12, 8, 0x12, 6, 0x4a, 4, 0x12, 2, first, second];
            compare(&mut decoder, &value, &limits);
        }
    }
}

#[test]
fn a_prefix_of_a_message_is_read_as_prost_reads_it() {
    let mut rng = seeded();
    let mut decoder = Decoder::new();
    for _ in 0..10 {
        let body = traces(&mut rng, Oddity::NONE);
        for len in 0..body.len().min(3_000) {
            compare(&mut decoder, &body[..len], &DecodeLimits::recovery());
        }
    }
}

/// `inner` wrapped in itself `levels` times as `wrap` says.
fn nested(levels: usize, wrap: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    (0..levels).fold(Vec::new(), |inner, _| wrap(inner))
}

fn field(key: u8, content: Vec<u8>) -> Vec<u8> {
    let mut out = vec![key];
    let mut len = content.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend(content);
    out
}

fn span_with(fields: Vec<u8>) -> Vec<u8> {
    let mut span = field(0x0a, vec![1; 16]);
    span.extend(field(0x12, vec![2; 8]));
    span.extend(fields);
    field(0x0a, field(0x12, field(0x12, span)))
}

#[test]
fn nesting_ends_where_it_ends_for_prost() {
    let mut decoder = Decoder::new();
    let limits = DecodeLimits::recovery();
    let mut outcomes = [0, 0];
    for levels in 1..60 {
        let array = nested(levels, |inner| field(0x2a, field(0x0a, inner)));
        let map = nested(levels, |inner| field(0x32, field(0x0a, field(0x12, inner))));
        for value in [array, map] {
            for wrapped in [
                span_with(field(0x4a, field(0x12, value.clone()))),
                span_with(field(0x5a, field(0x1a, field(0x12, value.clone())))),
                span_with(field(0x6a, field(0x22, field(0x12, value.clone())))),
                field(0x0a, field(0x0a, field(0x0a, field(0x12, value.clone())))),
                field(0x0a, field(0x12, field(0x0a, field(0x1a, field(0x12, value.clone()))))),
            ] {
                outcomes[usize::from(compare(&mut decoder, &wrapped, &limits))] += 1;
            }
        }
    }
    assert!(outcomes[0] > 100 && outcomes[1] > 100, "{outcomes:?}");
    for levels in 90..105 {
        let groups = [vec![0xf3; levels], vec![0xf4; levels]];
        let groups: Vec<u8> = groups.concat().iter().flat_map(|key| [*key, 0x01]).collect();
        for wrapped in [groups.clone(), field(0x0a, groups.clone()), span_with(groups)] {
            compare(&mut decoder, &wrapped, &limits);
        }
    }
}

#[test]
fn what_is_encoded_decodes_to_the_same_spans() {
    let mut rng = seeded();
    let mut decoder = Decoder::new();
    let limits = DecodeLimits::recovery();
    for _ in 0..300 {
        let body = traces(&mut rng, Oddity::MUCH);
        let batch = decoder.decode_protobuf(&body, &limits).expect("generated messages are valid").batch;
        let views: Vec<_> = batch.spans().collect();
        let encoded = encode_protobuf(&views);
        let again = decoder.decode_protobuf(&encoded, &limits).expect("what was encoded decodes");
        assert!(again.rejections.is_empty());
        let mut left = plain(&batch);
        for span in plain(&again.batch) {
            let at = left.iter().position(|other| *other == span).expect("no span is made up");
            left.remove(at);
        }
        assert!(left.is_empty(), "no span is lost");
        let rows = (0..batch.len() as u32).map(|row| (0, row)).collect();
        let streamed: Vec<u8> = ProtobufEncoder::new([batch], rows).flatten().collect();
        let streamed = decoder.decode_protobuf(&streamed, &limits).expect("what was encoded decodes");
        assert_eq!(plain(&streamed.batch), plain(&again.batch));
    }
}

#[test]
fn the_fuzzers_invariants_hold_of_mutated_messages() {
    let mut rng = seeded();
    for _ in 0..100 {
        let body = traces(&mut rng, Oddity::MUCH);
        let other = traces(&mut rng, Oddity::MUCH);
        fuzzing::protobuf(&body);
        for _ in 0..10 {
            fuzzing::protobuf(&mutated(&mut rng, &body, &other));
        }
    }
}

#[test]
fn a_resource_is_in_the_batch_once_and_only_if_a_span_refers_to_it() {
    let resource = field(0x0a, field(0x0a, field(0x0a, b"k".to_vec())));
    let mut span = field(0x0a, vec![1; 16]);
    span.extend(field(0x12, vec![2; 8]));
    let scope_spans = field(0x12, field(0x12, span));
    let with_span = field(0x0a, [resource.clone(), scope_spans].concat());
    let without = field(0x0a, field(0x0a, field(0x0a, field(0x0a, b"other".to_vec()))));
    let body = [with_span.clone(), without, with_span].concat();
    let mut decoder = Decoder::new();
    for _ in 0..2 {
        let batch = decoder.decode_protobuf(&body, &DecodeLimits::default()).expect("valid").batch;
        assert_eq!((batch.len(), batch.resources().len(), batch.scopes().len()), (2, 1, 1));
    }
}
