//! Tracelake as a library: spans in over OTLP, durable; a trace out by its ID.
//!
//! The server and the command line are written against this crate and nothing below it.
//!
//! ```
//! use tracelake::{Encoding, Options, TenantId, TimeHint, Tracelake};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! let lake = Tracelake::open(Options::new(path)).await?;
//! let request = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
//!     "traceId":"5b8efff798038103d269b633813fc60c", "spanId":"eee19b7ec3c1b174",
//!     "name":"GET /cart", "startTimeUnixNano":"1700000000000000000"}]}]}]}"#;
//! let tenant = TenantId::default();
//! let outcome = lake.ingest(&tenant, Encoding::Json, request.into()).await?;
//! assert_eq!(outcome.spans_accepted, 1);
//!
//! let id = "5b8efff798038103d269b633813fc60c".parse()?;
//! let trace = lake.trace(&tenant, id, TimeHint::default()).await?.ok_or("not found")?;
//! assert_eq!(trace.spans().next().map(|span| span.name()), Some("GET /cart"));
//! lake.shutdown().await?;
//! # Ok(())
//! # }
//! ```

mod backup;
mod error;
mod options;
mod place;
mod retention;
mod segments;
mod trace;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use tracelake_query::{TraceQueryEngine, export};
use tracelake_store::local_store::StoreLock;
use tracelake_store::{DiskCache, Store, StoreOptions, StoreStatus};

pub use backup::{back_up, is_in_use, restore};
pub use error::Error;
pub use options::{DiskCachePlace, Options};
use place::{Missing, OpenPlace, WAL_DIR, open_disk_cache};
pub use retention::RetentionReport;
pub use segments::{Partition, Partitions, SegmentInfo, SegmentPage, Whose, partitions_of, segments};
pub use trace::Trace;
pub use tracelake_model as model;
pub use tracelake_model::{ErrorKind, SpanBatch, SpanId, SpanView, TenantId, TraceId, limits};
pub use tracelake_otlp as otlp;
pub use tracelake_otlp::Rejections;
pub use tracelake_query::search;
pub use tracelake_query::summary as summary_of_gaps;
pub use tracelake_query::values;
pub use tracelake_query::{
    EngineOptions, Explained, Gap, GapKind, PrefetchStats, Selection as ExportSelection, TimeHint,
    TraceCacheLimits, TraceCacheStats, TraceLimits,
};
pub use tracelake_store::backup::{BackupSummary, RestoreSummary};
pub use tracelake_store::location::{self, Location, StorePlace};
pub use tracelake_store::report::ReadCounts;
pub use tracelake_store::retention::{ExpiredPart, ExpiredSegment, Expiry, RetentionLimits, RetentionPolicy};
pub use tracelake_store::{CacheSizes, CompactionStatus, Encoding, Ingested as IngestOutcome, ReadOptions};
pub use tracelake_trace as tree;
pub use tracelake_traceql as traceql;
pub use verify::{Finding, VerifyReport, verify};

/// An open store. Cheap to clone; open until [`Tracelake::shutdown`].
#[derive(Debug, Clone)]
pub struct Tracelake {
    store: Store,
    engine: TraceQueryEngine,
    options: Arc<Options>,
    /// Held as long as any clone lives.
    _locks: Arc<Vec<StoreLock>>,
}

/// How long a client should wait before it tries again, when nothing better is known.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What an acknowledgement means: the WAL group with the request is fsynced.
pub const DURABILITY: &str = "fsync";

impl Tracelake {
    /// Opens a store and recovers it. When this returns, queries see everything that was ever
    /// acknowledged. Must be called on a Tokio runtime with several threads.
    ///
    /// # Errors
    /// If another process has the folder, the objects cannot be reached, or what is there cannot be read.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let OpenPlace { objects, mut locks } =
            OpenPlace::open(&options.data_dir, &options.place, Missing::Make).await?;
        let mut read = read_options(&options);
        if let Some(place) = &options.disk_cache {
            let (files, lock) = open_disk_cache(place, &options.place.location).await?;
            locks.push(lock);
            // What only helps does not keep the store from opening.
            match DiskCache::open(files, place.bytes_max).await {
                Ok(cache) => read.disk_cache = Some(Arc::new(cache)),
                Err(error) => tracing::error!(%error, "the server does without its disk cache"),
            }
        }
        let store_options = StoreOptions {
            decode_limits: options.decode_limits,
            generation_bytes_max: options.generation_bytes_max,
            generation_age_max: options.generation_age_max,
            compaction: options.compaction(),
            retention: options.retention.clone(),
            deletion_grace: options.deletion_grace,
            read,
            ..StoreOptions::new(objects, options.data_dir.join(WAL_DIR), rand::random())
        };
        let store = Store::open(store_options).await?;
        let engine = TraceQueryEngine::new(store.clone(), options.queries.clone());
        Ok(Self { store, engine, options: Arc::new(options), _locks: Arc::new(locks) })
    }

    /// Takes an OTLP request in; resolves when its spans are durable and visible.
    ///
    /// # Errors
    /// By [`Error::kind`]: what is wrong with the request, or that the store cannot take it now. After
    /// an error nothing is acknowledged, but the spans may be stored: sending the same bytes again
    /// stores them once.
    pub async fn ingest(
        &self,
        tenant: &TenantId,
        encoding: Encoding,
        body: Bytes,
    ) -> Result<IngestOutcome, Error> {
        Ok(self.store.ingest(tenant, encoding, body).await?)
    }

    /// The trace; none if no span of it is stored. What is missing from it, [`Trace::partial`] says.
    ///
    /// # Errors
    /// None today: what cannot be read makes the answer partial.
    pub async fn trace(
        &self,
        tenant: &TenantId,
        id: TraceId,
        hint: TimeHint,
    ) -> Result<Option<Trace>, Error> {
        Ok(self.trace_explained(tenant, id, hint).await.0)
    }

    /// The same, with what it took.
    pub async fn trace_explained(
        &self,
        tenant: &TenantId,
        id: TraceId,
        hint: TimeHint,
    ) -> (Option<Trace>, Explained) {
        let (spans, explained) = self.engine.trace(tenant, &id, hint).await;
        (spans.map(Trace::new), explained)
    }

    /// Many traces, each ID once, as they are found, in no order that means something. Dropping the stream
    /// stops the work.
    pub fn traces(
        &self,
        tenant: &TenantId,
        ids: Vec<TraceId>,
    ) -> impl Stream<Item = (TraceId, Option<Trace>)> + Send + 'static {
        self.engine.traces(tenant, ids).map(|(id, spans)| (id, spans.map(Trace::new)))
    }

    /// A page of the traces with spans that satisfy a condition, or of those spans. The next one begins at its
    /// [`next`](search::SearchEnd::next), which is to be [checked](search::Cursor::check) first if it comes from
    /// outside.
    ///
    /// # Errors
    /// [`search::CursorError::Removed`] if it is to go on from a cursor, and retention has removed since what it was
    /// asked of.
    pub async fn search(
        &self,
        tenant: &TenantId,
        query: search::SearchQuery,
    ) -> Result<search::SearchPage, search::CursorError> {
        self.engine.search(tenant, query).await
    }

    /// The same, one by one as they are found. Dropping the stream stops the work.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn search_events(
        &self,
        tenant: &TenantId,
        query: search::SearchQuery,
    ) -> Result<impl Stream<Item = search::SearchEvent> + Send + 'static, search::CursorError> {
        self.engine.search_events(tenant, query)
    }

    /// The traces that a search finds but for the first `skip`, whole, as of its generation. Each is read when it is
    /// its turn. Dropping the stream stops the work.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub fn search_whole(
        &self,
        tenant: &TenantId,
        query: search::SearchQuery,
        skip: usize,
    ) -> Result<impl Stream<Item = search::WholeEvent<Trace>> + Send + 'static, search::CursorError> {
        Ok(self.engine.search_whole(tenant, query, skip)?.map(|event| event.map(Trace::new)))
    }

    /// The services that spans are of, with how many traces have such a span.
    pub async fn services(
        &self,
        tenant: &TenantId,
        range: values::ValuesRange,
    ) -> values::Listing<values::ListedValue> {
        self.engine.services(tenant, range).await
    }

    /// The names of spans, of one service or of all.
    pub async fn operations(
        &self,
        tenant: &TenantId,
        service: Option<&str>,
        range: values::ValuesRange,
    ) -> values::Listing<values::ListedValue> {
        self.engine.operations(tenant, service, range).await
    }

    /// The keys of attributes, of one scope or of all.
    pub async fn attributes(
        &self,
        tenant: &TenantId,
        scope: Option<values::FieldScope>,
        range: values::ValuesRange,
    ) -> values::Listing<values::ListedKey> {
        self.engine.attributes(tenant, scope, range).await
    }

    /// The values of an attribute.
    pub async fn values(
        &self,
        tenant: &TenantId,
        query: values::ValuesQuery,
        range: values::ValuesRange,
    ) -> values::Listing<values::ListedValue> {
        self.engine.values(tenant, query, range).await
    }

    /// Forgets a trace that was kept in memory; whether it was.
    pub fn drop_cached_trace(&self, tenant: &TenantId, id: &TraceId) -> bool {
        self.engine.drop_cached(tenant, id)
    }

    /// Forgets all traces of a tenant that were kept in memory.
    pub fn drop_cached_traces(&self, tenant: &TenantId) {
        self.engine.drop_all_cached(tenant);
    }

    /// How the store is.
    pub fn status(&self) -> Status {
        Status {
            durability: DURABILITY,
            store: self.store.status(),
            trace_cache: self.engine.cache_stats(),
            prefetch: self.engine.prefetch_stats(),
            caches: self.store.segments().cache_sizes(),
            reads: self.store.segments().totals().counts(),
        }
    }

    /// Why spans cannot be acknowledged at the moment; none if they can.
    pub fn not_ready(&self) -> Option<String> {
        self.store.not_ready()
    }

    /// Resolves, with the reason, when the store had to stop for good: the WAL's disk failed, or
    /// another process took the store over. The process must then end.
    pub async fn failed(&self) -> String {
        self.store.failed().await
    }

    /// Writes everything in memory to segments.
    ///
    /// # Errors
    /// If it cannot be written; it stays in memory and in the WAL.
    pub async fn flush(&self) -> Result<(), Error> {
        Ok(self.store.flush().await?)
    }

    /// Merges segments until few remain, whatever it costs; what is in memory is not among them. It goes
    /// on if the caller does not wait for it.
    ///
    /// # Errors
    /// If segments cannot be read or written; what was merged before stays so.
    pub async fn compact(&self) -> Result<CompactionStatus, Error> {
        Ok(self.store.compact().await?)
    }

    /// Removes what retention says, or only tells what that would be. It goes on if the caller does not
    /// wait for it.
    ///
    /// # Errors
    /// If segments cannot be read or written; what was removed before stays so.
    pub async fn retention(&self, dry_run: bool) -> Result<RetentionReport, Error> {
        self.retention_with(&self.options.retention, dry_run).await
    }

    /// As [`Self::retention`], with other limits.
    ///
    /// # Errors
    /// As there.
    pub async fn retention_with(
        &self,
        limits: &RetentionPolicy,
        dry_run: bool,
    ) -> Result<RetentionReport, Error> {
        let segments = if dry_run {
            self.store.retention_plan_with(limits)
        } else {
            self.store.apply_retention_with(limits.clone()).await?
        };
        Ok(RetentionReport::new(dry_run, !limits.is_off(), segments))
    }

    /// The name that this process writes under: of all that ever open the store, no two have the same.
    pub fn writer(&self) -> String {
        self.store.snapshot().manifest.writer.clone()
    }

    /// Flushes and ends. Later calls fail.
    ///
    /// # Errors
    /// If what is in memory could not be flushed; it is in the WAL, and the next start reads it back.
    pub async fn shutdown(&self) -> Result<(), Error> {
        Ok(self.store.shutdown().await?)
    }

    /// Spans in batches, each once, those of a trace next to each other.
    pub fn export(
        &self,
        tenant: &TenantId,
        selection: ExportSelection,
    ) -> impl Stream<Item = Result<SpanBatch, Error>> + Send + 'static {
        let limits = self.options.queries.trace;
        export(self.store.clone(), tenant.clone(), selection, limits).map_err(Error::from)
    }
}

/// How the store is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Status {
    /// What an acknowledgement means.
    pub durability: &'static str,
    /// The store's numbers.
    #[serde(flatten)]
    pub store: StoreStatus,
    /// Traces kept in memory.
    pub trace_cache: TraceCacheStats,
    /// Traces read in advance.
    pub prefetch: PrefetchStats,
    /// What is kept in memory of segments.
    pub caches: CacheSizes,
    /// What all lookups since the start have asked and read.
    pub reads: ReadCounts,
}

/// What a request costs hangs on where the objects are.
fn read_options(options: &Options) -> ReadOptions {
    let mut read = options.read.clone();
    if matches!(options.place.location, Location::Bucket(_)) {
        read.gap_bytes_max = read.gap_bytes_max.max(limits::BUCKET_GAP_BYTES_MAX);
    }
    read
}
