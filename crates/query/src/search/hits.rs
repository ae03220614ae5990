//! What is answered of a trace: a summary of all of it, and the spans that match.

use std::collections::HashMap;
use std::sync::Arc;

use tracelake_model::{SpanBatch, SpanBatchBuilder, SpanView, TraceId, Value};
use tracelake_traceql::TraceFacts;

use super::SearchQuery;
use crate::assemble::TraceSpans;

/// The number of OTLP for spans that failed.
const STATUS_ERROR: i32 = 2;

/// Services that are listed of a trace.
const SERVICES_MAX: usize = 64;

/// A trace that satisfies the condition, as stored in the generation of the search.
#[derive(Debug, Clone)]
pub struct TraceHit {
    /// Which.
    pub trace_id: TraceId,
    /// The service of its root; none if no root has arrived, or it names none.
    pub root_service: Option<Box<str>>,
    /// The name of its root, the earliest span without a parent; none if none has arrived.
    pub root_name: Option<Box<str>>,
    /// Its earliest start, in nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// From there to its latest end; 0 if it ended before it began.
    pub duration_nano: u64,
    /// Its spans.
    pub span_count: usize,
    /// Those of them that failed.
    pub error_count: usize,
    /// Services with spans in it, in order of their first start; at most 64.
    pub services: Vec<Box<str>>,
    /// How many spans in the range match.
    pub matched: usize,
    /// The first of them.
    pub spans: Vec<MatchingSpan>,
}

/// A span that matches. It has what the condition and the selection ask of, and what every span has.
#[derive(Debug, Clone)]
pub struct MatchingSpan {
    batch: Arc<SpanBatch>,
    row: u32,
}

impl MatchingSpan {
    /// The span.
    pub fn span(&self) -> SpanView<'_> {
        self.batch.span(self.row as usize)
    }
}

/// The service that a span is of.
pub(super) fn service<'a>(span: &SpanView<'a>) -> Option<&'a str> {
    let attributes = span.resource().attributes.iter();
    attributes.filter(|attribute| &*attribute.key == "service.name").find_map(|attribute| {
        match &attribute.value {
            Value::Text(text) => Some(&**text),
            _ => None,
        }
    })
}

/// Some spans in memory of their own: the batches that they were read in have those of a hundred other traces.
fn alone(trace: &TraceSpans, places: &[usize]) -> Vec<MatchingSpan> {
    let mut builder = SpanBatchBuilder::new();
    let mut shared: HashMap<(usize, usize), (u32, u32)> = HashMap::new();
    for (batch, row) in trace.spans_at(places) {
        let span = batch.span(row as usize);
        let key = (Arc::as_ptr(span.resource()).addr(), Arc::as_ptr(span.scope()).addr());
        let (resource, scope) = *shared.entry(key).or_insert_with(|| {
            (builder.resource(Arc::clone(span.resource())), builder.scope(Arc::clone(span.scope())))
        });
        builder.copy_span(span, resource, scope);
    }
    let batch = Arc::new(builder.finish());
    (0..batch.len() as u32).map(|row| MatchingSpan { batch: Arc::clone(&batch), row }).collect()
}

/// Whether a trace satisfies the condition: what is answered of it, and when its first matching span started. Its
/// spans come in order of their start.
pub(super) fn decide(
    query: &SearchQuery,
    trace_id: TraceId,
    trace: TraceSpans,
) -> Option<(TraceHit, Option<u64>)> {
    let spans: Vec<SpanView<'_>> = trace.spans().collect();
    let root = spans.iter().find(|span| span.parent_span_id().is_none());
    let start = spans.first()?.start_unix_nano();
    let end = spans.iter().map(SpanView::end_unix_nano).max().unwrap_or_default();
    let facts = TraceFacts {
        root_name: root.map(|root| root.name()),
        root_service: root.and_then(service),
        duration_nano: end.saturating_sub(start),
    };
    let in_range: Vec<usize> =
        (0..spans.len()).filter(|at| query.starts.contains(&spans[*at].start_unix_nano())).collect();
    if in_range.is_empty() {
        return None;
    }
    let candidates: Vec<SpanView<'_>> = in_range.iter().map(|at| spans[*at]).collect();
    let matching = query.predicate.matching(&candidates, &facts)?;
    let mut services: Vec<Box<str>> = Vec::new();
    for service in spans.iter().filter_map(service) {
        if services.len() < SERVICES_MAX && services.iter().all(|known| **known != *service) {
            services.push(service.into());
        }
    }
    let hit = TraceHit {
        trace_id,
        root_service: facts.root_service.map(Into::into),
        root_name: facts.root_name.map(Into::into),
        start_unix_nano: start,
        duration_nano: facts.duration_nano,
        span_count: spans.len(),
        error_count: spans.iter().filter(|span| span.status_code() == STATUS_ERROR).count(),
        services,
        matched: matching.len(),
        spans: Vec::new(),
    };
    let places: Vec<usize> = matching.iter().filter_map(|at| in_range.get(*at).copied()).collect();
    let first_match = places.first().and_then(|at| spans.get(*at)).map(SpanView::start_unix_nano);
    drop(spans);
    let given = places.get(..places.len().min(query.spans_per_trace)).unwrap_or_default();
    Some((TraceHit { spans: alone(&trace, given), ..hit }, first_match))
}
