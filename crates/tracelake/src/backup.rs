//! Backups of a store in a folder, and stores made of them. The folder's locks and layout are here; what
//! is copied and how it is checked is `tracelake-store`'s.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use tracelake_model::ErrorKind;
use tracelake_store::backup::{self, BackupError, BackupSummary, RestoreSummary};
use tracelake_store::env::{Files, SystemClock, SystemFiles};
use tracelake_store::local_store::{LOCK_FILE, LocalStore, LockError, StoreLock};

use crate::Error;
use crate::place::{STORE_DIR, WAL_DIR};

/// Where a store is put together: what is not whole has another name than a store.
const RESTORING_DIR: &str = ".restoring";

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

/// Whether a process has the store in this folder open.
///
/// # Errors
/// If there is no store, or the lock cannot be looked at.
pub async fn is_in_use(data_dir: &Path) -> Result<bool, Error> {
    let data_dir = data_dir.to_owned();
    on_a_thread(move || {
        require_store(&data_dir)?;
        match StoreLock::acquire(&data_dir) {
            Ok(_) => Ok(false),
            Err(LockError::Held { .. }) => Ok(true),
            Err(error) => Err(Error::opening(error)),
        }
    })
    .await
}

/// Copies the store in `data_dir` as it is now into the folder `to`, beside a server that has it open or
/// not. `flushed_by` is the writer that has just flushed ([`crate::Tracelake::writer`]).
///
/// # Errors
/// Nothing is complete then; what was copied is used by the next backup into the folder.
pub async fn back_up(data_dir: &Path, to: &Path, flushed_by: Option<&str>) -> Result<BackupSummary, Error> {
    let (data_dir, to) = (data_dir.to_owned(), to.to_owned());
    let (from, to, _lock) = on_a_thread(move || {
        let from = open_store(&data_dir)?;
        let making = |error| {
            Error::new(ErrorKind::Unavailable, format!("cannot make the folder {}: {error}", to.display()))
        };
        SystemFiles.create_dir(&to).map_err(making)?;
        if to.join(STORE_DIR).exists() || to.join(WAL_DIR).exists() {
            let text = format!("{} holds a store; choose another folder for backups", to.display());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let lock = StoreLock::acquire(&to).map_err(Error::opening)?;
        let to = LocalStore::open(&to).map_err(Error::opening)?;
        Ok((from, to, lock))
    })
    .await?;
    let (from, to): (Arc<dyn ObjectStore>, Arc<dyn ObjectStore>) = (Arc::new(from), Arc::new(to));
    Ok(backup::back_up(&from, &to, flushed_by, &SystemClock).await?)
}

/// Makes a store in `data_dir`, which is empty or not there, of the backup of that version in the folder
/// `from`, or of the newest.
///
/// # Errors
/// There is then no store in `data_dir`.
pub async fn restore(from: &Path, version: Option<u64>, data_dir: &Path) -> Result<RestoreSummary, Error> {
    let (from, target) = (from.to_owned(), data_dir.to_owned());
    let (from, to, _lock) = on_a_thread(move || {
        let from = LocalStore::open_existing(&from).map_err(Error::opening)?;
        SystemFiles.create_dir(&target).map_err(|error| writing(&target, error))?;
        let lock = StoreLock::acquire(&target).map_err(Error::opening)?;
        for path in SystemFiles.list(&target).map_err(|error| writing(&target, error))? {
            let name = path.file_name().unwrap_or_default();
            if name == RESTORING_DIR {
                // What an interrupted restore left: copies of what is in the backup.
                std::fs::remove_dir_all(&path).map_err(|error| writing(&path, error))?;
            } else if name != LOCK_FILE {
                let text = format!(
                    "{} is not empty: it has {}; a store is restored into an empty folder",
                    target.display(),
                    name.to_string_lossy()
                );
                return Err(Error::new(ErrorKind::Invalid, text));
            }
        }
        let to = LocalStore::open(&target.join(RESTORING_DIR)).map_err(Error::opening)?;
        Ok((from, to, lock))
    })
    .await?;
    let (from, to): (Arc<dyn ObjectStore>, Arc<dyn ObjectStore>) = (Arc::new(from), Arc::new(to));
    let summary = backup::restore(&from, version, &to, Arc::new(SystemClock), rand::random()).await?;
    let target = data_dir.to_owned();
    on_a_thread(move || {
        SystemFiles.create_dir(&target.join(WAL_DIR)).map_err(|error| writing(&target, error))?;
        let (restored, store) = (target.join(RESTORING_DIR), target.join(STORE_DIR));
        SystemFiles.rename(&restored, &store).map_err(|error| writing(&store, error))
    })
    .await?;
    Ok(summary)
}

/// The store in a folder, to be read beside whoever has it open.
pub(crate) fn open_store(data_dir: &Path) -> Result<LocalStore, Error> {
    LocalStore::open_existing(&require_store(data_dir)?).map_err(Error::opening)
}

fn require_store(data_dir: &Path) -> Result<PathBuf, Error> {
    let store_dir = data_dir.join(STORE_DIR);
    if store_dir.is_dir() {
        return Ok(store_dir);
    }
    let text = format!("{} holds no store: there is no folder {STORE_DIR} in it", data_dir.display());
    Err(Error::new(ErrorKind::NotFound, text))
}

fn writing(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot write {}: {error}", path.display()))
}

/// File-system calls where they may block.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::new(ErrorKind::Internal, "a task that works on folders ended unexpectedly"))?
}
