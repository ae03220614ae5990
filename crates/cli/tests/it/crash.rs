//! `kill -9` at random moments, again and again, on one store: what was acknowledged stays, nothing
//! comes twice, nothing comes from nowhere, and nothing is left behind. Meanwhile segments are merged,
//! files that were replaced are deleted, and what has expired is removed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::Value;

use crate::acked::{Client, check_stored_once, in_parallel};
use crate::harness::{Config, Server, arg, run_ok, seeded};
use crate::http::Http;

/// Lives of the server. Each ends at another moment; a hundred of them while spans come in, which met every
/// step of ingest, flush and commit many times over.
const LIVES: usize = 125;
const CLIENTS: u64 = 4;

/// The tenant whose spans expire.
const EXPIRING: &str = "gone";

/// How long what is done in the background may take: a few seconds, and what a busy machine adds.
const UPKEEP_MAX: Duration = Duration::from_secs(120);

/// When a server is killed.
enum End {
    After(Duration),
    /// Once it has begun to delete files that were replaced.
    WhileItDeletes,
}

/// What the servers did in the background, as far as they could be asked before they were killed.
#[derive(Debug, Default)]
struct Upkeep {
    merges: u64,
    files_deleted: u64,
    spans_expired: u64,
}

impl Upkeep {
    fn add(&mut self, store: &Value) {
        let number = |part: &str, name: &str| store[part][name].as_u64().expect("a number");
        // A merge leaves duplicates out, so that later nobody could tell.
        assert_eq!(number("compaction", "duplicates"), 0, "a span was stored twice: {store}");
        self.merges += number("compaction", "merges");
        self.files_deleted += number("compaction", "files_deleted");
        self.spans_expired += number("retention", "spans_removed");
    }
}

#[test]
fn a_server_that_is_killed_a_hundred_times_keeps_what_it_acknowledged() {
    let (seed, mut random) = seeded();
    let folder = tempfile::tempdir().expect("a folder");
    // The smallest generations and merges there are, so that kills meet them. Not the shortest grace: a
    // lookup whose segment is replaced must end within it, on a busy machine, too.
    let config = Config::new(folder.path())
        .with("generation-bytes-max", "1MiB")
        .with("generation-age-seconds-max", "1")
        .with("flushed-segments-max", "2")
        .with("slice-bytes", "1MiB")
        .with("deletion-grace-seconds", "2")
        .with("retention-tenants", &format!("{EXPIRING}=age:1h"));
    let mut clients: Vec<Client> = (0..CLIENTS).map(|number| Client::new(seed ^ number)).collect();
    let mut upkeep = Upkeep::default();

    for life in 0..LIVES {
        // Every fifth dies while it starts: recovery must bear what writing must.
        let moment = if life % 5 == 4 { random.random_range(0..60) } else { random.random_range(20..500) };
        let server = config.start_listening();
        if life % 5 == 4 {
            thread::sleep(Duration::from_millis(moment));
            server.kill();
            continue;
        }
        server.wait_until_ready();
        in_parallel(&mut clients, |client| client.check_touched(server.addresses));
        if life % 4 == 0 {
            send_expiring(&server, life);
        }
        // Three live until the grace is over, with one client: all that is sent is looked up again.
        let (end, sending) = match life % 40 {
            17 => (End::WhileItDeletes, 1),
            _ => (End::After(Duration::from_millis(moment)), clients.len()),
        };
        upkeep.add(&live_and_die(server, &mut clients[..sending], end));
    }

    let server = config.start();
    in_parallel(&mut clients, |client| client.check_all(server.addresses));
    check_stored_once(&clients, server.addresses);
    let answer = server.api().post("/api/v1/retention", "application/json", b"").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    for segment in live_segments(&server) {
        let tenants = segment["tenants"].as_array().expect("a list");
        assert!(tenants.iter().all(|tenant| tenant != EXPIRING), "it has expired: {segment}");
    }
    wait_until_no_file_is_left_behind(&server, folder.path());

    let requests: u64 = clients.iter().map(|client| client.acked_requests).sum();
    let spans: usize = clients.iter().map(Client::acked_spans).sum();
    let again: u64 = clients.iter().map(|client| client.sent_again).sum();
    eprintln!("{LIVES} lives: {spans} spans in {requests} acknowledged requests, {again} sent again");
    eprintln!("{upkeep:?}");
    assert!(requests > LIVES as u64, "the server hardly ever took anything");
    assert!(upkeep.merges > 0 && upkeep.files_deleted > 0 && upkeep.spans_expired > 0, "{upkeep:?}");

    let (status, said) = server.terminate(Duration::from_secs(60)).expect("it stops");
    assert!(status.success(), "{status}\n{said}");
    let said = run_ok(&["verify", "--data-dir", arg(folder.path())]);
    assert!(said.ends_with(": nothing is wrong\n"), "{said}");
}

/// Sends a span that has expired, another one in each life: the same would not be stored again.
fn send_expiring(server: &Server, life: usize) {
    let body = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{:032x}","spanId":"0000000000000001","name":"old","startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000001000000"}}]}}]}}]}}"#,
        life + 1
    );
    let mut http = Http::new(server.addresses.otlp_http).of_tenant(EXPIRING);
    let answer = http.post_json("/v1/traces", body.as_bytes()).expect("an answer");
    // Where the machine is so slow that merges do not keep up it is turned down, which is no fault.
    assert!(matches!(answer.status, 200 | 503), "{}: {}", answer.status, answer.text());
}

/// Kills the server while the clients send; its store's numbers just before.
fn live_and_die(server: Server, clients: &mut [Client], end: End) -> Value {
    let stop = AtomicBool::new(false);
    let addresses = server.addresses;
    thread::scope(|scope| {
        let killing = scope.spawn(|| {
            let store = wait_for(&server, end);
            server.kill();
            stop.store(true, Ordering::Relaxed);
            store
        });
        in_parallel(clients, |client| client.send(addresses, &stop));
        killing.join().expect("killed")
    })
}

/// Its store's numbers when the server is to be killed.
fn wait_for(server: &Server, end: End) -> Value {
    let status = || server.api().get("/api/v1/status").expect("an answer").json()["store"].clone();
    match end {
        End::After(moment) => {
            thread::sleep(moment);
            status()
        }
        End::WhileItDeletes => {
            let begun = Instant::now();
            loop {
                let store = status();
                if store["compaction"]["files_deleted"] != 0 {
                    return store;
                }
                assert!(begun.elapsed() < UPKEEP_MAX, "nothing is deleted: {store}");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// The segments that the manifest names, of all tenants.
fn live_segments(server: &Server) -> Vec<Value> {
    let page = server.api().get("/api/v1/segments?all=true").expect("an answer").json();
    assert!(page["next"].is_null(), "there are more segments than a page has");
    page["segments"].as_array().expect("a list").clone()
}

/// Waits until the files of segments are those that the manifest names: what merges replaced, and what kills
/// left, is deleted after the grace.
fn wait_until_no_file_is_left_behind(server: &Server, data_dir: &Path) {
    let begun = Instant::now();
    loop {
        let live = live_segments(server);
        let ids = live.iter().map(|segment| segment["id"].as_str().expect("a name"));
        let named: BTreeSet<String> = ids.map(|id| format!("{id}.parquet")).collect();
        let files = std::fs::read_dir(data_dir.join("store/segments")).expect("a folder");
        let files = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
        let files: BTreeSet<String> = files.collect();
        if files == named {
            return;
        }
        assert!(begun.elapsed() < UPKEEP_MAX, "there are {files:?}, named are {named:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
