//! The budget of bytes that all requests share, and each one's part of it.
//!
//! Bytes are taken as they arrive, not as they are announced: whoever announces much and sends
//! little must not lock others out. There is no waiting: a request that does not fit is told to
//! come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracelake::ErrorKind;

use crate::rejection::Rejection;

/// The budget.
#[derive(Debug)]
pub(crate) struct InFlight {
    bytes: AtomicU64,
    bytes_max: u64,
}

/// One request's part. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    in_flight: Arc<InFlight>,
    held: u64,
}

impl InFlight {
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(0), bytes_max })
    }

    /// What is taken now, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A part of nothing yet.
    pub(crate) fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { in_flight: Arc::clone(self), held: 0 }
    }

    /// Whether so many more bytes would fit at the moment.
    pub(crate) fn would_fit(&self, bytes: u64) -> Result<(), Rejection> {
        if self.bytes().saturating_add(bytes) <= self.bytes_max { Ok(()) } else { Err(self.full()) }
    }

    fn full(&self) -> Rejection {
        let message = format!(
            "requests being worked on fill in_flight_bytes_max ({} bytes); try again later",
            self.bytes_max
        );
        Rejection::new(ErrorKind::Throttled, message)
    }
}

impl Reservation {
    /// Takes more.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Rejection> {
        let max = self.in_flight.bytes_max;
        let taken = self.in_flight.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            now.checked_add(bytes).filter(|sum| *sum <= max)
        });
        match taken {
            Ok(_) => {
                self.held += bytes;
                Ok(())
            }
            Err(_) => Err(self.in_flight.full()),
        }
    }

    /// Gives back what is above so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let freed = self.held.saturating_sub(bytes);
        self.in_flight.bytes.fetch_sub(freed, Ordering::Relaxed);
        self.held -= freed;
    }

    /// The whole part, to be taken to another thread; this one keeps nothing.
    pub(crate) fn split(&mut self) -> Self {
        Self { in_flight: Arc::clone(&self.in_flight), held: std::mem::take(&mut self.held) }
    }

    /// Takes over another part of the same budget.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.held += std::mem::take(&mut other.held);
    }

    /// What this part is, in bytes.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests;
