//! What a query sees: the segments of one manifest version and the memtables that are not in them.
//!
//! A snapshot is taken at once and stays whole: a flush swaps a memtable for its segment in one step,
//! so every acknowledged span is in exactly one of the two.

use std::sync::{Arc, PoisonError, RwLock};

use tracelake_format::manifest::State as ManifestState;

use crate::locator::PartitionLocator;
use crate::memtable::Memtable;

/// An immutable view of the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The live segments and what else the manifest says.
    pub manifest: Arc<ManifestState>,
    /// Where in them a trace or a time can be.
    pub partitions: Arc<PartitionLocator>,
    /// Memtables that take nothing more and wait to be flushed, oldest first.
    pub frozen: Vec<Arc<Memtable>>,
    /// The memtable that is being written. It grows after the snapshot was taken.
    pub active: Arc<Memtable>,
}

impl Snapshot {
    /// Of a manifest and the memtable that is being written.
    pub(crate) fn new(manifest: Arc<ManifestState>, active: Arc<Memtable>) -> Self {
        let partitions = Arc::new(PartitionLocator::new(&manifest));
        Self { manifest, partitions, frozen: Vec::new(), active }
    }

    /// All memtables, oldest first, each with the generation that its first rows have once they are in a segment.
    pub fn generations(&self) -> impl Iterator<Item = (&Arc<Memtable>, u64)> {
        let mut last = self.manifest.generation;
        self.memtables().map(move |memtable| {
            let first = first_generation(memtable, last);
            last = first + u64::from(memtable.later_generations());
            (memtable, first)
        })
    }

    /// The generation of what comes in now.
    pub fn generation(&self) -> u64 {
        let last = self.generations().last();
        last.map_or(0, |(memtable, first)| first + u64::from(memtable.later_generations()))
    }

    /// Ends the generation that is in memory: all that is acknowledged by now is of it or of earlier ones, and
    /// stays so wherever it is stored.
    pub fn cut(&self) -> u64 {
        let ended = self.active.cut();
        let first = self.generations().last().map_or(0, |(_, first)| first);
        first + u64::from(ended)
    }

    /// All memtables, oldest first.
    pub fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        self.frozen.iter().chain([&self.active])
    }
}

/// Generations that a memtable can have: so many are between the first of one WAL file and that of the next, so
/// that those of a file do not depend on how many the file before it had. A crash can lose the last of those.
const GENERATIONS_OF_FILE: u64 = 1 << 20;

/// The generation of a memtable's first rows in a store that has flushed others up to `last`. Those of the store
/// grow, whichever log they come from.
pub(crate) fn first_generation(memtable: &Memtable, last: u64) -> u64 {
    memtable.wal_sequence().saturating_mul(GENERATIONS_OF_FILE).max(last.saturating_add(1))
}

/// The one place where the current snapshot is.
#[derive(Debug)]
pub(crate) struct Current(RwLock<Snapshot>);

impl Current {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self(RwLock::new(snapshot))
    }

    pub(crate) fn get(&self) -> Snapshot {
        // Every change under the lock is one assignment: after a panic what is there is whole.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The memtable being written, without a copy of the rest.
    pub(crate) fn active(&self) -> Arc<Memtable> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).active)
    }

    pub(crate) fn frozen_len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).frozen.len()
    }

    /// The first active memtable; nothing was published in the one before it.
    pub(crate) fn set_active(&self, active: Arc<Memtable>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).active = active;
    }

    /// A memtable that takes nothing more, as it was read back from the WAL.
    pub(crate) fn push_frozen(&self, memtable: Arc<Memtable>) {
        memtable.freeze();
        self.0.write().unwrap_or_else(PoisonError::into_inner).frozen.push(memtable);
    }

    /// The active memtable takes nothing more; `next` takes its place.
    pub(crate) fn freeze(&self, next: Arc<Memtable>) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        current.active.freeze();
        let mut snapshot = current.clone();
        snapshot.frozen.push(std::mem::replace(&mut snapshot.active, next));
        *current = snapshot;
    }

    /// The live segments have changed. A flush of unknown outcome may be among what changed them: then its
    /// memtable goes.
    pub(crate) fn set_manifest(&self, manifest: Arc<ManifestState>) {
        // Asked for each second, and of many segments there is much to work out.
        if self.get().manifest.version == manifest.version {
            return;
        }
        let partitions = Arc::new(PartitionLocator::new(&manifest));
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut snapshot = current.clone();
        snapshot.frozen.retain(|memtable| {
            manifest.covered(memtable.wal()).is_none_or(|covered| covered < memtable.wal_sequence())
        });
        snapshot.manifest = manifest;
        snapshot.partitions = partitions;
        *current = snapshot;
    }

    /// The manifest now has what the memtable of this WAL file held.
    pub(crate) fn flushed(&self, wal_sequence: u64, manifest: Arc<ManifestState>) {
        let partitions = Arc::new(PartitionLocator::new(&manifest));
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut snapshot = current.clone();
        snapshot.frozen.retain(|memtable| memtable.wal_sequence() != wal_sequence);
        snapshot.manifest = manifest;
        snapshot.partitions = partitions;
        *current = snapshot;
    }
}

#[cfg(test)]
mod tests;
