//! Durations counted in bounded memory: buckets of 1/64 of their value, so that a percentile is read
//! within 1.6 %, however long a run lasts.

use std::time::Duration;

/// Buckets of one power of two.
const STEPS: u64 = 64;
/// Microseconds above which everything is in the last bucket: some 19 hours.
const MICROS_MAX: u64 = (1 << 36) - 1;

/// Durations, counted.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; bucket(MICROS_MAX) + 1], count: 0, max: Duration::ZERO }
    }

    pub(super) fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(MICROS_MAX);
        self.counts[bucket(micros)] += 1;
        self.count += 1;
        self.max = self.max.max(duration);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn max_ms(&self) -> f64 {
        self.max.as_secs_f64() * 1e3
    }

    /// The duration that `percent` of a hundred do not exceed, in milliseconds; 0 if there are none.
    pub(super) fn percentile_ms(&self, percent: f64) -> f64 {
        let rank = ((self.count as f64 * percent / 100.0).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return (upper_micros(bucket) as f64 / 1e3).min(self.max_ms());
            }
        }
        0.0
    }
}

/// Exact below 64 µs; above, 64 buckets for each power of two.
fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = 63 - micros.leading_zeros() - STEPS.trailing_zeros();
    ((u64::from(power) + 1) * STEPS + (micros >> power) - STEPS) as usize
}

/// The largest number of microseconds of a bucket.
fn upper_micros(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let power = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS + 1) << power) - 1
}

#[cfg(test)]
mod tests;
