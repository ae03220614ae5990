//! A search whose answer is streamed: a line for each trace as it is found, then `{"end":{…}}`. Without that line
//! the answer broke off.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt};
use serde_json::json;
use tokio::sync::mpsc;
use tracelake::search::SearchEvent;

use super::answer::{end, write_trace};
use super::select::Selected;
use crate::api::lines::Lines;

/// The outcome of a search whose client went away, or stopped reading.
const BROKEN_OFF: &str = "broken_off";

/// Sends what is found, no faster than it is read. A client that hangs up, or stops reading, loses its answer, and
/// the work ends. Gives the outcome and how long the search worked.
pub(super) async fn send(
    events: impl Stream<Item = SearchEvent>,
    select: Vec<Selected>,
    sender: mpsc::Sender<Option<Bytes>>,
    stall_max: Duration,
) -> (&'static str, Duration) {
    let started = Instant::now();
    let send = async |piece: Option<Bytes>| sender.send_timeout(piece, stall_max).await.is_ok();
    let mut lines = Lines::default();
    let mut events = std::pin::pin!(events);
    loop {
        let next = match events.next().now_or_never() {
            Some(next) => next,
            None => {
                // Who asks sees what is there while the next ones are looked for.
                if let Some(joined) = lines.take()
                    && !send(Some(joined)).await
                {
                    return (BROKEN_OFF, started.elapsed());
                }
                tokio::select! {
                    next = events.next() => next,
                    // Nobody is there any more.
                    () = sender.closed() => return (BROKEN_OFF, started.elapsed()),
                }
            }
        };
        let (line, ended) = match next {
            Some(SearchEvent::Trace(hit)) => {
                let mut line = String::new();
                write_trace(&mut line, &hit, &select);
                (line, None)
            }
            Some(SearchEvent::End(search)) => {
                let outcome = if search.missing.is_empty() { "complete" } else { "partial" };
                let worked = Duration::from_micros(search.stats.total_us);
                (json!({"end": end(&search)}).to_string(), Some((outcome, worked)))
            }
            // A search says that it has ended.
            None => return (BROKEN_OFF, started.elapsed()),
        };
        if let Some(joined) = lines.add(format!("{line}\n").as_bytes())
            && !send(Some(joined)).await
        {
            return (BROKEN_OFF, started.elapsed());
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
