//! Names of the manifest's objects, below its prefix.

use std::fmt;

/// Digits of a version in a name: as many as `u64::MAX` has, so that names sort as versions do.
const VERSION_DIGITS: usize = 20;

/// The name of an object of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// The commit that made this version.
    Entry(u64),
    /// Everything as of this version.
    Checkpoint(u64),
}

impl ObjectName {
    /// The version in the name.
    pub fn version(self) -> u64 {
        match self {
            Self::Entry(version) | Self::Checkpoint(version) => version,
        }
    }

    /// Reads a name as [`fmt::Display`] writes it; `None` for any other.
    pub fn parse(name: &str) -> Option<Self> {
        let (digits, suffix) = name.split_once('.')?;
        if digits.len() != VERSION_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let version = digits.parse().ok()?;
        match suffix {
            "entry" => Some(Self::Entry(version)),
            "checkpoint" => Some(Self::Checkpoint(version)),
            _ => None,
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(version) => write!(f, "{version:0VERSION_DIGITS$}.entry"),
            Self::Checkpoint(version) => write!(f, "{version:0VERSION_DIGITS$}.checkpoint"),
        }
    }
}
