//! How a server ends, and what the next start finds; and that there is only one on a store.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::acked::{Client, in_parallel};
use crate::harness::{Config, arg, outcome, run};

/// What is promised for the end after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(10);

#[test]
fn a_server_that_is_told_to_stop_flushes_and_leaves_nothing_to_replay() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new(folder.path());
    let mut clients: Vec<Client> = (0..3).map(Client::new).collect();
    let server = config.start();
    let addresses = server.addresses;
    let stop = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        let ending = scope.spawn(|| {
            thread::sleep(Duration::from_millis(500));
            let ended = server.terminate(STOP_MAX);
            stop.store(true, Ordering::Relaxed);
            ended
        });
        // Told to stop in the middle of their requests.
        in_parallel(&mut clients, |client| client.send(addresses, &stop));
        ending.join().expect("ended")
    });
    let (status, said) = ended.expect("within the promised time");
    assert_eq!(status.code(), Some(0), "{said}");

    let server = config.start();
    let status = server.api().get("/api/v1/status").expect("an answer").json();
    assert_eq!(status["store"]["recovery"]["frames"], 0, "{status}");
    assert_eq!(status["store"]["memtable_spans"], 0, "{status}");
    in_parallel(&mut clients, |client| client.check_all(server.addresses));
    assert!(clients.iter().all(|client| client.acked_requests > 0));
}

#[test]
fn a_server_that_is_told_twice_to_stop_does_so_at_once_and_keeps_what_it_acknowledged() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::new(folder.path());
        // Longer than this test waits: without the second signal it would be seen to hang.
        let server =
            config.clone().with("shutdown-seconds-max", "3600").with("body-read-seconds-max", "3600").start();
        let mut client = Client::new(9);
        client.send_one(server.addresses);
        // A request whose body never comes holds the stop up.
        let mut socket = TcpStream::connect(server.addresses.otlp_http).expect("connected");
        let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                    content-length: 1000\r\n\r\n{";
        socket.write_all(head.as_bytes()).expect("sent");
        server.wait_until_readyz(|said| said["in_flight_bytes"].as_u64() > Some(0));

        server.signal(first);
        server.wait_until_said("asked to stop");
        // Twice at once is one request, as `timeout` makes it: the stop goes on.
        server.signal(first);
        std::thread::sleep(Duration::from_millis(600));
        server.signal(second);
        let (status, said) = server.wait_for_end(STOP_MAX).expect("it stops at once");
        assert_eq!(status.code(), Some(130), "SIG{first}, SIG{second}: {said}");
        assert!(said.contains("error: stopped at once"), "{said}");
        drop(socket);

        let server = config.start();
        client.check_all(server.addresses);
        assert_eq!(client.acked_requests, 1);
    }
}

#[test]
fn a_second_server_on_a_store_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new(folder.path());
    let server = config.start();
    // The second one listens before it opens its store; it must not answer for it.
    let (status, said) = match config.try_start() {
        Err(ended) => ended,
        Ok(second) => second.wait_for_end(STOP_MAX).expect("it ends by itself"),
    };
    assert_eq!(status.code(), Some(1), "{said}");
    let error = said.lines().find(|line| line.starts_with("error: ")).expect("an error line");
    assert!(error.contains(arg(folder.path())) && error.contains("is in use by"), "{error}");

    let (code, _, said) = outcome(&run(&["verify", "--data-dir", arg(folder.path())]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");

    let stop = AtomicBool::new(false);
    let mut clients = vec![Client::new(5)];
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
        });
        in_parallel(&mut clients, |client| client.send(server.addresses, &stop));
    });
    in_parallel(&mut clients, |client| client.check_all(server.addresses));
    assert!(clients[0].acked_requests > 0);
}

#[test]
fn a_wrong_setting_or_address_ends_the_start_with_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "data_dri = \"/tmp/x\"\n").expect("written");
    let (code, _, said) = outcome(&run(&["serve", "--config", arg(&file)]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("error: ") && said.contains("data_dir"), "{said}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let data_dir = folder.path().join("data");
    let flags =
        ["serve", "--data-dir", arg(&data_dir), "--otlp-http-addr=127.0.0.1:0", "--api-addr=127.0.0.1:0"];
    let grpc = format!("--otlp-grpc-addr={address}");
    let (code, _, said) = outcome(&run(&[&flags[..], &[grpc.as_str()]].concat()));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("error: ") && said.contains(&address) && said.lines().count() == 1, "{said}");
}

#[test]
fn the_same_signal_twice_at_once_is_one_request_to_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new(folder.path());
    let server = config.start();
    let mut client = Client::new(10);
    client.send_one(server.addresses);
    server.signal("TERM");
    server.signal("TERM");
    let (status, said) = server.wait_for_end(STOP_MAX).expect("it stops");
    assert_eq!(status.code(), Some(0), "{said}");
    let server = config.start();
    client.check_all(server.addresses);
}
