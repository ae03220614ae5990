//! The steps between which a crash can fall. In production nothing is asked; a test makes a step
//! fail, drops the store as a crash would, and opens it again.

use std::io;

/// A step of the write path. The crash falls right before what the name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrashPoint {
    /// Before a group's frames are written to the WAL file.
    WalWrite,
    /// After the write, before the fsync.
    WalSync,
    /// After the fsync, before the spans are published and acknowledged.
    WalPublish,
    /// Before the memtable is frozen and the WAL goes on in a new file.
    Freeze,
    /// The new WAL file exists, the memtable is not frozen yet.
    FreezeSwap,
    /// Before the segment is encoded.
    SegmentEncode,
    /// Before the segment is put.
    SegmentPut,
    /// The segment is durable, no manifest names it.
    ManifestCommit,
    /// The manifest names the segment, the snapshot does not show it yet.
    SnapshotSwap,
    /// The snapshot shows the segment, the WAL still has its spans.
    WalRemove,
    /// Before a manifest checkpoint is put.
    ManifestCheckpoint,
    /// Before a merge of segments reads anything.
    CompactionMerge,
    /// Before the last bytes of an output of a merge, or of what retention rewrites, are put.
    MergeOutput,
    /// What a merge wrote is durable, no manifest names it.
    CompactionCommit,
    /// The manifest names what a merge wrote, the snapshot does not show it yet.
    CompactionSwap,
    /// Before retention rewrites a segment of which some tenants' spans expired.
    RetentionRewrite,
    /// Retention has decided, and written what stays; the manifest still names all.
    RetentionCommit,
    /// The manifest no longer names what expired, the snapshot still shows it.
    RetentionSwap,
    /// Before a file that no manifest names is deleted.
    SegmentDelete,
}

impl CrashPoint {
    /// Every step of a span's way into a segment, for tests that go through all.
    pub const OF_INGEST: [Self; 11] = [
        Self::WalWrite,
        Self::WalSync,
        Self::WalPublish,
        Self::Freeze,
        Self::FreezeSwap,
        Self::SegmentEncode,
        Self::SegmentPut,
        Self::ManifestCommit,
        Self::SnapshotSwap,
        Self::WalRemove,
        Self::ManifestCheckpoint,
    ];

    /// Every step of compaction.
    pub const OF_COMPACTION: [Self; 5] = [
        Self::CompactionMerge,
        Self::MergeOutput,
        Self::CompactionCommit,
        Self::CompactionSwap,
        Self::SegmentDelete,
    ];

    /// Every step of retention.
    pub const OF_RETENTION: [Self; 5] = [
        Self::RetentionRewrite,
        Self::MergeOutput,
        Self::RetentionCommit,
        Self::RetentionSwap,
        Self::SegmentDelete,
    ];
}

/// Decides whether the store crashes at a step.
pub trait CrashPoints: std::fmt::Debug + Send + Sync {
    /// An error stops the store where it stands, as if the process had died there.
    fn reach(&self, point: CrashPoint) -> io::Result<()>;
}

/// Production: never.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCrashes;

impl CrashPoints for NoCrashes {
    fn reach(&self, _: CrashPoint) -> io::Result<()> {
        Ok(())
    }
}
