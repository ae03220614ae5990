//! What lookups read of a bucket: how often, and what of it is on a disk here the next time.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::acked::Client;
use crate::harness::{Server, arg, outcome, tracelake};
use crate::object_storage::{RECOVERY_MAX, run_ok, stop};
use crate::s3::Bucket;
use crate::s3_proxy::{Fault, Proxy, Seen, Weather};

/// Spans of the store in which the lookups below are counted: enough for several row groups.
const LOOKUP_SPANS: &str = "--spans=60000";

/// Requests for a trace in a compacted store by a server that has just started: footer, directory, rows.
/// Counted is what the store is asked for below `segments/`, of whatever kind, until the answer is there;
/// the manifest and the filters that it names were read before that.
const COLD_READS_MAX: usize = 3;

/// The same for the next trace: the footer is in memory.
const WARM_READS_MAX: usize = 2;

/// What is known of segments is read in the background after a start; from here on only what is asked for.
fn wait_until_loaded(server: &Server) {
    let deadline = Instant::now() + RECOVERY_MAX;
    loop {
        let status = server.api().get("/api/v1/status").expect("an answer").text();
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        if status["store"]["caches"]["loading"] == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{status}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A compacted store, and the IDs of its traces.
fn compacted(bucket: &Bucket, data_dir: &Path) -> Vec<String> {
    let ids = data_dir.with_extension("ids");
    let server = bucket.config(data_dir, bucket.address()).start();
    let mut command = tracelake();
    command.args(["gen", LOOKUP_SPANS, "--seed=7", "--endpoint", &server.otlp_url(), "--ids-out", arg(&ids)]);
    let (code, _, said) = outcome(&command.output().expect("the binary starts"));
    assert_eq!(code, Some(0), "{said}");
    stop(server);
    run_ok(bucket, &["compact", "--data-dir", arg(data_dir)]);
    let ids = std::fs::read_to_string(ids).expect("a file");
    ids.lines().filter_map(|line| line.split([' ', '\t']).next()).map(str::to_owned).collect()
}

/// What is read of segments on the way to a trace, and the answer.
fn look_up(server: &Server, proxy: &Proxy, id: &str) -> (Vec<Seen>, String) {
    proxy.take_seen();
    let answer = server.api().get(&format!("/api/v1/traces/{id}")).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = proxy.take_seen().into_iter();
    (seen.filter(|seen| seen.path.contains("/segments/")).collect(), answer.text())
}

#[test]
fn a_trace_in_a_compacted_store_takes_few_reads_from_the_bucket() {
    let Some(bucket) = Bucket::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let ids = compacted(&bucket, &data_dir);
    let proxy = Proxy::new(bucket.address(), 0);
    let (mut cold_max, mut warm_max) = (0, 0);
    for at in 0..3 {
        let server = bucket.config(&data_dir, proxy.address).start();
        wait_until_loaded(&server);
        let (cold, _) = look_up(&server, &proxy, &ids[ids.len() / 3 * at]);
        let (warm, _) = look_up(&server, &proxy, &ids[ids.len() / 3 * at + 1]);
        for seen in &cold {
            eprintln!("{} {} {}", seen.method, seen.path, seen.range.as_deref().unwrap_or("all"));
        }
        assert!(cold.iter().all(|seen| seen.method == "GET" && seen.range.is_some()), "{cold:?}");
        cold_max = cold_max.max(cold.len());
        warm_max = warm_max.max(warm.len());
        server.kill();
    }
    eprintln!("at most {cold_max} reads for the first trace, {warm_max} for the next");
    assert!(cold_max <= COLD_READS_MAX && warm_max <= WARM_READS_MAX, "{cold_max}, {warm_max}");
}

#[test]
fn a_read_from_the_bucket_that_takes_long_is_begun_a_second_time() {
    let Some(bucket) = Bucket::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let server = bucket.config(&data_dir, bucket.address()).start();
    let mut client = Client::new(12);
    client.send_one(server.addresses);
    stop(server);
    run_ok(&bucket, &["compact", "--data-dir", arg(&data_dir)]);

    let proxy = Proxy::new(bucket.address(), 0);
    let server = bucket.config(&data_dir, proxy.address).with("store-hedge-milliseconds", "50").start();
    wait_until_loaded(&server);
    proxy.take_seen();
    proxy.set(Weather::OneLate);
    client.check_all(server.addresses);
    let seen = proxy.take_seen();
    assert_eq!(seen.iter().filter(|seen| seen.fault == Some(Fault::Late)).count(), 1, "{seen:?}");
    // Lookups alone are counted, and none was before.
    let status = server.api().get("/api/v1/status").expect("an answer").json();
    assert!(status["store"]["reads"]["hedged_reads"].as_u64() >= Some(1), "{status}");
    stop(server);
}

/// The blocks of a disk cache.
fn blocks(cache: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(cache).expect("a folder").map(|file| file.expect("a file").path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "block")).collect()
}

#[test]
fn what_was_read_from_the_bucket_is_on_the_disk_after_a_kill_and_never_answered_damaged() {
    let Some(bucket) = Bucket::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (data_dir, cache) = (folder.path().join("data"), folder.path().join("deep/cache"));
    let ids = compacted(&bucket, &data_dir);
    let asked: Vec<&String> = ids.iter().step_by(ids.len() / 5).collect();
    let proxy = Proxy::new(bucket.address(), 0);
    // No trace is kept in memory.
    let config = |data_dir: &Path| {
        let config = bucket.config(data_dir, proxy.address).with("disk-cache-dir", arg(&cache));
        config.with("trace-cache-bytes-max", "0")
    };

    let server = config(&data_dir).start();
    wait_until_loaded(&server);
    let mut answers = Vec::new();
    for id in &asked {
        let (seen, answer) = look_up(&server, &proxy, id);
        assert!(seen.len() <= COLD_READS_MAX, "{seen:?}");
        answers.push(answer);
    }
    let deadline = Instant::now() + RECOVERY_MAX;
    let counted = |server: &Server, what: &str| {
        let status = server.api().get("/api/v1/status").expect("an answer").text();
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        status["store"]["caches"][what].as_u64().or(status["store"]["reads"][what].as_u64())
    };
    // They are written behind the answer.
    while counted(&server, "disk_cache_writing") != Some(0) {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(blocks(&cache).len() > 3, "{:?}", blocks(&cache));
    // Refused before it takes the bucket over.
    let (status, said) = match config(&folder.path().join("another")).try_start() {
        Err(ended) => ended,
        Ok(server) => server.wait_for_end(RECOVERY_MAX).expect("it ends"),
    };
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(arg(&cache)), "{said}");
    server.kill();

    proxy.take_seen();
    let server = config(&data_dir).start();
    wait_until_loaded(&server);
    let seen = proxy.take_seen();
    assert!(
        !seen.iter().any(|seen| seen.path.contains("/segments/")),
        "filters are on the disk, too: {seen:?}"
    );
    for (id, answer) in asked.iter().zip(&answers) {
        let (seen, found) = look_up(&server, &proxy, id);
        assert!(seen.is_empty(), "{seen:?}");
        assert_eq!(found, *answer);
    }
    assert_eq!(counted(&server, "disk_cache_blocks"), counted(&server, "disk_cache_blocks_found"));
    assert!(counted(&server, "disk_cache_bytes") > Some(256 << 10));
    server.kill();

    for (at, block) in blocks(&cache).into_iter().enumerate() {
        let mut bytes = std::fs::read(&block).expect("a file");
        match at % 3 {
            0 => bytes.truncate(1_000),
            1 => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            _ => bytes.fill(0),
        }
        std::fs::write(&block, bytes).expect("a file");
    }
    let server = config(&data_dir).start();
    wait_until_loaded(&server);
    let mut reads = 0;
    for (id, answer) in asked.iter().zip(&answers) {
        let (seen, found) = look_up(&server, &proxy, id);
        reads += seen.len();
        assert_eq!(found, *answer);
    }
    assert!(reads > 0);
    stop(server);
}
