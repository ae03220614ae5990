//! What went wrong with a file, in the terms of the object-store trait, and what a caller that must
//! not guess can learn from it.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

/// The name of this store in errors.
pub(super) const STORE: &str = "LocalStore";

/// What a failed write may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that anybody will ever see.
    None,
    /// The object may be there, now or after a crash.
    Unknown,
}

/// A failed call to the file system.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {source}", path.display())]
pub(super) struct FileError {
    pub(super) doing: &'static str,
    pub(super) path: PathBuf,
    pub(super) effect: Effect,
    pub(super) source: io::Error,
}

/// A folder could not be synced: what it holds after a crash is unknown, and trying again proves
/// nothing, because the kernel reports a lost write once and then forgets it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("fsync of {what} failed ({why}); nothing more is written until a restart")]
pub(super) struct SyncFailed {
    pub(super) what: String,
    pub(super) why: String,
    /// Not of the call that failed, but of a later one, which was refused.
    pub(super) refused: bool,
}

impl FileError {
    pub(super) fn new(doing: &'static str, path: PathBuf, source: impl Into<io::Error>) -> Self {
        Self { doing, path, effect: Effect::None, source: source.into() }
    }
}

impl From<FileError> for object_store::Error {
    fn from(error: FileError) -> Self {
        let path = error.path.display().to_string();
        match error.source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path, source: Box::new(error) },
            io::ErrorKind::AlreadyExists => Self::AlreadyExists { path, source: Box::new(error) },
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { path, source: Box::new(error) },
            _ => Self::Generic { store: STORE, source: Box::new(error) },
        }
    }
}

impl From<SyncFailed> for object_store::Error {
    fn from(error: SyncFailed) -> Self {
        Self::Generic { store: STORE, source: Box::new(error) }
    }
}

/// Whether the disk, or the user's part of it, is full.
pub fn is_disk_full(error: &object_store::Error) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        })
    })
}

/// Whether a file is shorter than whoever reads it knows it to have been.
pub(crate) fn is_cut_short(error: &object_store::Error) -> bool {
    causes(error).any(|cause| {
        // Of a file: a connection may end early, too, and that says nothing of the object.
        let file = cause.downcast_ref::<FileError>();
        file.is_some_and(|error| error.source.kind() == io::ErrorKind::UnexpectedEof)
    })
}

/// What the store answers when a folder could not be synced, for tests: at that call, or (`refused`) at
/// any later one.
pub(crate) fn sync_failure(refused: bool) -> object_store::Error {
    SyncFailed { what: "a folder".to_owned(), why: "a test".to_owned(), refused }.into()
}

/// Whether the store refuses writes because an fsync failed, now or earlier. Only a restart helps:
/// it reads back what the disk really has.
pub fn is_sync_failure(error: &object_store::Error) -> bool {
    causes(error).any(|cause| cause.is::<SyncFailed>())
}

/// Whether a write that ended in this error certainly did nothing. Most errors of a remote store do
/// not tell: the request may have been carried out and its answer lost.
pub fn is_surely_without_effect(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::InvalidPath { .. }
        | object_store::Error::NotImplemented { .. }
        | object_store::Error::NotSupported { .. }
        | object_store::Error::UnknownConfigurationKey { .. } => true,
        // Where there is no space, nothing was created.
        _ if is_disk_full(error) => true,
        _ => causes(error).any(|cause| {
            cause.downcast_ref::<FileError>().is_some_and(|error| error.effect == Effect::None)
                || cause.downcast_ref::<SyncFailed>().is_some_and(|error| error.refused)
        }),
    }
}

fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}
