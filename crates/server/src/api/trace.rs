//! `GET /api/v1/traces/{trace_id}`: one trace as OTLP, piece by piece.

pub(super) mod described;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracelake::{Encoding, ErrorKind, TraceId, limits};

use super::lines::joined;
use super::{accept, explain, parameters, times};
use crate::receive::tenant;
use crate::rejection::Rejection;
use crate::shared::Shared;

/// How long a lookup waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(limits::LOOKUP_WAIT_SECONDS_MAX);

/// Pieces that wait for a client to read on.
pub(super) const PIECES_AHEAD_MAX: usize = 2;

/// What an answer that lacks something says about it.
pub(super) const PARTIAL_HEADER: HeaderName = HeaderName::from_static("x-tracelake-partial");

pub(super) async fn by_id(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let started = Instant::now();
    // What is not UTF-8 is no hexadecimal digit either.
    let id = id.map_or_else(|_| "?".to_owned(), |Path(id)| id);
    let (outcome, response) = match look_up(&shared, &id, &uri, &headers).await {
        Ok(answer) => answer,
        Err(rejection) => (rejection.outcome(), rejection.into_api()),
    };
    shared.metrics.looked_up(outcome, started.elapsed());
    response
}

async fn look_up(
    shared: &Arc<Shared>,
    id: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(&'static str, Response), Rejection> {
    let encoding = accept::wanted(headers).ok_or_else(|| {
        let message = "a trace is answered as application/json or application/x-protobuf";
        Rejection::new(ErrorKind::UnsupportedMedia, message).with_status(StatusCode::NOT_ACCEPTABLE)
    })?;
    let tenant = tenant(headers)?;
    let parameters = parameters(uri, &["start", "end", "explain"])?;
    let hint = times::hint(&parameters)?;
    let explain = match parameters.get("explain").map(String::as_str) {
        None | Some("false") => false,
        Some("true" | "") if encoding == Encoding::Json => true,
        Some("true" | "") => {
            let message = "an explanation comes as JSON; ask for application/json";
            return Err(Rejection::new(ErrorKind::Invalid, message));
        }
        Some(_) => {
            let message = "the query parameter 'explain' is true or false";
            return Err(Rejection::new(ErrorKind::Invalid, message));
        }
    };
    let id: TraceId =
        id.parse().map_err(|error| Rejection::new(ErrorKind::Invalid, format!("the trace ID {error}")))?;
    let store = shared.store()?;

    let permit = turn(shared).await?;
    let (found, explained) = store.trace_explained(&tenant, id, hint).await;
    if explain {
        return Ok(explain::answer(id, found, &explained, permit, stall_max(shared)));
    }
    let trace =
        found.ok_or_else(|| Rejection::new(ErrorKind::NotFound, format!("there is no trace {id}")))?;

    let partial = trace.partial().map(header_text);
    let (outcome, status) = match partial {
        Some(_) => ("partial", StatusCode::PARTIAL_CONTENT),
        None => ("found", StatusCode::OK),
    };
    let stall_max = stall_max(shared);
    let (media_type, body) = match encoding {
        Encoding::Json => ("application/json", stream(trace.into_json_chunks(), permit, stall_max)),
        Encoding::Protobuf => {
            ("application/x-protobuf", stream(trace.into_protobuf_chunks(), permit, stall_max))
        }
    };
    let head =
        [(CONTENT_TYPE, HeaderValue::from_static(media_type)), (VARY, HeaderValue::from_static("accept"))];
    let mut response = (status, head, body).into_response();
    if let Some(partial) = partial {
        response.headers_mut().insert(PARTIAL_HEADER, partial);
    }
    Ok((outcome, response))
}

/// How long a client may read nothing of its answer.
pub(super) fn stall_max(shared: &Shared) -> Duration {
    Duration::from_secs(shared.settings.body_read_seconds_max)
}

/// Waits until fewer requests read from the store than may at once.
pub(super) async fn turn(shared: &Shared) -> Result<OwnedSemaphorePermit, Rejection> {
    let turn = Arc::clone(&shared.lookups).acquire_owned();
    match tokio::time::timeout(WAIT_MAX, turn).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err(Rejection::new(ErrorKind::Unavailable, "the server is stopping")),
        Err(_) => {
            let max = shared.settings.concurrent_lookups_max;
            let message =
                format!("concurrent_lookups_max ({max}) lookups are being worked on; try again later");
            Err(Rejection::new(ErrorKind::Throttled, message))
        }
    }
}

/// A text as a header can carry it.
pub(super) fn header_text(text: &str) -> HeaderValue {
    let visible = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    let text: String = text.chars().take(500).map(visible).collect();
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("yes"))
}

/// The pieces of an answer, made as the client reads. A client that stops reading loses its answer:
/// it would hold a trace in memory, and the turn of another lookup, for as long as it likes.
pub(super) fn stream(
    pieces: impl Iterator<Item = Bytes> + Send + 'static,
    permit: OwnedSemaphorePermit,
    stall_max: Duration,
) -> Body {
    let mut pieces = joined(pieces);
    let first = pieces.next().unwrap_or_default();
    // Most are small. Such a one says how long it is, and nothing has to wait for its client.
    let Some(second) = pieces.next() else { return Body::from(first) };
    let mut pieces = [first, second].into_iter().chain(pieces);
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD_MAX);
    tokio::spawn(async move {
        let _permit = permit;
        loop {
            let piece = pieces.next();
            let last = piece.is_none();
            if sender.send_timeout(piece, stall_max).await.is_err() || last {
                break;
            }
        }
    });
    Body::from_stream(received(receiver))
}

/// What comes through the channel up to the mark of its end. Without the mark the answer broke off,
/// and so must the connection: a client must not take what it has for the whole.
pub(super) fn received(
    receiver: mpsc::Receiver<Option<Bytes>>,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    futures::stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some(receiver))),
            Some(None) => None,
            None => Some((Err(std::io::Error::other("the answer broke off")), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    /// As many as are sent at once.
    const PIECE_BYTES: usize = 64 << 10;

    fn permits() -> (Arc<tokio::sync::Semaphore>, OwnedSemaphorePermit) {
        let semaphore = Arc::new(tokio::sync::Semaphore::new(1));
        let permit = Arc::clone(&semaphore).try_acquire_owned().expect("free");
        (semaphore, permit)
    }

    #[tokio::test]
    async fn all_pieces_arrive_and_the_turn_is_given_back() {
        let (semaphore, permit) = permits();
        let pieces = (0..10_u8).map(|n| Bytes::from(vec![n; PIECE_BYTES]));
        let expected: Vec<u8> = pieces.clone().flatten().collect();
        let body = stream(pieces, permit, Duration::from_secs(60));
        let bytes = axum::body::to_bytes(body, expected.len()).await.expect("whole");
        assert_eq!(bytes, expected);
        let _turn = semaphore.acquire().await.expect("open");
    }

    #[tokio::test]
    async fn a_small_answer_says_how_long_it_is_and_keeps_nobody_waiting() {
        for pieces in [0, 1, 50] {
            let (semaphore, permit) = permits();
            let body = stream(
                std::iter::repeat_n(Bytes::from_static(b"xy"), pieces),
                permit,
                Duration::from_secs(60),
            );
            assert_eq!(axum::body::HttpBody::size_hint(&body).exact(), Some(2 * pieces as u64));
            assert_eq!(semaphore.available_permits(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_is_given_up_and_seen_to_be_broken() {
        let (semaphore, permit) = permits();
        let pieces = std::iter::repeat_n(Bytes::from(vec![0; PIECE_BYTES]), 100);
        let body = stream(pieces, permit, Duration::from_secs(60));
        drop(semaphore.acquire().await.expect("open"));
        let received: Vec<_> = body.into_data_stream().collect().await;
        assert_eq!(received.len(), PIECES_AHEAD_MAX + 1);
        assert!(received.last().expect("an end").is_err());
    }

    #[test]
    fn a_header_carries_only_what_a_header_can() {
        assert_eq!(header_text("3 segments\nmissing: é"), "3 segments?missing: ?");
    }
}
