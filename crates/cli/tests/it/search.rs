//! `tracelake search` as people and scripts use it.

use std::time::SystemTime;

use crate::harness::{Config, arg, outcome, run, run_ok};

/// The first of the traces starts a second later, in seconds since 1970.
const BEGIN: u64 = 1_661_140_339;

/// A request with traces of one span each, which start at these seconds; of every third one the span failed.
fn requests(starts: impl Iterator<Item = u64>) -> String {
    let span = |(n, start): (u64, u64)| {
        let status = if n.is_multiple_of(3) { r#","status":{"code":2}"# } else { "" };
        format!(
            r#"{{"traceId":"{n:032x}","spanId":"{n:016x}","name":"GET /cart","kind":2,"startTimeUnixNano":"{start}000000000","endTimeUnixNano":"{start}020000000","attributes":[{{"key":"http.status","value":{{"intValue":"{}"}}}}]{status}}}"#,
            200 + n
        )
    };
    let spans: Vec<String> = (1..).zip(starts).map(span).collect();
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
}

#[test]
fn traces_are_found_as_a_table_and_as_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("traces.jsonl");
    std::fs::write(&file, requests(BEGIN + 1..=BEGIN + 30)).expect("written");
    let server = Config::new(&folder.path().join("store")).start();
    run_ok(&["import", arg(&file), "--endpoint", &server.otlp_url()]);
    let api = server.api_url();
    let search = |args: &[&str]| {
        let (code, stdout, said) = outcome(&run(&[&["search", "--api", &api], args].concat()));
        assert_eq!(code, Some(0), "{args:?}: {stdout}{said}");
        (stdout, said)
    };

    let query = "{ resource.service.name = \"shop\" && span.http.status = 207 }";
    let (table, said) = search(&[query, "--select", "span.http.status"]);
    assert_eq!(
        table,
        "\
start (UTC)                duration  service   root       spans  errors  trace
2022-08-22 03:52:26.000     20.0 ms  shop      GET /cart      1       0  00000000000000000000000000000007
  shop  GET /cart  span.http.status=207
"
    );
    assert_eq!(said, "");

    let (explained, said) = search(&[query, "--select", "span.http.status", "--explain"]);
    assert_eq!(explained, table);
    let plan: serde_json::Value = serde_json::from_str(&said).expect("the plan alone");
    assert_eq!(plan["sources"][0]["source"], "memory", "{plan}");
    assert_eq!(plan["conditions"].as_array().map(Vec::len), Some(2), "{plan}");

    // Twenty, the newest first, and that there are more.
    let (table, said) = search(&[]);
    let ids: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(ids.len(), 20, "{table}");
    assert_eq!(ids.first(), Some(&format!("{:032x}", 30).as_str()), "{table}");
    assert_eq!(said, "there are more traces: --limit shows more, --all shows all\n");

    let (json, said) = search(&["{ status = error }", "--json", "--all", "--order", "oldest"]);
    let traces: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(traces.len(), 10, "{json}");
    assert!(traces.iter().all(|trace| trace["error_count"] == 1), "{json}");
    assert_eq!(traces[0]["trace_id"], format!("{:032x}", 3));
    assert_eq!(said, "");

    let (json, said) = search(&["--json", "--all", "--limit", "25"]);
    assert_eq!(json.lines().count(), 25);
    assert_eq!(said, "there are more traces: a higher --limit shows more\n");

    let (rows, said) = search(&[query, "--spans", "--select", "span.http.status"]);
    assert_eq!(
        rows,
        "\
start (UTC)                duration  service   name       status  trace
2022-08-22 03:52:26.000     20.0 ms  shop      GET /cart  unset   00000000000000000000000000000007
  span.http.status=207
"
    );
    assert_eq!(said, "");
    let (json, _) = search(&["{ status = error }", "--spans", "--json", "--order", "oldest", "--limit", "1"]);
    let row: serde_json::Value = serde_json::from_str(&json).expect("one line");
    assert_eq!(row["span_id"], format!("{:016x}", 3), "{row}");
    assert_eq!(row["status"], "error", "{row}");

    let (ids, said) = search(&["--ids", "--limit", "2"]);
    assert_eq!(ids, format!("{:032x}\n{:032x}\n", 30, 29));
    assert_eq!(said, "there are more traces: --limit shows more, --all shows all\n");

    // They are of 2022.
    assert_eq!(search(&["--last", "1h"]), (String::new(), "no trace was found\n".to_owned()));
    let range = ["--start", "2022-08-22T03:52:21Z", "--end", "2022-08-22T03:52:23Z", "--json"];
    assert_eq!(search(&range).0.lines().count(), 2);
}

#[test]
fn what_was_just_sent_is_of_the_last_hour() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let file = folder.path().join("traces.jsonl");
    std::fs::write(&file, requests([now - 2 * 3_600, now].into_iter())).expect("written");
    let server = Config::new(&folder.path().join("store")).start();
    run_ok(&["import", arg(&file), "--endpoint", &server.otlp_url()]);
    let api = server.api_url();
    let found = |args: &[&str]| run_ok(&[&["search", "--api", &api, "--ids"], args].concat());
    let (before, just_sent) = (format!("{:032x}\n", 1), format!("{:032x}\n", 2));
    assert_eq!(found(&["--last", "1h"]), just_sent);
    assert_eq!(found(&["--last", "3h"]), format!("{just_sent}{before}"));
}

#[test]
fn a_query_that_is_refused_ends_with_2_and_is_underlined() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Config::new(&folder.path().join("store")).start();
    let query = "{ duration > 5ms && colour = \"red\" }";
    let (code, stdout, said) = outcome(&run(&["search", query, "--api", &server.api_url()]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{said}");
    assert!(said.starts_with("error: "), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let at = lines.iter().position(|line| line.trim() == query).expect("the query");
    let column = lines[at].find("colour").expect("the word");
    assert_eq!(lines[at + 1], format!("{}^^^^^^", " ".repeat(column)), "{said}");

    for args in [
        &["search", "{ }", "--limit", "0"][..],
        &["search", "{ }", "--last", "soon"],
        &["search", "{ }", "--last", "1h", "--start", "2025-01-02"],
        &["search", "{ }", "--order", "best"],
        &["search", "{ }", "--spans", "--ids"],
        &["search", "{ }", "--ids", "--select", "span.a"],
    ] {
        let (code, stdout, said) = outcome(&run(args));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {said}");
    }
    let (code, _, said) = outcome(&run(&["search", "--api", "http://127.0.0.1:1"]));
    assert_eq!(code, Some(1), "{said}");
}
