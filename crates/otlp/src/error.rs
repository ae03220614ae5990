//! Why a request cannot be read at all. A span that cannot be kept is no error: see
//! [`Rejections`](crate::Rejections).

use tracelake_model::ErrorKind;

/// Why nothing of a request was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not the protobuf message.
    #[error("the body is no valid OTLP trace request in protobuf: {problem}")]
    Malformed {
        /// What is wrong with them.
        problem: &'static str,
    },
    /// The text is not the JSON object.
    #[error("the body is no valid OTLP trace request in JSON: {problem}")]
    Json {
        /// What is wrong with it, and where.
        problem: String,
    },
    /// More spans than one request may have.
    #[error("the request has more than {spans_max} spans; send smaller batches")]
    TooManySpans {
        /// How many it may have.
        spans_max: usize,
    },
    /// More resources, scopes, spans, events, links and attributes than one request may have.
    #[error(
        "the request has more than {items_max} resources, scopes, spans, events, links and attributes \
         together; send smaller batches"
    )]
    TooManyItems {
        /// How many it may have.
        items_max: usize,
    },
    /// Arrays and maps in an attribute's value, one in the other, beyond the limit.
    #[error(
        "an attribute's value nests arrays and maps too deeply; at most {levels_max} levels are read, \
         and of maps alone about 30; flatten the value"
    )]
    TooDeep {
        /// How many levels a value may have.
        levels_max: usize,
    },
}

impl DecodeError {
    /// What the sender can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. } | Self::Json { .. } | Self::TooDeep { .. } => ErrorKind::Invalid,
            Self::TooManySpans { .. } | Self::TooManyItems { .. } => ErrorKind::TooLarge,
        }
    }
}
