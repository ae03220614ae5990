//! Backups of a store into a folder, and stores made of them. The folders' locks and layout are here; what
//! is copied and how it is checked is `tracelake-store`'s.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use tracelake_model::ErrorKind;
use tracelake_store::backup::{self, BackupError, BackupSummary, RestoreSummary};
use tracelake_store::env::{Files, SystemClock, SystemFiles};
use tracelake_store::local_store::{LOCK_FILE, LocalStore, LockError, StoreLock};
use tracelake_store::location::{Location, StorePlace};

use crate::Error;
use crate::place::{STORE_DIR, WAL_DIR, connect, on_a_thread, open_to_read};

/// Where a store is put together: what is not whole has another name than a store.
const RESTORING_DIR: &str = ".restoring";

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

/// Whether a process of this machine has the store in this folder open.
///
/// # Errors
/// If there is no store in it, or the lock cannot be looked at.
pub async fn is_in_use(data_dir: &Path) -> Result<bool, Error> {
    open_to_read(data_dir, &StorePlace::default()).await?;
    let data_dir = data_dir.to_owned();
    on_a_thread(move || match StoreLock::acquire(&data_dir) {
        Ok(_) => Ok(false),
        Err(LockError::Held { .. }) => Ok(true),
        Err(error) => Err(Error::opening(error)),
    })
    .await
}

/// Copies the store as it is now into the folder `to`, beside a server that has it open or not. `flushed_by` is
/// the writer that has just flushed ([`crate::Tracelake::writer`]).
///
/// # Errors
/// Nothing is complete then; what was copied is used by the next backup into the folder.
pub async fn back_up(
    data_dir: &Path,
    place: &StorePlace,
    to: &Path,
    flushed_by: Option<&str>,
) -> Result<BackupSummary, Error> {
    let from = open_to_read(data_dir, place).await?;
    let to = to.to_owned();
    let (to, _lock) = on_a_thread(move || {
        let making = |error| {
            Error::new(ErrorKind::Unavailable, format!("cannot make the folder {}: {error}", to.display()))
        };
        SystemFiles.create_dir(&to).map_err(making)?;
        if to.join(STORE_DIR).exists() || to.join(WAL_DIR).exists() {
            let text = format!("{} holds a store; choose another folder for backups", to.display());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let lock = StoreLock::acquire(&to).map_err(Error::opening)?;
        let to: Arc<dyn ObjectStore> = Arc::new(LocalStore::open(&to).map_err(Error::opening)?);
        Ok((to, lock))
    })
    .await?;
    Ok(backup::back_up(&from, &to, flushed_by, &SystemClock).await?)
}

/// Makes a store of the backup of that version in the folder `from`, or of the newest: in `data_dir`, which is empty
/// or not there, or where `place` says, where nothing is but what an interrupted restore left.
///
/// # Errors
/// There is then no store.
pub async fn restore(
    from: &Path,
    version: Option<u64>,
    data_dir: &Path,
    place: &StorePlace,
) -> Result<RestoreSummary, Error> {
    let folder = from.to_owned();
    let from = on_a_thread(move || LocalStore::open_existing(&folder).map_err(Error::opening)).await?;
    let from: Arc<dyn ObjectStore> = Arc::new(from);
    let restore =
        |to| async move { backup::restore(&from, version, &to, Arc::new(SystemClock), rand::random()).await };
    match &place.location {
        Location::Bucket(bucket) => Ok(restore(Arc::new(connect(bucket, place).await?)).await?),
        Location::Folder(folder) => {
            let folder = folder.clone();
            let (to, _lock) = on_a_thread(move || {
                SystemFiles.create_dir(&folder).map_err(|error| writing(&folder, error))?;
                let lock = StoreLock::acquire(&folder).map_err(Error::opening)?;
                let to: Arc<dyn ObjectStore> = Arc::new(LocalStore::open(&folder).map_err(Error::opening)?);
                Ok((to, lock))
            })
            .await?;
            Ok(restore(to).await?)
        }
        Location::DataDir => {
            let target = data_dir.to_owned();
            let (to, _lock) = on_a_thread(move || restoring(&target)).await?;
            let summary = restore(to).await?;
            let target = data_dir.to_owned();
            on_a_thread(move || {
                SystemFiles.create_dir(&target.join(WAL_DIR)).map_err(|error| writing(&target, error))?;
                let (restored, store) = (target.join(RESTORING_DIR), target.join(STORE_DIR));
                SystemFiles.rename(&restored, &store).map_err(|error| writing(&store, error))
            })
            .await?;
            Ok(summary)
        }
    }
}

/// The folder in which a store is put together, in one that is empty.
fn restoring(target: &Path) -> Result<(Arc<dyn ObjectStore>, StoreLock), Error> {
    SystemFiles.create_dir(target).map_err(|error| writing(target, error))?;
    let lock = StoreLock::acquire(target).map_err(Error::opening)?;
    for path in SystemFiles.list(target).map_err(|error| writing(target, error))? {
        let name = path.file_name().unwrap_or_default();
        if name != RESTORING_DIR && name != LOCK_FILE {
            let text = format!(
                "{} is not empty: it has {}; a store is restored into an empty folder",
                target.display(),
                name.to_string_lossy()
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
    }
    // What an interrupted restore left may be of another backup.
    let restoring = target.join(RESTORING_DIR);
    if restoring.exists() {
        std::fs::remove_dir_all(&restoring).map_err(|error| writing(&restoring, error))?;
    }
    Ok((Arc::new(LocalStore::open(&restoring).map_err(Error::opening)?), lock))
}

fn writing(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot write {}: {error}", path.display()))
}
