//! Why bytes are not what they should be. Nothing here says what to do with the file: that is for
//! whoever read it.

use tracelake_model::ErrorKind;

/// An error of reading or writing one of the formats.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The bytes contradict themselves or their checksum.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// The format, such as `WAL frame` or `segment`.
        what: &'static str,
        /// What contradicts what.
        detail: String,
    },
    /// Written by a newer Tracelake.
    #[error("{what} has format version {found}, this build reads up to {supported}; use a newer build")]
    Version {
        /// The format.
        what: &'static str,
        /// The version in the bytes.
        found: u32,
        /// The newest that is read.
        supported: u32,
    },
    /// More than the format can hold.
    #[error("{what} of {size} is over the format's limit of {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: u64,
        /// How large it may be.
        max: u64,
    },
    /// The Parquet or Arrow library refused.
    #[error("{what}: {source}")]
    Parquet {
        /// What was being done.
        what: &'static str,
        /// The library's error.
        source: parquet::errors::ParquetError,
    },
}

impl FormatError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Damaged { .. } | Self::Parquet { .. } => ErrorKind::Corrupt,
            Self::Version { .. } => ErrorKind::Unsupported,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
        }
    }

    /// Shorthand for [`FormatError::Damaged`].
    pub fn damaged(what: &'static str, detail: impl Into<String>) -> Self {
        Self::Damaged { what, detail: detail.into() }
    }
}
