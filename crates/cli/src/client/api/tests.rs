use super::super::tests::{ScriptedServer, answer};
use super::*;
use tracelake::ErrorKind;

const JSON: (&str, &str) = ("content-type", "application/json");

fn id() -> TraceId {
    "a1".parse().expect("a trace ID")
}

#[tokio::test]
async fn a_trace_is_asked_for_and_given_back_as_it_is() {
    let server =
        ScriptedServer::start(vec![answer(200, &[JSON], b"{}"), answer(206, &[JSON], b"{}")], false).await;
    let client = ApiClient::new(&server.url(), Some("acme".parse().expect("a tenant"))).expect("an address");
    let hint = (Some("2024-11-22T15:04:05+01:00"), Some("7"));
    let whole = client.trace(id(), TraceFormat::Json, hint).await.expect("an answer").expect("a trace");
    assert_eq!((&whole.body[..], whole.partial), (&b"{}"[..], false));
    let partial = client.trace(id(), TraceFormat::Protobuf, (None, None)).await.expect("an answer");
    assert!(partial.expect("a trace").partial);

    let arrived = server.arrived();
    assert_eq!(
        arrived[0].uri.to_string(),
        "/api/v1/traces/000000000000000000000000000000a1?start=2024-11-22T15%3A04%3A05%2B01%3A00&end=7"
    );
    assert_eq!(arrived[0].headers["accept"], "application/json");
    assert_eq!(arrived[0].headers["x-scope-orgid"], "acme");
    assert_eq!(arrived[1].headers["accept"], "application/x-protobuf");
    assert_eq!(arrived[1].connection, 0);
}

#[tokio::test]
async fn only_the_apis_own_404_means_that_there_is_no_such_trace() {
    let not_found = br#"{"error":{"kind":"not_found","message":"no trace a1"}}"#;
    let unknown_path = br#"{"error":{"kind":"unknown_path","message":"there is nothing here"}}"#;
    let script = vec![
        answer(404, &[JSON], not_found),
        answer(404, &[], b"nothing here"),
        answer(404, &[JSON], unknown_path),
    ];
    let server = ScriptedServer::start(script, false).await;
    let client = ApiClient::new(&server.url(), None).expect("an address");
    assert!(client.trace(id(), TraceFormat::Json, (None, None)).await.expect("an answer").is_none());
    for _ in 0..2 {
        let error = client.trace(id(), TraceFormat::Json, (None, None)).await.expect_err("a wrong address");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn an_error_carries_the_servers_words() {
    let body = br#"{"error":{"kind":"throttled","message":"too many lookups"}}"#;
    let server = ScriptedServer::start(vec![answer(429, &[JSON], body)], false).await;
    let client = ApiClient::new(&server.url(), None).expect("an address");
    let error = client.trace(id(), TraceFormat::Json, (None, None)).await.expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert!(error.to_string().ends_with("429 Too Many Requests: too many lookups"), "{error}");
}
