//! The names of the log's files, whose they are, and their removal.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracelake_format::FormatError;
use tracelake_format::manifest::CoveredWal;
use tracelake_format::wal::{DecodedFileHeader, FILE_HEADER_BYTES, decode_file_header};
use ulid::Ulid;

use super::{WalError, quarantine};
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

/// Removes the files that `covered` covers, oldest first: their spans are in segments that the manifest
/// names. Returns how many.
///
/// A file whose header is damaged counts as of the log of the one behind it, and is kept in quarantine.
///
/// # Errors
/// If a file cannot be read or removed, or is of a newer version: after all the others were removed.
/// Calling again goes on.
pub fn remove_covered(files: &dyn Files, dir: &Path, covered: &[CoveredWal]) -> Result<usize, WalError> {
    let covered_max = covered.iter().map(|covered| covered.sequence).max().unwrap_or(0);
    let listed = list_files(files, dir)?;
    let (candidates, newer) = listed.split_at(listed.partition_point(|file| file.sequence <= covered_max));
    let wal_of = |file: &WalFile| {
        Ok::<_, WalError>(read_header(files, &file.path)?.ok().map(|decoded| decoded.header.wal))
    };
    // One file that is in the way must not keep all others.
    let mut first_error = None;
    let mut whose = newer.first().and_then(|next| wal_of(next).ok().flatten());
    let mut removable = Vec::new();
    for file in candidates.iter().rev() {
        let own = match wal_of(file) {
            Ok(own) => own,
            Err(error) => {
                first_error.get_or_insert(error);
                continue;
            }
        };
        whose = own.or(whose);
        if whose.and_then(|wal| covered_up_to(covered, wal)).is_some_and(|up_to| file.sequence <= up_to) {
            removable.push((file, own));
        }
    }
    let mut removed = 0;
    for (file, own) in removable.into_iter().rev() {
        match remove(files, dir, file, own.is_none()) {
            Ok(()) => removed += 1,
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    if removed > 0 {
        files.sync_dir(dir).map_err(WalError::file("syncing", dir))?;
    }
    first_error.map_or(Ok(removed), Err)
}

fn remove(files: &dyn Files, dir: &Path, file: &WalFile, is_damaged: bool) -> Result<(), WalError> {
    if is_damaged {
        quarantine::link(files, dir, &file.path)?;
    }
    files.remove(&file.path).map_err(WalError::file("removing", &file.path))
}

/// The highest sequence of a log that is covered.
pub(super) fn covered_up_to(covered: &[CoveredWal], wal: Ulid) -> Option<u64> {
    covered.iter().find(|covered| covered.wal == wal).map(|covered| covered.sequence)
}

/// Reads a file's header; the inner error is damage.
pub(super) fn read_header(
    files: &dyn Files,
    path: &Path,
) -> Result<Result<DecodedFileHeader, FormatError>, WalError> {
    let mut start = Vec::new();
    let reader = files.open(path).map_err(WalError::file("opening", path))?;
    reader.take(FILE_HEADER_BYTES as u64).read_to_end(&mut start).map_err(WalError::file("reading", path))?;
    match decode_file_header(&start) {
        Err(source @ FormatError::Version { .. }) => {
            Err(WalError::Format { path: path.to_path_buf(), source: Arc::new(source) })
        }
        decoded => Ok(decoded),
    }
}
