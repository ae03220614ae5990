//! What is answered of a trace: a summary of all of it, and the spans that match.

use std::collections::HashSet;

use tracelake_model::{SpanBatch, SpanView, TraceId, limits};
use tracelake_traceql::{Status, TraceFacts};

use super::SearchQuery;
use crate::assemble::TraceSpans;
use crate::copies::Copies;

const SERVICES_MAX: usize = limits::SEARCH_SERVICES_MAX as usize;

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
    /// Services with spans in it, in order of their first start; at most [`limits::SEARCH_SERVICES_MAX`].
    pub services: Vec<Box<str>>,
    /// All of them.
    pub service_count: usize,
    /// How many spans in the range match.
    pub matched: usize,
    /// The first of them, by their start: with what the condition and the selection ask of, and what every span has. In
    /// memory of their own, as the batches that they were read in have those of a hundred other traces.
    pub spans: SpanBatch,
}

/// A trace that satisfies the condition.
pub(super) struct Satisfying<'t> {
    /// Its spans, by their start.
    spans: Vec<SpanView<'t>>,
    /// Those of them that match; none where none has to.
    pub(super) matching: Vec<SpanView<'t>>,
    pub(super) facts: TraceFacts<'t>,
    pub(super) start_unix_nano: u64,
}

/// The trace, if it satisfies the condition.
pub(super) fn decide<'t>(query: &SearchQuery, trace: &'t TraceSpans) -> Option<Satisfying<'t>> {
    let spans: Vec<SpanView<'t>> = trace.spans().collect();
    let root = spans.iter().find(|span| span.parent_span_id().is_none()).copied();
    let start = spans.first()?.start_unix_nano();
    let end = spans.iter().map(SpanView::end_unix_nano).max().unwrap_or_default();
    let facts = TraceFacts {
        root_name: root.map(|root| root.name()),
        root_service: root.and_then(|root| root.resource().service_name()),
        duration_nano: end.saturating_sub(start),
    };
    let in_range: Vec<SpanView<'t>> =
        spans.iter().filter(|span| query.starts.contains(&span.start_unix_nano())).copied().collect();
    if in_range.is_empty() {
        return None;
    }
    let matching = query.predicate.matching(&in_range, &facts)?;
    let matching = matching.into_iter().filter_map(|at| in_range.get(at).copied()).collect();
    Some(Satisfying { spans, matching, facts, start_unix_nano: start })
}

impl Satisfying<'_> {
    /// When its first matching span started; where none has to match, when it did itself.
    pub(super) fn first_start(&self) -> u64 {
        self.matching.first().map_or(self.start_unix_nano, |span| span.start_unix_nano())
    }

    /// What is answered of it.
    pub(super) fn hit(&self, query: &SearchQuery, trace_id: TraceId) -> TraceHit {
        let Self { spans, matching, facts, start_unix_nano } = self;
        let mut given = Copies::default();
        matching.iter().take(query.spans_per_trace).for_each(|span| given.push(*span));
        let (mut services, mut known): (Vec<Box<str>>, _) = (Vec::new(), HashSet::new());
        for service in spans.iter().filter_map(|span| span.resource().service_name()) {
            if known.insert(service) && services.len() < SERVICES_MAX {
                services.push(service.into());
            }
        }
        TraceHit {
            trace_id,
            root_service: facts.root_service.map(Into::into),
            root_name: facts.root_name.map(Into::into),
            start_unix_nano: *start_unix_nano,
            duration_nano: facts.duration_nano,
            span_count: spans.len(),
            error_count: spans.iter().filter(|span| span.status_code() == Status::Error as i32).count(),
            services,
            service_count: known.len(),
            matched: matching.len(),
            spans: given.finish(),
        }
    }
}
