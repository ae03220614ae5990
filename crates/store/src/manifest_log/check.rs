//! Every object of the log, not only those that a start would read: whether each can be read, and
//! whether checkpoints say what the entries add up to.

use std::collections::BTreeSet;

use tracelake_format::FormatError;
use tracelake_format::manifest::{ObjectName, State};

use super::error::ManifestError;
use super::objects::Objects;
use super::replay::{self, damaged, decode_entry, read_checkpoint};

/// What a check of the whole log found.
#[derive(Debug)]
pub struct ManifestCheck {
    /// What a start would begin with.
    pub state: Result<State, ManifestError>,
    /// How many objects were read.
    pub objects_checked: u64,
    /// Objects that cannot be read or contradict others, whether or not a start needs them.
    pub damaged: Vec<ManifestError>,
}

pub(super) async fn check(objects: &Objects) -> Result<ManifestCheck, ManifestError> {
    let listing = objects.list().await?;
    let checkpoints: BTreeSet<u64> = listing.checkpoints.into_iter().collect();
    let mut found = ManifestCheck {
        state: replay::replay(objects).await.map(|replayed| replayed.state),
        objects_checked: 0,
        damaged: Vec::new(),
    };
    // Known as long as no entry is missing; known again from the next checkpoint on.
    let mut known = Some(State::default());
    for version in 1..=listing.version_max {
        known = check_entry(objects, version, known, &mut found).await;
        if !checkpoints.contains(&version) {
            continue;
        }
        found.objects_checked += 1;
        match read_checkpoint(objects, version).await {
            Err(error) => found.damaged.push(error),
            Ok(checkpoint) => {
                if known.as_ref().is_some_and(|known| *known != checkpoint) {
                    let detail = "it is not what the entries up to it add up to";
                    let source = FormatError::damaged("manifest checkpoint", detail);
                    found.damaged.push(damaged(ObjectName::Checkpoint(version), source));
                } else {
                    known = Some(checkpoint);
                }
            }
        }
    }
    Ok(found)
}

/// The state after an entry, as far as it can be known.
async fn check_entry(
    objects: &Objects,
    version: u64,
    before: Option<State>,
    found: &mut ManifestCheck,
) -> Option<State> {
    let bytes = match objects.get(ObjectName::Entry(version)).await {
        Ok(Some(bytes)) => bytes,
        // Whether it is needed is what the replay says.
        Ok(None) => return None,
        Err(error) => {
            found.damaged.push(error);
            return None;
        }
    };
    found.objects_checked += 1;
    let entry = match decode_entry(version, &bytes) {
        Ok(entry) => entry,
        Err(error) => {
            found.damaged.push(error);
            return None;
        }
    };
    let mut state = before?;
    match state.apply(&entry) {
        Ok(()) => Some(state),
        Err(source) => {
            found.damaged.push(damaged(ObjectName::Entry(version), source));
            None
        }
    }
}
