//! Blocks of segments that lie in a bucket, kept in files of a local disk. docs/formats/disk-cache.md.
//!
//! It may lose anything at any time: what it does not have, has damaged, or does not give soon, is read from the bucket.
//! Segments are immutable and their names are used once, so what it has is never stale. It never answers bytes whose
//! checksum differs, never touches a file whose name is not one of its own, and nobody waits for it long: a disk that
//! hangs holds up a bounded number of threads, and no lookup, flush or merge.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, stream};
use moka::future::Cache;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tracelake_format::disk_cache::{BLOCK_BYTES, HEADER_BYTES, parse_block, write_header};
use tracelake_format::manifest::SegmentEntry;
use ulid::Ulid;

use super::report::{ReadReport, add};
use crate::StoreError;

/// Blocks that are being written, each in memory until it is. What comes meanwhile is not kept: lookups do not wait for
/// the disk, and whoever asks again has it kept then.
const WRITES_AT_ONCE: usize = 32;

/// Blocks that are being read, by all requests together. Who finds no turn asks the bucket.
const READS_AT_ONCE: usize = 32;

/// A disk that takes longer is no help: a bucket answers in as much.
const READ_MAX: Duration = Duration::from_millis(100);

/// Who reads more than so many blocks at once goes through much, not back and forth: it is not kept, nor looked for.
const REQUEST_BLOCKS_MAX: u64 = 64;

/// What a file takes beside its bytes, roughly: its place in a folder, and a part of a block of the file system.
const FILE_BYTES: u32 = 4_096;

/// Between two tries to remove files that could not be.
const REMOVE_AGAIN: Duration = Duration::from_secs(10);

/// Segments whose blocks turned out to be wrong. Beyond it none is believed: a bucket that gives so many wrong answers
/// does not get better by keeping them.
const DISTRUSTED_MAX: usize = 1_024;

/// A block's place: its segment, and its number in it.
type Place = (Ulid, u32);

/// Blocks on a disk, within a budget of bytes.
#[derive(Debug)]
pub struct DiskCache {
    shared: Arc<Shared>,
    remover: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    files: Arc<dyn ObjectStore>,
    /// Each block's bytes. What leaves it, its file is removed.
    index: Cache<Place, u32>,
    removals: Arc<Removals>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    distrusted: Mutex<HashSet<Ulid>>,
    /// A disk that fails once fails often: that is said once, until it works again.
    has_complained: AtomicBool,
}

/// Files whose blocks have left the index: at most as many as there are files.
#[derive(Debug, Default)]
struct Removals {
    places: Mutex<HashSet<Place>>,
    more: Notify,
}

impl Removals {
    fn add(&self, places: impl IntoIterator<Item = Place>) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).extend(places);
        self.more.notify_one();
    }

    fn take(&self) -> HashSet<Place> {
        std::mem::take(&mut *self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn path_of((segment, number): Place) -> Path {
    Path::from(format!("{segment}-{number:08}.block"))
}

fn place_of(path: &Path) -> Option<Place> {
    let (segment, number) = path.as_ref().strip_suffix(".block")?.split_once('-')?;
    let place = (Ulid::from_string(segment).ok()?, number.parse().ok()?);
    (path_of(place) == *path).then_some(place)
}

fn numbers_of(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        self.remover.abort();
    }
}

impl DiskCache {
    /// With what is there already, of an earlier run. Must be called on a Tokio runtime.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub async fn open(files: Arc<dyn ObjectStore>, bytes_max: u64) -> Result<Self, StoreError> {
        let listed = files.list_with_delimiter(None).await;
        let what = || "listing the disk cache".to_owned();
        let mut listed = listed.map_err(|source| StoreError::ObjectStore { what: what(), source })?.objects;
        // The oldest first, so that they go first.
        listed.sort_by(|a, b| (a.last_modified, &a.location).cmp(&(b.last_modified, &b.location)));
        let removals = Arc::new(Removals::default());
        let gone = Arc::clone(&removals);
        let index = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|_, bytes: &u32| bytes.saturating_add(FILE_BYTES))
            .eviction_policy(EvictionPolicy::lru())
            // Whoever asks the index runs this, and does not wait for the disk.
            .eviction_listener(move |place: Arc<Place>, _, cause| {
                if cause != RemovalCause::Replaced {
                    gone.add([*place]);
                }
            })
            .build();
        for file in listed {
            if let Some(place) = place_of(&file.location) {
                index.insert(place, u32::try_from(file.size).unwrap_or(u32::MAX)).await;
            }
        }
        index.run_pending_tasks().await;
        let shared = Arc::new(Shared {
            files,
            index,
            removals,
            reads: Arc::new(Semaphore::new(READS_AT_ONCE)),
            writes: Arc::new(Semaphore::new(WRITES_AT_ONCE)),
            distrusted: Mutex::default(),
            has_complained: AtomicBool::new(false),
        });
        let of_remover = Arc::clone(&shared);
        let remover = tokio::spawn(async move {
            loop {
                of_remover.removals.more.notified().await;
                of_remover.remove_files().await;
            }
        });
        Ok(Self { shared, remover })
    }

    /// Its bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.shared.index.weighted_size()
    }

    /// Blocks that are being written.
    pub(super) fn writing(&self) -> u64 {
        WRITES_AT_ONCE.saturating_sub(self.shared.writes.available_permits()) as u64
    }

    /// Whether it is for requests of these ranges of a segment together.
    pub(super) fn is_for(&self, segment: Ulid, ranges: &[Range<u64>]) -> bool {
        let blocks = ranges.iter().map(|range| {
            let numbers = numbers_of(range);
            numbers.end.saturating_sub(numbers.start)
        });
        if blocks.sum::<u64>() > REQUEST_BLOCKS_MAX {
            return false;
        }
        let distrusted = self.shared.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        distrusted.len() < DISTRUSTED_MAX && !distrusted.contains(&segment)
    }

    /// What was read of a segment cannot be what was written: from now on it is read from the bucket. It may be that
    /// the bucket gave wrong bytes once, and they were kept.
    pub(super) fn distrust(&self, segment: Ulid) {
        let is_new = {
            let mut distrusted = self.shared.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
            distrusted.len() < DISTRUSTED_MAX && distrusted.insert(segment)
        };
        if is_new {
            self.forget(move |other| other == segment);
        }
    }

    /// Forgets segments that are no more.
    pub(super) fn retain(&self, is_live: impl Fn(&Ulid) -> bool) {
        self.forget(|segment| !is_live(&segment));
    }

    /// In the background: whoever wants it may hold what others wait for.
    fn forget(&self, is_gone: impl Fn(Ulid) -> bool) {
        let places = self.shared.index.iter().map(|(place, _)| *place);
        let gone: Vec<Place> = places.filter(|place| is_gone(place.0)).collect();
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            for place in gone {
                shared.index.invalidate(&place).await;
            }
        });
    }

    /// Ranges of a segment's file, which lie within it. What is not here `fetch` reads, in whole blocks and no more
    /// pieces than ranges: it gets them in order and gives the bytes of each.
    pub(super) async fn ranges<F>(
        &self,
        entry: &SegmentEntry,
        ranges: &[Range<u64>],
        report: &ReadReport,
        fetch: impl FnOnce(Vec<Range<u64>>) -> F,
    ) -> Result<Vec<Bytes>, StoreError>
    where
        F: Future<Output = Result<Vec<Bytes>, StoreError>>,
    {
        let (segment, size) = (entry.meta.id, entry.meta.size_bytes);
        let mut blocks: BTreeMap<u64, Option<Bytes>> =
            ranges.iter().flat_map(numbers_of).map(|number| (number, None)).collect();
        add(&report.disk_cache_blocks, blocks.len() as u64);
        let numbers: Vec<u64> = blocks.keys().copied().collect();
        let mut found = stream::iter(numbers)
            .map(|number| async move { (number, self.shared.block(segment, number, size).await) })
            .buffer_unordered(READS_AT_ONCE);
        while let Some((number, block)) = found.next().await {
            add(&report.disk_cache_blocks_found, u64::from(block.is_some()));
            blocks.insert(number, block);
        }
        drop(found);

        let missing = missing_runs(ranges, &blocks);
        if !missing.is_empty() {
            let bytes_of = |run: &Range<u64>| run.start * BLOCK_BYTES..(run.end * BLOCK_BYTES).min(size);
            let fetched = fetch(missing.iter().map(bytes_of).collect()).await?;
            for (run, bytes) in missing.into_iter().zip(fetched) {
                for number in run.clone() {
                    let start = (number - run.start) * BLOCK_BYTES;
                    let end = (start + BLOCK_BYTES).min(bytes.len() as u64);
                    let known = blocks.entry(number).or_default();
                    if known.is_none() {
                        let block = known.insert(bytes.slice(start.min(end) as usize..end as usize));
                        self.shared.keep(segment, number, block);
                    }
                }
            }
        }
        Ok(ranges.iter().map(|range| assemble(range, &blocks)).collect())
    }

    /// Waits until all that was to be written or removed is.
    #[cfg(test)]
    pub(super) async fn settle(&self) {
        let all = self.shared.writes.acquire_many(WRITES_AT_ONCE as u32).await;
        drop(all);
        // What was spawned to forget has its turn.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.shared.index.run_pending_tasks().await;
        self.shared.remove_files().await;
    }
}

impl Shared {
    /// A block whose bytes are right; none if there is none, or not soon.
    async fn block(self: &Arc<Self>, segment: Ulid, number: u64, size: u64) -> Option<Bytes> {
        let place = (segment, u32::try_from(number).ok()?);
        self.index.get(&place).await?;
        let permit = Arc::clone(&self.reads).try_acquire_owned().ok()?;
        let expected = size.saturating_sub(number * BLOCK_BYTES).min(BLOCK_BYTES);
        let files = Arc::clone(&self.files);
        // A task of its own: a read that hangs keeps its turn, and nobody waits for it.
        let reading = tokio::spawn(async move {
            let read = files.get_range(&path_of(place), 0..HEADER_BYTES as u64 + expected).await;
            drop(permit);
            read
        });
        let read = tokio::time::timeout(READ_MAX, reading).await.ok()?.ok()?;
        let why = match read {
            Ok(file) => match parse_block(segment, place.1, &file) {
                Ok(block) if block.len() as u64 == expected => return Some(block),
                Ok(_) => "it has another length".to_owned(),
                Err(error) => error.to_string(),
            },
            // Somebody removed it.
            Err(object_store::Error::NotFound { .. }) => String::new(),
            Err(error) => error.to_string(),
        };
        if !why.is_empty() {
            self.complain(&format!("{} is read from the bucket again: {why}", path_of(place)));
        }
        self.index.invalidate(&place).await;
        None
    }

    /// Writes a block in the background, unless there is too much to write.
    fn keep(self: &Arc<Self>, segment: Ulid, number: u64, block: &Bytes) {
        let Ok(number) = u32::try_from(number) else { return };
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else { return };
        let mut file = BytesMut::with_capacity(HEADER_BYTES + block.len());
        file.put_slice(&write_header(segment, number, block));
        // A copy: the slice would keep all that was fetched with it in memory.
        file.put_slice(block);
        let (file, shared) = (file.freeze(), Arc::clone(self));
        tokio::spawn(async move {
            let (place, bytes) = ((segment, number), file.len() as u32);
            match shared.files.put(&path_of(place), PutPayload::from(file)).await {
                Ok(_) => {
                    shared.index.insert(place, bytes).await;
                    shared.has_complained.store(false, Ordering::Relaxed);
                }
                Err(error) => shared.complain(&format!("nothing new is kept until this is over: {error}")),
            }
            drop(permit);
        });
    }

    fn complain(&self, what: &str) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::warn!("the disk cache errs: {what}");
        }
    }

    /// Removes the files of what has left the index and is not in it again. What cannot be removed is tried again.
    async fn remove_files(&self) {
        let mut left = Vec::new();
        for place in self.removals.take() {
            if self.index.contains_key(&place) {
                continue;
            }
            match self.files.delete(&path_of(place)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    self.complain(&format!("{} stays for now: {error}", path_of(place)));
                    left.push(place);
                }
            }
        }
        if !left.is_empty() {
            tokio::time::sleep(REMOVE_AGAIN).await;
            self.removals.add(left);
        }
    }
}

/// Runs of blocks to fetch: of each range from its first that is missing to its last, so that there are no more runs
/// than ranges.
fn missing_runs(ranges: &[Range<u64>], blocks: &BTreeMap<u64, Option<Bytes>>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for range in ranges.iter().map(numbers_of).filter(|range| !range.is_empty()) {
        let mut missing = blocks.range(range).filter(|(_, block)| block.is_none()).map(|(number, _)| *number);
        let Some(first) = missing.next() else { continue };
        let run = first..missing.next_back().unwrap_or(first) + 1;
        match runs.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            _ => runs.push(run),
        }
    }
    runs
}

/// A range's bytes from the blocks that it touches. A copy: a slice of a block would keep all of it in memory, as long
/// as what is kept of a few bytes.
fn assemble(range: &Range<u64>, blocks: &BTreeMap<u64, Option<Bytes>>) -> Bytes {
    let mut bytes = BytesMut::with_capacity(range.end.saturating_sub(range.start) as usize);
    for number in numbers_of(range) {
        let Some(Some(block)) = blocks.get(&number) else { continue };
        let within = |at: u64| at.saturating_sub(number * BLOCK_BYTES).min(block.len() as u64) as usize;
        bytes.extend_from_slice(block.get(within(range.start)..within(range.end)).unwrap_or_default());
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests;
