//! The requests that were stored lately, by hash, so that one that is sent again is acknowledged and
//! not stored again; and those that are being stored, so that a second copy waits for the first.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hashbrown::HashMap;
use tokio::sync::watch;
use tracelake_model::limits;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The table. Shared by all who take requests in. The hash must cover the tenant.
#[derive(Debug, Default)]
pub struct RecentRequests {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Arrival in seconds of what is stored.
    stored: HashMap<u128, u64, foldhash::fast::RandomState>,
    /// The same, oldest first.
    order: VecDeque<(u128, u64)>,
    in_flight: HashMap<u128, watch::Receiver<bool>, foldhash::fast::RandomState>,
}

/// What a request is.
#[derive(Debug)]
pub enum Begin {
    /// Not seen lately: store it.
    New(RequestGuard),
    /// Stored already.
    Repeated,
    /// Another copy of it is being stored. Await it: true, that one is stored; false, it failed, so
    /// begin again.
    InFlight(InFlight),
}

/// The right to store a request. It belongs to what is appended ([`super::Append::attached`]), not to
/// who waits for the answer: a client that goes away does not take its request back.
pub struct RequestGuard {
    requests: Arc<RecentRequests>,
    hash: u128,
    arrival_seconds: u64,
    outcome: watch::Sender<bool>,
    acknowledged: bool,
}

/// Resolves when another copy of the request is stored (true) or has failed (false).
pub struct InFlight(Pin<Box<dyn Future<Output = bool> + Send>>);

impl RecentRequests {
    /// A table with what a recovery found: (hash, arrival in seconds since 1970), oldest first.
    pub fn new(recovered: Vec<(u128, u64)>) -> Arc<Self> {
        let mut table = Table::default();
        for (hash, arrival_seconds) in recovered {
            table.insert(hash, arrival_seconds);
        }
        Arc::new(Self { table: Mutex::new(table) })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change to the table is whole before anything in it can panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a request up and, if it is new, notes that it is being stored.
    pub fn begin(self: &Arc<Self>, hash: u128, now_unix_nano: u64) -> Begin {
        let now_seconds = now_unix_nano / NANOS_PER_SECOND;
        let mut table = self.table();
        table.expire(now_seconds);
        if table.stored.contains_key(&hash) {
            return Begin::Repeated;
        }
        if let Some(first) = table.in_flight.get(&hash) {
            let mut first = first.clone();
            return Begin::InFlight(InFlight(Box::pin(async move {
                first.wait_for(|stored| *stored).await.is_ok()
            })));
        }
        let outcome = watch::Sender::new(false);
        table.in_flight.insert(hash, outcome.subscribe());
        let requests = Arc::clone(self);
        Begin::New(RequestGuard {
            requests,
            hash,
            arrival_seconds: now_seconds,
            outcome,
            acknowledged: false,
        })
    }

    /// What is stored and not too old, oldest first.
    pub fn snapshot(&self, now_unix_nano: u64) -> Vec<(u128, u64)> {
        let mut table = self.table();
        table.expire(now_unix_nano / NANOS_PER_SECOND);
        table.order.iter().copied().collect()
    }

    /// Number of stored requests that are known.
    pub fn len(&self) -> usize {
        self.table().stored.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn insert(&mut self, hash: u128, arrival_seconds: u64) {
        if self.stored.insert(hash, arrival_seconds).is_some() {
            return;
        }
        self.order.push_back((hash, arrival_seconds));
        if self.order.len() as u64 > limits::DEDUP_REQUESTS_MAX {
            self.forget_oldest();
        }
    }

    fn expire(&mut self, now_seconds: u64) {
        // A clock that was set back only keeps them longer; the number is bounded all the same.
        while self.order.front().is_some_and(|(_, arrival)| arrival + limits::DEDUP_SECONDS_MAX < now_seconds)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((hash, _)) = self.order.pop_front() {
            self.stored.remove(&hash);
        }
    }
}

impl RequestGuard {
    /// The request is durable: from now on it is recognised, and who waits for it is told.
    pub fn acknowledged(mut self) {
        let mut table = self.requests.table();
        table.in_flight.remove(&self.hash);
        table.insert(self.hash, self.arrival_seconds);
        drop(table);
        self.acknowledged = true;
        self.outcome.send_replace(true);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if !self.acknowledged {
            self.requests.table().in_flight.remove(&self.hash);
        }
    }
}

impl Future for InFlight {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFlight")
    }
}

impl fmt::Debug for RequestGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestGuard").field("hash", &self.hash).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
