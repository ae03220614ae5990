//! From objects to a state: the newest checkpoint that can be read, and every entry after it.

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use tracelake_format::FormatError;
use tracelake_format::manifest::{Entry, ObjectName, State};

use super::error::ManifestError;
use super::objects::{Objects, path};

/// Entries fetched ahead: a log of 64 is then read in 8 round trips.
const ENTRIES_AHEAD: usize = 8;

/// The log, read.
pub(super) struct Replayed {
    pub(super) state: State,
    /// The version of the checkpoint that the reading began with; 0 without one.
    pub(super) checkpoint_version: u64,
}

/// Reads an entry and checks that it is the one that its name says.
pub(super) fn decode_entry(version: u64, bytes: &Bytes) -> Result<Entry, ManifestError> {
    Entry::decode(bytes)
        .and_then(|entry| {
            if entry.version == version {
                Ok(entry)
            } else {
                let detail = format!("it says that it is version {}", entry.version);
                Err(FormatError::damaged("manifest entry", detail))
            }
        })
        .map_err(|source| damaged(ObjectName::Entry(version), source))
}

pub(super) fn damaged(name: ObjectName, source: FormatError) -> ManifestError {
    ManifestError::Damaged { object: path(name).to_string(), source, damaged_checkpoints: Vec::new() }
}

/// Reads the log as far as a listing shows it.
pub(super) async fn replay(objects: &Objects) -> Result<Replayed, ManifestError> {
    let listing = objects.list().await?;
    let mut passed_over = Vec::new();
    let mut start = State::default();
    for version in listing.checkpoints {
        let name = ObjectName::Checkpoint(version);
        match read_checkpoint(objects, version).await {
            Ok(state) => {
                start = state;
                break;
            }
            // A newer build wrote it; what else it wrote means nothing here either.
            Err(error @ ManifestError::Damaged { source: FormatError::Version { .. }, .. }) => {
                return Err(error);
            }
            // Every entry up to the highest number must be there then, so nothing can get lost.
            Err(error) => {
                tracing::warn!(%error, "a manifest checkpoint is passed over");
                passed_over.push(path(name).to_string());
            }
        }
    }

    let checkpoint_version = start.version;
    let mut state = start;
    let versions = checkpoint_version.saturating_add(1)..=listing.version_max;
    let mut entries = stream::iter(versions)
        .map(|version| async move { (version, objects.get(ObjectName::Entry(version)).await) })
        .buffered(ENTRIES_AHEAD);
    while let Some((version, bytes)) = entries.next().await {
        let name = ObjectName::Entry(version);
        let Some(bytes) = bytes? else {
            return Err(ManifestError::Missing {
                object: path(name).to_string(),
                because: format!("there are objects up to version {}", listing.version_max),
                damaged_checkpoints: passed_over,
            });
        };
        let applied = decode_entry(version, &bytes)
            .and_then(|entry| state.apply(&entry).map_err(|source| damaged(name, source)));
        match applied {
            Err(ManifestError::Damaged { object, source, .. }) => {
                return Err(ManifestError::Damaged { object, source, damaged_checkpoints: passed_over });
            }
            other => other?,
        }
    }
    Ok(Replayed { state, checkpoint_version })
}

pub(super) async fn read_checkpoint(objects: &Objects, version: u64) -> Result<State, ManifestError> {
    let name = ObjectName::Checkpoint(version);
    let Some(bytes) = objects.get(name).await? else {
        return Err(ManifestError::Missing {
            object: path(name).to_string(),
            because: "it was listed".to_owned(),
            damaged_checkpoints: Vec::new(),
        });
    };
    let state = State::decode_checkpoint(&bytes).map_err(|source| damaged(name, source))?;
    if state.version != version {
        let detail = format!("it says that it is version {}", state.version);
        return Err(damaged(name, FormatError::damaged("manifest checkpoint", detail)));
    }
    Ok(state)
}
