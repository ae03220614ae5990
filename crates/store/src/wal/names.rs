//! The names of the log's files, and their removal.

use std::path::{Path, PathBuf};

use super::WalError;
use crate::env::Files;

const SUFFIX: &str = ".wal";
const DIGITS: usize = 20;

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalFile {
    /// Its sequence, from its name.
    pub sequence: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl WalFile {
    pub(super) fn new(dir: &Path, sequence: u64) -> Self {
        Self { sequence, path: dir.join(format!("{sequence:0DIGITS$}{SUFFIX}")) }
    }

    fn parse(path: PathBuf) -> Option<Self> {
        let digits = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
        let valid = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = if valid { digits.parse().ok()? } else { return None };
        Some(Self { sequence, path })
    }
}

/// The folder of what could not be read.
pub(super) fn quarantine_dir(dir: &Path) -> PathBuf {
    dir.join("quarantine")
}

/// The log's files in order. Names that are not the log's are left alone.
///
/// # Errors
/// If the folder cannot be listed.
pub fn list_files(files: &dyn Files, dir: &Path) -> Result<Vec<WalFile>, WalError> {
    let paths = files.list(dir).map_err(WalError::file("listing", dir))?;
    let mut found: Vec<WalFile> = paths.into_iter().filter_map(WalFile::parse).collect();
    found.sort_unstable();
    Ok(found)
}

/// Removes the files with sequences up to `covered`, oldest first: their spans are in segments that
/// the manifest names. Returns how many.
///
/// # Errors
/// If a file cannot be removed; calling again goes on.
pub fn remove_covered(files: &dyn Files, dir: &Path, covered: u64) -> Result<usize, WalError> {
    let mut removed = 0;
    for file in list_files(files, dir)?.into_iter().take_while(|file| file.sequence <= covered) {
        files.remove(&file.path).map_err(WalError::file("removing", &file.path))?;
        removed += 1;
    }
    if removed > 0 {
        files.sync_dir(dir).map_err(WalError::file("syncing", dir))?;
    }
    Ok(removed)
}
