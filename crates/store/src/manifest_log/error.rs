//! Why the log could not be read or added to, and whether the writer may go on.

use std::io;

use tracelake_format::FormatError;
use tracelake_model::ErrorKind;

/// Who took the log over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The epoch of the new writer.
    pub epoch: u64,
    /// Its name.
    pub writer: String,
    /// The version that made it the writer.
    pub version: u64,
}

/// An error of reading the log or adding to it.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Another process took the store over. For good: this one must stop.
    #[error(
        "writer {} took the store over (epoch {}, manifest version {}); this process must stop",
        .0.writer, .0.epoch, .0.version
    )]
    Fenced(Fence),
    /// Whether the commit happened cannot be found out at the moment. It stays pending; the next
    /// commit finishes it first.
    #[error("it is unknown whether manifest version {version} was written ({detail}); it is tried again")]
    Unknown {
        /// The version it would make.
        version: u64,
        /// What came back last.
        detail: String,
    },
    /// The commit certainly did not happen.
    #[error("manifest version {version} could not be written: {source}")]
    NotCommitted {
        /// The version it would have made.
        version: u64,
        /// Why.
        source: object_store::Error,
    },
    /// A folder could not be synced: what the store holds after a crash is not known. For good: this
    /// process must stop.
    #[error("manifest version {version} could not be made durable: {source}")]
    NotDurable {
        /// The version that it would make.
        version: u64,
        /// Why.
        source: object_store::Error,
    },
    /// The change contradicts the state; nothing was written.
    #[error("the change does not fit manifest version {version}: {source}")]
    Misfit {
        /// The version it was to follow.
        version: u64,
        /// What contradicts what.
        source: FormatError,
    },
    /// The object store did not give what was asked for.
    #[error("cannot read {object}: {source}")]
    Read {
        /// What was asked for.
        object: String,
        /// Why.
        source: object_store::Error,
    },
    /// The object store did not answer.
    #[error("no answer about {object} within {deadline_ms} ms")]
    Deadline {
        /// What was asked for.
        object: String,
        /// How long it was waited for.
        deadline_ms: u64,
    },
    /// An entry is not there.
    #[error("{object} is missing, though {because}; restore it from a backup{damaged}", damaged = damaged(.damaged_checkpoints))]
    Missing {
        /// The entry.
        object: String,
        /// Why it should be there.
        because: String,
        /// Checkpoints that would have made it unnecessary.
        damaged_checkpoints: Vec<String>,
    },
    /// An object cannot be understood.
    #[error("{object}: {source}{damaged}", damaged = damaged(.damaged_checkpoints))]
    Damaged {
        /// The object.
        object: String,
        /// What is wrong with it.
        source: FormatError,
        /// Checkpoints that would have made it unnecessary.
        damaged_checkpoints: Vec<String>,
    },
    /// Others kept opening the log.
    #[error("{opened} other writers opened the manifest meanwhile; only one process may use the store")]
    Contended {
        /// How many.
        opened: u32,
    },
    /// A test let the process end here.
    #[error("stopped: {0}")]
    Stopped(io::Error),
}

fn damaged(checkpoints: &[String]) -> String {
    if checkpoints.is_empty() {
        String::new()
    } else {
        format!(" (damaged, too: {})", checkpoints.join(", "))
    }
}

impl ManifestError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. }
            | Self::NotCommitted { .. }
            | Self::NotDurable { .. }
            | Self::Read { .. }
            | Self::Deadline { .. }
            | Self::Fenced(_)
            | Self::Contended { .. } => ErrorKind::Unavailable,
            Self::Missing { .. } => ErrorKind::Corrupt,
            Self::Damaged { source, .. } => source.kind(),
            Self::Misfit { .. } | Self::Stopped(_) => ErrorKind::Internal,
        }
    }

    /// Whether the writer must stop: no later try can succeed.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Fenced(_)
                | Self::NotDurable { .. }
                | Self::Missing { .. }
                | Self::Damaged { .. }
                | Self::Stopped(_)
        )
    }

    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::NotCommitted { source, .. } if crate::local_store::is_disk_full(source))
    }
}
