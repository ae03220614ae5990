//! Listening, and one task for each connection.
//!
//! Built on hyper-util and not on `axum::serve`, which sets no timer: hyper's deadline for headers
//! is then silently off, and a thousand idle sockets hold a thousand connections for ever.

mod requests;
mod watched;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracelake::limits;

use crate::shared::Shared;
use requests::{Answer, Requests};
use watched::Watched;

/// How often an HTTP/2 connection is asked whether it is still there, and how long it has to answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// HTTP/2's opening line. Who has sent less after the time that headers may take, is sent away:
/// until then hyper does not know which HTTP it speaks and watches no deadline.
const OPENING_BYTES: u64 = 24;

/// How long to wait when the system gives no more sockets.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// One port with what answers there.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) name: &'static str,
    pub(crate) listener: TcpListener,
    pub(crate) router: Router,
    /// Connections that this port, with those that share the semaphore, may have.
    pub(crate) connections: Arc<Semaphore>,
}

/// Accepts connections until the server stops. Each connection is a task of `tasks`.
pub(crate) async fn listen(port: Port, shared: Arc<Shared>, tasks: TaskTracker) {
    let builder = Arc::new(builder(&shared));
    loop {
        let next = async {
            let accepted = port.listener.accept().await;
            // Who waits here holds up those behind it, in the kernel's queue. A port that nobody
            // connects to must hold no permit: others could use it.
            (accepted, Arc::clone(&port.connections).acquire_owned().await)
        };
        let (accepted, permit) = tokio::select! {
            () = shared.stopping.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection ended at once");
                    continue;
                }
                let connection =
                    serve_connection(stream, port.router.clone(), Arc::clone(&builder), Arc::clone(&shared));
                tasks.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                // A connection that ended before it was accepted is no trouble; no sockets left is,
                // and passes when others end.
                tracing::warn!(port = port.name, %error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn builder(shared: &Shared) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(shared.settings.header_read_seconds_max));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::CONNECTION_STREAMS_MAX as u32)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    builder: Arc<Builder<TokioExecutor>>,
    shared: Arc<Shared>,
) {
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let write_stall_max = Duration::from_secs(shared.settings.body_read_seconds_max);
    let (io, bytes_read) = Watched::new(stream, write_stall_max);
    let requests = Arc::new(Requests::default());
    let service = {
        let requests = Arc::clone(&requests);
        tower::service_fn(move |request: Request<Incoming>| {
            let in_progress = requests.begin();
            let answer = router.clone().oneshot(request.map(Body::new));
            async move { Ok::<_, Infallible>(answer.await?.map(|body| Answer::new(body, in_progress))) }
        })
    };
    let connection = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let opening = tokio::time::sleep(Duration::from_secs(shared.settings.header_read_seconds_max));
    let mut opening = std::pin::pin!(opening);
    let mut opened = false;
    // Two looks find the same number of requests and none in progress: so it was all the while.
    let idle_max = Duration::from_secs(limits::CONNECTION_IDLE_SECONDS_MAX);
    let mut look = tokio::time::interval_at(tokio::time::Instant::now() + idle_max, idle_max);
    let mut idle_before = None;
    let mut stopping = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended");
                }
                break;
            }
            () = opening.as_mut(), if !opened => {
                opened = true;
                if bytes_read.load(Ordering::Relaxed) < OPENING_BYTES {
                    tracing::debug!("a connection sent no request in time");
                    break;
                }
            }
            _ = look.tick(), if !stopping => {
                let idle = requests.idle();
                if idle.is_some() && idle == idle_before {
                    tracing::debug!("a connection has no requests and is closed");
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                idle_before = idle;
            }
            () = shared.stopping.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
    shared.connections.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
