//! What the binary writes for people and for programs that read along: its log, its warnings, and
//! progress on a terminal.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::acked::Client;
use crate::harness::{Config, arg, outcome, run, run_ok, skip};

const STOP_MAX: Duration = Duration::from_secs(60);

/// The log of a server that starts, works and stops.
fn log_of(format: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Config::new(folder.path()).with("log-format", format).with("log-level", "debug").start();
    Client::new(1).send_one(server.addresses);
    let log = server.log();
    let (status, said) = server.terminate(STOP_MAX).expect("it stops");
    assert!(status.success(), "{said}");
    let log = log.lock().unwrap();
    log.lines().map(str::to_owned).collect()
}

const LEVELS: [&str; 3] = ["DEBUG", "INFO", "WARN"];

fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000000Z"
}

#[test]
fn each_line_of_a_json_log_is_an_object_with_time_level_and_message() {
    let log = log_of("json");
    let mut messages = String::new();
    for line in &log {
        let event: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(event["timestamp"].as_str().is_some_and(is_time), "{line}");
        assert!(event["level"].as_str().is_some_and(|level| LEVELS.contains(&level)), "{line}");
        assert!(event["target"].is_string(), "{line}");
        messages.push_str(event["fields"]["message"].as_str().expect(line));
    }
    assert!(messages.contains("asked to stop") && log.len() >= 2, "{log:#?}");
}

#[test]
fn each_line_of_a_text_log_begins_with_time_and_level_and_has_no_colours() {
    let log = log_of("text");
    for line in &log {
        let mut words = line.split_whitespace();
        assert!(words.next().is_some_and(is_time), "{line}");
        assert!(words.next().is_some_and(|level| LEVELS.contains(&level)), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    assert!(log.iter().any(|line| line.contains("asked to stop")) && log.len() >= 2, "{log:#?}");
}

#[test]
fn only_this_machine_is_listened_to_unless_it_is_asked_for_and_then_there_is_a_warning() {
    let settings: serde_json::Value = serde_json::from_str(&run_ok(&["config", "--json"])).expect("JSON");
    for (name, expected) in [
        ("otlp_grpc_addr", "127.0.0.1:4317"),
        ("otlp_http_addr", "127.0.0.1:4318"),
        ("api_addr", "127.0.0.1:8080"),
    ] {
        let setting = settings.as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
        assert_eq!(setting.expect(name)["value"], expected);
    }

    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new(folder.path());
    let server = config.start();
    assert!(!server.said().contains("Warning"), "{}", server.said());
    server.terminate(STOP_MAX).expect("it stops");
    let server = config.with("api-addr", "0.0.0.0:0").with("otlp-grpc-addr", "[::]:0").start();
    for (name, address) in [("otlp_grpc", "[::]:"), ("api", "0.0.0.0:")] {
        let warning = format!("Warning: {name} listens on {address}");
        assert!(server.said().contains(&warning), "{}", server.said());
    }
    assert!(!server.said().contains("Warning: otlp_http"), "{}", server.said());
}

#[test]
fn the_start_text_has_the_settings_in_force() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Config::new(folder.path()).with("generation-bytes-max", "7MiB").start();
    let said = server.said();
    let has = |words: &[&str]| {
        said.lines().any(|line| {
            let line: Vec<&str> = line.split_whitespace().collect();
            line.windows(words.len()).any(|window| window == words)
        })
    };
    assert!(has(&["generation_bytes_max", "7MiB", "from", "--generation-bytes-max"]), "{said}");
    assert!(has(&["data_dir", arg(folder.path()), "from", "--data-dir"]), "{said}");
    assert!(has(&["generation_age_seconds_max", "60s"]), "{said}");
    assert!(has(&["cors_allowed_origins", "(none)"]), "{said}");
}

#[test]
fn an_import_shows_its_progress_on_a_terminal_and_only_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (file, store) = (path("spans.jsonl"), path("store"));
    run_ok(&["gen", "--seed=1", "--spans=3000", "--output", arg(&file)]);
    let import = ["import", arg(&file), "--data-dir", arg(&store)];
    let (code, stdout, said) = outcome(&run(&import));
    assert_eq!((code, said.as_str()), (Some(0), ""), "{stdout}");

    // It lends the command a terminal of its own.
    let command = format!("{} {}", env!("CARGO_BIN_EXE_tracelake"), import.join(" "));
    let typescript = path("typescript");
    let run = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, arg(&typescript)])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output();
    let output = match run {
        Ok(output) if output.status.success() => output,
        other => return skip("script", &format!("there is no terminal to lend: {other:?}")),
    };
    let shown = String::from_utf8_lossy(&output.stdout);
    let mebibytes = std::fs::metadata(&file).expect("it is there").len() as f64 / f64::from(1 << 20);
    assert!(shown.contains(&format!("/{mebibytes:.2} MiB")), "the bar, with the file's size: {shown}");
    // At the end the bar's line is cleared, and the summary stands there.
    let last = shown.rsplit('\u{1b}').next().unwrap_or_default();
    assert!(last.starts_with("[2K") && last.contains("imported 3,000 spans"), "{shown}");
}
