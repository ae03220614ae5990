//! OTLP/HTTP as opentelemetry-proto 1.11 says.

use http::{Method, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracelake_server::settings::CorsOrigins;

use crate::harness::{TestServer, gzip, json_request, names, request, span, trace_id, zstd};

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_every_encoding_is_acknowledged_in_its_own_and_read_back() {
    let server = TestServer::start().await;
    let protobuf = |n: u64| request(vec![span(n, 1), span(n, 2)]);
    type Case<'a> = (u64, &'a [(&'a str, &'a str)], Vec<u8>);
    let cases: [Case<'_>; 10] = [
        (1, &[PROTOBUF], protobuf(1)),
        (2, &[PROTOBUF, ("content-encoding", "identity")], protobuf(2)),
        (3, &[PROTOBUF, ("content-encoding", "gzip")], gzip(&protobuf(3))),
        (4, &[PROTOBUF, ("content-encoding", "zstd")], zstd(&protobuf(4))),
        (5, &[("content-type", "Application/X-Protobuf; charset=utf-8")], protobuf(5)),
        (6, &[JSON], json_request(6, 1).into_bytes()),
        (7, &[("content-type", "application/json; charset=utf-8")], json_request(7, 1).into_bytes()),
        (8, &[JSON, ("content-encoding", "GZIP")], gzip(json_request(8, 1).as_bytes())),
        (9, &[JSON, ("content-encoding", "zstd")], zstd(json_request(9, 1).as_bytes())),
        (
            10,
            &[PROTOBUF, ("content-encoding", "gzip")],
            gzip(&request((1..=5_000).map(|n| span(10, n)).collect())),
        ),
    ];
    for (trace, headers, body) in cases {
        let answer = server.post(headers, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{headers:?}: {:?}", answer.body);
        assert_eq!(answer.headers["x-tracelake-durability"], "fsync");
        if headers[0].1.contains("json") {
            assert_eq!(answer.headers["content-type"], "application/json");
            assert_eq!(&answer.body[..], b"{}", "partialSuccess is not set");
        } else {
            assert_eq!(answer.headers["content-type"], "application/x-protobuf");
            let response = ExportTraceServiceResponse::decode(answer.body).expect("a response");
            assert_eq!(response.partial_success, None);
        }
        let spans = server.trace(&trace_id(trace)).await.expect("a trace");
        let expected = match trace {
            1..=5 => 2,
            10 => 5_000,
            _ => 1,
        };
        assert_eq!(spans.len(), expected, "trace {trace}");
        assert!(names(&spans).values().all(|count| *count == 1));
    }
    // An empty request is a success, as the specification says.
    for (headers, body) in [(PROTOBUF, ""), (JSON, "{}")] {
        assert_eq!(server.post(&[headers], body).await.status, StatusCode::OK);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_turned_down_is_answered_with_a_status_in_the_requests_encoding() {
    let server = TestServer::start().await;
    let traces = format!("http://{}/v1/traces", server.addresses.otlp_http);
    let url = |path: &str| format!("http://{}{path}", server.addresses.otlp_http);
    let good = request(vec![span(1, 1)]);
    // Method, URL, headers, body; status, code.
    type Case<'a> = (Method, String, Vec<(&'a str, &'a str)>, Vec<u8>, u16, i32);
    let cases: Vec<Case<'_>> = vec![
        (Method::POST, traces.clone(), vec![PROTOBUF], vec![0xff; 9], 400, 3),
        (Method::POST, traces.clone(), vec![PROTOBUF], good[..good.len() - 1].to_vec(), 400, 3),
        (Method::POST, traces.clone(), vec![JSON], b"{\"resourceSpans\":[".to_vec(), 400, 3),
        (Method::POST, traces.clone(), vec![JSON], b"[]".to_vec(), 400, 3),
        (Method::POST, traces.clone(), vec![JSON], good.clone(), 400, 3),
        (Method::POST, traces.clone(), vec![PROTOBUF, ("content-encoding", "gzip")], good.clone(), 400, 3),
        (Method::POST, traces.clone(), vec![PROTOBUF, ("content-encoding", "zstd")], good.clone(), 400, 3),
        (Method::POST, traces.clone(), vec![PROTOBUF, ("content-encoding", "br")], good.clone(), 415, 12),
        (
            Method::POST,
            traces.clone(),
            vec![PROTOBUF, ("content-encoding", "gzip, gzip")],
            good.clone(),
            415,
            12,
        ),
        (Method::POST, traces.clone(), vec![], good.clone(), 415, 12),
        (Method::POST, traces.clone(), vec![("content-type", "text/plain")], good.clone(), 415, 12),
        (Method::POST, traces.clone(), vec![("content-type", "application/grpc")], good.clone(), 415, 12),
        (Method::POST, traces.clone(), vec![PROTOBUF, ("x-scope-orgid", "../x")], good.clone(), 400, 3),
        (Method::POST, traces.clone(), vec![PROTOBUF, ("x-scope-orgid", "")], good.clone(), 400, 3),
        (Method::GET, traces.clone(), vec![], vec![], 405, 3),
        (Method::PUT, traces.clone(), vec![PROTOBUF], good.clone(), 405, 3),
        (Method::OPTIONS, traces.clone(), vec![], vec![], 405, 3),
        (Method::POST, url("/v1/metrics"), vec![PROTOBUF], vec![], 501, 12),
        (Method::POST, url("/v1/logs"), vec![JSON], b"{}".to_vec(), 501, 12),
        (Method::POST, url("/"), vec![PROTOBUF], good.clone(), 404, 12),
        (Method::GET, url("/api/v1/traces/1"), vec![], vec![], 404, 12),
    ];
    for (method, url, headers, body, status, code) in cases {
        let what = format!("{method} {url} {headers:?}");
        let answer = server.send(method, &url, &headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {:?}", answer.body);
        assert!(!answer.headers.contains_key("retry-after"), "{what} must not be sent again");
        let message = if headers.contains(&PROTOBUF) {
            assert_eq!(answer.headers["content-type"], "application/x-protobuf", "{what}");
            let status = RpcStatus::decode(answer.body).expect("a status");
            assert_eq!(status.code, code, "{what}");
            status.message
        } else {
            assert_eq!(answer.headers["content-type"], "application/json", "{what}");
            let status: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_eq!(status["code"], code, "{what}");
            status["message"].as_str().expect("a message").to_owned()
        };
        assert!(!message.is_empty(), "{what}");
        assert_eq!(answer.headers.get("allow").is_some(), status == 405, "{what}");
    }
    assert_eq!(server.trace(&trace_id(1)).await, None, "nothing of it was stored");
    assert_eq!(server.metric("tracelake_in_flight_bytes").await, 0.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_are_not_taken_are_counted_and_the_others_are_stored() {
    let server = TestServer::start().await;
    let mut zero = span(1, 2);
    zero.trace_id = vec![0; 16];
    let mut short = span(1, 3);
    short.span_id = vec![1, 2, 3];
    let answer = server.post_protobuf(request(vec![span(1, 1), zero, short])).await;
    assert_eq!(answer.status, StatusCode::OK);
    let partial = ExportTraceServiceResponse::decode(answer.body).expect("a response").partial_success;
    let partial = partial.expect("some were rejected");
    assert_eq!(partial.rejected_spans, 2);
    assert!(
        partial.error_message.contains("trace ID") && partial.error_message.contains("span ID"),
        "{partial:?}"
    );
    assert_eq!(server.trace(&trace_id(1)).await.expect("a trace").len(), 1);

    let body = json_request(1, 4).replace("0000000000000004", "00");
    let answer = server.post(&[JSON], body).await;
    assert_eq!(answer.status, StatusCode::OK);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["partialSuccess"]["rejectedSpans"], "1", "a 64-bit number is a string in JSON");
    assert_eq!(server.metric("tracelake_ingest_spans_accepted_total").await, 1.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_is_refused_before_and_after_decompression() {
    let server = TestServer::start_with(|settings| {
        settings.request_bytes_max = 10_000;
        settings.request_decoded_bytes_max = 20_000;
        settings.request_spans_max = 10;
        settings.in_flight_bytes_max = 100_000;
    })
    .await;
    let large = |bytes: usize| vec![0_u8; bytes];
    for (headers, body) in [
        (vec![PROTOBUF], large(10_001)),
        (vec![PROTOBUF, ("content-encoding", "gzip")], gzip(&large(20_001))),
        (vec![PROTOBUF, ("content-encoding", "zstd")], zstd(&large(20_001))),
        (vec![PROTOBUF, ("content-encoding", "gzip")], [gzip(&large(10_001)), gzip(&large(10_001))].concat()),
        (vec![PROTOBUF], request((1..=11).map(|n| span(1, n)).collect())),
    ] {
        let answer = server.post(&headers, body).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{headers:?}");
        assert_eq!(RpcStatus::decode(answer.body).expect("a status").code, 8);
        assert!(!answer.headers.contains_key("retry-after"), "it must not be sent again");
    }
    let answer = server.post_protobuf(request((1..=10).map(|n| span(1, n)).collect())).await;
    assert_eq!(answer.status, StatusCode::OK, "one that just fits is taken");

    // Without Content-Length the size shows only while it is read.
    let mut socket = TcpStream::connect(server.addresses.otlp_http).await.expect("connected");
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n\
                transfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("sent");
    for _ in 0..20 {
        socket.write_all(b"400\r\n").await.expect("sent");
        socket.write_all(&[0; 1024]).await.expect("sent");
        socket.write_all(b"\r\n").await.expect("sent");
    }
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
    server.stop().await;
}

/// Or a client that asks and hangs up, over and over, has more and more worked on for a few bytes each.
#[tokio::test(flavor = "multi_thread")]
async fn the_budget_counts_more_of_a_small_request_than_its_bytes() {
    let server = TestServer::start_with(|settings| settings.in_flight_bytes_max = 4_096).await;
    let answer = server.post_protobuf(request(vec![span(1, 1)])).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let message = RpcStatus::decode(answer.body).expect("a status").message;
    assert!(message.contains("in_flight_bytes_max"), "{message}");
    assert_eq!(server.metric("tracelake_in_flight_bytes").await, 0.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_budget_asks_to_come_again_and_is_free_when_its_holder_is_done() {
    let server = TestServer::start_with(|settings| {
        settings.request_bytes_max = 50_000;
        settings.request_decoded_bytes_max = 50_000;
        settings.in_flight_bytes_max = 54_096;
    })
    .await;
    // A good request with room behind it: unknown fields are ignored.
    let mut body = request(vec![span(1, 1)]);
    let padding = 45_000 - body.len() - 5;
    body.extend([0xfa, 0x3f]); // field 127, length-delimited
    prost::encoding::encode_varint(padding as u64, &mut body);
    body.resize(45_000, b' ');
    let mut slow = TcpStream::connect(server.addresses.otlp_http).await.expect("connected");
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    slow.write_all(&body[..40_000]).await.expect("sent");
    server.metric_becomes("tracelake_in_flight_bytes", |bytes| bytes == 40_000.0).await;

    let other = request((1..=300).map(|n| span(2, n)).collect());
    assert!((10_001..50_000).contains(&other.len()), "does not fit beside the first: {}", other.len());
    let answer = server.post_protobuf(other.clone()).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(RpcStatus::decode(answer.body).expect("a status").code, 8);
    let answer = server.export(&[], &other).await;
    assert_eq!(answer.code, 8);
    let details = answer.details.expect("RetryInfo says that it may be sent again");
    let retry_info = b"type.googleapis.com/google.rpc.RetryInfo";
    assert!(details.windows(retry_info.len()).any(|window| window == retry_info));

    slow.write_all(&body[40_000..]).await.expect("sent");
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(server.post_protobuf(other).await.status, StatusCode::OK);
    assert_eq!(server.metric("tracelake_in_flight_bytes").await, 0.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_spans_only_and_a_name_is_checked() {
    let server = TestServer::start().await;
    let answer = server.post(&[PROTOBUF, ("x-scope-orgid", "team-a")], request(vec![span(1, 1)])).await;
    assert_eq!(answer.status, StatusCode::OK);
    let path = format!("/api/v1/traces/{}", trace_id(1));
    for (tenant, status) in [
        (Some("team-a"), 200),
        (Some("team-b"), 404),
        (Some("default"), 404),
        (None, 404),
        (Some("Team-A"), 404),
        (Some("a/b"), 400),
        (Some("."), 400),
        (Some(".."), 400),
        (Some("a%2fb"), 400),
        (Some("a|b"), 400),
        (Some("tëam"), 400),
        (Some(""), 400),
        (Some(&"a".repeat(64)), 404),
        (Some(&"a".repeat(65)), 400),
    ] {
        let headers: Vec<_> = tenant.iter().map(|tenant| ("x-scope-orgid", *tenant)).collect();
        assert_eq!(server.get_with(&path, &headers).await.status.as_u16(), status, "{tenant:?}");
    }
    let two = server.get_with(&path, &[("x-scope-orgid", "team-a"), ("x-scope-orgid", "team-b")]).await;
    assert_eq!(two.status, StatusCode::BAD_REQUEST);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_send_from_the_origins_that_are_listed() {
    let shop = "https://shop.example";
    let listed = TestServer::start_with(|settings| {
        settings.cors_allowed_origins = CorsOrigins::Listed(vec![shop.to_owned()]);
    })
    .await;
    let none = TestServer::start().await;
    let any = TestServer::start_with(|settings| settings.cors_allowed_origins = CorsOrigins::Any).await;
    for (server, origin, allowed) in [
        (&listed, shop, Some(shop)),
        (&listed, "https://other.example", None),
        (&none, shop, None),
        (&any, shop, Some("*")),
    ] {
        let url = format!("http://{}/v1/traces", server.addresses.otlp_http);
        let preflight = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-scope-orgid"),
        ];
        let answer = server.send(Method::OPTIONS, &url, &preflight, "").await;
        let header =
            |name: &str| answer.headers.get(name).map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(header("access-control-allow-origin").as_deref(), allowed, "{origin}");
        if allowed.is_some() {
            assert_eq!(header("access-control-allow-methods").as_deref(), Some("POST"));
            assert_eq!(header("access-control-allow-headers").as_deref(), Some("content-type,x-scope-orgid"));
        }
        let answer = server.post(&[JSON, ("origin", origin)], json_request(1, 1)).await;
        let origin = answer.headers.get("access-control-allow-origin");
        assert_eq!(origin.map(|value| value.to_str().expect("text")), allowed);
        let api = server.get_with("/api/v1/status", &[("origin", shop)]).await;
        assert!(!api.headers.contains_key("access-control-allow-origin"), "the API is for no page");
    }
    for server in [listed, none, any] {
        server.stop().await;
    }
}
