//! Spans that are not kept: each for its reason, in both encodings, with the rest of the request kept.

use tracelake_otlp::{DecodeLimits, Decoder, RejectReason};

use crate::oracle::plain;

const GOOD: &str = r#"{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001"}"#;

fn limits() -> DecodeLimits {
    DecodeLimits {
        attribute_value_bytes_max: 4,
        value_elements_max: 2,
        attributes_max: 1,
        span_events_max: 1,
        span_links_max: 1,
        resource_bytes_max: 40,
        ..DecodeLimits::default()
    }
}

fn request(resource: &str, scope: &str, spans: &[&str]) -> String {
    let spans = spans.join(",");
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}],"scope":{scope}}}],"resource":{resource}}}]}}"#
    )
}

/// A good span with more members.
fn span(members: &str) -> String {
    format!("{},{members}}}", GOOD.trim_end_matches('}'))
}

#[test]
fn each_reason_costs_one_span_and_no_other() {
    let long = r#"{"key":"k","value":{"stringValue":"12345"}}"#;
    let nested = r#"{"key":"k","value":{"arrayValue":{"values":[{"boolValue":true},{"boolValue":true}]}}}"#;
    let bytes = r#"{"key":"k","value":{"bytesValue":"MTIzNDU="}}"#;
    let two = r#"{"key":"a"},{"key":"b"}"#;
    let three = r#"{"key":"k","value":{"arrayValue":{"values":[{},{},{}]}}}"#;
    let three_deep =
        r#"{"key":"k","value":{"kvlistValue":{"values":[{"value":{"arrayValue":{"values":[{},{}]}}}]}}}"#;
    let id = r#""spanId":"0000000000000001""#;
    let cases = [
        (RejectReason::TraceId, format!(r#"{{"traceId":"01",{id}}}"#)),
        (RejectReason::TraceId, format!(r#"{{{id}}}"#)),
        (RejectReason::TraceId, format!(r#"{{"traceId":"00000000000000000000000000000000",{id}}}"#)),
        (RejectReason::TraceId, format!(r#"{{"traceId":"AAAAAAAAAAAAAAAAAAAAAQ==",{id}}}"#)),
        (RejectReason::SpanId, r#"{"traceId":"00000000000000000000000000000001"}"#.into()),
        (RejectReason::ParentSpanId, span(r#""parentSpanId":"01""#)),
        (RejectReason::LinkId, span(r#""links":[{"traceId":"0g"}]"#)),
        (RejectReason::LinkId, span(r#""links":[{"traceId":"abc"}]"#)),
        (RejectReason::LinkId, span(r#""links":[{"spanId":"AAAAAAAAAAE="}]"#)),
        (RejectReason::Time, span(r#""startTimeUnixNano":"9223372036854775808""#)),
        (RejectReason::Time, span(r#""endTimeUnixNano":18446744073709551615"#)),
        (RejectReason::ValueElementCount, span(&format!(r#""attributes":[{three}]"#))),
        (RejectReason::ValueElementCount, span(&format!(r#""attributes":[{three_deep}]"#))),
        (RejectReason::ValueElementCount, span(&format!(r#""events":[{{"attributes":[{three}]}}]"#))),
        (RejectReason::ValueElementCount, span(&format!(r#""links":[{{"attributes":[{three}]}}]"#))),
        (RejectReason::AttributeValueSize, span(&format!(r#""attributes":[{long}]"#))),
        (RejectReason::AttributeValueSize, span(&format!(r#""attributes":[{nested}]"#))),
        (RejectReason::AttributeValueSize, span(&format!(r#""attributes":[{bytes}]"#))),
        (RejectReason::AttributeValueSize, span(&format!(r#""events":[{{"attributes":[{long}]}}]"#))),
        (RejectReason::AttributeCount, span(&format!(r#""attributes":[{two}]"#))),
        (RejectReason::AttributeCount, span(&format!(r#""events":[{{"attributes":[{two}]}}]"#))),
        (RejectReason::AttributeCount, span(&format!(r#""links":[{{"attributes":[{two}]}}]"#))),
        (RejectReason::EventCount, span(r#""events":[{},{}]"#)),
        (RejectReason::LinkCount, span(r#""links":[{},{}]"#)),
    ];
    let mut decoder = Decoder::new();
    for (reason, bad) in cases {
        let body = request("{}", "{}", &[GOOD, &bad, GOOD]);
        let decoded = decoder.decode_json(body.as_bytes(), &limits()).expect("the request is valid");
        assert_eq!((decoded.rejections.spans, decoded.rejections.count(reason)), (1, 1), "{bad}");
        let alone = decoder.decode_json(request("{}", "{}", &[GOOD, GOOD]).as_bytes(), &limits());
        assert_eq!(plain(&decoded.batch), plain(&alone.expect("valid").batch), "{bad}");
        assert_eq!(decoded.batch.resources().len(), 1);
    }
}

#[test]
fn a_resource_or_scope_beyond_a_limit_costs_its_spans() {
    let two = r#"{"attributes":[{"key":"a"},{"key":"b"}]}"#;
    let long = r#"{"attributes":[{"key":"k","value":{"stringValue":"12345"}}]}"#;
    let three = r#"{"attributes":[{"key":"k","value":{"arrayValue":{"values":[{},{},{}]}}}]}"#;
    let text = "x".repeat(41);
    let long_key = format!(r#"{{"attributes":[{{"key":"{text}"}}]}}"#);
    let long_entity = format!(r#"{{"entityRefs":[{{"idKeys":["{text}"]}}]}}"#);
    let many_entities = format!(r#"{{"entityRefs":[{}]}}"#, ["{}"; 21].join(","));
    let long_name = format!(r#"{{"name":"{text}"}}"#);
    let mut decoder = Decoder::new();
    for (resource, scope, reason) in [
        (two, "{}", RejectReason::AttributeCount),
        ("{}", two, RejectReason::AttributeCount),
        (long, "{}", RejectReason::AttributeValueSize),
        ("{}", long, RejectReason::AttributeValueSize),
        (long, two, RejectReason::AttributeValueSize),
        (two, long, RejectReason::AttributeCount),
        (three, "{}", RejectReason::ValueElementCount),
        ("{}", three, RejectReason::ValueElementCount),
        (&long_key, "{}", RejectReason::ResourceSize),
        (&long_entity, "{}", RejectReason::ResourceSize),
        (&many_entities, "{}", RejectReason::ResourceSize),
        ("{}", &long_key, RejectReason::ResourceSize),
        ("{}", &long_name, RejectReason::ResourceSize),
    ] {
        let body = request(resource, scope, &[GOOD, GOOD]);
        let decoded = decoder.decode_json(body.as_bytes(), &limits()).expect("the request is valid");
        assert_eq!((decoded.rejections.spans, decoded.rejections.count(reason)), (2, 2), "{body}");
        assert!(decoded.batch.is_empty() && decoded.batch.resources().is_empty());
    }
}

#[test]
fn a_schema_url_counts_to_its_resource_and_scope() {
    let mut decoder = Decoder::new();
    for (text, rejected) in [("x".repeat(40), 0), ("x".repeat(41), 1)] {
        for body in [
            format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{GOOD}]}}],"schemaUrl":"{text}"}}]}}"#),
            format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{GOOD}],"schemaUrl":"{text}"}}]}}]}}"#),
        ] {
            let decoded = decoder.decode_json(body.as_bytes(), &limits()).expect("the request is valid");
            assert_eq!(decoded.rejections.count(RejectReason::ResourceSize), rejected, "{body}");
        }
    }
}

#[test]
fn a_resource_that_was_rejected_is_whole_where_there_is_more_room() {
    let mut decoder = Decoder::new();
    let body = request(r#"{"attributes":[{"key":"a"},{"key":"b"},{"key":"c"}]}"#, "{}", &[GOOD]);
    let whole = decoder.decode_json(body.as_bytes(), &DecodeLimits::default()).expect("valid").batch;
    let views: Vec<_> = whole.spans().collect();
    let bytes = tracelake_otlp::encode_protobuf(&views);
    let decoded = decoder.decode_protobuf(&bytes, &limits()).expect("the request is valid");
    assert_eq!(decoded.rejections.count(RejectReason::AttributeCount), 1);
    let decoded = decoder.decode_protobuf(&bytes, &DecodeLimits::default()).expect("valid");
    assert_eq!(plain(&decoded.batch), plain(&whole));
}

#[test]
fn end_before_start_and_the_year_1970_are_kept() {
    let odd = span(r#""startTimeUnixNano":"5","endTimeUnixNano":"1""#);
    let body = request("{}", "{}", &[&odd]);
    let decoded = Decoder::new().decode_json(body.as_bytes(), &limits()).expect("the request is valid");
    assert!(decoded.rejections.is_empty());
    assert_eq!(plain(&decoded.batch)[0].times, [5, 1]);
}
