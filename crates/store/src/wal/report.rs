//! What a recovery found: what was read, what was cut, what is damaged or missing, in numbers and in
//! words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat};
use tracelake_format::wal::{Damage, FrameHeader, FrameKind, FrameMeta};
use ulid::Ulid;

/// The outcome of a recovery.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// The log that the files are of; none if that cannot be told, or there are none.
    pub wal: Option<Ulid>,
    /// Sequence for the next file.
    pub next_sequence: u64,
    /// Length of the file before that one; 0: not known.
    pub previous_bytes: u64,
    /// Files that were not read because the manifest covers them.
    pub covered_files: u64,
    /// Files that were read.
    pub files: u64,
    /// Whole frames with spans.
    pub frames: u64,
    /// Spans in them.
    pub spans: u64,
    /// Bytes of the files that were read.
    pub bytes: u64,
    /// Hash and arrival in seconds since 1970 of the requests that are stored, oldest first.
    pub recent_requests: Vec<(u128, u64)>,
    /// The end of the newest file that is no whole frame: a group that a crash interrupted, or damage.
    pub torn: Option<TornFile>,
    /// Files with damage, in order.
    pub damaged: Vec<DamagedFile>,
    /// Sequences that should be there and are not.
    pub gaps: Vec<Gap>,
}

/// The end of the newest file that was cut off. A crash that interrupts a group leaves such an end, and
/// then nobody was told that it is stored; damage of the last group looks the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornFile {
    /// The file.
    pub path: PathBuf,
    /// Where it was cut; 0: a crash interrupted the file's creation, and it is gone.
    pub at: u64,
    /// Bytes that were cut.
    pub bytes: u64,
    /// Where they are now, unless they were all zero or nothing was changed.
    pub kept_as: Option<PathBuf>,
    /// The incomplete frames whose headers are whole.
    pub headers: Vec<FrameHeader>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileDamage {
    /// Neither copy of its header can be read, or it is another file's: nothing in it can be read.
    Header {
        /// What is wrong.
        what: String,
    },
    /// One copy of its header is damaged. Nothing is lost.
    HeaderCopy,
    /// Frames are damaged; the others are recovered.
    Frames {
        /// The damaged ranges, in order.
        ranges: Vec<Damage>,
    },
    /// Frames are whole, and what is in them is no request that this build takes.
    Unusable {
        /// Those frames, in order; from the 1,024th on their spans are added to the last.
        frames: Vec<LostFrame>,
    },
}

/// A whole frame of which not all could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostFrame {
    /// Where in the file it begins.
    pub offset: u64,
    /// What it says of itself.
    pub meta: FrameMeta,
    /// How many of its spans are lost.
    pub spans: u64,
    /// Why.
    pub what: String,
}

/// A file that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFile {
    /// Its sequence, by its name.
    pub sequence: u64,
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Where it is kept, byte for byte, also when the log goes on without it.
    pub quarantined_as: Option<PathBuf>,
    /// What is wrong with it.
    pub damage: FileDamage,
}

/// Sequences that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
}

impl DamagedFile {
    /// Whether acknowledged spans may be lost by it.
    pub fn loses_spans(&self) -> bool {
        !matches!(self.damage, FileDamage::HeaderCopy)
    }
}

impl RecoveryReport {
    /// What was cut off the newest file, in a sentence; none if nothing was that can have been stored.
    pub fn torn_message(&self) -> Option<String> {
        let torn = self.torn.as_ref()?;
        // A file whose creation was interrupted held no frame.
        (torn.at > 0).then(|| torn.to_string())
    }

    /// A sentence for each file that is damaged or missing; empty if all is well.
    pub fn damage_messages(&self) -> Vec<String> {
        let damaged = self.damaged.iter().map(ToString::to_string);
        damaged.chain(self.gaps.iter().map(ToString::to_string)).collect()
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        write!(f, "WAL files {first} to {last} are missing: the spans that they held are lost")
    }
}

impl fmt::Display for TornFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, at, bytes, kept_as, headers } = self;
        write!(f, "{}: its last {bytes} bytes, from {at} on, are no whole frames", path.display())?;
        f.write_str("; a crash interrupted them before they were acknowledged, or they are damaged")?;
        let metas = headers.iter().map(|header| (&header.meta, u64::from(header.meta.span_count)));
        write_lost(f, "possibly acknowledged and lost", metas)?;
        if headers.is_empty() {
            f.write_str("; whose spans were in them cannot be read")?;
        }
        match kept_as {
            Some(kept) => write!(f, "; they are kept as {}", kept.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for DamagedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.damage {
            FileDamage::HeaderCopy => {
                write!(f, "{path}: one of the two copies of its header is damaged; nothing is lost")?;
            }
            FileDamage::Header { what } => {
                write!(f, "{path}: nothing of its {} bytes can be read: {what}", self.bytes)?;
            }
            FileDamage::Frames { ranges } => {
                let bytes: u64 = ranges.iter().map(|range| range.end - range.at).sum();
                write!(f, "{path}: {bytes} bytes in {} places are damaged", ranges.len())?;
                if let Some(first) = ranges.first() {
                    write!(f, ", the first at {}: {}", first.at, first.what)?;
                }
                let metas = ranges.iter().filter_map(|range| Some(&range.header.as_ref()?.meta));
                write_lost(f, "lost", metas.map(|meta| (meta, u64::from(meta.span_count))))?;
                if ranges.iter().any(|range| range.header.is_none()) {
                    f.write_str("; whose spans were in some of the places cannot be read")?;
                }
                if !ranges.iter().any(|range| range.acknowledged) {
                    f.write_str(
                        "; this may be a group that a crash interrupted and nobody was told is stored",
                    )?;
                }
            }
            FileDamage::Unusable { frames } => {
                write!(f, "{path}: {} whole frames cannot be used", frames.len())?;
                if let Some(first) = frames.first() {
                    write!(f, ", the first at {}: {}", first.offset, first.what)?;
                }
                write_lost(f, "lost", frames.iter().map(|frame| (&frame.meta, frame.spans)))?;
            }
        }
        match &self.quarantined_as {
            Some(kept) => write!(f, "; the file is kept as {}", kept.display()),
            None => Ok(()),
        }
    }
}

/// Whose spans, how many, of what time.
fn write_lost<'a>(
    f: &mut fmt::Formatter<'_>,
    how: &str,
    frames: impl Iterator<Item = (&'a FrameMeta, u64)>,
) -> fmt::Result {
    #[derive(Default)]
    struct Lost {
        spans: u64,
        requests: BTreeSet<u128>,
        start_min: Option<u64>,
        start_max: u64,
    }
    let mut tenants: BTreeMap<&str, Lost> = BTreeMap::new();
    for (meta, spans) in frames.filter(|(meta, _)| meta.kind == FrameKind::Spans) {
        let lost = tenants.entry(meta.tenant.as_ref().map_or("", |tenant| tenant.as_str())).or_default();
        lost.spans += spans;
        lost.requests.insert(meta.request_hash);
        lost.start_min =
            Some(lost.start_min.map_or(meta.start_unix_nano_min, |min| min.min(meta.start_unix_nano_min)));
        lost.start_max = lost.start_max.max(meta.start_unix_nano_max);
    }
    for (tenant, lost) in &tenants {
        let (from, to) = (UtcTime(lost.start_min.unwrap_or_default()), UtcTime(lost.start_max));
        let (spans, requests) = (lost.spans, lost.requests.len());
        write!(
            f,
            "; {how}: {spans} spans in {requests} requests of tenant {tenant}, started {from} to {to}"
        )?;
    }
    Ok(())
}

/// Nanoseconds since 1970, shown in UTC to the second.
struct UtcTime(u64);

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1_000_000_000).unwrap_or(i64::MAX);
        let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

#[cfg(test)]
mod tests;
