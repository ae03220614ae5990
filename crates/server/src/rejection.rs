//! A request that is turned down: what kind of thing it is, the sentence for its sender, and how
//! that reads in HTTP, in gRPC and in the API's JSON.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use prost::Message;
use tonic::Code;
use tracelake::{Encoding, ErrorKind};

use crate::proto::{RetryInfo, RpcStatus};

/// A sentence must fit into a gRPC header, percent-encoded, beside others.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// Why a request is turned down.
#[derive(Debug, Clone)]
pub(crate) struct Rejection {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    status: Option<StatusCode>,
    code: Option<Code>,
}

impl Rejection {
    /// Of a kind, with the HTTP status and gRPC code that the kind has.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry_after = kind.is_retryable().then_some(tracelake::RETRY_AFTER);
        Self { kind, message: capped(message.into()), retry_after, status: None, code: None }
    }

    /// The sender was too slow. A kind of its own would not help: it is for the sender to change.
    pub(crate) fn too_slow(seconds: u64) -> Self {
        let message = format!(
            "the request's body did not arrive within {seconds} s; send smaller requests or raise \
             body_read_seconds_max"
        );
        Self {
            status: Some(StatusCode::REQUEST_TIMEOUT),
            code: Some(Code::DeadlineExceeded),
            ..Self::new(ErrorKind::Invalid, message)
        }
    }

    /// As it is, with another HTTP status than its kind has.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The label in metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        if self.is_too_slow() { "too_slow" } else { self.kind.name() }
    }

    pub(crate) fn is_too_slow(&self) -> bool {
        self.code == Some(Code::DeadlineExceeded)
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    fn status(&self) -> StatusCode {
        let of_kind = StatusCode::from_u16(self.kind.http_status());
        self.status.or(of_kind.ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn code(&self) -> Code {
        self.code.unwrap_or_else(|| Code::from_i32(self.kind.grpc_code()))
    }

    fn retry_after_header(&self) -> Option<HeaderValue> {
        // Whole seconds, and never 0: that would ask for a storm.
        Some(HeaderValue::from(self.retry_after?.as_millis().div_ceil(1_000).clamp(1, 3_600) as u64))
    }

    fn with_retry_after(&self, mut response: Response) -> Response {
        if let Some(value) = self.retry_after_header() {
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        response
    }

    /// As OTLP/HTTP answers: `google.rpc.Status` in the request's encoding.
    pub(crate) fn into_otlp_http(self, encoding: Encoding) -> Response {
        let status =
            RpcStatus { code: self.code() as i32, message: self.message.clone(), details: Vec::new() };
        let (media_type, body) = match encoding {
            Encoding::Protobuf => ("application/x-protobuf", Bytes::from(status.encode_to_vec())),
            Encoding::Json => ("application/json", Bytes::from(status.to_json())),
        };
        let head = [(CONTENT_TYPE, HeaderValue::from_static(media_type))];
        self.with_retry_after((self.status(), head, body).into_response())
    }

    /// As gRPC answers; with RetryInfo where trying again can help, and nowhere else: by that alone
    /// a client tells a RESOURCE_EXHAUSTED that passes from one that does not.
    pub(crate) fn into_grpc(self) -> Response {
        let details = self.retry_after.map(|delay| {
            let info = RetryInfo { retry_delay: prost_types::Duration::try_from(delay).ok() };
            let any = prost_types::Any {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: info.encode_to_vec(),
            };
            let code = self.code() as i32;
            RpcStatus { code, message: self.message.clone(), details: vec![any] }.encode_to_vec()
        });
        let status = match details {
            Some(details) => tonic::Status::with_details(self.code(), self.message, details.into()),
            None => tonic::Status::new(self.code(), self.message),
        };
        status.into_http::<Body>()
    }

    /// As the API answers: `{"error":{"kind","message"}}`.
    pub(crate) fn into_api(self) -> Response {
        let body = serde_json::json!({"error": {"kind": self.kind.name(), "message": self.message}});
        self.with_retry_after((self.status(), axum::Json(body)).into_response())
    }
}

impl From<tracelake::Error> for Rejection {
    fn from(error: tracelake::Error) -> Self {
        let retry_after = error.retry_after();
        let rejection = Self::new(error.kind(), error.to_string());
        Self { retry_after: retry_after.or(rejection.retry_after), ..rejection }
    }
}

/// At most [`MESSAGE_BYTES_MAX`] bytes of a sentence.
pub(crate) fn capped(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests;
