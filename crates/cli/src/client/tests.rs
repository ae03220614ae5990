//! A server that answers as a test tells it, for everything that talks to one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, Request, Response, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) connection: usize,
}

/// What to answer.
#[derive(Debug, Clone)]
pub(super) enum Answered {
    Http {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// The connection is closed instead of an answer.
    Closed,
}

pub(super) fn answer(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Answered {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Answered::Http { status, headers, body: body.to_vec() }
}

#[derive(Debug)]
pub(super) struct ScriptedServer {
    pub(super) addr: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl ScriptedServer {
    /// Answers the first request with the first of `script`, and so on; the last stays.
    pub(super) async fn start(script: Vec<Answered>, http2: bool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound port has an address");
        let arrived = Arc::new(Mutex::new(Vec::<Arrived>::new()));
        let log = Arc::clone(&arrived);
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (log, script) = (Arc::clone(&log), script.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (log, script) = (Arc::clone(&log), script.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.expect("a whole request").to_bytes();
                        let number = {
                            let mut log = log.lock().expect("no test panics with the lock");
                            log.push(Arrived { uri: parts.uri, headers: parts.headers, body, connection });
                            log.len() - 1
                        };
                        match &script[number.min(script.len() - 1)] {
                            Answered::Closed => Err("closed"),
                            Answered::Http { status, headers, body } => {
                                let mut response = Response::builder().status(*status);
                                let mut trailers = HeaderMap::new();
                                for (name, value) in headers {
                                    let value = value.parse().expect("a header's value");
                                    if *name == "trailer:grpc-status" {
                                        trailers.insert("grpc-status", value);
                                    } else {
                                        response = response.header(*name, value);
                                    }
                                }
                                let body = Full::new(Bytes::from(body.clone())).with_trailers(async move {
                                    (!trailers.is_empty()).then_some(Ok::<_, Infallible>(trailers))
                                });
                                Ok(response.body(body).expect("a response"))
                            }
                        }
                    }
                });
                let io = TokioIo::new(stream);
                if http2 {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(server.serve_connection(io, service));
                } else {
                    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
                }
            }
        });
        Self { addr, arrived }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(super) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().expect("no test panics with the lock").clone()
    }
}

#[test]
fn an_address_is_completed_or_refused() {
    let text = |base: &str| http::url(base, "/v1/traces").map(|uri| uri.to_string());
    assert_eq!(text("http://shop:4318"), Ok("http://shop:4318/v1/traces".to_owned()));
    assert_eq!(text("http://shop:4318/otlp/"), Ok("http://shop:4318/otlp/v1/traces".to_owned()));
    assert_eq!(text("127.0.0.1:4318"), Ok("http://127.0.0.1:4318/v1/traces".to_owned()));
    for refused in ["https://shop:4318", "ftp://shop", "http://", "http:// shop"] {
        let error = text(refused).expect_err(refused);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{refused}: {error}");
    }
}
