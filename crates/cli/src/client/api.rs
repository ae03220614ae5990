//! Asking a server's HTTP API for traces by their ID, and by what is in them.

use std::time::Duration;

use ::http::{Method, Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::Full;
use tracelake::{TenantId, TraceId};

use super::http::{Answer, Connection, url};
use super::otlp::{http_kind, is_json};
use super::{ClientError, REQUEST_TIMEOUT};

/// The encoding to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TraceFormat {
    /// OTLP JSON: `{"resourceSpans":[…]}`.
    Json,
    /// The same as protobuf: `TracesData`.
    Protobuf,
}

/// A trace as the server wrote it.
#[derive(Debug, Clone)]
pub(crate) struct TraceAnswer {
    /// In the encoding that was asked for.
    pub(crate) body: Bytes,
    /// Whether the server says that something is missing (HTTP 206); JSON says what, under `partial`.
    pub(crate) partial: bool,
}

/// One keep-alive connection to a server's HTTP API.
#[derive(Debug, Clone)]
pub(crate) struct ApiClient {
    connection: Connection,
    base: String,
    tenant: Option<TenantId>,
}

/// Far above what a server sends for one trace (its limit is 128 MiB in memory), so that only a
/// server gone wrong is cut off.
const ANSWER_BYTES_MAX: usize = 1 << 30;

impl ApiClient {
    /// Connects with the first request. `base` is `http://host:port`, by custom port 8080.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] when the address cannot be used.
    pub(crate) fn new(base: &str, tenant: Option<TenantId>) -> Result<Self, ClientError> {
        Self::with_timeout(base, tenant, REQUEST_TIMEOUT)
    }

    /// As [`Self::new`], waiting at most `timeout` for an answer.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn with_timeout(
        base: &str,
        tenant: Option<TenantId>,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        url(base, "")?;
        let connection = Connection::new(timeout, ANSWER_BYTES_MAX);
        Ok(Self { connection, base: base.to_owned(), tenant })
    }

    /// The trace `id`, or `None` if the server has no such trace. `hint` is the text of `start` and
    /// `end`, which help the server and never change the answer.
    ///
    /// # Errors
    /// [`ClientError`], each of its kinds.
    pub(crate) async fn trace(
        &self,
        id: TraceId,
        format: TraceFormat,
        hint: (Option<&str>, Option<&str>),
    ) -> Result<Option<TraceAnswer>, ClientError> {
        let mut path = format!("/api/v1/traces/{id}");
        let mut separator = '?';
        for (name, value) in [("start", hint.0), ("end", hint.1)] {
            if let Some(value) = value {
                path.push(separator);
                path.push_str(name);
                path.push('=');
                push_percent_encoded(&mut path, value);
                separator = '&';
            }
        }
        let accept = match format {
            TraceFormat::Json => "application/json",
            TraceFormat::Protobuf => "application/x-protobuf",
        };
        let answer = self.get(&path, accept).await?;
        match answer.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                let partial = answer.status == StatusCode::PARTIAL_CONTENT;
                Ok(Some(TraceAnswer { body: answer.body, partial }))
            }
            // Only a 404 in the API's own words is "no such trace"; another is a wrong address.
            StatusCode::NOT_FOUND if error_of(&answer).is_some_and(|(kind, _)| kind == "not_found") => {
                Ok(None)
            }
            _ => Err(self.error(&path, &answer)),
        }
    }

    /// Has the server merge its segments; what it says of that.
    ///
    /// # Errors
    /// [`ClientError`], each of its kinds.
    pub(crate) async fn compact(&self) -> Result<serde_json::Value, ClientError> {
        self.post_json("/api/v1/compact").await
    }

    /// Has the server do what the path says; what it answers.
    ///
    /// # Errors
    /// [`ClientError`], each of its kinds.
    pub(crate) async fn post_json(&self, path: &str) -> Result<serde_json::Value, ClientError> {
        let answer = self.request(Method::POST, path, "application/json").await?;
        self.json(path, &answer)
    }

    /// What the server says at a path.
    ///
    /// # Errors
    /// [`ClientError`], each of its kinds.
    pub(crate) async fn get_json(&self, path: &str) -> Result<serde_json::Value, ClientError> {
        let answer = self.get(path, "application/json").await?;
        self.json(path, &answer)
    }

    /// A page of the traces that a search finds, also where the server says that something is missing (HTTP 206): then
    /// `partial` says what.
    ///
    /// # Errors
    /// [`ClientError`], each of its kinds.
    pub(crate) async fn search(&self, search: &serde_json::Value) -> Result<serde_json::Value, ClientError> {
        let path = "/api/v1/search";
        let answer = self.send(Method::POST, path, "application/json", search.to_string().into()).await?;
        let is_found = matches!(answer.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        let body = serde_json::from_slice(&answer.body).ok().filter(|_| is_found);
        body.ok_or_else(|| self.error(path, &answer))
    }

    fn json(&self, path: &str, answer: &Answer) -> Result<serde_json::Value, ClientError> {
        let body = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status == StatusCode::OK);
        body.ok_or_else(|| self.error(path, answer))
    }

    async fn get(&self, path: &str, accept: &'static str) -> Result<Answer, ClientError> {
        self.request(Method::GET, path, accept).await
    }

    async fn request(&self, method: Method, path: &str, accept: &'static str) -> Result<Answer, ClientError> {
        self.send(method, path, accept, Bytes::new()).await
    }

    /// A body, if there is one, is JSON.
    async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let uri: Uri = url(&self.base, path)?;
        let endpoint = uri.to_string();
        let mut request = Request::builder().method(method).uri(uri).header(header::ACCEPT, accept);
        if let Some(tenant) = &self.tenant {
            request = request.header("x-scope-orgid", tenant.as_str());
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| ClientError::Endpoint { endpoint, reason: error.to_string() })?;
        self.connection.request(request).await
    }

    fn error(&self, path: &str, answer: &Answer) -> ClientError {
        let message = error_of(answer).map(|(_, message)| message);
        ClientError::Answered {
            endpoint: format!("{}{path}", self.base),
            status: answer.status.to_string(),
            message: message.unwrap_or_else(|| "no reason given; is this the API port?".to_owned()),
            kind: http_kind(answer.status),
        }
    }
}

/// `kind` and `message` of an answer `{"error":{"kind","message"}}`.
fn error_of(answer: &Answer) -> Option<(String, String)> {
    if !is_json(answer) {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let error = body.get("error")?;
    let text = |name: &str| error.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    Some((text("kind")?, text("message")?))
}

/// Everything but RFC 3986's unreserved characters: a time zone's `+` would be read as a space.
fn push_percent_encoded(into: &mut String, text: &str) {
    use std::fmt::Write;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("writing to a String succeeds");
        }
    }
}

#[cfg(test)]
mod tests;
