//! Opens the place where a store is: its folder here, and the objects, here or elsewhere. Every way to
//! a store goes through this.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use tracelake_model::ErrorKind;
use tracelake_store::StoreError;
use tracelake_store::env::{Files, SystemFiles};
use tracelake_store::local_store::{LocalStore, LockError, StoreLock};
use tracelake_store::location::{Bucket, Location, StorePlace};
use tracelake_store::remote_store::RemoteStore;

use crate::{DiskCachePlace, Error};

/// Folder of the WAL in the data folder.
pub(crate) const WAL_DIR: &str = "wal";

/// Folder of segments and manifest in the data folder, if they are there.
pub(crate) const STORE_DIR: &str = "store";

/// What becomes of folders that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// They are made.
    Make,
    /// It is an error: nothing is changed.
    Refuse,
}

/// A place that is open.
#[derive(Debug)]
pub(crate) struct OpenPlace {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) locks: Vec<StoreLock>,
}

impl OpenPlace {
    /// Takes the data folder, and opens the objects.
    ///
    /// # Errors
    /// If another process has it, or the objects cannot be reached.
    pub(crate) async fn open(data_dir: &Path, place: &StorePlace, missing: Missing) -> Result<Self, Error> {
        let folder = match &place.location {
            Location::DataDir => Some(data_dir.join(STORE_DIR)),
            Location::Folder(folder) => Some(folder.clone()),
            Location::Bucket(_) => None,
        };
        // Two data folders may name one folder of objects; one in the data folder is taken with it.
        let has_own_lock = matches!(place.location, Location::Folder(_));
        let data_dir = data_dir.to_owned();
        let opening = move || open_folders(&data_dir, folder, has_own_lock, missing);
        let (locks, local) = on_a_thread(opening).await?;
        let objects: Arc<dyn ObjectStore> = match (local, &place.location) {
            (Some(local), _) => Arc::new(local),
            (None, Location::Bucket(bucket)) => Arc::new(connect(bucket, place).await?),
            (None, _) => return Err(Error::new(ErrorKind::Internal, "a folder was not opened")),
        };
        Ok(Self { objects, locks })
    }
}

/// The disk cache's files, and the lock of its folder.
///
/// # Errors
/// If the store is in no bucket, another process has the folder, or it cannot be made.
pub(crate) async fn open_disk_cache(
    place: &DiskCachePlace,
    location: &Location,
) -> Result<(Arc<dyn ObjectStore>, StoreLock), Error> {
    if !matches!(location, Location::Bucket(_)) {
        let text = "disk_cache_dir is for a store in a bucket: leave it empty, or name the bucket as store";
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    let folder = place.folder.clone();
    let opening = move || {
        std::fs::create_dir_all(&folder).map_err(|error| cannot_open(&folder, error))?;
        let lock = StoreLock::acquire(&folder).map_err(|error| match error {
            LockError::Held { holder, .. } => {
                cannot_open(&folder, format!("it is in use by {holder}; each server needs one of its own"))
            }
            error => StoreError::from(error).into(),
        })?;
        let files = LocalStore::open_volatile(&folder).map_err(|error| cannot_open(&folder, error))?;
        Ok((files, lock))
    };
    let (files, lock) = on_a_thread(opening).await?;
    Ok((Arc::new(files), lock))
}

fn cannot_open(folder: &Path, error: impl std::fmt::Display) -> Error {
    let text = format!("the disk cache's folder {} cannot be opened: {error}", folder.display());
    Error::new(ErrorKind::Unavailable, text)
}

/// The objects, to be read beside whoever has the store open.
///
/// # Errors
/// If there is no store, or the objects cannot be reached.
pub(crate) async fn open_to_read(data_dir: &Path, place: &StorePlace) -> Result<Arc<dyn ObjectStore>, Error> {
    let (folder, of_data_dir) = match &place.location {
        Location::Bucket(bucket) => return Ok(Arc::new(connect(bucket, place).await?)),
        Location::Folder(folder) => (folder.clone(), None),
        Location::DataDir => (data_dir.join(STORE_DIR), Some(data_dir.to_owned())),
    };
    on_a_thread(move || {
        if !folder.is_dir() {
            let text = match of_data_dir {
                Some(data_dir) => {
                    format!("{} holds no store: there is no folder {STORE_DIR} in it", data_dir.display())
                }
                None => format!("there is no store in {}: there is no such folder", folder.display()),
            };
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        Ok(Arc::new(LocalStore::open_existing(&folder).map_err(Error::opening)?) as Arc<dyn ObjectStore>)
    })
    .await
}

/// File-system calls where they may block.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::new(ErrorKind::Internal, "a task that works on folders ended unexpectedly"))?
}

pub(crate) async fn connect(bucket: &Bucket, place: &StorePlace) -> Result<RemoteStore, Error> {
    let remote = RemoteStore::new(bucket, place).map_err(Error::opening)?;
    remote.check(bucket, place).await.map_err(Error::opening)?;
    Ok(remote)
}

fn open_folders(
    data_dir: &Path,
    folder: Option<PathBuf>,
    has_own_lock: bool,
    missing: Missing,
) -> Result<(Vec<StoreLock>, Option<LocalStore>), Error> {
    let making = |error| {
        let text = format!("cannot make the data folder {}: {error}", data_dir.display());
        Error::new(ErrorKind::Unavailable, text)
    };
    let existing = folder.as_deref().unwrap_or(data_dir);
    match missing {
        Missing::Make => SystemFiles.create_dir(data_dir).map_err(making)?,
        // A bucket can be checked from anywhere.
        Missing::Refuse if folder.is_none() && !data_dir.exists() => return Ok((Vec::new(), None)),
        Missing::Refuse if !existing.is_dir() => {
            let text = format!("there is no store in {}: there is no such folder", existing.display());
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        Missing::Refuse => {}
    }
    let mut locks = vec![StoreLock::acquire(data_dir).map_err(StoreError::from)?];
    if missing == Missing::Make {
        SystemFiles.create_dir(&data_dir.join(WAL_DIR)).map_err(making)?;
    }
    let Some(folder) = folder else { return Ok((locks, None)) };
    if has_own_lock {
        if missing == Missing::Make {
            SystemFiles.create_dir(&folder).map_err(making)?;
        }
        locks.push(StoreLock::acquire(&folder).map_err(StoreError::from)?);
    }
    let local = match missing {
        Missing::Make => LocalStore::open(&folder),
        Missing::Refuse => LocalStore::open_existing(&folder),
    };
    Ok((locks, Some(local.map_err(Error::opening)?)))
}
