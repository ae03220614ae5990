//! Blocks of segments that lie in a bucket, kept in files of a local disk. docs/formats/disk-cache.md.
//!
//! It may lose anything at any time: what it does not have, or has damaged, is read from the bucket again. Segments
//! are immutable and their names are used once, so what it has is never stale. It never answers bytes whose
//! checksum differs, and never touches a file whose name is not one of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use moka::future::{Cache, FutureExt};
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::sync::Semaphore;
use tracelake_format::disk_cache::{BLOCK_BYTES, HEADER_BYTES, parse_block, write_header};
use tracelake_format::manifest::SegmentEntry;
use ulid::Ulid;

use super::report::{ReadReport, add};
use crate::StoreError;

/// Blocks that are being written, each in memory until it is. What comes meanwhile is not kept: lookups do not wait for
/// the disk, and whoever asks again has it kept then.
const WRITES_AT_ONCE: usize = 32;

/// Blocks that one request reads at once.
const READS_AT_ONCE: usize = 16;

/// Who reads more than this at once goes through much, not back and forth: it is not kept, nor looked for.
const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// What a file takes beside its bytes, roughly: its place in a folder, and a part of a block of the file system.
const FILE_BYTES: u32 = 4_096;

/// A block's place: its segment, and its number in it.
type Place = (Ulid, u32);

/// Blocks on a disk, within a budget of bytes.
#[derive(Debug)]
pub struct DiskCache {
    files: Arc<dyn ObjectStore>,
    /// Each block's bytes. What leaves it, its file is removed.
    index: Cache<Place, u32>,
    writes: Arc<Semaphore>,
    /// A disk that fails once fails often.
    has_complained: Arc<AtomicBool>,
}

fn path_of((segment, number): Place) -> Path {
    Path::from(format!("{segment}-{number:08}.block"))
}

fn place_of(path: &Path) -> Option<Place> {
    let (segment, number) = path.as_ref().strip_suffix(".block")?.split_once('-')?;
    let place = (Ulid::from_string(segment).ok()?, number.parse().ok()?);
    (path_of(place) == *path).then_some(place)
}

impl DiskCache {
    /// With what is there already, of an earlier run.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub async fn open(files: Arc<dyn ObjectStore>, bytes_max: u64) -> Result<Self, StoreError> {
        let listed: Result<Vec<_>, _> = files.list(None).try_collect().await;
        let what = || "listing the disk cache".to_owned();
        let mut listed = listed.map_err(|source| StoreError::ObjectStore { what: what(), source })?;
        // The oldest first, so that they go first.
        listed.sort_by(|a, b| (a.last_modified, &a.location).cmp(&(b.last_modified, &b.location)));
        let to_remove = Arc::clone(&files);
        let index = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|_, bytes: &u32| bytes.saturating_add(FILE_BYTES))
            .eviction_policy(EvictionPolicy::lru())
            .async_eviction_listener(move |place: Arc<Place>, _, cause| {
                let files = Arc::clone(&to_remove);
                async move {
                    if cause != RemovalCause::Replaced
                        && let Err(error) = files.delete(&path_of(*place)).await
                        && !matches!(error, object_store::Error::NotFound { .. })
                    {
                        tracing::warn!(%error, "a file of the disk cache stays until the next start");
                    }
                }
                .boxed()
            })
            .build();
        for file in listed {
            if let Some(place) = place_of(&file.location) {
                index.insert(place, u32::try_from(file.size).unwrap_or(u32::MAX)).await;
            }
        }
        index.run_pending_tasks().await;
        let writes = Arc::new(Semaphore::new(WRITES_AT_ONCE));
        Ok(Self { files, index, writes, has_complained: Arc::default() })
    }

    /// Its bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.index.weighted_size()
    }

    /// Whether it is for requests of these ranges together.
    pub(super) fn is_for(&self, ranges: &[Range<u64>]) -> bool {
        let bytes: u64 = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        bytes <= REQUEST_BYTES_MAX
    }

    /// Ranges of a segment's file, which lie within it. What is not here `fetch` reads, in whole blocks: it gets ranges
    /// in order and gives the bytes of each.
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
        let size = entry.meta.size_bytes;
        let numbers_of = |range: &Range<u64>| (range.start / BLOCK_BYTES)..range.end.div_ceil(BLOCK_BYTES);
        let mut blocks: BTreeMap<u64, Option<Bytes>> =
            ranges.iter().flat_map(numbers_of).map(|number| (number, None)).collect();
        add(&report.disk_cache_blocks, blocks.len() as u64);
        let numbers: Vec<u64> = blocks.keys().copied().collect();
        let mut found = stream::iter(numbers)
            .map(|number| async move { (number, self.block(entry.meta.id, number, size).await) })
            .buffer_unordered(READS_AT_ONCE);
        while let Some((number, block)) = found.next().await {
            add(&report.disk_cache_blocks_found, u64::from(block.is_some()));
            blocks.insert(number, block);
        }
        drop(found);

        let mut missing: Vec<Range<u64>> = Vec::new();
        for number in blocks.iter().filter(|(_, block)| block.is_none()).map(|(number, _)| *number) {
            match missing.last_mut() {
                Some(run) if run.end == number => run.end = number + 1,
                _ => missing.push(number..number + 1),
            }
        }
        if !missing.is_empty() {
            let bytes_of = |run: &Range<u64>| run.start * BLOCK_BYTES..(run.end * BLOCK_BYTES).min(size);
            let fetched = fetch(missing.iter().map(bytes_of).collect()).await?;
            for (run, bytes) in missing.into_iter().zip(fetched) {
                for number in run.clone() {
                    let start = (number - run.start) * BLOCK_BYTES;
                    let end = (start + BLOCK_BYTES).min(bytes.len() as u64);
                    let block = bytes.slice(start.min(end) as usize..end as usize);
                    self.keep(entry.meta.id, number, &block);
                    blocks.insert(number, Some(block));
                }
            }
        }
        Ok(ranges.iter().map(|range| assemble(range, &blocks)).collect())
    }

    /// A block whose bytes are right; none if there is none.
    async fn block(&self, segment: Ulid, number: u64, size: u64) -> Option<Bytes> {
        let place = (segment, u32::try_from(number).ok()?);
        self.index.get(&place).await?;
        let read = async { self.files.get(&path_of(place)).await?.bytes().await };
        let expected = size.saturating_sub(number * BLOCK_BYTES).min(BLOCK_BYTES);
        match read.await {
            Ok(file) => match parse_block(segment, place.1, &file) {
                Ok(block) if block.len() as u64 == expected => return Some(block),
                Ok(_) => {
                    tracing::warn!(file = %path_of(place), "a file of the disk cache has another length")
                }
                Err(error) => tracing::warn!(file = %path_of(place), %error, "read from the bucket again"),
            },
            // Somebody removed it.
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(file = %path_of(place), %error, "read from the bucket instead");
                // It may be read another time.
                return None;
            }
        }
        self.index.invalidate(&place).await;
        None
    }

    /// Writes a block in the background, unless there is too much to write.
    fn keep(&self, segment: Ulid, number: u64, block: &Bytes) {
        let Ok(number) = u32::try_from(number) else { return };
        let Ok(permit) = Arc::clone(&self.writes).try_acquire_owned() else { return };
        let mut file = BytesMut::with_capacity(HEADER_BYTES + block.len());
        file.put_slice(&write_header(segment, number, block));
        // A copy: the slice would keep all that was fetched with it in memory.
        file.put_slice(block);
        let file = file.freeze();
        let (files, index) = (Arc::clone(&self.files), self.index.clone());
        let has_complained = Arc::clone(&self.has_complained);
        tokio::spawn(async move {
            let (place, bytes) = ((segment, number), file.len() as u32);
            match files.put(&path_of(place), PutPayload::from(file)).await {
                Ok(_) => {
                    index.insert(place, bytes).await;
                    has_complained.store(false, Ordering::Relaxed);
                }
                Err(error) => {
                    if !has_complained.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, "the disk cache keeps nothing new until this is over");
                    }
                }
            }
            drop(permit);
        });
    }

    /// Forgets segments that are no more.
    pub(super) async fn retain(&self, is_live: impl Fn(&Ulid) -> bool) {
        let gone = self.index.iter().map(|(place, _)| place).filter(|place| !is_live(&place.0));
        let gone: Vec<Arc<Place>> = gone.collect();
        for place in gone {
            self.index.invalidate(&*place).await;
        }
    }

    /// Waits until all that was to be written or removed is.
    #[cfg(test)]
    pub(super) async fn settle(&self) {
        let all = self.writes.acquire_many(WRITES_AT_ONCE as u32).await;
        drop(all);
        self.index.run_pending_tasks().await;
    }
}

/// A range's bytes from the blocks that it touches.
fn assemble(range: &Range<u64>, blocks: &BTreeMap<u64, Option<Bytes>>) -> Bytes {
    let part = |number: u64, block: &Bytes| {
        let start = number * BLOCK_BYTES;
        let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(0).min(block.len());
        within(range.start)..within(range.end)
    };
    let (first, after) = (range.start / BLOCK_BYTES, range.end.div_ceil(BLOCK_BYTES));
    let touched = blocks.range(first..after.max(first));
    let touched = touched.filter_map(|(number, block)| Some((*number, block.as_ref()?)));
    let mut touched = touched.peekable();
    if after == first + 1
        && let Some((number, block)) = touched.peek()
    {
        return block.slice(part(*number, block));
    }
    let mut bytes = BytesMut::with_capacity(range.end.saturating_sub(range.start) as usize);
    for (number, block) in touched {
        bytes.extend_from_slice(block.get(part(number, block)).unwrap_or_default());
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests;
