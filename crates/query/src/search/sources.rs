//! The sources of a search that have not been looked into, in the order in which that is best done: segments, and pieces
//! of what is in memory.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::SearchStats;
use super::candidates::{Candidates, LookedInto, Opened};
use super::in_memory::Piece;
use super::order::Rank;
use super::plan::{MEMORY, NotRead, PlannedSource, SourceHow};
use crate::gap::Gap;

/// What is looked into at once.
enum Source {
    Memory(Piece),
    /// By its place in the manifest.
    Segment(usize),
}

/// What is left of them.
pub(super) struct Sources {
    /// The foremost first, with the foremost place that a trace of theirs can have, or a span.
    left: VecDeque<(Rank, Source)>,
    segments: usize,
    /// Where it is asked for: those that were looked into.
    looked_into: Option<Vec<PlannedSource>>,
}

impl Source {
    fn is_like(&self, other: &Self) -> bool {
        matches!(self, Self::Memory(_)) == matches!(other, Self::Memory(_))
    }

    /// What was found in it, and how long that took.
    async fn look_into(self, work: &Candidates) -> (Self, Result<LookedInto, Gap>, Duration) {
        let since = Instant::now();
        let found = match &self {
            Self::Memory(piece) => match work.of_memory(piece).await {
                Some(traces) => Ok(LookedInto::Rows(traces, 1)),
                None => Err(Gap::memtables_unread()),
            },
            Self::Segment(segment) => work.of_segment(*segment).await,
        };
        (self, found, since.elapsed())
    }
}

impl Sources {
    /// All that can have spans in the range; none where traces are looked up by their IDs.
    pub(super) fn of(work: &Candidates) -> Self {
        let looked_into = work.planned.as_ref().map(|_| Vec::new());
        if work.named.is_some() {
            return Self { left: VecDeque::new(), segments: 0, looked_into };
        }
        let segments = work.segments().map(|(rank, segment)| (rank, Source::Segment(segment)));
        let mut left: Vec<_> = segments.collect();
        let segments = left.len();
        let memory = work.pieces_of_memory().into_iter().map(|(rank, piece)| (rank, Source::Memory(piece)));
        left.extend(memory);
        // What is in memory before segments, and of those the newest before others.
        left.sort_by_key(|(rank, source)| match source {
            Source::Memory(_) => (Reverse(*rank), Reverse(usize::MAX)),
            Source::Segment(segment) => (Reverse(*rank), Reverse(*segment)),
        });
        let has_memory = left.len() > segments;
        let empty = (!has_memory).then(PlannedSource::memory);
        let looked_into = looked_into.map(|_| empty.into_iter().collect());
        Self { left: left.into(), segments, looked_into }
    }

    /// The foremost place that a trace of what is left can have, or a span; none if nothing is.
    pub(super) fn next_rank(&self) -> Option<Rank> {
        self.left.front().map(|(rank, _)| *rank)
    }

    /// How many segments there were.
    pub(super) fn segments(&self) -> usize {
        self.segments
    }

    /// Looks into the next one, or several at once: what is worth a look, and what could not be looked into.
    pub(super) async fn open_next(
        &mut self,
        work: &Candidates,
        stats: &mut SearchStats,
    ) -> (Opened, Vec<Gap>) {
        let mut next: Vec<Source> = Vec::new();
        while next.len() < work.workers.max(1)
            && let Some((_, source)) = self.left.front()
            // What is in memory may be enough.
            && next.first().is_none_or(|first| first.is_like(source))
        {
            next.extend(self.left.pop_front().map(|(_, source)| source));
        }
        let opened = futures::future::join_all(next.into_iter().map(|source| source.look_into(work))).await;
        let (mut found, mut gaps) = (Opened::default(), Vec::new());
        for (source, one, took) in opened {
            if let Some(looked_into) = &mut self.looked_into {
                tell(looked_into, work, &source, &one, took);
            }
            match one {
                Ok(LookedInto::Rows(traces, _)) => {
                    stats.segments_scanned += u64::from(matches!(source, Source::Segment(_)));
                    found.traces.extend(traces);
                }
                Ok(LookedInto::RuledOut) => stats.segments_ruled_out += 1,
                Ok(LookedInto::Index(rows, _)) => {
                    stats.segments_indexed += 1;
                    found.rows.extend(rows);
                }
                Err(gap) => gaps.push(gap),
            }
        }
        (found, gaps)
    }

    /// Those that were looked into, if they were to be told.
    pub(super) fn into_looked_into(self) -> Option<Vec<PlannedSource>> {
        self.looked_into
    }
}

/// Adds how a source was looked into. All that is in memory is told as one.
fn tell(
    told: &mut Vec<PlannedSource>,
    work: &Candidates,
    source: &Source,
    found: &Result<LookedInto, Gap>,
    took: Duration,
) {
    let (name, by_rows) = match source {
        Source::Memory(_) => (MEMORY, SourceHow::Memory),
        Source::Segment(segment) => {
            (work.entry(*segment).map(|entry| entry.path.as_str()).unwrap_or_default(), SourceHow::Scan)
        }
    };
    let planned = match found {
        Ok(LookedInto::Rows(traces, pieces)) => {
            PlannedSource::looked_into(name, by_rows, *pieces, traces.len(), took)
        }
        Ok(LookedInto::Index(rows, parts)) => {
            PlannedSource::looked_into(name, SourceHow::Index, *parts, rows.len(), took)
        }
        Ok(LookedInto::RuledOut) => PlannedSource::not_read(name, NotRead::Filters, took),
        Err(_) => PlannedSource::not_read(name, NotRead::Unreadable, took),
    };
    match told.iter_mut().find(|one| name == MEMORY && one.source == MEMORY) {
        Some(memory) => memory.add(&planned),
        None => told.push(planned),
    }
}
