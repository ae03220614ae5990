use tracelake::otlp::{DecodeLimits, Decoder};

use super::*;
use crate::otlp_file::Payload;

/// A request of spans with these numbers as IDs, each with a value that long.
fn json(spans: std::ops::Range<u32>, value_bytes: usize) -> String {
    let spans: Vec<String> = spans
        .map(|number| {
            format!(
                r#"{{"traceId":"{:032x}","spanId":"{:016x}","name":"n","startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[{{"key":"k","value":{{"stringValue":"{}"}}}}]}}"#,
                1,
                number + 1,
                "v".repeat(value_bytes)
            )
        })
        .collect();
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","))
}

/// The requests that a file's lines become: spans, bytes and place.
fn requests_of(lines: &[String]) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut splitter = Splitter::new(|request| {
        requests.push(request);
        true
    });
    for (line, number) in lines.iter().zip(1..) {
        let decoded = splitter.decode(Payload::Json(line.as_bytes())).expect("traces");
        assert!(splitter.push(&decoded.batch, &format!("f:{number}")));
    }
    assert!(splitter.finish());
    requests
}

fn span_ids(requests: &[Request]) -> Vec<String> {
    let mut ids = Vec::new();
    for request in requests {
        let decoded =
            Decoder::new().decode_protobuf(&request.body, &DecodeLimits::default()).expect("a request");
        assert_eq!(decoded.batch.len() as u64, request.spans);
        ids.extend(decoded.batch.spans().map(|span| span.span_id().to_string()));
    }
    ids
}

fn numbered(count: u32) -> Vec<String> {
    (1..=count).map(|number| format!("{number:016x}")).collect()
}

#[test]
fn small_lines_are_joined_and_large_ones_cut() {
    let lines = [json(0..100, 5), json(100..200, 5), json(200..20_000, 5), json(20_000..20_001, 5)];
    let requests = requests_of(&lines);
    let shape: Vec<_> = requests.iter().map(|request| (request.spans, request.place.as_str())).collect();
    assert_eq!(shape, [(200, "f:1 to f:2"), (8_192, "f:3"), (8_192, "f:3"), (3_417, "f:3 to f:4")]);
    assert_eq!(span_ids(&requests), numbered(20_001));
}

#[test]
fn a_line_of_large_spans_is_cut_by_bytes() {
    let requests = requests_of(&[json(0..10, 3 << 20), json(10..11, 12 << 20)]);
    assert!(requests.iter().all(|request| request.spans == 1 || request.body.len() <= 8 << 20));
    assert_eq!(span_ids(&requests), numbered(11));
}

#[test]
fn a_request_that_is_too_large_is_halved_down_to_one_span() {
    let request = requests_of(&[json(0..5, 5)]).remove(0);
    let mut pending = vec![request];
    let mut single = Vec::new();
    while let Some(request) = pending.pop() {
        match split::halve(&request) {
            Some(halves) => pending.extend(halves),
            None => single.push(request),
        }
    }
    assert_eq!(single.len(), 5);
    assert_eq!(span_ids(&single), numbered(5));
}

#[test]
fn lines_that_hold_no_traces_are_named_as_what_they_are() {
    let mut splitter = Splitter::new(|_| true);
    for (line, reason) in [
        (r#"{"resourceMetrics":[{}]}"#, Some("holds metrics, not traces")),
        (r#"{"resourceLogs":[]}"#, Some("holds logs, not traces")),
        (r#"{"resourceProfiles":[]}"#, Some("holds profiles, not traces")),
        (r#"{"spans":[]}"#, Some("holds no resourceSpans: not traces")),
        (r#"{"resourceSpans":[]}"#, None),
        ("{}", None),
    ] {
        let decoded = splitter.decode(Payload::Json(line.as_bytes()));
        assert_eq!(decoded.err().as_deref(), reason, "{line}");
    }
    assert!(splitter.decode(Payload::Json(b"{broken")).is_err());
    assert!(splitter.decode(Payload::Protobuf(b"\x0a\xff")).is_err());
}
