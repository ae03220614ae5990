//! Lists of services, operations, attributes and values over HTTP, and what is refused.

use http::{Method, StatusCode};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::{Value, json};

use crate::harness::{INSTANT, TestServer, attribute, request, span};

/// Ten traces of two spans a second apart, some in a segment and some in memory.
async fn server_with_spans() -> TestServer {
    let server = TestServer::start().await;
    for from in [1, 6] {
        let mut spans = Vec::new();
        for n in from..from + 5 {
            let start = INSTANT + n * 1_000_000_000;
            let root = Span {
                name: "GET /cart".to_owned(),
                start_time_unix_nano: start,
                end_time_unix_nano: start + 1_000_000,
                attributes: vec![
                    attribute("code", AnyValue::IntValue(200 + n as i64 % 2)),
                    attribute("a/b ü", AnyValue::BoolValue(n % 2 == 0)),
                    attribute("odd", AnyValue::DoubleValue(if n == 10 { f64::INFINITY } else { 0.5 })),
                ],
                ..span(n, n)
            };
            spans.push(Span {
                name: "charge".to_owned(),
                kind: 3,
                parent_span_id: root.span_id.clone(),
                status: Some(Status { code: 2, ..Status::default() }),
                attributes: vec![attribute("code", AnyValue::StringValue("2x".to_owned()))],
                ..Span { span_id: (100 + n).to_be_bytes().to_vec(), ..root.clone() }
            });
            spans.push(root);
        }
        server.post_protobuf(request(spans)).await;
        if from == 1 {
            server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
        }
    }
    server
}

async fn listed(server: &TestServer, path: &str) -> Value {
    let answer = server.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/json");
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(answer["partial"], Value::Null, "{answer}");
    assert!(answer["complete_up_to"].as_str().is_some_and(|time| time.ends_with('Z')), "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_what_was_sent() {
    let server = server_with_spans().await;
    let second = INSTANT / 1_000_000_000;
    for (path, name, expected) in [
        ("services".to_owned(), "services", json!([{"service": "shop", "traces": 10}])),
        (
            "operations?service=shop".to_owned(),
            "operations",
            json!([{"operation": "GET /cart", "traces": 10}, {"operation": "charge", "traces": 10}]),
        ),
        ("operations?service=none".to_owned(), "operations", json!([])),
        ("operations?prefix=ch".to_owned(), "operations", json!([{"operation": "charge", "traces": 10}])),
        (
            format!("operations?limit=1&start={}&end={}", second + 2, second + 4),
            "operations",
            json!([{"operation": "GET /cart", "traces": 2}]),
        ),
        (
            "attributes".to_owned(),
            "attributes",
            json!([
                {"scope": "span", "key": "a/b ü", "types": ["bool"], "traces": 10},
                {"scope": "span", "key": "code", "types": ["string", "number"], "traces": 10},
                {"scope": "span", "key": "odd", "types": ["number"], "traces": 10},
                {"scope": "resource", "key": "service.name", "types": ["string"], "traces": 10},
            ]),
        ),
        (
            "attributes?scope=resource&prefix=service".to_owned(),
            "attributes",
            json!([{"scope": "resource", "key": "service.name", "types": ["string"], "traces": 10}]),
        ),
        (
            "attributes/code/values".to_owned(),
            "values",
            json!([
                {"value": "2x", "type": "string", "traces": 10},
                {"value": 200, "type": "number", "traces": 5},
                {"value": 201, "type": "number", "traces": 5},
            ]),
        ),
        (
            "attributes/a%2Fb%20%C3%BC/values?scope=span".to_owned(),
            "values",
            json!([
                {"value": false, "type": "bool", "traces": 5},
                {"value": true, "type": "bool", "traces": 5},
            ]),
        ),
        (
            "attributes/odd/values".to_owned(),
            "values",
            json!([
                {"value": 0.5, "type": "number", "traces": 9},
                {"value": "Infinity", "type": "number", "traces": 1},
            ]),
        ),
        (
            "attributes/kind/values?scope=intrinsic".to_owned(),
            "values",
            json!([
                {"value": "client", "type": "string", "traces": 10},
                {"value": "server", "type": "string", "traces": 10},
            ]),
        ),
        (
            "attributes/status/values?scope=intrinsic&q=%7B%20kind%20=%20client%20%7D".to_owned(),
            "values",
            json!([{"value": "error", "type": "string", "traces": 10}]),
        ),
        (
            "attributes/code/values?q=%7B%20status%20=%20error%20%7D".to_owned(),
            "values",
            json!([{"value": "2x", "type": "string", "traces": 10}]),
        ),
        ("attributes/nosuch/values".to_owned(), "values", json!([])),
    ] {
        let answer = listed(&server, &format!("/api/v1/{path}")).await;
        assert_eq!(answer[name], expected, "{path}");
        assert_eq!(answer["more"], path.contains("limit=1"), "{path}");
        assert_eq!(answer["unlisted_values"], 0, "{path}");
    }
    assert_eq!(server.metric("tracelake_listings_total{outcome=\"complete\"}").await, 14.0);
    let other = server.get_with("/api/v1/services", &[("x-scope-orgid", "other")]).await;
    assert_eq!(other.status, StatusCode::OK, "{:?}", other.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_listed_is_refused_by_name() {
    let server = server_with_spans().await;
    for (path, word) in [
        ("services?service=a", "'service'"),
        ("services?limit=0", "'limit'"),
        ("services?limit=10001", "values_listed_max"),
        ("services?limit=all", "'limit'"),
        ("services?start=yesterday", "'start'"),
        ("services?start=2&end=1", "'end'"),
        ("operations?scope=span", "'scope'"),
        ("attributes?scope=trace", "'scope'"),
        ("attributes?scope=intrinsic", "intrinsics"),
        ("attributes?q=%7B%7D", "'q'"),
        ("attributes/duration/values?scope=intrinsic", "name, kind or status"),
        ("attributes/a/values?q=%7Bnam%7D", "^^^"),
        ("attributes/a/values?q=%7B%20rootName%20=%20%22a%22%20%7D", "rootName"),
        ("attributes/a/values?q=%7B%7D%20%26%26%20%7B%7D", "one condition"),
        ("attributes/%FF/values", "UTF-8"),
        ("attributes/a/values?service=a", "'service'"),
    ] {
        let answer = server.get(&format!("/api/v1/{path}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {:?}", answer.body);
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains(word), "{path}: {message}");
    }
    assert_eq!(server.metric("tracelake_listings_total{outcome=\"invalid\"}").await, 16.0);
    server.stop().await;
}
