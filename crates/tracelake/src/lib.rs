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

mod error;
mod options;
mod place;
mod trace;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use tracelake_query::{TraceLimits, export, lookup};
use tracelake_store::compaction::policy::CompactionPolicy;
use tracelake_store::local_store::StoreLock;
use tracelake_store::{Store, StoreOptions, StoreStatus};

pub use error::Error;
pub use options::Options;
use place::{Missing, OpenPlace, WAL_DIR};
pub use trace::Trace;
pub use tracelake_model as model;
pub use tracelake_model::{ErrorKind, SpanBatch, SpanId, SpanView, TenantId, TraceId, limits};
pub use tracelake_otlp as otlp;
pub use tracelake_otlp::Rejections;
pub use tracelake_query::{Selection as ExportSelection, TimeHint};
pub use tracelake_store::location::{self, Location, StorePlace};
pub use tracelake_store::{CompactionStatus, Encoding, Ingested as IngestOutcome};
pub use tracelake_trace as tree;
pub use verify::{Finding, VerifyReport, verify};

/// An open store. Cheap to clone; open until [`Tracelake::shutdown`].
#[derive(Debug, Clone)]
pub struct Tracelake {
    store: Store,
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
        let OpenPlace { objects, locks } =
            OpenPlace::open(&options.data_dir, &options.place, Missing::Make).await?;
        let store_options = StoreOptions {
            decode_limits: options.decode_limits,
            generation_bytes_max: options.generation_bytes_max,
            generation_age_max: options.generation_age_max,
            compaction: CompactionPolicy { slice_bytes: options.slice_bytes, ..CompactionPolicy::default() },
            deletion_grace: options.deletion_grace,
            metadata_cache_bytes_max: options.metadata_cache_bytes_max,
            filter_cache_bytes_max: options.filter_cache_bytes_max,
            ..StoreOptions::new(objects, options.data_dir.join(WAL_DIR), rand::random())
        };
        let store = Store::open(store_options).await?;
        Ok(Self { store, options: Arc::new(options), _locks: Arc::new(locks) })
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
        Ok(lookup(&self.store, tenant, &id, hint, self.trace_limits()).await.map(Trace::new))
    }

    /// How the store is.
    pub fn status(&self) -> Status {
        Status { durability: DURABILITY, store: self.store.status() }
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
        export(self.store.clone(), tenant.clone(), selection, self.trace_limits()).map_err(Error::from)
    }

    fn trace_limits(&self) -> TraceLimits {
        let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        TraceLimits {
            spans_max: count(self.options.trace_spans_max),
            heap_bytes_max: count(self.options.trace_bytes_max),
        }
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
}
