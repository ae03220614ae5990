//! `GET /api/v1/export`: the spans of a time range as OTLP JSON lines, each span once.
//!
//! The status is sent before the store has read everything, so an error after that is the last line:
//! `{"error":{"kind","message"}}`.

pub(super) mod described;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Uri};
use tokio::sync::mpsc;
use tracelake::otlp::JsonEncoder;
use tracelake::{Error, ExportSelection, SpanBatch};

use super::trace::{PIECES_AHEAD_MAX, received, stall_max, turn};
use super::{parameters, times};
use crate::receive::tenant;
use crate::rejection::Rejection;
use crate::shared::Shared;

pub(super) async fn time_range(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    start(&shared, &uri, &headers).await.unwrap_or_else(Rejection::into_api)
}

async fn start(shared: &Arc<Shared>, uri: &Uri, headers: &HeaderMap) -> Result<Response, Rejection> {
    let tenant = tenant(headers)?;
    let range = times::hint(&parameters(uri, &["start", "end"])?)?;
    let starts = range.start_unix_nano.unwrap_or(0)..range.end_unix_nano.unwrap_or(u64::MAX);
    let store = shared.store()?;
    let permit = turn(shared).await?;
    let stall_max = stall_max(shared);
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD_MAX);
    let lines = lines(store.export(&tenant, ExportSelection::Starts(starts)));
    tokio::spawn(async move {
        let _permit = permit;
        let mut lines = std::pin::pin!(lines);
        loop {
            let line = lines.next().await;
            let last = line.is_none();
            if sender.send_timeout(line, stall_max).await.is_err() || last {
                break;
            }
        }
    });
    let head = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((head, Body::from_stream(received(receiver))).into_response())
}

/// A line for each batch, and one for the error that ends the export early.
fn lines(batches: impl Stream<Item = Result<SpanBatch, Error>> + Send) -> impl Stream<Item = Bytes> + Send {
    batches.map(|batch| {
        let mut line = BytesMut::new();
        match batch {
            Ok(batch) => {
                let rows = (0..batch.len() as u32).map(|row| (0, row)).collect();
                JsonEncoder::new([batch], rows).for_each(|piece| line.put(piece));
            }
            Err(error) => {
                let error = serde_json::json!({"kind": error.kind().name(), "message": error.to_string()});
                line.put(serde_json::json!({ "error": error }).to_string().as_bytes());
            }
        }
        line.put_u8(b'\n');
        line.freeze()
    })
}
