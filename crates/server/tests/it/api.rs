//! The API: traces by ID, times, encodings, errors, and what those who run the server look at.

use std::time::Duration;

use http::{Method, StatusCode};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{INSTANT, TestServer, attribute, names, request, span, spans, trace_id};

/// The error's kind of an answer that is one.
fn error_kind(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    assert!(!body["error"]["message"].as_str().expect("a message").is_empty());
    body["error"]["kind"].as_str().expect("a kind").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_found_by_its_id_in_any_spelling() {
    let server = TestServer::start().await;
    let mut small = span(7, 1);
    small.trace_id = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0xbc];
    server.post_protobuf(request(vec![span(7, 1), span(7, 2), small])).await;
    let long = trace_id(7);
    for (id, expected) in [
        (long.as_str(), StatusCode::OK),
        (&long.to_uppercase(), StatusCode::OK),
        ("abc", StatusCode::OK),
        ("0ABC", StatusCode::OK),
        ("00000000000000000000000000000abc", StatusCode::OK),
        ("abd", StatusCode::NOT_FOUND),
        ("000000000000000000000000000000abc", StatusCode::BAD_REQUEST),
        ("0", StatusCode::BAD_REQUEST),
        ("00000000000000000000000000000000", StatusCode::BAD_REQUEST),
        ("xyz", StatusCode::BAD_REQUEST),
        ("a%2fb", StatusCode::BAD_REQUEST),
        ("%ff", StatusCode::BAD_REQUEST),
    ] {
        let answer = server.get(&format!("/api/v1/traces/{id}")).await;
        assert_eq!(answer.status, expected, "{id}: {:?}", answer.body);
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["cache-control"], "no-store");
        match expected {
            StatusCode::NOT_FOUND => assert_eq!(error_kind(&answer.body), "not_found"),
            StatusCode::BAD_REQUEST => assert_eq!(error_kind(&answer.body), "invalid"),
            _ => {}
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_comes_in_the_encoding_that_is_asked_for() {
    let server = TestServer::start().await;
    let sent: Vec<_> = (1..=500).map(|n| span(1, n)).collect();
    for part in sent.chunks(100) {
        server.post_protobuf(request(part.to_vec())).await;
    }
    let path = format!("/api/v1/traces/{}", trace_id(1));
    for accept in ["", "*/*", "application/json", "application/json, application/protobuf;q=0.9"] {
        let headers: Vec<_> =
            Some(("accept", accept)).into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let answer = server.get_with(&path, &headers).await;
        assert_eq!(answer.headers["content-type"], "application/json", "{accept}");
        assert_eq!(answer.headers["vary"], "accept");
        let data: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let scopes = data["resourceSpans"].as_array().expect("resources").iter();
        let scopes = scopes.flat_map(|resource| resource["scopeSpans"].as_array().expect("scopes"));
        let spans: Vec<_> = scopes.flat_map(|scope| scope["spans"].as_array().expect("spans")).collect();
        assert_eq!(spans.len(), 500);
        assert!(spans.iter().all(|span| span["traceId"] == trace_id(1)));
        assert!(data.get("partial").is_none());
    }
    for accept in ["application/x-protobuf", "application/protobuf", "application/protobuf, */*;q=0.1"] {
        let answer = server.get_with(&path, &[("accept", accept)]).await;
        assert_eq!(answer.headers["content-type"], "application/x-protobuf", "{accept}");
        let mut spans = spans(&TracesData::decode(answer.body).expect("protobuf"));
        spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
        assert!(spans == sent, "every span as it was sent");
    }
    let answer = server.get_with(&path, &[("accept", "text/html")]).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_hints_that_change_nothing_and_wrong_ones_are_refused() {
    let server = TestServer::start().await;
    server.post_protobuf(request(vec![span(1, 1)])).await;
    let seconds = INSTANT / 1_000_000_000;
    let cases = [
        (String::new(), 200),
        (format!("?start={seconds}&end={}", seconds + 1), 200),
        (format!("?start={seconds}000&end={seconds}999"), 200),
        (format!("?start={seconds}000000"), 200),
        (format!("?end={seconds}000000000"), 200),
        ("?start=2023-11-14T22:00:00Z&end=2023-11-14T23:00:00Z".to_owned(), 200),
        ("?start=2023-11-15T00:00:00%2B02:00".to_owned(), 200),
        ("?start=2023-11-15T00:00:00+02:00".to_owned(), 200),
        ("?start=1990-01-01T00:00:00Z&end=1990-01-02T00:00:00Z".to_owned(), 200),
        (format!("?start={}&end={seconds}", seconds + 1), 400),
        ("?start=2023-11-14T22:00:00Z&end=2023-11-14T21:00:00Z".to_owned(), 400),
        ("?start=yesterday".to_owned(), 400),
        ("?start=".to_owned(), 400),
        ("?start=1&start=2".to_owned(), 400),
        ("?since=1".to_owned(), 400),
        ("?Start=1".to_owned(), 400),
    ];
    for (query, status) in cases {
        let answer = server.get(&format!("/api/v1/traces/{}{query}", trace_id(1))).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {:?}", answer.body);
        if status == 400 {
            assert_eq!(error_kind(&answer.body), "invalid");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_above_the_limit_is_answered_as_partial() {
    let server = TestServer::start_with(|settings| settings.trace_spans_max = 10).await;
    for start in [1, 9] {
        server.post_protobuf(request((start..start + 8).map(|n| span(1, n)).collect())).await;
    }
    let path = format!("/api/v1/traces/{}", trace_id(1));
    let answer = server.get(&path).await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    assert!(!answer.headers["x-tracelake-partial"].is_empty());
    assert_eq!(answer.headers["cache-control"], "no-store", "it must not outlive what made it partial");
    let data: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert!(data["partial"].is_object(), "{data}");
    let answer = server.get_with(&path, &[("accept", "application/x-protobuf")]).await;
    assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let spans = spans(&TracesData::decode(answer.body).expect("protobuf"));
    assert!((1..=10).contains(&spans.len()) && names(&spans).values().all(|count| *count == 1));
    assert_eq!(server.metric("tracelake_lookups_total{outcome=\"partial\"}").await, 2.0);
    server.stop().await;
}

/// What an explanation counts; all of it is 0 of a trace that was in the cache.
const COUNTS_OF_READS: [&str; 18] = [
    "segments_considered",
    "filters_asked",
    "filters_read",
    "segments_searched",
    "false_reads",
    "metadata_asked",
    "segments_opened",
    "directory_blocks",
    "directory_blocks_cached",
    "pages",
    "pages_cached",
    "dictionaries",
    "dictionaries_cached",
    "disk_cache_blocks",
    "range_reads",
    "bytes_read",
    "hedged_reads",
    "rows_decoded",
];

fn count(explain: &Value, name: &str) -> u64 {
    explain[name].as_u64().unwrap_or_else(|| panic!("no count {name} in {explain}"))
}

fn assert_counts(explain: &Value, expected: &[(&str, u64)]) {
    for (name, expected) in expected {
        assert_eq!(count(explain, name), *expected, "{name} in {explain}");
    }
}

/// The steps of a lookup come one after the other; what is done within them, of one segment, too.
fn assert_times(explain: &Value) {
    let total = count(explain, "total_us");
    let steps = ["memtable_us", "choose_us", "read_us", "assemble_us"].map(|name| count(explain, name));
    assert!(steps.iter().sum::<u64>() <= total, "{explain}");
    for name in ["filter_us", "open_us", "directory_us", "fetch_us", "decode_us"] {
        assert!(count(explain, name) <= total, "{name} in {explain}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_says_what_was_asked_and_read() {
    let server = TestServer::start().await;
    server.post_protobuf(request(vec![span(1, 1), span(1, 2), span(1, 3), span(2, 4)])).await;
    let flushed = server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
    assert_eq!(flushed.status, StatusCode::OK);
    // Of a segment that it has just written a server knows some pages without reading them.
    let (_, folder) = server.stop().await;
    let server = TestServer::start_in(folder, |_| {}).await;
    server.is_loaded().await;
    let path = format!("/api/v1/traces/{}?explain=true", trace_id(1));
    let explained = async |path: &str, status| {
        let answer = server.get(path).await;
        assert_eq!(answer.status, status);
        serde_json::from_slice::<Value>(&answer.body).expect("JSON")
    };
    let first = explained(&path, StatusCode::OK).await;
    let (explain, trace) = (&first["explain"], &first["trace"]);
    assert_eq!(trace["resourceSpans"].as_array().map(Vec::len), Some(1), "{first}");
    assert_eq!((&first["trace_id"], &first["missing"]), (&trace_id(1).into(), &Value::Array(vec![])));
    assert_eq!(explain["trace_cache_hit"], false);
    let looked_into = [
        ("segments_live", 1),
        ("segments_considered", 1),
        ("filters_asked", 1),
        ("segments_searched", 1),
        ("false_reads", 0),
        ("metadata_asked", 2),
        ("directory_blocks", 1),
        ("rows_decoded", 3),
        ("disk_cache_blocks", 0),
        ("disk_cache_blocks_found", 0),
        ("hedged_reads", 0),
    ];
    assert_counts(explain, &looked_into);
    assert_eq!(count(explain, "segments_opened"), 0, "{explain}");
    for name in ["directory_blocks_cached", "pages_cached", "dictionaries_cached"] {
        assert_eq!(count(explain, name), 0, "{name} in {explain}");
    }
    // The filter and the footer were read after the start.
    assert_eq!(count(explain, "filters_read"), 0, "{explain}");
    let (pages, dictionaries) = (count(explain, "pages"), count(explain, "dictionaries"));
    assert!(dictionaries > 0 && dictionaries < pages, "{explain}");
    // The block of the directory, and the rows.
    assert!(count(explain, "range_reads") >= 2, "{explain}");
    assert!(count(explain, "bytes_read") > 0, "{explain}");
    assert_times(explain);

    let second = explained(&path, StatusCode::OK).await;
    assert_eq!(second["explain"]["trace_cache_hit"], true);
    for name in COUNTS_OF_READS {
        assert_eq!(count(&second["explain"], name), 0, "{name} in {second}");
    }
    assert_times(&second["explain"]);
    assert_eq!(second["trace"], first["trace"]);
    let unknown = explained("/api/v1/traces/abc?explain=true", StatusCode::NOT_FOUND).await;
    assert_eq!((&unknown["error"]["kind"], &unknown["trace"]), (&"not_found".into(), &Value::Null));
    let refused = server.get_with(&path, &[("accept", "application/x-protobuf")]).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.get(&path.replace("true", "yes")).await.status, StatusCode::BAD_REQUEST);

    // Who drops a trace from the cache drops nothing else.
    let cached = format!("/api/v1/cache/traces/{}", trace_id(1));
    let delete = async |path: &str, headers: &[(&str, &str)]| {
        server.send(Method::DELETE, &server.api_url(path), headers, "").await
    };
    let refused = delete(&cached, &[("origin", "https://evil.example")]).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    for dropped in [1, 0] {
        let answer = delete(&cached, &[]).await;
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(answer["dropped"], dropped);
    }
    // Pages and blocks of the directory are kept when they are asked for again, small dictionaries at once.
    let again = explained(&path, StatusCode::OK).await;
    let explain = &again["explain"];
    assert_counts(explain, &[("pages", pages), ("pages_cached", dictionaries), ("range_reads", 2)]);
    assert_eq!(delete(&cached, &[]).await.status, StatusCode::OK);
    let third = explained(&path, StatusCode::OK).await;
    let explain = &third["explain"];
    assert_eq!(explain["trace_cache_hit"], false);
    assert_counts(explain, &looked_into);
    let from_memory = [
        ("filters_read", 0),
        ("segments_opened", 0),
        ("directory_blocks_cached", 1),
        ("pages", pages),
        ("pages_cached", pages),
        ("dictionaries", dictionaries),
        ("dictionaries_cached", dictionaries),
        ("range_reads", 0),
        ("bytes_read", 0),
    ];
    assert_counts(explain, &from_memory);
    assert_times(explain);
    assert_eq!(third["trace"], first["trace"]);
    assert_eq!(delete("/api/v1/cache/traces", &[]).await.status, StatusCode::OK);
    assert_eq!(explained(&path, StatusCode::OK).await["explain"]["trace_cache_hit"], false);
    let refused = server.get("/api/v1/cache/traces").await;
    assert_eq!(
        (refused.status, &refused.headers["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"DELETE".parse().expect("a value"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_traces_come_a_line_each_and_what_is_wrong_is_refused_before() {
    let server = TestServer::start_with(|settings| {
        settings.batch_traces_max = 50;
        settings.trace_spans_max = 3;
    })
    .await;
    for trace in 1..=30 {
        server.post_protobuf(request(vec![span(trace, 10 * trace), span(trace, 10 * trace + 1)])).await;
    }
    server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
    server.post_protobuf(request((0..5).map(|n| span(31, 400 + n)).collect())).await;
    let post = async |body: String| {
        server.send(Method::POST, &server.api_url("/api/v1/traces/batch"), &[], body).await
    };
    let asked =
        |ids: &[String]| serde_json::json!({"trace_ids": ids, "start": "2026-01-02T03:04:05Z"}).to_string();
    // Twice the same, one in capitals, one that is unknown, one that is too large.
    let mut ids: Vec<String> = (1..=32).map(trace_id).collect();
    ids.push(trace_id(1).to_uppercase());
    let answer = post(asked(&ids)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let text = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let (last, lines) = lines.split_last().expect("lines");
    assert_eq!(last["partial"]["traces"], 1, "{last}");
    assert_eq!(lines.len(), 32);
    for line in lines {
        let id = line["trace_id"].as_str().expect("an ID");
        let spans = line["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().map(Vec::len);
        let expected = match id {
            _ if id == trace_id(32) => (false, None, "null"),
            _ if id == trace_id(31) => (true, Some(3), "partial"),
            _ => (true, Some(2), "null"),
        };
        let error = line["error"]["kind"].as_str().unwrap_or("null");
        assert_eq!((line["found"].as_bool().expect("a truth"), spans, error), expected, "{line}");
    }

    for (body, status, kind) in [
        (String::new(), StatusCode::BAD_REQUEST, "invalid"),
        ("{}".to_owned(), StatusCode::BAD_REQUEST, "invalid"),
        (r#"{"trace_ids":["xyz"]}"#.to_owned(), StatusCode::BAD_REQUEST, "invalid"),
        (r#"{"trace_ids":[],"limit":1}"#.to_owned(), StatusCode::BAD_REQUEST, "invalid"),
        (r#"{"trace_ids":[],"start":"then"}"#.to_owned(), StatusCode::BAD_REQUEST, "invalid"),
        (asked(&vec![trace_id(1); 51]), StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        // Small enough that it is sent before the answer comes.
        ("x".repeat(8_000), StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
    ] {
        let answer = post(body.clone()).await;
        assert_eq!((answer.status, error_kind(&answer.body).as_str()), (status, kind), "{body:.80}");
    }
    let answer = post(r#"{"trace_ids":[]}"#.to_owned()).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    assert_eq!(server.get("/api/v1/traces/batch").await.headers["allow"], "POST");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_client_hangs_up_is_read_no_further() {
    const TRACES: u64 = 400;
    let server = TestServer::start().await;
    for trace in 1..=TRACES {
        let mut large = span(trace, trace);
        // More of all of them than sockets keep on the way.
        large.attributes.push(attribute("text", AnyValue::StringValue("text ".repeat(20_000))));
        server.post_protobuf(request(vec![large])).await;
    }
    server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
    let body = serde_json::json!({"trace_ids": (1..=TRACES).map(trace_id).collect::<Vec<_>>()}).to_string();
    let head = format!(
        "POST /api/v1/traces/batch HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(server.addresses.api).await.expect("connected");
    socket.write_all(head.as_bytes()).await.expect("sent");
    let mut begin = [0; 1_000];
    socket.read_exact(&mut begin).await.expect("an answer");
    assert!(begin.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&begin));
    drop(socket);
    let decoded = async || {
        let status: Value = serde_json::from_slice(&server.get("/api/v1/status").await.body).expect("JSON");
        status["store"]["reads"]["rows_decoded"].as_u64().expect("a number")
    };
    let mut before = decoded().await;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = decoded().await;
        if now == before {
            break;
        }
        before = now;
    }
    assert!((1..TRACES).contains(&before), "{before} of {TRACES} traces were read");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_merged_when_that_is_asked_for_and_not_by_a_web_page() {
    let server = TestServer::start_with(|settings| settings.generation_age_seconds_max = 1).await;
    for n in 1..=2 {
        server.post_protobuf(request(vec![span(1, n)])).await;
        server.metric_becomes("tracelake_store_segments", |segments| segments == n as f64).await;
    }
    let url = server.api_url("/api/v1/compact");
    let refused = server.send(Method::POST, &url, &[("origin", "https://evil.example")], "").await;
    assert_eq!((refused.status, error_kind(&refused.body).as_str()), (StatusCode::FORBIDDEN, "forbidden"));
    let refused = server.get("/api/v1/compact").await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers["allow"], "POST");
    assert_eq!(server.metric("tracelake_store_segments").await, 2.0);

    let answer = server.send(Method::POST, &url, &[], "").await;
    assert_eq!(answer.status, StatusCode::OK);
    let status: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(
        (&status["merges"], &status["rows"], &status["waiting_segments"]),
        (&1.into(), &2.into(), &0.into())
    );
    assert_eq!(server.metric("tracelake_store_segments").await, 1.0);
    assert_eq!(server.metric("tracelake_store_compaction_replaced_files").await, 2.0);
    assert_eq!(server.trace(&trace_id(1)).await.map(|spans| spans.len()), Some(2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_paths_are_refused_in_json() {
    let server = TestServer::start().await;
    server.post_protobuf(request(vec![span(1, 1)])).await;
    let trace = format!("/api/v1/traces/{}", trace_id(1));
    for path in [trace.as_str(), "/livez", "/readyz", "/metrics", "/api/v1/status"] {
        let head = server.send(Method::HEAD, &server.api_url(path), &[], "").await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0), "{path}");
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let answer = server.send(method.clone(), &server.api_url(path), &[], "x").await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.headers["allow"], "GET, HEAD", "{method} {path}");
            assert_eq!(error_kind(&answer.body), "invalid");
            assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        }
    }
    for path in
        ["/", "/api", "/api/v1/traces", "/api/v1/traces/", "/api/v1/traces/1/2", "/v1/traces", "/livez/"]
    {
        let answer = server.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(error_kind(&answer.body), "unknown_path", "not the word for a trace that is not there");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_status_tell_how_it_is() {
    let server = TestServer::start_with(|settings| settings.trace_spans_max = 1_234).await;
    server.post_protobuf(request(vec![span(1, 1), span(1, 2)])).await;
    server.export(&[], &request(vec![span(1, 3)])).await;
    server.get(&format!("/api/v1/traces/{}", trace_id(1))).await;
    server.get(&format!("/api/v1/traces/{}", trace_id(2))).await;

    for path in ["/livez", "/readyz"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"ok\n"[..]));
    }
    let verbose: Value = serde_json::from_slice(&server.get("/readyz?verbose").await.body).expect("JSON");
    assert_eq!(verbose["ready"], true);

    assert!(
        server.get("/metrics").await.headers["content-type"]
            .to_str()
            .expect("text")
            .starts_with("text/plain")
    );
    for (line, expected) in [
        ("tracelake_ingest_requests_total{protocol=\"http_protobuf\",outcome=\"ok\"}", 1.0),
        ("tracelake_ingest_requests_total{protocol=\"grpc\",outcome=\"ok\"}", 1.0),
        ("tracelake_ingest_requests_total{protocol=\"http_json\",outcome=\"ok\"}", 0.0),
        ("tracelake_ingest_spans_accepted_total", 3.0),
        ("tracelake_ingest_ack_seconds_count{protocol=\"grpc\"}", 1.0),
        ("tracelake_lookups_total{outcome=\"found\"}", 1.0),
        ("tracelake_lookups_total{outcome=\"not_found\"}", 1.0),
        ("tracelake_lookup_seconds_count", 2.0),
        ("tracelake_ready", 1.0),
    ] {
        assert_eq!(server.metric(line).await, expected, "{line}");
    }

    let status: Value = serde_json::from_slice(&server.get("/api/v1/status").await.body).expect("JSON");
    assert_eq!(status["durability"], "fsync");
    assert_eq!(status["ready"], true);
    assert_eq!(status["settings"]["trace_spans_max"]["value"], "1234");
    assert!(status["store"].is_object(), "{status}");
    assert_eq!(server.get("/api/v1/status?x=1").await.status, StatusCode::BAD_REQUEST);
    server.stop().await;
}
