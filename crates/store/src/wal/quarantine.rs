//! The folder of what could not be read: what goes there keeps its bytes and its name, and nothing in
//! it is ever read, written over or removed by Tracelake.

use std::io::{self, IoSlice, Read};
use std::path::{Path, PathBuf};

use super::WalError;
use crate::env::Files;

/// Names tried for a file when older ones have its name.
const NAMES_MAX: usize = 100;
const READ_BYTES: usize = 1 << 20;

/// The folder, of a log's.
pub fn dir_of(dir: &Path) -> PathBuf {
    dir.join("quarantine")
}

/// Gives a file of the log a second name there, unless it has one from an earlier start.
pub(super) fn link(files: &dyn Files, dir: &Path, path: &Path) -> Result<PathBuf, WalError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (to, kept) = place(files, dir, &name, path, 0)?;
    if !kept {
        files.link(path, &to).map_err(WalError::file("linking into quarantine", path))?;
    }
    Ok(to)
}

/// Moves a file there.
pub(super) fn take(files: &dyn Files, dir: &Path, path: &Path, name: &str) -> Result<PathBuf, WalError> {
    let (to, kept) = place(files, dir, name, path, 0)?;
    if kept {
        files.remove(path).map_err(WalError::file("removing", path))?;
        files.sync_dir(dir).map_err(WalError::file("syncing", dir))?;
    } else {
        files.rename(path, &to).map_err(WalError::file("moving to quarantine", path))?;
    }
    Ok(to)
}

/// Copies the bytes of a file from `at` on.
pub(super) fn copy_tail(
    files: &dyn Files,
    dir: &Path,
    path: &Path,
    at: u64,
    name: &str,
) -> Result<PathBuf, WalError> {
    let (to, kept) = place(files, dir, name, path, at)?;
    if kept {
        return Ok(to);
    }
    let temporary = to.with_extension("tmp");
    let copy = || -> io::Result<()> {
        match files.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut source = open_at(files, path, at)?;
        let mut handle = files.create(&temporary)?;
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match read_some(source.as_mut(), &mut chunk)? {
                [] => break,
                bytes => handle.append(&mut [IoSlice::new(bytes)])?,
            }
        }
        handle.sync()?;
        files.rename(&temporary, &to)
    };
    copy().map_err(WalError::file("keeping the torn tail as", &to))?;
    Ok(to)
}

/// A name there that is free, or that has these very bytes already: of a start before this one.
fn place(
    files: &dyn Files,
    dir: &Path,
    name: &str,
    path: &Path,
    at: u64,
) -> Result<(PathBuf, bool), WalError> {
    let folder = dir_of(dir);
    files.create_dir(&folder).map_err(WalError::file("making", &folder))?;
    for attempt in 0..NAMES_MAX {
        let name = if attempt == 0 { name.to_owned() } else { format!("{name}.{attempt}") };
        let to = folder.join(name);
        match files.len(&to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((to, false)),
            Err(error) => return Err(WalError::file("reading", &to)(error)),
            // Length first: it tells most files apart without reading them.
            Ok(bytes) => {
                let length = files.len(path).map_err(WalError::file("reading", path))?;
                if bytes == length.saturating_sub(at)
                    && is_same(files, path, at, &to).map_err(WalError::file("comparing", &to))?
                {
                    // Who put it there may have died before its name was durable, and the caller is
                    // about to give up the original.
                    files.sync_dir(&folder).map_err(WalError::file("syncing", &folder))?;
                    return Ok((to, true));
                }
            }
        }
    }
    let full = io::Error::other("its name is taken many times in the quarantine folder; clear that folder");
    Err(WalError::file("finding a name in quarantine for", path)(full))
}

fn is_same(files: &dyn Files, path: &Path, at: u64, other: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (open_at(files, path, at)?, files.open(other)?);
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    loop {
        of_a.clear();
        of_b.clear();
        a.as_mut().take(READ_BYTES as u64).read_to_end(&mut of_a)?;
        b.as_mut().take(READ_BYTES as u64).read_to_end(&mut of_b)?;
        if of_a != of_b || of_a.is_empty() {
            return Ok(of_a == of_b);
        }
    }
}

fn open_at(files: &dyn Files, path: &Path, at: u64) -> io::Result<Box<dyn Read + Send>> {
    let mut source = files.open(path)?;
    io::copy(&mut (&mut source).take(at), &mut io::sink())?;
    Ok(source)
}

/// The next bytes; none at the end.
pub(super) fn read_some<'b>(source: &mut (dyn Read + Send), chunk: &'b mut [u8]) -> io::Result<&'b [u8]> {
    loop {
        match source.read(chunk) {
            Ok(length) => return Ok(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
