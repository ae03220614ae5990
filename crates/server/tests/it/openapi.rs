//! The document of the API against the server: what is described answers, and nothing else does.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{TestServer, request, span, trace_id};

async fn server_and_document() -> (TestServer, Value) {
    let server = TestServer::start().await;
    server.post_protobuf(request(vec![span(1, 1)])).await;
    let answer = server.get("/api/v1/openapi.json").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    let document: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    (server, document)
}

/// Each path, filled in, with what is said of its methods.
fn paths(document: &Value) -> Vec<(String, Vec<(Method, &Value)>)> {
    let method = |name: &str| -> Method { name.to_uppercase().parse().expect("a method") };
    let paths = document["paths"].as_object().expect("paths").iter();
    let paths = paths.map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").iter();
        (filled_in(path), methods.map(|(name, operation)| (method(name), operation)).collect())
    });
    paths.collect()
}

fn filled_in(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{trace_id}" => trace_id(1),
        _ if part.starts_with('{') => "x".to_owned(),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_answers_as_described() {
    let (server, document) = server_and_document().await;
    let mut answered = 0;
    for (path, methods) in paths(&document) {
        for (method, operation) in methods {
            let answer = server.send(method.clone(), &server.api_url(&path), &[], "").await;
            let described = &operation["responses"][answer.status.as_str()];
            assert!(described.is_object(), "{method} {path}: {answer:?}");
            // 404 is said of traces, too.
            let error = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
            assert_ne!(error["error"]["kind"], "unknown_path", "{method} {path}");
            let media_type = answer.headers["content-type"].to_str().expect("text").split(';').next();
            assert!(
                described["content"].get(media_type.expect("one")).is_some(),
                "{method} {path}: {answer:?}"
            );
            answered += 1;
        }
    }
    assert!(answered >= 17, "{answered} operations are described");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_described_is_refused() {
    let (server, document) = server_and_document().await;
    for (path, methods) in paths(&document) {
        let mut described: BTreeSet<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
        if described.contains("GET") {
            described.insert("HEAD");
        }
        for name in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if described.contains(name) {
                continue;
            }
            let method: Method = name.parse().expect("a method");
            let answer = server.send(method, &server.api_url(&path), &[], "").await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{name} {path}");
            let allowed: BTreeSet<&str> =
                answer.headers["allow"].to_str().expect("text").split(", ").collect();
            assert_eq!(allowed, described, "{name} {path}");
        }
        for (method, operation) in methods {
            let url = server.api_url(&format!("{path}?nosuch=1"));
            let answer = server.send(method.clone(), &url, &[], "").await;
            if operation["responses"].get("400").is_none() {
                assert_eq!(answer.status, StatusCode::OK, "{method} {path} does not look at its address");
                continue;
            }
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{method} {path}");
            let error: Value = serde_json::from_slice(&answer.body).expect("JSON");
            let message = error["error"]["message"].as_str().expect("a message");
            let (_, known) = message.split_once("; there are ").expect(message);
            let known: BTreeSet<&str> = known.split(", ").filter(|name| *name != "none here").collect();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let in_query = parameters.filter(|parameter| parameter["in"] == "query");
            let described: BTreeSet<&str> =
                in_query.map(|parameter| parameter["name"].as_str().expect("a name")).collect();
            assert_eq!(known, described, "{method} {path}");
        }
    }
    server.stop().await;
}
