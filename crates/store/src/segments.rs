//! Reads segments: filter, directory, then the byte ranges of the rows asked for. What was parsed is
//! kept within budgets of bytes; every byte is checked against its checksum before it is interpreted.

mod cache;
mod disk_cache;
mod filters;
mod helpers;
mod index;
mod reading;
mod reads;
pub mod report;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use object_store::ObjectStore;
use tracelake_format::FormatError;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{
    ColumnSet, Decoding, DirectoryBlock, OpenSegment, Projection, ReadCache, SegmentMeta, TraceEntry,
    TraceFilter, WholeSegment, WrittenSegment,
};
use tracelake_model::{SpanBatch, TenantId, TraceId, limits};
use ulid::Ulid;

use self::cache::BlockCache;
pub use self::disk_cache::DiskCache;
use self::filters::{Filters, Known};
use self::helpers::Helpers;
use self::index::IndexCache;
pub use self::reading::ReadInProgress;
use self::reading::Reading;
use self::reads::RangeReader;
use self::report::{ReadReport, add, add_time};
use crate::StoreError;
use crate::local_store::is_cut_short;

/// Segments lie in one folder.
pub(crate) const SEGMENTS: &str = "segments";

/// The name says nothing, so nothing hangs on it.
pub(crate) fn segment_path(id: Ulid) -> String {
    format!("{SEGMENTS}/{id}.parquet")
}

/// The segment of a file that Tracelake can have written: others in the folder are none of its own.
pub fn segment_id(path: &str) -> Option<Ulid> {
    let name = path.strip_prefix(SEGMENTS)?.strip_prefix('/')?;
    Ulid::from_string(name.strip_suffix(".parquet")?).ok()
}

/// How segments are read, and what may be kept in memory of them.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Bytes of open segments' metadata.
    pub metadata_cache_bytes_max: u64,
    /// Bytes of trace-ID filters.
    pub filter_cache_bytes_max: u64,
    /// Bytes of pages, directory blocks and resources, and of what is known of pages that were missed.
    pub block_cache_bytes_max: u64,
    /// Bytes of attribute indexes.
    pub index_cache_bytes_max: u64,
    /// A read that takes longer is begun a second time; none: never.
    pub hedge_after: Option<Duration>,
    /// Ranges of a file with at most so many bytes between them are read as one.
    pub gap_bytes_max: u64,
    /// Threads that help lookups to decode what they have read.
    pub decode_helpers: usize,
    /// Where blocks of files are kept that were read; none: nowhere.
    pub disk_cache: Option<Arc<DiskCache>>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            metadata_cache_bytes_max: limits::METADATA_CACHE_BYTES_MAX,
            filter_cache_bytes_max: limits::FILTER_CACHE_BYTES_MAX,
            block_cache_bytes_max: limits::BLOCK_CACHE_BYTES_MAX,
            index_cache_bytes_max: limits::INDEX_CACHE_BYTES_MAX,
            hedge_after: None,
            gap_bytes_max: limits::LOCAL_GAP_BYTES_MAX,
            // Whoever looks up a trace decodes, too.
            decode_helpers: std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1),
            disk_cache: None,
        }
    }
}

/// The reader of all segments of a store.
#[derive(Debug, Clone)]
pub struct Segments {
    reader: RangeReader,
    metadata: Cache<Ulid, Arc<OpenSegment>>,
    filters: Arc<Filters>,
    blocks: Arc<BlockCache>,
    index: Arc<IndexCache>,
    totals: Arc<ReadReport>,
    failed: Arc<Mutex<HashSet<Ulid>>>,
    helpers: Helpers,
    reading: Reading,
}

/// What is kept in memory of segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CacheSizes {
    /// Bytes of metadata of open segments.
    pub metadata_bytes: u64,
    /// Filters in memory.
    pub filters: u64,
    /// Their bytes.
    pub filter_bytes: u64,
    /// Bytes of pages, directory blocks and resources, and of what is known of pages that were missed.
    pub block_bytes: u64,
    /// Bytes of attribute indexes.
    pub index_bytes: u64,
    /// Bytes on the disk of the disk cache.
    pub disk_cache_bytes: u64,
    /// Blocks on their way there.
    pub disk_cache_writing: u64,
}

/// A trace's rows in one segment.
#[derive(Debug)]
pub struct FoundInSegment {
    /// The rows that were read, in order.
    pub batches: Vec<SpanBatch>,
    /// How many there are, which may be more.
    pub rows_total: u64,
}

/// Rows of a segment that were read together.
#[derive(Debug)]
pub struct ReadRows {
    /// The rows, in order; the last ones lack if all were too much.
    pub batch: SpanBatch,
    /// The generation of each, where that was wanted.
    pub generations: Vec<u64>,
    /// Which they were to be.
    pub runs: Vec<Range<u64>>,
    /// How many of the ranges that were asked for these are: all, or the first of them.
    pub asked: usize,
}

/// What is read of a segment.
#[derive(Clone, Copy)]
struct Wanted<'r> {
    /// In order.
    rows: &'r [Range<u64>],
    /// They have nothing in other columns.
    filled: ColumnSet,
    projection: &'r Projection,
}

/// Row groups that are fetched together: some 6 MiB, where rows are large up to 32.
const GROUPS_AT_ONCE: usize = 4;

/// What is fetched for several traces together: of each of them it may be a page of every column.
const FETCH_BYTES_MAX: u64 = 64 << 20;

/// More rows than this are decoded on a thread that may block: some milliseconds.
const INLINE_ROWS_MAX: u64 = 1_000;

impl Segments {
    /// With budgets for what is kept.
    pub fn new(object_store: Arc<dyn ObjectStore>, options: &ReadOptions) -> Self {
        let bytes = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let metadata = Cache::builder()
            .max_capacity(options.metadata_cache_bytes_max)
            // What merges have replaced was asked for more often than what they wrote: by how often, the new would
            // be turned away again and again.
            .eviction_policy(EvictionPolicy::lru())
            .weigher(move |_, segment: &Arc<OpenSegment>| bytes(segment.heap_bytes()));
        Self {
            reader: RangeReader::new(
                object_store,
                options.hedge_after,
                options.gap_bytes_max,
                options.disk_cache.clone(),
            ),
            metadata: metadata.build(),
            filters: Arc::new(Filters::new(options.filter_cache_bytes_max)),
            blocks: Arc::new(BlockCache::new(options.block_cache_bytes_max)),
            index: Arc::new(IndexCache::new(options.index_cache_bytes_max)),
            totals: Arc::default(),
            failed: Arc::default(),
            helpers: Helpers::new(options.decode_helpers),
            // The helpers are as many as there are cores beside that of whoever reads.
            reading: Reading::new(options.decode_helpers + 1),
        }
    }

    /// Counts a read for a query until it is dropped, so that merges know of it.
    pub fn begin_read(&self) -> ReadInProgress {
        self.reading.begin()
    }

    /// Whether queries read rows on all cores.
    pub(crate) fn is_read_on_all_cores(&self) -> bool {
        self.reading.is_on_all_cores()
    }

    /// What was read of a segment is damaged: whoever tries again reads it where it lies.
    pub fn damaged(&self, entry: &SegmentEntry, error: FormatError) -> StoreError {
        if let Some(cache) = self.reader.disk_cache() {
            cache.distrust(entry.meta.id);
        }
        damaged(entry, error)
    }

    /// Keeps what is known of a segment that was just written, so that it need not be read.
    pub async fn remember(&self, written: &WrittenSegment) {
        let meta = &written.meta;
        // Copies: a slice would keep the whole file in memory.
        let part = |range: Range<u64>| {
            let place = |at: u64| Some(at.checked_sub(written.offset)? as usize);
            let range = place(range.start).zip(place(range.end));
            let bytes = range.and_then(|(start, end)| written.bytes.get(start..end));
            Bytes::copy_from_slice(bytes.unwrap_or_default())
        };
        let opened = OpenSegment::open(meta, part(OpenSegment::tail_range(meta)))
            .and_then(|segment| Ok((segment, parse_filter(meta, part(meta.filter.range()))?)));
        match opened {
            Ok((segment, filter)) => {
                self.metadata.insert(meta.id, Arc::new(segment)).await;
                self.filters.insert(meta.id, Known::Filter(Arc::new(filter)));
            }
            // Whoever reads it from the store will see the same, and say so in the answer.
            Err(error) => tracing::error!(segment = %meta.id, %error, "a new segment does not open"),
        }
    }

    /// Forgets segments that are no more.
    pub(crate) async fn retain(&self, is_live: impl Fn(&Ulid) -> bool) {
        self.filters.retain(&is_live);
        let gone: Vec<Arc<Ulid>> = self.metadata.iter().map(|(id, _)| id).filter(|id| !is_live(id)).collect();
        for id in gone {
            self.metadata.invalidate(&*id).await;
        }
        if let Some(cache) = self.reader.disk_cache() {
            cache.retain(&is_live);
        }
    }

    /// Whether reading a segment failed for the first time, for those who would say so each time.
    pub fn is_first_failure(&self, segment: Ulid) -> bool {
        /// Beyond it nothing is said any more.
        const NAMED_MAX: usize = 1_024;
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.len() < NAMED_MAX && failed.insert(segment)
    }

    /// What is kept in memory.
    pub fn cache_sizes(&self) -> CacheSizes {
        let (filters, filter_bytes) = self.filters.size();
        CacheSizes {
            metadata_bytes: self.metadata.weighted_size(),
            filters,
            filter_bytes,
            block_bytes: self.blocks.bytes(),
            index_bytes: self.index.bytes(),
            disk_cache_bytes: self.reader.disk_cache().map_or(0, DiskCache::bytes),
            disk_cache_writing: self.reader.disk_cache().map_or(0, DiskCache::writing),
        }
    }

    /// What all requests [accounted](Self::account) for have cost.
    pub fn totals(&self) -> &ReadReport {
        &self.totals
    }

    /// Adds what a request has cost to the totals.
    pub fn account(&self, report: &ReadReport) {
        self.totals.add_all(report);
    }

    /// Whether the segment may hold the key, as its filter says; none if that is not in memory.
    pub fn may_hold(&self, segment: Ulid, key: u64, report: &ReadReport) -> Option<bool> {
        add(&report.filters_asked, 1);
        self.filters.may_hold(segment, key)
    }

    /// The same of several keys, with the filter read if need be: once.
    pub async fn may_hold_read(
        &self,
        entry: &SegmentEntry,
        keys: &[u64],
        report: &ReadReport,
    ) -> Result<Vec<bool>, StoreError> {
        let known = self.filter(entry, report).await?;
        Ok(keys.iter().map(|key| known.may_hold(*key)).collect())
    }

    /// Has a segment's filter in memory, if there is room.
    pub(crate) async fn load_filter(&self, entry: &SegmentEntry) -> Result<(), StoreError> {
        if self.filters.is_full() {
            return Ok(());
        }
        self.filter(entry, &ReadReport::default()).await.map(drop)
    }

    /// A damaged filter allows everything: it only spares a look at the directory, which has checksums of its
    /// own.
    async fn filter(&self, entry: &SegmentEntry, report: &ReadReport) -> Result<Known, StoreError> {
        let _turn = self.filters.turn(entry.meta.id).await;
        if let Some(known) = self.filters.get(entry.meta.id) {
            return Ok(known);
        }
        let since = Instant::now();
        add(&report.filters_read, 1);
        let range = entry.meta.filter.range();
        let bytes = self.reader.range(entry, range.clone(), report).await?;
        let mut parsed = parse_filter(&entry.meta, bytes);
        if let (Err(_), Some(cache)) = (&parsed, self.reader.disk_cache()) {
            cache.distrust(entry.meta.id);
            parsed = parse_filter(&entry.meta, self.reader.range(entry, range, report).await?);
        }
        let known = match parsed {
            Ok(filter) => Known::Filter(Arc::new(filter)),
            Err(error) => {
                tracing::error!(segment = entry.path, %error, "a trace filter is damaged and does without");
                Known::Damaged
            }
        };
        self.filters.insert(entry.meta.id, known.clone());
        add_time(&report.filter_us, since);
        Ok(known)
    }

    /// Where the trace is in this segment; none if it has none of it.
    pub async fn locate(
        &self,
        entry: &SegmentEntry,
        tenant: &TenantId,
        trace_id: &TraceId,
        report: &ReadReport,
    ) -> Result<Option<TraceEntry>, StoreError> {
        add(&report.segments_searched, 1);
        let segment = self.opened(entry, report).await?;
        let since = Instant::now();
        let found = match segment.directory_block_range(tenant, trace_id) {
            None => None,
            Some(range) => {
                let block = self.directory_block(entry, &segment, range, report).await?;
                segment.find_trace(&block, tenant, trace_id).map_err(|error| self.damaged(entry, error))?
            }
        };
        add_time(&report.directory_us, since);
        if found.is_none() {
            add(&report.false_reads, 1);
        }
        Ok(found)
    }

    /// Where traces are in this segment: those that are, by their rows. Each block of the directory is read
    /// once.
    pub async fn locate_many(
        &self,
        entry: &SegmentEntry,
        tenant: &TenantId,
        trace_ids: &[TraceId],
        report: &ReadReport,
    ) -> Result<Vec<TraceEntry>, StoreError> {
        add(&report.segments_searched, 1);
        let segment = self.opened(entry, report).await?;
        let since = Instant::now();
        let mut wanted: BTreeMap<u64, (Range<u64>, HashSet<TraceId>)> = BTreeMap::new();
        for trace_id in trace_ids {
            if let Some(range) = segment.directory_block_range(tenant, trace_id) {
                wanted.entry(range.start).or_insert((range, HashSet::new())).1.insert(*trace_id);
            }
        }
        let mut located = Vec::with_capacity(trace_ids.len());
        for (range, trace_ids) in wanted.into_values() {
            let block = self.directory_block(entry, &segment, range, report).await?;
            let found = segment.find_traces(&block, tenant, &trace_ids);
            located.extend(found.map_err(|error| self.damaged(entry, error))?);
        }
        located.sort_by_key(|trace| trace.first_row);
        add(&report.false_reads, (trace_ids.len().saturating_sub(located.len())) as u64);
        add_time(&report.directory_us, since);
        Ok(located)
    }

    /// The rows of a trace in this segment, at most `rows_max` of them, and no more when they take `bytes_max`; none
    /// if it has none.
    pub async fn search(
        &self,
        entry: &SegmentEntry,
        tenant: &TenantId,
        trace_id: &TraceId,
        rows_max: u64,
        bytes_max: usize,
        report: &ReadReport,
    ) -> Result<Option<FoundInSegment>, StoreError> {
        let Some(found) = self.locate(entry, tenant, trace_id, report).await? else { return Ok(None) };
        let read = self.read_trace(entry, &found, rows_max, &Projection::ALL, bytes_max, report).await?;
        let batches = read.into_iter().map(|read| read.batch).collect();
        Ok(Some(FoundInSegment { batches, rows_total: found.rows }))
    }

    /// The rows of a trace that was located, at most `rows_max`, a few row groups at a time, until they take
    /// `bytes_max`.
    pub async fn read_trace(
        &self,
        entry: &SegmentEntry,
        trace: &TraceEntry,
        rows_max: u64,
        projection: &Projection,
        bytes_max: usize,
        report: &ReadReport,
    ) -> Result<Vec<ReadRows>, StoreError> {
        let cache: Arc<dyn ReadCache> = Arc::clone(&self.blocks) as _;
        let (mut parts, mut bytes) = (Vec::new(), 0);
        let mut rows = trace.first_row..trace.first_row + trace.rows.min(rows_max);
        while !rows.is_empty() && bytes < bytes_max {
            let wanted = Wanted { rows: slice::from_ref(&rows), filled: trace.columns, projection };
            let read = self.read_first(entry, wanted, Some(&cache), bytes_max - bytes, report);
            let read = read.await?;
            let batch = &read.batch;
            if batch.is_empty() || batch.trace_ids().any(|other| *other != trace.trace_id) {
                return Err(other_trace(entry, &trace.trace_id));
            }
            rows.start += batch.len() as u64;
            bytes += batch.heap_bytes();
            parts.push(read);
        }
        Ok(parts)
    }

    /// The first of a range of a segment's rows, one at least, and no more when they take `bytes_max`, for those who
    /// go through many: what they read is not kept.
    pub async fn read_rows(
        &self,
        entry: &SegmentEntry,
        rows: Range<u64>,
        projection: &Projection,
        bytes_max: usize,
        report: &ReadReport,
    ) -> Result<ReadRows, StoreError> {
        let wanted = Wanted { rows: &[rows], filled: ColumnSet::ALL, projection };
        self.read_first(entry, wanted, None, bytes_max, report).await
    }

    /// Rows of a segment, in order, with few others between them where that is cheaper; no more when they take
    /// `bytes_max`. Of the first ranges alone if more would have to be fetched for all than is held at once.
    pub async fn read_runs(
        &self,
        entry: &SegmentEntry,
        rows: &[Range<u64>],
        projection: &Projection,
        bytes_max: usize,
        report: &ReadReport,
    ) -> Result<ReadRows, StoreError> {
        let cache: Arc<dyn ReadCache> = Arc::clone(&self.blocks) as _;
        let wanted = Wanted { rows, filled: ColumnSet::ALL, projection };
        self.read(entry, wanted, Some(&cache), usize::MAX, bytes_max, report).await
    }

    /// The first of these rows, of few row groups.
    async fn read_first(
        &self,
        entry: &SegmentEntry,
        wanted: Wanted<'_>,
        cache: Option<&Arc<dyn ReadCache>>,
        bytes_max: usize,
        report: &ReadReport,
    ) -> Result<ReadRows, StoreError> {
        self.read(entry, wanted, cache, GROUPS_AT_ONCE, bytes_max, report).await
    }

    async fn read(
        &self,
        entry: &SegmentEntry,
        wanted: Wanted<'_>,
        cache: Option<&Arc<dyn ReadCache>>,
        groups_max: usize,
        bytes_max: usize,
        report: &ReadReport,
    ) -> Result<ReadRows, StoreError> {
        let _reading = self.begin_read();
        let segment = self.opened(entry, report).await?;
        let since = Instant::now();
        let mut rows: Vec<Range<u64>> =
            wanted.rows.iter().map(|rows| segment.rows_of_groups(rows, groups_max)).collect();
        let plan = loop {
            let plan = segment.plan_projected(&rows, wanted.filled, wanted.projection, cache);
            let bytes: u64 = plan.ranges().iter().map(|range| range.end - range.start).sum();
            if rows.len() <= 1 || bytes <= FETCH_BYTES_MAX {
                break plan;
            }
            rows.truncate(rows.len() / 2);
        };
        let asked = rows.len();
        let runs = plan.runs().to_vec();
        let rows: u64 = runs.iter().map(|run| run.end - run.start).sum();
        let (pages, cached) = plan.pages();
        add(&report.pages, pages as u64);
        add(&report.pages_cached, cached as u64);
        let (dictionaries, cached) = plan.dictionaries();
        add(&report.dictionaries, dictionaries as u64);
        add(&report.dictionaries_cached, cached as u64);
        let fetched = match cache {
            Some(_) => self.reader.ranges(entry, plan.ranges(), report).await?,
            None => self.reader.without_disk_cache().ranges(entry, plan.ranges(), report).await?,
        };
        add_time(&report.fetch_us, since);
        let since = Instant::now();
        let decoding = Decoding::new(segment, plan, fetched);
        let decoding = decoding.map(|decoding| Arc::new(decoding.at_most(bytes_max)));
        let decoding = decoding.map_err(|error| self.damaged(entry, error))?;
        self.helpers.help(&decoding);
        let decoded = if rows <= INLINE_ROWS_MAX {
            decoding.finish_with_generations()
        } else {
            tokio::task::spawn_blocking(move || decoding.finish_with_generations())
                .await
                .map_err(|_| StoreError::TaskDied { what: "a decoding task" })?
        };
        let (batch, generations) = decoded.map_err(|error| self.damaged(entry, error))?;
        add(&report.rows_decoded, batch.len() as u64);
        add_time(&report.decode_us, since);
        // Where nothing had to be waited for, others have their turn, and deadlines are looked at.
        tokio::task::yield_now().await;
        Ok(ReadRows { batch, generations, runs, asked })
    }

    async fn directory_block(
        &self,
        entry: &SegmentEntry,
        segment: &OpenSegment,
        range: Range<u64>,
        report: &ReadReport,
    ) -> Result<Arc<DirectoryBlock>, StoreError> {
        add(&report.directory_blocks, 1);
        let (id, start) = (entry.meta.id, range.start);
        if let Some(block) = self.blocks.directory(id, start) {
            add(&report.directory_blocks_cached, 1);
            return Ok(block);
        }
        let bytes = self.reader.range(entry, range.clone(), report).await?;
        let block = segment.directory_block(&range, &bytes).map_err(|error| self.damaged(entry, error))?;
        let block = Arc::new(block);
        self.blocks.insert_directory(id, start, &block);
        Ok(block)
    }

    /// The segment's metadata, from memory or from its tail.
    pub async fn open(&self, entry: &SegmentEntry) -> Result<Arc<OpenSegment>, StoreError> {
        self.opened(entry, &ReadReport::default()).await
    }

    /// With all that its footer says, for those who go through all of it; not kept.
    pub async fn open_whole(&self, entry: &SegmentEntry) -> Result<WholeSegment, StoreError> {
        let range = OpenSegment::tail_range(&entry.meta);
        let tail = self.reader.without_disk_cache().range(entry, range, &ReadReport::default()).await?;
        WholeSegment::open(&entry.meta, tail).map_err(|error| self.damaged(entry, error))
    }

    /// The same, for a request.
    pub async fn opened(
        &self,
        entry: &SegmentEntry,
        report: &ReadReport,
    ) -> Result<Arc<OpenSegment>, StoreError> {
        add(&report.metadata_asked, 1);
        if let Some(segment) = self.metadata.get(&entry.meta.id).await {
            return Ok(segment);
        }
        let since = Instant::now();
        let load = async {
            add(&report.segments_opened, 1);
            let tail = self.reader.range(entry, OpenSegment::tail_range(&entry.meta), report).await?;
            OpenSegment::open(&entry.meta, tail).map(Arc::new).map_err(|error| self.damaged(entry, error))
        };
        let opened = self.metadata.try_get_with(entry.meta.id, load).await.map_err(StoreError::shared);
        add_time(&report.open_us, since);
        opened
    }

    /// Bytes of a segment's file, for those who go through it.
    pub async fn read_range(&self, entry: &SegmentEntry, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.reader.without_disk_cache().range(entry, range, &ReadReport::default()).await
    }
}

/// What a directory says contradicts what is there.
pub fn other_trace(entry: &SegmentEntry, trace_id: &TraceId) -> StoreError {
    let detail = format!("the directory names rows of trace {trace_id} that are of another");
    damaged(entry, FormatError::damaged("segment", detail))
}

fn parse_filter(meta: &SegmentMeta, bytes: Bytes) -> Result<TraceFilter, FormatError> {
    OpenSegment::verify_section(&meta.filter, &bytes)?;
    TraceFilter::parse(bytes)
}

/// The object store did not give what was asked for.
pub(crate) fn unreadable(entry: &SegmentEntry, source: object_store::Error) -> StoreError {
    if is_cut_short(&source) {
        let detail = format!("its file is shorter than the {} bytes that it had", entry.meta.size_bytes);
        return damaged(entry, FormatError::damaged("segment", detail));
    }
    StoreError::SegmentRead { segment: entry.path.clone(), source }
}

pub(crate) fn damaged(entry: &SegmentEntry, source: FormatError) -> StoreError {
    StoreError::Segment { segment: entry.path.clone(), source }
}
