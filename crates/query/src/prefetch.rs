//! Traces that a trace points at are read into the cache before somebody asks for them: by its spans' links,
//! and by attributes that hold trace IDs.
//!
//! Little, in the background, and only one step far: a trace that was prefetched points at nothing. What
//! there is no room for is not done later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracelake_model::{TraceId, ValueRef};

use crate::assemble::TraceSpans;

/// Traces read in advance at once.
const AT_ONCE: usize = 4;

/// Traces that one trace can bring.
const RELATED_MAX: usize = 16;

/// How prefetching does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PrefetchStats {
    /// Traces that others pointed at.
    pub related: u64,
    /// Of those, traces whose reading has ended: they are in the cache, unless there is no such trace, or
    /// some of it could not be read.
    pub fetched: u64,
    /// Of those, traces that were left, as enough was being read. What was in the cache is neither.
    pub skipped: u64,
}

/// What is prefetched, and what was.
#[derive(Debug)]
pub(crate) struct Prefetch {
    /// Attributes of spans whose text is a trace ID.
    pub(crate) attributes: Vec<String>,
    permits: Arc<Semaphore>,
    related: AtomicU64,
    fetched: Arc<AtomicU64>,
    skipped: AtomicU64,
}

/// The permission to read one trace: held until that has ended.
#[derive(Debug)]
pub(crate) struct Permit {
    fetched: Arc<AtomicU64>,
    _turn: OwnedSemaphorePermit,
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Whoever sees the count is to see what was read.
        self.fetched.fetch_add(1, Ordering::Release);
    }
}

impl Prefetch {
    pub(crate) fn new(attributes: Vec<String>) -> Self {
        let zero = AtomicU64::default;
        Self {
            attributes,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            related: zero(),
            fetched: Arc::default(),
            skipped: zero(),
        }
    }

    /// The traces that this one points at.
    pub(crate) fn related(&self, trace_id: &TraceId, spans: &TraceSpans) -> BTreeSet<TraceId> {
        let mut related = BTreeSet::new();
        for span in spans.spans() {
            related.extend(span.links().filter_map(|link| TraceId::from_bytes(link.trace_id())));
            for (key, value) in span.attributes() {
                if self.attributes.iter().any(|attribute| attribute == key)
                    && let ValueRef::Text(text) = value
                {
                    related.extend(text.parse::<TraceId>());
                }
            }
            related.remove(trace_id);
            while related.len() > RELATED_MAX {
                related.pop_last();
            }
        }
        self.related.fetch_add(related.len() as u64, Ordering::Relaxed);
        related
    }

    /// The permission to read one, if not enough are being read.
    pub(crate) fn permit(&self) -> Option<Permit> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(turn) => Some(Permit { fetched: Arc::clone(&self.fetched), _turn: turn }),
            Err(_) => {
                self.skipped.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    pub(crate) fn stats(&self) -> PrefetchStats {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PrefetchStats {
            related: count(&self.related),
            fetched: self.fetched.load(Ordering::Acquire),
            skipped: count(&self.skipped),
        }
    }
}
