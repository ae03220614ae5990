//! Searching over HTTP: every form of asking, pages, what is selected, lines, and what is refused.

use std::time::SystemTime;

use http::{Method, StatusCode};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::{Value, json};

use crate::harness::{Answer, INSTANT, TestServer, attribute, nested, request, span, trace_id};

const TRACES: u64 = 30;

/// Traces a second apart, each longer than the one before; every tenth has a second span, which failed.
async fn server_with_traces() -> TestServer {
    let server = TestServer::start().await;
    let mut spans = Vec::new();
    for n in 1..=TRACES {
        let start = INSTANT + n * 1_000_000_000;
        let root = Span {
            start_time_unix_nano: start,
            end_time_unix_nano: start + n * 1_000_000,
            attributes: vec![attribute("code", AnyValue::IntValue(200 + n as i64))],
            ..span(n, n)
        };
        if n % 10 == 0 {
            spans.push(Span {
                name: "charge".to_owned(),
                kind: 3,
                parent_span_id: root.span_id.clone(),
                end_time_unix_nano: start + 2_000_000,
                status: Some(Status { message: "no money".to_owned(), code: 2 }),
                ..Span { span_id: (100 + n).to_be_bytes().to_vec(), ..root.clone() }
            });
        }
        spans.push(root);
    }
    // In a segment and in memory.
    let later = spans.split_off(spans.len() / 2);
    server.post_protobuf(request(spans)).await;
    server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
    server.post_protobuf(request(later)).await;
    server
}

async fn post(server: &TestServer, accept: &str, body: &Value) -> Answer {
    let url = server.api_url("/api/v1/search");
    server.send(Method::POST, &url, &[("accept", accept)], body.to_string()).await
}

async fn found(server: &TestServer, body: Value) -> Value {
    let answer = post(server, "application/json", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{body}: {:?}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/json");
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// The last numbers of its traces' IDs.
fn numbers(answer: &Value) -> Vec<u64> {
    let traces = answer["traces"].as_array().expect("traces").iter();
    traces.map(number).collect()
}

fn number(trace: &Value) -> u64 {
    let id = trace["trace_id"].as_str().expect("an ID");
    (1..=1_000).find(|n| trace_id(*n) == id).expect("one that was sent")
}

fn message(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["error"]["kind"], "invalid", "{body}");
    body["error"]["message"].as_str().expect("a message").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_asking_finds_the_same() {
    let server = server_with_traces().await;
    let q = "{ name = \"charge\" && status = error }";
    let tree = json!({"and": [{"field": "name", "op": "=", "value": "charge"},
                              {"field": "status", "op": "=", "value": "error"}]});
    let first = found(&server, json!({"q": q})).await;
    assert_eq!(numbers(&first), [30, 20, 10]);
    assert_eq!(numbers(&found(&server, json!({"where": tree})).await), [30, 20, 10]);
    for query in [
        "q=%7B%20name%20%3D%20%22charge%22%20%26%26%20status%20%3D%20error%20%7D",
        "operation=charge&status=error",
        "service=shop&operation=charge&min_duration=1ms&max_duration=1s",
        "service=shop&operation=charge&start=2023-11-14T22:13:20Z&end=1800000000",
    ] {
        let answer = server.get(&format!("/api/v1/search?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {:?}", answer.body);
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(numbers(&answer), [30, 20, 10], "{query}");
    }
    let answer = server.get("/api/v1/search?attr=code=207").await;
    assert_eq!(numbers(&serde_json::from_slice(&answer.body).expect("JSON")), [7]);

    let trace = &first["traces"][2];
    let start = INSTANT + 10_000_000_000;
    for (name, expected) in [
        ("root_service", json!("shop")),
        ("root_name", json!("span 10")),
        ("start_time", json!("2023-11-14T22:13:30.000000000Z")),
        ("start_time_unix_nano", json!(start.to_string())),
        ("duration_nano", json!(10_000_000)),
        ("span_count", json!(2)),
        ("error_count", json!(1)),
        ("services", json!(["shop"])),
        ("service_count", json!(1)),
        ("matched", json!(1)),
    ] {
        assert_eq!(trace[name], expected, "{name} in {trace}");
    }
    let expected = json!({
        "span_id": format!("{:016x}", 110), "name": "charge", "service": "shop",
        "start_time_unix_nano": start.to_string(), "duration_nano": 2_000_000,
        "status": "error", "kind": "client", "attributes": {},
    });
    assert_eq!(trace["spans"], json!([expected]));
    assert_eq!((&first["next_cursor"], &first["partial"]), (&Value::Null, &Value::Null));
    assert!(first["complete_up_to"].as_str().is_some_and(|time| time.ends_with('Z')), "{first}");
    assert!(first["stats"]["traces_read"].is_u64() && first.get("total_count").is_none(), "{first}");
    assert_eq!(server.metric("tracelake_searches_total{outcome=\"complete\"}").await, 7.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_changes_which_traces_come_and_in_what_order() {
    let server = server_with_traces().await;
    let errors = "{ status = error }";
    let two = "{ name = \"charge\" && name = \"span 30\" }";
    let seconds = INSTANT / 1_000_000_000;
    for (body, expected) in [
        (json!({"q": errors, "order": "oldest"}), vec![10, 20, 30]),
        (json!({"q": errors, "order": "longest"}), vec![30, 20, 10]),
        (json!({"q": errors, "limit": 2}), vec![30, 20]),
        (json!({"q": two}), vec![]),
        (json!({"q": two, "match": "trace"}), vec![30]),
        (json!({"start": seconds + 3, "end": seconds + 5}), vec![4, 3]),
        (json!({"start": (seconds + 3).to_string(), "end": "2023-11-14T22:13:24Z"}), vec![3]),
    ] {
        assert_eq!(numbers(&found(&server, body.clone()).await), expected, "{body}");
    }
    assert_eq!(numbers(&found(&server, json!({})).await).len(), 20);
    let no_spans = found(&server, json!({"q": errors, "spans_per_trace": 0})).await;
    assert_eq!((&no_spans["traces"][0]["matched"], &no_spans["traces"][0]["spans"]), (&json!(1), &json!([])));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_to_the_end() {
    let server = server_with_traces().await;
    let mut body = json!({"q": "{ }", "limit": 7});
    let mut all = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let page = found(&server, body.clone()).await;
        let numbers = numbers(&page);
        sizes.push(numbers.len());
        all.extend(numbers);
        if page["next_cursor"].is_null() {
            break;
        }
        body["cursor"] = page["next_cursor"].clone();
    }
    assert_eq!(all, (1..=TRACES).rev().collect::<Vec<_>>());
    assert_eq!(sizes, [7, 7, 7, 7, 2]);

    // A cursor is good for its search alone.
    body["q"] = json!("{ status = error }");
    let answer = post(&server, "application/json", &body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(message(&answer).contains("another search"), "{}", message(&answer));
    let cursor = body["cursor"].as_str().expect("a cursor");
    let answer = server.get(&format!("/api/v1/search?limit=9&cursor={cursor}")).await;
    assert_eq!(numbers(&serde_json::from_slice(&answer.body).expect("JSON")), [2, 1]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_by_its_number_comes_with_the_count_of_all() {
    let server = server_with_traces().await;
    for (page, expected) in [(1, (19..=30).rev().collect()), (3, (1..=6).rev().collect()), (4, vec![])] {
        let body = json!({"page": page, "page_size": 12, "count": "exact", "histogram": 3});
        let answer = found(&server, body).await;
        let expected: Vec<u64> = expected;
        assert_eq!(numbers(&answer), expected, "{page}");
        assert_eq!(answer["total_count"], TRACES, "{answer}");
        let counts = answer["histogram"]["counts"].as_array().expect("counts");
        let counts: Vec<u64> = counts.iter().filter_map(Value::as_u64).collect();
        assert_eq!((counts.len(), counts.iter().sum::<u64>()), (3, TRACES), "{answer}");
        assert!(answer["histogram"]["width_nano"].is_u64(), "{answer}");
        assert_eq!(answer["next_cursor"].is_null(), page > 1, "{answer}");
    }
    let counted = found(&server, json!({"q": "{ status = error }", "limit": 1, "count": "exact"})).await;
    assert_eq!((numbers(&counted), &counted["total_count"]), (vec![30], &json!(3)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selected_attributes_keep_their_types() {
    let server = TestServer::start().await;
    let typed = Span {
        attributes: vec![
            attribute("text", AnyValue::StringValue("a \"b\"".to_owned())),
            attribute("int", AnyValue::IntValue(500)),
            attribute("large", AnyValue::IntValue((1 << 53) + 1)),
            attribute("double", AnyValue::DoubleValue(2.5)),
            attribute("bool", AnyValue::BoolValue(true)),
            attribute("list", nested(1)),
            attribute("other", AnyValue::BoolValue(false)),
        ],
        status: Some(Status { message: "why".to_owned(), code: 2 }),
        ..span(1, 1)
    };
    server.post_protobuf(request(vec![typed])).await;
    let expected = json!({
        "span.text": "a \"b\"", ".int": 500, "span.large": "9007199254740993", "span.double": 2.5,
        ".bool": true, "span.list": {"arrayValue": {"values": [{"intValue": "1"}]}},
        "resource.service.name": "shop", "statusMessage": "why",
    });
    let mut select: Vec<&str> = expected.as_object().expect("an object").keys().map(String::as_str).collect();
    select.push("span.absent");
    for flushed in [false, true] {
        if flushed {
            server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
        }
        let answer = found(&server, json!({"select": select})).await;
        assert_eq!(answer["traces"][0]["spans"][0]["attributes"], expected, "{answer}");
        let query = format!("/api/v1/search?select={}", select.join(","));
        let answer: Value = serde_json::from_slice(&server.get(&query).await.body).expect("JSON");
        assert_eq!(answer["traces"][0]["spans"][0]["attributes"], expected, "{answer}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_come_as_they_are_found_and_end_with_what_there_is_to_say() {
    let server = server_with_traces().await;
    let lines = async |body: Value| {
        let answer = post(&server, "application/x-ndjson", &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/x-ndjson");
        let text = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect::<Vec<Value>>()
    };
    // All there are, of whatever number.
    let all = lines(json!({"order": "oldest", "count": "exact"})).await;
    let (end, traces) = all.split_last().expect("an end");
    assert_eq!(traces.iter().map(number).collect::<Vec<_>>(), (1..=TRACES).collect::<Vec<_>>());
    assert_eq!(
        (&end["end"]["next_cursor"], &end["end"]["partial"], &end["end"]["total_count"]),
        (&Value::Null, &Value::Null, &json!(TRACES))
    );
    assert!(end["end"]["stats"].is_object() && end["end"]["complete_up_to"].is_string(), "{end}");

    let some = lines(json!({"limit": 5})).await;
    let (end, traces) = some.split_last().expect("an end");
    assert_eq!(traces.len(), 5);
    let rest = lines(json!({"cursor": end["end"]["next_cursor"]})).await;
    assert_eq!(rest.len(), 26);

    let answer = server.get_with("/api/v1/search", &[("accept", "application/x-ndjson")]).await;
    assert_eq!(answer.body.iter().filter(|byte| **byte == b'\n').count(), 31);
    let refused = server.get_with("/api/v1/search", &[("accept", "text/html")]).await;
    assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    server.metric_becomes("tracelake_searches_total{outcome=\"complete\"}", |searches| searches == 4.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_gone_once_retention_has_removed_what_its_search_had() {
    let server = server_with_traces().await;
    let first = found(&server, json!({"limit": 7})).await;
    let (_, folder) = server.stop().await;
    // The spans of the tests are of years ago.
    let server = TestServer::start_in(folder, |settings| settings.retention_age_seconds_max = 86_400).await;
    let removed = server.send(Method::POST, &server.api_url("/api/v1/retention"), &[], "").await;
    assert_eq!(removed.status, StatusCode::OK, "{removed:?}");
    let body = json!({"limit": 7, "cursor": first["next_cursor"]});
    for accept in ["application/json", "application/x-ndjson"] {
        let answer = post(&server, accept, &body).await;
        assert_eq!(answer.status, StatusCode::GONE, "{accept}: {answer:?}");
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(answer["error"]["kind"], "gone", "{answer}");
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains("begin without a cursor"), "{message}");
    }
    assert!(numbers(&found(&server, json!({})).await).is_empty());
    assert_eq!(server.metric("tracelake_searches_total{outcome=\"gone\"}").await, 2.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_page_was_found_is_told_if_it_is_asked_for() {
    let server = server_with_traces().await;
    let q = "{ status = error }";
    let answer = found(&server, json!({"q": q, "explain": true})).await;
    let plan = &answer["explain"];
    let [condition] = plan["conditions"].as_array().expect("conditions").as_slice() else {
        panic!("not one: {plan}");
    };
    assert_eq!((&condition["condition"], &condition["how"]), (&json!("status = error"), &json!("index")));
    assert!(condition["index_bytes"].is_u64(), "{plan}");
    let sources = plan["sources"].as_array().expect("sources");
    let told: Vec<(&Value, &Value)> = sources.iter().map(|one| (&one["how"], &one["candidates"])).collect();
    // Traces 10, 20 and 30 have spans that failed, and the first of them is in the segment.
    assert_eq!(told, [(&json!("memory"), &json!(2)), (&json!("index"), &json!(1))], "{plan}");
    assert!(plan["as_of_generation"].is_u64() && plan["total_us"].is_u64(), "{plan}");

    let by_address: Value =
        serde_json::from_slice(&server.get("/api/v1/search?status=error&explain").await.body).expect("JSON");
    assert_eq!(by_address["explain"]["conditions"], plan["conditions"], "{by_address}");
    let lines = post(&server, "application/x-ndjson", &json!({"q": q, "explain": true})).await;
    let lines = String::from_utf8(lines.body.to_vec()).expect("UTF-8");
    let end: Value = serde_json::from_str(lines.lines().last().expect("an end")).expect("JSON");
    assert_eq!(end["end"]["explain"]["conditions"], plan["conditions"], "{end}");
    for body in [json!({"q": q}), json!({"q": q, "explain": false})] {
        assert!(found(&server, body).await.get("explain").is_none());
    }
    server.stop().await;
}

fn now_unix_nano() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_nanos()).expect("before 2262")
}

/// Up to when an answer, or an end, says that it has everything.
fn complete_up_to_unix_nano(answer: &Value) -> i64 {
    let text = answer["complete_up_to"].as_str().expect("a time");
    let time = chrono::DateTime::parse_from_rfc3339(text).expect(text);
    time.timestamp_nanos_opt().expect("before 2262")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_all_that_was_acknowledged_before_the_time_that_it_says() {
    let server = server_with_traces().await;
    let acknowledged = now_unix_nano();
    let first = found(&server, json!({"limit": 7})).await;
    let answered = now_unix_nano();
    let complete = complete_up_to_unix_nano(&first);
    assert!((acknowledged..=answered).contains(&complete), "{acknowledged} {complete} {answered}");

    // All pages of a search are as of its begin, whatever has come in since.
    server.post_protobuf(request(vec![span(TRACES + 1, TRACES + 1)])).await;
    let acknowledged = now_unix_nano();
    let body = json!({"limit": 7, "cursor": first["next_cursor"]});
    let second = found(&server, body.clone()).await;
    assert_eq!(second["complete_up_to"], first["complete_up_to"]);
    let (_, end) = found_lines(&server, body).await;
    assert_eq!(end["complete_up_to"], first["complete_up_to"]);

    let (lines, end) = found_lines(&server, json!({})).await;
    let answered = now_unix_nano();
    let complete = complete_up_to_unix_nano(&end);
    assert!((acknowledged..=answered).contains(&complete), "{acknowledged} {complete} {answered}");
    assert_eq!(lines.len() as u64, TRACES + 1);
    server.stop().await;
}

/// Its lines: what was found, and the end.
async fn found_lines(server: &TestServer, body: Value) -> (Vec<Value>, Value) {
    let answer = post(server, "application/x-ndjson", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{body}: {:?}", answer.body);
    let text = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let end = lines.pop().expect("an end");
    assert!(end["end"]["stats"].is_object(), "{end}");
    (lines, end["end"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_results_with_places_of_their_own() {
    let server = server_with_traces().await;
    let body = json!({"q": "{ }", "result": "spans", "limit": 8, "select": ["span.code"], "count": "exact"});
    let page = found(&server, body.clone()).await;
    let spans = page["spans"].as_array().expect("spans");
    let start = INSTANT + 30_000_000_000;
    let row = |id: u64, name: &str, parent: Value, duration: u64, status: &str, kind: &str| {
        json!({
            "trace_id": trace_id(30), "span_id": format!("{id:016x}"), "parent_span_id": parent,
            "name": name, "service": "shop", "start_time": "2023-11-14T22:13:50.000000000Z",
            "start_time_unix_nano": start.to_string(), "duration_nano": duration,
            "status": status, "kind": kind, "attributes": {"span.code": 230},
        })
    };
    let root = format!("{:016x}", 30);
    assert_eq!(spans.len(), 8);
    // Both start at once.
    assert_eq!(spans[1], row(130, "charge", json!(root), 2_000_000, "error", "client"), "{page}");
    assert_eq!((&spans[0]["span_id"], &spans[0]["parent_span_id"]), (&json!(root), &Value::Null));
    assert_eq!(page["total_count"], TRACES + 3);
    assert!(page.get("traces").is_none(), "{page}");

    let mut all = spans.clone();
    let mut next = page["next_cursor"].clone();
    while !next.is_null() {
        let mut body = body.clone();
        body["cursor"] = next;
        let page = found(&server, body).await;
        all.extend(page["spans"].as_array().expect("spans").clone());
        next = page["next_cursor"].clone();
    }
    assert_eq!(all.len() as u64, TRACES + 3);
    let (lines, end) = found_lines(&server, json!({"result": "spans", "select": ["span.code"]})).await;
    assert_eq!((&lines, &end["next_cursor"]), (&all, &Value::Null));

    let numbered =
        json!({"result": "spans", "page": 2, "page_size": 8, "count": "exact", "select": ["span.code"]});
    assert_eq!(found(&server, numbered).await["spans"], json!(all[8..16]));
    let answer = server.get("/api/v1/search?status=error&result=spans&order=oldest").await;
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(
        answer["spans"].as_array().expect("spans").iter().map(number).collect::<Vec<_>>(),
        [10, 20, 30]
    );
    // A cursor of spans is none of traces.
    let answer = post(&server, "application/json", &json!({"cursor": page["next_cursor"]})).await;
    assert!(message(&answer).contains("another search"), "{}", message(&answer));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_whole_traces_are_those_of_the_summaries() {
    let server = server_with_traces().await;
    let expected: Vec<String> = (1..=TRACES).rev().map(trace_id).collect();
    let page = found(&server, json!({"result": "ids", "limit": 7})).await;
    assert_eq!(page["trace_ids"], json!(expected[..7]), "{page}");
    // The cursor is one of traces, whatever is answered of them.
    let body = json!({"result": "ids", "cursor": page["next_cursor"]});
    let (lines, _) = found_lines(&server, body).await;
    let rest: Vec<Value> = expected[7..].iter().map(|id| json!({"trace_id": id})).collect();
    assert_eq!(lines, rest);

    let q = "{ status = error }";
    let page = found(&server, json!({"q": q, "result": "traces"})).await;
    let traces = page["traces"].as_array().expect("traces");
    assert_eq!(traces.iter().map(number).collect::<Vec<_>>(), [30, 20, 10]);
    for whole in traces {
        let id = whole["trace_id"].as_str().expect("an ID");
        let looked_up = server.get(&format!("/api/v1/traces/{id}")).await;
        let looked_up: Value = serde_json::from_slice(&looked_up.body).expect("JSON");
        assert_eq!((&whole["trace"], &whole["error"]), (&looked_up, &Value::Null), "{id}");
    }
    assert_eq!((&page["next_cursor"], &page["partial"]), (&Value::Null, &Value::Null));
    let (lines, end) = found_lines(&server, json!({"q": q, "result": "traces", "limit": 2})).await;
    assert_eq!(lines, traces[..2]);
    let body = json!({"q": q, "result": "traces", "cursor": end["next_cursor"]});
    assert_eq!(found(&server, body).await["traces"], json!(traces[2..]));
    let numbered = json!({"q": q, "result": "traces", "page": 2, "page_size": 2, "count": "exact"});
    let numbered = found(&server, numbered).await;
    assert_eq!((&numbered["traces"], &numbered["total_count"]), (&json!(traces[2..]), &json!(3)));
    let none = found(&server, json!({"q": "{ name = \"nothing\" }", "result": "traces"})).await;
    assert_eq!(none["traces"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_have_no_such_thing_refuse_it() {
    let server = TestServer::start().await;
    for (body, word) in [
        (json!({"result": "trees"}), "`summaries`"),
        (json!({"result": "ids", "select": [".a"]}), "`select`"),
        (json!({"result": "traces", "select": [".a"]}), "`select`"),
        (json!({"result": "ids", "spans_per_trace": 3}), "`spans_per_trace`"),
        (json!({"result": "spans", "spans_per_trace": 3}), "`spans_per_trace`"),
        (json!({"result": "traces", "spans_per_trace": 0}), "`spans_per_trace`"),
    ] {
        let answer = post(&server, "application/json", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {:?}", answer.body);
        assert!(message(&answer).contains(word), "{body}: {}", message(&answer));
    }
    let answer = server.get("/api/v1/search?result=trees").await;
    assert!(message(&answer).contains("`summaries`"), "{}", message(&answer));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_what_is_meant() {
    let server = TestServer::start().await;
    for (body, word) in [
        (json!([]), "the body is not"),
        (json!({"query": "{ }"}), "`query`"),
        (json!({"q": "{ }", "where": {"field": ".a", "op": "exists"}}), "leave one out"),
        (json!({"q": ""}), "empty query"),
        (json!({"q": "{ a = 1 }"}), "\n  { a = 1 }\n    ^"),
        (json!({"q": "{ } | count() > 1"}), "does not have yet"),
        (json!({"where": {"field": "a", "op": "=", "value": 1}}), "(at where.field)"),
        (json!({"where": {"not": {"field": ".a", "op": "="}}}), "(at where.not.value)"),
        (json!({"start": "yesterday"}), "'start'"),
        (json!({"start": 1_700_000_001, "end": 1_700_000_000}), "before"),
        (json!({"limit": 1_001}), "`limit`"),
        (json!({"limit": "5"}), "invalid type"),
        (json!({"spans_per_trace": 101}), "`spans_per_trace`"),
        (json!({"histogram": 1_001}), "`histogram`"),
        (json!({"order": "best"}), "`newest`"),
        (json!({"match": "tree"}), "`trace`"),
        (json!({"select": ["code"]}), "`.code`"),
        (json!({"select": ["duration"]}), "`duration`"),
        (json!({"cursor": "00"}), "cursor"),
        (json!({"page": 1}), "exact"),
        (json!({"page": 11, "page_size": 1_000, "count": "exact"}), "next_cursor"),
        (json!({"page": 1, "count": "exact", "cursor": "00"}), "without"),
    ] {
        let answer = post(&server, "application/json", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {:?}", answer.body);
        let message = message(&answer);
        assert!(message.contains(word), "{body}: {message}");
    }
    for (query, word) in [
        ("services=a", "'services'"),
        ("attr=a", "KEY=VALUE"),
        ("min_duration=5", "'min_duration'"),
        ("status=bad", "'status'"),
        ("limit=many", "'limit'"),
        ("q=%7B%7D&service=a", "'q'"),
        ("order=best", "`newest`"),
        ("start=then", "'start'"),
    ] {
        let answer = server.get(&format!("/api/v1/search?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {:?}", answer.body);
        let message = message(&answer);
        assert!(message.contains(word), "{query}: {message}");
    }
    let refused = server.send(Method::PUT, &server.api_url("/api/v1/search"), &[], "").await;
    assert_eq!(
        (refused.status, &refused.headers["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD, POST".parse().expect("a value"))
    );
    assert_eq!(server.metric("tracelake_searches_total{outcome=\"invalid\"}").await, 30.0);
    server.stop().await;
}
