//! What a search finds, as whole traces: each is read when it is its turn, as of the search's generation, so that
//! only one is in memory.

use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt};
use tracelake_model::{TenantId, TraceId};
use tracelake_store::Store;
use tracelake_store::format::segment::Projection;

use super::found::{Found, Sought};
use super::{CursorError, Run, SearchEnd, SearchLimits, SearchQuery};
use crate::assemble::TraceSpans;
use crate::batch::{BatchLimits, BatchView, batch};
use crate::gap::{Gap, GapKind};

/// What comes of such a search, one by one.
#[derive(Debug)]
pub enum WholeEvent<T> {
    /// The next trace of the page; none if nothing of it could be read, which the end tells.
    Trace(TraceId, Option<T>),
    /// There is no further one.
    End(Box<SearchEnd>),
}

impl<T> WholeEvent<T> {
    /// The same of what is made of the trace.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> WholeEvent<U> {
        match self {
            Self::Trace(trace_id, trace) => WholeEvent::Trace(trace_id, trace.map(make)),
            Self::End(end) => WholeEvent::End(end),
        }
    }
}

/// The traces of a page but for the first `skip`, whole, as they are found and read, then its end; an error if it
/// cannot go on, before anything is read.
pub(crate) fn search_whole(
    store: Store,
    tenant: TenantId,
    query: SearchQuery,
    skip: usize,
    limits: SearchLimits,
) -> Result<impl Stream<Item = WholeEvent<TraceSpans>> + Send + 'static, CursorError> {
    let query = SearchQuery { sought: Sought::Traces, spans_per_trace: 0, select: Vec::new(), ..query };
    let run = Run::new(store, tenant, query, limits)?;
    Ok(futures::stream::unfold(Some(run), move |run| async move {
        let mut run = run?;
        Some(match run.next_whole(skip).await {
            Some((trace_id, trace)) => (WholeEvent::Trace(trace_id, trace), Some(run)),
            None => (WholeEvent::End(Box::new(run.end())), None),
        })
    }))
}

impl Run {
    /// The next trace of the page behind the first `skip`, if there is time for it. What it lacks, the page lacks.
    async fn next_whole(&mut self, skip: usize) -> Option<(TraceId, Option<TraceSpans>)> {
        if self.worked >= self.limits.time_max && (1..self.query.limit).contains(&self.given) {
            // What is known already could be given; but there is no time to read it.
            self.stop(Gap::late_search(self.limits.time_max));
            return None;
        }
        let (hit, before) = loop {
            let before = self.last;
            let Found::Trace(hit) = self.next_in_time().await? else { return None };
            if self.given > skip {
                break (hit, before);
            }
        };
        let since = Instant::now();
        let view = BatchView {
            snapshot: Some(self.work.snapshot.clone()),
            generation: self.work.generation,
            projection: Projection::ALL,
            reads: Some(Arc::clone(&self.work.reads)),
        };
        let limits = BatchLimits {
            trace: self.limits.trace,
            workers: 1,
            group_time_max: self.limits.time_max.saturating_sub(self.worked),
        };
        let (store, tenant) = (self.work.store.clone(), self.work.tenant.clone());
        let mut answers = std::pin::pin!(batch(store, tenant, vec![hit.trace_id], view, limits));
        let trace = answers.next().await.and_then(|(_, spans)| spans);
        let is_late = |gap: &Gap| gap.kind == GapKind::Deadline;
        if trace.as_ref().is_some_and(|trace| trace.missing().iter().any(is_late)) {
            // The page ends before it, so that the next one has all of it.
            (self.last, self.given) = (before, self.given - 1);
            self.stop(Gap::late_search(self.limits.time_max));
            return None;
        }
        match &trace {
            Some(trace) => trace.missing().iter().for_each(|gap| self.lacks(gap.clone())),
            None => self.lacks(Gap::unread_trace(&hit.trace_id)),
        }
        self.worked += since.elapsed();
        Some((hit.trace_id, trace))
    }
}
