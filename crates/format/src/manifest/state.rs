//! What the log adds up to at a version, and the rules that every entry must keep.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::entry::{Change, Commit, Entry, SegmentEntry, from_json, to_json};
use super::frame::{self, Kind};
use crate::FormatError;
use crate::segment::AttributeColumns;

/// The store at a version. [`State::default`] is version 0: before the first entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The version of the last entry applied.
    pub version: u64,
    /// The epoch of whoever opened the log last; 0 before anybody did.
    pub epoch: u64,
    /// The name of whoever opened the log last.
    pub writer: String,
    /// The last generation flushed; 0 before the first.
    pub generation: u64,
    /// WAL files with this sequence number or a lower one are no longer needed.
    pub wal_covered: u64,
    /// Attributes with a column of their own.
    pub attribute_columns: AttributeColumns,
    /// The live segments, in the order in which they were added.
    pub segments: Vec<SegmentEntry>,
}

impl State {
    /// Goes to the next version.
    ///
    /// # Errors
    /// An entry that does not fit; the state is then as it was.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), FormatError> {
        self.check(entry)?;
        self.version = entry.version;
        self.epoch = entry.writer_epoch;
        match &entry.change {
            Change::Open(_) => self.writer.clone_from(&entry.writer),
            Change::Commit(commit) => {
                if let Some(flushed) = commit.flushed {
                    self.generation = flushed.generation;
                    self.wal_covered = flushed.wal_covered;
                }
                if !commit.segments_removed.is_empty() {
                    let removed: HashSet<_> = commit.segments_removed.iter().collect();
                    self.segments.retain(|segment| !removed.contains(&segment.meta.id));
                }
                self.segments.extend(commit.segments_added.iter().cloned());
                self.attribute_columns.columns.extend(commit.attribute_columns_added.iter().cloned());
            }
        }
        Ok(())
    }

    fn check(&self, entry: &Entry) -> Result<(), FormatError> {
        if self.version.checked_add(1) != Some(entry.version) {
            return misfit(format!("version {} does not follow version {}", entry.version, self.version));
        }
        match &entry.change {
            Change::Open(_) => {
                if self.epoch.checked_add(1) != Some(entry.writer_epoch) {
                    let epoch = entry.writer_epoch;
                    return misfit(format!("epoch {epoch} is opened after epoch {}", self.epoch));
                }
                if entry.writer.is_empty() {
                    return misfit("its writer has no name");
                }
                Ok(())
            }
            Change::Commit(commit) => {
                if entry.writer_epoch != self.epoch || entry.writer != self.writer {
                    return misfit(format!(
                        "writer {} of epoch {} committed in epoch {} of writer {}",
                        entry.writer, entry.writer_epoch, self.epoch, self.writer
                    ));
                }
                self.check_commit(commit)
            }
        }
    }

    fn check_commit(&self, commit: &Commit) -> Result<(), FormatError> {
        if let Some(flushed) = commit.flushed {
            if flushed.generation <= self.generation {
                let generation = flushed.generation;
                return misfit(format!("generation {generation} is flushed after {}", self.generation));
            }
            if flushed.wal_covered < self.wal_covered {
                let covered = flushed.wal_covered;
                return misfit(format!("WAL file {} was covered, now only {covered}", self.wal_covered));
            }
        }
        // The live set is only looked through where something must be found in it or must not be.
        let mut removed = HashSet::new();
        for id in &commit.segments_removed {
            if !removed.insert(id) {
                return misfit(format!("segment {id} is removed twice"));
            }
        }
        let mut added_ids = HashSet::new();
        let mut added_paths = HashSet::new();
        for segment in &commit.segments_added {
            if segment.path.is_empty() {
                return misfit(format!("segment {} has no path", segment.meta.id));
            }
            if !added_ids.insert(&segment.meta.id) || !added_paths.insert(segment.path.as_str()) {
                return misfit(format!("segment {} ({}) is added twice", segment.meta.id, segment.path));
            }
        }
        let mut removed_found = 0;
        for live in &self.segments {
            removed_found += usize::from(removed.contains(&live.meta.id));
            if added_ids.contains(&live.meta.id) || added_paths.contains(live.path.as_str()) {
                return misfit(format!("segment {} ({}) is already live", live.meta.id, live.path));
            }
        }
        if removed_found != removed.len() {
            return misfit(format!("{} removed segments are not live", removed.len() - removed_found));
        }
        for (at, column) in commit.attribute_columns_added.iter().enumerate() {
            let before = commit.attribute_columns_added.iter().take(at);
            if self.attribute_columns.columns.iter().chain(before).any(|other| other.key == column.key) {
                return misfit(format!("attribute {:?} gets a second column", column.key));
            }
        }
        Ok(())
    }

    /// A checkpoint's bytes.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`].
    pub fn encode_checkpoint(&self) -> Result<Vec<u8>, FormatError> {
        frame::seal(Kind::Checkpoint, &to_json(Kind::Checkpoint, self)?)
    }

    /// Reads a checkpoint's bytes.
    ///
    /// # Errors
    /// Any byte that was not written so, a newer format, or a state that no log adds up to.
    pub fn decode_checkpoint(object: &[u8]) -> Result<Self, FormatError> {
        let state: Self = from_json(Kind::Checkpoint, frame::open(Kind::Checkpoint, object)?)?;
        let mut ids = HashSet::new();
        let mut paths = HashSet::new();
        let mut keys = HashSet::new();
        let distinct_keys = state.attribute_columns.columns.iter().all(|column| keys.insert(&column.key));
        let distinct = state
            .segments
            .iter()
            .all(|segment| ids.insert(&segment.meta.id) && paths.insert(segment.path.as_str()));
        if !distinct
            || !distinct_keys
            || state.version == 0
            || state.epoch == 0
            || state.epoch > state.version
        {
            return Err(FormatError::damaged(Kind::Checkpoint.what(), "no log adds up to what it says"));
        }
        Ok(state)
    }
}

fn misfit(detail: impl Into<String>) -> Result<(), FormatError> {
    Err(FormatError::damaged(Kind::Entry.what(), detail))
}
