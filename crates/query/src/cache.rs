//! Traces as they were put together from segments, for those who look again.
//!
//! A trace is kept with the generation up to which segments were asked for it. Rows of that and of earlier
//! generations are all in it, wherever compaction has put them since; so a later lookup asks only segments
//! with newer rows, and memtables, which are never in here. Ingest has nothing to invalidate. What retention
//! removes is not shown from here either.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::Serialize;
use tracelake_model::{TenantId, TraceId};

use crate::assemble::TraceSpans;

/// What an entry takes beside its spans, roughly.
const ENTRY_BYTES: usize = 256;

/// The spans of a trace that are in segments.
#[derive(Debug)]
pub(crate) struct CachedTrace {
    /// Up to which rows are in it.
    pub(crate) generation: u64,
    /// The manifest version in which retention last removed something.
    pub(crate) retention_version: u64,
    /// With nothing missing.
    pub(crate) spans: TraceSpans,
}

impl CachedTrace {
    fn heap_bytes(&self) -> usize {
        ENTRY_BYTES + self.spans.heap_bytes()
    }
}

/// How the cache does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TraceCacheStats {
    /// Traces in it.
    pub traces: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lookups that found theirs.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Traces that went, to make room or because they were dropped.
    pub evictions: u64,
}

/// How large the cache may be.
#[derive(Debug, Clone, Copy)]
pub struct TraceCacheLimits {
    /// Bytes of spans; 0 for no cache.
    pub bytes_max: u64,
    /// Traces; 0 for any number.
    pub traces_max: u64,
}

type Key = (TenantId, TraceId);

/// The cache. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TraceCache {
    traces: Option<Cache<Key, Arc<CachedTrace>>>,
    limits: TraceCacheLimits,
    hits: Arc<AtomicU64>,
    misses: Arc<AtomicU64>,
    evictions: Arc<AtomicU64>,
}

impl TraceCache {
    pub(crate) fn new(limits: TraceCacheLimits) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let evicted = Arc::clone(&evictions);
        // With a limit by count as well, each trace weighs at least its share of the bytes.
        let least = limits.bytes_max.checked_div(limits.traces_max).unwrap_or(0);
        let traces = (limits.bytes_max > 0).then(|| {
            Cache::builder()
                .max_capacity(limits.bytes_max)
                .weigher(move |_, trace: &Arc<CachedTrace>| {
                    let bytes = (trace.heap_bytes() as u64).max(least);
                    u32::try_from(bytes).unwrap_or(u32::MAX)
                })
                .eviction_listener(move |_, _, cause| {
                    if cause != moka::notification::RemovalCause::Replaced {
                        evicted.fetch_add(1, Ordering::Relaxed);
                    }
                })
                // A trace that is asked for is likely to be asked for again at once: the cache must take it in
                // however often others were looked at before.
                .eviction_policy(EvictionPolicy::lru())
                .support_invalidation_closures()
                .build()
        });
        Self { traces, limits, hits: Arc::default(), misses: Arc::default(), evictions }
    }

    /// If retention has removed something since, the trace may have been among it, and is not known.
    pub(crate) fn get(
        &self,
        tenant: &TenantId,
        trace_id: &TraceId,
        retention_version: u64,
    ) -> Option<Arc<CachedTrace>> {
        let traces = self.traces.as_ref()?;
        let found = traces.get(&(tenant.clone(), *trace_id));
        let found = found.filter(|trace| trace.retention_version == retention_version);
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Without counting, for those who only want to know.
    pub(crate) fn contains(&self, tenant: &TenantId, trace_id: &TraceId) -> bool {
        self.traces.as_ref().is_some_and(|traces| traces.contains_key(&(tenant.clone(), *trace_id)))
    }

    pub(crate) fn insert(&self, tenant: &TenantId, trace_id: &TraceId, trace: CachedTrace) {
        /// One trace may not drive out all others.
        const SHARE_MAX: u64 = 8;
        let Some(traces) = &self.traces else { return };
        if trace.heap_bytes() as u64 <= self.limits.bytes_max / SHARE_MAX {
            traces.insert((tenant.clone(), *trace_id), Arc::new(trace));
            // Else it makes room only now and then, and some dozen large traces are many times the limit.
            traces.run_pending_tasks();
        }
    }

    /// Forgets one trace; whether it was there.
    pub(crate) fn remove(&self, tenant: &TenantId, trace_id: &TraceId) -> bool {
        let key = (tenant.clone(), *trace_id);
        self.traces.as_ref().is_some_and(|traces| traces.remove(&key).is_some())
    }

    /// Forgets all of a tenant's.
    pub(crate) fn remove_all(&self, tenant: &TenantId) {
        let of_tenant = tenant.clone();
        if let Some(traces) = &self.traces
            && let Err(error) = traces.invalidate_entries_if(move |(tenant, _), _| *tenant == of_tenant)
        {
            tracing::error!(%error, "the trace cache cannot drop a tenant's traces alone; all are dropped");
            traces.invalidate_all();
        }
    }

    pub(crate) fn stats(&self) -> TraceCacheStats {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let traces = self.traces.as_ref();
        TraceCacheStats {
            traces: traces.map_or(0, Cache::entry_count),
            bytes: traces.map_or(0, Cache::weighted_size),
            hits: count(&self.hits),
            misses: count(&self.misses),
            evictions: count(&self.evictions),
        }
    }
}

#[cfg(test)]
mod tests;
