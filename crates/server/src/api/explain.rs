//! A trace with what it took to find it: `{"explain":{…},"missing":[…],"trace":{…}}`, also of one that is not
//! there.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tracelake::{Explained, Trace, TraceId};

use super::trace::stream;

/// The outcome for metrics, and the answer.
pub(super) fn answer(
    trace_id: TraceId,
    trace: Option<Trace>,
    explained: &Explained,
    permit: OwnedSemaphorePermit,
    stall_max: Duration,
) -> (&'static str, Response) {
    let missing = trace.as_ref().map(|trace| json!(trace.missing())).unwrap_or(json!([]));
    let (outcome, status) = match &trace {
        None => ("not_found", StatusCode::NOT_FOUND),
        Some(trace) if trace.partial().is_some() => ("partial", StatusCode::PARTIAL_CONTENT),
        Some(_) => ("found", StatusCode::OK),
    };
    let mut head = json!({"trace_id": trace_id.to_string(), "explain": explained, "missing": missing});
    if trace.is_none()
        && let Some(members) = head.as_object_mut()
    {
        let error = json!({"kind": "not_found", "message": format!("there is no trace {trace_id}")});
        members.insert("error".to_owned(), error);
    }
    let mut head = head.to_string();
    head.pop();
    head.push_str(",\"trace\":");
    let pieces: Box<dyn Iterator<Item = Bytes> + Send> = match trace {
        Some(trace) => Box::new(trace.into_json_chunks()),
        None => Box::new(std::iter::once(Bytes::from_static(b"null"))),
    };
    let pieces = std::iter::once(Bytes::from(head)).chain(pieces).chain([Bytes::from_static(b"}")]);
    let body = stream(pieces, permit, stall_max);
    (outcome, (status, [(CONTENT_TYPE, "application/json")], body).into_response())
}
