//! The query engine of one store: lookups with a cache, a deadline and prefetching, and many at once.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tracelake_model::{TenantId, TraceId, limits};
use tracelake_store::Store;

use crate::assemble::{TraceLimits, TraceSpans};
use crate::batch::{BatchAnswer, BatchLimits, BatchView, batch};
use crate::cache::{TraceCache, TraceCacheLimits, TraceCacheStats};
use crate::lookup::{Explained, Lookup, TimeHint};
use crate::prefetch::{Prefetch, PrefetchStats};
use crate::search::{
    CursorError, SearchEvent, SearchLimits, SearchPage, SearchQuery, WholeEvent, search_events, search_page,
    search_whole,
};
use crate::values::{
    FieldScope, Listed, ListedKey, ListedValue, Listing, ValuesLimits, ValuesQuery, ValuesRange,
};

/// What the engine may take.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Of one trace in an answer.
    pub trace: TraceLimits,
    /// How long a lookup may take, and a group of traces in a batch.
    pub time_max: Duration,
    /// Of the trace cache.
    pub cache: TraceCacheLimits,
    /// Whether traces that a trace points at are read in advance.
    pub prefetch: bool,
    /// Attributes of spans whose text is the ID of a related trace.
    pub related_trace_attributes: Vec<String>,
    /// Groups of a batch, and of what a search reads, that are worked on at once.
    pub batch_workers: usize,
    /// How long a search may take, and a listing of values.
    pub search_time_max: Duration,
    /// Traces that a search may have to look at.
    pub search_candidates_max: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            trace: TraceLimits {
                spans_max: count(limits::TRACE_SPANS_MAX),
                heap_bytes_max: count(limits::TRACE_BYTES_MAX),
            },
            time_max: Duration::from_secs(limits::LOOKUP_SECONDS_MAX),
            cache: TraceCacheLimits {
                bytes_max: limits::TRACE_CACHE_BYTES_MAX,
                traces_max: limits::TRACE_CACHE_TRACES_MAX,
            },
            prefetch: true,
            related_trace_attributes: vec!["related.trace_id".to_owned()],
            batch_workers: count(limits::BATCH_WORKERS),
            search_time_max: Duration::from_secs(limits::SEARCH_SECONDS_MAX),
            search_candidates_max: count(limits::SEARCH_CANDIDATES_MAX),
        }
    }
}

/// Finds traces in one store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TraceQueryEngine {
    store: Store,
    options: Arc<EngineOptions>,
    cache: TraceCache,
    prefetch: Arc<Prefetch>,
}

impl TraceQueryEngine {
    /// With nothing in its cache.
    pub fn new(store: Store, options: EngineOptions) -> Self {
        let cache = TraceCache::new(options.cache);
        let prefetch = Arc::new(Prefetch::new(options.related_trace_attributes.clone()));
        Self { store, options: Arc::new(options), cache, prefetch }
    }

    /// The trace; none if no span of it is stored. What could not be read, or was over a limit, is named in
    /// the answer.
    pub async fn trace(
        &self,
        tenant: &TenantId,
        trace_id: &TraceId,
        hint: TimeHint,
    ) -> (Option<TraceSpans>, Explained) {
        let (found, explained) = self.look_up(tenant, trace_id, hint).await;
        if self.options.prefetch
            && self.options.cache.bytes_max > 0
            && let Some(spans) = &found
        {
            self.prefetch_related(tenant, trace_id, spans);
        }
        (found, explained)
    }

    /// Many traces, each ID once, in no order that means something. The cache is left alone: a batch would
    /// drive out what people look at.
    pub fn traces(
        &self,
        tenant: &TenantId,
        trace_ids: Vec<TraceId>,
    ) -> impl Stream<Item = BatchAnswer> + Send + 'static {
        let limits = BatchLimits {
            trace: self.options.trace,
            workers: self.options.batch_workers,
            group_time_max: self.options.time_max,
        };
        batch(self.store.clone(), tenant.clone(), trace_ids, BatchView::ALL, limits)
    }

    /// A page of the traces that satisfy a condition, or of their matching spans.
    ///
    /// # Errors
    /// [`CursorError::Removed`] if it is to go on from a cursor, and retention has removed since what it was asked of.
    pub async fn search(&self, tenant: &TenantId, query: SearchQuery) -> Result<SearchPage, CursorError> {
        search_page(self.store.clone(), tenant.clone(), query, self.search_limits()).await
    }

    /// The same, one by one as they are found. Dropping the stream stops the work.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn search_events(
        &self,
        tenant: &TenantId,
        query: SearchQuery,
    ) -> Result<impl Stream<Item = SearchEvent> + Send + 'static, CursorError> {
        search_events(self.store.clone(), tenant.clone(), query, self.search_limits())
    }

    /// The same, whole, but for the first `skip` traces: each is read when it is its turn. Spans are not sought, and
    /// what is asked of matching spans does not matter.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn search_whole(
        &self,
        tenant: &TenantId,
        query: SearchQuery,
        skip: usize,
    ) -> Result<impl Stream<Item = WholeEvent<TraceSpans>> + Send + 'static, CursorError> {
        search_whole(self.store.clone(), tenant.clone(), query, skip, self.search_limits())
    }

    /// The services that spans are of.
    pub async fn services(&self, tenant: &TenantId, range: ValuesRange) -> Listing<ListedValue> {
        self.listed(tenant).services(range).await
    }

    /// The names of spans, of one service or of all.
    pub async fn operations(
        &self,
        tenant: &TenantId,
        service: Option<&str>,
        range: ValuesRange,
    ) -> Listing<ListedValue> {
        self.listed(tenant).operations(service, range).await
    }

    /// The keys of attributes, of one scope or of all.
    pub async fn attributes(
        &self,
        tenant: &TenantId,
        scope: Option<FieldScope>,
        range: ValuesRange,
    ) -> Listing<ListedKey> {
        self.listed(tenant).keys(scope, range).await
    }

    /// The values of an attribute.
    pub async fn values(
        &self,
        tenant: &TenantId,
        query: ValuesQuery,
        range: ValuesRange,
    ) -> Listing<ListedValue> {
        self.listed(tenant).values(query, range).await
    }

    fn listed(&self, tenant: &TenantId) -> Listed {
        let limits =
            ValuesLimits { workers: self.options.batch_workers, time_max: self.options.search_time_max };
        Listed { store: self.store.clone(), tenant: tenant.clone(), limits }
    }

    fn search_limits(&self) -> SearchLimits {
        SearchLimits {
            trace: self.options.trace,
            workers: self.options.batch_workers,
            time_max: self.options.search_time_max,
            candidates_max: self.options.search_candidates_max,
        }
    }

    /// Forgets one trace that was kept; whether it was.
    pub fn drop_cached(&self, tenant: &TenantId, trace_id: &TraceId) -> bool {
        self.cache.remove(tenant, trace_id)
    }

    /// Forgets all traces of a tenant that were kept.
    pub fn drop_all_cached(&self, tenant: &TenantId) {
        self.cache.remove_all(tenant);
    }

    /// How the trace cache does.
    pub fn cache_stats(&self) -> TraceCacheStats {
        self.cache.stats()
    }

    /// How prefetching does.
    pub fn prefetch_stats(&self) -> PrefetchStats {
        self.prefetch.stats()
    }

    async fn look_up(
        &self,
        tenant: &TenantId,
        trace_id: &TraceId,
        hint: TimeHint,
    ) -> (Option<TraceSpans>, Explained) {
        let lookup = Lookup {
            store: &self.store,
            tenant,
            trace_id,
            hint,
            limits: self.options.trace,
            time_max: Some(self.options.time_max),
            cache: (self.options.cache.bytes_max > 0).then_some(&self.cache),
        };
        lookup.run().await
    }

    fn prefetch_related(&self, tenant: &TenantId, trace_id: &TraceId, spans: &TraceSpans) {
        for related in self.prefetch.related(trace_id, spans) {
            if self.cache.contains(tenant, &related) {
                continue;
            }
            let Some(permit) = self.prefetch.permit() else { continue };
            let (engine, tenant) = (self.clone(), tenant.clone());
            tokio::spawn(async move {
                let _permit = permit;
                engine.look_up(&tenant, &related, TimeHint::default()).await;
            });
        }
    }
}
