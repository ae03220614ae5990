//! What of that which a search finds is answered: summaries of traces, their spans, their IDs alone, or all of them;
//! and each of these as pieces of an answer.

use std::iter::once;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tracelake::search::{SearchEvent, Sought, SpanHit, TraceHit, WholeEvent};
use tracelake::{Trace, TraceId};

use super::answer::{write_row, write_trace};
use super::lines::{Next, Pieces};
use super::select::Selected;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Results {
    #[default]
    Summaries,
    Spans,
    Ids,
    Traces,
}

impl Results {
    pub(super) fn sought(self) -> Sought {
        match self {
            Self::Spans => Sought::Spans,
            Self::Summaries | Self::Ids | Self::Traces => Sought::Traces,
        }
    }

    /// The name of their list in a document.
    pub(super) fn list(self) -> &'static str {
        match self {
            Self::Summaries | Self::Traces => "traces",
            Self::Spans => "spans",
            Self::Ids => "trace_ids",
        }
    }
}

/// How what is found is answered.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) results: Results,
    pub(super) select: Vec<Selected>,
}

impl Form {
    /// As an element of the list of a document.
    pub(super) fn of_trace(&self, hit: &TraceHit) -> String {
        match self.results {
            Results::Ids => json!(hit.trace_id.to_string()).to_string(),
            Results::Summaries | Results::Spans | Results::Traces => {
                let mut text = String::new();
                write_trace(&mut text, hit, &self.select);
                text
            }
        }
    }

    /// As an element of the list, and as a line.
    pub(super) fn of_span(&self, hit: &SpanHit) -> String {
        let mut text = String::new();
        write_row(&mut text, &hit.span(), &self.select);
        text
    }

    /// As a line, which is an object.
    pub(super) fn line(&self, event: SearchEvent) -> Next {
        let line = match event {
            SearchEvent::Trace(hit) if self.results == Results::Ids => {
                json!({"trace_id": hit.trace_id.to_string()}).to_string()
            }
            SearchEvent::Trace(hit) => self.of_trace(&hit),
            SearchEvent::Span(hit) => self.of_span(&hit),
            SearchEvent::End(end) => return Next::End(end),
        };
        Next::Found(Box::new(once(Bytes::from(line))))
    }
}

/// A whole trace, in a document or as a line.
pub(super) fn whole(event: WholeEvent<Trace>) -> Next {
    match event {
        WholeEvent::Trace(trace_id, trace) => Next::Found(of_whole(trace_id, trace)),
        WholeEvent::End(end) => Next::End(end),
    }
}

/// Piece by piece: a large one is never one text in memory.
fn of_whole(trace_id: TraceId, trace: Option<Trace>) -> Pieces {
    let before = Bytes::from(format!("{{\"trace_id\":\"{trace_id}\",\"trace\":"));
    let after = |reason: Option<&str>| {
        let error = reason.map_or(Value::Null, |reason| json!({"kind": "partial", "message": reason}));
        Bytes::from(format!(",\"error\":{error}}}"))
    };
    match trace {
        Some(trace) => {
            let after = after(trace.partial());
            Box::new(once(before).chain(trace.into_json_chunks()).chain(once(after)))
        }
        None => {
            let after = after(Some("nothing of it could be read"));
            Box::new([before, Bytes::from_static(b"null"), after].into_iter())
        }
    }
}
