//! A disk that fills up: senders are told to come again, queries go on, and when there is room again
//! the server goes on by itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Config, Server, skip};
use crate::http::Http;

/// How long the server may take to notice that there is room again.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// A small file system in memory, gone when this is dropped.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// None where this process may not mount.
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let size = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder }),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                skip("mount", &format!("no file system can be mounted: {why}"));
                None
            }
            Err(error) => {
                skip("mount", &format!("there is no mount: {error}"));
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.folder.path().display());
        }
    }
}

/// One span with a large value that does not compress.
fn request(number: u64) -> (String, Vec<u8>) {
    let trace = format!("{:032x}", u128::from(number) + 1);
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let value: String = (0..32_768)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            format!("{:02x}", state as u8)
        })
        .collect();
    let span = format!(
        r#"{{"traceId":"{trace}","spanId":"{:016x}","name":"n","startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000000000001","attributes":[{{"key":"v","value":{{"stringValue":"{value}"}}}}]}}"#,
        number + 1
    );
    (trace, format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#).into_bytes())
}

fn every_acked_trace_is_there(server: &Server, acked: &[String]) {
    let mut api = server.api();
    for trace in acked {
        let answer = api.get(&format!("/api/v1/traces/{trace}")).expect("an answer");
        assert_eq!(answer.status, 200, "trace {trace}: {}", answer.text());
    }
}

#[test]
fn a_full_disk_stops_ingest_with_503_and_nothing_else() {
    let Some(disk) = SmallDisk::mount(48) else { return };
    let ballast: PathBuf = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 24 << 20]).expect("room for the ballast");
    let config = Config::new(&disk.path().join("data"));
    let server = config.start();
    let mut otlp = Http::new(server.addresses.otlp_http);

    let mut acked = Vec::new();
    let mut number = 0;
    let refused = loop {
        let (trace, body) = request(number);
        let answer = otlp.post_json("/v1/traces", &body).expect("an answer");
        match answer.status {
            200 => acked.push(trace),
            _ => break answer,
        }
        number += 1;
        assert!(number < 2_000, "the disk never fills up");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("Retry-After");
    assert!(wait >= 1, "a client must not hammer");
    assert!(acked.len() > 50, "{} requests were taken", acked.len());

    every_acked_trace_is_there(&server, &acked);
    assert_eq!(server.api().get("/livez").expect("an answer").status, 200);

    std::fs::remove_file(&ballast).expect("removed");
    let begun = Instant::now();
    loop {
        let (trace, body) = request(number);
        let answer = otlp.post_json("/v1/traces", &body).expect("an answer");
        if answer.status == 200 {
            acked.push(trace);
            break;
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(begun.elapsed() < RECOVERY_MAX, "there is room, and nothing is taken: {}", answer.text());
        thread::sleep(Duration::from_millis(200));
    }
    every_acked_trace_is_there(&server, &acked);
    server.wait_until_ready();

    server.kill();
    let server = config.start();
    every_acked_trace_is_there(&server, &acked);
}
