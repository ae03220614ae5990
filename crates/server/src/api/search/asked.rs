//! What a search asks for, as its body has it: read, held to its limits, and made a query of the store.

use std::ops::RangeInclusive;

use axum::body::Body;
use http::Uri;
use serde::Deserialize;
use serde_json::Value;
use tracelake::search::{Cursor, Order, SearchQuery};
use tracelake::traceql::{self, Predicate, TracePredicate};
use tracelake::{ErrorKind, limits};

use super::results::{Form, Results};
use super::select::selected;
use super::{Question, invalid, not_a_cursor};
use crate::api::{body, parameters, refused, times};
use crate::rejection::Rejection;
use crate::shared::Shared;

/// Traces of a page that says nothing of its size, or spans.
const PAGE_TRACES: u64 = 20;

/// Matching spans of each trace, where nothing is said of them.
const TRACE_SPANS: u64 = 3;

/// Above all that a search finds within `search_candidates_max`.
const ENDLESS: usize = u32::MAX as usize;

/// Its members.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    start: Option<Value>,
    end: Option<Value>,
    #[serde(rename = "where")]
    tree: Option<Value>,
    q: Option<String>,
    #[serde(rename = "match")]
    unit: Unit,
    #[serde(rename = "result")]
    results: Results,
    order: Order,
    limit: Option<u64>,
    cursor: Option<String>,
    select: Vec<String>,
    spans_per_trace: Option<u64>,
    count: Option<Count>,
    histogram: Option<u64>,
    explain: bool,
    page: Option<u64>,
    page_size: Option<u64>,
}

/// What all of the condition is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    #[default]
    Span,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Count {
    Exact,
}

/// A search that can be made.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) query: SearchQuery,
    pub(super) form: Form,
    /// What is at the beginning and is not answered.
    pub(super) skip: usize,
}

pub(super) async fn of_body(shared: &Shared, uri: &Uri, body: Body) -> Question {
    parameters(uri, &[])?;
    let bytes_max = limits::SEARCH_BODY_BYTES_MAX;
    let too_large = Rejection::new(
        ErrorKind::TooLarge,
        format!("the body of a search has at most {bytes_max} bytes (search_body_bytes_max)"),
    );
    let body = body::read(shared, body, size(bytes_max), too_large).await?;
    let not_asked = |why: String| invalid(format!("the body is not {{\"q\":\"{{ … }}\",…}}: {why}"));
    // A list would be read as members in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(not_asked("it is no object".to_owned()));
    }
    let asked: Asked = serde_json::from_slice(&body).map_err(|error| not_asked(error.to_string()))?;
    let condition = asked.condition()?;
    Ok((asked, condition))
}

impl Asked {
    /// What spans are to satisfy; all do if nothing is said.
    pub(super) fn condition(&self) -> Result<TracePredicate, Rejection> {
        match (&self.q, &self.tree) {
            (Some(_), Some(_)) => {
                Err(invalid("`q` and `where` both say what is searched for: leave one out"))
            }
            (Some(text), None) => traceql::parse(text).map_err(|error| refused::rejection(&error)),
            (None, Some(tree)) => {
                let condition = traceql::from_json(tree, "where");
                condition.map(TracePredicate::AnySpan).map_err(|error| refused::rejection(&error))
            }
            (None, None) => Ok(TracePredicate::AnySpan(Predicate::Constant(true))),
        }
    }

    pub(super) fn into_search(
        self,
        condition: TracePredicate,
        traces_max: u64,
        as_lines: bool,
    ) -> Result<Search, Rejection> {
        let (skip, limit) = self.place(traces_max, as_lines)?;
        let range = times::hint_of_json(self.start.as_ref(), self.end.as_ref())?;
        let select = selected(&self.select)?;
        let spans_per_trace = self.spans_per_trace()?;
        let histogram =
            self.histogram.map(|parts| within("histogram", parts, 1..=limits::SEARCH_HISTOGRAM_MAX));
        let mut query = SearchQuery {
            starts: range.start_unix_nano.unwrap_or(0)..range.end_unix_nano.unwrap_or(u64::MAX),
            predicate: if self.unit == Unit::Trace { condition.anywhere() } else { condition },
            sought: self.results.sought(),
            order: self.order,
            limit,
            spans_per_trace,
            select: select.iter().map(|one| one.field.clone()).collect(),
            after: None,
            count: self.count.is_some(),
            histogram: histogram.transpose()?,
            explain: self.explain,
        };
        if let Some(text) = &self.cursor {
            let cursor = text.parse::<Cursor>().map_err(not_a_cursor)?;
            cursor.check(&query).map_err(not_a_cursor)?;
            query.after = Some(cursor);
        }
        Ok(Search { query, form: Form { results: self.results, select }, skip })
    }

    /// Matching spans of each trace. What the results do not have is refused: who asks for it expects others.
    fn spans_per_trace(&self) -> Result<usize, Rejection> {
        let (what, has_select) = match self.results {
            Results::Summaries => {
                let spans = self.spans_per_trace.unwrap_or(TRACE_SPANS);
                return within("spans_per_trace", spans, 0..=limits::SEARCH_SPANS_MAX);
            }
            Results::Spans => ("spans", true),
            Results::Ids => ("ids", false),
            Results::Traces => ("traces", false),
        };
        if self.spans_per_trace.is_some() {
            return Err(invalid(format!(
                "`spans_per_trace` is of summaries of traces, and `result` is `{what}`: leave one out"
            )));
        }
        if !has_select && !self.select.is_empty() {
            return Err(invalid(format!(
                "`select` is of matching spans, and `result` is `{what}`, which has none of them: leave one out"
            )));
        }
        Ok(0)
    }

    /// How many traces are passed over, and how many there are up to the last one that is answered.
    fn place(&self, traces_max: u64, as_lines: bool) -> Result<(usize, usize), Rejection> {
        let Some(page) = self.page else {
            if self.page_size.is_some() {
                return Err(invalid("`page_size` needs `page`; without pages there is `limit`"));
            }
            let limit = match (self.limit, as_lines) {
                (None, true) => ENDLESS,
                (Some(limit), true) => within("limit", limit, 1..=limits::SEARCH_STREAMED_TRACES_MAX)?,
                (limit, false) => {
                    within("limit", limit.unwrap_or(PAGE_TRACES.min(traces_max)), 1..=traces_max)?
                }
            };
            return Ok((0, limit));
        };
        if as_lines {
            return Err(invalid(
                "`page` is of an answer as application/json; lines have `limit` and `cursor`",
            ));
        }
        if self.limit.is_some() || self.cursor.is_some() {
            return Err(invalid("`page` and `page_size` stand without `limit` and `cursor`"));
        }
        if self.count.is_none() {
            return Err(invalid(
                "`page` needs \"count\":\"exact\", or how many pages there are is not known",
            ));
        }
        let page_size =
            within("page_size", self.page_size.unwrap_or(PAGE_TRACES.min(traces_max)), 1..=traces_max)?;
        let page = within("page", page, 1..=u64::MAX)?;
        let numbered_max = size(limits::SEARCH_NUMBERED_TRACES_MAX);
        let end = page.checked_mul(page_size).filter(|end| *end <= numbered_max);
        let end = end.ok_or_else(|| {
            invalid(format!(
                "`page` × `page_size` is at most {numbered_max} (search_numbered_traces_max): go on with the \
                 `next_cursor` of an answer as `cursor`, or narrow the range"
            ))
        })?;
        Ok((end - page_size, end))
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn within(name: &str, number: u64, range: RangeInclusive<u64>) -> Result<usize, Rejection> {
    if range.contains(&number) {
        return Ok(size(number));
    }
    let (least, most) = range.into_inner();
    Err(invalid(format!("`{name}` is a number from {least} to {most}, and {number} is not")))
}

#[cfg(test)]
mod tests;
