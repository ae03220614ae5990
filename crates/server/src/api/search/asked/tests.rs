use serde_json::json;

use super::*;

fn search(body: Value, as_lines: bool) -> Result<Search, String> {
    let asked: Asked = serde_json::from_value(body).map_err(|error| error.to_string())?;
    let condition = asked.condition().map_err(|rejection| rejection.message().to_owned())?;
    asked.into_search(condition, 1_000, as_lines).map_err(|rejection| rejection.message().to_owned())
}

#[test]
fn what_is_not_said_is_as_documented() {
    let page = search(json!({}), false).expect("a search");
    let query = page.query;
    assert_eq!((query.starts, query.limit, query.spans_per_trace), (0..u64::MAX, 20, 3));
    assert_eq!((query.predicate.to_string().as_str(), query.order), ("{ }", Order::Newest));
    assert!(!query.count && query.histogram.is_none() && query.after.is_none() && page.skip == 0);
    assert!(!query.explain);
    assert_eq!(search(json!({}), true).expect("a search").query.limit, ENDLESS);
}

#[test]
fn a_condition_is_of_a_span_or_of_a_trace() {
    let q = "{ name = \"a\" && status = error }";
    for (unit, printed) in [("span", q), ("trace", "{ name = \"a\" } && { status = error }")] {
        let search = search(json!({"q": q, "match": unit}), false).expect("a search");
        assert_eq!(search.query.predicate.to_string(), printed);
    }
}

#[test]
fn a_page_is_found_from_its_beginning() {
    let page = json!({"page": 3, "page_size": 50, "count": "exact"});
    let page = search(page, false).expect("a search");
    assert_eq!((page.skip, page.query.limit, page.query.count), (100, 150, true));
    let last = json!({"page": 500, "count": "exact"});
    assert_eq!(search(last, false).expect("a search").query.limit, 10_000);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for (body, as_lines, word) in [
        (json!({"Limit": 1}), false, "`Limit`"),
        (json!({"limit": 0}), false, "`limit`"),
        (json!({"limit": 1_001}), false, "1000"),
        (json!({"limit": 1_000_001}), true, "1000000"),
        (json!({"spans_per_trace": 101}), false, "`spans_per_trace`"),
        (json!({"histogram": 0}), false, "`histogram`"),
        (json!({"histogram": 1_001}), false, "`histogram`"),
        (json!({"order": "best"}), false, "`newest`"),
        (json!({"match": "all"}), false, "`trace`"),
        (json!({"count": "about"}), false, "`exact`"),
        (json!({"result": "rows"}), false, "`summaries`"),
        (json!({"result": "ids", "select": [".a"]}), true, "`select`"),
        (json!({"result": "spans", "spans_per_trace": 1}), false, "`spans_per_trace`"),
        (json!({"explain": "yes"}), false, "a boolean"),
        (json!({"page_size": 5}), false, "needs `page`"),
        (json!({"page": 1}), false, "count"),
        (json!({"page": 0, "count": "exact"}), false, "`page`"),
        (json!({"page": 501, "count": "exact"}), false, "next_cursor"),
        (json!({"page": u64::MAX, "count": "exact"}), false, "next_cursor"),
        (json!({"page": 1, "count": "exact", "limit": 5}), false, "without `limit`"),
        (json!({"page": 1, "count": "exact"}), true, "application/json"),
        (json!({"cursor": "abc"}), false, "`cursor`"),
        (json!({"q": "{ }", "where": {}}), false, "leave one out"),
        (json!({"q": "{ nam = 1 }"}), false, "^^^"),
        (json!({"where": {"and": [{"field": "name", "op": "?", "value": ""}]}}), false, "where.and[0].op"),
        (json!({"start": "then"}), false, "'start'"),
        (json!({"start": 2, "end": 1}), false, "before"),
    ] {
        let message = search(body.clone(), as_lines).expect_err(&body.to_string());
        assert!(message.contains(word), "{body}: {message}");
    }
}
