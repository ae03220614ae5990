//! What the WAL's thread does with a group once it is durable.

use std::io;
use std::sync::Arc;

use ulid::Ulid;

use super::{Pending, Signals};
use crate::env::Clock;
use crate::memtable::Memtable;
use crate::snapshot::Current;
use crate::wal::{AfterPublish, RecentRequests, RequestGuard, WalSink};

/// Publishes durable groups in the active memtable, and freezes it where the WAL changes files.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) wal: Ulid,
    pub(super) current: Arc<Current>,
    pub(super) recent: Arc<RecentRequests>,
    pub(super) signals: Arc<Signals>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) generation_bytes_max: u64,
    pub(super) frozen_generations_max: usize,
}

impl WalSink<Pending> for Sink {
    fn publish(&mut self, group: Vec<Pending>) -> AfterPublish {
        let active = self.current.active();
        let mut guards = Vec::with_capacity(group.len());
        active.publish(group.into_iter().map(|pending| {
            guards.push(pending.guard);
            (pending.tenant, pending.batch, pending.arrival_unix_nano)
        }));
        guards.into_iter().for_each(RequestGuard::acknowledged);
        let full = active.size().heap_bytes >= self.generation_bytes_max;
        // With no room for another frozen one it grows on; `wait_for_room` lets nothing more in.
        if full && self.current.frozen_len() < self.frozen_generations_max {
            AfterPublish::Rotate
        } else {
            AfterPublish::Continue
        }
    }

    fn last_cuts(&self) -> [bool; 2] {
        self.current.active().last_cuts()
    }

    fn rotated(&mut self, new_sequence: u64) -> io::Result<()> {
        self.current.freeze(Arc::new(Memtable::new(self.wal, new_sequence)));
        self.signals.frozen.notify_one();
        Ok(())
    }

    fn recent_requests(&mut self) -> Vec<(u128, u64)> {
        self.recent.snapshot(self.clock.now_unix_nano())
    }

    fn poisoned(&mut self, reason: &str) {
        self.signals.fail(reason);
    }
}
