//! A backup: a manifest version whose segments all lie beside it. docs/formats/backup.md specifies it.
//!
//! It names no file of its own: the manifest's entry of a segment says how long its file is and covers
//! every byte of it with checksums.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::entry::{from_json, to_json};
use super::frame::{self, Kind};
use super::state::State;
use crate::FormatError;

/// A backup of a store. That the object is there says that all of its segments are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// When it was complete, by the clock of whoever made it. For people.
    pub taken_unix_nano: u64,
    /// What was only in the WAL was flushed first: everything acknowledged before is in it.
    pub flushed: bool,
    /// The store at that version.
    pub state: State,
}

impl Backup {
    /// The object's bytes.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        frame::seal(Kind::Backup, self.state.format_version(), &to_json(Kind::Backup, self)?)
    }

    /// Reads an object's bytes.
    ///
    /// # Errors
    /// Any byte that was not written so, a newer format, or a state that no log adds up to.
    pub fn decode(object: &[u8]) -> Result<Self, FormatError> {
        let (version, payload) = frame::open(Kind::Backup, object)?;
        let backup: Self = from_json(Kind::Backup, payload)?;
        frame::check_version(Kind::Backup, version, backup.state.format_version())?;
        if !backup.state.is_possible() {
            return Err(FormatError::damaged(Kind::Backup.what(), "no log adds up to what it says"));
        }
        Ok(backup)
    }
}

/// Digits of a version in a name: as many as `u64::MAX` has, so that names sort as versions do.
const VERSION_DIGITS: usize = 20;

/// The name of a backup, by the manifest's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupName(pub u64);

impl BackupName {
    /// Reads a name as [`fmt::Display`] writes it; `None` for any other.
    pub fn parse(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".backup")?;
        if digits.len() != VERSION_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().map(Self)
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0VERSION_DIGITS$}.backup", self.0)
    }
}
