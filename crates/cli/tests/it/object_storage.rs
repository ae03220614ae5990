//! Segments and manifest in a bucket of a real S3 server, and a proxy before it that does what networks
//! and stores do: nothing acknowledged is lost, nothing comes twice, and what is wrong is said.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::acked::{Client, Refused, check_stored_once, in_parallel};
use crate::harness::{Config, Server, arg, outcome, seeded, tracelake};
use crate::http::Http;
use crate::s3::{Bucket, KEY, assert_secret, environment};
use crate::s3_proxy::{Fault, Proxy, STORM, Seen, Weather};

const CLIENTS: u64 = 3;

/// How long a server may take to notice that its store is there again, or another's: pauses of up to
/// 15 seconds, and what a busy machine adds.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(120);

/// What a process may have at most, whatever the store does: caches, memtables and requests, and what
/// the allocator keeps.
const MEMORY_KIB_MAX: u64 = 600 << 10;

fn clients(seed: u64) -> Vec<Client> {
    (0..CLIENTS).map(|number| Client::new(seed ^ number)).collect()
}

/// Small generations, so that there are many flushes and merges.
fn small(config: Config) -> Config {
    config.with("generation-bytes-max", "1MiB").with("generation-age-seconds-max", "1")
}

/// Runs a command on the store in the bucket.
fn run(bucket: &Bucket, by_way_of: SocketAddr, args: &[&str]) -> Output {
    let mut command = tracelake();
    command.args(args).args(bucket.flags(by_way_of)).envs(environment()).stdin(Stdio::null());
    command.output().expect("the binary starts")
}

/// As [`run`], for a command that must succeed: what it wrote.
pub(crate) fn run_ok(bucket: &Bucket, args: &[&str]) -> String {
    let (code, stdout, stderr) = outcome(&run(bucket, bucket.address(), args));
    assert_eq!(code, Some(0), "tracelake {}\n{stdout}{stderr}", args.join(" "));
    assert_secret(&(stdout.clone() + &stderr));
    stdout
}

fn assert_nothing_is_wrong(bucket: &Bucket, data_dir: &Path) {
    let said = run_ok(bucket, &["verify", "--data-dir", arg(data_dir)]);
    assert!(said.ends_with(": nothing is wrong\n"), "{said}");
}

/// Lets all clients send for a while, and look at what they have sent: not as fast as they can, as every
/// trace is looked up afterwards. How many answers were partial.
fn send_for(clients: &mut [Client], server: &Server, time: Duration) -> usize {
    let begun = Instant::now();
    let partial = AtomicUsize::new(0);
    in_parallel(clients, |client| {
        let (mut otlp, mut api) = (Http::new(server.addresses.otlp_http), server.api());
        while begun.elapsed() < time {
            match client.try_one(&mut otlp) {
                Ok(()) => thread::sleep(Duration::from_millis(20)),
                Err(Refused::ForNow(_)) => thread::sleep(Duration::from_millis(200)),
                Err(gone) => panic!("{gone:?}"),
            }
            partial.fetch_add(usize::from(client.glance(&mut api)), Ordering::Relaxed);
        }
    });
    partial.into_inner()
}

fn compact(server: &Server) {
    let answer = server.api().post("/api/v1/compact", "application/json", b"").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

pub(crate) fn stop(server: Server) {
    let (status, said) = server.terminate(RECOVERY_MAX).expect("it stops");
    assert!(status.success(), "{status}\n{said}");
    assert_secret(&said);
}

/// Asks until the answer is as wanted.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < RECOVERY_MAX, "it does not come to that: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_acknowledged_is_in_the_bucket_after_kills_and_merges_and_verify_knows_every_byte() {
    let Some(bucket) = Bucket::new() else { return };
    let (seed, _) = seeded();
    let folder = tempfile::tempdir().expect("a folder");
    let config = small(bucket.config(folder.path(), bucket.address()));
    let mut clients = clients(seed);
    for _ in 0..3 {
        let server = config.start();
        in_parallel(&mut clients, |client| client.check_touched(server.addresses));
        let partial = send_for(&mut clients, &server, Duration::from_millis(1_500));
        assert_eq!(partial, 0, "nothing goes wrong here");
        assert_secret(&server.said());
        server.kill();
    }
    let server = config.start();
    in_parallel(&mut clients, |client| client.check_all(server.addresses));
    check_stored_once(&clients, server.addresses);
    compact(&server);
    in_parallel(&mut clients, |client| client.check_all(server.addresses));
    let status = server.api().get("/api/v1/status").expect("an answer").text();
    assert_secret(&status);
    stop(server);

    assert!(!folder.path().join("store").exists(), "nothing but the WAL is in the folder");
    let segments = bucket.list("segments");
    assert!(!segments.is_empty() && !bucket.list("manifest").is_empty(), "all else is in the bucket");
    assert_nothing_is_wrong(&bucket, folder.path());
    let elsewhere = folder.path().join("not-there");
    assert_nothing_is_wrong(&bucket, &elsewhere);
    assert!(!elsewhere.exists(), "a check makes nothing");

    // One that no merge has replaced.
    let server = config.start();
    compact(&server);
    stop(server);
    let (code, listing, said) =
        outcome(&run(&bucket, bucket.address(), &["verify", "--json", "--data-dir", arg(folder.path())]));
    assert_eq!(code, Some(0), "{listing}{said}");
    for segment in &bucket.list("segments") {
        let whole = bucket.read(segment);
        let mut damaged = whole.clone();
        damaged[whole.len() / 3] ^= 0x10;
        bucket.write(segment, &damaged);
        let (code, stdout, said) =
            outcome(&run(&bucket, bucket.address(), &["verify", "--data-dir", arg(folder.path())]));
        // Files that were replaced by a merge are in no manifest, and wait to be deleted.
        let is_live = stdout.contains(segment);
        assert_eq!(code, Some(if is_live { 3 } else { 0 }), "{segment}: {stdout}{said}");
        bucket.write(segment, &whole);
        if is_live {
            assert!(stdout.contains("LOSS"), "{stdout}");
            return;
        }
    }
    panic!("no segment in the bucket is live");
}

#[test]
fn every_command_works_on_a_bucket() {
    let Some(bucket) = Bucket::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (file, ids) = (folder.path().join("spans.jsonl"), folder.path().join("ids"));
    let made = tracelake()
        .args(["gen", "--spans=3000", "--seed=7", "--output", arg(&file), "--ids-out", arg(&ids)])
        .output();
    assert!(made.expect("the binary starts").status.success());
    let data_dir = folder.path().join("data");
    let data_dir = arg(&data_dir);
    run_ok(&bucket, &["import", arg(&file), "--data-dir", data_dir]);
    let said = run_ok(&bucket, &["compact", "--data-dir", data_dir]);
    assert!(said.starts_with("merged"), "{said}");
    let ids = std::fs::read_to_string(ids).expect("a file");
    let (id, spans) = ids.lines().next().and_then(|line| line.split_once([' ', '\t'])).expect("an ID");
    let trace = run_ok(&bucket, &["trace", id, "--json", "--data-dir", data_dir]);
    assert_eq!(trace.matches("\"spanId\"").count().to_string(), spans.trim(), "{trace}");
    let exported = folder.path().join("again.jsonl");
    run_ok(&bucket, &["export", "--output", arg(&exported), "--data-dir", data_dir]);
    let count = |path: &Path| std::fs::read_to_string(path).expect("a file").matches("\"spanId\"").count();
    assert!(count(&exported) >= 3_000, "{}", count(&exported));
    assert_nothing_is_wrong(&bucket, Path::new(data_dir));
    let shown = run_ok(&bucket, &["config"]);
    assert!(shown.contains(&bucket.url()), "{shown}");
}

#[test]
fn of_two_servers_on_one_bucket_the_one_that_was_there_first_stops_and_loses_nothing() {
    let Some(bucket) = Bucket::new() else { return };
    let (seed, _) = seeded();
    let (first_dir, second_dir) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let first_config = bucket.config(first_dir.path(), bucket.address());
    let (mut mine, mut other) = (Client::new(seed), Client::new(seed ^ 1));
    let first = first_config.start();
    (0..5).for_each(|_| mine.send_one(first.addresses));
    let second = bucket.config(second_dir.path(), bucket.address()).start();
    (0..5).for_each(|_| other.send_one(second.addresses));

    let (status, said) = first.wait_for_end(RECOVERY_MAX).expect("it stops by itself");
    assert_eq!(status.code(), Some(70), "{said}");
    assert!(said.contains("took the store over"), "{said}");
    other.check_all(second.addresses);
    stop(second);

    // What it had acknowledged and not flushed is in its own WAL.
    let first = first_config.start();
    mine.check_all(first.addresses);
    other.check_all(first.addresses);
    stop(first);
    assert_nothing_is_wrong(&bucket, first_dir.path());
}

#[test]
fn a_store_that_errs_stalls_and_loses_answers_loses_no_span_and_doubles_none() {
    let Some(bucket) = Bucket::new() else { return };
    let (seed, mut random) = seeded();
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Proxy::new(bucket.address(), seed);
    let config = small(bucket.config(folder.path(), proxy.address));
    let mut clients = clients(seed);
    let (mut memory_kib_max, mut partial) = (0, 0);
    for _ in 0..4 {
        let server = config.start();
        in_parallel(&mut clients, |client| client.check_touched(server.addresses));
        proxy.set(Weather::Storm);
        partial += send_for(&mut clients, &server, Duration::from_millis(random.random_range(4_000..7_000)));
        memory_kib_max = memory_kib_max.max(peak_memory_kib(&server));
        // A merge has more to lose: it puts in parts, and deletes.
        let answer = server.api().post("/api/v1/compact", "application/json", b"").expect("an answer");
        assert!(matches!(answer.status, 200 | 503), "{}: {}", answer.status, answer.text());
        memory_kib_max = memory_kib_max.max(peak_memory_kib(&server));
        // It leaves duplicates out, so that later nobody could tell.
        let status = server.api().get("/api/v1/status").expect("an answer").json();
        assert_eq!(status["store"]["compaction"]["duplicates"], 0, "a span was stored twice: {status}");
        server.kill();
        proxy.set(Weather::Calm);
    }
    let server = config.start();
    in_parallel(&mut clients, |client| client.check_all(server.addresses));
    check_stored_once(&clients, server.addresses);
    compact(&server);
    in_parallel(&mut clients, |client| client.check_all(server.addresses));
    stop(server);
    assert_nothing_is_wrong(&bucket, folder.path());

    let seen = proxy.take_seen();
    let struck = |fault: Fault| seen.iter().filter(|seen| seen.fault == Some(fault)).count();
    let lost_puts = seen.iter().filter(|seen| seen.method == "PUT" && seen.fault == Some(Fault::LostAnswer));
    eprintln!(
        "{} requests to the store, {} with lost answers ({} of them puts), {} resets, {} times 503, \
         {} spans acknowledged, {partial} answers partial, at most {memory_kib_max} KiB",
        seen.len(),
        struck(Fault::LostAnswer),
        lost_puts.count(),
        struck(Fault::Reset) + struck(Fault::ResetInAnswer),
        struck(Fault::Status(503)),
        clients.iter().map(Client::acked_spans).sum::<usize>(),
    );
    for fault in STORM {
        assert!(struck(fault) > 0, "{fault:?} never struck");
    }
    assert!(memory_kib_max < MEMORY_KIB_MAX, "{memory_kib_max} KiB");
}

/// A span with a value that does not compress, in its own trace.
fn large_request(number: u64, random: &mut impl Rng) -> Vec<u8> {
    let value: String = (0..1_000_000).map(|_| char::from(random.random_range(b' '..=b'~'))).collect();
    let value = value.replace(['"', '\\'], "-");
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{:032x}","spanId":"0000000000000001","name":"large","startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000000000001","attributes":[{{"key":"value","value":{{"stringValue":"{value}"}}}}]}}]}}]}}]}}"#,
        u128::from(number) + 1
    )
    .into_bytes()
}

#[test]
fn writes_that_were_done_though_their_answer_says_otherwise_are_done_once() {
    let Some(bucket) = Bucket::new() else { return };
    let (seed, mut random) = seeded();
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Proxy::new(bucket.address(), seed);
    let config = bucket.config(folder.path(), proxy.address).with("deletion-grace-seconds", "1");
    // Two flushes that are put whole, and a merge of both that is put in parts.
    for life in 0..2 {
        let server = config.start();
        proxy.set(Weather::Forgetful);
        let mut http = Http::new(server.addresses.otlp_http);
        for number in life * 24..life * 24 + 24 {
            let answer =
                http.post_json("/v1/traces", &large_request(number, &mut random)).expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        stop(server);
    }
    assert_eq!(bucket.list("segments").len(), 2, "no write was made again under another name");
    let server = config.start();
    compact(&server);
    // What a merge that failed had left would be found, too.
    wait_until("the merged files are deleted", || bucket.list("segments").len() == 1);
    let status = server.api().get("/api/v1/status").expect("an answer").json();
    assert_eq!(status["store"]["compaction"]["merges"], 1, "{status}");
    stop(server);
    proxy.set(Weather::Calm);
    assert_nothing_is_wrong(&bucket, folder.path());

    let seen = proxy.take_seen();
    let struck = |what: &str| {
        seen.iter().filter(|seen| seen.fault == Some(Fault::DoneAnd500) && seen.path.contains(what)).count()
    };
    let parts = seen.iter().filter(|seen| seen.method == "PUT" && seen.path.contains("partNumber=")).count();
    assert!(struck("/manifest/") > 0 && struck("/segments/") > 2 && parts > 1, "{seen:?}");
    let completed = |seen: &&Seen| seen.method == "POST" && seen.path.contains("uploadId=");
    assert!(seen.iter().filter(completed).any(|seen| seen.fault == Some(Fault::DoneAnd500)), "{seen:?}");
}

/// The most that a process ever had in memory.
fn peak_memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).expect("a number")
}

#[test]
fn while_the_store_is_away_spans_are_taken_until_memory_is_full_and_answers_say_what_they_lack() {
    let Some(bucket) = Bucket::new() else { return };
    let (seed, _) = seeded();
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Proxy::new(bucket.address(), seed);
    let server = small(bucket.config(folder.path(), proxy.address)).start();
    let (mut before, mut during) = (Client::new(seed), Client::new(seed ^ 1));
    before.send_one(server.addresses);
    // In the bucket is not enough: until the manifest names it, queries have the spans from memory.
    wait_until("the spans are in a segment", || {
        let status = server.api().get("/api/v1/status").expect("an answer").json();
        status["store"]["segments"] == 1 && status["store"]["memtable_spans"] == 0
    });

    proxy.set(Weather::Down);
    let mut http = Http::new(server.addresses.otlp_http);
    let mut taken = 0;
    let refused = loop {
        match during.try_one(&mut http) {
            Ok(()) => taken += 1,
            Err(Refused::ForNow(answer)) => break answer,
            Err(gone) => panic!("{gone:?}"),
        }
    };
    assert_eq!((refused.status, taken > 10), (503, true), "{taken} requests; {}", refused.text());
    assert!(refused.header("retry-after").is_some(), "{}", refused.text());
    let trace = before.traces().next().expect("one");
    let partial = server.api().get(&format!("/api/v1/traces/{trace:032x}")).expect("an answer");
    assert_eq!(partial.status, 206, "{}", partial.text());
    let missing = partial.json()["partial"]["missing"].clone();
    // Each try fails at once, so the lookup's time is not what is over.
    let is_away = |gap: &serde_json::Value| {
        gap["kind"] == "network" && gap["segment"].as_str().is_some_and(|path| path.starts_with("segments/"))
    };
    let missing = missing.as_array().expect("a list");
    assert!(!missing.is_empty() && missing.iter().all(is_away), "{}", partial.text());
    assert_secret(&partial.text());
    // What is in memory is shown all the same, whole: the filters, which are in memory, too, say that no
    // segment has any of it.
    let fresh = during.traces().next().expect("one");
    let found = server.api().get(&format!("/api/v1/traces/{fresh:032x}")).expect("an answer");
    assert!(found.status == 200 && found.text().contains("spanId"), "{}: {}", found.status, found.text());

    proxy.set(Weather::Calm);
    wait_until("spans are taken again", || during.try_one(&mut http).is_ok());
    before.check_all(server.addresses);
    during.check_all(server.addresses);
    stop(server);
    assert_nothing_is_wrong(&bucket, folder.path());
}

#[test]
fn a_store_that_cannot_be_used_ends_a_start_with_one_sentence_that_says_what_to_do() {
    let Some(bucket) = Bucket::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let nobody =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|port| port.local_addr()).expect("a port");
    let (absent, nowhere) = ("s3://there-is-no-such-bucket/x", format!("http://{nobody}"));
    let (url, endpoint) = (bucket.url(), format!("http://{}", bucket.address()));
    for (store, endpoint, names, todo) in [
        (url.as_str(), nowhere.as_str(), nowhere.as_str(), "store_endpoint"),
        (absent, endpoint.as_str(), absent, "create the bucket there-is-no-such-bucket"),
    ] {
        let config = Config::new(folder.path()).with("store", store).with("store-endpoint", endpoint);
        let config =
            environment().into_iter().fold(config, |config, (name, value)| config.with_env(name, value));
        let (status, said) = match config.try_start() {
            Err(ended) => ended,
            Ok(server) => server.wait_for_end(RECOVERY_MAX).expect("it ends"),
        };
        assert_eq!(status.code(), Some(1), "{said}");
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error:")).collect();
        assert_eq!(errors.len(), 1, "{said}");
        assert!(errors[0].contains("cannot be reached") && errors[0].contains(todo), "{said}");
        assert!(errors[0].contains(names), "{said}");
        eprintln!("{}", errors[0]);
        assert_secret(&said);
    }
    let mut command = tracelake();
    command.args(["verify", "--data-dir", arg(folder.path())]).args(bucket.flags(bucket.address()));
    command.envs(environment()).env("AWS_SECRET_ACCESS_KEY", "wrong");
    let (code, stdout, said) = outcome(&command.output().expect("the binary starts"));
    assert_eq!(code, Some(1), "{stdout}{said}");
    assert!(said.contains("AWS_ACCESS_KEY_ID") && !said.contains(KEY), "{said}");
    eprintln!("{said}");
}

#[test]
fn a_bucket_is_listed_backed_up_beside_its_server_and_made_again_of_the_backup() {
    let Some(bucket) = Bucket::new() else { return };
    let (seed, _) = seeded();
    let folder = tempfile::tempdir().expect("a folder");
    let (backups, data_dir) = (folder.path().join("backups"), folder.path().join("first"));
    let server = bucket.config(&data_dir, bucket.address()).start();
    let mut clients = clients(seed);
    in_parallel(&mut clients, |client| client.send_one(server.addresses));
    let api = server.api_url();
    let back_up = ["backup", "--data-dir", arg(&data_dir), "--to", arg(&backups), "--api", &api];
    let said = run_ok(&bucket, &back_up);
    assert!(said.contains("1 segments"), "{said}");
    let listed = run_ok(&bucket, &["segments"]);
    assert_eq!(listed, crate::harness::run_ok(&["segments", "--api", &api]), "without the server");
    assert_eq!(listed.lines().count(), 2, "{listed}");
    in_parallel(&mut clients, |client| client.send_one(server.addresses));
    stop(server);

    // Nobody who could flush: what may be only in the WAL is not in it, and that is said.
    let silent = ["backup", "--to", arg(&backups), "--api", "http://127.0.0.1:9"];
    let (code, stdout, stderr) = outcome(&run(&bucket, bucket.address(), &silent));
    assert_eq!(code, Some(3), "{stdout}{stderr}");
    assert!(stderr.contains("not flushed"), "{stderr}");

    let restore = ["restore", "--from", arg(&backups)];
    let (code, stdout, stderr) = outcome(&run(&bucket, bucket.address(), &restore));
    assert_eq!(code, Some(1), "it is not empty: {stdout}{stderr}");
    assert!(stderr.contains("is not empty"), "{stderr}");
    let Some(other) = Bucket::new() else { return };
    let said = run_ok(&other, &restore);
    assert!(said.contains("restored version") && said.contains("s3://"), "{said}");
    let second = folder.path().join("second");
    let server = other.config(&second, other.address()).start();
    in_parallel(&mut clients, |client| client.check_all(server.addresses));
    stop(server);
    assert_nothing_is_wrong(&other, &second);

    // And as a folder of objects.
    let url = format!("file://{}", folder.path().join("objects").display());
    let said = crate::harness::run_ok(&[&restore[..], &["--store", &url]].concat());
    assert!(said.contains(&format!("into {url}")), "{said}");
    assert_eq!(crate::harness::run_ok(&["segments", "--store", &url]).lines().count(), 3);
    let server = Config::new(&folder.path().join("third")).with("store", &url).start();
    in_parallel(&mut clients, |client| client.check_all(server.addresses));
    stop(server);
}

#[test]
fn a_folder_named_by_a_url_holds_the_objects_of_one_server_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = folder.path().join("elsewhere");
    let url = format!("file://{}", objects.display());
    let config = |data_dir: &str| Config::new(&folder.path().join(data_dir)).with("store", &url);
    let server = config("first").start();
    let mut client = Client::new(1);
    client.send_one(server.addresses);
    let (status, said) = match config("second").try_start() {
        Err(ended) => ended,
        Ok(other) => other.wait_for_end(RECOVERY_MAX).expect("it ends"),
    };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("in use by") && said.contains("elsewhere"), "{said}");
    client.check_all(server.addresses);
    stop(server);
    assert!(objects.join("segments").is_dir() && !folder.path().join("first/store").exists());
    let data_dir = folder.path().join("first");
    let said = crate::harness::run_ok(&["verify", "--data-dir", arg(&data_dir), "--store", &url]);
    assert!(said.contains("1 segment") && said.ends_with(": nothing is wrong\n"), "{said}");
}
