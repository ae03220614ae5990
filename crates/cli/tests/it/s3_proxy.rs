//! A proxy between the binary and S3 that does what networks and stores do to requests: errors, delays,
//! broken connections, answers that are lost after the work was done. It also counts.
//!
//! It knows as much of HTTP/1.1 as the two ends use, and changes nothing: signatures stay right.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How late the late answer is: far later than any that a store which is well gives.
const LATE: Duration = Duration::from_secs(2);

/// What happens to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing.
    Calm,
    /// Something happens to three of ten: each of [`STORM`] once, then whatever chance brings.
    Storm,
    /// The next read of a segment is answered late; nothing else happens.
    OneLate,
    /// Every write is carried out, and the first answer to it is an error.
    Forgetful,
    /// No request is answered.
    Down,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It is answered with this status and goes no further.
    Status(u16),
    /// It is answered somewhat late.
    Delay,
    /// It is answered very late.
    Late,
    /// The connection breaks before it arrives.
    Reset,
    /// The connection breaks in the middle of the answer.
    ResetInAnswer,
    /// It is carried out, and the connection breaks before the answer.
    LostAnswer,
    /// It is carried out, and the answer says that it was not.
    DoneAnd500,
}

/// What a storm brings.
pub(crate) const STORM: [Fault; 8] = [
    Fault::DoneAnd500,
    Fault::LostAnswer,
    Fault::Reset,
    Fault::ResetInAnswer,
    Fault::Status(500),
    Fault::Status(503),
    Fault::Status(429),
    Fault::Delay,
];

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) fault: Option<Fault>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    weather: Mutex<Weather>,
    random: Mutex<SmallRng>,
    seen: Mutex<Vec<Seen>>,
    /// Of [`STORM`], what has not come yet.
    due: Mutex<Vec<Fault>>,
    /// Writes whose first answer was an error.
    forgotten: Mutex<HashSet<String>>,
    stopped: AtomicBool,
}

/// The proxy. It takes no more connections when this is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
}

impl Proxy {
    /// In front of `upstream`; what happens to which request follows from the seed and their order.
    pub(crate) fn new(upstream: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            upstream,
            weather: Mutex::new(Weather::Calm),
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            seen: Mutex::new(Vec::new()),
            due: Mutex::new(STORM.to_vec()),
            forgotten: Mutex::new(HashSet::new()),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // An error is a connection that one of the two ends has left.
                thread::spawn(move || shared.serve(stream).ok());
            }
        });
        Self { shared, address }
    }

    pub(crate) fn set(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
    }

    /// What came since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the one that accepts.
        TcpStream::connect(self.address).ok();
    }
}

/// A request or an answer: its head as it came, and what of it matters here.
struct Head {
    bytes: Vec<u8>,
    first: String,
    length: Option<u64>,
    chunked: bool,
    range: Option<String>,
}

fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut head =
        Head { bytes: Vec::new(), first: String::new(), length: None, chunked: false, range: None };
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        head.bytes.extend_from_slice(&line);
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            return Ok(Some(head));
        }
        if head.first.is_empty() {
            head.first = line;
        } else if let Some((name, value)) = line.split_once(':') {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse().ok(),
                "transfer-encoding" => head.chunked = value.eq_ignore_ascii_case("chunked"),
                "range" => head.range = Some(value.to_owned()),
                _ => {}
            }
        }
    }
}

fn read_body(stream: &mut impl BufRead, head: &Head) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if let Some(length) = head.length {
        stream.take(length).read_to_end(&mut body)?;
    } else if head.chunked {
        loop {
            let from = body.len();
            stream.read_until(b'\n', &mut body)?;
            let length = String::from_utf8_lossy(&body[from..]).trim().to_owned();
            let length = u64::from_str_radix(&length, 16)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no chunk"))?;
            stream.take(length + 2).read_to_end(&mut body)?;
            if length == 0 {
                break;
            }
        }
    }
    Ok(body)
}

fn refusal(status: u16, is_head: bool) -> String {
    let text = "<Error><Code>SlowDown</Code><Message>A test wants it so.</Message></Error>";
    let text = if is_head { "" } else { text };
    format!("HTTP/1.1 {status} Fault\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

impl Shared {
    fn fault(&self, method: &str, path: &str) -> Option<Fault> {
        let is_write = matches!(method, "PUT" | "POST");
        let mut weather = self.weather.lock().unwrap();
        let now = *weather;
        match now {
            Weather::Calm => None,
            Weather::OneLate if method == "GET" && path.contains("/segments/") => {
                *weather = Weather::Calm;
                Some(Fault::Late)
            }
            Weather::OneLate => None,
            Weather::Down => Some(Fault::Reset),
            Weather::Forgetful => {
                let is_first = is_write && self.forgotten.lock().unwrap().insert(path.to_owned());
                is_first.then_some(Fault::DoneAnd500)
            }
            Weather::Storm => {
                let drawn = match self.random.lock().unwrap().random_range(0..100) {
                    0..3 => Fault::Status(500),
                    3..8 => Fault::Status(503),
                    8..13 => Fault::Status(429),
                    13..18 => Fault::Delay,
                    18..23 => Fault::Reset,
                    23..26 => Fault::ResetInAnswer,
                    26..32 => Fault::LostAnswer,
                    32..40 if is_write => Fault::DoneAnd500,
                    40..48 if is_write => Fault::LostAnswer,
                    _ => return None,
                };
                Some(self.take_due(is_write).unwrap_or(drawn))
            }
        }
    }

    /// What has not come yet of all that can happen to such a request.
    fn take_due(&self, is_write: bool) -> Option<Fault> {
        let mut due = self.due.lock().unwrap();
        let at = due.iter().position(|fault| is_write || *fault != Fault::DoneAnd500)?;
        Some(due.remove(at))
    }

    fn serve(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut client = BufReader::new(client);
        let mut upstream = None;
        while let Some(request) = read_head(&mut client)? {
            let mut words = request.first.split(' ').map(str::to_owned);
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let fault = self.fault(&method, &path);
            let is_head = method == "HEAD";
            let range = request.range.clone();
            self.seen.lock().unwrap().push(Seen { method, path, range, fault });
            // With the body unread the kernel sends a reset.
            if fault == Some(Fault::Reset) {
                return Ok(());
            }
            let body = read_body(&mut client, &request)?;
            if let Some(Fault::Status(status)) = fault {
                client.get_mut().write_all(refusal(status, is_head).as_bytes())?;
                continue;
            }
            if fault == Some(Fault::Delay) {
                let milliseconds = self.random.lock().unwrap().random_range(50..1_000);
                thread::sleep(Duration::from_millis(milliseconds));
            }
            if fault == Some(Fault::Late) {
                thread::sleep(LATE);
            }
            let mut stream = match upstream.take() {
                Some(stream) => stream,
                None => BufReader::new(TcpStream::connect(self.upstream)?),
            };
            stream.get_mut().set_nodelay(true)?;
            stream.get_mut().write_all(&request.bytes)?;
            stream.get_mut().write_all(&body)?;
            let Some(head) = read_head(&mut stream)? else { return Ok(()) };
            let mut answer = head.bytes.clone();
            if !is_head {
                answer.extend(read_body(&mut stream, &head)?);
            }
            match fault {
                Some(Fault::LostAnswer) => return Ok(()),
                Some(Fault::DoneAnd500) => client.get_mut().write_all(refusal(500, is_head).as_bytes())?,
                Some(Fault::ResetInAnswer) => return client.get_mut().write_all(&answer[..answer.len() / 2]),
                _ => client.get_mut().write_all(&answer)?,
            }
            upstream = Some(stream);
        }
        Ok(())
    }
}
