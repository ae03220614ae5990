//! How many queries read at this moment: merges rest while they do so on all cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts reads.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    now: Arc<AtomicUsize>,
    cores: usize,
}

/// A read for a query that is going on, until it is dropped.
#[derive(Debug)]
pub struct ReadInProgress(Arc<AtomicUsize>);

impl Reading {
    pub(super) fn new(cores: usize) -> Self {
        Self { now: Arc::default(), cores }
    }

    pub(super) fn begin(&self) -> ReadInProgress {
        self.now.fetch_add(1, Ordering::Relaxed);
        ReadInProgress(Arc::clone(&self.now))
    }

    pub(super) fn is_on_all_cores(&self) -> bool {
        self.now.load(Ordering::Relaxed) >= self.cores
    }
}

impl Drop for ReadInProgress {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
