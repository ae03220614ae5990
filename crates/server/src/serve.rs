//! The life of a server: it listens, opens its store, works, and stops.
//!
//! The ports are bound before the store is opened: what is wrong with them shows at once, and while
//! a store recovers senders are told to come again instead of finding nobody.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracelake::{ErrorKind, Tracelake};

use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::transport::{Port, listen};
use crate::{api, otlp_grpc, otlp_http};

/// How often health is brought up to date and latencies are folded.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Of the connections that there may be, one in so many is kept for the API: senders must not lock
/// out those who want to see what is wrong.
const API_SHARE: u64 = 8;

/// How long answers in progress may take once the store has failed.
const FAILED_GRACE: Duration = Duration::from_secs(1);

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A port is taken, or the address is not this machine's.
    #[error("cannot listen on {addr} for {name}: {source}; choose another with {name}_addr")]
    Bind {
        /// Which port, as settings name it.
        name: &'static str,
        /// Its address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("the store cannot be opened: {0}")]
    Open(#[from] tracelake::Error),
    /// The process cannot be told to stop.
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    /// A fault of this crate's own.
    #[error("{0}")]
    Internal(String),
}

impl ServeError {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Bind { .. } => ErrorKind::Invalid,
            Self::Open(error) => error.kind(),
            Self::Signals(_) | Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

/// Why a server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// It was asked to. Everything in memory is in segments.
    Stopped,
    /// It was asked to, and the last flush did not end in time. What was acknowledged is in the
    /// WAL and is there after the next start.
    StoppedUnflushed(String),
    /// It was asked twice, and dropped everything. What was acknowledged is in the WAL.
    StoppedAtOnce,
    /// The store had to stop: the process must end, and start again.
    Failed(String),
}

impl ExitReason {
    /// The process's exit code: 70 (`EX_SOFTWARE`) for a failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Stopped | Self::StoppedUnflushed(_) => 0,
            Self::StoppedAtOnce => 130,
            Self::Failed(_) => 70,
        }
    }
}

/// Where a server listens; the ports that the system chose, if they were 0.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// OTLP/gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP/HTTP.
    pub otlp_http: SocketAddr,
    /// The API.
    pub api: SocketAddr,
}

impl std::fmt::Display for Addresses {
    /// As the line on stdout that programs read: `otlp_grpc=… otlp_http=… api=…`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "otlp_grpc={} otlp_http={} api={}", self.otlp_grpc, self.otlp_http, self.api)
    }
}

/// A server that listens and does not work yet.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    health: HealthReporter,
    ports: Vec<Port>,
    addresses: Addresses,
}

async fn bind(name: &'static str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Bind { name, addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

impl Server {
    /// Binds the three ports.
    pub async fn bind(settings: Settings) -> Result<Self, ServeError> {
        let internal = |message: String| ServeError::Internal(message);
        let (grpc_listener, otlp_grpc) = bind("otlp_grpc", settings.otlp_grpc_addr).await?;
        let (http_listener, otlp_http) = bind("otlp_http", settings.otlp_http_addr).await?;
        let (api_listener, api) = bind("api", settings.api_addr).await?;

        let metrics = Metrics::new().map_err(|error| internal(error.to_string()))?;
        let shared = Shared::new(settings, metrics);
        let health = HealthReporter::new();
        for service in ["", otlp_grpc::TRACE_SERVICE] {
            health.set_service_status(service, ServingStatus::NotServing).await;
        }
        let connections = shared.settings.connections_max;
        let api_connections = (connections / API_SHARE).max(1);
        let semaphore = |permits: u64| {
            let permits = usize::try_from(permits).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
        };
        let ingest = semaphore(connections - api_connections);
        let ports = vec![
            Port {
                name: "otlp_grpc",
                listener: grpc_listener,
                router: otlp_grpc::router(&shared, &health).map_err(|error| internal(error.to_string()))?,
                connections: Arc::clone(&ingest),
            },
            Port {
                name: "otlp_http",
                listener: http_listener,
                router: otlp_http::router(&shared),
                connections: ingest,
            },
            Port {
                name: "api",
                listener: api_listener,
                router: api::router(&shared),
                connections: semaphore(api_connections),
            },
        ];
        let addresses = Addresses { otlp_grpc, otlp_http, api };
        Ok(Self { shared, health, ports, addresses })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What to tell whoever starts it: where to send, where to look, and what it runs with. The
    /// line that begins with `listening ` is for programs and stays as it is.
    pub fn greeting(&self) -> String {
        crate::greeting::greeting(&self.shared.settings, &self.addresses)
    }

    /// Opens the store and works until `stop` resolves or the store fails. `ready` is called once
    /// the store is open.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        ready: impl FnOnce(Duration),
    ) -> Result<ExitReason, ServeError> {
        let Self { shared, health, ports, .. } = self;
        let tasks = TaskTracker::new();
        let listeners = TaskTracker::new();
        for port in ports {
            listeners.spawn(listen(port, Arc::clone(&shared), tasks.clone()));
        }
        listeners.spawn(keep_up(Arc::clone(&shared), health.clone()));
        let result = work(&shared, &health, stop, ready).await;

        // Nothing new from here on; what is in progress may end.
        shared.stopping.cancel();
        for service in ["", otlp_grpc::TRACE_SERVICE] {
            health.set_service_status(service, ServingStatus::NotServing).await;
        }
        listeners.close();
        tasks.close();
        let total = Duration::from_secs(shared.settings.shutdown_seconds_max);
        let grace = match &result {
            Ok(ExitReason::Stopped) => total / 2,
            _ => FAILED_GRACE.min(total / 2),
        };
        shared.work.close();
        let all = async { tokio::join!(listeners.wait(), tasks.wait(), shared.work.wait()) };
        let ended = tokio::time::timeout(grace, all);
        if ended.await.is_err() {
            tracing::warn!("connections were still open after {grace:?}; they are dropped");
        }
        match (result?, shared.store_if_open()) {
            (ExitReason::Stopped, Some(store)) => Ok(close(store, total.saturating_sub(grace)).await),
            (reason, _) => Ok(reason),
        }
    }
}

/// From the opening of the store to the reason to stop.
async fn work(
    shared: &Shared,
    health: &HealthReporter,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(Duration),
) -> Result<ExitReason, ServeError> {
    let mut stop = std::pin::pin!(stop);
    let store = tokio::select! {
        () = stop.as_mut() => return Ok(ExitReason::Stopped),
        opened = Tracelake::open(shared.settings.store_options()) => opened?,
    };
    shared.opened(store.clone());
    update_health(shared, health).await;
    ready(shared.started.elapsed());
    tokio::select! {
        () = stop.as_mut() => Ok(ExitReason::Stopped),
        reason = store.failed() => {
            tracing::error!(reason, "the store has failed; the server stops");
            Ok(ExitReason::Failed(reason))
        }
    }
}

/// Flushes and lets go of the store.
async fn close(store: &Tracelake, within: Duration) -> ExitReason {
    match tokio::time::timeout(within, store.shutdown()).await {
        Ok(Ok(())) => ExitReason::Stopped,
        Ok(Err(error)) => ExitReason::StoppedUnflushed(error.to_string()),
        Err(_) => ExitReason::StoppedUnflushed(format!("the last flush took longer than {within:?}")),
    }
}

/// Keeps health and latencies up to date until the server stops.
async fn keep_up(shared: Arc<Shared>, health: HealthReporter) {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            _ = interval.tick() => {}
        }
        update_health(&shared, &health).await;
        shared.metrics.run_upkeep();
    }
}

async fn update_health(shared: &Shared, health: &HealthReporter) {
    let status =
        if shared.not_ready().is_none() { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in ["", otlp_grpc::TRACE_SERVICE] {
        health.set_service_status(service, status).await;
    }
}

/// Runs a server as a process does: tells on stdout where it listens, and stops at SIGTERM or
/// SIGINT; at the second one at once.
pub async fn serve(settings: Settings) -> Result<ExitReason, ServeError> {
    let mut signals = Signals::new().map_err(ServeError::Signals)?;
    let server = Server::bind(settings).await?;
    say(&server.greeting());
    let asked = CancellationToken::new();
    let ready = |took: Duration| say(&format!("ready after {:.1} s\n", took.as_secs_f64()));
    let mut running = std::pin::pin!(server.run(asked.cancelled(), ready));
    tokio::select! {
        result = running.as_mut() => return result,
        () = signals.next() => {}
    }
    tracing::info!("asked to stop: finishing what is in progress, then flushing");
    asked.cancel();
    let first = tokio::time::Instant::now();
    loop {
        tokio::select! {
            result = running.as_mut() => return result,
            () = signals.next() => if first.elapsed() >= SAME_REQUEST {
                return Ok(ExitReason::StoppedAtOnce);
            }
        }
    }
}

/// A signal so soon after the first is the same request: `timeout` signals the process and then its
/// group, a terminal its group and then a wrapper passes it on.
const SAME_REQUEST: Duration = Duration::from_millis(500);

/// Writes to stdout, and goes on if nobody reads it.
fn say(text: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::debug!(%error, "nobody reads stdout");
    }
}

/// SIGTERM and SIGINT, each time.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests;
