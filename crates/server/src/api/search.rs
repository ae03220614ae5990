//! `POST /api/v1/search`, and `GET` for people: the traces with spans that satisfy a condition, or those spans, a
//! page as one JSON document, or all of them as lines of JSON as they are found.

mod answer;
mod asked;
pub(super) mod described;
mod lines;
mod results;
mod select;
mod short;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracelake::ErrorKind;
use tracelake::search::CursorError;
use tracelake::traceql::TracePredicate;

use self::asked::{Asked, Search};
use self::lines::{Framing, Next};
use self::results::Results;
use super::accept;
use super::trace::{PARTIAL_HEADER, PIECES_AHEAD_MAX, header_text, received, stall_max, stream, turn};
use crate::receive::tenant;
use crate::rejection::Rejection;
use crate::shared::Shared;

/// What is asked for, with its condition.
type Question = Result<(Asked, TracePredicate), Rejection>;

pub(super) async fn by_body(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let started = Instant::now();
    let (head, body) = request.into_parts();
    let question = asked::of_body(&shared, &head.uri, body).await;
    answered(&shared, &head.headers, question, started).await
}

pub(super) async fn by_address(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let started = Instant::now();
    answered(&shared, &headers, short::of_address(&uri), started).await
}

async fn answered(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    question: Question,
    started: Instant,
) -> Response {
    match find(shared, headers, question).await {
        Ok((outcome, response)) => {
            // Of an answer that is streamed the outcome is not known yet.
            if let Some(outcome) = outcome {
                shared.metrics.searched(outcome, started.elapsed());
            }
            response
        }
        Err(rejection) => {
            shared.metrics.searched(rejection.outcome(), started.elapsed());
            rejection.into_api()
        }
    }
}

async fn find(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    question: Question,
) -> Result<(Option<&'static str>, Response), Rejection> {
    let as_lines = accept::wants_lines(headers).ok_or_else(|| {
        let message = "a search is answered as application/json or application/x-ndjson";
        Rejection::new(ErrorKind::UnsupportedMedia, message).with_status(StatusCode::NOT_ACCEPTABLE)
    })?;
    let tenant = tenant(headers)?;
    let (asked, condition) = question?;
    let Search { query, form, skip } =
        asked.into_search(condition, shared.settings.search_traces_max, as_lines)?;
    let store = shared.store()?;
    let permit = turn(shared).await?;
    let framing = if as_lines { Framing::Lines } else { Framing::Document(form.results.list()) };
    if form.results == Results::Traces {
        let found = store.search_whole(&tenant, query, skip).map_err(not_a_cursor)?.map(results::whole);
        return Ok((None, streamed(shared, found, framing, permit)));
    }
    if as_lines {
        let found = store.search_events(&tenant, query).map_err(not_a_cursor)?;
        let found = found.map(move |event| form.line(event));
        return Ok((None, streamed(shared, found, framing, permit)));
    }
    let page = store.search(&tenant, query).await.map_err(not_a_cursor)?;
    let partial = tracelake::summary_of_gaps(&page.end.missing);
    let (outcome, status) = match &partial {
        Some(_) => ("partial", StatusCode::PARTIAL_CONTENT),
        None => ("complete", StatusCode::OK),
    };
    let pieces = answer::page(page, skip, form);
    let body = stream(pieces, permit, stall_max(shared));
    let mut response = (status, head("application/json"), body).into_response();
    if let Some(partial) = partial {
        response.headers_mut().insert(PARTIAL_HEADER, header_text(&partial));
    }
    Ok((Some(outcome), response))
}

/// An answer that is sent while more is found.
fn streamed(
    shared: &Arc<Shared>,
    found: impl Stream<Item = Next> + Send + 'static,
    framing: Framing,
    permit: OwnedSemaphorePermit,
) -> Response {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD_MAX);
    let sent = lines::send(found, framing, sender, stall_max(shared));
    let counting = Arc::clone(shared);
    tokio::spawn(async move {
        let _permit = permit;
        let (outcome, took) = sent.await;
        counting.metrics.searched(outcome, took);
    });
    let media_type = match framing {
        Framing::Lines => "application/x-ndjson",
        Framing::Document(_) => "application/json",
    };
    (head(media_type), Body::from_stream(received(receiver))).into_response()
}

fn head(media_type: &'static str) -> [(http::HeaderName, HeaderValue); 2] {
    [(CONTENT_TYPE, HeaderValue::from_static(media_type)), (VARY, HeaderValue::from_static("accept"))]
}

/// None that the search can go on from.
fn not_a_cursor(error: CursorError) -> Rejection {
    Rejection::new(error.kind(), format!("`cursor`: {error}"))
}

fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::new(ErrorKind::Invalid, message)
}
