//! A real S3 server on loopback: SeaweedFS, started by the first test that needs it, stopped by the last;
//! and buckets in it, looked into without the code that is tested.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::harness::{Config, skip};
use crate::http::Http;

/// How long it may take to start; it takes some seconds.
const START_MAX: Duration = Duration::from_secs(60);

/// What the tests' binaries sign with. Nothing that they write may have either of the two.
pub(crate) const KEY: &str = "AKIATRACELAKETESTS00";
pub(crate) const SECRET: &str = "neverToBeSeenInAnyOutput/0123456789+ABCD";

/// Its name, or its path.
const PROGRAM: &str = "TRACELAKE_TEST_WEED";

/// Unsigned requests may do everything, so that the tests can look into buckets; a signature that is
/// given must be right all the same.
fn identities() -> String {
    format!(
        r#"{{"identities":[
            {{"name":"tests","credentials":[{{"accessKey":"{KEY}","secretKey":"{SECRET}"}}],
              "actions":["Admin","Read","Write","List"]}},
            {{"name":"anonymous","actions":["Admin","Read","Write","List"]}}]}}"#
    )
}

/// The server. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct S3 {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

/// All tests share one, as long as one of them runs.
static SHARED: Mutex<Weak<S3>> = Mutex::new(Weak::new());

impl S3 {
    /// The server; none if there is no such program here.
    pub(crate) fn get() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    fn start() -> Option<Self> {
        let program = std::env::var(PROGRAM).unwrap_or_else(|_| "weed".to_owned());
        let version =
            Command::new(&program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            skip("s3", &format!("there is no SeaweedFS: {PROGRAM} names none, and no weed is in the path"));
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("identities.json");
        std::fs::write(&config, identities()).expect("written");
        let ports = free_ports(8);
        let port = |name: &str, at: usize| format!("-{name}={}", ports[at]);
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let process = Command::new(&program)
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
            .arg(format!("-dir={}", folder.path().display()))
            .arg(format!("-s3.config={}", config.display()))
            .arg(format!("-filer.localSocket={}", folder.path().join("filer.sock").display()))
            .arg(format!("-s3.localSocket={}", folder.path().join("s3.sock").display()))
            .args([port("master.port", 0), port("master.port.grpc", 1), port("volume.port", 2)])
            .args([port("volume.port.grpc", 3), port("filer.port", 4), port("filer.port.grpc", 5)])
            .args([port("s3.port", 6), port("s3.port.grpc", 7)])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"])
            .args(["-master.volumeSizeLimitMB=64", "-volume.max=200"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("it starts");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[6]));
        let mut server = Self { process, address, folder };
        server.wait_until_ready();
        Some(server)
    }

    /// It answers long before it can store anything.
    fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        let put = |path: &str| Http::new(self.address).put(path, b"x").map(|answer| answer.status);
        while put("/readiness").ok() != Some(200) || put("/readiness/object").ok() != Some(200) {
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < START_MAX, "SeaweedFS is not ready in time:\n{}", log());
            if let Ok(Some(status)) = self.process.try_wait() {
                panic!("SeaweedFS ended ({status}):\n{}", log());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Ports below those that the system gives to connections, so that nobody takes them meanwhile.
fn free_ports(count: usize) -> Vec<u16> {
    let mut held = Vec::new();
    while held.len() < count {
        let port: u16 = rand::rng().random_range(20_000..32_000);
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    held.iter().map(|listener| listener.local_addr().expect("bound").port()).collect()
}

/// A part of a bucket of its own.
#[derive(Debug)]
pub(crate) struct Bucket {
    server: Arc<S3>,
    name: String,
}

impl Bucket {
    /// A new bucket; none where there is no S3 server.
    pub(crate) fn new() -> Option<Self> {
        let bucket = Self { server: S3::get()?, name: format!("traces-{:016x}", rand::random::<u64>()) };
        let made = bucket.http().put(&format!("/{}", bucket.name), b"").expect("an answer");
        assert_eq!(made.status, 200, "{}", made.text());
        Some(bucket)
    }

    /// Where the S3 server itself answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// As a setting.
    pub(crate) fn url(&self) -> String {
        format!("s3://{}/some/prefix", self.name)
    }

    /// The flags that name it, by way of this address.
    pub(crate) fn flags(&self, by_way_of: SocketAddr) -> Vec<String> {
        vec![format!("--store={}", self.url()), format!("--store-endpoint=http://{by_way_of}")]
    }

    /// A server with a folder for its WAL, and the bucket for all else.
    pub(crate) fn config(&self, data_dir: &std::path::Path, by_way_of: SocketAddr) -> Config {
        let config = Config::new(data_dir)
            .with("store", &self.url())
            .with("store-endpoint", &format!("http://{by_way_of}"));
        environment().into_iter().fold(config, |config, (name, value)| config.with_env(name, value))
    }

    fn http(&self) -> Http {
        Http::new(self.server.address)
    }

    fn path(&self, object: &str) -> String {
        format!("/{}/some/prefix/{object}", self.name)
    }

    /// Names of objects in a folder of the store, such as `segments`.
    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let query = format!("/{}?list-type=2&prefix=some/prefix/{folder}/", self.name);
        let answer = self.http().get(&query).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        assert!(text.contains("<IsTruncated>false</IsTruncated>"), "{text}");
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.filter_map(|(key, _)| key.strip_prefix("some/prefix/").map(str::to_owned)).collect()
    }

    pub(crate) fn read(&self, object: &str) -> Vec<u8> {
        let answer = self.http().get(&self.path(object)).expect("an answer");
        assert_eq!(answer.status, 200, "{object}");
        answer.body
    }

    pub(crate) fn write(&self, object: &str, bytes: &[u8]) {
        assert_eq!(self.http().put(&self.path(object), bytes).expect("an answer").status, 200, "{object}");
    }
}

/// What the binary finds its credentials in, and that no proxy stands between it and loopback.
pub(crate) fn environment() -> [(&'static str, &'static str); 3] {
    [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET), ("NO_PROXY", "127.0.0.1")]
}

/// Nothing that is written may have a credential in it.
pub(crate) fn assert_secret(text: &str) {
    for credential in [KEY, SECRET] {
        assert!(!text.contains(credential), "{credential} is in what everybody may read:\n{text}");
    }
}
