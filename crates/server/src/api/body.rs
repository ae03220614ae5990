//! A body of a request to the API, read within a bound and a time.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::StatusCode;
use tracelake::ErrorKind;

use crate::rejection::Rejection;
use crate::shared::Shared;

/// All of it, or why not: one that is larger than `bytes_max` is `too_large`.
pub(super) async fn read(
    shared: &Shared,
    body: Body,
    bytes_max: usize,
    too_large: Rejection,
) -> Result<Bytes, Rejection> {
    let time_max = Duration::from_secs(shared.settings.body_read_seconds_max);
    let body = tokio::time::timeout(time_max, to_bytes(body, bytes_max)).await.map_err(|_| {
        let message =
            format!("the body did not arrive within body_read_seconds_max ({})", time_max.as_secs());
        Rejection::new(ErrorKind::Invalid, message).with_status(StatusCode::REQUEST_TIMEOUT)
    })?;
    body.map_err(|_| too_large)
}
