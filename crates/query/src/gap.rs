//! What an answer lacks, and why.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tracelake_model::TraceId;
use tracelake_store::StoreError;
use tracelake_store::format::manifest::SegmentEntry;

use crate::assemble::TraceLimits;

/// Why something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// An answer may not be larger.
    Limit,
    /// It would have taken too long.
    Deadline,
    /// A partition's file is not there.
    Partition,
    /// Stored bytes are damaged: an index, or what it leads to.
    Index,
    /// The object store did not give them.
    Network,
}

/// Something that an answer lacks. As text, a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Why.
    pub kind: GapKind,
    /// The segment that was not read, by its path in the store; none if no segment is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// The reason, for people.
    pub why: String,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.segment {
            Some(segment) => write!(f, "{segment} could not be read: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// What is missing as one text that fits into a header; none if nothing is.
pub fn summary(missing: &[Gap]) -> Option<String> {
    /// An answer can lack a thousand segments.
    const NAMED_MAX: usize = 3;
    let named: Vec<String> = missing.iter().take(NAMED_MAX).map(Gap::to_string).collect();
    let more = missing.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| named.join("; ") + &more)
}

impl Gap {
    /// A segment that could not be read, in two tries.
    pub(crate) fn unread(entry: &SegmentEntry, error: &StoreError) -> Self {
        Self { kind: kind_of(error), segment: Some(entry.path.clone()), why: error.to_string() }
    }

    /// A segment that there was no time for.
    pub(crate) fn late(entry: &SegmentEntry, allowed: Duration) -> Self {
        let why = format!("lookup_seconds_max ({} s) was over", allowed.as_secs_f64());
        Self { kind: GapKind::Deadline, segment: Some(entry.path.clone()), why }
    }

    /// A segment that may have more of a trace, and that there was no time for in a batch.
    pub(crate) fn late_group(entry: &SegmentEntry, allowed: Duration) -> Self {
        let why = format!(
            "lookup_seconds_max ({} s) was over for the trace and its neighbours in the batch; ask for it alone",
            allowed.as_secs_f64()
        );
        Self { kind: GapKind::Deadline, segment: Some(entry.path.clone()), why }
    }

    /// A search that took too long: what was not looked at may have more, anywhere in the order.
    pub(crate) fn late_search(allowed: Duration) -> Self {
        let why = format!(
            "search_seconds_max ({} s) was over; narrow the range or the condition",
            allowed.as_secs_f64()
        );
        Self { kind: GapKind::Deadline, segment: None, why }
    }

    /// What is in memory, where looking into it has died.
    pub(crate) fn memtables_unread() -> Self {
        let why = "what came in last could not be looked into; the log of the server says why".to_owned();
        Self { kind: GapKind::Partition, segment: None, why }
    }

    /// A trace that was found, where reading it has died.
    pub(crate) fn unread_trace(trace_id: &TraceId) -> Self {
        let why = format!("trace {trace_id} could not be read; the log of the server says why");
        Self { kind: GapKind::Partition, segment: None, why }
    }

    /// Traces that were to be decided, where the work on them has died.
    pub(crate) fn undecided(traces: usize) -> Self {
        let why = format!("{traces} traces could not be looked at; the log of the server says why");
        Self { kind: GapKind::Partition, segment: None, why }
    }

    /// Traces worth a look that there is no room for.
    pub(crate) fn too_many_candidates(max: usize) -> Self {
        let why = format!(
            "more than search_candidates_max ({max}) traces would have to be looked at; narrow the range or the condition"
        );
        Self { kind: GapKind::Limit, segment: None, why }
    }

    /// Matching spans that would have to wait until others were looked at, and that there is no room for.
    pub(crate) fn too_many_spans(max: usize) -> Self {
        let why = format!(
            "more than search_spans_found_max ({max}) results and spans would have to be put in order at once; go on with \
             the next cursor, or narrow the range or the condition"
        );
        Self { kind: GapKind::Limit, segment: None, why }
    }

    /// Spans that there is no room for.
    pub(crate) fn over_limit(limits: TraceLimits) -> Self {
        let why = format!(
            "the trace is larger than an answer may be (trace_spans_max {}, trace_bytes_max {})",
            limits.spans_max, limits.heap_bytes_max
        );
        Self { kind: GapKind::Limit, segment: None, why }
    }
}

fn kind_of(error: &StoreError) -> GapKind {
    match error {
        StoreError::Segment { .. } => GapKind::Index,
        StoreError::SegmentRead { source: object_store::Error::NotFound { .. }, .. } => GapKind::Partition,
        StoreError::Shared(error) => kind_of(error),
        _ => GapKind::Network,
    }
}

#[cfg(test)]
mod tests;
