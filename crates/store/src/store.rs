//! The open store: takes spans in, makes them durable, flushes them to segments, and shows all of it
//! in one snapshot.
//!
//! It owns the write path from a decoded request to a manifest commit. What a trace is, and how an
//! answer is put together, it leaves to `tracelake-query`.

mod compact;
mod flush;
mod ingest;
mod open;
mod options;
mod retain;
mod sink;
mod status;
mod warm;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracelake_model::{SpanBatch, TenantId};
use tracelake_otlp::Decoder;

pub use compact::CompactionStatus;
use compact::Compactor;
use flush::Flusher;
pub use ingest::{Encoding, Ingested};
pub use open::decode_frame;
pub use options::StoreOptions;
use retain::Retainer;
pub use retain::RetentionStatus;
pub use status::{RecoverySummary, StoreStatus};

use crate::StoreError;
use crate::segments::Segments;
use crate::snapshot::Snapshot;
use crate::wal::{RecentRequests, RequestGuard, Wal};

/// An open store. Cheap to clone; open until [`Store::shutdown`].
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// A decoded request on its way through the WAL.
#[derive(Debug)]
struct Pending {
    tenant: TenantId,
    batch: Arc<SpanBatch>,
    arrival_unix_nano: u64,
    /// Acknowledged when the spans are published; if that does not happen, whoever waits for the same
    /// request tries on its own.
    guard: RequestGuard,
}

#[derive(Debug)]
struct Inner {
    flusher: Flusher,
    wal: Wal<Pending>,
    recent: Arc<RecentRequests>,
    decoders: Mutex<Vec<Decoder>>,
    compactor: Compactor,
    retainer: Retainer,
    /// Of the flusher, the compactor and the loader of filters.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    recovery: RecoverySummary,
}

/// What the store's parts tell each other.
#[derive(Debug)]
struct Signals {
    /// A memtable was frozen, or the store shall stop.
    frozen: Notify,
    /// A memtable was flushed, or the store failed.
    flushed: Notify,
    /// Why the store stopped for good.
    failed: watch::Sender<Option<String>>,
    /// Nothing more is taken in.
    stopping: watch::Sender<bool>,
    /// Why the last flush did not work; none when it did.
    flush_error: Mutex<Option<String>>,
}

impl Signals {
    fn new() -> Self {
        Self {
            frozen: Notify::new(),
            flushed: Notify::new(),
            failed: watch::Sender::new(None),
            stopping: watch::Sender::new(false),
            flush_error: Mutex::new(None),
        }
    }

    /// The first reason stays.
    fn fail(&self, reason: &str) {
        let first = self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| reason.to_owned());
            first
        });
        if first {
            tracing::error!(reason, "the store has stopped");
        }
        self.frozen.notify_waiters();
        self.flushed.notify_waiters();
    }

    fn failure(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    fn set_flush_error(&self, error: Option<String>) {
        *self.flush_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

impl Store {
    /// What a query sees now.
    pub fn snapshot(&self) -> Snapshot {
        self.inner.flusher.current.get()
    }

    /// The time by the clock that arrivals are told by.
    pub fn now_unix_nano(&self) -> u64 {
        self.inner.flusher.options.clock.now_unix_nano()
    }

    /// The reader of segments.
    pub fn segments(&self) -> &Segments {
        &self.inner.flusher.segments
    }

    /// Resolves, with the reason, when the store has stopped for good.
    pub async fn failed(&self) -> String {
        let mut failed = self.inner.flusher.signals.failed.subscribe();
        loop {
            if let Some(reason) = failed.borrow_and_update().clone() {
                return reason;
            }
            if failed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Why spans cannot be acknowledged at the moment; none if they can.
    pub fn not_ready(&self) -> Option<String> {
        if let Some(reason) = self.inner.flusher.signals.failure() {
            return Some(reason);
        }
        if *self.inner.flusher.signals.stopping.borrow() {
            return Some("the store is shutting down".to_owned());
        }
        self.inner.wal.not_ready()
    }

    /// Writes everything that is in memory now to segments.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush_all().await
    }

    /// Takes nothing more in, flushes, and ends the store's threads. Later calls fail.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let _ = self.inner.flusher.signals.stopping.send_replace(true);
        let flushed = self.inner.flush_all().await;
        self.inner.flusher.signals.frozen.notify_waiters();
        let tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.await.map_err(|_| StoreError::TaskDied {
                what: "the flusher, the compactor or the loader of filters",
            })?;
        }
        self.inner.wal.close().await;
        flushed
    }
}
