//! `kill -9` at random moments, again and again, on one store: what was acknowledged stays, nothing
//! comes twice, nothing comes from nowhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::Rng;

use crate::acked::{Client, in_parallel};
use crate::harness::{Config, Server, arg, outcome, run, seeded};

/// Lives of the server. Each ends at another moment; a hundred of them while spans come in, which met every
/// step of ingest, flush and commit many times over.
const LIVES: usize = 125;
const CLIENTS: u64 = 4;

#[test]
fn a_server_that_is_killed_a_hundred_times_keeps_what_it_acknowledged() {
    let (seed, mut random) = seeded();
    let folder = tempfile::tempdir().expect("a folder");
    // The smallest generations there are: so that kills meet flushes and commits, too.
    let config = Config::new(folder.path())
        .with("generation-bytes-max", "1MiB")
        .with("generation-age-seconds-max", "1");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|number| Client::new(seed ^ number)).collect();

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
        live_and_die(server, &mut clients, Duration::from_millis(moment));
    }

    let server = config.start();
    in_parallel(&mut clients, |client| client.check_all(server.addresses));
    let requests: u64 = clients.iter().map(|client| client.acked_requests).sum();
    let spans: usize = clients.iter().map(Client::acked_spans).sum();
    let again: u64 = clients.iter().map(|client| client.sent_again).sum();
    eprintln!("{LIVES} lives: {spans} spans in {requests} acknowledged requests, {again} sent again");
    assert!(requests > LIVES as u64, "the server hardly ever took anything");

    let (status, said) = server.terminate(Duration::from_secs(60)).expect("it stops");
    assert!(status.success(), "{status}\n{said}");
    // A flush that was killed may leave a file that nobody needs, which is no finding.
    let (code, said, _) = outcome(&run(&["verify", "--data-dir", arg(folder.path())]));
    assert_eq!(code, Some(0), "{said}");
}

/// Kills the server while all clients send.
fn live_and_die(server: Server, clients: &mut [Client], moment: Duration) {
    let stop = AtomicBool::new(false);
    let addresses = server.addresses;
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(moment);
            server.kill();
            stop.store(true, Ordering::Relaxed);
        });
        in_parallel(clients, |client| client.send(addresses, &stop));
    });
}
