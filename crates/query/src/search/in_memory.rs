//! Which traces in memory are worth a look: there is no index of those, so spans are gone through, each by conditions
//! made ready for its batch. All that a trace has in memory is looked up only where its place depends on it: the start
//! of a span that matches is never before that of its trace.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tracelake_model::{SpanBatch, SpanView, TenantId, TraceId};
use tracelake_store::memtable::Memtable;
use tracelake_traceql::{Predicate, Screen, TraceFacts};

use super::candidates::{Candidate, Candidates, Extent, is_match};
use super::order::Rank;

/// Spans of the first pieces: some 0.2 ms. Later ones are larger, as where those were not enough, most likely all are
/// gone through.
const SPANS_OF_PIECE_MIN: usize = 8_192;

/// To make conditions ready for a batch takes as long as to ask some spans.
const SCREENED_SPANS_MIN: usize = 16;

/// Batches that are gone through together.
pub(super) type Piece = Arc<[Arc<SpanBatch>]>;

impl Candidates {
    /// What is in memory and can start in the range, each piece with the foremost place that a span of it can have: the
    /// foremost first, so that the others can be left alone where those are enough.
    pub(super) fn pieces_of_memory(&self) -> Vec<(Rank, Piece)> {
        let mut batches: Vec<(Rank, Arc<SpanBatch>)> = Vec::new();
        for (memtable, until) in self.memtables() {
            for batch in memtable.batches_until(&self.tenant, until) {
                if let Some((first, last)) = batch.starts_unix_nano()
                    && first < self.starts.end
                    && last >= self.starts.start
                {
                    batches.push((self.foremost(first, last), batch));
                }
            }
        }
        batches.sort_by_key(|(rank, _)| Reverse(*rank));
        let spans: usize = batches.iter().map(|(_, batch)| batch.len()).sum();
        let workers = self.workers.max(1);
        let has_order = batches.first().map(|(rank, _)| rank) != batches.last().map(|(rank, _)| rank);
        let mut enough = if has_order { 0 } else { spans.div_ceil(workers) }.max(SPANS_OF_PIECE_MIN);
        let (mut pieces, mut piece, mut spans) = (Vec::new(), Vec::new(), 0);
        let mut batches = batches.into_iter().peekable();
        let mut foremost = None;
        while let Some((rank, batch)) = batches.next() {
            let foremost_of_piece = *foremost.get_or_insert(rank);
            spans += batch.len();
            piece.push(batch);
            if spans >= enough || batches.peek().is_none() {
                pieces.push((foremost_of_piece, std::mem::take(&mut piece).into()));
                (foremost, spans) = (None, 0);
                if pieces.len() % workers == 0 {
                    enough *= 2;
                }
            }
        }
        pieces
    }

    /// What is worth a look in a piece; none if the work on it died.
    pub(super) async fn of_memory(&self, piece: &Piece) -> Option<Vec<Candidate>> {
        let (piece, conditions, starts) =
            (Arc::clone(piece), Arc::clone(&self.conditions), self.starts.clone());
        let whole: Vec<(Arc<Memtable>, u32)> =
            self.memtables().map(|(memtable, until)| (Arc::clone(memtable), until)).collect();
        let (asks_all, tenant) = (self.asks_where_else, self.tenant.clone());
        let looking = tokio::task::spawn_blocking(move || {
            let mut found = Matching::default();
            piece.iter().for_each(|batch| add_matching(batch, &conditions, &starts, &mut found));
            let all = |trace_id: TraceId| (trace_id, extent(&whole, &tenant, &trace_id));
            match asks_all {
                true => found.into_keys().map(all).collect(),
                false => found.into_iter().collect::<Vec<_>>(),
            }
        });
        Some(self.candidates(looking.await.ok()?, None).await)
    }
}

/// What the matching spans of traces extend over.
type Matching = HashMap<TraceId, Extent, RandomState>;

/// Adds the matching spans of a batch.
fn add_matching(batch: &SpanBatch, conditions: &[Predicate], starts: &Range<u64>, found: &mut Matching) {
    let mut add = |span: SpanView<'_>| {
        found.entry(span.trace_id()).or_insert(Extent::NONE).add(&span, true);
    };
    if batch.len() < SCREENED_SPANS_MIN {
        return batch.spans().filter(|span| is_match(conditions, starts, span)).for_each(add);
    }
    let mut screens: Vec<Screen<'_>> = conditions.iter().map(|one| one.screen(batch)).collect();
    screens.retain(|screen| !screen.is_empty());
    if screens.is_empty() {
        return;
    }
    // What is asked of the trace has been taken out of the conditions.
    let facts = TraceFacts::default();
    for span in batch.spans() {
        if starts.contains(&span.start_unix_nano())
            && screens.iter().any(|screen| screen.matches(&span, &facts))
        {
            add(span);
        }
    }
}

/// What a trace that is worth a look has in memory.
fn extent(memtables: &[(Arc<Memtable>, u32)], tenant: &TenantId, trace_id: &TraceId) -> Extent {
    let mut extent = Extent::NONE;
    for (memtable, until) in memtables {
        let (parts, _) = memtable.find_until(tenant, trace_id, usize::MAX, *until);
        for part in &parts {
            part.rows.iter().for_each(|row| extent.add(&part.batch.span(*row as usize), true));
        }
    }
    extent
}
