//! Talking to a server: spans out over OTLP ([`OtlpSender`]), traces in over the HTTP API
//! ([`ApiClient`]).
//!
//! It speaks plain HTTP only: an `https` address is refused with what to do instead, rather than
//! sent in the clear. It never changes a body: what it is given is what travels, compressed or not.

mod api;
mod grpc;
mod http;
mod otlp;
pub(crate) mod wire;

use std::time::Duration;

use tracelake::ErrorKind;

pub(crate) use api::{ApiClient, TraceAnswer, TraceFormat};
pub(crate) use otlp::{Ack, Compression, OtlpSender, Protocol, SenderOptions};

/// Why a server could not be asked, or what it answered instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientError {
    /// The address cannot be used.
    #[error("{endpoint} is no usable address: {reason}")]
    Endpoint {
        /// The address as given.
        endpoint: String,
        /// What is wrong with it and what to write instead.
        reason: String,
    },
    /// No answer: refused, reset, or none within the time allowed.
    #[error("no answer from {endpoint}: {reason}")]
    Unreachable {
        /// Where the request went.
        endpoint: String,
        /// What the connection reported.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{endpoint} answered {status}: {message}")]
    Answered {
        /// Where the request went.
        endpoint: String,
        /// The status as the protocol names it: `503 Service Unavailable`, `RESOURCE_EXHAUSTED`.
        status: String,
        /// The server's own words.
        message: String,
        /// What the status means.
        kind: ErrorKind,
    },
    /// The answer came, and cannot be read.
    #[error("{endpoint} answered with something that cannot be read: {reason}")]
    Malformed {
        /// Where the request went.
        endpoint: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The body could not be compressed.
    #[error("the request could not be compressed: {0}")]
    Compress(String),
}

impl ClientError {
    /// What the caller can do about it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Endpoint { .. } => ErrorKind::Invalid,
            Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::Answered { kind, .. } => *kind,
            Self::Malformed { .. } | Self::Compress(_) => ErrorKind::Internal,
        }
    }
}

/// Longest wait for one answer unless set otherwise. A server under pressure answers within a few
/// seconds; one that does not within this has lost the request.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
