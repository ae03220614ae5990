//! Keeps the number of segments low in the background: chooses, merges, commits, and deletes what was
//! replaced once nobody can still read it.
//!
//! A crash leaves either the inputs or the outputs in the manifest. Files that no manifest names are
//! found and deleted after the same grace; a file that the manifest names is never deleted.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Serialize;
use tokio::runtime::Handle;
use tracelake_format::manifest::{Commit, SegmentEntry, State as ManifestState};
use tracelake_model::TenantId;
use ulid::Ulid;

use super::{Inner, Store};
use crate::StoreError;
use crate::compaction::policy::CompactionPolicy;
use crate::compaction::{MergeEnv, Merged, merge};
use crate::env::CrashPoint;
use crate::manifest_log::ManifestError;
use crate::segments::{SEGMENTS, segment_id};

/// How often the compactor looks for work.
const TICK: Duration = Duration::from_secs(1);

/// How often it looks for files that no manifest names.
const ORPHANS_EVERY: Duration = Duration::from_secs(600);

/// After a merge that failed, doubled each time up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(5);

/// What fails for long is not mended by reading it all over again and again.
const RETRY_MAX: Duration = Duration::from_secs(600);

/// While a memtable waits behind the one that is being flushed, or queries read on all cores, a merge rests this long
/// after every chunk of rows, which takes some milliseconds: most of a core is then theirs.
const YIELD: Duration = Duration::from_millis(20);

/// What compaction has done since the start.
#[derive(Debug, Default)]
pub(super) struct Compactor {
    /// One merge at a time, and no retention meanwhile.
    pub(super) merging: tokio::sync::Mutex<()>,
    /// Segments that could not be merged, as they are damaged or gone: each would keep all others from it.
    unmergeable: Mutex<HashSet<Ulid>>,
    /// Files that the manifest no longer names, and when that began, in nanoseconds since 1970.
    replaced: Mutex<HashMap<String, u64>>,
    orphans_looked_for_unix_nano: AtomicU64,
    merges: AtomicU64,
    rows: AtomicU64,
    duplicates: AtomicU64,
    rests: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    files_deleted: AtomicU64,
    error: Mutex<Option<String>>,
}

/// For what segments are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// All that was in the inputs is in the outputs.
    Merge,
    /// What has expired is not.
    Retention,
}

impl Work {
    /// The steps before anything is read, before the commit, and after it.
    fn crash_points(self) -> [CrashPoint; 3] {
        match self {
            Self::Merge => {
                [CrashPoint::CompactionMerge, CrashPoint::CompactionCommit, CrashPoint::CompactionSwap]
            }
            Self::Retention => {
                [CrashPoint::RetentionRewrite, CrashPoint::RetentionCommit, CrashPoint::RetentionSwap]
            }
        }
    }
}

/// Compaction at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CompactionStatus {
    /// Segments of level 0, which wait to be merged.
    pub waiting_segments: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Segments that are left out of merges since the start, as they could not be read.
    pub unmergeable_segments: u64,
    /// Merges since the start.
    pub merges: u64,
    /// Rows that they wrote.
    pub rows: u64,
    /// Rows that they left out, as others were the same.
    pub duplicates: u64,
    /// How often they rested, so that a flush or queries got on.
    pub rests: u64,
    /// Bytes of the segments that they read.
    pub bytes_read: u64,
    /// Bytes of the segments that they wrote.
    pub bytes_written: u64,
    /// Files that wait to be deleted.
    pub replaced_files: u64,
    /// Files deleted since the start.
    pub files_deleted: u64,
    /// Why the last merge did not work.
    pub error: Option<String>,
}

impl Store {
    /// Runs until the store stops.
    pub(super) fn spawn_compactor(&self) {
        let store = self.clone();
        let task = tokio::spawn(async move { store.run_compactor().await });
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    async fn run_compactor(&self) {
        let inner = &self.inner;
        let mut stopping = inner.flusher.signals.stopping.subscribe();
        let mut retry = RETRY_MIN;
        loop {
            if inner.flusher.signals.failure().is_some() || *stopping.borrow_and_update() {
                return;
            }
            if let Err(error) = inner.delete_unnamed().await {
                tracing::warn!(%error, "a replaced segment could not be deleted yet");
            }
            match self.retain_if_due().await {
                Ok(()) => {}
                Err(StoreError::Stopped { .. }) => return,
                Err(error) => tracing::warn!(%error, "what has expired could not be removed yet"),
            }
            let wait = match self.merge_next(CompactionPolicy::next).await {
                Ok(true) => {
                    retry = RETRY_MIN;
                    continue;
                }
                Ok(false) => TICK,
                Err(StoreError::Stopped { .. }) => return,
                Err(error) => {
                    tracing::warn!(%error, "a merge of segments failed and will be tried again");
                    let wait = retry;
                    retry = (2 * retry).min(RETRY_MAX);
                    wait
                }
            };
            let _ = tokio::time::timeout(wait, stopping.changed()).await;
        }
    }

    /// Merges until few segments remain, whatever it costs. Goes on if the caller does not wait for it.
    ///
    /// # Errors
    /// If segments cannot be read or written; what was merged before stays so.
    pub async fn compact(&self) -> Result<CompactionStatus, StoreError> {
        let store = self.clone();
        let merges = tokio::spawn(async move {
            while store.merge_next(CompactionPolicy::next_of_all).await? {}
            Ok(store.status().compaction)
        });
        merges.await.map_err(|_| StoreError::TaskDied { what: "a merge of segments" })?
    }

    /// Merges what is chosen of the live segments; whether there was anything.
    async fn merge_next(
        &self,
        choose: fn(&CompactionPolicy, &[&SegmentEntry]) -> Option<Vec<SegmentEntry>>,
    ) -> Result<bool, StoreError> {
        let compactor = &self.inner.compactor;
        let _one_at_a_time = compactor.merging.lock().await;
        // What an earlier commit came to may not be known yet; its inputs must not be merged again.
        let manifest = self.inner.show_resolved().await?;
        let policy = &self.inner.flusher.options.compaction;
        let Some(inputs) = choose(policy, &compactor.mergeable(&manifest.segments)) else {
            return Ok(false);
        };
        let merged = self.merge_and_commit(&inputs, &manifest, BTreeSet::new()).await;
        match &merged {
            Ok(merged) => compactor.count(&inputs, merged),
            Err(error) => compactor.gave_up(&inputs, error),
        }
        *compactor.error.lock().unwrap_or_else(PoisonError::into_inner) =
            merged.as_ref().err().map(ToString::to_string);
        if let Err(error) = &merged {
            self.inner.flusher.stop_if_final(error);
        }
        merged.map(|_| true)
    }

    /// Writes the inputs anew, without the rows of tenants whose part of them has expired.
    pub(super) async fn merge_and_commit(
        &self,
        inputs: &[SegmentEntry],
        manifest: &ManifestState,
        expired: BTreeSet<TenantId>,
    ) -> Result<Merged, StoreError> {
        let flusher = &self.inner.flusher;
        let work = if expired.is_empty() { Work::Merge } else { Work::Retention };
        let [before_reading, before_commit, _] = work.crash_points();
        flusher.reach(before_reading)?;
        let store = self.clone();
        let columns = manifest.attribute_columns.clone();
        let sources = inputs.to_vec();
        // Until the commit: what is in no manifest and is not being written may be deleted.
        let begun = Arc::new(Mutex::new(Vec::new()));
        let outputs_begun = Arc::clone(&begun);
        let runtime = Handle::current();
        let merged = tokio::task::spawn_blocking(move || {
            let inner = &store.inner;
            let env = MergeEnv {
                runtime,
                segments: &inner.flusher.segments,
                object_store: Arc::clone(&inner.flusher.options.object_store),
                writer_options: inner.flusher.options.segment_writer.clone(),
                now_unix_nano: inner.flusher.options.clock.now_unix_nano(),
                slice_bytes: inner.flusher.options.compaction.slice_bytes,
                next_id: &|| {
                    let segment = inner.flusher.begin_segment();
                    let id = segment.id();
                    outputs_begun.lock().unwrap_or_else(PoisonError::into_inner).push(segment);
                    id
                },
                between: &|| inner.yield_to_others(),
                before_output: &|| inner.flusher.reach(CrashPoint::MergeOutput),
            };
            merge(&env, &sources, &columns, &expired)
        })
        .await
        .map_err(|_| StoreError::TaskDied { what: "a merge of segments" })??;
        flusher.reach(before_commit)?;
        let replaced = self.inner.replace(inputs, &merged, work).await;
        drop(begun);
        replaced.map(|()| merged)
    }
}

impl Compactor {
    /// The segments that can be merged, as far as is known.
    pub(super) fn mergeable<'s>(&self, segments: &'s [SegmentEntry]) -> Vec<&'s SegmentEntry> {
        let unmergeable = self.unmergeable.lock().unwrap_or_else(PoisonError::into_inner);
        segments.iter().filter(|segment| !unmergeable.contains(&segment.meta.id)).collect()
    }

    /// A merge failed.
    pub(super) fn gave_up(&self, inputs: &[SegmentEntry], error: &StoreError) {
        self.leave_out(inputs, error);
        // What it wrote takes space that others may need.
        self.orphans_looked_for_unix_nano.store(0, Ordering::Relaxed);
    }

    fn count(&self, inputs: &[SegmentEntry], merged: &Merged) {
        let outputs = merged.outputs.iter().map(|output| &output.entry.meta);
        let add = |counter: &AtomicU64, value: u64| counter.fetch_add(value, Ordering::Relaxed);
        add(&self.merges, 1);
        add(&self.rows, outputs.clone().map(|meta| meta.rows).sum());
        add(&self.duplicates, merged.duplicates);
        add(&self.bytes_read, inputs.iter().map(|input| input.meta.size_bytes).sum());
        add(&self.bytes_written, outputs.map(|meta| meta.size_bytes).sum());
    }

    /// Leaves out what made a merge fail, if it is a segment and not the world around.
    fn leave_out(&self, inputs: &[SegmentEntry], error: &StoreError) {
        let culprits: Vec<&SegmentEntry> = match error.damaged_segment() {
            Some(path) => inputs.iter().filter(|input| input.path == path).collect(),
            // An invariant did not hold: any of them may be why.
            None if matches!(error, StoreError::TaskDied { .. }) => inputs.iter().collect(),
            None => Vec::new(),
        };
        for culprit in &culprits {
            tracing::error!(segment = culprit.path, %error, "a segment is left out of merges");
        }
        let ids = culprits.iter().map(|culprit| culprit.meta.id);
        self.unmergeable.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    /// How many segments wait to be merged, and their bytes.
    fn backlog(&self, segments: &[SegmentEntry]) -> (u64, u64) {
        CompactionPolicy::backlog(&self.mergeable(segments))
    }
}

impl Inner {
    /// Says so if so many segments wait to be merged that no more may come.
    pub(super) fn backlog_over_limit(&self) -> Option<StoreError> {
        let segments = &self.flusher.current.get().manifest.segments;
        let waiting_max = self.flusher.options.compaction.flushed_segments_waiting_max;
        if (segments.len() as u64) < waiting_max {
            return None;
        }
        let waiting = self.compactor.backlog(segments).0;
        (waiting >= waiting_max).then_some(StoreError::Backlogged { waiting, waiting_max })
    }

    /// The manifest when nothing is pending any more, which the snapshot then shows.
    pub(super) async fn show_resolved(&self) -> Result<Arc<ManifestState>, StoreError> {
        let _committing = self.flusher.committing.lock().await;
        let manifest = self.flusher.log.resolve().await?;
        self.flusher.current.set_manifest(Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Between two chunks of a merge.
    fn yield_to_others(&self) -> Result<(), StoreError> {
        let signals = &self.flusher.signals;
        if *signals.stopping.borrow() {
            return Err(StoreError::Stopped { reason: "the store is shutting down".to_owned() });
        }
        if let Some(reason) = signals.failure() {
            return Err(StoreError::Stopped { reason });
        }
        let options = &self.flusher.options;
        let flush_waits = self.flusher.current.frozen_len() >= options.frozen_generations_max.min(2);
        if flush_waits || self.flusher.segments.is_read_on_all_cores() {
            let manifest = self.flusher.current.get().manifest;
            if self.compactor.backlog(&manifest.segments).0 <= options.compaction.resting_segments_max() {
                self.compactor.rests.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(YIELD);
            }
        }
        Ok(())
    }

    /// Outputs take the place of the inputs, in one step.
    pub(super) async fn replace(
        &self,
        inputs: &[SegmentEntry],
        merged: &Merged,
        work: Work,
    ) -> Result<(), StoreError> {
        let commit = Commit {
            segments_added: merged.outputs.iter().map(|output| output.entry.clone()).collect(),
            segments_removed: inputs.iter().map(|input| input.meta.id).collect(),
            retention: work == Work::Retention,
            ..Commit::default()
        };
        for output in &merged.outputs {
            self.flusher.segments.remember(&output.written).await;
        }
        {
            let _committing = self.flusher.committing.lock().await;
            let manifest = self.commit_replacement(commit).await?;
            let [.., before_swap] = work.crash_points();
            self.flusher.reach(before_swap)?;
            let live: HashSet<Ulid> = manifest.segments.iter().map(|entry| entry.meta.id).collect();
            self.flusher.current.set_manifest(manifest);
            let being_written = self.flusher.being_written();
            self.flusher.segments.retain(|id| live.contains(id) || being_written.contains(id)).await;
        }
        let now = self.flusher.options.clock.now_unix_nano();
        let mut replaced = self.compactor.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.extend(inputs.iter().map(|input| (input.path.clone(), now)));
        Ok(())
    }

    /// Commits until it is known whether that happened.
    async fn commit_replacement(&self, commit: Commit) -> Result<Arc<ManifestState>, StoreError> {
        let log = &self.flusher.log;
        match log.commit(commit.clone()).await {
            // Whoever commits next finishes it; so the outcome is known when that is possible again.
            Err(ManifestError::Unknown { .. }) => {
                let state = log.resolve().await?;
                let live: HashSet<Ulid> = state.segments.iter().map(|segment| segment.meta.id).collect();
                let added = commit.segments_added.iter().all(|added| live.contains(&added.meta.id));
                if added && commit.segments_removed.iter().all(|removed| !live.contains(removed)) {
                    Ok(state)
                } else {
                    Ok(log.commit(commit).await?)
                }
            }
            committed => Ok(committed?),
        }
    }

    /// Deletes files that no manifest has named for the whole of the grace.
    async fn delete_unnamed(&self) -> Result<(), StoreError> {
        let now = self.flusher.options.clock.now_unix_nano();
        self.find_orphans(now).await?;
        let grace = u64::try_from(self.flusher.options.deletion_grace.as_nanos()).unwrap_or(u64::MAX);
        let due: Vec<String> = {
            let replaced = self.compactor.replaced.lock().unwrap_or_else(PoisonError::into_inner);
            let due = replaced.iter().filter(|(_, since)| now.saturating_sub(**since) >= grace);
            due.map(|(path, _)| path.clone()).collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        // What is pending may name some of them; and a process that has lost the store must not delete
        // what is its successor's.
        let manifest = self.show_resolved().await?;
        self.flusher.check_epoch().await;
        if self.flusher.signals.failure().is_some() {
            return Ok(());
        }
        let mut first_error = None;
        for path in due {
            self.flusher.reach(CrashPoint::SegmentDelete)?;
            if !manifest.segments.iter().any(|segment| segment.path == path) {
                match self.flusher.options.object_store.delete(&Path::from(path.as_str())).await {
                    Ok(()) => {
                        self.compactor.files_deleted.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(source) => {
                        let what = format!("deleting {path}");
                        first_error.get_or_insert(StoreError::ObjectStore { what, source });
                        continue;
                    }
                }
            }
            self.compactor.replaced.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Files that a crash or a failure left: now and then all files are compared with the manifest. Those
    /// that are being written are none; a commit that is pending is waited for before anything is deleted.
    async fn find_orphans(&self, now: u64) -> Result<(), StoreError> {
        let before = self.compactor.orphans_looked_for_unix_nano.load(Ordering::Relaxed);
        if now.saturating_sub(before) < ORPHANS_EVERY.as_nanos() as u64 && before != 0 {
            return Ok(());
        }
        // Before the listing: what ends meanwhile is named, or found the next time.
        let being_written = self.flusher.being_written();
        let listing = |source| StoreError::ObjectStore { what: format!("listing {SEGMENTS}"), source };
        let prefix = Path::from(SEGMENTS);
        let mut files = self.flusher.options.object_store.list(Some(&prefix));
        let mut found = Vec::new();
        while let Some(file) = files.try_next().await.map_err(listing)? {
            found.push(file.location.to_string());
        }
        let manifest = self.flusher.current.get().manifest;
        let named: HashSet<&str> = manifest.segments.iter().map(|segment| segment.path.as_str()).collect();
        found.retain(|path| {
            !named.contains(path.as_str()) && segment_id(path).is_some_and(|id| !being_written.contains(&id))
        });
        let mut replaced = self.compactor.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        for path in found {
            replaced.entry(path).or_insert(now);
        }
        self.compactor.orphans_looked_for_unix_nano.store(now, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn compaction_status(&self, manifest: &ManifestState) -> CompactionStatus {
        let compactor = &self.compactor;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (waiting_segments, waiting_bytes) = compactor.backlog(&manifest.segments);
        CompactionStatus {
            waiting_segments,
            waiting_bytes,
            unmergeable_segments: compactor.unmergeable.lock().unwrap_or_else(PoisonError::into_inner).len()
                as u64,
            merges: get(&compactor.merges),
            rows: get(&compactor.rows),
            duplicates: get(&compactor.duplicates),
            rests: get(&compactor.rests),
            bytes_read: get(&compactor.bytes_read),
            bytes_written: get(&compactor.bytes_written),
            replaced_files: compactor.replaced.lock().unwrap_or_else(PoisonError::into_inner).len() as u64,
            files_deleted: get(&compactor.files_deleted),
            error: compactor.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
