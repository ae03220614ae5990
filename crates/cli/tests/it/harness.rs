//! A server as a process of its own: started on ports that the system chooses, waited for, stopped,
//! killed, and started again on the same folder; and how a test says that it cannot run here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::http::Http;

/// How long a start may take before it is called a failure. Recovery of what a test writes takes a
/// second; the rest is for machines that are busy.
const START_MAX: Duration = Duration::from_secs(60);

/// What a process has said so far.
type Said = Arc<Mutex<String>>;

/// How to start a server.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    data_dir: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
}

/// The ports that the system chooses, unless a test does.
const PORT_FLAGS: [&str; 3] = ["otlp-grpc-addr", "otlp-http-addr", "api-addr"];

impl Config {
    /// On a folder, with everything else as it is by default but the ports.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            flags: Vec::new(),
            environment: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// Run by another program, such as `strace`, that is given the command behind its own arguments and
    /// whose process becomes the server's.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// With a setting, such as `("generation-bytes-max", "1MiB")`.
    pub(crate) fn with(mut self, flag: &str, value: &str) -> Self {
        self.flags.push(format!("--{flag}={value}"));
        self
    }

    /// With a variable in its environment.
    pub(crate) fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&self) -> Server {
        let server = self.start_listening();
        server.wait_until_ready();
        server
    }

    /// Starts it and waits until it listens; it may still be recovering.
    pub(crate) fn start_listening(&self) -> Server {
        match self.try_start() {
            Ok(server) => server,
            Err((status, said)) => panic!("the server did not start ({status}):\n{said}"),
        }
    }

    /// Starts it; if it ends before it listens, its exit status and what it said.
    pub(crate) fn try_start(&self) -> Result<Server, (ExitStatus, String)> {
        let mut command = tracelake_under(&self.wrapper);
        command.arg("serve").arg("--data-dir").arg(&self.data_dir);
        for flag in PORT_FLAGS {
            if !self.flags.iter().any(|given| given.starts_with(&format!("--{flag}="))) {
                command.arg(format!("--{flag}=127.0.0.1:0"));
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(&self.flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let (said, log) = (Said::default(), Said::default());
        let (addresses, listening) = mpsc::channel();
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let readers = vec![
            listen_to(stdout, &[&said], move |line| {
                if let Some(found) = line.strip_prefix("listening ").and_then(Addresses::parse) {
                    addresses.send(found).ok();
                }
            }),
            listen_to(stderr, &[&said, &log], |_| {}),
        ];
        let mut server = Server { child, addresses: Addresses::NONE, said, log, readers };
        match wait_for_addresses(&listening) {
            Some(addresses) => {
                server.addresses = addresses;
                Ok(server)
            }
            None => Err(server.wait(START_MAX).expect("a server that does not listen ends")),
        }
    }
}

/// None when the process closed its output, which it does when it ends.
fn wait_for_addresses(listening: &Receiver<Addresses>) -> Option<Addresses> {
    match listening.recv_timeout(START_MAX) {
        Ok(addresses) => Some(addresses),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the server neither listens nor ends"),
    }
}

fn listen_to(
    stream: impl Read + Send + 'static,
    said: &[&Said],
    mut each_line: impl FnMut(&str) + Send + 'static,
) -> JoinHandle<()> {
    let said: Vec<Said> = said.iter().map(|said| Arc::clone(said)).collect();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            each_line(&line);
            for said in &said {
                let mut said = said.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        }
    })
}

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) otlp_grpc: SocketAddr,
    pub(crate) otlp_http: SocketAddr,
    pub(crate) api: SocketAddr,
}

impl Addresses {
    const NONE: Self = {
        let none = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
        Self { otlp_grpc: none, otlp_http: none, api: none }
    };

    /// From `otlp_grpc=… otlp_http=… api=…`.
    fn parse(text: &str) -> Option<Self> {
        let find = |name: &str| {
            text.split(' ').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        };
        let (otlp_grpc, otlp_http) = (find("otlp_grpc")?, find("otlp_http")?);
        Some(Self { otlp_grpc, otlp_http, api: find("api")? })
    }
}

/// A server that runs. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) addresses: Addresses,
    said: Said,
    log: Said,
    readers: Vec<JoinHandle<()>>,
}

impl Server {
    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A connection to the API.
    pub(crate) fn api(&self) -> Http {
        Http::new(self.addresses.api)
    }

    /// The address of the API as the command line takes it.
    pub(crate) fn api_url(&self) -> String {
        format!("http://{}", self.addresses.api)
    }

    /// The address of OTLP/HTTP as the command line takes it.
    pub(crate) fn otlp_url(&self) -> String {
        format!("http://{}", self.addresses.otlp_http)
    }

    /// The address of OTLP/gRPC as the command line takes it.
    pub(crate) fn grpc_url(&self) -> String {
        format!("http://{}", self.addresses.otlp_grpc)
    }

    /// What it writes on stderr, also after its end.
    pub(crate) fn log(&self) -> Arc<Mutex<String>> {
        Arc::clone(&self.log)
    }

    /// Waits until the server says that it is ready.
    pub(crate) fn wait_until_ready(&self) {
        let begun = Instant::now();
        let mut api = self.api();
        loop {
            match api.get("/readyz") {
                Ok(answer) if answer.status == 200 => return,
                _ => assert!(begun.elapsed() < START_MAX, "not ready in time:\n{}", self.said()),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until what `/readyz?verbose` says is as wanted.
    pub(crate) fn wait_until_readyz(&self, is_so: impl Fn(&serde_json::Value) -> bool) {
        let begun = Instant::now();
        let mut api = self.api();
        loop {
            let answer = api.get("/readyz?verbose").expect("an answer").json();
            if is_so(&answer) {
                return;
            }
            assert!(begun.elapsed() < START_MAX, "it stays so: {answer}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has said something with this text.
    pub(crate) fn wait_until_said(&self, text: &str) {
        let begun = Instant::now();
        while !self.said().contains(text) {
            assert!(begun.elapsed() < START_MAX, "it does not say {text}:\n{}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has said so far, on stdout and stderr.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Kills it as a power cut would: it has no say in it.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    /// Asks it to stop, and waits at most `within`; its exit status and what it said.
    pub(crate) fn terminate(mut self, within: Duration) -> Option<(ExitStatus, String)> {
        self.signal("TERM");
        self.wait(within)
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        assert!(signal(&self.child, name), "it does not run any more:\n{}", self.said());
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait_for_end(mut self, within: Duration) -> Option<(ExitStatus, String)> {
        self.wait(within)
    }

    fn wait(&mut self, within: Duration) -> Option<(ExitStatus, String)> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                self.readers.drain(..).for_each(|reader| reader.join().expect("reads to the end"));
                return Some((status, self.said()));
            }
            if begun.elapsed() > within {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if thread::panicking() {
            eprintln!("the server said:\n{}", self.said());
        }
    }
}

/// Sends a process a signal, such as `TERM`; false if it has ended.
pub(crate) fn signal(child: &Child, name: &str) -> bool {
    // The standard library has no signal but SIGKILL; every shell has all.
    let kill = format!("kill -{name} {}", child.id());
    Command::new("sh").args(["-c", &kill]).status().expect("a shell").success()
}

/// The binary, in a folder without settings and an environment without any.
pub(crate) fn tracelake() -> Command {
    tracelake_under(&[])
}

/// As [`tracelake`], as the last argument of another program, if there is one.
fn tracelake_under(wrapper: &[String]) -> Command {
    let binary = env!("CARGO_BIN_EXE_tracelake");
    let mut command = match wrapper {
        [] => Command::new(binary),
        [program, args @ ..] => {
            let mut command = Command::new(program);
            command.args(args).arg(binary);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if ["TRACELAKE_", "AWS_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs a command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    tracelake().args(args).stdin(Stdio::null()).output().expect("the binary starts")
}

/// What a command wrote, and its exit code.
pub(crate) fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// As [`run`], for a command that must succeed: what it wrote on stdout.
pub(crate) fn run_ok(args: &[&str]) -> String {
    let (code, stdout, stderr) = outcome(&run(args));
    assert_eq!(code, Some(0), "tracelake {}\n{stdout}{stderr}", args.join(" "));
    stdout
}

/// The seed of a random test: `TRACELAKE_TEST_SEED`, or a new one; printed, so that a failure can be
/// repeated.
pub(crate) fn seeded() -> (u64, SmallRng) {
    let seed = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("TRACELAKE_TEST_SEED={seed}");
    (seed, SmallRng::seed_from_u64(seed))
}

/// Says that a test did not run, and why; fails it if `TRACELAKE_TEST_REQUIRE`, a list with spaces
/// between, has `need`, which is how CI sees to it that what can run does.
pub(crate) fn skip(need: &str, why: &str) {
    let required = std::env::var("TRACELAKE_TEST_REQUIRE").unwrap_or_default();
    assert!(required.split_whitespace().all(|name| name != need), "this must run, and cannot: {why}");
    // Not by a macro: what those print in a test that passes is not shown.
    let test = thread::current().name().unwrap_or_default().to_owned();
    writeln!(std::io::stderr(), "skipped: {test}: {why}").ok();
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().expect("a path of the tests is UTF-8")
}
