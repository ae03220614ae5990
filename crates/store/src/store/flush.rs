//! From a frozen memtable to a segment and one manifest commit; then the WAL up to there may go.
//!
//! Memtables are flushed in order, one at a time. Whatever fails is tried again, with a new segment
//! name each time: an object is never written twice, and one that a failed attempt left behind is in
//! no manifest.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::path::Path;
use rand::Rng;
use rand::rngs::StdRng;
use tracelake_format::manifest::{Commit, Flushed, SegmentEntry, State as ManifestState};
use tracelake_format::segment::{
    AttributeColumn, AttributeCounts, SegmentInput, WrittenSegment, write_segment,
};
use ulid::Ulid;

use super::{Inner, Signals, Store, StoreOptions};
use crate::StoreError;
use crate::env::CrashPoint;
use crate::manifest_log::ManifestLog;
use crate::memtable::{Memtable, MemtableSize};
use crate::put::put_new;
use crate::segments::{Segments, segment_path};
use crate::snapshot::{Current, Snapshot, first_generation};
use crate::wal::remove_covered;

/// How often the flusher looks at the age of the memtable.
const TICK: Duration = Duration::from_secs(1);

/// Idle ticks between two looks at whether another writer took the store over: one small read.
const EPOCH_CHECK_TICKS: u32 = 5;

/// A flush that failed is tried again after this long, doubled each time up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(200);

/// Long enough not to press an object store that is down, short enough to go on soon after.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Smaller memtables decide nothing about attribute columns: a column is for good, and of a handful of
/// spans every attribute is frequent.
const COLUMN_SPANS_MIN: u64 = 1_000;

/// Where tenants have fewer spans than this on average, a segment gets no attribute index: for it each tenant has row
/// groups of its own, whose description would take more than their rows, and to go through so few is done in a
/// millisecond.
const INDEXED_TENANT_SPANS_MIN: u64 = 512;

/// A WAL larger than this is not kept lying about once senders pause: it is flushed early.
const IDLE_WAL_BYTES_MAX: u64 = 32 << 20;

/// A pause of senders, for [`IDLE_WAL_BYTES_MAX`].
const IDLE: Duration = Duration::from_secs(5);

/// Turns frozen memtables into segments, one at a time and in order.
#[derive(Debug)]
pub(super) struct Flusher {
    pub(super) options: Arc<StoreOptions>,
    pub(super) current: Arc<Current>,
    pub(super) segments: Segments,
    pub(super) signals: Arc<Signals>,
    pub(super) log: ManifestLog,
    /// From a commit until the snapshot shows it: none of two may be shown without the other.
    pub(super) committing: tokio::sync::Mutex<()>,
    /// Keeps calls of `flush` and the background task apart.
    flushing: tokio::sync::Mutex<()>,
    /// Names of segments.
    random: Mutex<StdRng>,
    being_written: Arc<Mutex<HashSet<Ulid>>>,
}

/// A segment from before its file exists until the commit that names it was tried.
#[derive(Debug)]
pub(super) struct BegunSegment {
    id: Ulid,
    being_written: Arc<Mutex<HashSet<Ulid>>>,
}

impl BegunSegment {
    pub(super) fn id(&self) -> Ulid {
        self.id
    }
}

impl Drop for BegunSegment {
    fn drop(&mut self) {
        self.being_written.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Store {
    /// Runs until the store stops.
    pub(super) fn spawn_flusher(&self) {
        let store = self.clone();
        let task = tokio::spawn(async move { store.run_flusher().await });
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    async fn run_flusher(&self) {
        let inner = &self.inner;
        let mut stopping = inner.flusher.signals.stopping.subscribe();
        let mut retry_after = RETRY_MIN;
        let mut idle_ticks = 0u32;
        loop {
            let frozen = inner.flusher.signals.frozen.notified();
            tokio::pin!(frozen);
            frozen.as_mut().enable();
            if inner.flusher.signals.failure().is_some() || *stopping.borrow_and_update() {
                return;
            }
            match inner.freeze_and_flush().await {
                Ok(true) => {
                    retry_after = RETRY_MIN;
                    continue;
                }
                Ok(false) => {
                    retry_after = RETRY_MIN;
                    idle_ticks += 1;
                    if idle_ticks.is_multiple_of(EPOCH_CHECK_TICKS) {
                        inner.flusher.check_epoch().await;
                    }
                    let _ = tokio::time::timeout(TICK, async {
                        tokio::select! { () = frozen => {}, _ = stopping.changed() => {} }
                    })
                    .await;
                }
                Err(error) => {
                    tracing::warn!(%error, ?retry_after, "a flush failed and will be tried again");
                    tokio::select! { () = tokio::time::sleep(retry_after) => {}, _ = stopping.changed() => {} }
                    retry_after = (2 * retry_after).min(RETRY_MAX);
                }
            }
        }
    }
}

impl Inner {
    /// Freezes what is due and flushes one memtable; whether there was one. A memtable that cannot be
    /// frozen, as on a disk that is full, must not keep those that can be flushed: that frees space.
    async fn freeze_and_flush(&self) -> Result<bool, StoreError> {
        let frozen = self.freeze_if_due().await;
        let flushed = self.flusher.flush_frozen().await?;
        if !flushed {
            frozen?;
        }
        Ok(flushed)
    }

    /// Freezes the active memtable if it is too old, too full, or idle with a large WAL.
    async fn freeze_if_due(&self) -> Result<(), StoreError> {
        if self.flusher.current.frozen_len() >= self.flusher.options.frozen_generations_max {
            return Ok(());
        }
        let size = self.flusher.current.active().size();
        let Some(first_arrival) = size.first_arrival_unix_nano else { return Ok(()) };
        let now = self.flusher.options.clock.now_unix_nano();
        let since = |then: u64| Duration::from_nanos(now.saturating_sub(then));
        let old = since(first_arrival) >= self.flusher.options.generation_age_max;
        let full = size.heap_bytes >= self.flusher.options.generation_bytes_max;
        let idle =
            since(size.last_arrival_unix_nano) >= IDLE && self.wal.status().file_bytes > IDLE_WAL_BYTES_MAX;
        if old || full || idle {
            self.wal.rotate().await?;
        }
        Ok(())
    }

    /// Everything that is in memory now.
    pub(super) async fn flush_all(&self) -> Result<(), StoreError> {
        if let Some(reason) = self.flusher.signals.failure() {
            return Err(StoreError::Stopped { reason });
        }
        let waits = self.flusher.current.frozen_len() > 0;
        if self.flusher.current.active().size().spans > 0
            && let Err(error) = self.wal.rotate().await
        {
            if !waits {
                return Err(error.into());
            }
            // A full disk, perhaps: what waits to be flushed has space to give back.
            self.flush_frozen_before(self.flusher.current.active().wal_sequence()).await?;
            self.wal.rotate().await?;
        }
        self.flush_frozen_before(self.flusher.current.active().wal_sequence()).await
    }

    async fn flush_frozen_before(&self, sequence: u64) -> Result<(), StoreError> {
        while self.flusher.current.get().frozen.iter().any(|memtable| memtable.wal_sequence() < sequence) {
            self.flusher.flush_frozen().await?;
        }
        Ok(())
    }
}

impl Flusher {
    pub(super) fn new(
        options: Arc<StoreOptions>,
        log: ManifestLog,
        manifest: Arc<ManifestState>,
        random: StdRng,
    ) -> Self {
        let segments = Segments::new(Arc::clone(&options.object_store), &options.read);
        // Nothing is published in it: the WAL's first file brings the first real one.
        let active = Arc::new(Memtable::new(Ulid::nil(), 0));
        Self {
            options,
            current: Arc::new(Current::new(Snapshot::new(manifest, active))),
            segments,
            signals: Arc::new(Signals::new()),
            log,
            committing: tokio::sync::Mutex::new(()),
            flushing: tokio::sync::Mutex::new(()),
            random: Mutex::new(random),
            being_written: Arc::default(),
        }
    }

    /// Flushes the oldest frozen memtable; whether there was one.
    pub(super) async fn flush_frozen(&self) -> Result<bool, StoreError> {
        let _one_at_a_time = self.flushing.lock().await;
        if let Some(reason) = self.signals.failure() {
            return Err(StoreError::Stopped { reason });
        }
        let Some(memtable) = self.current.get().frozen.first().cloned() else { return Ok(false) };
        let flushed = self.flush_memtable(&memtable).await;
        self.signals.set_flush_error(flushed.as_ref().err().map(ToString::to_string));
        if let Err(error) = &flushed {
            self.stop_if_final(error);
        }
        flushed?;
        self.signals.flushed.notify_waiters();
        Ok(true)
    }

    async fn flush_memtable(&self, memtable: &Arc<Memtable>) -> Result<(), StoreError> {
        let wal_sequence = memtable.wal_sequence();
        // An earlier try may have succeeded without our learning of it.
        let manifest = self.log.resolve().await?;
        let is_covered = manifest.covered(memtable.wal()).is_some_and(|covered| covered >= wal_sequence);
        let segment = self.begin_segment();
        let commit =
            if is_covered { None } else { Some(self.write(memtable, &manifest, segment.id()).await?) };
        {
            let _committing = self.committing.lock().await;
            let manifest = match commit {
                Some(commit) => self.log.commit(commit).await?,
                None => self.log.state(),
            };
            self.reach(CrashPoint::SnapshotSwap)?;
            self.current.flushed(wal_sequence, manifest);
        }
        drop(segment);
        self.reach(CrashPoint::WalRemove)?;
        self.remove_covered_or_warn().await;
        Ok(())
    }

    pub(super) async fn remove_covered_or_warn(&self) {
        if let Err(error) = self.remove_covered().await {
            // The manifest covers it: the next removal, or the next start, takes it along.
            tracing::warn!(%error, "a covered WAL file could not be removed yet");
        }
    }

    /// Writes the memtable's segment; what is to be committed.
    async fn write(
        &self,
        memtable: &Arc<Memtable>,
        manifest: &ManifestState,
        segment_id: Ulid,
    ) -> Result<Commit, StoreError> {
        let (wal, wal_covered) = (memtable.wal(), memtable.wal_sequence());
        let first = first_generation(memtable, manifest.generation);
        let generation = first + u64::from(memtable.later_generations());
        let flushed = Flushed { generation, wal, wal_covered };
        let mut commit = Commit { flushed: Some(flushed), ..Commit::default() };
        if memtable.size().spans > 0 {
            self.reach(CrashPoint::SegmentEncode)?;
            let (segment, columns_added) = self.encode(memtable, first, segment_id).await?;
            let path = segment_path(segment.meta.id);
            self.reach(CrashPoint::SegmentPut)?;
            self.put(&path, segment.bytes.clone()).await?;
            self.segments.remember(&segment).await;
            commit.segments_added.push(SegmentEntry { path, meta: segment.meta });
            commit.attribute_columns_added = columns_added;
        }
        self.reach(CrashPoint::ManifestCommit)?;
        Ok(commit)
    }

    /// Sorts and encodes, on a thread that may block.
    async fn encode(
        &self,
        memtable: &Arc<Memtable>,
        first_generation: u64,
        segment_id: Ulid,
    ) -> Result<(WrittenSegment, Vec<AttributeColumn>), StoreError> {
        let memtable = Arc::clone(memtable);
        let known = self.current.get().manifest.attribute_columns.clone();
        let mut options = self.options.segment_writer.clone();
        let MemtableSize { spans, tenants, .. } = memtable.size();
        options.attribute_index &=
            tenants == 1 || spans / (tenants as u64).max(1) >= INDEXED_TENANT_SPANS_MIN;
        let encode = move || {
            let tenants = memtable.batches();
            let batches = tenants.iter().flat_map(|(_, batches)| batches).map(|(batch, _)| &**batch);
            let known_len = known.columns.len();
            let mut columns = known;
            if memtable.size().spans >= COLUMN_SPANS_MIN {
                columns.extend_from(&AttributeCounts::of(batches));
            }
            let input = SegmentInput {
                segment_id,
                tenants: tenants
                    .iter()
                    .map(|(tenant, batches)| {
                        let generation = |before: &u32| first_generation + u64::from(*before);
                        let batches = batches.iter().map(|(batch, before)| (&**batch, generation(before)));
                        (tenant.clone(), batches.collect())
                    })
                    .collect(),
            };
            let segment = write_segment(&input, &columns, &options)
                .map_err(|source| StoreError::Segment { segment: segment_path(segment_id), source })?;
            Ok((segment, columns.columns.split_off(known_len)))
        };
        tokio::task::spawn_blocking(encode)
            .await
            .map_err(|_| StoreError::TaskDied { what: "the segment writer" })?
    }

    async fn remove_covered(&self) -> Result<(), StoreError> {
        let (files, dir) = (Arc::clone(&self.options.files), self.options.wal_dir.clone());
        let manifest = self.current.get().manifest;
        tokio::task::spawn_blocking(move || remove_covered(&*files, &dir, &manifest.wal_covered))
            .await
            .map_err(|_| StoreError::TaskDied { what: "the removal of WAL files" })??;
        Ok(())
    }

    async fn put(&self, path: &str, bytes: bytes::Bytes) -> Result<(), StoreError> {
        put_new(&self.options.object_store, &Path::from(path), bytes)
            .await
            .map_err(|source| StoreError::ObjectStore { what: format!("writing {path}"), source })
    }

    /// A writer that was replaced while it had nothing to commit stops, too.
    pub(super) async fn check_epoch(&self) {
        if let Err(error) = self.log.check_epoch().await {
            self.stop_if_final(&error.into());
        }
    }

    /// A writer that lost the store to another, or cannot tell what is in it, must not go on; nor one
    /// whose disk lost what it was told to keep.
    pub(super) fn stop_if_final(&self, error: &StoreError) {
        if error.is_final() {
            self.signals.fail(&error.to_string());
        }
    }

    pub(super) fn reach(&self, point: CrashPoint) -> Result<(), StoreError> {
        self.options.crash_points.reach(point).map_err(|error| {
            let reason = error.to_string();
            self.signals.fail(&reason);
            StoreError::Stopped { reason }
        })
    }

    /// A new segment.
    pub(super) fn begin_segment(&self) -> BegunSegment {
        let milliseconds = self.options.clock.now_unix_nano() / 1_000_000;
        let random = self.random.lock().unwrap_or_else(PoisonError::into_inner).random();
        let id = Ulid::from_parts(milliseconds, random);
        self.being_written.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        BegunSegment { id, being_written: Arc::clone(&self.being_written) }
    }

    /// Segments that a commit may name which was not tried yet.
    pub(super) fn being_written(&self) -> HashSet<Ulid> {
        self.being_written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
