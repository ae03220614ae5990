//! The time of day, as the store knows it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time. It may jump: nothing that must be monotonic is taken from it.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// Nanoseconds since 1970.
    fn now_unix_nano(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_unix_nano(&self) -> u64 {
        // Before 1970 only if the machine's clock is unset; 0 is then as good as any time.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}
