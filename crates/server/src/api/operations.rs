//! What those who run a server look at: whether it lives, whether it can work, its numbers and its
//! settings.

pub(super) mod described;

use std::sync::Arc;

use super::{not_for_web_pages, parameters};
use crate::rejection::Rejection;
use crate::shared::{DURABILITY, Shared};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::json;

/// Whether the process runs at all; that it cannot work is no reason to kill it.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether spans can be acknowledged; with `?verbose`, why not, and what is in progress.
pub(super) async fn readyz(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let parameters = match parameters(&uri, &["verbose"]) {
        Ok(parameters) => parameters,
        Err(rejection) => return rejection.into_api(),
    };
    let reason = shared.not_ready();
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = if parameters.contains_key("verbose") {
        let body = json!({
            "ready": reason.is_none(),
            "reason": reason,
            "in_flight_bytes": shared.in_flight.bytes(),
            "connections": shared.connections.load(std::sync::atomic::Ordering::Relaxed),
        });
        (status, axum::Json(body)).into_response()
    } else {
        (status, reason.as_deref().unwrap_or("ok").to_owned() + "\n").into_response()
    };
    if reason.is_some() {
        response.headers_mut().insert(RETRY_AFTER, 1.into());
    }
    response
}

/// The counters, as Prometheus reads them.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.update_gauges();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.metrics.render()).into_response()
}

/// Writes what is in memory to segments, and answers when that is done: which manifest version has it,
/// and who wrote that.
pub(super) async fn flush(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let flush = async {
        parameters(&uri, &[])?;
        not_for_web_pages(&headers, "`tracelake backup` or curl")?;
        let store = shared.store()?;
        store.flush().await?;
        Ok::<_, Rejection>(json!({
            "manifest_version": store.status().store.manifest_version,
            "writer": store.writer(),
        }))
    };
    match flush.await {
        Ok(body) => axum::Json(body).into_response(),
        Err(rejection) => rejection.into_api(),
    }
}

/// Merges segments until few remain, and answers when that is done.
pub(super) async fn compact(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let compact = async {
        parameters(&uri, &[])?;
        not_for_web_pages(&headers, "`tracelake compact` or curl")?;
        Ok::<_, Rejection>(shared.store()?.compact().await?)
    };
    match compact.await {
        Ok(status) => axum::Json(status).into_response(),
        Err(rejection) => rejection.into_api(),
    }
}

/// Version, settings in force, and how the store is.
pub(super) async fn status(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    if let Err(rejection) = parameters(&uri, &[]) {
        return rejection.into_api();
    }
    let reason = shared.not_ready();
    let settings: serde_json::Map<_, _> = shared
        .settings
        .describe()
        .into_iter()
        .map(|setting| (setting.name.to_owned(), json!({"value": setting.value, "origin": setting.origin})))
        .collect();
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "durability": DURABILITY,
        "ready": reason.is_none(),
        "reason": reason,
        "in_flight_bytes": shared.in_flight.bytes(),
        "settings": settings,
        "store": shared.store_if_open().map(tracelake::Tracelake::status),
    });
    axum::Json(body).into_response()
}
