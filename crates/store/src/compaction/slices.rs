//! What the outputs of a merge cover: time ranges, and shards where those would be narrow, chosen from the data.
//! docs/compaction.md, "Slices".

use std::ops::Range;

/// A trace of a sample: its start, in nanoseconds since 1970, and its rows.
pub(super) type Sampled = (u64, u64);

/// Outputs that are written at once: each holds a row group and windows of the inputs.
pub(super) const SLICES_MAX: usize = 4;

/// Of the rows, so many in a hundred at either end may be far from the others.
const TAIL_PERCENT: u64 = 1;

/// Not far: an hour.
const NEAR_NANO: u64 = 3_600_000_000_000;

/// Slices are no narrower than a minute, as most traces would be in two of them; what is more than a slice of that
/// is divided by shards.
const WIDTH_NANO_MIN: u64 = 60_000_000_000;

/// 2000-01-01.
const POSSIBLE_NANO_MIN: u64 = 946_684_800_000_000_000;

/// How far ahead of the clock a time may be: a day.
const AHEAD_NANO_MAX: u64 = 24 * NEAR_NANO;

/// Which traces go together into an output: by their start, and among those in the middle by their shard, which is
/// a range of the hashes of their IDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slices {
    /// Where the second and later time ranges begin, ascending.
    starts: Vec<u64>,
    /// The time ranges that are divided into shards.
    divided: Range<usize>,
    shards: usize,
}

impl Slices {
    /// So many slices of about one size. Traces far from all others, as late ones are, get slices of their own, so
    /// that the rest is narrow; so do those with impossible times, however many they are.
    pub(super) fn of(mut sample: Vec<Sampled>, slices: u64, now_unix_nano: u64) -> Self {
        sample.sort_unstable();
        let (Some((first, _)), Some((last, _))) = (sample.first().copied(), sample.last().copied()) else {
            return Self { starts: Vec::new(), divided: 0..1, shards: 1 };
        };
        let possible = POSSIBLE_NANO_MIN..now_unix_nano.saturating_add(AHEAD_NANO_MAX).max(POSSIBLE_NANO_MIN);
        let begin = sample.partition_point(|(start, _)| *start < possible.start);
        let end = sample.partition_point(|(start, _)| *start < possible.end);
        // Where all times are impossible, no clock was right.
        let ordinary = sample.get(begin..end).filter(|ordinary| !ordinary.is_empty()).unwrap_or(&sample);
        let rows: u64 = ordinary.iter().map(|(_, rows)| *rows).sum();
        let at = |wanted: u64| {
            let mut before = 0u64;
            let found = ordinary.iter().find(|(_, rows)| {
                before += rows;
                before > wanted
            });
            found.map_or(last, |(start, _)| *start)
        };
        let low = at(rows * TAIL_PERCENT / 100);
        let high = at(rows - rows * TAIL_PERCENT / 100);
        let far = high.saturating_sub(low).max(NEAR_NANO);
        let possible_or_all = if ordinary.len() == sample.len() { 0..u64::MAX } else { possible };
        let early = low.saturating_sub(far).max(possible_or_all.start);
        let late = high.saturating_add(far).min(possible_or_all.end);
        let (has_early, has_late) = (first < early, last >= late);
        let parts = (SLICES_MAX - usize::from(has_early) - usize::from(has_late)) as u64;
        let wanted = slices.clamp(1, parts);
        let ranges = wanted.min((high.saturating_sub(low) / WIDTH_NANO_MIN).max(1));
        let mut starts: Vec<u64> = (1..ranges).map(|range| at(rows * range / ranges)).collect();
        starts.dedup();
        starts.retain(|start| *start > first.max(early));
        let divided = usize::from(has_early)..usize::from(has_early) + starts.len() + 1;
        if has_early {
            starts.insert(0, early);
        }
        if has_late {
            starts.push(late);
        }
        Self { starts, divided, shards: (wanted / ranges) as usize }
    }

    /// The slice of a trace, below [`SLICES_MAX`].
    pub(super) fn of_trace(&self, start_unix_nano: u64, hash: u64) -> usize {
        let range = self.starts.partition_point(|start| *start <= start_unix_nano);
        let Range { start, end } = self.divided;
        if range < start {
            return range;
        }
        if range >= end {
            return start + (end - start) * self.shards + (range - end);
        }
        let shard = (u128::from(hash) * self.shards as u128) >> 64;
        start + (range - start) * self.shards + shard as usize
    }
}

#[cfg(test)]
mod tests;
