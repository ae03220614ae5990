//! Where the time ranges of a merge's outputs begin, from the data. docs/compaction.md, "Slices".

/// A trace of a sample: its start, in nanoseconds since 1970, and its rows.
pub(super) type Sampled = (u64, u64);

/// Outputs that are written at once: each holds a row group and windows of the inputs.
pub(super) const SLICES_MAX: usize = 4;

/// Of the rows, so many in a hundred at either end may be far from the others.
const TAIL_PERCENT: u64 = 1;

/// Not far: an hour.
const NEAR_NANO: u64 = 3_600_000_000_000;

/// Starts of the second and later slices, ascending. Traces far from all others, as late ones are, get
/// slices of their own, so that the rest is narrow; the rest is divided into equal parts of `slices`.
pub(super) fn boundaries(mut sample: Vec<Sampled>, slices: u64) -> Vec<u64> {
    sample.sort_unstable();
    let rows: u64 = sample.iter().map(|(_, rows)| *rows).sum();
    let (Some((first, _)), Some((last, _))) = (sample.first().copied(), sample.last().copied()) else {
        return Vec::new();
    };
    let at = |wanted: u64| {
        let mut before = 0u64;
        let found = sample.iter().find(|(_, rows)| {
            before += rows;
            before > wanted
        });
        found.map_or(last, |(start, _)| *start)
    };
    let low = at(rows * TAIL_PERCENT / 100);
    let high = at(rows - rows * TAIL_PERCENT / 100);
    let far = high.saturating_sub(low).max(NEAR_NANO);
    let mut boundaries = Vec::new();
    let mut parts = SLICES_MAX as u64;
    let early = low.saturating_sub(far);
    if first < early {
        boundaries.push(early);
        parts -= 1;
    }
    let late = high.saturating_add(far);
    if last > late {
        boundaries.push(late);
        parts -= 1;
    }
    let parts = slices.clamp(1, parts);
    boundaries.extend((1..parts).map(|part| at(rows * part / parts)));
    boundaries.sort_unstable();
    boundaries.dedup();
    boundaries.retain(|boundary| *boundary > first);
    boundaries
}

#[cfg(test)]
mod tests;
