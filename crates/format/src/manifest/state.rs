//! What the log adds up to at a version, and the rules that every entry must keep.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::entry::{Change, Commit, CoveredWal, Entry, Flushed, SegmentEntry, from_json, to_json};
use super::frame::{self, Kind};
use crate::FormatError;
use crate::segment::AttributeColumns;

/// Logs that are remembered. A machine that loses its disk begins a new one, so there may be many in a
/// store's life. Files of a log that was forgotten are read again if it ever comes back: nothing is
/// lost, and what is there twice is shown once.
pub const WALS_MAX: usize = 256;

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
    /// What of each log is no longer needed; the log that was flushed last is the last.
    pub wal_covered: Vec<CoveredWal>,
    /// Attributes that may have a column of their own.
    pub attribute_columns: AttributeColumns,
    /// The live segments, in the order in which they were added.
    pub segments: Vec<SegmentEntry>,
    /// What retention has removed so far; none before it removed anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// Bounds of all that retention ever removed. Who reads as of an earlier version than `version`, and
/// needs rows within both bounds, may miss some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The version that removed something last.
    pub version: u64,
    /// No row of a higher generation was removed.
    pub generation_max: u64,
    /// No span that starts later was removed, in nanoseconds since 1970.
    pub start_unix_nano_max: u64,
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
                    self.cover(flushed);
                }
                if !commit.segments_removed.is_empty() {
                    let removed: HashSet<_> = commit.segments_removed.iter().collect();
                    if commit.retention {
                        self.lose(&removed);
                    }
                    self.segments.retain(|segment| !removed.contains(&segment.meta.id));
                }
                self.segments.extend(commit.segments_added.iter().cloned());
                self.attribute_columns.columns.extend(commit.attribute_columns_added.iter().cloned());
            }
        }
        Ok(())
    }

    /// The highest sequence of a log whose files are no longer needed; none if nothing is known of it.
    pub fn covered(&self, wal: Ulid) -> Option<u64> {
        self.wal_covered.iter().find(|covered| covered.wal == wal).map(|covered| covered.sequence)
    }

    fn cover(&mut self, flushed: Flushed) {
        self.wal_covered.retain(|covered| covered.wal != flushed.wal);
        self.wal_covered.push(CoveredWal { wal: flushed.wal, sequence: flushed.wal_covered });
        let excess = self.wal_covered.len().saturating_sub(WALS_MAX);
        self.wal_covered.drain(..excess);
    }

    /// Retention removes these segments, or some of what is in them.
    fn lose(&mut self, removed: &HashSet<&Ulid>) {
        let gone = self.segments.iter().map(|segment| &segment.meta);
        let gone = gone.filter(|meta| removed.contains(&meta.id));
        let before = self.retention.map_or((0, 0), |was| (was.generation_max, was.start_unix_nano_max));
        let (generation_max, start_unix_nano_max) = gone.fold(before, |(generation, start), meta| {
            (generation.max(meta.generation_max), start.max(meta.start_unix_nano_max))
        });
        self.retention = Some(Retention { version: self.version, generation_max, start_unix_nano_max });
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
            if let Some(before) = self.covered(flushed.wal).filter(|before| flushed.wal_covered < *before) {
                let Flushed { wal, wal_covered, .. } = flushed;
                return misfit(format!("file {before} of WAL {wal} was covered, now only {wal_covered}"));
            }
        }
        if commit.retention && commit.segments_removed.is_empty() {
            return misfit("retention removes nothing");
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
        frame::seal(Kind::Checkpoint, self.format_version(), &to_json(Kind::Checkpoint, self)?)
    }

    /// The oldest format that has all of its fields.
    pub(super) fn format_version(&self) -> u32 {
        let own = if self.retention.is_some() { frame::RETENTION_VERSION } else { frame::FIRST_VERSION };
        self.segments.iter().map(SegmentEntry::format_version).max().unwrap_or(own).max(own)
    }

    /// Reads a checkpoint's bytes.
    ///
    /// # Errors
    /// Any byte that was not written so, a newer format, or a state that no log adds up to.
    pub fn decode_checkpoint(object: &[u8]) -> Result<Self, FormatError> {
        let (version, payload) = frame::open(Kind::Checkpoint, object)?;
        let state: Self = from_json(Kind::Checkpoint, payload)?;
        frame::check_version(Kind::Checkpoint, version, state.format_version())?;
        if !state.is_possible() {
            return Err(FormatError::damaged(Kind::Checkpoint.what(), "no log adds up to what it says"));
        }
        Ok(state)
    }

    /// Whether a log can add up to it, as far as it can be told without one.
    pub(super) fn is_possible(&self) -> bool {
        let mut ids = HashSet::new();
        let mut paths = HashSet::new();
        let mut keys = HashSet::new();
        let distinct_keys = self.attribute_columns.columns.iter().all(|column| keys.insert(&column.key));
        let mut wals = HashSet::new();
        let distinct_wals = self.wal_covered.iter().all(|covered| wals.insert(covered.wal));
        let distinct = self
            .segments
            .iter()
            .all(|segment| ids.insert(&segment.meta.id) && paths.insert(segment.path.as_str()));
        distinct
            && distinct_keys
            && distinct_wals
            && wals.len() <= WALS_MAX
            && self.version > 0
            && (1..=self.version).contains(&self.epoch)
            && self.retention.is_none_or(|retention| retention.version <= self.version)
    }
}

fn misfit(detail: impl Into<String>) -> Result<(), FormatError> {
    Err(FormatError::damaged(Kind::Entry.what(), detail))
}
