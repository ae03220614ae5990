//! Removes what retention says: whole segments in one manifest commit, and segments that others still
//! need by writing them anew without the parts that go. docs/retention.md.
//!
//! Files it leaves to the compactor, which deletes them after the grace as it does all that no manifest
//! names. It works under the compactor's lock, so that no merge reads what it removes.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tracelake_format::manifest::SegmentEntry;
use tracelake_model::TenantId;
use ulid::Ulid;

use super::Store;
use super::compact::Work;
use crate::StoreError;
use crate::compaction::Merged;
use crate::env::CrashPoint;
use crate::retention::{ExpiredSegment, RetentionPolicy};

/// How often the compactor looks for what has expired: ages are of days.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What retention has done since the start.
#[derive(Debug, Default)]
pub(super) struct Retainer {
    looked_unix_nano: AtomicU64,
    segments_removed: AtomicU64,
    segments_rewritten: AtomicU64,
    spans_removed: AtomicU64,
    bytes_removed: AtomicU64,
    error: std::sync::Mutex<Option<String>>,
}

/// Retention at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RetentionStatus {
    /// Whether any tenant has a limit.
    pub on: bool,
    /// Segments removed since the start.
    pub segments_removed: u64,
    /// Segments written anew without some tenants' spans.
    pub segments_rewritten: u64,
    /// Spans removed; one that was there twice counts twice.
    pub spans_removed: u64,
    /// Bytes of segments that they took.
    pub bytes_removed: u64,
    /// Why the last attempt did not work.
    pub error: Option<String>,
}

impl Store {
    /// What retention would remove now. Segments that are known to be unreadable are not among it.
    pub fn retention_plan(&self) -> Vec<ExpiredSegment> {
        self.retention_plan_with(&self.inner.flusher.options.retention)
    }

    /// What other limits would remove now.
    pub fn retention_plan_with(&self, limits: &RetentionPolicy) -> Vec<ExpiredSegment> {
        self.plan_of(limits, &self.inner.flusher.current.get().manifest.segments)
    }

    fn plan_of(&self, limits: &RetentionPolicy, segments: &[SegmentEntry]) -> Vec<ExpiredSegment> {
        let readable = self.inner.compactor.mergeable(segments);
        limits.plan(self.inner.flusher.options.clock.now_unix_nano(), &readable)
    }

    /// Removes everything that has expired; what that was. Goes on if the caller does not wait for it.
    ///
    /// # Errors
    /// If the manifest cannot be written, or a segment cannot be rewritten; what was removed before stays
    /// so.
    pub async fn apply_retention(&self) -> Result<Vec<ExpiredSegment>, StoreError> {
        self.apply_retention_with(self.inner.flusher.options.retention.clone()).await
    }

    /// As [`Self::apply_retention`], with other limits.
    ///
    /// # Errors
    /// As there.
    pub async fn apply_retention_with(
        &self,
        limits: RetentionPolicy,
    ) -> Result<Vec<ExpiredSegment>, StoreError> {
        let store = self.clone();
        let steps = tokio::spawn(async move {
            let mut removed = Vec::new();
            loop {
                let step = store.retain_next(&limits).await?;
                if step.is_empty() {
                    return Ok(removed);
                }
                removed.extend(step);
            }
        });
        steps.await.map_err(|_| StoreError::TaskDied { what: "retention" })?
    }

    /// One step if it is time to look again; it is, until nothing more has expired.
    pub(super) async fn retain_if_due(&self) -> Result<(), StoreError> {
        let retainer = &self.inner.retainer;
        let options = &self.inner.flusher.options;
        let (now, looked) =
            (options.clock.now_unix_nano(), retainer.looked_unix_nano.load(Ordering::Relaxed));
        let waits = looked != 0 && now.abs_diff(looked) < LOOK_EVERY.as_nanos() as u64;
        if options.retention.is_off() || waits {
            return Ok(());
        }
        // Before it: what fails is tried again then, and keeps the compactor from nothing.
        retainer.looked_unix_nano.store(now, Ordering::Relaxed);
        if !self.retain_next(&options.retention).await?.is_empty() {
            retainer.looked_unix_nano.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes all whole segments that have expired, or rewrites one of which parts have; what went.
    async fn retain_next(&self, limits: &RetentionPolicy) -> Result<Vec<ExpiredSegment>, StoreError> {
        let _one_at_a_time = self.inner.compactor.merging.lock().await;
        let step = self.retain_step(limits).await;
        let error = step.as_ref().err().map(ToString::to_string);
        *self.inner.retainer.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        if let Err(error) = &step {
            self.inner.flusher.stop_if_final(error);
        }
        step
    }

    async fn retain_step(&self, limits: &RetentionPolicy) -> Result<Vec<ExpiredSegment>, StoreError> {
        // What an earlier commit came to may not be known yet; what it removed must not be removed again.
        let manifest = self.inner.show_resolved().await?;
        let plan = self.plan_of(limits, &manifest.segments);
        let entry = |id: Ulid| manifest.segments.iter().find(|segment| segment.meta.id == id).cloned();
        let (whole, partly): (Vec<_>, Vec<_>) = plan.into_iter().partition(|segment| segment.whole);
        let retainer = &self.inner.retainer;
        if !whole.is_empty() {
            let gone: Vec<SegmentEntry> = whole.iter().filter_map(|segment| entry(segment.id)).collect();
            self.inner.flusher.reach(CrashPoint::RetentionCommit)?;
            let nothing = Merged { outputs: Vec::new(), duplicates: 0 };
            self.inner.replace(&gone, &nothing, Work::Retention).await?;
            retainer.segments_removed.fetch_add(whole.len() as u64, Ordering::Relaxed);
            self.count(&whole);
            return Ok(whole);
        }
        let Some(segment) = partly.into_iter().next() else { return Ok(Vec::new()) };
        let Some(entry) = entry(segment.id) else { return Ok(Vec::new()) };
        let expired: BTreeSet<TenantId> = segment.parts.iter().map(|part| part.tenant.clone()).collect();
        let inputs = [entry];
        let rewritten = self.merge_and_commit(&inputs, &manifest, expired).await;
        if let Err(error) = &rewritten {
            self.inner.compactor.gave_up(&inputs, error);
        }
        rewritten?;
        retainer.segments_rewritten.fetch_add(1, Ordering::Relaxed);
        let step = vec![segment];
        self.count(&step);
        Ok(step)
    }

    fn count(&self, removed: &[ExpiredSegment]) {
        let retainer = &self.inner.retainer;
        let spans = removed.iter().map(ExpiredSegment::spans).sum();
        let bytes = removed.iter().map(ExpiredSegment::bytes_expired).sum();
        retainer.spans_removed.fetch_add(spans, Ordering::Relaxed);
        retainer.bytes_removed.fetch_add(bytes, Ordering::Relaxed);
        let segments = removed.len();
        tracing::info!(segments, spans, bytes, "retention removed what had expired");
    }

    pub(super) fn retention_status(&self) -> RetentionStatus {
        let retainer = &self.inner.retainer;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RetentionStatus {
            on: !self.inner.flusher.options.retention.is_off(),
            segments_removed: get(&retainer.segments_removed),
            segments_rewritten: get(&retainer.segments_rewritten),
            spans_removed: get(&retainer.spans_removed),
            bytes_removed: get(&retainer.bytes_removed),
            error: retainer.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
