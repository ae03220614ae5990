//! What all ports of one server share: the store once it is open, the settings, the budgets and the
//! counters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracelake::{ErrorKind, Tracelake};

use crate::metrics::Metrics;
use crate::receive::{InFlight, decompression_permits};
use crate::rejection::Rejection;
use crate::settings::Settings;

/// What an acknowledgement means, as the header `x-tracelake-durability` names it.
pub(crate) const DURABILITY: &str = tracelake::DURABILITY;

/// The header on every acknowledgement.
pub(crate) const DURABILITY_HEADER: &str = "x-tracelake-durability";

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) decompressions: Arc<Semaphore>,
    pub(crate) lookups: Arc<Semaphore>,
    pub(crate) connections: AtomicU64,
    /// Requests that are worked on, whether or not their clients are still there.
    pub(crate) work: TaskTracker,
    pub(crate) stopping: CancellationToken,
    pub(crate) started: Instant,
    store: OnceLock<Tracelake>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, metrics: Metrics) -> Arc<Self> {
        let lookups = usize::try_from(settings.concurrent_lookups_max).unwrap_or(usize::MAX);
        Arc::new(Self {
            metrics,
            in_flight: InFlight::new(settings.in_flight_bytes_max),
            decompressions: decompression_permits(),
            lookups: Arc::new(Semaphore::new(lookups.min(Semaphore::MAX_PERMITS))),
            connections: AtomicU64::new(0),
            work: TaskTracker::new(),
            stopping: CancellationToken::new(),
            started: Instant::now(),
            store: OnceLock::new(),
            settings,
        })
    }

    /// The store has been opened.
    pub(crate) fn opened(&self, store: Tracelake) {
        if self.store.set(store).is_err() {
            tracing::error!("the store was opened twice; the second one is not used");
        }
    }

    /// The store, if it is open and the server is not stopping.
    pub(crate) fn store(&self) -> Result<&Tracelake, Rejection> {
        if self.stopping.is_cancelled() {
            return Err(Rejection::new(ErrorKind::Unavailable, "the server is stopping"));
        }
        let starting =
            || Rejection::new(ErrorKind::Unavailable, "the server is starting: it recovers its store");
        self.store.get().ok_or_else(starting)
    }

    /// The store, whatever the server is doing.
    pub(crate) fn store_if_open(&self) -> Option<&Tracelake> {
        self.store.get()
    }

    /// Why spans cannot be acknowledged at the moment; none if they can.
    pub(crate) fn not_ready(&self) -> Option<String> {
        match self.store() {
            Ok(store) => store.not_ready(),
            Err(rejection) => Some(rejection.message().to_owned()),
        }
    }

    /// Puts the numbers that are read rather than counted among the metrics.
    pub(crate) fn update_gauges(&self) {
        let gauge = |name: &str, help: &str, value: f64| self.metrics.gauge(name.to_owned(), help, value);
        let ready = if self.not_ready().is_none() { 1.0 } else { 0.0 };
        gauge("tracelake_ready", "1 while spans can be acknowledged.", ready);
        let uptime = self.started.elapsed().as_secs_f64();
        gauge("tracelake_uptime_seconds", "Time since the start.", uptime);
        let bytes = self.in_flight.bytes() as f64;
        gauge("tracelake_in_flight_bytes", "Bytes of OTLP requests being worked on.", bytes);
        let connections = self.connections.load(Ordering::Relaxed) as f64;
        gauge("tracelake_connections", "Open connections.", connections);
        let lookups = self.settings.concurrent_lookups_max as f64 - self.lookups.available_permits() as f64;
        gauge("tracelake_lookups_in_progress", "Lookups being worked on or sent.", lookups);
        if let Some(store) = self.store_if_open() {
            match serde_json::to_value(store.status()) {
                Ok(status) => self.metrics.store_gauges(&status),
                Err(error) => tracing::warn!(%error, "the store's status cannot be read"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
