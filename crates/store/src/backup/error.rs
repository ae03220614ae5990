//! Why a backup could not be made, or not be made a store again.

use tracelake_format::FormatError;
use tracelake_model::ErrorKind;

use crate::StoreError;

/// An error of a backup or a restore.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store or the folder could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no manifest.
    #[error("there is no store: its manifest is empty")]
    NoStore,
    /// A segment that the manifest names is not there.
    #[error("{segment} is missing, though the manifest names it")]
    Gone {
        /// Its path.
        segment: String,
    },
    /// Files were deleted faster than they could be copied.
    #[error(
        "files were deleted while they were copied, {tries} times; nothing is complete. Raise \
         deletion_grace_seconds, or try again: what was copied stays"
    )]
    GaveUp {
        /// How often it began.
        tries: u64,
    },
    /// The folder has a backup of another store.
    #[error(
        "the folder has a backup of version {version} of another store, or of this one before it was \
         restored; choose another folder"
    )]
    OtherStore {
        /// The version.
        version: u64,
    },
    /// The folder has no complete backup.
    #[error("there is no complete backup in the folder")]
    None,
    /// The folder has no complete backup of that version.
    #[error("there is no complete backup of version {version} in the folder")]
    NotThere {
        /// The version.
        version: u64,
    },
    /// A store is only made where nothing is.
    #[error("the target is not empty: it has {object}")]
    NotEmpty {
        /// Something in it.
        object: String,
    },
    /// A backup's object cannot be understood.
    #[error("{object}: {source}")]
    Damaged {
        /// The object.
        object: String,
        /// What is wrong with it.
        source: FormatError,
    },
    /// The manifest cannot be written.
    #[error(transparent)]
    Format(FormatError),
}

impl BackupError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::NoStore | Self::None | Self::NotThere { .. } => ErrorKind::NotFound,
            Self::Gone { .. } => ErrorKind::Corrupt,
            Self::GaveUp { .. } => ErrorKind::Unavailable,
            Self::OtherStore { .. } | Self::NotEmpty { .. } => ErrorKind::Invalid,
            Self::Damaged { source, .. } | Self::Format(source) => source.kind(),
        }
    }
}
