//! OTLP/HTTP: `POST /v1/traces` in protobuf and JSON, answered as OTLP 1.11 says.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use prost::Message;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tracelake::{Encoding, ErrorKind, IngestOutcome};

use crate::metrics::Protocol;
use crate::proto::ExportResponse;
use crate::receive::{Compression, Description, Framing};
use crate::rejection::Rejection;
use crate::settings::{CorsOrigins, Settings};
use crate::shared::{DURABILITY, DURABILITY_HEADER, Shared};

/// How long a browser may remember that it is allowed to send.
const CORS_SECONDS_MAX: u64 = 3_600;

pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let router = Router::new()
        .route("/v1/traces", post(traces).fallback(wrong_method))
        .route("/v1/metrics", axum::routing::any(other_signal))
        .route("/v1/logs", axum::routing::any(other_signal))
        .fallback(wrong_path)
        .with_state(Arc::clone(shared));
    match cors(&shared.settings) {
        Some(layer) => router.layer(layer),
        None => router,
    }
}

/// Web pages may send only if their origins are listed: without that, any page that a developer
/// opens could write into the store on their machine. What is no browser does not care.
fn cors(settings: &Settings) -> Option<CorsLayer> {
    let origins = match &settings.cors_allowed_origins {
        CorsOrigins::Any => AllowOrigin::any(),
        CorsOrigins::Listed(origins) if origins.is_empty() => return None,
        CorsOrigins::Listed(origins) => {
            AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
        }
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([RETRY_AFTER, HeaderName::from_static(DURABILITY_HEADER)])
        .max_age(std::time::Duration::from_secs(CORS_SECONDS_MAX));
    Some(layer)
}

/// The encoding that Content-Type names, its parameters aside.
fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/x-protobuf") {
        Some(Encoding::Protobuf)
    } else if media_type.eq_ignore_ascii_case("application/json") {
        Some(Encoding::Json)
    } else {
        None
    }
}

/// The encoding to answer an error in; people who try things out send neither, and read JSON.
fn error_encoding(headers: &HeaderMap) -> Encoding {
    encoding(headers).unwrap_or(Encoding::Json)
}

async fn traces(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let answer_in = error_encoding(&parts.headers);
    let protocol = match answer_in {
        Encoding::Protobuf => Protocol::HttpProtobuf,
        Encoding::Json => Protocol::HttpJson,
    };
    let result = shared.receive(description(&parts.headers), &parts, body).await;
    let (outcome, response) = match result {
        Ok(taken) => {
            let outcome = if taken.rejections.is_empty() { "ok" } else { "partial" };
            (outcome, acknowledge(&taken, answer_in))
        }
        Err(rejection) => {
            tracing::debug!(kind = %rejection.kind(), "an OTLP/HTTP request is turned down: {}", rejection.message());
            (rejection.outcome(), rejection.into_otlp_http(answer_in))
        }
    };
    shared.metrics.answered(protocol, outcome, started.elapsed());
    response
}

fn description(headers: &HeaderMap) -> Result<Description, Rejection> {
    let unsupported = |message: &str| Rejection::new(ErrorKind::UnsupportedMedia, message);
    let encoding = encoding(headers)
        .ok_or_else(|| unsupported("the Content-Type must be application/x-protobuf or application/json"))?;
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let compression = Compression::from_header(encodings.next())
        .filter(|_| encodings.next().is_none())
        .ok_or_else(|| unsupported("the Content-Encoding must be gzip, zstd or identity"))?;
    let protocol = match encoding {
        Encoding::Protobuf => Protocol::HttpProtobuf,
        Encoding::Json => Protocol::HttpJson,
    };
    Ok(Description { protocol, encoding, framing: Framing::Whole, compression })
}

fn acknowledge(outcome: &IngestOutcome, encoding: Encoding) -> Response {
    let message = ExportResponse::new(&outcome.rejections);
    let (media_type, body) = match encoding {
        Encoding::Protobuf => ("application/x-protobuf", Bytes::from(message.encode_to_vec())),
        Encoding::Json => ("application/json", Bytes::from(message.to_json())),
    };
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (HeaderName::from_static(DURABILITY_HEADER), HeaderValue::from_static(DURABILITY)),
    ];
    (StatusCode::OK, head, body).into_response()
}

async fn wrong_method(headers: HeaderMap) -> Response {
    let rejection = Rejection::new(ErrorKind::Invalid, "spans are sent to /v1/traces with POST")
        .with_status(StatusCode::METHOD_NOT_ALLOWED);
    let mut response = rejection.into_otlp_http(error_encoding(&headers));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// 501 and not 404: the sender is told that the path is right and the server does not do that. It
/// is not sent again.
async fn other_signal(headers: HeaderMap) -> Response {
    let message = "this server takes traces only: send no metrics and no logs here";
    Rejection::new(ErrorKind::Unsupported, message).into_otlp_http(error_encoding(&headers))
}

async fn wrong_path(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let media_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if media_type.starts_with(b"application/grpc") {
        let port = shared.settings.otlp_grpc_addr.port();
        let message = format!("this port speaks OTLP/HTTP; OTLP/gRPC is received on port {port}");
        return Rejection::new(ErrorKind::Unsupported, message).into_grpc();
    }
    let message = "there is nothing here: spans are sent to /v1/traces with POST";
    Rejection::new(ErrorKind::UnknownPath, message).into_otlp_http(error_encoding(&headers))
}
