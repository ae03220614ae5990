//! Retention as it is asked for and answered: what goes, or went, with sums and a bounded list.

use serde::Serialize;
use tracelake_model::limits;
use tracelake_store::retention::ExpiredSegment;

/// What retention would remove, or has removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetentionReport {
    /// Nothing was removed.
    pub dry_run: bool,
    /// Whether any tenant has a limit.
    pub on: bool,
    /// Segments of which nothing stays.
    pub segments_removed: u64,
    /// Segments that are written anew without some tenants' spans.
    pub segments_rewritten: u64,
    /// Spans that go.
    pub spans_removed: u64,
    /// Bytes of segments that they take.
    pub bytes_removed: u64,
    /// The segments, oldest first, and why; only the first of many.
    pub segments: Vec<ExpiredSegment>,
    /// How many more there are.
    pub more_segments: u64,
}

impl RetentionReport {
    pub(crate) fn new(dry_run: bool, on: bool, mut segments: Vec<ExpiredSegment>) -> Self {
        let whole = segments.iter().filter(|segment| segment.whole).count();
        let listed_max = usize::try_from(limits::SEGMENTS_LISTED_MAX).unwrap_or(usize::MAX);
        let more = segments.len().saturating_sub(listed_max);
        let report = Self {
            dry_run,
            on,
            segments_removed: whole as u64,
            segments_rewritten: (segments.len() - whole) as u64,
            spans_removed: segments.iter().map(ExpiredSegment::spans).sum(),
            bytes_removed: segments.iter().map(ExpiredSegment::bytes_expired).sum(),
            segments: Vec::new(),
            more_segments: more as u64,
        };
        segments.truncate(listed_max);
        Self { segments, ..report }
    }
}
