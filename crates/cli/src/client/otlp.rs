//! Sending spans over OTLP: one connection, one request at a time, tried again as the protocol says
//! (opentelemetry-proto `docs/specification.md`) and only as long as the caller allows.

use std::io::Write;
use std::time::{Duration, Instant};

use ::http::{Method, Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::Full;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tracelake::{ErrorKind, TenantId};

use super::grpc::GrpcConnection;
use super::http::{Answer, Connection, url};
use super::wire::{PartialSuccess, partial_success, status_message};
use super::{ClientError, REQUEST_TIMEOUT};

/// Which of OTLP's transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// OTLP/HTTP with protobuf, on port 4318 by custom.
    Http,
    /// OTLP/HTTP with JSON, on port 4318 by custom.
    HttpJson,
    /// OTLP/gRPC, on port 4317 by custom.
    Grpc,
}

/// How the body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, at the fast end.
    Gzip,
    /// RFC 8878, level 1.
    Zstd,
}

/// Where and how to send.
#[derive(Debug, Clone)]
pub(crate) struct SenderOptions {
    /// `http://host:port`; over HTTP `/v1/traces` is added unless it is there.
    pub(crate) endpoint: String,
    /// Which transport.
    pub(crate) protocol: Protocol,
    /// How the body is compressed.
    pub(crate) compression: Compression,
    /// Sent as `X-Scope-OrgID`, if any.
    pub(crate) tenant: Option<TenantId>,
    /// Longest wait for one answer.
    pub(crate) timeout: Duration,
    /// How long one request is tried, from its first attempt to the start of its last.
    pub(crate) retry_for: Duration,
}

impl SenderOptions {
    /// Protobuf over HTTP, uncompressed, each request tried for a minute.
    pub(crate) fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            protocol: Protocol::Http,
            compression: Compression::None,
            tenant: None,
            timeout: REQUEST_TIMEOUT,
            retry_for: Duration::from_secs(60),
        }
    }
}

/// The server has taken the request: what it took is durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ack {
    /// Spans of it that the server will not take, now or later.
    pub(crate) rejected_spans: u64,
    /// Why, or a warning.
    pub(crate) message: Option<String>,
}

/// What came of sending a request once.
#[derive(Debug)]
pub(super) enum Attempt {
    Acked { rejected_spans: u64, message: Option<String> },
    Retry { after: Option<Duration>, error: ClientError },
    Failed(ClientError),
}

/// One connection to one server that takes spans.
#[derive(Debug)]
pub(crate) struct OtlpSender {
    transport: Transport,
    retry_for: Duration,
    retries: u64,
    jitter: SmallRng,
}

#[derive(Debug)]
enum Transport {
    Http(Box<HttpTransport>),
    Grpc(Box<GrpcConnection>),
}

#[derive(Debug)]
struct HttpTransport {
    connection: Connection,
    url: Uri,
    json: bool,
    compression: Compression,
    tenant: Option<TenantId>,
}

/// Wait before the second attempt when the server names none; it doubles from there.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait between attempts when the server names none.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// An answer to an export says success or one error: what is larger is no such answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

impl OtlpSender {
    /// A sender that connects with its first request.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] when the address cannot be used.
    pub(crate) fn new(options: &SenderOptions) -> Result<Self, ClientError> {
        let transport = match options.protocol {
            Protocol::Http | Protocol::HttpJson => {
                let path = if options.endpoint.trim_end_matches('/').ends_with("/v1/traces") {
                    ""
                } else {
                    "/v1/traces"
                };
                Transport::Http(Box::new(HttpTransport {
                    connection: Connection::new(options.timeout, ANSWER_BYTES_MAX),
                    url: url(&options.endpoint, path)?,
                    json: options.protocol == Protocol::HttpJson,
                    compression: options.compression,
                    tenant: options.tenant.clone(),
                }))
            }
            Protocol::Grpc => Transport::Grpc(Box::new(GrpcConnection::new(
                &options.endpoint,
                options.compression,
                options.tenant.as_ref().map(TenantId::as_str),
                options.timeout,
            )?)),
        };
        Ok(Self { transport, retry_for: options.retry_for, retries: 0, jitter: SmallRng::from_os_rng() })
    }

    /// How often a request of this sender was sent again.
    pub(crate) fn retries(&self) -> u64 {
        self.retries
    }

    /// Sends one `ExportTraceServiceRequest`, protobuf or (for [`Protocol::HttpJson`]) JSON, and
    /// waits until it is acknowledged. The same bytes are sent again, so that a server can recognise
    /// them, after a lost connection, a timeout, or an answer that OTLP calls retryable.
    ///
    /// # Errors
    /// The last attempt's, when it is not retryable or the time for retries is over. After
    /// [`ClientError::Unreachable`] the server may have taken the request.
    pub(crate) async fn send(&mut self, body: Bytes) -> Result<Ack, ClientError> {
        let body = match &self.transport {
            Transport::Http(http) => compress(body, http.compression).await?,
            Transport::Grpc(_) => body,
        };
        let begun = Instant::now();
        let mut backoff = BACKOFF_FIRST;
        loop {
            let attempt = match &self.transport {
                Transport::Http(http) => http.attempt(body.clone()).await,
                Transport::Grpc(grpc) => grpc.attempt(body.clone()).await,
            };
            let (after, error) = match attempt {
                Attempt::Acked { rejected_spans, message } => return Ok(Ack { rejected_spans, message }),
                Attempt::Failed(error) => return Err(error),
                Attempt::Retry { after, error } => (after, error),
            };
            // Between half and the whole of the backoff: senders that failed together must not
            // come back together. A time that the server names is a minimum.
            let wait = after.unwrap_or_else(|| backoff.mul_f64(self.jitter.random_range(0.5..1.0)));
            if begun.elapsed() + wait > self.retry_for {
                return Err(error);
            }
            self.retries += 1;
            tokio::time::sleep(wait).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

impl HttpTransport {
    async fn attempt(&self, body: Bytes) -> Attempt {
        let content_type = if self.json { "application/json" } else { "application/x-protobuf" };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(header::CONTENT_TYPE, content_type);
        match self.compression {
            Compression::None => {}
            Compression::Gzip => request = request.header(header::CONTENT_ENCODING, "gzip"),
            Compression::Zstd => request = request.header(header::CONTENT_ENCODING, "zstd"),
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("x-scope-orgid", tenant.as_str());
        }
        let request = match request.body(Full::new(body)) {
            Ok(request) => request,
            Err(error) => {
                let reason = error.to_string();
                return Attempt::Failed(ClientError::Endpoint { endpoint: self.url.to_string(), reason });
            }
        };
        match self.connection.request(request).await {
            Ok(answer) => self.judge(&answer),
            Err(error @ ClientError::Unreachable { .. }) => Attempt::Retry { after: None, error },
            Err(error) => Attempt::Failed(error),
        }
    }

    fn judge(&self, answer: &Answer) -> Attempt {
        let malformed = |reason: String| {
            Attempt::Failed(ClientError::Malformed { endpoint: self.url.to_string(), reason })
        };
        if answer.status.is_success() {
            let said = if self.json {
                json_partial_success(&answer.body).map_err(|error| error.to_string())
            } else {
                partial_success(&answer.body).map_err(|error| error.to_string())
            };
            return match said {
                Ok(PartialSuccess { rejected_spans, message }) => Attempt::Acked { rejected_spans, message },
                Err(reason) => malformed(reason),
            };
        }
        let message = if is_json(answer) {
            json_message(&answer.body)
        } else {
            status_message(&answer.body).filter(|text| !text.contains('\u{fffd}'))
        };
        let error = ClientError::Answered {
            endpoint: self.url.to_string(),
            status: answer.status.to_string(),
            message: message.unwrap_or_else(|| "no reason given".to_owned()),
            kind: http_kind(answer.status),
        };
        match answer.status.as_u16() {
            429 | 502 | 503 | 504 => Attempt::Retry { after: retry_after(answer), error },
            _ => Attempt::Failed(error),
        }
    }
}

pub(super) fn is_json(answer: &Answer) -> bool {
    answer
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"))
}

/// `Retry-After` in seconds. A date instead of seconds is not read: the backoff decides then.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn json_message(body: &[u8]) -> Option<String> {
    let status: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(status.get("message")?.as_str()?.to_owned())
}

fn json_partial_success(body: &[u8]) -> Result<PartialSuccess, serde_json::Error> {
    if body.is_empty() {
        return Ok(PartialSuccess::default());
    }
    let response: serde_json::Value = serde_json::from_slice(body)?;
    let Some(partial) = response.get("partialSuccess") else { return Ok(PartialSuccess::default()) };
    let rejected = partial.get("rejectedSpans");
    let rejected_spans = rejected
        .and_then(|spans| spans.as_u64().or_else(|| spans.as_str().and_then(|text| text.parse().ok())))
        .unwrap_or(0);
    let message = partial.get("errorMessage").and_then(serde_json::Value::as_str);
    Ok(PartialSuccess { rejected_spans, message: message.filter(|text| !text.is_empty()).map(str::to_owned) })
}

/// What an HTTP status means to the caller.
pub(super) fn http_kind(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 | 403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        410 => ErrorKind::Gone,
        413 => ErrorKind::TooLarge,
        415 => ErrorKind::UnsupportedMedia,
        429 => ErrorKind::Throttled,
        400..=499 => ErrorKind::Invalid,
        501 => ErrorKind::Unsupported,
        502..=504 => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

/// Compresses on a thread for blocking work: a large body takes milliseconds, which other
/// connections of the runtime would wait for.
async fn compress(body: Bytes, compression: Compression) -> Result<Bytes, ClientError> {
    let work = move || -> std::io::Result<Bytes> {
        Ok(match compression {
            Compression::None => body,
            Compression::Gzip => {
                let room = Vec::with_capacity(body.len() / 4);
                let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::fast());
                encoder.write_all(&body)?;
                encoder.finish()?.into()
            }
            Compression::Zstd => zstd::bulk::compress(&body, 1)?.into(),
        })
    };
    if compression == Compression::None {
        return work().map_err(|error| ClientError::Compress(error.to_string()));
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(compressed) => compressed.map_err(|error| ClientError::Compress(error.to_string())),
        Err(error) => Err(ClientError::Compress(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
