//! The kinds of error that leave the process, each with its one meaning in HTTP, gRPC and OTLP.
//!
//! A crate has its own error enum and maps it to a kind in one place. The criterion for a kind is
//! whether the caller would act differently.

use std::fmt;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request cannot be understood; sending it again will not help.
    Invalid,
    /// Who asks is not known, or is not allowed to.
    Forbidden,
    /// What was asked for is not there.
    NotFound,
    /// There is nothing at this address, whatever is asked for: the address is wrong.
    UnknownPath,
    /// What was asked for was there, and has been removed for good; it has to be asked for anew.
    Gone,
    /// The request is larger than a limit; it must be split or the limit raised.
    TooLarge,
    /// The encoding or media type is not one that is read here.
    UnsupportedMedia,
    /// The request is understood, the feature does not exist.
    Unsupported,
    /// Too much at once; try again after the time named.
    Throttled,
    /// Not possible at the moment (disk full, starting, stopping); try again after the time named.
    Unavailable,
    /// Stored data is damaged.
    Corrupt,
    /// A fault of Tracelake's own.
    Internal,
}

impl ErrorKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 12] = [
        Self::Invalid,
        Self::Forbidden,
        Self::NotFound,
        Self::UnknownPath,
        Self::Gone,
        Self::TooLarge,
        Self::UnsupportedMedia,
        Self::Unsupported,
        Self::Throttled,
        Self::Unavailable,
        Self::Corrupt,
        Self::Internal,
    ];

    /// The name in JSON errors and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::UnknownPath => "unknown_path",
            Self::Gone => "gone",
            Self::TooLarge => "too_large",
            Self::UnsupportedMedia => "unsupported_media",
            Self::Unsupported => "unsupported",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Forbidden => 403,
            Self::NotFound | Self::UnknownPath => 404,
            Self::Gone => 410,
            Self::TooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::Unsupported => 501,
            Self::Throttled => 429,
            Self::Unavailable => 503,
            Self::Corrupt | Self::Internal => 500,
        }
    }

    /// The gRPC code (`google.rpc.Code`).
    pub fn grpc_code(self) -> i32 {
        match self {
            Self::Invalid => 3,
            Self::Forbidden => 7,
            Self::NotFound => 5,
            Self::TooLarge | Self::Throttled => 8,
            Self::Gone => 9,
            Self::UnknownPath | Self::UnsupportedMedia | Self::Unsupported => 12,
            Self::Unavailable => 14,
            // Not DATA_LOSS for what is corrupt: OTLP clients send that again, and it stays corrupt.
            Self::Corrupt | Self::Internal => 13,
        }
    }

    /// Whether an OTLP client sends the same request again: it must only if that can succeed. Such
    /// an answer carries Retry-After (HTTP) or RetryInfo (gRPC).
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
