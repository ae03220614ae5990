//! The API for those who run a server: retention, flushes, segments and partitions, and what it tells when merges
//! stay behind.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{TestServer, request, span, trace_id};

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_the_store_is_not_for_web_pages_and_not_a_get() {
    let server = TestServer::start().await;
    for path in ["/api/v1/retention", "/api/v1/retention?dry_run=true", "/api/v1/flush"] {
        let url = server.api_url(path);
        let refused = server.send(Method::POST, &url, &[("origin", "https://evil.example")], "").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(json(&refused.body)["error"]["kind"], "forbidden");
        let refused = server.get(path).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(refused.headers["allow"], "POST");
        let answer = server.send(Method::POST, &url, &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.body);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_refused() {
    let server = TestServer::start().await;
    for (method, path) in [
        (Method::POST, "/api/v1/retention?dry_run=yes"),
        (Method::POST, "/api/v1/retention?dryrun=true"),
        (Method::POST, "/api/v1/flush?now=true"),
        (Method::GET, "/api/v1/segments?limit=0"),
        (Method::GET, "/api/v1/segments?limit=1001"),
        (Method::GET, "/api/v1/segments?all=1"),
        (Method::GET, "/api/v1/partitions?limit=1"),
    ] {
        let answer = server.send(method, &server.api_url(path), &[], "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(json(&answer.body)["error"]["kind"], "invalid", "{path}");
    }
    let answer = server.get_with("/api/v1/segments", &[("x-scope-orgid", "a/b")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_is_told_first_and_then_done() {
    // The spans of the tests are of years ago.
    let server = TestServer::start_with(|settings| settings.retention_age_seconds_max = 86_400).await;
    server.post_protobuf(request(vec![span(1, 1), span(1, 2)])).await;
    let flushed = server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
    let flushed = json(&flushed.body);
    assert!(flushed["manifest_version"].as_u64() > Some(0) && flushed["writer"].is_string(), "{flushed}");
    let url = server.api_url("/api/v1/retention");
    let tried = json(&server.send(Method::POST, &format!("{url}?dry_run=true"), &[], "").await.body);
    let done = json(&server.send(Method::POST, &url, &[], "").await.body);
    // The server may have looked by itself just now.
    if done["spans_removed"] == 2 {
        assert_eq!((&tried["dry_run"], &tried["segments"]), (&true.into(), &done["segments"]));
        assert_eq!(done["segments"][0]["parts"][0]["because"]["age_seconds_max"], 86_400);
        assert_eq!(done["segments"][0]["parts"][0]["tenant"], "default");
    }
    assert_eq!(server.metric("tracelake_store_retention_spans_removed").await, 2.0);
    assert_eq!(server.metric("tracelake_store_retention_segments_removed").await, 1.0);
    assert_eq!(server.metric("tracelake_store_segments").await, 0.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_listed_in_pages_and_for_each_tenant_its_own() {
    let server = TestServer::start().await;
    for n in 1..=3 {
        server.post_protobuf(request(vec![span(1, n)])).await;
        let flushed = server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
        assert_eq!(flushed.status, StatusCode::OK);
    }
    let first = json(&server.get("/api/v1/segments?limit=2").await.body);
    assert_eq!(first["segments"].as_array().map(Vec::len), Some(2), "{first}");
    let next = first["next"].as_str().expect("there is more");
    let second = json(&server.get(&format!("/api/v1/segments?limit=2&after={next}")).await.body);
    assert_eq!((second["segments"].as_array().map(Vec::len), &second["next"]), (Some(1), &Value::Null));
    assert_eq!(second["segments"][0]["tenants"][0], "default");
    let partitions = json(&server.get("/api/v1/partitions").await.body);
    assert_eq!(partitions["partitions"].as_array().map(Vec::len), Some(1), "{partitions}");
    assert_eq!(partitions["partitions"][0]["segments"], 3);

    for path in ["/api/v1/segments", "/api/v1/partitions"] {
        let other = json(&server.get_with(path, &[("x-scope-orgid", "blue")]).await.body);
        let list = other.get("segments").or_else(|| other.get("partitions"));
        assert_eq!(list.and_then(Value::as_array).map(Vec::len), Some(0), "{path}");
    }
    let all = json(&server.get_with("/api/v1/segments?all=true", &[("x-scope-orgid", "blue")]).await.body);
    assert_eq!(all["segments"].as_array().map(Vec::len), Some(3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_too_many_segments_wait_to_be_merged_spans_are_turned_down_and_it_is_told() {
    let server = TestServer::start().await;
    for n in 1..=4 {
        server.post_protobuf(request(vec![span(1, n)])).await;
        let flushed = server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
        assert_eq!(flushed.status, StatusCode::OK);
    }
    let (_, folder) = server.stop().await;
    // A link is not followed, and what is neither damaged nor gone is not left out: every merge fails.
    let segments = folder.path().join("data/store/segments");
    let mut entries = std::fs::read_dir(segments).expect("a folder");
    let segment = entries.next().expect("a segment").expect("an entry").path();
    let aside = folder.path().join("aside");
    std::fs::rename(&segment, &aside).expect("renamed");
    std::os::unix::fs::symlink(&aside, &segment).expect("a link");
    let server = TestServer::start_in(folder, |settings| {
        settings.flushed_segments_max = 2;
        settings.flushed_segments_waiting_max = 4;
    })
    .await;

    let body = request(vec![span(1, 5)]);
    let (over_http, over_grpc) = tokio::join!(server.post_protobuf(body.clone()), server.export(&[], &body));
    assert_eq!(over_http.status, StatusCode::SERVICE_UNAVAILABLE, "{over_http:?}");
    assert_eq!(over_http.headers["retry-after"], "30");
    let said = String::from_utf8_lossy(&over_http.body);
    assert!(said.contains("4 segments wait to be merged"), "{said}");
    // UNAVAILABLE, with RetryInfo.
    assert_eq!((over_grpc.code, over_grpc.details.is_some()), (14, true), "{over_grpc:?}");
    let status = json(&server.get("/api/v1/status").await.body);
    let compaction = &status["store"]["compaction"];
    assert_eq!(compaction["waiting_segments"], 4, "{compaction}");
    for name in ["waiting_segments", "waiting_bytes"] {
        let metric = server.metric(&format!("tracelake_store_compaction_{name}")).await;
        assert_eq!(Some(metric), compaction[name].as_f64(), "{name}");
    }

    // In one step: what is gone is left out of merges.
    std::fs::rename(&aside, &segment).expect("renamed");
    let compacted = server.send(Method::POST, &server.api_url("/api/v1/compact"), &[], "").await;
    assert_eq!(compacted.status, StatusCode::OK, "{compacted:?}");
    assert_eq!(json(&compacted.body)["waiting_segments"], 0);
    assert_eq!(server.post_protobuf(body).await.status, StatusCode::OK);
    assert_eq!(server.trace(&trace_id(1)).await.map(|spans| spans.len()), Some(5));
    assert_eq!(server.metric("tracelake_store_compaction_waiting_segments").await, 0.0);
    server.stop().await;
}
