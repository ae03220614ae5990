//! `GET /api/v1/segments` and `GET /api/v1/partitions`: what the store is made of, as the manifest has it.
//!
//! A tenant sees the segments that have spans of its own, and nothing of others; with `all=true` those who
//! run the server see all.

pub(super) mod described;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};
use tracelake::{ErrorKind, Partitions, SegmentPage, Whose, limits};

use super::parameters;
use crate::receive::tenant;
use crate::rejection::Rejection;
use crate::shared::Shared;

pub(super) async fn segments(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    match page(&shared, &uri, &headers) {
        Ok(page) => axum::Json(page).into_response(),
        Err(rejection) => rejection.into_api(),
    }
}

pub(super) async fn partitions(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    match all_partitions(&shared, &uri, &headers) {
        Ok(partitions) => axum::Json(partitions).into_response(),
        Err(rejection) => rejection.into_api(),
    }
}

fn page(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> Result<SegmentPage, Rejection> {
    let parameters = parameters(uri, &["all", "after", "limit"])?;
    let limit = match parameters.get("limit") {
        None => limits::SEGMENTS_LISTED_MAX,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=limits::SEGMENTS_LISTED_MAX).contains(limit));
            let expected = format!("limit is a number from 1 to {}", limits::SEGMENTS_LISTED_MAX);
            limit.ok_or_else(|| Rejection::new(ErrorKind::Invalid, expected))?
        }
    };
    let after = parameters.get("after").map(String::as_str);
    Ok(shared.store()?.segments(&whose(&parameters, headers)?, after, limit))
}

fn all_partitions(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> Result<Partitions, Rejection> {
    let parameters = parameters(uri, &["all"])?;
    Ok(shared.store()?.partitions(&whose(&parameters, headers)?))
}

fn whose(parameters: &BTreeMap<String, String>, headers: &HeaderMap) -> Result<Whose, Rejection> {
    match parameters.get("all").map(String::as_str) {
        None | Some("false") => Ok(Whose::Tenant(tenant(headers)?)),
        Some("true") => Ok(Whose::All),
        Some(_) => Err(Rejection::new(ErrorKind::Invalid, "all is true or false")),
    }
}
