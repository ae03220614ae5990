//! Real traces of a microservices shop (the Nezha data set, MIT licence): imported, each reads back
//! with exactly its spans, from memory, from the WAL and from segments.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::{Config, Server, arg, outcome, run, run_ok, skip};
use crate::oracle::Spans;

/// The file, which is no part of the repository; says so where it is absent.
pub(crate) fn file() -> Option<PathBuf> {
    let name = "../../../shared/data/online-boutique.otlp.jsonl.zst";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    if path.exists() {
        return Some(path);
    }
    skip("data", &format!("{} is not there", path.display()));
    None
}

/// What the file holds, read without any of the code under test.
fn expected(file: &PathBuf) -> Spans {
    let file = std::fs::File::open(file).expect("it is there");
    let lines = std::io::BufReader::new(zstd::stream::read::Decoder::new(file).expect("zstd"));
    let mut spans = Spans::default();
    let mut count = 0;
    for line in lines.lines() {
        spans.add(&serde_json::from_str(&line.expect("text")).expect("JSON"));
        count += 1;
    }
    // What the data set is known to hold: the oracle itself is checked.
    assert_eq!((count, spans.total, spans.distinct()), (123, 122_302, 121_600));
    assert_eq!((spans.by_trace.len(), spans.services.len()), (2_680, 10));
    assert_eq!(spans.by_trace.values().map(|spans| spans.len()).max(), Some(105));
    spans
}

fn every_trace_reads_back(server: &Server, expected: &Spans, when: &str) {
    let mut api = server.api();
    for (id, spans) in &expected.by_trace {
        let answer = api.get(&format!("/api/v1/traces/{id}")).expect("an answer");
        assert_eq!(answer.status, 200, "trace {id} {when}: {}", answer.text());
        let mut found = Spans::default();
        found.add(&answer.json());
        assert_eq!(found.total, spans.len(), "trace {id} {when}: each span once");
        assert_eq!(found.by_trace.len(), 1, "trace {id} {when}: no other trace's spans");
        let missing: Vec<_> = spans.difference(&found.by_trace[id]).collect();
        let other: Vec<_> = found.by_trace[id].difference(spans).collect();
        assert!(missing.is_empty() && other.is_empty(), "trace {id} {when}: {missing:#?} became {other:#?}");
    }
}

#[test]
fn every_trace_of_a_real_shop_reads_back_with_exactly_its_spans() {
    let Some(file) = file() else { return };
    let expected = expected(&file);
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new(folder.path());

    let server = config.start();
    let said = run_ok(&["import", arg(&file), "--endpoint", &server.otlp_url()]);
    assert!(said.starts_with("imported 122,302 spans from 1 file"), "{said}");
    every_trace_reads_back(&server, &expected, "from memory");

    server.kill();
    let server = config.start();
    every_trace_reads_back(&server, &expected, "after a crash");

    let (status, said) = server.terminate(Duration::from_secs(60)).expect("it stops");
    assert!(status.success(), "{status}\n{said}");
    let server = config.start();
    every_trace_reads_back(&server, &expected, "from segments");
    let said = run_ok(&["compact", "--api", &server.api_url()]);
    assert!(said.contains("wrote 121,600 rows and left out 702 that were there twice"), "{said}");
    every_trace_reads_back(&server, &expected, "from a slice");
    drop(server);

    let said = run_ok(&["verify", "--data-dir", arg(folder.path())]);
    assert!(said.contains("nothing is wrong"), "{said}");
}

#[test]
fn what_is_exported_from_a_store_imports_into_another_with_exactly_its_spans() {
    let Some(file) = file() else { return };
    let expected = expected(&file);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (first, second) = (path("first"), path("second"));

    let said = run_ok(&["import", arg(&file), "--data-dir", arg(&first)]);
    assert!(said.starts_with("imported 122,302 spans"), "{said}");
    let said = run_ok(&["compact", "--data-dir", arg(&first)]);
    assert!(said.contains("left out 702 that were there twice"), "{said}");
    let exported = path("all.binpb.zst");
    let (code, _, said) = outcome(&run(&["export", "--data-dir", arg(&first), "--output", arg(&exported)]));
    assert_eq!((code, said.trim()), (Some(0), "exported 121,600 spans"));
    let said = run_ok(&["import", arg(&exported), "--data-dir", arg(&second)]);
    assert!(said.starts_with("imported 121,600 spans"), "{said}");

    let server = Config::new(&second).start();
    every_trace_reads_back(&server, &expected, "after export and import");
}
