//! How a search found its page, for whoever asks why it took so long: its conditions in the order in which they ran, and
//! what became of each source. It is collected only if it is asked for, and the search does the same without it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use tracelake_model::limits;
use tracelake_traceql::Predicate;

use super::SearchStats;
use super::candidates::Candidates;

/// Sources that are named; a store can have thousands.
const SOURCES_NAMED_MAX: usize = limits::SEARCH_SOURCES_MAX as usize;

/// What is in memory is told as one source, called so.
pub(super) const MEMORY: &str = "memory";

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct SearchPlan {
    /// What came in with a later generation was not looked at.
    pub as_of_generation: u64,
    /// What a span has to satisfy for its trace to be worth a look, in the order of the first part of an index that was
    /// looked into; as it was written if none was. What is asked of a trace as a whole is decided behind it.
    pub conditions: Vec<PlannedCondition>,
    /// Those that were looked into, in their order, then the others; at most 64.
    pub sources: Vec<PlannedSource>,
    /// How many more there are, by how.
    pub others: BTreeMap<SourceHow, u64>,
    /// Time for finding which traces are worth a look, in microseconds, as all times.
    pub sources_us: u64,
    /// Time for reading and deciding them.
    pub decide_us: u64,
    /// Time for all of it.
    pub total_us: u64,
}

/// One of the conditions that have to be satisfied together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedCondition {
    /// As TraceQL.
    pub condition: String,
    /// What tells which traces may satisfy it.
    pub how: ConditionHow,
    /// What it takes of the part of the index, by which conditions are put in order; none if the index cannot tell.
    pub index_bytes: Option<u64>,
}

/// What tells which traces may satisfy a condition. The spans of those decide in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ConditionHow {
    /// The index, which has what is asked for.
    #[serde(rename = "index")]
    Index,
    /// The index, which has something that follows from it: of `!=` that there is a value.
    #[serde(rename = "index, upper bound")]
    IndexUpperBound,
    /// Nothing but the spans.
    #[serde(rename = "rows")]
    Rows,
}

/// A segment, or all memtables together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedSource {
    /// `memory`, or the segment's path in the store.
    pub source: String,
    /// How it was looked into.
    pub how: SourceHow,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<NotRead>,
    /// Pieces of memory, parts of its index, or pieces in which its rows were read.
    pub parts: u64,
    /// Traces that were worth a look.
    pub candidates: u64,
    /// How long it took; several are looked into at once.
    pub took_us: u64,
}

/// How a source was looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceHow {
    /// Spans in memory.
    Memory,
    /// By its attribute index.
    Index,
    /// By all of its rows.
    Scan,
    /// Not at all.
    NotRead,
}

/// Why a source was not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotRead {
    /// It could not be read; `partial` says more.
    Unreadable,
    /// The condition names its traces, which were looked up by their IDs.
    TraceIds,
    /// Nothing of it could come before what was found, or the time was over.
    Stopped,
    /// Its filters of values say that no span satisfies the condition.
    Filters,
    /// No span of it starts in the range.
    TimeRange,
    /// All of it came in after the search had begun.
    Later,
}

impl PlannedSource {
    /// What is in memory, of which nothing was looked into so far.
    pub(super) fn memory() -> Self {
        Self::looked_into(MEMORY, SourceHow::Memory, 0, 0, Duration::ZERO)
    }

    /// Adds another part of the same; what could be read of either was read.
    pub(super) fn add(&mut self, other: &Self) {
        self.parts += other.parts;
        self.candidates += other.candidates;
        self.took_us += other.took_us;
        if other.how != SourceHow::NotRead {
            (self.how, self.why) = (other.how, None);
        }
    }

    pub(super) fn looked_into(
        source: &str,
        how: SourceHow,
        parts: u64,
        candidates: usize,
        took: Duration,
    ) -> Self {
        let (candidates, took_us) = (candidates as u64, super::micros(took));
        Self { source: source.to_owned(), how, why: None, parts, candidates, took_us }
    }

    pub(super) fn not_read(source: &str, why: NotRead, took: Duration) -> Self {
        Self { why: Some(why), ..Self::looked_into(source, SourceHow::NotRead, 0, 0, took) }
    }
}

impl SearchPlan {
    /// Of a search that has ended. `indexed` are its conditions as an index answered them, if one did.
    pub(super) fn new(
        work: &Candidates,
        indexed: Option<&[PlannedCondition]>,
        looked_into: Vec<PlannedSource>,
        stats: &SearchStats,
    ) -> Self {
        let mut sources = looked_into;
        let others = not_looked_into(work, &sources);
        sources.extend(others);
        let mut others: BTreeMap<SourceHow, u64> = BTreeMap::new();
        for source in sources.split_off(sources.len().min(SOURCES_NAMED_MAX)) {
            *others.entry(source.how).or_default() += 1;
        }
        Self {
            as_of_generation: work.generation,
            conditions: indexed.map_or_else(|| as_written(&work.conditions), <[_]>::to_vec),
            sources,
            others,
            sources_us: stats.sources_us,
            decide_us: stats.decide_us,
            total_us: stats.total_us,
        }
    }
}

/// The sources that nobody looked into, and why.
fn not_looked_into(work: &Candidates, looked_into: &[PlannedSource]) -> Vec<PlannedSource> {
    let known: HashSet<&str> = looked_into.iter().map(|source| source.source.as_str()).collect();
    let in_range = work.snapshot.partitions.of_starts(&work.tenant, work.starts.clone());
    let in_range: HashSet<usize> = in_range.map(|partition| partition.segment).collect();
    let mut others = Vec::new();
    let mut add = |source: &str, why: NotRead| {
        if !known.contains(source) {
            others.push(PlannedSource::not_read(source, why, Duration::ZERO));
        }
    };
    let left = if work.named.is_some() { NotRead::TraceIds } else { NotRead::Stopped };
    add(MEMORY, left);
    for (segment, entry) in work.snapshot.manifest.segments.iter().enumerate() {
        // What is of other tenants alone is none of this one's business.
        if entry.meta.tenant(&work.tenant).is_none() {
            continue;
        }
        let why = if !in_range.contains(&segment) {
            NotRead::TimeRange
        } else if entry.meta.generation_min > work.generation {
            NotRead::Later
        } else {
            left
        };
        add(&entry.path, why);
    }
    others.sort_by_key(|source| source.why);
    others
}

/// The conditions as the rows are asked.
fn as_written(conditions: &[Predicate]) -> Vec<PlannedCondition> {
    let mut planned = Vec::new();
    for condition in conditions {
        match condition {
            Predicate::Constant(true) => {}
            Predicate::And(all) => planned.extend(as_written(all)),
            one => planned.push(PlannedCondition {
                condition: one.to_string(),
                how: ConditionHow::Rows,
                index_bytes: None,
            }),
        }
    }
    planned
}
