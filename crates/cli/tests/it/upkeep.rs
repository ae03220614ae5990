//! What those who run a store do with it: retention, backups, and a look at its segments.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Config, arg, outcome, run, run_ok};

const TRACE: &str = "8b51e36eaee3265bec099d0c5c63fd37";

/// A trace of two spans, of 2022.
const REQUEST: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[{"traceId":"8b51e36eaee3265bec099d0c5c63fd37","spanId":"0000000000000001","name":"GET /cart","startTimeUnixNano":"1661140339000000000","endTimeUnixNano":"1661140339100000000"},{"traceId":"8b51e36eaee3265bec099d0c5c63fd37","spanId":"0000000000000002","parentSpanId":"0000000000000001","name":"Get","startTimeUnixNano":"1661140339050000000","endTimeUnixNano":"1661140339075000000"}]}]}]}"#;

/// Another one.
const OTHER: &str = "8b51e36eaee3265bec099d0c5c63fd38";

fn file(folder: &Path, name: &str, request: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, request).expect("written");
    file
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&run_ok(args)).expect("JSON")
}

#[test]
fn retention_of_a_folder_is_tried_and_then_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let (request, store) = (file(folder.path(), "a.jsonl", REQUEST), folder.path().join("store"));
    for tenant in ["short", "long"] {
        run_ok(&["import", arg(&request), "--data-dir", arg(&store), "--tenant", tenant]);
    }
    let store = arg(&store);
    let limits = ["retention", "--data-dir", store, "--retention-tenants", "short=age:7d"];
    let tried = run_ok(&[&limits[..], &["--dry-run"]].concat());
    assert!(
        tried.contains("  short: 2 spans, 1 traces, ") && tried.contains("older than 604,800 s"),
        "{tried}"
    );
    assert!(tried.contains("\nwould remove 2 spans with "), "{tried}");
    run_ok(&["trace", TRACE, "--data-dir", store, "--tenant", "short"]);

    let done = json(&[&limits[..], &["--json"]].concat());
    assert_eq!(
        (&done["dry_run"], &done["spans_removed"], &done["segments_removed"]),
        (&false.into(), &2.into(), &1.into())
    );
    let (code, ..) = outcome(&run(&["trace", TRACE, "--data-dir", store, "--tenant", "short"]));
    assert_eq!(code, Some(1), "it is gone");
    run_ok(&["trace", TRACE, "--data-dir", store, "--tenant", "long"]);
    assert!(run_ok(&limits).ends_with("removed 0 spans with 0 bytes: 0 segments whole, 0 in part\n"));
    assert!(run_ok(&["verify", "--data-dir", store]).ends_with(": nothing is wrong\n"));
    let off = run_ok(&["retention", "--data-dir", store]);
    assert_eq!(off, "retention is off: no limit is set\n");
    let (code, _, said) = outcome(&run(&["retention", "--retention-bytes-max", "4GiB"]));
    assert!(code == Some(2) && said.contains("limits of its own"), "{said}");
}

#[test]
fn a_server_removes_what_has_expired_and_tells_what_it_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let request = file(folder.path(), "a.jsonl", REQUEST);
    let server = Config::new(&folder.path().join("store"))
        .with("generation-age-seconds-max", "1")
        .with("retention-tenants", "short=age:7d")
        .start();
    let api = server.api_url();
    for tenant in ["short", "long"] {
        run_ok(&["import", arg(&request), "--endpoint", &server.otlp_url(), "--tenant", tenant]);
    }
    let begun = Instant::now();
    let status = || server.api().get("/api/v1/status").expect("an answer").json()["store"].clone();
    while status()["memtable_spans"] != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", status());
        std::thread::sleep(Duration::from_millis(20));
    }
    let tried = json(&["retention", "--api", &api, "--dry-run", "--json"]);
    assert_eq!((&tried["dry_run"], &tried["on"]), (&true.into(), &true.into()));
    run_ok(&["retention", "--api", &api]);
    // By this, or by the server itself before it.
    assert_eq!(status()["retention"]["spans_removed"], 2, "{}", status());
    let (code, ..) = outcome(&run(&["trace", TRACE, "--api", &api, "--tenant", "short"]));
    assert_eq!(code, Some(1), "it is gone");
    run_ok(&["trace", TRACE, "--api", &api, "--tenant", "long"]);
}

#[test]
fn a_backup_beside_a_server_becomes_a_store_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (store, backups, restored) = (path("store"), path("backups"), path("restored"));
    let server = Config::new(&store).start();
    let (api, otlp) = (server.api_url(), server.otlp_url());
    run_ok(&["import", arg(&file(folder.path(), "a.jsonl", REQUEST)), "--endpoint", &otlp]);
    let back_up = ["backup", "--data-dir", arg(&store), "--to", arg(&backups), "--api", &api];
    let said = run_ok(&back_up);
    assert!(said.contains(": 1 segments with ") && said.contains("copied now 1 with "), "{said}");
    let first = json(&[&back_up[..], &["--json"]].concat());
    assert_eq!((&first["copied_segments"], &first["flushed"]), (&0.into(), &true.into()));

    let other = REQUEST.replace(TRACE, OTHER);
    run_ok(&["import", arg(&file(folder.path(), "b.jsonl", &other)), "--endpoint", &otlp]);
    let second = json(&[&back_up[..], &["--json"]].concat());
    assert_eq!((&second["segments"], &second["copied_segments"]), (&2.into(), &1.into()));
    // Nobody there to flush: what is in the WAL only is not in it, which is said.
    let third = REQUEST.replace(TRACE, "8b51e36eaee3265bec099d0c5c63fd39");
    run_ok(&["import", arg(&file(folder.path(), "c.jsonl", &third)), "--endpoint", &otlp]);
    let elsewhere = path("elsewhere");
    let unreachable =
        ["backup", "--data-dir", arg(&store), "--to", arg(&elsewhere), "--api", "http://127.0.0.1:1"];
    let (code, _, said) = outcome(&run(&unreachable));
    assert!(code == Some(3) && said.contains("could not be asked to flush"), "{said}");

    let original = run_ok(&["trace", TRACE, "--api", &api, "--width", "90"]);
    // An interrupted restore left something.
    std::fs::create_dir_all(restored.join(".restoring/segments")).expect("made");
    let said = run_ok(&["restore", "--from", arg(&backups), "--data-dir", arg(&restored)]);
    assert!(said.starts_with(&format!("restored version {} of ", second["version"])), "{said}");
    assert!(run_ok(&["verify", "--data-dir", arg(&restored)]).ends_with(": nothing is wrong\n"));
    let again = Config::new(&restored).start();
    assert_eq!(run_ok(&["trace", TRACE, "--api", &again.api_url(), "--width", "90"]), original);
    run_ok(&["trace", OTHER, "--api", &again.api_url()]);
    drop(again);

    let early = path("early");
    let version = first["version"].to_string();
    run_ok(&["restore", "--from", arg(&backups), "--data-dir", arg(&early), "--version", &version]);
    run_ok(&["trace", TRACE, "--data-dir", arg(&early)]);
    let (code, ..) = outcome(&run(&["trace", OTHER, "--data-dir", arg(&early)]));
    assert_eq!(code, Some(1), "it came later");

    for (args, why) in [
        (["restore", "--from", arg(&backups), "--data-dir", arg(&restored)], "is not empty"),
        (["restore", "--from", arg(&store), "--data-dir", arg(&path("x"))], "no complete backup"),
        (["backup", "--data-dir", arg(&early), "--to", arg(&restored)], "holds a store"),
        (["backup", "--data-dir", arg(&backups), "--to", arg(&path("y"))], "holds no store"),
    ] {
        let (code, _, said) = outcome(&run(&args));
        assert!(code == Some(1) && said.contains(why), "{args:?}: {said}");
    }
}

/// docs/backup.md, "Restore": what the backup has not comes from the original's WAL, and nothing twice.
#[test]
fn a_restored_store_takes_what_came_later_from_the_wal() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (store, backups, restored) = (path("store"), path("backups"), path("restored"));
    let server = Config::new(&store).start();
    let (api, otlp) = (server.api_url(), server.otlp_url());
    run_ok(&["import", arg(&file(folder.path(), "a.jsonl", REQUEST)), "--endpoint", &otlp]);
    run_ok(&["backup", "--data-dir", arg(&store), "--to", arg(&backups), "--api", &api]);
    let other = REQUEST.replace(TRACE, OTHER);
    run_ok(&["import", arg(&file(folder.path(), "b.jsonl", &other)), "--endpoint", &otlp]);
    server.kill();
    run_ok(&["restore", "--from", arg(&backups), "--data-dir", arg(&restored)]);
    for entry in std::fs::read_dir(store.join("wal")).expect("a WAL") {
        let entry = entry.expect("an entry");
        if entry.path().extension().is_some_and(|suffix| suffix == "wal") {
            std::fs::copy(entry.path(), restored.join("wal").join(entry.file_name())).expect("copied");
        }
    }
    for trace in [TRACE, OTHER] {
        let json = run_ok(&["trace", trace, "--data-dir", arg(&restored), "--json"]);
        assert_eq!(json.matches("\"spanId\"").count(), 2, "{json}");
    }
    let rows = json(&["segments", "--data-dir", arg(&restored), "--json"]);
    let spans = rows.as_array().map(|rows| rows.iter().filter_map(|row| row["spans"].as_u64()).sum::<u64>());
    assert_eq!(spans, Some(4), "each once: {rows}");
}

#[test]
fn a_store_that_no_server_has_is_flushed_by_its_backup() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (store, backups, restored) = (path("store"), path("backups"), path("restored"));
    let server = Config::new(&store).start();
    run_ok(&["import", arg(&file(folder.path(), "a.jsonl", REQUEST)), "--endpoint", &server.otlp_url()]);
    server.kill();
    run_ok(&["backup", "--data-dir", arg(&store), "--to", arg(&backups)]);
    run_ok(&["restore", "--from", arg(&backups), "--data-dir", arg(&restored)]);
    run_ok(&["trace", TRACE, "--data-dir", arg(&restored)]);
}

#[test]
fn segments_and_partitions_are_listed_from_a_server_and_from_its_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let (request, store) = (file(folder.path(), "a.jsonl", REQUEST), folder.path().join("store"));
    for tenant in ["blue", "red"] {
        run_ok(&["import", arg(&request), "--data-dir", arg(&store), "--tenant", tenant]);
    }
    let server = Config::new(&store).start();
    let (api, data_dir) = (["--api", &server.api_url()], ["--data-dir", arg(&store)]);
    for more in [&[][..], &["--partitions"], &["--tenant", "red"], &["--tenant", "red", "--partitions"]] {
        let list = |from: &[&str]| run_ok(&[&["segments"], from, more].concat());
        let listed = list(&api);
        assert_eq!(listed, list(&data_dir), "beside the server");
        let rows = if more.is_empty() { 2 } else { 1 };
        assert_eq!(listed.lines().count(), 1 + rows, "{listed}");
    }
    let table = run_ok(&[&["segments"][..], &api].concat());
    assert!(table.starts_with("id ") && table.contains(" blue\n") && table.contains(" red\n"), "{table}");
    let partitions = run_ok(&[&["segments", "--partitions"][..], &api].concat());
    assert!(partitions.contains("\n2022-08-22  "), "{partitions}");
    let own = json(&[&["segments", "--json", "--tenant", "red"][..], &api].concat());
    assert_eq!((&own[0]["tenants"], &own[0]["spans"]), (&serde_json::json!(["red"]), &2.into()));
}
