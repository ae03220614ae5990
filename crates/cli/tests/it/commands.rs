//! The commands as people and scripts use them: what they print, and what they end with.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Config, arg, outcome, run, run_ok, tracelake};

const TRACE: &str = "8b51e36eaee3265bec099d0c5c63fd37";

/// A request with a trace of three spans: a root, a child with an error and an event, and an orphan.
const REQUEST: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"frontend"}}]},"scopeSpans":[{"spans":[{"traceId":"8b51e36eaee3265bec099d0c5c63fd37","spanId":"0000000000000001","name":"GET /cart","startTimeUnixNano":"1661140339000000000","endTimeUnixNano":"1661140339100000000"},{"traceId":"8b51e36eaee3265bec099d0c5c63fd37","spanId":"0000000000000003","parentSpanId":"00000000000000ff","name":"lost","startTimeUnixNano":"1661140339020000000","endTimeUnixNano":"1661140339030000000"}]}]},{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"scopeSpans":[{"spans":[{"traceId":"8b51e36eaee3265bec099d0c5c63fd37","spanId":"0000000000000002","parentSpanId":"0000000000000001","name":"Get","startTimeUnixNano":"1661140339050000000","endTimeUnixNano":"1661140339075000000","status":{"code":2,"message":"no such cart"},"events":[{"timeUnixNano":"1661140339060000000","name":"retry"}]}]}]}]}"#;

/// A file with that request among lines that cannot be taken.
const MIXED_LINES: [&str; 5] = [
    "{broken",
    REQUEST,
    r#"{"resourceMetrics":[{}]}"#,
    r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","spanId":"0000000000000001","name":"n"}]}]}]}"#,
    "",
];

/// The store that a folder of a test gets.
fn store_with_trace(folder: &Path) -> std::path::PathBuf {
    let (file, store) = (folder.join("one.jsonl"), folder.join("store"));
    std::fs::write(&file, REQUEST).expect("written");
    run_ok(&["import", arg(&file), "--data-dir", arg(&store)]);
    store
}

#[test]
fn a_trace_is_drawn_the_same_from_a_server_and_from_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_with_trace(folder.path());
    let from_folder = run_ok(&["trace", TRACE, "--data-dir", arg(&store), "--width", "90"]);
    assert_eq!(
        from_folder,
        "\
trace 8b51e36eaee3265bec099d0c5c63fd37
2022-08-22 03:52:19.000000 UTC · 100 ms · 3 spans · 2 services · 1 error
frontend 2 · cart 1 ✗1
! 1 span has a parent that did not arrive

                                   0                                                100 ms
frontend  GET /cart         100 ms ███████████████████████████████████████████████████████
└─ ✗ cart  Get  1 event    25.0 ms                            ▐█████████████▌
   ✗ no such cart
frontend  lost             10.0 ms            █████▌
! its parent 00000000000000ff is not in the trace
"
    );
    let server = Config::new(&store).start();
    let api = server.api_url();
    let from_server = run_ok(&["trace", &TRACE.to_uppercase(), "--api", &api, "--width", "90"]);
    assert_eq!(from_server, from_folder);

    let json = run_ok(&["trace", TRACE, "--api", &api, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["resourceSpans"].as_array().map(Vec::len), Some(2));

    // A folder that a server has is not for others.
    let (code, _, said) = outcome(&run(&["trace", TRACE, "--data-dir", arg(&store)]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("error: ") && said.contains("is in use by"), "{said}");
}

#[test]
fn what_is_not_there_ends_with_1_and_a_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_with_trace(folder.path());
    let missing = folder.path().join("missing");
    for (args, expected) in [
        (
            ["trace", "1", "--data-dir", arg(&store)],
            "error: there is no trace 00000000000000000000000000000001\n",
        ),
        (["trace", TRACE, "--api", "http://127.0.0.1:1"], "is the server running?\n"),
        (["trace", TRACE, "--data-dir", arg(&missing)], "No such file or directory (os error 2)\n"),
        (["export", "--trace=1", "--data-dir", arg(&store)], "error: none of the traces is there\n"),
        (
            ["import", arg(&folder.path().join("one.jsonl")), "--endpoint", "http://127.0.0.1:1"],
            "is the server running?\n",
        ),
        (["import", arg(&missing), "--data-dir", arg(&store)], "No such file or directory (os error 2)\n"),
    ] {
        let (code, stdout, said) = outcome(&run(&args));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{args:?}: {said}");
        assert!(said.ends_with(expected), "{args:?}: {said}");
    }
    assert!(!missing.exists(), "reading makes no store");
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for args in [
        &["trace"][..],
        &["trace", "xyz"],
        &["trace", TRACE, "--api", "https://example"],
        &["trace", TRACE, "--tenant", "a/b"],
        &["export", "--start", "yesterday"],
        &["export", "--start", "2025-01-02", "--end", "2025-01-01"],
        &["export", "--trace", TRACE, "--start", "2025-01-02"],
        &["import"],
        &["config", "--generation-bytes-max", "many"],
        &["fly"],
    ] {
        let (code, stdout, said) = outcome(&run(args));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {said}");
        assert!(said.starts_with("error: "), "{args:?}: {said}");
    }
    let (code, help, _) = outcome(&run(&["--help"]));
    assert_eq!(code, Some(0));
    assert!(help.contains("Exit codes:") && help.contains("partly done"), "{help}");
    assert!(help.starts_with("Tracelake, a trace store for OpenTelemetry: "), "{help}");
}

#[test]
fn lines_that_cannot_be_taken_are_named_and_the_rest_is_imported() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mixed.jsonl");
    std::fs::write(&file, MIXED_LINES.join("\n")).expect("written");
    let server = Config::new(&folder.path().join("store")).start();
    let (code, stdout, said) = outcome(&run(&["import", arg(&file), "--endpoint", &server.otlp_url()]));
    assert_eq!(code, Some(3), "{said}");
    let name = arg(&file);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with(&format!("{name}:1: skipped: ")), "{said}");
    assert_eq!(lines[1], format!("{name}:3: skipped: holds metrics, not traces"));
    assert!(lines[2].starts_with(&format!("{name}:4: 1 span")), "{said}");
    assert_eq!(lines.len(), 3, "{said}");
    assert!(stdout.starts_with("imported 3 spans from 1 file in "), "{stdout}");
    assert!(stdout.trim_end().ends_with("; 1 span rejected; 2 skipped"), "{stdout}");
    let json = run_ok(&["trace", TRACE, "--api", &server.api_url(), "--json"]);
    assert_eq!(json.matches("\"spanId\"").count(), 3);
}

#[test]
fn standard_input_is_imported_whatever_it_is_compressed_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(REQUEST.as_bytes()).expect("in memory");
    for input in [
        REQUEST.as_bytes().to_vec(),
        gzip.finish().expect("in memory"),
        zstd::stream::encode_all(REQUEST.as_bytes(), 1).expect("in memory"),
    ] {
        let mut import = tracelake();
        import.args(["import", "-", "--data-dir", arg(&store)]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut import = import.stderr(Stdio::piped()).spawn().expect("it starts");
        import.stdin.take().expect("piped").write_all(&input).expect("read");
        let (code, stdout, said) = outcome(&import.wait_with_output().expect("it ends"));
        assert_eq!(code, Some(0), "{said}");
        assert!(stdout.starts_with("imported 3 spans"), "{stdout}");
    }
    let (code, _, said) =
        outcome(&run(&["import", env!("CARGO_BIN_EXE_tracelake"), "--data-dir", arg(&store)]));
    assert_eq!(code, Some(3));
    assert!(said.contains("skipped: neither OTLP JSON lines nor protobuf messages"), "{said}");
}

#[test]
fn a_request_that_is_too_large_for_the_server_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("large.jsonl");
    let spans: Vec<String> = (1..=1_000)
        .map(|id| format!(r#"{{"traceId":"{TRACE}","spanId":"{id:016x}","name":"n","startTimeUnixNano":"1661140339000000000","endTimeUnixNano":"1661140339000000001"}}"#))
        .collect();
    let line = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","));
    std::fs::write(&file, line).expect("written");
    let server = Config::new(&folder.path().join("store")).with("request-spans-max", "100").start();
    let said = run_ok(&["import", arg(&file), "--endpoint", &server.otlp_url()]);
    assert!(said.starts_with("imported 1,000 spans"), "{said}");
    let json = run_ok(&["trace", TRACE, "--api", &server.api_url(), "--json"]);
    assert_eq!(json.matches("\"spanId\"").count(), 1_000);
}

#[test]
fn traces_and_time_ranges_are_exported_in_every_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_with_trace(folder.path());
    let from_store = ["export", "--data-dir", arg(&store)];
    let export = |args: &[&str]| {
        let (code, stdout, said) = outcome(&run(&[&from_store[..], args].concat()));
        assert_eq!(code, Some(0), "{said}");
        (stdout.matches("\"spanId\"").count(), said)
    };
    assert_eq!(export(&[]), (3, "exported 3 spans\n".to_owned()));
    assert_eq!(export(&["--trace", TRACE]).0, 3);
    // By the start of a span, the end of the range not included.
    let at = |millis: u64| (1_661_140_339_000 + millis).to_string();
    assert_eq!(export(&["--start", &at(20), "--end", &at(50)]).0, 1);
    assert_eq!(export(&["--start", &at(20)]).0, 2);
    assert_eq!(export(&["--end", "2022-08-22"]).0, 0);

    let again = folder.path().join("again");
    for name in ["a.jsonl", "a.jsonl.gz", "a.binpb", "a.binpb.zst"] {
        let file = folder.path().join(name);
        export(&["--output", arg(&file)]);
        let said = run_ok(&["import", arg(&file), "--data-dir", arg(&again)]);
        assert!(said.starts_with("imported 3 spans"), "{name}: {said}");
    }
    // The same four times is the same once.
    assert_eq!(
        run_ok(&["trace", TRACE, "--data-dir", arg(&again), "--width", "90"]),
        run_ok(&["trace", TRACE, "--data-dir", arg(&store), "--width", "90"])
    );

    let server = Config::new(&store).start();
    let (code, stdout, said) = outcome(&run(&["export", "--api", &server.api_url(), "--trace", TRACE, "1"]));
    assert_eq!((code, stdout.matches("\"spanId\"").count()), (Some(3), 3), "{said}");
    assert!(said.starts_with("trace 00000000000000000000000000000001 is not there\n"), "{said}");
}

#[test]
fn a_time_range_is_exported_from_a_running_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Config::new(&store_with_trace(folder.path())).start();
    let api = server.api_url();
    let (start, end) = ("2022-08-22T03:52:19.020Z", "2022-08-22T03:52:19.050Z");
    let (code, stdout, said) = outcome(&run(&["export", "--api", &api, "--start", start, "--end", end]));
    assert_eq!((code, stdout.matches("\"spanId\"").count()), (Some(0), 1), "{said}");
    let (code, stdout, said) = outcome(&run(&["export", "--api", &api]));
    assert_eq!((code, stdout.matches("\"spanId\"").count()), (Some(0), 3), "{said}");
}

#[test]
fn a_damaged_store_is_found_by_verify_and_told_by_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_with_trace(folder.path());
    let said = run_ok(&["verify", "--data-dir", arg(&store)]);
    assert!(said.ends_with(": nothing is wrong\n"), "{said}");

    let segment = largest_file(&store);
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x10;
    std::fs::write(&segment, bytes).expect("written");
    let (code, stdout, said) = outcome(&run(&["verify", "--data-dir", arg(&store)]));
    assert_eq!(code, Some(3), "{stdout}{said}");
    assert!(stdout.contains("LOSS") && stdout.contains(" of them with loss of data"), "{stdout}");
}

fn largest_file(folder: &Path) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut largest = (0, std::path::PathBuf::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let metadata = entry.metadata().expect("it is there");
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|suffix| suffix == "parquet") {
                largest = largest.max((metadata.len(), entry.path()));
            }
        }
    }
    largest.1
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_with_trace(folder.path());
    for args in [&["trace", TRACE, "--json"][..], &["trace", TRACE], &["export"]] {
        let mut command = tracelake();
        command.args(args).args(["--data-dir", arg(&store)]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = command.spawn().expect("it starts");
        drop(command.stdout.take());
        let (code, _, said) = outcome(&command.wait_with_output().expect("it ends"));
        assert_eq!((code, said.contains("error")), (Some(0), false), "{args:?}: {said}");
    }
}

#[test]
fn config_tells_each_value_and_where_it_comes_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "generation_bytes_max = \"32MiB\"\n").expect("written");
    let mut command = tracelake();
    command
        .args(["config", "--config", arg(&file), "--log-level", "debug"])
        .env("TRACELAKE_API_ADDR", "127.0.0.1:9");
    let (code, stdout, said) = outcome(&command.output().expect("it starts"));
    assert_eq!(code, Some(0), "{said}");
    let row = |name: &str| {
        let line = stdout.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("generation_bytes_max")[1..], ["32MiB", arg(&file)]);
    assert_eq!(row("api_addr")[1..], ["127.0.0.1:9", "TRACELAKE_API_ADDR"]);
    assert_eq!(row("log_level")[1..], ["debug", "--log-level"]);
    assert_eq!(row("data_dir")[1..], ["./tracelake-data", "default"]);
    let json: serde_json::Value = serde_json::from_str(&run_ok(&["config", "--json"])).expect("JSON");
    assert!(
        json.as_array().is_some_and(|settings| settings.iter().any(|s| s["name"] == "data_dir")),
        "{json}"
    );
}

#[test]
fn spans_of_one_tenant_are_not_there_for_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("one.jsonl");
    std::fs::write(&file, REQUEST).expect("written");
    let server = Config::new(&folder.path().join("store")).start();
    run_ok(&["import", arg(&file), "--endpoint", &server.otlp_url(), "--tenant", "blue"]);
    let api = server.api_url();
    run_ok(&["trace", TRACE, "--api", &api, "--tenant", "blue"]);
    for tenant in [&["--tenant", "green"][..], &[]] {
        let (code, _, said) = outcome(&run(&[&["trace", TRACE, "--api", &api], tenant].concat()));
        assert_eq!(code, Some(1), "{said}");
    }
    let (status, said) = server.terminate(Duration::from_secs(60)).expect("it stops");
    assert!(status.success(), "{said}");
}
