//! Which segments are merged next. docs/compaction.md, "Policy".
//!
//! A flush makes many small segments of level 0, and a lookup asks each. Enough of them together become
//! a slice at once, which in the normal case is the one time that a row is written again. Where there is
//! little traffic, enough of them are far from a slice in size: what they become is merged again with
//! others of its size.

use tracelake_format::manifest::SegmentEntry;
use tracelake_model::limits;
use ulid::Ulid;

/// When segments are merged, and how large they become.
#[derive(Debug, Clone, Copy)]
pub struct CompactionPolicy {
    /// The size that slices have.
    pub slice_bytes: u64,
    /// So many segments of level 0 are merged even if they are small.
    pub flushed_segments_max: usize,
    /// When so many wait, spans are turned down.
    pub flushed_segments_waiting_max: u64,
    /// So many slices of about one size are merged, if they are small.
    pub similar_slices_max: usize,
    /// Segments that are merged at once.
    pub inputs_max: usize,
    /// Slices whose newest spans end further apart than this, in nanoseconds, are not merged: as the whole
    /// goes when its newest span expires, the older would be kept so much longer.
    pub ends_apart_max: u64,
}

impl Default for CompactionPolicy {
    fn default() -> Self {
        Self {
            slice_bytes: limits::SLICE_BYTES,
            flushed_segments_max: limits::FLUSHED_SEGMENTS_MAX as usize,
            flushed_segments_waiting_max: limits::FLUSHED_SEGMENTS_WAITING_MAX,
            similar_slices_max: limits::SIMILAR_SLICES_MAX as usize,
            inputs_max: limits::MERGE_INPUTS_MAX as usize,
            ends_apart_max: u64::MAX,
        }
    }
}

/// A merge reads at most this many times a slice: what it leaves for deletion needs space.
const INPUT_SLICES_MAX: u64 = 4;

/// Slices whose sizes differ by less are of one size.
const SIZE_RATIO: u64 = 4;

impl CompactionPolicy {
    /// What to merge now; nothing if all is well.
    pub fn next(&self, segments: &[&SegmentEntry]) -> Option<Vec<SegmentEntry>> {
        let flushed = flushed(segments);
        let bytes: u64 = flushed.iter().map(|segment| segment.meta.size_bytes).sum();
        if flushed.len() >= self.flushed_segments_max.max(2)
            || (flushed.len() > 1 && bytes >= self.slice_bytes)
        {
            return Some(self.fitting(flushed));
        }
        self.similar(segments)
    }

    /// What to merge so that few segments remain, whatever it costs; nothing when that is so.
    pub fn next_of_all(&self, segments: &[&SegmentEntry]) -> Option<Vec<SegmentEntry>> {
        let flushed = flushed(segments);
        if !flushed.is_empty() {
            return Some(self.fitting(flushed));
        }
        let mut small: Vec<&SegmentEntry> = segments
            .iter()
            .copied()
            .filter(|segment| segment.meta.size_bytes < self.slice_bytes / 2)
            .collect();
        small.sort_by_key(|segment| self.place(segment));
        (0..small.len()).find_map(|first| {
            let rest = small.get(first..)?;
            let group = rest.iter().take_while(|other| self.end_near(rest.first(), other)).copied();
            let group: Vec<&SegmentEntry> = group.collect();
            (group.len() >= self.similar_slices_max).then(|| self.fitting(group))
        })
    }

    /// By what slices are neighbours: their times, or where these may be too far apart, their ends.
    fn place(&self, segment: &SegmentEntry) -> (u64, Ulid) {
        let meta = &segment.meta;
        let limited = self.ends_apart_max < u64::MAX;
        (if limited { meta.end_unix_nano_max } else { meta.start_unix_nano_min }, meta.id)
    }

    /// Whether the later of two slices ends near enough to the earlier.
    fn end_near(&self, first: Option<&&SegmentEntry>, last: &SegmentEntry) -> bool {
        let first = first.map_or(0, |first| first.meta.end_unix_nano_max);
        last.meta.end_unix_nano_max.saturating_sub(first) <= self.ends_apart_max
    }

    /// Above so many segments that wait a merge rests no longer for others: a tenth of the way from where merges
    /// begin to where spans are turned down.
    pub fn resting_segments_max(&self) -> u64 {
        let merged = self.flushed_segments_max as u64;
        merged.saturating_add(self.flushed_segments_waiting_max.saturating_sub(merged) / 10)
    }

    /// How many segments of level 0 wait to be merged, and their bytes.
    pub fn backlog(segments: &[&SegmentEntry]) -> (u64, u64) {
        let flushed = segments.iter().filter(|segment| segment.meta.level == 0);
        flushed.fold((0, 0), |(count, bytes), segment| (count + 1, bytes + segment.meta.size_bytes))
    }

    /// The first of them, as many as one merge may have.
    fn fitting(&self, segments: Vec<&SegmentEntry>) -> Vec<SegmentEntry> {
        let bytes_max = self.slice_bytes.saturating_mul(INPUT_SLICES_MAX);
        let mut bytes = 0u64;
        let mut inputs: Vec<SegmentEntry> = Vec::new();
        for segment in segments.into_iter().take(self.inputs_max) {
            bytes = bytes.saturating_add(segment.meta.size_bytes);
            if bytes > bytes_max && inputs.len() > 1 {
                break;
            }
            inputs.push(segment.clone());
        }
        inputs
    }

    /// Slices of one size that are next to each other in time, if there are too many.
    fn similar(&self, segments: &[&SegmentEntry]) -> Option<Vec<SegmentEntry>> {
        let mut size_max = self.slice_bytes / 2;
        while size_max > 0 {
            let size_min = size_max / SIZE_RATIO;
            let mut similar: Vec<&SegmentEntry> = segments
                .iter()
                .copied()
                .filter(|segment| segment.meta.level > 0)
                .filter(|segment| (size_min..size_max).contains(&segment.meta.size_bytes))
                .collect();
            if similar.len() >= self.similar_slices_max.max(2) {
                similar.sort_by_key(|segment| self.place(segment));
                let span = |group: &[&SegmentEntry]| {
                    let first =
                        group.iter().map(|segment| segment.meta.start_unix_nano_min).min().unwrap_or(0);
                    let last = group.iter().map(|segment| segment.meta.start_unix_nano_max).max();
                    last.unwrap_or(0).saturating_sub(first)
                };
                let groups = similar.windows(self.similar_slices_max.max(2));
                let near = groups
                    .filter(|group| group.last().is_some_and(|last| self.end_near(group.first(), last)));
                if let Some(closest) = near.min_by_key(|group| span(group)) {
                    return Some(self.fitting(closest.to_vec()));
                }
            }
            size_max = size_min;
        }
        None
    }
}

/// Segments of level 0, oldest first.
fn flushed<'s>(segments: &[&'s SegmentEntry]) -> Vec<&'s SegmentEntry> {
    let mut flushed: Vec<_> = segments.iter().copied().filter(|segment| segment.meta.level == 0).collect();
    flushed.sort_by_key(|segment| (segment.meta.generation_min, segment.meta.id));
    flushed
}

#[cfg(test)]
mod tests;
