//! The server as the kernel sees it, by `strace`: that what must be durable is synced before what
//! depends on it, and what happens when a sync fails.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::acked::{Client, Refused};
use crate::harness::{Config, arg, skip};
use crate::http::Http;

/// A server under `strace` is slow.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Where `strace` can be used, the command that writes calls to `log`. It detaches itself (`-D`), so
/// that the process of the test's own is the server.
fn strace<'a>(log: &'a Path, more: &[&'a str]) -> Option<Vec<&'a str>> {
    let tried = Command::new("strace").args(["-D", "-f", "-y", "-o", "/dev/null", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => {
            Some([&["strace", "-D", "-f", "-y", "-s", "64", "-o", arg(log)], more].concat())
        }
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            skip("strace", &format!("strace cannot trace here: {why}"));
            None
        }
        Err(error) => {
            skip("strace", &format!("there is no strace: {error}"));
            None
        }
    }
}

/// A call, from the line that it begins in to the one that it ends in.
#[derive(Debug)]
struct Call {
    name: String,
    /// Arguments and result.
    text: String,
    begins: usize,
    ends: usize,
}

impl Call {
    fn is_one_of(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    fn has_worked(&self) -> bool {
        self.text.rsplit_once(" = ").is_some_and(|(_, result)| !result.starts_with('-'))
    }

    /// The path of the file descriptor that is the first argument.
    fn path(&self) -> &str {
        let behind = self.text.split_once('<').filter(|(number, _)| number.parse::<u32>().is_ok());
        behind.and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path)
    }

    /// The texts in quotation marks.
    fn texts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.text.split('"').skip(1).step_by(2).collect::<Vec<_>>().into_iter()
    }

    /// For a call that gives a file a name: the last part of the old one and the whole of the new one.
    fn names_file(&self) -> Option<(&str, &str)> {
        let is_naming = self.is_one_of(&["link", "linkat", "rename", "renameat", "renameat2"]);
        let (from, to) = (self.texts().next()?, self.texts().next_back()?);
        (is_naming && self.has_worked()).then_some((from.rsplit('/').next().unwrap_or(from), to))
    }
}

/// The calls of a log, in the order in which they began.
fn calls(log: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: Vec<(&str, usize)> = Vec::new();
    for (place, line) in log.lines().enumerate() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let line = line.trim_start();
        if let Some(resumed) = line.strip_prefix("<... ") {
            let waiting = unfinished.iter().position(|(other, _)| *other == thread);
            let Some(waiting) = waiting else { continue };
            let (_, call) = unfinished.swap_remove(waiting);
            let rest = resumed.split_once(" resumed>").map_or("", |(_, rest)| rest);
            calls[call].text.push_str(rest);
            calls[call].ends = place;
            continue;
        }
        let Some((name, text)) = line.split_once('(') else { continue };
        let text = match text.split_once(" <unfinished ...>") {
            Some((text, _)) => {
                unfinished.push((thread, calls.len()));
                text
            }
            None => text,
        };
        calls.push(Call { name: name.to_owned(), text: text.to_owned(), begins: place, ends: place });
    }
    calls
}

/// The first call from a line on that is as wanted; if there is none, that it is missing.
fn first<'a>(
    calls: &'a [Call],
    from: usize,
    what: &str,
    is_wanted: impl Fn(&Call) -> bool,
) -> Result<&'a Call, String> {
    let found = calls.iter().find(|call| call.begins >= from && is_wanted(call));
    found.ok_or_else(|| format!("from line {from} on there is no {what}"))
}

const SYNCS: [&str; 2] = ["fsync", "fdatasync"];

/// The first successful sync of a path.
fn sync_of<'a>(calls: &'a [Call], from: usize, path: &str) -> Result<&'a Call, String> {
    first(calls, from, &format!("sync of {path}"), |call| {
        call.is_one_of(&SYNCS) && call.has_worked() && call.path() == path
    })
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

const WRITES: [&str; 6] = ["write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg"];

const TRACED: &str = "trace=write,writev,pwrite64,pwritev,sendto,sendmsg,fsync,fdatasync,mkdir,mkdirat,\
                      link,linkat,rename,renameat,renameat2,unlink,unlinkat";

/// Checks that the file that `naming` gives a name was synced before, and its folder after, and says
/// where.
fn is_named_durably(calls: &[Call], naming: &Call, folder: &str) -> Result<usize, String> {
    let (from, to) = naming.names_file().expect("it names a file");
    let behind = format!("/{from}");
    let of_file = |call: &&Call| call.path().ends_with(&behind) && call.ends < naming.begins;
    let written = calls.iter().filter(|call| call.is_one_of(&WRITES)).rfind(of_file);
    let written = written.ok_or_else(|| format!("{to} was never written"))?;
    let synced = first(calls, written.ends, &format!("sync of {to} before it has its name"), |call| {
        call.is_one_of(&SYNCS) && call.has_worked() && call.path().ends_with(&behind)
    })?;
    ensure(synced.ends < naming.begins, "a file was named before it was synced")?;
    Ok(sync_of(calls, naming.ends, folder)?.ends)
}

/// From the start to the end of a server that took one request and stored it.
fn everything_is_synced_in_time(calls: &[Call], data: &Path) -> Result<(), String> {
    let path = |name: &str| data.join(name).to_str().expect("UTF-8").to_owned();
    let ready = first(calls, 0, "line on stdout", |call| call.text.contains("\"ready after"))?.begins;
    let to_wal = first(calls, ready, "write to the WAL", |call| {
        call.is_one_of(&WRITES) && call.path().ends_with(".wal")
    })?;
    let answer = first(calls, to_wal.begins, "answer", |call| {
        call.is_one_of(&WRITES) && call.text.contains("\"HTTP/1.1 200 OK")
    })?;
    let synced = sync_of(calls, to_wal.ends, to_wal.path())?;
    ensure(synced.ends < answer.begins, "the answer was written before the sync ended")?;

    let made = first(calls, answer.ends, "making of the segments' folder", |call| {
        call.is_one_of(&["mkdir", "mkdirat"])
            && call.texts().next().is_some_and(|name| name.ends_with("segments"))
    })?;
    let is_named = |suffix: &'static str| {
        move |call: &Call| call.names_file().is_some_and(|(_, to)| to.ends_with(suffix))
    };
    let segment = first(calls, answer.ends, "segment", is_named(".parquet"))?;
    let entry = first(calls, segment.ends, "manifest entry", is_named(".entry"))?;
    let segment_durable = is_named_durably(calls, segment, &path("store/segments"))?;
    ensure(segment_durable < entry.begins, "the manifest named a segment that was not durable yet")?;
    let folder_durable = sync_of(calls, made.ends, &path("store"))?.ends;
    ensure(folder_durable < entry.begins, "the manifest named a segment in a folder not durable yet")?;
    let entry_durable = is_named_durably(calls, entry, &path("store/manifest"))?;
    let removal = first(calls, answer.ends, "removal of the WAL file", |call| {
        call.is_one_of(&["unlink", "unlinkat"]) && call.texts().any(|name| name.ends_with(".wal"))
    })?;
    ensure(entry_durable < removal.begins, "the WAL file went before the manifest was durable")
}

#[test]
fn what_is_acknowledged_or_named_was_synced_before() {
    let folder = tempfile::tempdir().expect("a folder");
    // As the kernel knows it.
    let root = folder.path().canonicalize().expect("it is there");
    let log = root.join("calls");
    let Some(strace) = strace(&log, &["-e", TRACED]) else { return };
    let data = root.join("data");
    let server = Config::new(&data).under(&strace).start();
    Client::new(1).send_one(server.addresses);
    let (status, said) = server.terminate(STOP_MAX).expect("it stops");
    assert_eq!(status.code(), Some(0), "{said}");

    let log = std::fs::read_to_string(&log).expect("the log of calls");
    let found = everything_is_synced_in_time(&calls(&log), &data);
    assert_eq!(found, Ok(()), "\n{log}");

    // The check sees it when any of them is missing.
    for (what, part) in [
        ("the WAL", ".wal"),
        ("files before they have their names", "/.tmp/"),
        ("the folder of segments", "/store/segments"),
        ("the folder of the manifest", "/store/manifest"),
        ("the folder of both", "/store"),
    ] {
        let mut calls = calls(&log);
        let is_it = |path: &str| path.ends_with(part) || (part.ends_with('/') && path.contains(part));
        calls.retain(|call| !(call.is_one_of(&SYNCS) && is_it(call.path())));
        assert!(everything_is_synced_in_time(&calls, &data).is_err(), "without the sync of {what}");
    }
}

#[test]
fn calls_that_were_interrupted_in_the_log_are_put_together() {
    let log = "10 fsync(3</a/b> <unfinished ...>\n\
               7  linkat(4</a>, \"x-1\", 5</c>, \"y.entry\", 0) = 0\n\
               10 <... fsync resumed>) = -1 EIO (Input/output error)\n\
               7  fdatasync(3</a/b>)               = 0\n\
               7  +++ exited with 0 +++\n";
    let calls = calls(log);
    let facts: Vec<_> =
        calls.iter().map(|call| (call.name.as_str(), call.path(), call.has_worked(), call.ends)).collect();
    assert_eq!(
        facts,
        [("fsync", "/a/b", false, 2), ("linkat", "/a", true, 1), ("fdatasync", "/a/b", true, 3)]
    );
    assert_eq!(calls[1].names_file(), Some(("x-1", "y.entry")));
}

#[test]
fn after_a_sync_that_failed_nothing_is_acknowledged_and_the_server_ends_with_70() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("calls");
    // Counted for each thread: opening the store syncs a new WAL file twice, and that must work.
    let fails = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=3+"];
    let Some(strace) = strace(&log, &fails) else { return };
    let config = Config::new(&folder.path().join("data"));
    let server = config.clone().under(&strace).start();
    let mut client = Client::new(1);
    let mut http = Http::new(server.addresses.otlp_http);
    let refused = (0..10).find_map(|_| client.try_one(&mut http).err()).expect("the disk fails");
    assert!(client.acked_requests > 0, "a request before it is acknowledged");
    if let Refused::ForNow(answer) = &refused {
        assert_eq!(answer.status, 503, "{}", answer.text());
    }

    for _ in 0..3 {
        client.try_one(&mut http).expect_err("nothing is acknowledged any more");
    }
    // It may have ended by now.
    if let Ok(answer) = server.api().get("/readyz") {
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    let (status, said) = server.wait_for_end(STOP_MAX).expect("it ends by itself");
    assert_eq!(status.code(), Some(70), "{said}");
    let error = said.lines().find(|line| line.starts_with("error: ")).expect(&said);
    assert!(error.contains("fsync failed: ") && error.contains("start it again"), "{error}");

    let server = config.start();
    client.check_all(server.addresses);
    client.send_one(server.addresses);
}
