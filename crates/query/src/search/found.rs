//! What a search finds, traces or spans, and where each of them stands in its order. Whether they match is decided
//! elsewhere.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use tracelake_model::hash::text_hash;
use tracelake_model::{KeyValue, SpanBatch, SpanId, SpanView, TraceId, limits};
use tracelake_traceql::{Predicate, TracePredicate};

use super::candidates::Opened;
use super::hits::{Satisfying, TraceHit};
use super::order::Rank;
use super::{Pending, Run, SearchQuery, What};
use crate::copies::Copies;
use crate::gap::Gap;

/// Where traces go on for the whole range, or are in several segments, all that is found can have to wait for what may
/// come before it.
const SPANS_FOUND_MAX: usize = limits::SEARCH_SPANS_FOUND_MAX as usize;

/// What is on a page that was not asked for by its number.
const PAGE_MAX: usize = limits::SEARCH_TRACES_MAX as usize;

/// What is searched for by a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sought {
    /// Traces that satisfy it, each with its matching spans.
    #[default]
    Traces,
    /// The matching spans themselves, each where its own start or duration puts it.
    Spans,
}

/// A matching span.
#[derive(Debug, Clone)]
pub struct SpanHit {
    /// Those of one trace share it.
    spans: Arc<SpanBatch>,
    row: usize,
}

impl SpanHit {
    /// The span, with what the condition and the selection ask of, and what every span has.
    pub fn span(&self) -> SpanView<'_> {
        self.spans.span(self.row)
    }
}

/// One of what is found.
#[derive(Debug)]
pub(super) enum Found {
    Trace(Box<TraceHit>),
    Span(SpanHit),
}

impl Found {
    /// As many spans as it takes the room of.
    pub(super) fn spans(&self) -> usize {
        match self {
            Self::Trace(hit) => 1 + hit.spans.len(),
            Self::Span(_) => 1,
        }
    }
}

/// Where something stands: what is less comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) rank: Reverse<Rank>,
    pub(super) trace_id: TraceId,
    /// 0 for a trace.
    pub(super) span_id: u64,
    /// Tells spans of one ID apart; 0 for all others.
    pub(super) content: u64,
}

impl Place {
    pub(super) fn of_trace(rank: Rank, trace_id: TraceId) -> Self {
        Self { rank: Reverse(rank), trace_id, span_id: 0, content: 0 }
    }

    /// `conflicting` are the IDs that several spans of the trace have.
    fn of_span(rank: Rank, span: &SpanView<'_>, conflicting: &HashSet<SpanId>) -> Self {
        let content = if conflicting.contains(&span.span_id()) { content(span) } else { 0 };
        let span_id = u64::from_be_bytes(*span.span_id().as_bytes());
        Self { rank: Reverse(rank), trace_id: span.trace_id(), span_id, content }
    }

    pub(super) fn rank(&self) -> Rank {
        self.rank.0
    }
}

/// Of a batch that spans which were found share most others may have gone; so many rows beside them are left alone.
const COPIED_SLACK: usize = 4_096;

/// Traces that are decided together before it is known how many spans each gives.
const FIRST_TRACES_OF_SPANS: usize = 16;

/// What a trace that satisfies the condition gives behind the page before: itself, or its matching spans, of which
/// there is no room for more than the foremost `most`, nor for any from `end` on.
fn of_trace(
    query: &SearchQuery,
    trace_id: TraceId,
    trace: &Satisfying<'_>,
    conflicting: &[SpanId],
    most: usize,
    end: Option<Place>,
) -> Vec<(Place, Found)> {
    let is_passed = |place: &Place| {
        end.is_some_and(|end| *place >= end)
            || query.after.as_ref().is_some_and(|after| after.is_passed(place))
    };
    match query.sought {
        Sought::Traces => {
            let rank = query.order.rank(trace.start_unix_nano, trace.facts.duration_nano);
            let place = Place::of_trace(rank, trace_id);
            if is_passed(&place) {
                return Vec::new();
            }
            vec![(place, Found::Trace(Box::new(trace.hit(query, trace_id))))]
        }
        Sought::Spans => {
            let conflicting: HashSet<SpanId> = conflicting.iter().copied().collect();
            let place = |span: &SpanView<'_>| {
                let rank = query.order.rank(span.start_unix_nano(), span.duration_nano());
                Place::of_span(rank, span, &conflicting)
            };
            let mut places: Vec<(Place, SpanView<'_>)> =
                trace.matching.iter().map(|span| (place(span), *span)).collect();
            places.retain(|(place, _)| !is_passed(place));
            places.sort_unstable_by_key(|(place, _)| *place);
            places.truncate(most);
            let mut copies = Copies::default();
            places.iter().for_each(|(_, span)| copies.push(*span));
            let spans = Arc::new(copies.finish());
            let hit = |row| Found::Span(SpanHit { spans: Arc::clone(&spans), row });
            places.iter().enumerate().map(|(row, (place, _))| (*place, hit(row))).collect()
        }
    }
}

impl Run {
    /// Adds what a source has, each trace where the foremost of its spans there can stand: where its other spans can,
    /// their own sources say.
    pub(super) fn add_spans(&mut self, opened: Opened) {
        let SearchQuery { order, starts, after, .. } = &self.query;
        let is_counted = self.totals.is_some();
        let pending = |first: u64, last: u64, what: What| {
            let (foremost, hindmost) = order.span_ranks(starts, first, last);
            let is_passed = after.as_ref().is_some_and(|after| after.has_passed(hindmost));
            (is_counted || !is_passed).then_some(Pending { rank: foremost, what })
        };
        let traces = opened.traces.into_iter().filter_map(|trace| {
            pending(trace.start_unix_nano, trace.last_unix_nano, What::Trace(trace.trace_id))
        });
        let rows = opened.rows.into_iter().filter_map(|row| {
            pending(row.start_unix_nano_min, row.last_unix_nano_max, What::Row(row.segment, row.row))
        });
        self.pending.extend(traces.chain(rows));
    }

    /// Keeps of a trace that satisfies the condition what the page lacks, and one more, which says that there is a next
    /// page.
    pub(super) fn keep(&mut self, trace_id: TraceId, trace: &Satisfying<'_>, conflicting: &[SpanId]) {
        let lacking = self.query.limit.saturating_sub(self.given);
        let room = lacking.min(SPANS_FOUND_MAX);
        self.satisfied += 1;
        self.matched += match self.query.sought {
            Sought::Traces => 1,
            Sought::Spans => trace.matching.len(),
        };
        if let Some(totals) = &mut self.totals {
            match self.query.sought {
                Sought::Traces => totals.add(trace.first_start()),
                Sought::Spans => trace.matching.iter().for_each(|span| totals.add(span.start_unix_nano())),
            }
        }
        // What comes behind all that the page lacks, and one more, is not copied.
        let is_full = self.found.len() > lacking;
        let end = self.found.last_key_value().map(|(place, _)| *place).filter(|_| is_full);
        // One more than are kept, to see that some are not.
        let added = of_trace(&self.query, trace_id, trace, conflicting, room + 2, end);
        if self.query.sought == Sought::Spans {
            self.copied += added.len();
        }
        self.found_spans += added.iter().map(|(_, found)| found.spans()).sum::<usize>();
        self.found.extend(added);
        while self.found.len() > lacking + 1 {
            self.drop_last();
        }
        // What a page lacks there is always room for.
        if self.found_spans > SPANS_FOUND_MAX + 1 && lacking > PAGE_MAX {
            while self.found_spans > SPANS_FOUND_MAX + 1 && self.found.len() > 2 {
                self.drop_last();
            }
            // The page ends before what there is no room for.
            self.query.limit = self.given + self.found.len() - 1;
            self.stop(Gap::too_many_spans(SPANS_FOUND_MAX));
        }
        if self.copied > 2 * self.found.len() + COPIED_SLACK {
            self.copy_found();
        }
    }

    fn drop_last(&mut self) {
        if let Some((_, last)) = self.found.pop_last() {
            self.found_spans -= last.spans();
        }
    }

    /// Copies the spans that were found: their batches have others, which went.
    fn copy_found(&mut self) {
        let mut copies = Copies::default();
        for found in self.found.values() {
            if let Found::Span(hit) = found {
                copies.push(hit.span());
            }
        }
        let spans = Arc::new(copies.finish());
        for (row, found) in self.found.values_mut().enumerate() {
            *found = Found::Span(SpanHit { spans: Arc::clone(&spans), row });
        }
        self.copied = self.found.len();
    }

    /// Traces that may be decided together, so that there is room for what they give.
    pub(super) fn traces_with_room(&self) -> usize {
        match self.query.sought {
            Sought::Traces => usize::MAX,
            Sought::Spans if self.satisfied == 0 => FIRST_TRACES_OF_SPANS,
            Sought::Spans => {
                let room = (SPANS_FOUND_MAX / 2).saturating_sub(self.found.len());
                (room / (self.matched / self.satisfied).max(1)).max(1)
            }
        }
    }
}

/// Conditions, one of which every span satisfies that is given of a trace: of several that are to be satisfied by some
/// span each, all, as any of those spans may be the only one of them in its source. What is to be absent gives no span.
pub(super) fn span_conditions(query: &SearchQuery) -> Vec<Predicate> {
    fn collect(predicate: &TracePredicate, conditions: &mut Vec<Predicate>) {
        match predicate {
            TracePredicate::AnySpan(_) => conditions.extend(predicate.span_conditions()),
            TracePredicate::And(all) | TracePredicate::Or(all) => {
                all.iter().for_each(|one| collect(one, conditions));
            }
            TracePredicate::Not(_) => {}
        }
    }
    match query.sought {
        Sought::Traces => query.predicate.span_conditions(),
        Sought::Spans => {
            let mut conditions = Vec::new();
            collect(&query.predicate, &mut conditions);
            conditions
        }
    }
}

/// The same for duplicates, whichever of them is read, and different for other spans of one ID but for chance. Another
/// build may make it differ.
fn content(span: &SpanView<'_>) -> u64 {
    /// Their order means nothing.
    fn sorted(attributes: &[KeyValue]) -> Vec<String> {
        let mut texts: Vec<String> = attributes.iter().map(|attribute| format!("{attribute:?}")).collect();
        texts.sort_unstable();
        texts
    }
    let (resource, scope) = (span.resource(), span.scope());
    let events: Vec<u32> = span.events().map(|event| event.dropped_attributes_count()).collect();
    let links: Vec<_> = span
        .links()
        .map(|link| (link.trace_state(), link.flags(), link.dropped_attributes_count()))
        .collect();
    // What the hash leaves out as well.
    let all = (
        span.content_hash(),
        (span.dropped_attributes_count(), span.dropped_events_count(), span.dropped_links_count()),
        (events, links),
        (sorted(&resource.attributes), resource.dropped_attributes_count),
        (&resource.schema_url, &resource.entity_refs),
        (&scope.name, &scope.version, &scope.schema_url),
        (sorted(&scope.attributes), scope.dropped_attributes_count),
    );
    text_hash(&format!("{all:?}"))
}
