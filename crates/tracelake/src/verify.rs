//! Checks a store from end to end and says what is wrong and what that means.
//!
//! It changes nothing. It takes the folder as a server would, so that what it reads stands still.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use tracelake_format::manifest::{CoveredWal, SegmentEntry, State};
use tracelake_format::wal::{FileHeader, Frame};
use tracelake_model::ErrorKind;
use tracelake_otlp::Decoder;
use tracelake_store::env::SystemFiles;
use tracelake_store::location::{Location, StorePlace};
use tracelake_store::manifest_log::{ManifestLog, RetryPolicy};
use tracelake_store::segments::{Segments, segment_id};
use tracelake_store::wal::{RecoveryReport, inspect, quarantine_dir};
use tracelake_store::{ReadOptions, StoreError, decode_frame};

use crate::Error;
use crate::place::{Missing, OpenPlace, WAL_DIR};

/// What [`verify`] found.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct VerifyReport {
    /// What is wrong; nothing if empty.
    pub findings: Vec<Finding>,
    /// Segments read and checked.
    pub segments_checked: u64,
    /// Rows in them.
    pub rows_checked: u64,
    /// WAL files read and checked.
    pub wal_files_checked: u64,
    /// Frames with spans in them.
    pub wal_frames_checked: u64,
    /// Files of segments that no manifest entry names: what a merge replaced, or a crash interrupted. A
    /// server deletes them in time.
    pub unnamed_files: u64,
    /// Their size.
    pub unnamed_bytes: u64,
    /// Objects of the manifest read and checked.
    pub manifest_objects_checked: u64,
    /// The manifest's version.
    pub manifest_version: u64,
}

/// Something wrong with a store.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Finding {
    /// Whether acknowledged spans are, or may be, lost or unreadable.
    pub data_loss: bool,
    /// The file or object.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What that means and what to do.
    pub meaning: String,
}

const RESTORE: &str = "spans in it cannot be read: restore the file from a copy; answers that need it say so";

/// What is read of a segment at once.
const PIECE_BYTES: u64 = 8 << 20;

/// Checks every checksum, index and manifest entry of a store that no process has open.
///
/// # Errors
/// If there is no store, or a process has it open. What is wrong inside is a finding.
pub async fn verify(data_dir: &Path, place: &StorePlace) -> Result<VerifyReport, Error> {
    let OpenPlace { objects: store, locks: _locks } =
        OpenPlace::open(data_dir, place, Missing::Refuse).await?;
    let mut report = VerifyReport::default();
    let check = ManifestLog::check(Arc::clone(&store), RetryPolicy::default());
    let check = check.await.map_err(StoreError::from)?;
    report.manifest_objects_checked = check.objects_checked;
    report.findings.extend(check.damaged.iter().map(|error| Finding {
        data_loss: false,
        object: "manifest".to_owned(),
        what: error.to_string(),
        meaning: "a start reads other objects instead; restore it from a copy all the same".to_owned(),
    }));
    let state = match check.state {
        Ok(state) => state,
        Err(error) => {
            report.findings.push(Finding {
                data_loss: true,
                object: "manifest".to_owned(),
                what: error.to_string(),
                meaning: "the store cannot be opened until the object is restored from a copy; segments \
                          and WAL are untouched"
                    .to_owned(),
            });
            return Ok(report);
        }
    };
    report.manifest_version = state.version;
    check_segments(&store, &state, &mut report).await;
    find_unnamed(&store, &state, &mut report).await;
    let wal_dir = data_dir.join(WAL_DIR);
    // Where the objects are elsewhere, this need not be the machine with the WAL.
    if !matches!(place.location, Location::Bucket(_)) || wal_dir.is_dir() {
        check_wal(wal_dir, state.wal_covered, &mut report).await?;
    }
    Ok(report)
}

async fn check_segments(store: &Arc<dyn ObjectStore>, state: &State, report: &mut VerifyReport) {
    let segments = Segments::new(Arc::clone(store), &ReadOptions::default());
    for entry in &state.segments {
        for what in check_segment(store, &segments, entry).await {
            report.findings.push(Finding {
                data_loss: true,
                object: entry.path.clone(),
                what,
                meaning: RESTORE.to_owned(),
            });
        }
        report.segments_checked += 1;
        report.rows_checked += entry.meta.rows;
    }
}

async fn check_segment(
    store: &Arc<dyn ObjectStore>,
    segments: &Segments,
    entry: &SegmentEntry,
) -> Vec<String> {
    let segment = match segments.open(entry).await {
        Ok(segment) => segment,
        Err(error) => return vec![error.to_string()],
    };
    let file = match read_whole(store, &ObjectPath::from(entry.path.as_str())).await {
        Ok(file) => file,
        Err(error) => return vec![format!("reading {} failed: {error}", entry.path)],
    };
    tokio::task::spawn_blocking(move || segment.check(&file))
        .await
        .unwrap_or_else(|_| vec!["the check itself ended unexpectedly".to_owned()])
}

/// An object in pieces, each of which is soon read, however slow the way: as long as it is, even if that
/// is not what the manifest says.
async fn read_whole(store: &Arc<dyn ObjectStore>, path: &ObjectPath) -> object_store::Result<Bytes> {
    let size = store.head(path).await?.size;
    let mut file = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    for start in (0..size).step_by(PIECE_BYTES as usize) {
        file.extend_from_slice(&store.get_range(path, start..size.min(start + PIECE_BYTES)).await?);
    }
    Ok(file.freeze())
}

/// Files that no manifest names.
async fn find_unnamed(store: &Arc<dyn ObjectStore>, state: &State, report: &mut VerifyReport) {
    let named: HashSet<&str> = state.segments.iter().map(|entry| entry.path.as_str()).collect();
    let prefix = ObjectPath::from("segments");
    let listed: Result<Vec<_>, _> = store.list(Some(&prefix)).try_collect().await;
    match listed {
        Ok(objects) => {
            for object in objects.into_iter().filter(|object| !named.contains(object.location.as_ref())) {
                if segment_id(object.location.as_ref()).is_some() {
                    report.unnamed_files += 1;
                    report.unnamed_bytes += object.size;
                } else {
                    report.findings.push(Finding {
                        data_loss: false,
                        object: object.location.to_string(),
                        what: "has no name that a segment has".to_owned(),
                        meaning: "it is not Tracelake's, and is left alone".to_owned(),
                    });
                }
            }
        }
        Err(error) => report.findings.push(Finding {
            data_loss: false,
            object: "segments".to_owned(),
            what: format!("cannot be listed: {error}"),
            meaning: "files that nothing names cannot be found".to_owned(),
        }),
    }
}

async fn inspected(dir: PathBuf, covered: Vec<CoveredWal>) -> Result<RecoveryReport, Error> {
    let inspection = tokio::task::spawn_blocking(move || {
        let mut decoder = Decoder::new();
        let mut visit = |_: &FileHeader, frame: Frame| Ok(decode_frame(&mut decoder, &frame).1);
        inspect::<StoreError>(&SystemFiles, &dir, &covered, &mut visit)
    });
    let found = inspection
        .await
        .map_err(|_| Error::new(ErrorKind::Internal, "the check of the WAL ended unexpectedly"))?;
    Ok(found?)
}

/// What earlier starts could not read stays a loss until somebody has dealt with it.
async fn check_quarantine(wal_dir: &Path, report: &mut VerifyReport) -> Result<(), Error> {
    let dir = quarantine_dir(wal_dir);
    if !dir.is_dir() {
        return Ok(());
    }
    for damaged in &inspected(dir, Vec::new()).await?.damaged {
        report.findings.push(Finding {
            data_loss: damaged.loses_spans(),
            object: format!("{WAL_DIR}/quarantine/{}", name(&damaged.path)),
            what: damaged.to_string(),
            meaning:
                "an earlier start recovered every whole frame and kept the file here; delete it when you \
                      no longer need it"
                    .to_owned(),
        });
    }
    Ok(())
}

async fn check_wal(dir: PathBuf, covered: Vec<CoveredWal>, report: &mut VerifyReport) -> Result<(), Error> {
    check_quarantine(&dir, report).await?;
    let found = match inspected(dir, covered).await {
        Ok(found) => found,
        Err(error) => {
            report.findings.push(Finding {
                data_loss: false,
                object: WAL_DIR.to_owned(),
                what: error.to_string(),
                meaning: "the store does not start while this is so".to_owned(),
            });
            return Ok(());
        }
    };
    report.wal_files_checked = found.files;
    report.wal_frames_checked = found.frames;
    for damaged in &found.damaged {
        report.findings.push(Finding {
            data_loss: damaged.loses_spans(),
            object: format!("{WAL_DIR}/{}", name(&damaged.path)),
            what: damaged.to_string(),
            meaning: "the next start recovers every whole frame and keeps the file in wal/quarantine"
                .to_owned(),
        });
    }
    for gap in &found.gaps {
        report.findings.push(Finding {
            data_loss: true,
            object: WAL_DIR.to_owned(),
            what: gap.to_string(),
            meaning: "restore the files from a copy before the next start, or go on without".to_owned(),
        });
    }
    if let (Some(torn), Some(what)) = (&found.torn, found.torn_message()) {
        report.findings.push(Finding {
            data_loss: true,
            object: format!("{WAL_DIR}/{}", name(&torn.path)),
            what,
            meaning: "nothing is lost if the process or the machine died while it wrote: senders were not \
                      told that it is stored. The next start cuts it off and keeps it in wal/quarantine"
                .to_owned(),
        });
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
