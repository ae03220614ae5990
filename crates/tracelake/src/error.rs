//! The library's error: a kind that tells what to do, and a sentence.

use std::time::Duration;

use tracelake_model::ErrorKind;
use tracelake_query::export::ExportError;
use tracelake_store::StoreError;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
}

impl Error {
    /// An error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry_after = kind.is_retryable().then_some(crate::RETRY_AFTER);
        Self { kind, message: message.into(), retry_after }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How long to wait before trying again, if that can help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl Error {
    pub(crate) fn opening(error: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Unavailable, error.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self { kind: error.kind(), message: error.to_string(), retry_after: error.retry_after() }
    }
}

impl From<ExportError> for Error {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
            ExportError::Incomplete { .. } => Self::new(ErrorKind::Corrupt, error.to_string()),
        }
    }
}
