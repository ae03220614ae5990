//! What all traces that satisfy a condition are counted into.

use std::ops::Range;

use serde::Serialize;

/// What was counted of all pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Traces that satisfy the condition, or spans that match.
    pub count: u64,
    /// The same over time; none if it was not asked for.
    pub histogram: Option<Histogram>,
}

/// Traces over time, each at the start of its first matching span; or those spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// Where the first part begins, in nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// How long each part is.
    pub width_nano: u64,
    /// How many are in each part.
    pub counts: Vec<u64>,
}

impl Totals {
    /// Of nothing yet; with a histogram of so many parts of a range, if it is asked for.
    pub(super) fn new(histogram: Option<(usize, Range<u64>)>) -> Self {
        let histogram = histogram.filter(|(parts, _)| *parts > 0).map(|(parts, range)| {
            let length = range.end.saturating_sub(range.start).max(1);
            Histogram {
                start_unix_nano: range.start,
                width_nano: length.div_ceil(parts as u64),
                counts: vec![0; parts],
            }
        });
        Self { count: 0, histogram }
    }

    pub(super) fn add(&mut self, start_unix_nano: u64) {
        self.count += 1;
        let Some(histogram) = &mut self.histogram else { return };
        let part = start_unix_nano.saturating_sub(histogram.start_unix_nano) / histogram.width_nano;
        let last = histogram.counts.len().saturating_sub(1);
        if let Some(count) = histogram.counts.get_mut((part as usize).min(last)) {
            *count += 1;
        }
    }
}
