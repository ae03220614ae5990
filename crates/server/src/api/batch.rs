//! `POST /api/v1/traces/batch`: many traces by their IDs, a line of JSON each, as they are found.
//!
//! The body is `{"trace_ids":[…]}`; a line is `{"trace_id","found","trace","error"}`. If traces are partial, a
//! last line says so: `{"partial":{"traces","reason"}}`. Without the proper end of the answer it broke off.

pub(super) mod described;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt};
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracelake::{ErrorKind, Trace, TraceId};

use super::lines::Lines;
use super::trace::{PIECES_AHEAD_MAX, received, stall_max, turn};
use super::{body, parameters, times};
use crate::receive::tenant;
use crate::rejection::Rejection;
use crate::shared::Shared;

/// What an ID takes in the body, with quotes, comma and a good deal of white space.
const ID_BYTES_MAX: u64 = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    trace_ids: Vec<String>,
    #[serde(default)]
    start: Option<serde_json::Value>,
    #[serde(default)]
    end: Option<serde_json::Value>,
}

pub(super) async fn traces(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    start(&shared, request).await.unwrap_or_else(Rejection::into_api)
}

async fn start(shared: &Arc<Shared>, request: Request) -> Result<Response, Rejection> {
    let (head, body) = request.into_parts();
    let tenant = tenant(&head.headers)?;
    parameters(&head.uri, &[])?;
    let trace_ids = asked(shared, body).await?;
    let store = shared.store()?;
    let permit = turn(shared).await?;
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD_MAX);
    let asked = trace_ids.len();
    tokio::spawn(send(store.traces(&tenant, trace_ids), asked, sender, permit, stall_max(shared)));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(received(receiver))).into_response())
}

/// The IDs, each once, in the order in which they were named.
async fn asked(shared: &Shared, body: Body) -> Result<Vec<TraceId>, Rejection> {
    let invalid = |message: String| Rejection::new(ErrorKind::Invalid, message);
    let traces_max = shared.settings.batch_traces_max;
    let too_many = || {
        let message =
            format!("a batch has at most batch_traces_max ({traces_max}) trace IDs; ask in several");
        Rejection::new(ErrorKind::TooLarge, message)
    };
    let bytes_max = usize::try_from(traces_max.saturating_mul(ID_BYTES_MAX) + 4_096).unwrap_or(usize::MAX);
    let body = body::read(shared, body, bytes_max, too_many()).await?;
    let asked: Asked = serde_json::from_slice(&body)
        .map_err(|error| invalid(format!("the body is not {{\"trace_ids\":[…]}}: {error}")))?;
    if asked.trace_ids.len() as u64 > traces_max {
        return Err(too_many());
    }
    // They would only order the work, and a batch has an order of its own; but what is no time is an error.
    times::hint_of_json(asked.start.as_ref(), asked.end.as_ref())?;
    let mut seen = HashSet::new();
    let mut trace_ids = Vec::with_capacity(asked.trace_ids.len());
    for (at, id) in asked.trace_ids.iter().enumerate() {
        let id: TraceId = id.parse().map_err(|error| invalid(format!("trace_ids[{at}] {error}")))?;
        if seen.insert(id) {
            trace_ids.push(id);
        }
    }
    Ok(trace_ids)
}

/// Sends each trace piece by piece: a large one is never one text in memory. A client that stops reading loses
/// its answer, and the work ends.
async fn send(
    traces: impl Stream<Item = (TraceId, Option<Trace>)>,
    asked: usize,
    sender: mpsc::Sender<Option<Bytes>>,
    permit: OwnedSemaphorePermit,
    stall_max: Duration,
) {
    let _permit = permit;
    let send = async |piece: Option<Bytes>| sender.send_timeout(piece, stall_max).await.is_ok();
    let mut lines = Lines::default();
    let mut partial: Option<(u64, String)> = None;
    let mut traces = std::pin::pin!(traces);
    let mut answered = 0;
    loop {
        let next = match traces.next().now_or_never() {
            Some(next) => next,
            None => {
                // Who asks sees what is there while the next ones are read.
                if let Some(joined) = lines.take()
                    && !send(Some(joined)).await
                {
                    return;
                }
                tokio::select! {
                    next = traces.next() => next,
                    // Nobody is there any more.
                    () = sender.closed() => return,
                }
            }
        };
        let Some((trace_id, trace)) = next else { break };
        answered += 1;
        let Some(trace) = trace else {
            let line =
                json!({"trace_id": trace_id.to_string(), "found": false, "trace": null, "error": null});
            if let Some(joined) = lines.add(format!("{line}\n").as_bytes())
                && !send(Some(joined)).await
            {
                return;
            }
            continue;
        };
        let error = trace.partial().map(|reason| json!({"kind": "partial", "message": reason}));
        if let Some(reason) = trace.partial() {
            partial.get_or_insert_with(|| (0, reason.to_owned())).0 += 1;
        }
        let found = trace.span_count() > 0;
        let before = format!("{{\"trace_id\":\"{trace_id}\",\"found\":{found},\"trace\":");
        let after = format!(",\"error\":{}}}\n", error.unwrap_or(serde_json::Value::Null));
        let pieces =
            std::iter::once(Bytes::from(before)).chain(trace.into_json_chunks()).chain([after.into()]);
        for piece in pieces {
            if let Some(joined) = lines.add(&piece)
                && !send(Some(joined)).await
            {
                return;
            }
        }
    }
    if answered != asked {
        tracing::error!(asked, answered, "a batch ended early and is broken off");
        return;
    }
    if let Some((traces, reason)) = partial {
        let line = format!("{}\n", json!({"partial": {"traces": traces, "reason": reason}}));
        if let Some(joined) = lines.add(line.as_bytes())
            && !send(Some(joined)).await
        {
            return;
        }
    }
    if let Some(joined) = lines.take()
        && !send(Some(joined)).await
    {
        return;
    }
    send(None).await;
}
