//! Filters in memory: of trace IDs, and of values.
//!
//! A lookup without a time asks the filters of all segments, again and again in the same order: whatever
//! evicts the least recently used would evict each of them before it is asked again. So a filter that fits
//! into the budget stays until its segment goes, and one that does not is read each time it is asked.

use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};
use tracelake_format::segment::{KeyFilter, ValueFilters};
use ulid::Ulid;

/// Filters read at once, by all requests together.
const READS_AT_ONCE: usize = 16;

/// Locks that filters share, so that each is read once however many ask: several times the reads at once, so that
/// few wait for another's.
const LOCKS: u128 = 64;

/// A filter that is kept.
pub(super) trait Filter {
    /// What it is called where it is damaged.
    const WHAT: &'static str;

    fn heap_bytes(&self) -> usize;
}

impl Filter for KeyFilter {
    const WHAT: &'static str = "filter of trace IDs";

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}

impl Filter for ValueFilters {
    const WHAT: &'static str = "filters of values";

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}

/// What is known of a segment's filter.
#[derive(Debug)]
pub(super) enum Known<F> {
    /// What it says.
    Filter(Arc<F>),
    /// It is damaged: anything may be in the segment.
    Damaged,
}

impl<F> Clone for Known<F> {
    fn clone(&self) -> Self {
        match self {
            Self::Filter(filter) => Self::Filter(Arc::clone(filter)),
            Self::Damaged => Self::Damaged,
        }
    }
}

impl<F: Filter> Known<F> {
    /// Whether the filter says so, or says nothing.
    pub(super) fn may(&self, says: impl FnOnce(&F) -> bool) -> bool {
        match self {
            Self::Filter(filter) => says(filter),
            Self::Damaged => true,
        }
    }

    fn heap_bytes(&self) -> u64 {
        let entry = size_of::<(Ulid, Self)>() as u64;
        match self {
            Self::Filter(filter) => entry + filter.heap_bytes() as u64,
            Self::Damaged => entry,
        }
    }
}

#[derive(Debug)]
struct Resident<F> {
    filters: HashMap<Ulid, Known<F>, RandomState>,
    bytes: u64,
    is_full: bool,
}

/// The filters of a store.
#[derive(Debug)]
pub(super) struct Filters<F> {
    resident: RwLock<Resident<F>>,
    bytes_max: u64,
    reads: Semaphore,
    locks: Vec<Mutex<()>>,
}

/// The right to read a filter.
#[derive(Debug)]
pub(super) struct Turn<'f> {
    _one: Option<MutexGuard<'f, ()>>,
    _of_few: Option<SemaphorePermit<'f>>,
}

impl<F: Filter> Filters<F> {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            resident: RwLock::new(Resident { filters: HashMap::default(), bytes: 0, is_full: false }),
            bytes_max,
            reads: Semaphore::new(READS_AT_ONCE),
            locks: (0..LOCKS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Waits until it may be read. Whoever else wanted to may have it in memory by then; where there is no room for
    /// it nobody waits for the other, as each has to read it anyway.
    pub(super) async fn turn(&self, segment: Ulid) -> Turn<'_> {
        let lock = usize::try_from(segment.0 % LOCKS).ok().and_then(|at| self.locks.get(at));
        let lock = lock.filter(|_| !self.is_full());
        let one = match lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        // It is never closed.
        Turn { _one: one, _of_few: self.reads.acquire().await.ok() }
    }

    /// Whether a segment's filter says so, or says nothing; none if it is not in memory.
    pub(super) fn may(&self, segment: Ulid, says: impl FnOnce(&F) -> bool) -> Option<bool> {
        let resident = self.resident.read().unwrap_or_else(PoisonError::into_inner);
        resident.filters.get(&segment).map(|known| known.may(says))
    }

    /// What is known of the segment's filter; none if it is not in memory.
    pub(super) fn get(&self, segment: Ulid) -> Option<Known<F>> {
        let resident = self.resident.read().unwrap_or_else(PoisonError::into_inner);
        resident.filters.get(&segment).cloned()
    }

    /// Keeps a filter if there is room.
    pub(super) fn insert(&self, segment: Ulid, known: Known<F>) {
        let mut resident = self.resident.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = known.heap_bytes();
        if resident.filters.contains_key(&segment) {
            return;
        }
        if resident.bytes + bytes > self.bytes_max {
            resident.is_full = true;
            return;
        }
        resident.bytes += bytes;
        resident.filters.insert(segment, known);
    }

    /// Forgets the filters of segments that are no more.
    pub(super) fn retain(&self, is_live: impl Fn(&Ulid) -> bool) {
        let mut resident = self.resident.write().unwrap_or_else(PoisonError::into_inner);
        resident.filters.retain(|segment, _| is_live(segment));
        resident.bytes = resident.filters.values().map(Known::heap_bytes).sum();
        resident.is_full = false;
    }

    /// Whether one was turned away for want of room since there was room last.
    pub(super) fn is_full(&self) -> bool {
        self.resident.read().unwrap_or_else(PoisonError::into_inner).is_full
    }

    /// How many there are, and their bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        let resident = self.resident.read().unwrap_or_else(PoisonError::into_inner);
        (resident.filters.len() as u64, resident.bytes)
    }
}

#[cfg(test)]
mod tests;
