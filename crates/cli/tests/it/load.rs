//! `tracelake gen` against the real server: what it reports is what arrived, whichever way it was
//! sent, and what was lost is counted when the server goes away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Config, Server, arg, outcome, run, run_ok, signal, tracelake};

/// Far above what anything here takes.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A span as the log of acknowledgements names it.
type SpanRef = (String, String);

/// What `--ack-log` wrote.
#[derive(Debug, Default)]
struct AckLog {
    /// Spans by the number of their request.
    sent: BTreeMap<u64, Vec<SpanRef>>,
    acked: BTreeMap<u64, Vec<SpanRef>>,
    failed: BTreeSet<u64>,
}

impl AckLog {
    fn read(path: &Path) -> Self {
        let mut log = Self::default();
        // While it is being written it may not be there, or end within a line.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let mut words = line.split(' ');
            let (word, number) = (words.next().expect("a word"), words.next().expect("a number"));
            let number = number.parse().expect("a number");
            let ids = words.map(|id| {
                let (trace, span) = id.split_once(':').expect("TRACE:SPAN");
                (trace.to_owned(), span.to_owned())
            });
            let before = match word {
                "sent" => log.sent.insert(number, ids.collect()).is_some(),
                "acked" => log.acked.insert(number, ids.collect()).is_some(),
                "failed" => !log.failed.insert(number),
                other => panic!("{other} in the log"),
            };
            assert!(!before, "{word} {number} is there twice");
        }
        log
    }

    fn wait_until(path: &Path, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(&Self::read(path)) {
            assert!(begun.elapsed() < WAIT_MAX, "it does not become so: {}", path.display());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn acked_spans(&self) -> BTreeSet<SpanRef> {
        self.acked.values().flatten().cloned().collect()
    }
}

/// A run that goes on beside the test.
fn start(args: &[&str]) -> Child {
    let mut command = tracelake();
    command.arg("gen").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Its report, and its exit code.
fn end(child: Child) -> (Option<i32>, Value) {
    let (code, stdout, said) = outcome(&child.wait_with_output().expect("it ends"));
    let report = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{code:?}: {stdout}{said}"));
    (code, report)
}

fn report_of(args: &[&str]) -> Value {
    serde_json::from_str(&run_ok(args)).expect("JSON")
}

fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"))
}

/// The spans of these traces that the server has.
fn stored(server: &Server, traces: &BTreeSet<String>) -> BTreeSet<SpanRef> {
    let mut api = server.api();
    let mut found = BTreeSet::new();
    for trace in traces {
        let answer = api.get(&format!("/api/v1/traces/{trace}")).expect("an answer");
        assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
        let answer = answer.json();
        let items = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
        for resource in items(&answer, "resourceSpans") {
            for scope in items(&resource, "scopeSpans") {
                for span in items(&scope, "spans") {
                    let id = span["spanId"].as_str().expect("a span ID").to_owned();
                    assert!(found.insert((trace.clone(), id)), "a span of {trace} is there twice");
                }
            }
        }
    }
    found
}

fn traces_of(spans: &BTreeSet<SpanRef>) -> BTreeSet<String> {
    spans.iter().map(|(trace, _)| trace.clone()).collect()
}

/// The value of a counter, by its name and one of its labels.
fn counter(server: &Server, name: &str, label: &str) -> u64 {
    let text = server.api().get("/metrics").expect("an answer").text();
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
    let value = line.and_then(|line| line.rsplit_once(' ')).and_then(|(_, value)| value.parse().ok());
    value.unwrap_or_else(|| panic!("{name} with {label} in\n{text}"))
}

#[test]
fn every_way_to_send_brings_every_span_and_reports_what_arrived() {
    for (protocol, counted_as, compression) in
        [("grpc", "grpc", "gzip"), ("http", "http_protobuf", "zstd"), ("http-json", "http_json", "none")]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Config::new(&folder.path().join("store")).start();
        let endpoint = if protocol == "grpc" { server.grpc_url() } else { server.otlp_url() };
        let (acks, ids) = (folder.path().join("acks"), folder.path().join("ids"));
        let report = report_of(&[
            "gen",
            "--json",
            "--seed=7",
            "--spans=3000",
            "--batch-spans=250",
            "--connections=3",
            "--protocol",
            protocol,
            "--compression",
            compression,
            "--endpoint",
            &endpoint,
            "--ack-log",
            arg(&acks),
            "--ids-out",
            arg(&ids),
        ]); // fmt: skip

        let requests = number(&report, "requests");
        assert!(requests >= 3_000 / 250, "{report}");
        for (name, expected) in [
            ("seed", 7),
            ("spans", 3_000),
            ("acked_spans", 3_000),
            ("rejected_spans", 0),
            ("lost_spans", 0),
            ("retries", 0),
            ("failed_requests", 0),
        ] {
            assert_eq!(number(&report, name), expected, "{protocol}: {name} in {report}");
        }
        let latency = &report["ack_ms"];
        assert_eq!(number(latency, "count"), requests, "{protocol}: {report}");
        let quantiles = ["p50", "p90", "p95", "p99", "max"].map(|name| latency[name].as_f64().expect(name));
        assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{protocol}: {report}");

        assert_eq!(counter(&server, "tracelake_ingest_spans_accepted_total", ""), 3_000);
        let ok = format!("protocol=\"{counted_as}\",outcome=\"ok\"");
        assert_eq!(counter(&server, "tracelake_ingest_requests_total", &ok), requests);

        let log = AckLog::read(&acks);
        assert_eq!(log.sent.len() as u64, requests);
        assert!(log.sent == log.acked && log.failed.is_empty(), "{protocol}");
        let spans = log.acked_spans();
        assert_eq!(spans.len(), 3_000);
        let traces = traces_of(&spans);
        assert_eq!(traces.len() as u64, number(&report, "traces"));
        assert!(stored(&server, &traces) == spans, "{protocol}: what is stored is not what was sent");
        lookups_find_what_was_sent(&server, &ids, &spans);
    }
}

fn lookups_find_what_was_sent(server: &Server, ids: &Path, spans: &BTreeSet<SpanRef>) {
    let mut by_trace = BTreeMap::<&str, usize>::new();
    for (trace, _) in spans {
        *by_trace.entry(trace).or_default() += 1;
    }
    let text = std::fs::read_to_string(ids).expect("the file of IDs");
    let lines: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    assert!(lines == by_trace.iter().map(|(trace, spans)| format!("{trace} {spans}")).collect());

    let api = server.api_url();
    let look_up = ["gen", "--json", "--seed=7", "--api", &api, "--lookup-unknown=20", "--lookup-ids"];
    for format in ["json", "protobuf"] {
        let report = report_of(&[&look_up[..], &[arg(ids), "--lookup-format", format]].concat());
        assert_eq!(number(&report, "lookups"), by_trace.len() as u64, "{report}");
        assert_eq!(number(&report["lookup_ms"], "count"), by_trace.len() as u64, "{report}");
        assert_eq!(number(&report["unknown_ms"], "count"), 20, "{report}");
        for name in ["missing", "wrong", "partial"] {
            assert_eq!(number(&report, name), 0, "{report}");
        }
    }

    // A trace that is not there, and one with a span less than the file says.
    let (first, rest) = text.split_once('\n').expect("lines");
    let (trace, spans) = first.split_once(' ').expect("two words");
    let one_more = spans.parse::<usize>().expect("a number") + 1;
    let wrong = ids.with_extension("wrong");
    std::fs::write(&wrong, format!("{trace} {one_more}\n{rest}{:032x} 1\n", 0xabc)).expect("written");
    let (code, stdout, said) = outcome(&run(&[&look_up[..], &[arg(&wrong)]].concat()));
    assert_eq!(code, Some(3), "{said}");
    let report: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((number(&report, "missing"), number(&report, "wrong")), (1, 1), "{report}");
    assert!(report["first"].as_str().is_some_and(|first| !first.is_empty()), "{report}");
}

#[test]
fn without_a_seed_each_run_has_traces_of_its_own_and_the_report_tells_how_to_have_them_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let make = |name: &str, more: &[&str]| {
        let (file, ids) = (path(&format!("{name}.binpb")), path(&format!("{name}.ids")));
        let said = run_ok(
            &[&["gen", "--spans=2000", "--output", arg(&file), "--ids-out", arg(&ids)], more].concat(),
        );
        let ids = std::fs::read_to_string(ids).expect("the file of IDs");
        let traces: BTreeSet<String> =
            ids.lines().map(|line| line.split(' ').next().expect("an ID").to_owned()).collect();
        (said, traces, std::fs::read(file).expect("the file"))
    };
    let (said, first, bytes) = make("first", &[]);
    let (_, second, _) = make("second", &[]);
    assert!(!first.is_empty() && first.is_disjoint(&second));

    let flags = said.lines().find_map(|line| line.strip_prefix("made with ")).expect(&said);
    let (_, _, again) = make("again", &flags.split(' ').collect::<Vec<_>>());
    assert!(bytes == again, "{flags} does not make the same again");

    let report: Value = serde_json::from_str(&make("json", &["--json"]).0).expect("JSON");
    let (seed, end) = (report["seed"].to_string(), report["end_unix_nano"].to_string());
    let from_report = make("again", &["--seed", &seed, "--end", &end]);
    assert!(from_report.2 == std::fs::read(path("json.binpb")).expect("the file"), "{report}");
}

#[test]
fn a_rate_is_not_exceeded() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Config::new(folder.path()).start();
    let report = report_of(&[
        "gen",
        "--json",
        "--seed=1",
        "--spans=1000",
        "--batch-spans=100",
        "--rate=2000",
        "--connections=2",
        "--endpoint",
        &server.otlp_url(),
    ]); // fmt: skip
    // The last request is due when 900 spans may have gone before it.
    let seconds = report["seconds"].as_f64().expect("a number");
    assert!(number(&report, "acked_spans") == 1_000 && seconds >= 0.45, "{report}");
}

#[test]
fn connections_are_as_many_as_asked_for_and_an_interrupt_ends_the_run_in_order() {
    for (protocol, connections) in [("http", 3), ("grpc", 2)] {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Config::new(&folder.path().join("store")).start();
        let (endpoint, ids) = (server.grpc_url(), folder.path().join("ids"));
        let endpoint = if protocol == "grpc" { endpoint } else { server.otlp_url() };
        let load = start(&[
            "--json",
            "--seed=1",
            "--run-for=1h",
            "--rate=2000",
            "--batch-spans=50",
            "--protocol",
            protocol,
            "--connections",
            &connections.to_string(),
            "--endpoint",
            &endpoint,
            "--ids-out",
            arg(&ids),
        ]); // fmt: skip
        // And the one that asks.
        server.wait_until_readyz(|said| said["connections"].as_u64() == Some(connections + 1));
        assert!(signal(&load, "INT"));
        let (code, report) = end(load);
        assert_eq!((code, number(&report, "lost_spans")), (Some(0), 0), "{report}");
        assert!(number(&report, "acked_spans") > 0, "{report}");
        // Every trace that was begun was ended.
        let report = report_of(&["gen", "--json", "--lookup-ids", arg(&ids), "--api", &server.api_url()]);
        assert_eq!((number(&report, "missing"), number(&report, "wrong")), (0, 0), "{report}");
    }
}

#[test]
fn what_a_server_that_went_away_did_not_acknowledge_is_counted_as_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new(&folder.path().join("store"));
    for protocol in ["http", "grpc"] {
        let server = config.start();
        let endpoint = if protocol == "grpc" { server.grpc_url() } else { server.otlp_url() };
        let acks = folder.path().join(protocol);
        let load = start(&[
            "--json",
            "--spans=1000000",
            "--rate=5000",
            "--batch-spans=100",
            "--retry-for=300ms",
            "--protocol",
            protocol,
            "--endpoint",
            &endpoint,
            "--ack-log",
            arg(&acks),
        ]); // fmt: skip
        AckLog::wait_until(&acks, |log| log.acked.len() >= 5);
        server.kill();
        let (code, report) = end(load);
        assert_eq!(code, Some(3), "{protocol}: {report}");
        let (spans, acked) = (number(&report, "spans"), number(&report, "acked_spans"));
        assert_eq!(number(&report, "lost_spans"), spans - acked, "{protocol}: {report}");
        assert!(acked > 0 && spans > acked, "{protocol}: {report}");
        assert!(number(&report, "retries") > 0, "{protocol}: {report}");
        let failure = report["first_failure"].as_str().unwrap_or_default();
        assert!(failure.contains(endpoint.trim_start_matches("http://")), "{protocol}: {report}");

        let log = AckLog::read(&acks);
        assert_eq!(log.failed.len() as u64, number(&report, "failed_requests"), "{protocol}: {report}");
        let acked_spans = log.acked_spans();
        assert_eq!(acked_spans.len() as u64, acked, "{protocol}: {report}");
        let server = config.start();
        let found = stored(&server, &traces_of(&acked_spans));
        let missing: Vec<_> = acked_spans.difference(&found).collect();
        assert!(missing.is_empty(), "{protocol}: acknowledged and not there: {missing:?}");
    }
}

#[test]
fn a_server_that_comes_back_gets_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new(&folder.path().join("store"));
    let (acks, ids) = (folder.path().join("acks"), folder.path().join("ids"));
    let server = config.start();
    let address = server.addresses.otlp_http.to_string();
    let load = start(&[
        "--json",
        "--spans=4000",
        "--rate=4000",
        "--batch-spans=100",
        "--retry-for=60s",
        "--connections=3",
        "--endpoint",
        &server.otlp_url(),
        "--ack-log",
        arg(&acks),
        "--ids-out",
        arg(&ids),
    ]); // fmt: skip
    AckLog::wait_until(&acks, |log| log.acked.len() >= 3);
    server.kill();
    // Nobody answers now: all three get as far as trying.
    AckLog::wait_until(&acks, |log| log.sent.len() == log.acked.len() + 3);
    thread::sleep(Duration::from_millis(300));
    let server = config.with("otlp-http-addr", &address).start();
    let (code, report) = end(load);
    assert_eq!((code, number(&report, "lost_spans")), (Some(0), 0), "{report}");
    assert!(number(&report, "retries") >= 3, "{report}");
    let report = report_of(&["gen", "--json", "--lookup-ids", arg(&ids), "--api", &server.api_url()]);
    for name in ["missing", "wrong", "partial"] {
        assert_eq!(number(&report, name), 0, "{report}");
    }
}
