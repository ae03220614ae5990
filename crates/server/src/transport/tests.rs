//! Connections in memory, by a clock that runs ahead when everybody waits.

use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use super::*;
use crate::metrics::Metrics;
use crate::settings::Settings;

const IDLE_MAX: Duration = Duration::from_secs(limits::CONNECTION_IDLE_SECONDS_MAX);

/// A client's connection, which answers pings and goes on until it ends.
type Sender = http2::SendRequest<Empty<bytes::Bytes>>;

/// An HTTP/2 connection to a server that answers at once at `/` and after many hours at `/slow`.
async fn connect() -> (Sender, JoinHandle<hyper::Result<()>>, JoinHandle<()>) {
    let shared = Shared::new(Settings::default(), Metrics::new().expect("valid buckets"));
    let slow = async || {
        tokio::time::sleep(IDLE_MAX * 100).await;
        "late"
    };
    let router = Router::new().route("/", get("at once")).route("/slow", get(slow));
    let (near, far): (DuplexStream, DuplexStream) = tokio::io::duplex(1 << 20);
    let builder = Arc::new(builder(&shared));
    let served = tokio::spawn(serve_connection(near, router, builder, shared));
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(far)).await.expect("a server");
    (sender, tokio::spawn(connection), served)
}

async fn ask(sender: &mut Sender, path: &str) -> bytes::Bytes {
    let request = Request::get(format!("http://server{path}")).body(Empty::new()).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    answer.into_body().collect().await.expect("a whole answer").to_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_is_closed_though_it_answers_pings() {
    for asks in [0, 1] {
        let (mut sender, client, served) = connect().await;
        for _ in 0..asks {
            assert_eq!(ask(&mut sender, "/").await, "at once");
        }
        // The client keeps its end open: it is the server that says goodbye.
        let closed = tokio::time::timeout(IDLE_MAX * 3, client).await.expect("closed in time");
        closed.expect("no panic").expect("closed with GOAWAY and not broken off");
        served.await.expect("no panic");
        drop(sender);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_while_it_is_used() {
    let (mut sender, client, _served) = connect().await;
    assert_eq!(ask(&mut sender, "/slow").await, "late");
    for _ in 0..20 {
        tokio::time::sleep(IDLE_MAX * 9 / 10).await;
        assert_eq!(ask(&mut sender, "/").await, "at once");
    }
    assert!(!client.is_finished());
}
