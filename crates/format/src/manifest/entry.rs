//! One commit: who made it and what it changed.

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::frame::{self, Kind};
use crate::FormatError;
use crate::segment::{AttributeColumn, SegmentMeta};

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The version that it makes: one more than the version it was made from.
    pub version: u64,
    /// Unique to this commit, so that its writer recognises it when the answer to a put is lost.
    #[serde(with = "ulid_text")]
    pub commit_id: Ulid,
    /// The epoch of the writer.
    pub writer_epoch: u64,
    /// The random name of the writing process.
    pub writer: String,
    /// The writer's clock. For people: nothing is decided by it.
    pub committed_unix_nano: u64,
    /// What it changed.
    pub change: Change,
}

/// What a commit changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A new writer takes over.
    Open(Open),
    /// The live segments change.
    Commit(Commit),
}

/// A new writer takes over: whoever wrote before has lost the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {}

/// A change of the live segments: a flush adds some, a compaction replaces some, retention removes some.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Set by a flush.
    pub flushed: Option<Flushed>,
    /// Segments that become live.
    pub segments_added: Vec<SegmentEntry>,
    /// IDs of segments that are live no longer.
    #[serde(with = "ulid_texts")]
    pub segments_removed: Vec<Ulid>,
    /// Attributes that may have a column of their own from now on.
    pub attribute_columns_added: Vec<AttributeColumn>,
    /// Spans of what is removed are in no segment any more: their time was over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retention: bool,
}

/// What a flush made permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flushed {
    /// The generation that is in segments now.
    pub generation: u64,
    /// The log that it came from.
    #[serde(with = "ulid_text")]
    pub wal: Ulid,
    /// Files of that log with this sequence number or a lower one hold nothing that is not in segments.
    pub wal_covered: u64,
}

/// How much of a log is in segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoveredWal {
    /// The log. Another one's files are never covered by it, whatever their numbers.
    #[serde(with = "ulid_text")]
    pub wal: Ulid,
    /// Its files with this sequence number or a lower one are no longer needed.
    pub sequence: u64,
}

/// A live segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentEntry {
    /// Where its file is in the object store.
    pub path: String,
    /// What is known without reading it.
    pub meta: SegmentMeta,
}

impl SegmentEntry {
    /// The oldest format that has all of its fields.
    pub(super) fn format_version(&self) -> u32 {
        if self.meta.value_filters.is_some() {
            frame::VALUE_FILTERS_VERSION
        } else if self.meta.index.is_some() {
            frame::INDEX_VERSION
        } else {
            frame::FIRST_VERSION
        }
    }
}

impl Entry {
    /// The object's bytes.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        frame::seal(Kind::Entry, self.format_version(), &to_json(Kind::Entry, self)?)
    }

    /// The oldest format that has all of its fields.
    fn format_version(&self) -> u32 {
        let Change::Commit(commit) = &self.change else { return frame::FIRST_VERSION };
        let own = if commit.retention { frame::RETENTION_VERSION } else { frame::FIRST_VERSION };
        commit.segments_added.iter().map(SegmentEntry::format_version).max().unwrap_or(own).max(own)
    }

    /// Reads an object's bytes. Whether it fits what came before, [`super::State::apply`] checks.
    ///
    /// # Errors
    /// Any byte that was not written so, or a newer format.
    pub fn decode(object: &[u8]) -> Result<Self, FormatError> {
        let (version, payload) = frame::open(Kind::Entry, object)?;
        let entry: Self = from_json(Kind::Entry, payload)?;
        frame::check_version(Kind::Entry, version, entry.format_version())?;
        Ok(entry)
    }
}

pub(super) fn to_json<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>, FormatError> {
    serde_json::to_vec(value).map_err(|error| FormatError::damaged(kind.what(), error.to_string()))
}

pub(super) fn from_json<'a, T: Deserialize<'a>>(kind: Kind, payload: &'a [u8]) -> Result<T, FormatError> {
    serde_json::from_slice(payload).map_err(|error| FormatError::damaged(kind.what(), error.to_string()))
}

/// A ULID as its 26 letters.
mod ulid_text {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ulid::Ulid;

    pub(super) fn serialize<S: Serializer>(id: &Ulid, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ulid, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        Ulid::from_string(&text).map_err(|error| D::Error::custom(format!("{text:?} is no ULID: {error}")))
    }
}

/// ULIDs as their letters.
mod ulid_texts {
    use serde::{Deserialize, Deserializer, Serializer};
    use ulid::Ulid;

    #[derive(serde::Serialize, Deserialize)]
    struct Text(#[serde(with = "super::ulid_text")] Ulid);

    pub(super) fn serialize<S: Serializer>(ids: &[Ulid], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(ids.iter().map(|id| Text(*id)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Ulid>, D::Error> {
        Ok(Vec::<Text>::deserialize(from)?.into_iter().map(|Text(id)| id).collect())
    }
}
