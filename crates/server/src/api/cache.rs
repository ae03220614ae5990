//! `DELETE /api/v1/cache/traces` and `DELETE /api/v1/cache/traces/{trace_id}`: forgets traces that are kept in
//! memory for those who look again. What is stored is not touched.

pub(super) mod described;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};
use serde_json::json;
use tracelake::{ErrorKind, TraceId};

use super::{not_for_web_pages, parameters};
use crate::receive::tenant;
use crate::rejection::Rejection;
use crate::shared::Shared;

/// Of the tenant that asks.
pub(super) async fn drop_all(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let drop = || {
        parameters(&uri, &[])?;
        not_for_web_pages(&headers, "curl -X DELETE")?;
        shared.store()?.drop_cached_traces(&tenant(&headers)?);
        Ok(axum::Json(json!({ "dropped": "all" })).into_response())
    };
    drop().unwrap_or_else(Rejection::into_api)
}

pub(super) async fn drop_one(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let drop = || {
        parameters(&uri, &[])?;
        not_for_web_pages(&headers, "curl -X DELETE")?;
        let id = id.map_or_else(|_| "?".to_owned(), |Path(id)| id);
        let id: TraceId = id
            .parse()
            .map_err(|error| Rejection::new(ErrorKind::Invalid, format!("the trace ID {error}")))?;
        let dropped = shared.store()?.drop_cached_trace(&tenant(&headers)?, &id);
        Ok(axum::Json(json!({ "dropped": u32::from(dropped) })).into_response())
    };
    drop().unwrap_or_else(Rejection::into_api)
}
