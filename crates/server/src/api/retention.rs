//! `POST /api/v1/retention`: what has expired goes now, or with `?dry_run=true` is only told. For those
//! who run the server: the answer names all tenants.

pub(super) mod described;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};
use tracelake::{ErrorKind, RetentionReport};

use super::not_for_web_pages;
use super::parameters;
use crate::rejection::Rejection;
use crate::shared::Shared;

pub(super) async fn apply(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    match report(&shared, &uri, &headers).await {
        Ok(report) => axum::Json(report).into_response(),
        Err(rejection) => rejection.into_api(),
    }
}

async fn report(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> Result<RetentionReport, Rejection> {
    let parameters = parameters(uri, &["dry_run"])?;
    not_for_web_pages(headers, "`tracelake retention` or curl")?;
    let dry_run = match parameters.get("dry_run").map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Rejection::new(ErrorKind::Invalid, "dry_run is true or false")),
    };
    Ok(shared.store()?.retention(dry_run).await?)
}
