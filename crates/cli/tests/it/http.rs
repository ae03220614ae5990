//! A blocking HTTP/1.1 client of a hundred lines: the tests must not share code, and so faults,
//! with what they test.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Far above any answer that a test waits for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection, kept open from request to request.
#[derive(Debug)]
pub(crate) struct Http {
    address: SocketAddr,
    /// None: the default one.
    tenant: Option<&'static str>,
    stream: Option<BufReader<TcpStream>>,
}

impl Http {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, tenant: None, stream: None }
    }

    /// The same for a tenant.
    pub(crate) fn of_tenant(self, tenant: &'static str) -> Self {
        Self { tenant: Some(tenant), ..self }
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.request("GET", path, "", &[])
    }

    pub(crate) fn post_json(&mut self, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.post(path, "application/json", body)
    }

    pub(crate) fn post(&mut self, path: &str, media_type: &str, body: &[u8]) -> io::Result<Answer> {
        self.request("POST", path, media_type, body)
    }

    pub(crate) fn put(&mut self, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.request("PUT", path, "application/octet-stream", body)
    }

    /// Sends a request once; after an error the next request opens a new connection.
    fn request(&mut self, method: &str, path: &str, media_type: &str, body: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address).into_bytes();
        if !media_type.is_empty() {
            write!(request, "content-type: {media_type}\r\n")?;
        }
        if let Some(tenant) = self.tenant {
            write!(request, "x-scope-orgid: {tenant}\r\n")?;
        }
        write!(request, "content-length: {}\r\n\r\n", body.len())?;
        request.extend_from_slice(body);
        stream.get_mut().write_all(&request)?;
        let answer = read_answer(&mut stream)?;
        if answer.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn read_answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let status = read_line(stream)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| malformed("no status"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("no header"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if let Some(length) = answer.header("content-length") {
        let length = length.parse().map_err(|_| malformed("no length"))?;
        answer.body = vec![0; length];
        stream.read_exact(&mut answer.body)?;
    } else if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let length = usize::from_str_radix(&read_line(stream)?, 16).map_err(|_| malformed("no chunk"))?;
            let start = answer.body.len();
            answer.body.resize(start + length, 0);
            stream.read_exact(&mut answer.body[start..])?;
            // The line's end behind a chunk; behind the last one, that of the trailers.
            read_line(stream)?;
            if length == 0 {
                break;
            }
        }
    }
    Ok(answer)
}
