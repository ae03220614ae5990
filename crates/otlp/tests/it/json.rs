//! OTLP's JSON: against protobuf, and by tables of what is and is not read.

use tracelake_model::Value;
use tracelake_otlp::{DecodeError, DecodeLimits, Decoder, JsonEncoder, Rejections, fuzzing, json};

use crate::generate::{Oddity, mutated, seeded, traces};
use crate::oracle::{PlainSpan, plain};
use crate::protobuf::{assert_all_seen, tight};

fn read(body: &str) -> Result<Vec<PlainSpan>, DecodeError> {
    let decoded = Decoder::new().decode_json(body.as_bytes(), &DecodeLimits::default())?;
    assert!(decoded.rejections.is_empty(), "{:?}", decoded.rejections.message());
    Ok(plain(&decoded.batch))
}

/// A request with one span that has these members beside its IDs.
fn with(members: &str) -> String {
    let separator = if members.is_empty() { "" } else { "," };
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"5B8EFFF798038103D269B633813FC60C",
        "spanId":"eee19b7ec3c1b174"{separator}{members}}}]}}]}}]}}"#
    )
}

fn span(members: &str) -> PlainSpan {
    let mut spans = read(&with(members)).expect(members);
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}

fn value(any_value: &str) -> Value {
    let mut span = span(&format!(r#""attributes":[{{"key":"k","value":{any_value}}}]"#));
    span.attributes.remove(0).value
}

#[test]
fn json_and_protobuf_carry_the_same_spans() {
    let mut rng = seeded();
    let mut decoder = Decoder::new();
    let limits = DecodeLimits::recovery();
    for _ in 0..300 {
        let body = traces(&mut rng, Oddity::MUCH);
        let batch = decoder.decode_protobuf(&body, &limits).expect("generated messages are valid").batch;
        let views: Vec<_> = batch.spans().collect();
        let grouped = tracelake_otlp::encode_protobuf(&views);
        let grouped = decoder.decode_protobuf(&grouped, &limits).expect("what was encoded decodes").batch;
        let rows = (0..batch.len() as u32).map(|row| (0, row)).collect();
        let text: Vec<u8> = JsonEncoder::new([batch], rows).flatten().collect();
        let decoded = decoder.decode_json(&text, &limits).expect("what was encoded decodes");
        assert!(decoded.rejections.is_empty());
        assert_eq!(plain(&decoded.batch), plain(&grouped));
    }
}

#[test]
fn json_and_protobuf_reject_the_same_spans() {
    let mut rng = seeded();
    let mut decoder = Decoder::new();
    let mut rejections = Rejections::default();
    for _ in 0..600 {
        let body = traces(&mut rng, Oddity::MUCH);
        let batch = decoder.decode_protobuf(&body, &DecodeLimits::recovery()).expect("valid").batch;
        let views: Vec<_> = batch.spans().collect();
        let grouped = tracelake_otlp::encode_protobuf(&views);
        let rows = (0..batch.len() as u32).map(|row| (0, row)).collect();
        let text: Vec<u8> = JsonEncoder::new([batch], rows).flatten().collect();
        let from_protobuf = decoder.decode_protobuf(&grouped, &tight()).expect("what was encoded decodes");
        let from_json = decoder.decode_json(&text, &tight()).expect("what was encoded decodes");
        assert_eq!(from_json.rejections, from_protobuf.rejections);
        assert_eq!(plain(&from_json.batch), plain(&from_protobuf.batch));
        rejections.merge(&from_json.rejections);
    }
    assert_all_seen(&rejections);
}

#[test]
fn parts_read_back_as_they_were() {
    let mut rng = seeded();
    let mut decoder = Decoder::new();
    for _ in 0..200 {
        let body = traces(&mut rng, Oddity::NONE);
        let batch = decoder.decode_protobuf(&body, &DecodeLimits::recovery()).expect("valid").batch;
        for span in batch.spans() {
            let mut text = String::new();
            json::write_attributes(&mut text, span.attributes());
            let parsed = json::parse_attributes(&text).expect(&text);
            assert_eq!(parsed, plain(&batch)[span.row()].attributes, "{text}");
            for (_, value) in span.attributes() {
                let mut text = String::new();
                json::write_value(&mut text, value);
                assert_eq!(json::parse_value(&text).expect(&text), value.to_value(), "{text}");
            }
            let mut text = String::new();
            json::write_resource(&mut text, span.resource());
            assert_eq!(json::parse_resource(&text).expect(&text), **span.resource(), "{text}");
            let mut text = String::new();
            json::write_scope(&mut text, span.scope());
            assert_eq!(json::parse_scope(&text).expect(&text), **span.scope(), "{text}");
        }
    }
}

#[test]
fn mutated_json_never_panics() {
    let mut rng = seeded();
    let mut decoder = Decoder::new();
    for _ in 0..60 {
        let body = traces(&mut rng, Oddity::NONE);
        let batch = decoder.decode_protobuf(&body, &DecodeLimits::recovery()).expect("valid").batch;
        let rows = (0..batch.len() as u32).map(|row| (0, row)).collect();
        let text: Vec<u8> = JsonEncoder::new([batch], rows).flatten().collect();
        fuzzing::json(&text);
        for _ in 0..20 {
            fuzzing::json(&mutated(&mut rng, &text, br#"{"attributes":[null],"kind":"x","\ud800":1e400"#));
        }
    }
}

#[test]
fn ids_are_hexadecimal_in_either_case() {
    let span = span(r#""parentSpanId":"EEE19B7EC3C1B173","links":[{"traceId":"aB","spanId":""}]"#);
    assert_eq!(span.trace_id[..3], [0x5b, 0x8e, 0xff]);
    assert_eq!(span.parent_span_id, [0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x73]);
    assert_eq!(span.links.len(), 1);
}

#[test]
fn integers_are_text_or_number() {
    for time in ["1544712660000000123", "\"1544712660000000123\""] {
        assert_eq!(span(&format!(r#""startTimeUnixNano":{time}"#)).times[0], 1_544_712_660_000_000_123);
    }
    assert_eq!(span(r#""startTimeUnixNano":1e3,"endTimeUnixNano":"2.0""#).times, [1_000, 2]);
    assert_eq!(span(r#""startTimeUnixNano":9223372036854775807"#).times[0], i64::MAX as u64);
    assert_eq!(value(r#"{"intValue":"-9223372036854775808"}"#), Value::Int(i64::MIN));
    assert_eq!(value(r#"{"intValue":9223372036854775807}"#), Value::Int(i64::MAX));
    assert_eq!(value(r#"{"intValue":-0}"#), Value::Int(0));
    assert_eq!(span(r#""flags":"257","droppedLinksCount":4294967295"#).numbers, [257, 0, 0, u32::MAX]);
    for bad in [
        r#""startTimeUnixNano":-1"#,
        r#""startTimeUnixNano":1.5"#,
        r#""startTimeUnixNano":"18446744073709551616""#,
        r#""startTimeUnixNano":"""#,
        r#""startTimeUnixNano":"0x10""#,
        r#""startTimeUnixNano":" 1""#,
        r#""startTimeUnixNano":"+1""#,
        r#""startTimeUnixNano":true"#,
        r#""startTimeUnixNano":[1]"#,
        r#""startTimeUnixNano":1e400"#,
        r#""startTimeUnixNano":"1e400""#,
        r#""flags":4294967296"#,
        r#""flags":-1"#,
        r#""attributes":[{"value":{"intValue":"9223372036854775808"}}]"#,
    ] {
        let error = read(&with(bad)).expect_err(bad);
        assert!(matches!(error, DecodeError::Json { .. }), "{bad}: {error}");
    }
}

#[test]
fn enums_are_integers_only() {
    assert_eq!(span(r#""kind":2,"status":{"code":-7,"message":"m"}"#).enums, [2, -7]);
    let error = read(&with(r#""kind":"SPAN_KIND_SERVER""#)).expect_err("a name").to_string();
    assert!(error.contains("\"kind\" must be an integer"), "{error}");
    assert!(read(&with(r#""kind":"2""#)).is_err());
    assert!(read(&with(r#""status":{"code":"STATUS_CODE_OK"}"#)).is_err());
    assert!(read(&with(r#""kind":2147483648"#)).is_err());
}

#[test]
fn doubles_have_every_form_that_protobuf_allows() {
    let double = |text: &str| match value(&format!(r#"{{"doubleValue":{text}}}"#)) {
        Value::Double(value) => value.to_bits(),
        other => unreachable!("{other:?}"),
    };
    for (text, value) in [
        ("1", 1.0),
        ("-0.0", -0.0),
        ("-0", -0.0),
        ("0.1", 0.1),
        ("\"1.5e3\"", 1500.0),
        ("5e-324", 5e-324),
        ("1.7976931348623157e308", f64::MAX),
        ("\"Infinity\"", f64::INFINITY),
        ("\"-Infinity\"", f64::NEG_INFINITY),
        ("18446744073709551615", u64::MAX as f64),
        ("7.2057594037927933e16", 72_057_594_037_927_936.0),
    ] {
        assert_eq!(double(text), f64::to_bits(value), "{text}");
    }
    assert_eq!(double("\"NaN\""), 0x7ff8_0000_0000_0000);
    assert_eq!(double("\"NaN:fff0000000000001\""), 0xfff0_0000_0000_0001);
    for bad in [
        "\"nan\"",
        "\"inf\"",
        "\"\"",
        "\"1e400\"",
        "1e400",
        "true",
        "{}",
        "\"NaN:0000000000000000\"",
        "\"NaN:7ff8\"",
        "\"NaN:+ff8000000000001\"",
    ] {
        let body = with(&format!(r#""attributes":[{{"value":{{"doubleValue":{bad}}}}}]"#));
        assert!(read(&body).is_err(), "{bad}");
    }
}

#[test]
fn bytes_are_base64_in_either_alphabet() {
    for text in ["+/8=", "+/8", "-_8=", "-_8"] {
        assert_eq!(
            value(&format!(r#"{{"bytesValue":"{text}"}}"#)),
            Value::Bytes([0xfb, 0xff].into()),
            "{text}"
        );
    }
    assert!(read(&with(r#""attributes":[{"value":{"bytesValue":"%"}}]"#)).is_err());
}

#[test]
fn null_is_absent_and_unknown_members_are_ignored() {
    let plain = span("");
    for members in [
        r#""name":null,"kind":null,"attributes":null,"events":null,"status":null,"parentSpanId":null"#,
        r#""status":{"code":null,"message":null},"flags":null,"startTimeUnixNano":null"#,
        r#""unknown":{"deep":[1,{"x":null}]},"start_time_unix_nano":5,"Name":"n""#,
        r#""parentSpanId":"","parent":1e5"#,
        r#""parentSpanId":"0000000000000000""#,
        r#""attributes":[],"links":[],"status":{}"#,
    ] {
        assert_eq!(span(members), plain, "{members}");
    }
    assert_eq!(value("null"), Value::Empty);
    assert_eq!(value("{}"), Value::Empty);
    assert_eq!(value(r#"{"stringValue":null,"intValue":"1"}"#), Value::Int(1));
    assert_eq!(value(r#"{"stringValue":""}"#), Value::Text("".into()));
    assert_eq!(value(r#"{"arrayValue":{}}"#), Value::Array(vec![]));
    assert_eq!(read("{}"), Ok(vec![]));
    assert_eq!(read(r#"{"resourceSpans":null,"other":1}"#), Ok(vec![]));
    assert_eq!(read(r#"{"resourceSpans":[{"resource":null,"scopeSpans":[{"spans":[]}]}]}"#), Ok(vec![]));
}

#[test]
fn the_order_of_members_does_not_matter() {
    let spans = r#""spans":[{"spanId":"0000000000000001","attributes":[{"value":{"intValue":1},"key":"k"}],
        "traceId":"00000000000000000000000000000001"}]"#;
    let scope = r#""scope":{"version":"1","name":"s"},"schemaUrl":"scope url""#;
    let resource = r#""resource":{"droppedAttributesCount":3,"attributes":[{"key":"service.name"}]},
        "schemaUrl":"resource url""#;
    let first = read(&format!(
        r#"{{"resourceSpans":[{{{resource},"scopeSpans":[{{{scope},{spans}}},{{{spans}}}]}},{{"scopeSpans":[{{{spans}}}]}}]}}"#
    ));
    let last = read(&format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{{spans},{scope}}},{{{spans}}}],{resource}}},{{"scopeSpans":[{{{spans}}}]}}]}}"#
    ));
    let first = first.expect("valid");
    assert_eq!(Ok(&first), last.as_ref());
    assert_eq!(first.len(), 3);
    assert_eq!((&*first[0].resource.schema_url, &*first[0].scope.schema_url), ("resource url", "scope url"));
    assert_eq!((&*first[1].resource.schema_url, &*first[1].scope.name), ("resource url", ""));
    assert_eq!((&*first[2].resource.schema_url, first[2].resource.attributes.len()), ("", 0));
}

#[test]
fn text_that_is_no_request_is_refused() {
    for bad in [
        "",
        "null",
        "[]",
        "1",
        "{",
        "{}}",
        "\u{feff}{}",
        r#"{"resourceSpans":{}}"#,
        r#"{"resourceSpans":[null]}"#,
        r#"{"resourceSpans":[1]}"#,
        r#"{"resourceSpans":[{"resource":[]}]}"#,
        r#"{"resourceSpans":[],"resourceSpans":[]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[],"scopeSpans":[]}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[null]}]}]}"#,
        r#"{"resourceSpans":[{"schemaUrl":"\ud800"}]}"#,
        r#"{"resourceSpans":[{"schemaUrl":"\udc00\ud800"}]}"#,
        r#"{"\ud800":1}"#,
        r#"{"unknown":1e}"#,
        "{\"resourceSpans\":[{\"schemaUrl\":\"\n\"}]}",
    ] {
        let error = read(bad).expect_err(bad);
        assert!(matches!(error, DecodeError::Json { .. }), "{bad}: {error}");
    }
    let not_utf8 = Decoder::new().decode_json(b"{\"\xff\":1}", &DecodeLimits::default());
    assert!(matches!(not_utf8, Err(DecodeError::Json { .. })));
    for bad in [
        r#""name":1"#,
        r#""name":"a","name":"b""#,
        r#""attributes":[{"key":"a","key":"b"}]"#,
        r#""attributes":[{"value":{"stringValue":"a","intValue":1}}]"#,
        r#""attributes":[{"value":"a"}]"#,
        r#""attributes":[{"value":{"stringValue":1}}]"#,
        r#""attributes":[{"value":{"boolValue":"true"}}]"#,
        r#""attributes":[{"value":{"arrayValue":[]}}]"#,
        r#""attributes":[{"value":{"arrayValue":{"values":[null]}}}]"#,
        r#""attributes":[null]"#,
        r#""attributes":{}"#,
        r#""events":[[]]"#,
        r#""status":2"#,
        r#""traceId":"00""#,
    ] {
        let error = read(&with(bad)).expect_err(bad);
        assert!(matches!(error, DecodeError::Json { .. }), "{bad}: {error}");
    }
}

#[test]
fn many_keys_take_linear_time_and_no_memory() {
    let unknown: Vec<String> = (0..100_000).map(|number| format!("\"unknown{number}\":{number}")).collect();
    assert_eq!(span(&unknown.join(",")), span(""));
    let repeated = vec![r#""unknown":0"#; 100_000].join(",");
    assert_eq!(span(&repeated), span(""));
}

#[test]
fn the_stream_ends_with_the_trailing_member() {
    let batch =
        Decoder::new().decode_json(with("").as_bytes(), &DecodeLimits::default()).expect("valid").batch;
    let text = |encoder: JsonEncoder| -> String {
        String::from_utf8(encoder.flatten().collect()).expect("JSON is UTF-8")
    };
    let none = JsonEncoder::new([batch.clone()], vec![]);
    assert_eq!(text(none), r#"{"resourceSpans":[]}"#);
    let none = JsonEncoder::new([batch.clone()], vec![]).with_trailing_member(r#""partial":{"reason":"r"}"#);
    assert_eq!(text(none), r#"{"resourceSpans":[],"partial":{"reason":"r"}}"#);
    let one = JsonEncoder::new([batch], vec![(0, 0)]).with_trailing_member(r#""partial":1"#);
    assert_eq!(
        text(one),
        r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":{},"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"","kind":0,"startTimeUnixNano":"0","endTimeUnixNano":"0"}]}]}],"partial":1}"#
    );
}

#[test]
fn the_example_of_the_specification_reads() {
    let example = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":
        {"stringValue":"my.service"}}]},"scopeSpans":[{"scope":{"name":"my.library","version":"1.0.0",
        "attributes":[{"key":"my.scope.attribute","value":{"stringValue":"some scope attribute"}}]},
        "spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",
        "parentSpanId":"EEE19B7EC3C1B173","name":"I'm a server span",
        "startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","kind":2,
        "attributes":[{"key":"my.span.attr","value":{"stringValue":"some value"}}]}]}]}]}"#;
    let spans = read(example).expect("the specification is right");
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].resource.service_name(), Some("my.service"));
    assert_eq!(spans[0].scope.attributes.len(), 1);
    assert_eq!(spans[0].texts[1], "I'm a server span");
    assert_eq!(spans[0].attributes[0].value, Value::Text("some value".into()));
}
