//! Why the store could not do what it was asked for.

use std::sync::Arc;
use std::time::Duration;

use tracelake_format::FormatError;
use tracelake_model::ErrorKind;
use tracelake_otlp::DecodeError;

use crate::local_store::{LockError, is_sync_failure};
use crate::manifest_log::ManifestError;
use crate::wal::WalError;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The request is not an OTLP request that can be taken.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The WAL did not take the request.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The manifest could not be read or written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Another process has the folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Stored bytes are damaged.
    #[error("segment {segment}: {source}")]
    Segment {
        /// Its path in the store.
        segment: String,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A segment cannot be read.
    #[error("reading {segment} failed: {source}")]
    SegmentRead {
        /// Its path in the store.
        segment: String,
        /// The store's error.
        source: object_store::Error,
    },
    /// The object store failed.
    #[error("{what} failed: {source}")]
    ObjectStore {
        /// What was being done.
        what: String,
        /// The store's error.
        source: object_store::Error,
    },
    /// More comes in than can be flushed.
    #[error("spans arrive faster than they can be written to the store; try again later")]
    Busy,
    /// More comes in than can be merged.
    #[error(
        "{waiting} segments wait to be merged, and {waiting_max} may (flushed_segments_waiting_max): spans are taken \
         again when there are fewer; try again later"
    )]
    Backlogged {
        /// Segments of level 0.
        waiting: u64,
        /// The limit.
        waiting_max: u64,
    },
    /// More tenants than one generation takes.
    #[error("{tenants} tenants have sent spans within this generation, which is the limit; try again later")]
    TooManyTenants {
        /// The limit.
        tenants: usize,
    },
    /// The store stopped for good.
    #[error("the store has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// What several callers waited for failed for all of them.
    #[error("{0}")]
    Shared(Arc<StoreError>),
    /// A task died.
    #[error("{what} ended unexpectedly; this is a fault of Tracelake")]
    TaskDied {
        /// Which.
        what: &'static str,
    },
}

impl StoreError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Decode(error) => error.kind(),
            Self::Wal(error) => error.kind(),
            Self::Manifest(error) => error.kind(),
            Self::Lock(_) => ErrorKind::Unavailable,
            Self::Segment { source, .. } => source.kind(),
            Self::SegmentRead { .. }
            | Self::ObjectStore { .. }
            | Self::Busy
            | Self::Backlogged { .. }
            | Self::Stopped { .. } => ErrorKind::Unavailable,
            Self::TooManyTenants { .. } => ErrorKind::Throttled,
            Self::Shared(error) => error.kind(),
            Self::TaskDied { .. } => ErrorKind::Internal,
        }
    }

    /// Whether the process must stop: no later try can succeed.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Manifest(error) => error.is_final(),
            Self::ObjectStore { source, .. } => is_sync_failure(source),
            Self::Shared(error) => error.is_final(),
            _ => false,
        }
    }

    /// The path of a segment that is damaged or not there.
    pub(crate) fn damaged_segment(&self) -> Option<&str> {
        match self {
            Self::Segment { segment, .. } => Some(segment),
            Self::SegmentRead { segment, source: object_store::Error::NotFound { .. } } => Some(segment),
            Self::Shared(error) => error.damaged_segment(),
            _ => None,
        }
    }

    pub(crate) fn shared(error: Arc<Self>) -> Self {
        Arc::try_unwrap(error).unwrap_or_else(Self::Shared)
    }

    /// How long a client should wait, where that can be said.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            // A memtable takes about this long to flush.
            Self::Busy => Some(Duration::from_secs(2)),
            // And a merge takes about that long.
            Self::Backlogged { .. } | Self::TooManyTenants { .. } => Some(Duration::from_secs(30)),
            other => other.kind().is_retryable().then_some(Duration::from_secs(1)),
        }
    }
}
