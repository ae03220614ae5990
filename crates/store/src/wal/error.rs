//! What can go wrong with the log, and what its senders can do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracelake_format::FormatError;
use tracelake_model::ErrorKind;

/// An error of the write-ahead log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WalError {
    /// An fsync failed, or an append could not be taken back.
    #[error(
        "the WAL is poisoned and acknowledges nothing any more: {reason}; restart to recover what is on disk"
    )]
    Poisoned {
        /// What happened.
        reason: String,
    },
    /// The log's thread has ended.
    #[error("the WAL is closed")]
    Stopped,
    /// There is no space for the request. It is not stored.
    #[error("the disk of the WAL is full: {source}; free some space, then it goes on by itself")]
    DiskFull {
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The request could not be written. It is not stored.
    #[error("writing the WAL failed: {source}")]
    Write {
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The request is larger than a frame can be.
    #[error("a request of {size} bytes is over the WAL's limit of {max} bytes for one; split it")]
    TooLarge {
        /// Its bytes.
        size: u64,
        /// The bytes allowed.
        max: u64,
    },
    /// The log's files could not be read or arranged.
    #[error("{action} {path} failed: {source}", path = .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// A file is not one that this build reads.
    #[error("{path}: {source}", path = .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Arc<FormatError>,
    },
}

impl WalError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Poisoned { .. } | Self::Stopped | Self::DiskFull { .. } | Self::Write { .. } => {
                ErrorKind::Unavailable
            }
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::File { source, .. } if is_disk_full(source) => ErrorKind::Unavailable,
            Self::File { .. } => ErrorKind::Internal,
            Self::Format { source, .. } => source.kind(),
        }
    }

    /// When to try again, if that may help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            // Space is freed by people, or by the next flush, which takes seconds.
            Self::DiskFull { .. } => Some(Duration::from_secs(10)),
            Self::Write { .. } => Some(Duration::from_secs(2)),
            // Until the process has been started again.
            Self::Poisoned { .. } | Self::Stopped => Some(Duration::from_secs(5)),
            Self::TooLarge { .. } | Self::File { .. } | Self::Format { .. } => None,
        }
    }

    /// For `map_err`: an I/O error while doing something with a file.
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.into(), source: Arc::new(source) }
    }
}

/// Whether an error says that there is no space, which passes.
pub(super) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
