//! How a command ends: what the exit code says, and the one line that an error is.

use std::io;

use tracelake::ErrorKind;

use crate::client::ClientError;

/// Something was left out, and named.
pub(crate) const EXIT_PARTLY: u8 = 3;

/// The store had to stop: `EX_SOFTWARE` of sysexits.h, which a service manager can be told not to
/// answer with a restart.
const EXIT_STOPPED: u8 = 70;

/// Ended by a signal, as shells say it.
const EXIT_INTERRUPTED: u8 = 130;

/// A command that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Done,
    /// Something was left out, and named.
    Partly,
}

impl Outcome {
    /// Partly, if anything was left out.
    pub(crate) fn partly_if(left_out: bool) -> Self {
        if left_out { Self::Partly } else { Self::Done }
    }
}

/// Why a command did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It failed, or what was asked for is not there.
    #[error("{0}")]
    Failed(String),
    /// The command line or a setting is wrong.
    #[error("{0}")]
    Usage(String),
    /// The server had to stop.
    #[error("{0}")]
    Stopped(String),
    /// It was told twice to stop, and did not wait.
    #[error("stopped at once; what was acknowledged is in the WAL, and the next start replays it")]
    Interrupted,
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
}

impl Failure {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Stopped(_) => EXIT_STOPPED,
            Self::Interrupted => EXIT_INTERRUPTED,
        }
    }

    /// Whether whoever read the output went away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<tracelake::Error> for Failure {
    fn from(error: tracelake::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error {
            ClientError::Endpoint { .. } => Self::Usage(text),
            ClientError::Unreachable { .. } => Self::Failed(format!("{text}; is the server running?")),
            _ if error.kind() == ErrorKind::Invalid => Self::Usage(text),
            _ => Self::Failed(text),
        }
    }
}
