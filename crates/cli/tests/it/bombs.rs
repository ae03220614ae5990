//! Small requests that ask for much memory: each is answered, and what the process ever held stays
//! below a bound, though several come at once.

use std::thread;

use crate::harness::{Config, Server};
use crate::http::Http;

/// How many senders send the same at once.
const SENDERS: usize = 4;

/// What a server may have held at most. It holds some 30 MiB without any work; the largest of these
/// requests becomes 80 MiB in memory, twice that for a moment, and is then written as a segment.
const RESIDENT_BYTES_MAX: u64 = 1 << 30;

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

/// So many empty messages as this field.
fn empty(number: u8, count: usize) -> Vec<u8> {
    [number << 3 | 2, 0].repeat(count)
}

fn spans(resource: &[u8], spans: &[u8]) -> Vec<u8> {
    field(1, &[field(1, resource), field(2, spans)].concat())
}

/// A request with one span of these fields.
fn span(fields: &[u8]) -> Vec<u8> {
    spans(&[], &one_span(fields))
}

fn one_span(fields: &[u8]) -> Vec<u8> {
    field(2, &[&field(1, &[1; 16]), &field(2, &[1; 8]), fields].concat())
}

/// An attribute of a span with this value.
fn attribute(value: &[u8]) -> Vec<u8> {
    field(9, &field(2, value))
}

/// The most that was ever resident, as the system counts it. None where it does not say.
fn resident_bytes_max(server: &Server) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}

#[test]
fn no_request_makes_the_process_hold_much_more_than_it_sent() {
    const PROTOBUF: &str = "application/x-protobuf";
    const JSON: &str = "application/json";
    let deep = |levels| (0..levels).fold(Vec::new(), |inner, _| field(5, &field(1, &inner)));
    let deep_json = {
        let (head, tail) =
            (r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"value":"#, "}]}]}]}]}");
        let (open, close) = (r#"{"arrayValue":{"values":["#, "]}}");
        format!("{head}{}{{}}{}{tail}", open.repeat(100_000), close.repeat(100_000)).into_bytes()
    };
    let json_map = {
        let entries = vec!["{}"; 1_900_000].join(",");
        format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"attributes":[{{"value":{{"kvlistValue":{{"values":[{entries}]}}}}}}]}}]}}]}}]}}"#
        )
        .into_bytes()
    };
    let cases: [(&str, &str, Vec<u8>, u16); 12] = [
        ("empty spans", PROTOBUF, spans(&[], &empty(2, 2_000_000)), 413),
        ("a map too large for a request", PROTOBUF, span(&attribute(&field(6, &empty(1, 7_900_000)))), 413),
        ("a map too large for a span", PROTOBUF, span(&attribute(&field(6, &empty(1, 1_900_000)))), 200),
        ("such a map in JSON", JSON, json_map, 200),
        ("30 maps", PROTOBUF, span(&attribute(&field(6, &empty(1, 60_000))).repeat(30)), 200),
        ("empty attributes", PROTOBUF, span(&empty(9, 1_900_000)), 200),
        ("empty events", PROTOBUF, span(&empty(11, 1_900_000)), 200),
        ("empty links", PROTOBUF, span(&empty(13, 1_900_000)), 200),
        ("empty entities", PROTOBUF, spans(&empty(3, 1_900_000), &one_span(&[])), 200),
        ("a deep array", PROTOBUF, span(&attribute(&deep(5_000))), 400),
        ("a deep array in JSON", JSON, deep_json, 400),
        ("a text of 10 MB", PROTOBUF, span(&attribute(&field(1, &vec![b'x'; 10_000_000]))), 200),
    ];
    for (what, media_type, body, status) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Config::new(folder.path()).start();
        thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    let mut otlp = Http::new(server.addresses.otlp_http);
                    let answer = otlp.post("/v1/traces", media_type, &body).expect("an answer");
                    assert_eq!(answer.status, status, "{what}: {}", answer.text());
                });
            }
        });
        let Some(bytes) = resident_bytes_max(&server) else {
            eprintln!("skipped: the system does not say how much memory a process has used");
            return;
        };
        println!("{what}: {} MiB", bytes >> 20);
        assert!(bytes < RESIDENT_BYTES_MAX, "{what}: {bytes} bytes were resident");
    }
}
