//! What broken, hostile and merely odd senders send. Each gets its answer, while a well-behaved
//! sender beside them loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{
    INSTANT, TestServer, attribute, framed, gzip, json_request, nested, request, span, trace_id,
};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const JSON: (&str, &str) = ("content-type", "application/json");

/// What should become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// All its spans are stored.
    Taken,
    /// So many spans are reported as not taken.
    Rejected(i64),
    /// None of it is stored; the status.
    Refused(u16),
}

/// Bytes as a length-delimited protobuf field.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut out);
    prost::encoding::encode_varint(content.len() as u64, &mut out);
    out.extend_from_slice(content);
    out
}

/// ResourceSpans > ScopeSpans around raw span fields.
fn around_spans(spans: &[u8]) -> Vec<u8> {
    field(1, &field(2, spans))
}

fn ids() -> Vec<u8> {
    [field(1, &[1; 16]), field(2, &[1; 8])].concat()
}

/// A span with one attribute, whose value is a map.
fn with_empty_entries(entries: usize) -> Vec<u8> {
    let map = field(6, &[0x0a, 0].repeat(entries));
    around_spans(&field(2, &[ids(), field(9, &field(2, &map))].concat()))
}

fn with(change: impl FnOnce(&mut Span)) -> Vec<u8> {
    let mut span = span(1, 1);
    change(&mut span);
    request(vec![span])
}

/// What it is, headers, body, what becomes of it.
type Case = (&'static str, Vec<(&'static str, &'static str)>, Vec<u8>, Fate);

fn cases() -> Vec<Case> {
    let good = request(vec![span(1, 1)]);
    let text = |bytes: usize| Value::StringValue("x".repeat(bytes));
    let array_bomb = {
        // AnyValue { array_value { values: AnyValue { … } } }, without end markers to notice.
        let mut value = Vec::new();
        for _ in 0..5_000 {
            value = field(5, &field(1, &value));
        }
        let attribute = [field(1, b"key"), field(2, &value)].concat();
        let span = [field(1, &[1; 16]), field(2, &[1; 8]), field(9, &attribute)].concat();
        around_spans(&field(2, &span))
    };
    let json_bomb = |open: &str, close: &str| {
        let (head, tail) =
            (r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"k","value":"#, "}]}]}]}]}");
        format!("{head}{}{}{tail}", open.repeat(100_000), close.repeat(100_000)).into_bytes()
    };
    vec![
        ("garbage", vec![PROTOBUF], vec![0xff; 1_000], Fate::Refused(400)),
        ("a group without end", vec![PROTOBUF], vec![0x0b; 1_000], Fate::Refused(400)),
        ("a length beyond the end", vec![PROTOBUF], vec![0x0a, 0xff, 0xff, 0xff, 0x0f], Fate::Refused(400)),
        ("cut in the middle", vec![PROTOBUF], good[..good.len() / 2].to_vec(), Fate::Refused(400)),
        ("a gzip cut in the middle", vec![PROTOBUF, GZIP], gzip(&good)[..30].to_vec(), Fate::Refused(400)),
        (
            "not UTF-8 where text must be",
            vec![PROTOBUF],
            {
                let span = [field(1, &[1; 16]), field(2, &[1; 8]), field(5, &[0xff, 0xfe])].concat();
                around_spans(&field(2, &span))
            },
            Fate::Refused(400),
        ),
        (
            "JSON cut in the middle",
            vec![JSON],
            json_request(1, 1).as_bytes()[..60].to_vec(),
            Fate::Refused(400),
        ),
        ("protobuf sent as JSON", vec![JSON], good.clone(), Fate::Refused(400)),
        ("JSON sent as protobuf", vec![PROTOBUF], json_request(1, 1).into_bytes(), Fate::Refused(400)),
        (
            "an ID that is not hex",
            vec![JSON],
            json_request(1, 1).replace("ABAB", "XYZW").into_bytes(),
            Fate::Rejected(1),
        ),
        ("a zero trace ID", vec![PROTOBUF], with(|span| span.trace_id = vec![0; 16]), Fate::Rejected(1)),
        ("a short trace ID", vec![PROTOBUF], with(|span| span.trace_id = vec![1; 8]), Fate::Rejected(1)),
        ("no trace ID", vec![PROTOBUF], with(|span| span.trace_id.clear()), Fate::Rejected(1)),
        ("a zero span ID", vec![PROTOBUF], with(|span| span.span_id = vec![0; 8]), Fate::Rejected(1)),
        ("a long span ID", vec![PROTOBUF], with(|span| span.span_id = vec![1; 9]), Fate::Rejected(1)),
        (
            "a short parent ID",
            vec![PROTOBUF],
            with(|span| span.parent_span_id = vec![1; 7]),
            Fate::Rejected(1),
        ),
        (
            "an end before the start",
            vec![PROTOBUF],
            with(|span| span.end_time_unix_nano = INSTANT - 1),
            Fate::Taken,
        ),
        (
            "the year 1970",
            vec![PROTOBUF],
            with(|span| {
                span.start_time_unix_nano = 0;
                span.end_time_unix_nano = 1;
            }),
            Fate::Taken,
        ),
        (
            "the year 2200",
            vec![PROTOBUF],
            with(|span| {
                span.start_time_unix_nano = 7_258_118_400_000_000_000;
                span.end_time_unix_nano = 7_258_118_400_000_000_001;
            }),
            Fate::Taken,
        ),
        (
            "the year 2500",
            vec![PROTOBUF],
            with(|span| span.start_time_unix_nano = u64::MAX),
            Fate::Rejected(1),
        ),
        (
            "a text of 10 MB",
            vec![PROTOBUF],
            with(|span| {
                span.attributes.push(attribute("dump", text(10_000_000)));
            }),
            Fate::Taken,
        ),
        (
            "a text of 20 MB",
            vec![PROTOBUF, GZIP],
            gzip(&with(|span| {
                span.attributes.push(attribute("dump", text(20_000_000)));
            })),
            Fate::Rejected(1),
        ),
        (
            "5,000 attributes",
            vec![PROTOBUF],
            with(|span| {
                span.attributes =
                    (0..5_000).map(|n| attribute(&format!("key.{n}"), Value::IntValue(n))).collect();
            }),
            Fate::Rejected(1),
        ),
        (
            "a link with an ID that is not hex",
            vec![JSON],
            json_request(1, 1)
                .replace("\"kind\":2", "\"kind\":2,\"links\":[{\"traceId\":\"xyz\"}]")
                .into_bytes(),
            Fate::Rejected(1),
        ),
        (
            "a map of 1.9 million empty entries in 4 KB",
            vec![PROTOBUF, GZIP],
            gzip(&with_empty_entries(1_900_000)),
            Fate::Rejected(1),
        ),
        (
            "a map of 7.9 million empty entries in 16 KB",
            vec![PROTOBUF, GZIP],
            gzip(&with_empty_entries(7_900_000)),
            Fate::Refused(413),
        ),
        (
            "a resource of 300 KB",
            vec![PROTOBUF],
            [field(
                1,
                &[field(1, &field(1, &field(1, &[b'k'; 300_000]))), field(2, &field(2, &ids()))].concat(),
            )]
            .concat(),
            Fate::Rejected(1),
        ),
        (
            "a value 10 deep",
            vec![PROTOBUF],
            with(|span| {
                span.attributes.push(attribute("deep", nested(10)));
            }),
            Fate::Taken,
        ),
        (
            "a value 40 deep",
            vec![PROTOBUF],
            with(|span| {
                span.attributes.push(attribute("deep", nested(40)));
            }),
            Fate::Refused(400),
        ),
        ("a value 5,000 deep", vec![PROTOBUF], array_bomb, Fate::Refused(400)),
        (
            "JSON 100,000 deep",
            vec![JSON],
            json_bomb(r#"{"arrayValue":{"values":["#, "]}}"),
            Fate::Refused(400),
        ),
        ("a JSON array 100,000 deep", vec![JSON], json_bomb("[", "]"), Fate::Refused(400)),
        (
            "2 million empty spans in 4 KB",
            vec![PROTOBUF, GZIP],
            gzip(&around_spans(&[0x12, 0].repeat(2 << 20))),
            Fate::Refused(413),
        ),
        (
            "20 million empty resources",
            vec![PROTOBUF, GZIP],
            gzip(&[0x0a, 0].repeat(20_000_000)),
            Fate::Refused(413),
        ),
        ("70 MB of zeros", vec![PROTOBUF, GZIP], gzip(&vec![0; 70_000_000]), Fate::Refused(413)),
        ("fields of the future", vec![PROTOBUF], [field(1_000, b"?"), good].concat(), Fate::Taken),
        ("empty", vec![PROTOBUF], vec![], Fate::Taken),
        ("the wrong Content-Type", vec![("content-type", "text/plain")], b"x".to_vec(), Fate::Refused(415)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_request_gets_its_answer_and_the_good_ones_lose_nothing() {
    let server = Arc::new(TestServer::start().await);
    let done = Arc::new(AtomicBool::new(false));
    let steady = {
        let (server, done) = (Arc::clone(&server), Arc::clone(&done));
        tokio::spawn(async move {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) || sent < 20 {
                sent += 1;
                let answer = server.post_protobuf(request(vec![span(999, sent)])).await;
                assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
            }
            sent
        })
    };
    for (what, headers, body, fate) in cases() {
        let answer = server.post(&headers, body).await;
        let seen = if answer.status == StatusCode::OK {
            let rejected = if headers.contains(&JSON) {
                let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
                body["partialSuccess"]["rejectedSpans"].as_str().map(|spans| spans.parse().expect("a number"))
            } else {
                let response = ExportTraceServiceResponse::decode(answer.body.clone()).expect("a response");
                response.partial_success.map(|partial| partial.rejected_spans)
            };
            rejected.map_or(Fate::Taken, Fate::Rejected)
        } else {
            Fate::Refused(answer.status.as_u16())
        };
        assert_eq!(seen, fate, "{what}: {:?}", String::from_utf8_lossy(&answer.body));
        assert!(answer.body.len() < 2_000, "{what}: the answer repeats what was sent");
    }
    done.store(true, Ordering::Relaxed);
    let sent = steady.await.expect("no panic");
    assert_eq!(server.trace(&trace_id(999)).await.expect("a trace").len() as u64, sent);
    // Of the spans with the same ID each is there, as they differ.
    assert!(server.trace(&trace_id(1)).await.expect("a trace").len() >= 5);
    assert_eq!(server.metric("tracelake_in_flight_bytes").await, 0.0);
    let server = Arc::into_inner(server).expect("the only one left");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_attribute_comes_back_as_it_was() {
    let server = TestServer::start().await;
    let text: String = (0..1_000_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let body = with(|span| span.attributes = vec![attribute("dump", Value::StringValue(text.clone()))]);
    assert_eq!(server.post_protobuf(body).await.status, StatusCode::OK);
    let spans = server.trace(&trace_id(1)).await.expect("a trace");
    assert!(spans[0].attributes == [attribute("dump", Value::StringValue(text))]);
    server.stop().await;
}

/// What a socket says until it is closed.
async fn until_closed(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is as good a close as any.
    if let Err(error) = socket.read_to_end(&mut text).await {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_are_sent_away_while_others_are_served() {
    let server = TestServer::start_with(|settings| {
        settings.header_read_seconds_max = 1;
        settings.body_read_seconds_max = 1;
    })
    .await;
    let http = server.addresses.otlp_http;
    let grpc = server.addresses.otlp_grpc;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n";
    let mut slow = Vec::new();
    for (addr, sent, answer) in [
        (http, String::new(), ""),
        (grpc, String::new(), ""),
        (server.addresses.api, String::new(), ""),
        (http, "P".to_owned(), ""),
        (grpc, "PRI * HTTP/2.0\r\n".to_owned(), ""),
        (http, head.to_owned(), ""),
        (http, format!("{head}content-length: 100\r\n\r\nabc"), "HTTP/1.1 408"),
        (http, format!("{head}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"), "HTTP/1.1 408"),
    ] {
        let mut socket = TcpStream::connect(addr).await.expect("connected");
        socket.write_all(sent.as_bytes()).await.expect("sent");
        slow.push((socket, sent, answer));
    }
    for trace in 1..=20 {
        let answer = server.post_protobuf(request(vec![span(trace, 1)])).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    for (mut socket, sent, answer) in slow {
        let text = until_closed(&mut socket).await;
        assert!(text.starts_with(answer), "{sent:?}: {text:?}");
        assert_eq!(text.is_empty(), answer.is_empty(), "{sent:?}: {text:?}");
    }
    let line = "tracelake_ingest_requests_total{protocol=\"http_protobuf\",outcome=\"too_slow\"}";
    assert_eq!(server.metric(line).await, 2.0);
    assert_eq!(server.metric("tracelake_in_flight_bytes").await, 0.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_grpc_sender_is_told_that_its_time_is_over() {
    let server = TestServer::start_with(|settings| settings.body_read_seconds_max = 1).await;
    let message = framed(0, &request(vec![span(1, 1)]));
    let first = bytes::Bytes::copy_from_slice(&message[..20]);
    let never_ends = futures::StreamExt::chain(
        futures::stream::iter([Ok::<_, std::io::Error>(http_body::Frame::data(first))]),
        futures::stream::pending(),
    );
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let url = format!("http://{}{}", server.addresses.otlp_grpc, crate::harness::EXPORT);
    let request =
        http::Request::post(url).header("te", "trailers").header("content-type", "application/grpc");
    let request = request.body(http_body_util::StreamBody::new(never_ends)).expect("a request");
    let answer = client.request(request).await.expect("an answer");
    assert_eq!(answer.headers()["grpc-status"], "4");
    assert_eq!(server.trace(&trace_id(1)).await, None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_goes_away_leaves_nothing_behind() {
    let server = TestServer::start().await;
    for _ in 0..20 {
        let mut socket = TcpStream::connect(server.addresses.otlp_http).await.expect("connected");
        let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
                    content-length: 100000\r\n\r\n";
        socket.write_all(head.as_bytes()).await.expect("sent");
        socket.write_all(&[0x0a; 50_000]).await.expect("sent");
    }
    server.metric_becomes("tracelake_in_flight_bytes", |bytes| bytes == 0.0).await;
    // The one that asks.
    server.metric_becomes("tracelake_connections", |connections| connections == 1.0).await;
    assert_eq!(server.post_protobuf(request(vec![span(1, 1)])).await.status, StatusCode::OK);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_counts_until_it_is_worked_off_though_its_sender_has_hung_up() {
    let server = TestServer::start().await;
    let spans = 40_000;
    let one = json_request(1, 1);
    let one = one.split_once("\"spans\":[").and_then(|(_, rest)| rest.strip_suffix("]}]}]}"));
    let one = one.expect("a span");
    let body =
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, vec![one; spans].join(","));
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(server.addresses.otlp_http).await.expect("connected");
    socket.write_all(head.as_bytes()).await.expect("sent");
    socket.write_all(body.as_bytes()).await.expect("sent");
    let line = "tracelake_ingest_received_bytes_total{protocol=\"http_json\"}";
    server.metric_becomes(line, |bytes| bytes == body.len() as f64).await;
    drop(socket);
    server.metric_becomes("tracelake_connections", |connections| connections == 1.0).await;
    server.metric_becomes("tracelake_in_flight_bytes", |bytes| bytes == 0.0).await;
    // So nothing is worked on any more, and what was begun has come to its end.
    assert_eq!(server.metric("tracelake_ingest_spans_accepted_total").await, spans as f64);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_far_too_much_before_reading_gets_the_answer() {
    let server = TestServer::start_with(|settings| settings.request_bytes_max = 4 << 20).await;
    let (limit, bytes) = (4 << 20, 30 << 20);
    let chunk = vec![0; 1 << 20];
    for announced in [true, false] {
        let mut socket = TcpStream::connect(server.addresses.otlp_http).await.expect("connected");
        let length = if announced {
            format!("content-length: {bytes}")
        } else {
            "transfer-encoding: chunked".to_owned()
        };
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n{length}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.expect("sent");
        for _ in 0..bytes / chunk.len() {
            if !announced {
                socket.write_all(b"100000\r\n").await.expect("the server reads on");
            }
            socket.write_all(&chunk).await.expect("the server reads on");
            if !announced {
                socket.write_all(b"\r\n").await.expect("the server reads on");
            }
        }
        if !announced {
            socket.write_all(b"0\r\n\r\n").await.expect("the server reads on");
        }
        let mut answer = vec![0; 12];
        socket.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413", "{bytes} bytes, the limit is {limit}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_limit_wait_and_the_api_keeps_its_own() {
    let server = TestServer::start_with(|settings| settings.connections_max = 8).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(TcpStream::connect(server.addresses.otlp_http).await.expect("connected by the kernel"));
    }
    // Seven are the senders'; the API answers nevertheless, on the one that is its own.
    server.metric_becomes("tracelake_connections", |connections| connections == 8.0).await;
    drop(held);
    assert_eq!(server.post_protobuf(request(vec![span(1, 1)])).await.status, StatusCode::OK);
    server.stop().await;
}
