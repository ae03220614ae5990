//! Requests made to cost more than they are worth: each is refused with its own error.

use tracelake_model::ErrorKind;
use tracelake_otlp::{DecodeError, DecodeLimits, Decoder, RejectReason};

fn field(key: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![key];
    let mut len = content.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(content);
    out
}

fn protobuf(body: &[u8]) -> DecodeError {
    Decoder::new().decode_protobuf(body, &DecodeLimits::default()).expect_err("too much to read")
}

fn json(body: &str) -> DecodeError {
    Decoder::new().decode_json(body.as_bytes(), &DecodeLimits::default()).expect_err("too much to read")
}

fn in_a_span(fields: &[u8]) -> Vec<u8> {
    field(0x0a, &field(0x12, &field(0x12, fields)))
}

#[test]
fn four_mebibytes_of_empty_spans_are_too_many() {
    let spans = [0x12, 0].repeat(2 << 20);
    let error = protobuf(&field(0x0a, &field(0x12, &spans)));
    assert_eq!(error, DecodeError::TooManySpans { spans_max: 100_000 });
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let spans = vec!["{}"; 1 << 20].join(",");
    let error = json(&format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#));
    assert_eq!(error, DecodeError::TooManySpans { spans_max: 100_000 });
}

#[test]
fn items_of_every_kind_count() {
    let limits = DecodeLimits { items_max: 1_000, ..DecodeLimits::default() };
    let many = |key: u8| [key, 0].repeat(1_001);
    let value = |value: Vec<u8>| in_a_span(&field(0x4a, &field(0x12, &value)));
    for body in [
        many(0x0a),
        field(0x0a, &many(0x12)),
        field(0x0a, &field(0x0a, &many(0x0a))),
        field(0x0a, &field(0x0a, &many(0x1a))),
        field(0x0a, &field(0x0a, &field(0x1a, &many(0x1a)))),
        field(0x0a, &field(0x12, &many(0x12))),
        field(0x0a, &field(0x12, &field(0x0a, &many(0x1a)))),
        in_a_span(&many(0x4a)),
        in_a_span(&many(0x5a)),
        in_a_span(&many(0x6a)),
        in_a_span(&field(0x5a, &many(0x1a))),
        in_a_span(&field(0x6a, &many(0x22))),
        value(field(0x2a, &many(0x0a))),
        value(field(0x32, &many(0x0a))),
        value(field(0x2a, &field(0x0a, &field(0x32, &many(0x0a))))),
    ] {
        let error = Decoder::new().decode_protobuf(&body, &limits).expect_err("too many");
        assert_eq!(error, DecodeError::TooManyItems { items_max: 1_000 }, "{:02x?}", &body[..20]);
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
    let many = vec!["{}"; 1_001].join(",");
    let texts = vec!["\"\""; 1_001].join(",");
    let resource = |member: &str| format!(r#"{{"resourceSpans":[{{"resource":{{{member}}}}}]}}"#);
    let span =
        |member: &str| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{member}}}]}}]}}]}}"#);
    for body in [
        format!(r#"{{"resourceSpans":[{many}]}}"#),
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{many}]}}]}}"#),
        resource(&format!(r#""attributes":[{many}]"#)),
        resource(&format!(r#""entityRefs":[{many}]"#)),
        resource(&format!(r#""entityRefs":[{{"idKeys":[{texts}]}}]"#)),
        span(&format!(r#""attributes":[{many}]"#)),
        span(&format!(r#""events":[{many}]"#)),
        span(&format!(r#""links":[{many}]"#)),
        span(&format!(r#""attributes":[{{"value":{{"arrayValue":{{"values":[{many}]}}}}}}]"#)),
        span(&format!(r#""attributes":[{{"value":{{"kvlistValue":{{"values":[{many}]}}}}}}]"#)),
    ] {
        let error = Decoder::new().decode_json(body.as_bytes(), &limits).expect_err("too many");
        assert_eq!(error, DecodeError::TooManyItems { items_max: 1_000 }, "{}", &body[..80]);
    }
}

/// An attribute with a map (0x32) or an array (0x2a) of so many empty elements.
fn with_elements(kind: u8, elements: usize) -> Vec<u8> {
    field(0x4a, &field(0x12, &field(kind, &[0x0a, 0].repeat(elements))))
}

#[test]
fn a_value_of_empty_elements_costs_its_span_or_its_request() {
    let limits = DecodeLimits::default();
    let mut decoder = Decoder::new();
    let ids = [field(0x0a, &[1; 16]), field(0x12, &[1; 8])].concat();
    for kind in [0x2a, 0x32] {
        let body = |elements| in_a_span(&[ids.clone(), with_elements(kind, elements)].concat());
        let decoded = decoder.decode_protobuf(&body(65_536), &limits).expect("as many as may be");
        assert_eq!(decoded.batch.len(), 1);
        for elements in [65_537, 1_900_000] {
            let decoded = decoder.decode_protobuf(&body(elements), &limits).expect("valid");
            assert_eq!(decoded.rejections.count(RejectReason::ValueElementCount), 1);
            assert!(decoded.batch.is_empty());
        }
        let error = protobuf(&body(7_900_000));
        assert_eq!(error, DecodeError::TooManyItems { items_max: 2_000_000 });
    }
    for member in ["arrayValue", "kvlistValue"] {
        let body = |elements| {
            let elements = vec!["{}"; elements].join(",");
            format!(
                r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[
                {{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001",
                "attributes":[{{"value":{{"{member}":{{"values":[{elements}]}}}}}}]}}]}}]}}]}}"#
            )
        };
        let decoded = decoder.decode_json(body(65_536).as_bytes(), &limits).expect("as many as may be");
        assert_eq!(decoded.batch.len(), 1);
        let decoded = decoder.decode_json(body(65_537).as_bytes(), &limits).expect("valid");
        assert_eq!(decoded.rejections.count(RejectReason::ValueElementCount), 1);
        assert!(decoded.batch.is_empty());
        assert_eq!(json(&body(7_900_000)), DecodeError::TooManyItems { items_max: 2_000_000 });
    }
}

#[test]
fn elements_that_another_value_replaces_do_not_count() {
    let limits = DecodeLimits { value_elements_max: 3, ..DecodeLimits::default() };
    let ids = [field(0x0a, &[1; 16]), field(0x12, &[1; 8])].concat();
    let (map, array, text) = (
        |count| field(0x32, &[0x0a, 0].repeat(count)),
        |count| field(0x2a, &[0x0a, 0].repeat(count)),
        field(0x0a, b"t"),
    );
    for (value, kept) in [
        ([map(9), text.clone()].concat(), true),
        ([map(9), array(3)].concat(), true),
        ([map(3), array(2), array(1)].concat(), true),
        ([map(3), array(2), array(2)].concat(), false),
        ([array(9), text, array(4)].concat(), false),
    ] {
        let body = in_a_span(&[ids.clone(), field(0x4a, &field(0x12, &value))].concat());
        let decoded = Decoder::new().decode_protobuf(&body, &limits).expect("valid");
        assert_eq!(decoded.batch.len() == 1, kept, "{value:02x?}");
    }
}

#[test]
fn what_is_beyond_the_limit_of_elements_must_be_well_formed() {
    let limits = DecodeLimits { value_elements_max: 1, ..DecodeLimits::default() };
    let text = |bytes: &[u8]| field(0x0a, &field(0x0a, bytes));
    let body = |last: &[u8]| {
        let array = field(0x2a, &[text(b"a"), text(b"b"), text(last)].concat());
        in_a_span(&field(0x4a, &field(0x12, &array)))
    };
    assert!(Decoder::new().decode_protobuf(&body(b"c"), &limits).is_ok());
    let error = Decoder::new().decode_protobuf(&body(&[0xff]), &limits).expect_err("not UTF-8");
    assert!(matches!(error, DecodeError::Malformed { .. }), "{error}");
}

#[test]
fn exactly_the_limit_is_read() {
    let limits = DecodeLimits { spans_max: 3, items_max: 3 + 2 + 3, ..DecodeLimits::default() };
    let spans = |count: usize| field(0x0a, &field(0x12, &field(0x12, &[0x4a, 0]).repeat(count)));
    let mut decoder = Decoder::new();
    assert!(decoder.decode_protobuf(&spans(3), &limits).is_ok());
    let error = decoder.decode_protobuf(&spans(4), &limits).expect_err("a span too many");
    assert_eq!(error, DecodeError::TooManySpans { spans_max: 3 });
    let fewer_items = DecodeLimits { items_max: 7, ..limits };
    let error = decoder.decode_protobuf(&spans(3), &fewer_items).expect_err("an item too many");
    assert_eq!(error, DecodeError::TooManyItems { items_max: 7 });
}

fn nested_protobuf(levels: usize) -> Vec<u8> {
    let value = (0..levels).fold(Vec::new(), |inner, _| field(0x2a, &field(0x0a, &inner)));
    in_a_span(&field(0x4a, &field(0x12, &value)))
}

fn nested_json(levels: usize, map: bool) -> String {
    let (open, close) = if map {
        (r#"{"kvlistValue":{"values":[{"key":"k","value":"#, "}]}}")
    } else {
        (r#"{"arrayValue":{"values":["#, "]}}")
    };
    let value = format!("{}{{}}{}", open.repeat(levels), close.repeat(levels));
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"attributes":[{{"value":{value}}}]}}]}}]}}]}}"#
    )
}

#[test]
fn values_nest_up_to_the_limit_in_both_encodings() {
    let limits = DecodeLimits::default();
    let mut decoder = Decoder::new();
    assert!(decoder.decode_protobuf(&nested_protobuf(32), &limits).is_ok());
    assert!(decoder.decode_json(nested_json(32, false).as_bytes(), &limits).is_ok());
    let too_deep = DecodeError::TooDeep { levels_max: 32 };
    assert_eq!(too_deep.kind(), ErrorKind::Invalid);
    assert_eq!(protobuf(&nested_protobuf(33)), too_deep);
    assert_eq!(json(&nested_json(33, false)), too_deep);
}

#[test]
fn json_nests_no_deeper_than_protobuf_can_keep() {
    let limits = DecodeLimits::recovery();
    let mut decoder = Decoder::new();
    let mut deepest = 0;
    for levels in 1..50 {
        let body = nested_json(levels, true).replace(
            r#"{"attributes""#,
            r#"{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","attributes""#,
        );
        if let Ok(decoded) = decoder.decode_json(body.as_bytes(), &limits) {
            let spans: Vec<_> = decoded.batch.spans().collect();
            let bytes = tracelake_otlp::encode_protobuf(&spans);
            assert!(decoder.decode_protobuf(&bytes, &limits).is_ok(), "{levels} levels");
            deepest = levels;
        }
    }
    assert!((30..40).contains(&deepest), "{deepest}");
}

#[test]
fn depth_bombs_end_early() {
    protobuf(&nested_protobuf(10_000));
    assert_eq!(json(&nested_json(100_000, false)), DecodeError::TooDeep { levels_max: 32 });
    assert_eq!(json(&nested_json(100_000, true)), DecodeError::TooDeep { levels_max: 32 });
    // Unknown members may nest as they like: they are stepped over without recursion.
    let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    let body = format!(r#"{{"unknown":{deep},"resourceSpans":[]}}"#);
    assert!(Decoder::new().decode_json(body.as_bytes(), &DecodeLimits::default()).is_ok());
    for open in ["[", "{\"a\":", "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"name\":["] {
        let error = json(&open.repeat(200_000));
        assert!(matches!(error, DecodeError::Json { .. }), "{error}");
    }
}

#[test]
fn a_decoder_is_good_after_an_error() {
    let mut decoder = Decoder::new();
    let good = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","name":"n"}]}]}]}"#;
    let batch = decoder.decode_json(good.as_bytes(), &DecodeLimits::default()).expect("valid").batch;
    let views: Vec<_> = batch.spans().collect();
    let bytes = tracelake_otlp::encode_protobuf(&views);
    for len in 1..bytes.len() {
        let broken = decoder.decode_protobuf(&bytes[..len], &DecodeLimits::default());
        assert!(broken.is_err(), "{len} of {} bytes", bytes.len());
        let broken = decoder.decode_json(&good.as_bytes()[..len], &DecodeLimits::default());
        assert!(broken.is_err());
        let whole = decoder.decode_protobuf(&bytes, &DecodeLimits::default()).expect("valid").batch;
        assert_eq!(whole.len(), 1);
        assert!(whole.span(0).is_duplicate_of(&batch.span(0)));
    }
}
