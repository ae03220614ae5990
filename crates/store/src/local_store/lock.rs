//! One process per data folder. The lock is the kernel's, on an open file: it ends with the process,
//! however that ends, and a stale file locks nobody out.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tracelake_model::ErrorKind;

/// Name of the locked file in the data folder.
pub const LOCK_FILE: &str = "LOCK";

/// The data folder is this process's until this is dropped.
#[derive(Debug)]
pub struct StoreLock {
    file: File,
    path: PathBuf,
}

/// Why the data folder could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "the data folder {} is in use by {holder}; stop that process first, or choose another folder with --data-dir",
        data_dir.display()
    )]
    Held {
        /// The folder.
        data_dir: PathBuf,
        /// Who has it, as far as it said.
        holder: String,
    },
    /// The lock file cannot be opened, locked or written.
    #[error("cannot lock {}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LockError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

impl StoreLock {
    /// Takes the folder, which exists, without waiting.
    ///
    /// # Errors
    /// [`LockError::Held`] names the process that has it.
    pub fn acquire(data_dir: &Path) -> Result<Self, LockError> {
        let path = data_dir.join(LOCK_FILE);
        let fail = |source| LockError::Io { path: path.clone(), source };
        // Not truncated: until it is locked, what is in it is the holder's.
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { data_dir: data_dir.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        file.set_len(0).map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(Self { file, path })
    }

    /// The locked file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // Closing is not enough at once: a child process that is just being started still has a copy
        // of the file until it becomes another program.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(path = %self.path.display(), %error, "the data folder stays locked until this process ends");
        }
    }
}

/// Who wrote itself into the file. Between locking and writing there is a moment without a name.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(20).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) if pid == std::process::id() => format!("this process already (PID {pid})"),
        (Ok(_), Ok(pid)) => format!("the process with PID {pid}"),
        _ => "another process".to_owned(),
    }
}
