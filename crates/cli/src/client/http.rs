//! One keep-alive HTTP/1.1 connection to one server, and its answers read whole within a bound.
//! It knows nothing of what travels on it.

use std::time::Duration;

use ::http::{HeaderMap, Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::ClientError;

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A connection that is opened with the first request, kept, and opened again when it is gone.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    client: Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
    answer_bytes_max: usize,
}

impl Connection {
    /// One connection of its own: nothing is shared with other connections of the process, so as
    /// many connections are open as there are values of this type in use.
    pub(crate) fn new(timeout: Duration, answer_bytes_max: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeout.min(Duration::from_secs(5))));
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client, timeout, answer_bytes_max }
    }

    /// Sends `request` and waits for the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when there is no whole answer in time, and
    /// [`ClientError::Malformed`] when it is larger than the bound.
    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let endpoint = request.uri().to_string();
        let unreachable = |reason: String| ClientError::Unreachable { endpoint: endpoint.clone(), reason };
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| unreachable(causes(&error)))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, self.answer_bytes_max).collect().await.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    let reason = format!("it is larger than {} bytes", self.answer_bytes_max);
                    ClientError::Malformed { endpoint: endpoint.clone(), reason }
                } else {
                    unreachable(causes(error.as_ref()))
                }
            })?;
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(unreachable(format!("none within {:?}", self.timeout))),
        }
    }
}

/// `base` with `path` after it. A base without a scheme is taken as `http://`.
///
/// # Errors
/// [`ClientError::Endpoint`] for `https`, another scheme, or no host.
pub(crate) fn url(base: &str, path: &str) -> Result<Uri, ClientError> {
    let refuse =
        |reason: &str| ClientError::Endpoint { endpoint: base.to_owned(), reason: reason.to_owned() };
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    match scheme {
        "http" => {}
        "https" => return Err(refuse("TLS is not supported here; use http:// and a proxy that adds it")),
        _ => return Err(refuse("write it as http://host:port")),
    }
    let text = format!("http://{}{path}", rest.trim_end_matches('/'));
    let uri: Uri = text.parse().map_err(|_| refuse("write it as http://host:port"))?;
    match uri.host() {
        None | Some("") => Err(refuse("it names no host; write it as http://host:port")),
        Some(_) => Ok(uri),
    }
}

/// An error with what caused it: the outermost text alone says only "client error (Connect)".
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}
