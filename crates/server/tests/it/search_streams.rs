//! Searches whose answers are streamed to clients that read slowly, not at all, or go away.

use http::{Method, StatusCode};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{INSTANT, TestServer, attribute, request, span, trace_id};

/// Of 1 MB each: all of them are far more than sockets and the server keep on the way.
const TRACES: u64 = 32;

/// As many as are flushed together. A page has all texts of a segment.
const TRACES_OF_SEGMENT: u64 = 8;

const IN_PROGRESS: &str = "tracelake_lookups_in_progress";
const COMPLETE: &str = "tracelake_searches_total{outcome=\"complete\"}";

async fn server_with_large_traces() -> TestServer {
    let server = TestServer::start_with(|settings| {
        // What was read is not there for the next one.
        settings.block_cache_bytes_max = 1 << 20;
        // However slow a machine is, a client that does not read is not sent away, and no search is late.
        settings.body_read_seconds_max = 3_600;
        settings.search_seconds_max = 3_600;
    })
    .await;
    let large = |n: u64| {
        let start = INSTANT + n * 1_000_000_000;
        Span {
            start_time_unix_nano: start,
            end_time_unix_nano: start + 1_000_000,
            attributes: vec![attribute("text", AnyValue::StringValue(format!("{n:03} ").repeat(250_000)))],
            ..span(n, n)
        }
    };
    for first in (1..=TRACES).step_by(TRACES_OF_SEGMENT as usize) {
        let spans = (first..first + TRACES_OF_SEGMENT).map(large).collect();
        assert_eq!(server.post_protobuf(request(spans)).await.status, StatusCode::OK);
        let flushed = server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
        assert_eq!(flushed.status, StatusCode::OK);
    }
    server
}

fn whole_traces() -> Value {
    json!({"result": "traces"})
}

/// The lines of an answer as they are read, and not before.
struct Lines(BufReader<TcpStream>);

impl Lines {
    /// Asks, and reads the head of the answer. HTTP/1.0 has no chunks: what follows are the lines alone.
    async fn of(server: &TestServer, body: &Value) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // The system would make it as large as all of the answer, in time.
        socket.set_recv_buffer_size(256 << 10).expect("set");
        let mut socket = socket.connect(server.addresses.api).await.expect("connected");
        let body = body.to_string();
        let asked = format!(
            "POST /api/v1/search HTTP/1.0\r\nhost: x\r\naccept: application/x-ndjson\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(asked.as_bytes()).await.expect("sent");
        let mut lines = Self(BufReader::new(socket));
        let status = lines.text().await.expect("an answer");
        assert!(status.starts_with("HTTP/1.") && status.contains(" 200 "), "{status}");
        loop {
            let header = lines.text().await.expect("headers");
            assert!(!header.starts_with("transfer-encoding"), "{header}");
            if header.is_empty() {
                return lines;
            }
        }
    }

    /// None at the end.
    async fn text(&mut self) -> Option<String> {
        let mut line = String::new();
        let bytes = self.0.read_line(&mut line).await.expect("a line or the end");
        (bytes > 0).then(|| line.trim_end().to_owned())
    }

    async fn next(&mut self) -> Option<Value> {
        let line = self.text().await?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:.200}")))
    }

    async fn rest(mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_its_client_and_loses_nothing() {
    let server = server_with_large_traces().await;
    let mut waiting = Lines::of(&server, &whole_traces()).await;
    let first = waiting.next().await.expect("a line");
    assert_eq!(first["trace_id"], trace_id(TRACES));
    // The others do not fit on the way, and the end comes behind them.
    assert_eq!((server.metric(IN_PROGRESS).await, server.metric(COMPLETE).await), (1.0, 0.0));

    // Time enough for all of it: another client reads it to its end.
    let all = Lines::of(&server, &whole_traces()).await.rest().await;
    server.metric_becomes(IN_PROGRESS, |searches| searches == 1.0).await;
    assert_eq!(server.metric(COMPLETE).await, 1.0, "the one that was read");

    let rest = waiting.rest().await;
    let (end, others) = rest.split_last().expect("an end");
    assert_eq!((&end["end"]["partial"], &end["end"]["next_cursor"]), (&Value::Null, &Value::Null));
    assert_eq!((others.len() as u64, all.len() as u64), (TRACES - 1, TRACES + 1));
    for (at, line) in std::iter::once(&first).chain(others).enumerate() {
        // Not by a macro that would print them.
        assert!(all.get(at) == Some(line), "line {at} is another one than the other client has");
        assert!(line["trace"].is_object() && line["error"].is_null(), "line {at}");
    }
    server.metric_becomes(COMPLETE, |searches| searches == 2.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_does_not_read_is_not_read_in_advance() {
    let server = server_with_large_traces().await;
    let mut waiting = Lines::of(&server, &whole_traces()).await;
    let first = waiting.next().await.expect("a line");
    assert!(first["error"].is_null(), "{}", first["error"]);
    // Time enough for all of it: another client reads it to its end.
    let all = Lines::of(&server, &whole_traces()).await.rest().await;
    assert_eq!(all.len() as u64, TRACES + 1);

    // Only what has been read by now is to be had.
    let segments = server.folder.path().join("data/store/segments");
    let mut removed = 0;
    for segment in std::fs::read_dir(segments).expect("a folder") {
        std::fs::remove_file(segment.expect("an entry").path()).expect("removed");
        removed += 1;
    }
    assert_eq!(removed, TRACES / TRACES_OF_SEGMENT);
    let rest = waiting.rest().await;
    let (end, others) = rest.split_last().expect("an end");
    let read_ahead = others.iter().filter(|line| line["error"].is_null()).count() as u64;
    assert!(read_ahead < TRACES * 3 / 4, "{read_ahead} traces were read for a client that read one");
    let unread: Vec<&Value> = others.iter().filter(|line| !line["error"].is_null()).collect();
    assert!(unread.iter().all(|line| line["error"]["kind"] == "partial"), "{:?}", unread.first());
    assert!(end["end"]["partial"]["reason"].is_string(), "{end}");
    server.metric_becomes(IN_PROGRESS, |searches| searches == 0.0).await;
    assert_eq!(server.metric("tracelake_searches_total{outcome=\"partial\"}").await, 1.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_whose_client_hangs_up_ends() {
    let server = server_with_large_traces().await;
    let summaries = json!({"select": ["span.text"]});
    let rows = json!({"result": "spans", "select": ["span.text"]});
    for (before, body) in [whole_traces(), summaries, rows].iter().enumerate() {
        let mut lines = Lines::of(&server, body).await;
        assert!(lines.next().await.is_some_and(|line| line.get("end").is_none()), "{body}");
        assert_eq!(server.metric(IN_PROGRESS).await, 1.0, "{body}");
        drop(lines);
        // Its turn is given back when its work has ended and was counted.
        server.metric_becomes(IN_PROGRESS, |searches| searches == 0.0).await;
        let broken_off = server.metric("tracelake_searches_total{outcome=\"broken_off\"}").await;
        assert_eq!(broken_off, before as f64 + 1.0, "{body}");
        assert_eq!(server.metric(COMPLETE).await, 0.0, "{body}");
    }
    server.stop().await;
}
