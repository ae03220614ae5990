//! Copies of a store: one manifest version with all of its segments, made while the store goes on, and
//! made a store again. docs/backup.md says what for, docs/formats/backup.md what lies where.
//!
//! It reads the store that it copies and never writes to it; nothing holds files back for it, so one
//! that was deleted meanwhile makes it begin again with the version of then. It deletes nothing.

mod copy;
mod error;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Serialize;
use tracelake_format::manifest::{Backup, BackupName, ObjectName, State};
use tracelake_model::limits;

use crate::StoreError;
use crate::env::{Clock, NoCrashes};
use crate::manifest_log::{ManifestEnv, ManifestLog, PREFIX, RetryPolicy, WriterId};
use crate::put::put_new;
use copy::{Copied, copy};
pub use error::BackupError;

/// Where backups lie.
const BACKUPS: &str = "backups";

/// What a backup came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupSummary {
    /// The manifest's version.
    pub version: u64,
    /// Its segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that were not there before.
    pub copied_segments: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Whether what was only in the WAL was flushed first.
    pub flushed: bool,
    /// How often it began again, as files were deleted meanwhile.
    pub begun_again: u64,
}

/// What a restore came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreSummary {
    /// The manifest's version in the backup.
    pub version: u64,
    /// The epoch that the new store begins with; the backup's ended with the one before.
    pub epoch: u64,
    /// When the backup was complete, in nanoseconds since 1970.
    pub taken_unix_nano: u64,
    /// Whether the backup has what was only in the WAL when it was made.
    pub flushed: bool,
    /// Segments copied and checked.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Copies the store `from` as it is now into the folder `to`, where backups may be. `flushed_by` is the
/// writer that has just flushed what it had in memory, if any did: if it still is the store's, the backup
/// says that it has everything acknowledged before.
///
/// # Errors
/// Nothing is complete then. What was copied is used by the next try.
pub async fn back_up(
    from: &Arc<dyn ObjectStore>,
    to: &Arc<dyn ObjectStore>,
    flushed_by: Option<&str>,
    clock: &dyn Clock,
) -> Result<BackupSummary, BackupError> {
    let mut summary = BackupSummary {
        version: 0,
        segments: 0,
        bytes: 0,
        copied_segments: 0,
        copied_bytes: 0,
        flushed: false,
        begun_again: 0,
    };
    let mut gone_at: Option<u64> = None;
    for _ in 0..limits::BACKUP_TRIES_MAX {
        let state = load(from).await?;
        let before = read(to, BackupName(state.version)).await?;
        if before.as_ref().is_some_and(|before| before.state != state) {
            return Err(BackupError::OtherStore { version: state.version });
        }
        match copy_all(from, to, &state, &mut summary).await {
            Ok(()) => {}
            // The writer has gone on without it, or it is missing.
            Err(BackupError::Gone { segment }) if gone_at == Some(state.version) => {
                return Err(BackupError::Gone { segment });
            }
            Err(BackupError::Gone { segment }) => {
                tracing::info!(segment, version = state.version, "a backup begins again: a file was deleted");
                gone_at = Some(state.version);
                summary.begun_again += 1;
                continue;
            }
            Err(error) => return Err(error),
        }
        summary.version = state.version;
        summary.segments = state.segments.len() as u64;
        summary.bytes = state.segments.iter().map(|segment| segment.meta.size_bytes).sum();
        summary.flushed = flushed_by == Some(state.writer.as_str());
        if let Some(before) = before {
            summary.flushed |= before.flushed;
        } else {
            let flushed = summary.flushed;
            let name = BackupName(state.version);
            let backup = Backup { taken_unix_nano: clock.now_unix_nano(), flushed, state };
            let bytes = backup.encode().map_err(BackupError::Format)?;
            put(to, &backup_path(name), bytes.into()).await?;
        }
        return Ok(summary);
    }
    Err(BackupError::GaveUp { tries: limits::BACKUP_TRIES_MAX })
}

/// The complete backups in a folder, oldest first.
///
/// # Errors
/// The folder cannot be listed.
pub async fn backups(from: &Arc<dyn ObjectStore>) -> Result<Vec<BackupName>, BackupError> {
    let listed: Vec<_> = from
        .list(Some(&Path::from(BACKUPS)))
        .try_collect()
        .await
        .map_err(failed(|| "listing backups".to_owned()))?;
    let names = listed.iter().filter_map(|object| object.location.filename());
    let mut names: Vec<BackupName> = names.filter_map(BackupName::parse).collect();
    names.sort_unstable();
    Ok(names)
}

/// Makes a store of a backup, the newest if no version is named, in `to`, where nothing is but segments of
/// it. Its first entry opens it under a new epoch and a new writer's name, so that no writer of the original
/// can take it for its own.
///
/// # Errors
/// `to` is then no store that can be opened, unless the error came after the manifest was written.
pub async fn restore(
    from: &Arc<dyn ObjectStore>,
    version: Option<u64>,
    to: &Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    random: u128,
) -> Result<RestoreSummary, BackupError> {
    let name = match version {
        Some(version) => BackupName(version),
        None => backups(from).await?.pop().ok_or(BackupError::None)?,
    };
    let backup = read(from, name).await?.ok_or(BackupError::NotThere { version: name.0 })?;
    // An interrupted restore of it left segments, which are checked like those that are copied.
    let own: HashSet<&str> = backup.state.segments.iter().map(|entry| entry.path.as_str()).collect();
    let mut there = to.list(None);
    while let Some(object) = there.try_next().await.map_err(failed(|| "listing the target".to_owned()))? {
        if !own.contains(object.location.as_ref()) {
            return Err(BackupError::NotEmpty { object: object.location.to_string() });
        }
    }
    for entry in &backup.state.segments {
        let _: Copied = copy(from, to, entry).await?;
    }
    // Last: without it there is no store.
    let checkpoint = backup.state.encode_checkpoint().map_err(BackupError::Format)?;
    let path = Path::from(PREFIX).join(ObjectName::Checkpoint(backup.state.version).to_string());
    put(to, &path, checkpoint.into()).await?;
    let writer = WriterId::new(&*clock, random);
    let env = ManifestEnv {
        store: Arc::clone(to),
        clock,
        crash_points: Arc::new(NoCrashes),
        policy: RetryPolicy::default(),
    };
    let (_, state) = ManifestLog::open(env, writer).await.map_err(StoreError::from)?;
    Ok(RestoreSummary {
        version: backup.state.version,
        epoch: state.epoch,
        taken_unix_nano: backup.taken_unix_nano,
        flushed: backup.flushed,
        segments: backup.state.segments.len() as u64,
        bytes: backup.state.segments.iter().map(|segment| segment.meta.size_bytes).sum(),
    })
}

async fn load(from: &Arc<dyn ObjectStore>) -> Result<State, BackupError> {
    let state =
        ManifestLog::load(Arc::clone(from), RetryPolicy::default()).await.map_err(StoreError::from)?;
    if state.version == 0 {
        return Err(BackupError::NoStore);
    }
    Ok(state)
}

/// Segments that are there already are read and checked like those that are copied.
async fn copy_all(
    from: &Arc<dyn ObjectStore>,
    to: &Arc<dyn ObjectStore>,
    state: &State,
    summary: &mut BackupSummary,
) -> Result<(), BackupError> {
    for entry in &state.segments {
        if copy(from, to, entry).await? == Copied::Now {
            summary.copied_segments += 1;
            summary.copied_bytes += entry.meta.size_bytes;
        }
    }
    Ok(())
}

fn backup_path(name: BackupName) -> Path {
    Path::from(BACKUPS).join(name.to_string())
}

async fn read(from: &Arc<dyn ObjectStore>, name: BackupName) -> Result<Option<Backup>, BackupError> {
    let path = backup_path(name);
    let get = async { from.get(&path).await?.bytes().await };
    let bytes = match get.await {
        Ok(bytes) => bytes,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(source) => return Err(failed(|| format!("reading {path}"))(source)),
    };
    let backup = Backup::decode(&bytes).and_then(|backup| {
        if backup.state.version == name.0 {
            Ok(backup)
        } else {
            let detail = format!("it says that it is version {}", backup.state.version);
            Err(tracelake_format::FormatError::damaged("backup", detail))
        }
    });
    backup.map(Some).map_err(|source| BackupError::Damaged { object: path.to_string(), source })
}

async fn put(to: &Arc<dyn ObjectStore>, path: &Path, bytes: Bytes) -> Result<(), BackupError> {
    put_new(to, path, bytes).await.map_err(failed(|| format!("writing {path}")))
}

fn failed(what: impl FnOnce() -> String) -> impl FnOnce(object_store::Error) -> BackupError {
    |source| StoreError::ObjectStore { what: what(), source }.into()
}
