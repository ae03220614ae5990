//! A search whose answer is streamed as it is found: a line for each, then `{"end":{…}}`, without which the answer
//! broke off; or a document with a list of them, where they are too large to be there all at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt};
use serde_json::json;
use tokio::sync::mpsc;
use tracelake::search::SearchEnd;

use super::answer::{end, list_begin, list_end};
use crate::api::lines::Lines;

/// The outcome of a search whose client went away, or stopped reading.
const BROKEN_OFF: &str = "broken_off";

/// What is one after the other in an answer.
pub(super) type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;

/// What comes of a search, as JSON.
pub(super) enum Next {
    /// The next one that was found, as an object.
    Found(Pieces),
    /// There is no further one.
    End(Box<SearchEnd>),
}

/// What stands around them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Framing {
    Lines,
    /// With a list of this name.
    Document(&'static str),
}

impl Framing {
    fn found(self, pieces: Pieces, is_first: bool) -> Pieces {
        match self {
            Self::Lines => Box::new(pieces.chain([Bytes::from_static(b"\n")])),
            Self::Document(name) => {
                let before = if is_first { list_begin(name) } else { ",".to_owned() };
                Box::new(std::iter::once(Bytes::from(before)).chain(pieces))
            }
        }
    }

    fn end(self, search: &SearchEnd, is_first: bool) -> Pieces {
        let text = match self {
            Self::Lines => format!("{}\n", json!({"end": end(search)})),
            Self::Document(name) if is_first => list_begin(name) + &list_end(search),
            Self::Document(_) => list_end(search),
        };
        Box::new(std::iter::once(Bytes::from(text)))
    }
}

/// Sends what is found, no faster than it is read. A client that hangs up, or stops reading, loses its answer, and
/// the work ends. Gives the outcome and how long the search worked.
pub(super) async fn send(
    found: impl Stream<Item = Next>,
    framing: Framing,
    sender: mpsc::Sender<Option<Bytes>>,
    stall_max: Duration,
) -> (&'static str, Duration) {
    let started = Instant::now();
    let send = async |piece: Option<Bytes>| sender.send_timeout(piece, stall_max).await.is_ok();
    let mut lines = Lines::default();
    let mut is_first = true;
    let mut found = std::pin::pin!(found);
    loop {
        let next = match found.next().now_or_never() {
            Some(next) => next,
            None => {
                // Who asks sees what is there while the next ones are looked for. Both go on at once: the search has begun,
                // and its time would run while nothing but the client is waited for.
                let joined = lines.take();
                let sending = async {
                    match joined {
                        Some(joined) => send(Some(joined)).await,
                        None => true,
                    }
                };
                tokio::select! {
                    (is_sent, next) = async { tokio::join!(sending, found.next()) } => {
                        if !is_sent {
                            return (BROKEN_OFF, started.elapsed());
                        }
                        next
                    }
                    // Nobody is there any more.
                    () = sender.closed() => return (BROKEN_OFF, started.elapsed()),
                }
            }
        };
        let (pieces, ended) = match next {
            Some(Next::Found(pieces)) => (framing.found(pieces, is_first), None),
            Some(Next::End(search)) => {
                let outcome = if search.missing.is_empty() { "complete" } else { "partial" };
                let worked = Duration::from_micros(search.stats.total_us);
                (framing.end(&search, is_first), Some((outcome, worked)))
            }
            // A search says that it has ended.
            None => return (BROKEN_OFF, started.elapsed()),
        };
        is_first = false;
        for piece in pieces {
            if let Some(joined) = lines.add(&piece)
                && !send(Some(joined)).await
            {
                return (BROKEN_OFF, started.elapsed());
            }
        }
        if let Some(ended) = ended {
            if let Some(joined) = lines.take()
                && !send(Some(joined)).await
            {
                return (BROKEN_OFF, started.elapsed());
            }
            let is_sent = send(None).await;
            return if is_sent { ended } else { (BROKEN_OFF, started.elapsed()) };
        }
    }
}
