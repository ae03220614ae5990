//! OTLP/gRPC: `TraceService/Export`, with health and reflection beside it.
//!
//! tonic carries health, reflection and the statuses; the one message of an export call is taken
//! from the wire by `receive`, as OTLP/HTTP's is, and its bytes are never decoded here.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;
use tracelake::{Encoding, ErrorKind, IngestOutcome};

use crate::metrics::Protocol;
use crate::proto::ExportResponse;
use crate::receive::{Compression, Description, Framing};
use crate::rejection::Rejection;
use crate::shared::{DURABILITY, DURABILITY_HEADER, Shared};

/// The service that health is asked for by name.
pub(crate) const TRACE_SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";

/// What reflection tells: the trace service's file and those it needs, of opentelemetry-proto
/// 1.11, without comments. A test holds it to the crate of that name.
const DESCRIPTORS: &[u8] = include_bytes!("otlp_grpc/trace_service.descriptors");

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/{method}";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/{method}";

/// The routes of the port. Fails only if the descriptors above are no descriptors.
pub(crate) fn router(
    shared: &Arc<Shared>,
    health: &HealthReporter,
) -> Result<Router, tonic_reflection::server::Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let health = tonic_health::server::HealthService::from_health_reporter(health.clone());
    let services = Routes::new(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .into_axum_router();
    let own = Router::new()
        .route(EXPORT, any(export))
        .route(METRICS, any(other_signal))
        .route(LOGS, any(other_signal))
        .with_state(Arc::clone(shared));
    Ok(services.merge(own).fallback(unknown).layer(axum::middleware::from_fn(refuse_http1)))
}

/// The commonest mistake is to send OTLP/HTTP to this port: say so in words, not in HTTP/2 frames.
async fn refuse_http1(request: Request, next: axum::middleware::Next) -> Response {
    if request.version() == Version::HTTP_2 {
        return next.run(request).await;
    }
    let message = "this port speaks OTLP/gRPC (HTTP/2); send OTLP/HTTP to /v1/traces on the other port, \
                   4318 unless set otherwise";
    let rejection = Rejection::new(ErrorKind::Invalid, message);
    rejection.with_status(StatusCode::HTTP_VERSION_NOT_SUPPORTED).into_otlp_http(Encoding::Json)
}

async fn unknown() -> Response {
    let message = format!("there is no such method here; spans are sent to {TRACE_SERVICE}/Export");
    Rejection::new(ErrorKind::Unsupported, message).into_grpc()
}

async fn other_signal() -> Response {
    let message = "this server takes traces only: send no metrics and no logs here";
    Rejection::new(ErrorKind::Unsupported, message).into_grpc()
}

async fn export(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    if !is_grpc(&parts.headers) {
        let message = "the Content-Type of a gRPC call is application/grpc";
        return Rejection::new(ErrorKind::UnsupportedMedia, message).into_otlp_http(Encoding::Json);
    }
    let result = shared.receive(description(&parts.headers), &parts, body).await;
    let (outcome, response) = match result {
        Ok(taken) => {
            let outcome = if taken.rejections.is_empty() { "ok" } else { "partial" };
            (outcome, acknowledge(&taken))
        }
        Err(rejection) => {
            tracing::debug!(kind = %rejection.kind(), "an OTLP/gRPC request is turned down: {}", rejection.message());
            let outcome = rejection.outcome();
            let mut response = rejection.into_grpc();
            if outcome == ErrorKind::UnsupportedMedia.name() {
                let accepted = HeaderValue::from_static("gzip,zstd,identity");
                response.headers_mut().insert(ACCEPT_ENCODING, accepted);
            }
            (outcome, response)
        }
    };
    shared.metrics.answered(Protocol::Grpc, outcome, started.elapsed());
    response
}

const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let rest = value.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+proto") || rest.starts_with(b";"))
}

fn description(headers: &HeaderMap) -> Result<Description, Rejection> {
    let compression = Compression::from_header(headers.get("grpc-encoding")).ok_or_else(|| {
        Rejection::new(ErrorKind::UnsupportedMedia, "the grpc-encoding must be gzip, zstd or identity")
    })?;
    let (protocol, framing) = (Protocol::Grpc, Framing::Grpc);
    Ok(Description { protocol, encoding: Encoding::Protobuf, framing, compression })
}

/// The answer's message with its prefix, then the trailers that say that all went well.
fn acknowledge(outcome: &IngestOutcome) -> Response {
    let message = ExportResponse::new(&outcome.rejections);
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(5 + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message.encode_to_vec());
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames: [Frame<Bytes>; 2] = [Frame::data(framed.freeze()), Frame::trailers(trailers)];
    let frames = futures::stream::iter(frames).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip,zstd,identity"));
    headers.insert(HeaderName::from_static(DURABILITY_HEADER), HeaderValue::from_static(DURABILITY));
    response
}

#[cfg(test)]
mod tests;
