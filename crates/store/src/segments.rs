//! Reads segments: filter, directory, then the byte ranges of the rows asked for. What was parsed is
//! kept within budgets of bytes; every byte is checked against its checksum before it is interpreted.

mod cache;
mod directory;
mod disk_cache;
mod filters;
mod helpers;
mod index;
mod reading;
mod reads;
pub mod report;
mod rows;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use object_store::ObjectStore;
use tracelake_format::FormatError;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{
    KeyFilter, OpenSegment, Section, ValueFilters, WholeSegment, WrittenSegment,
};
use tracelake_model::limits;
use ulid::Ulid;

use self::cache::BlockCache;
pub use self::disk_cache::DiskCache;
use self::filters::{Filter, Filters, Known};
use self::helpers::Helpers;
use self::index::IndexCache;
pub use self::reading::ReadInProgress;
use self::reading::Reading;
use self::reads::RangeReader;
use self::report::{ReadReport, add, add_time};
pub use self::rows::{FoundInSegment, ReadRows, other_trace};
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
    /// Bytes of filters of values.
    pub value_filter_bytes_max: u64,
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
            value_filter_bytes_max: limits::VALUE_FILTER_BYTES_MAX,
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
    filters: Arc<Filters<KeyFilter>>,
    value_filters: Arc<Filters<ValueFilters>>,
    blocks: Arc<BlockCache>,
    index: Arc<IndexCache>,
    totals: Arc<ReadReport>,
    failed: Arc<Mutex<HashSet<Ulid>>>,
    /// Whether something is read in advance, after a start.
    is_loading: Arc<AtomicBool>,
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
    /// Bytes of filters of values.
    pub value_filter_bytes: u64,
    /// Bytes of pages, directory blocks and resources, and of what is known of pages that were missed.
    pub block_bytes: u64,
    /// Bytes of attribute indexes.
    pub index_bytes: u64,
    /// Bytes on the disk of the disk cache.
    pub disk_cache_bytes: u64,
    /// Blocks on their way there.
    pub disk_cache_writing: u64,
    /// 1 while, after a start, what is known of segments is read in advance; else 0.
    pub loading: u64,
}

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
            value_filters: Arc::new(Filters::new(options.value_filter_bytes_max)),
            blocks: Arc::new(BlockCache::new(options.block_cache_bytes_max)),
            index: Arc::new(IndexCache::new(options.index_cache_bytes_max)),
            totals: Arc::default(),
            failed: Arc::default(),
            is_loading: Arc::default(),
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
        let open = || {
            let of_values = meta
                .value_filters
                .map(|section| parse_section(&section, part(section.range()), parse_value_filters));
            let filter = parse_section(&meta.filter, part(meta.filter.range()), KeyFilter::parse)?;
            let segment = OpenSegment::open(meta, part(OpenSegment::tail_range(meta)))?;
            Ok::<_, FormatError>((segment, filter, of_values.transpose()?))
        };
        match open() {
            Ok((segment, filter, of_values)) => {
                self.metadata.insert(meta.id, Arc::new(segment)).await;
                self.filters.insert(meta.id, Known::Filter(Arc::new(filter)));
                if let Some(of_values) = of_values {
                    self.value_filters.insert(meta.id, Known::Filter(Arc::new(of_values)));
                }
            }
            // Whoever reads it from the store will see the same, and say so in the answer.
            Err(error) => tracing::error!(segment = %meta.id, %error, "a new segment does not open"),
        }
    }

    /// Forgets segments that are no more.
    pub(crate) async fn retain(&self, is_live: impl Fn(&Ulid) -> bool) {
        self.filters.retain(&is_live);
        self.value_filters.retain(&is_live);
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
            value_filter_bytes: self.value_filters.size().1,
            block_bytes: self.blocks.bytes(),
            index_bytes: self.index.bytes(),
            disk_cache_bytes: self.reader.disk_cache().map_or(0, DiskCache::bytes),
            disk_cache_writing: self.reader.disk_cache().map_or(0, DiskCache::writing),
            loading: u64::from(self.is_loading.load(Ordering::Relaxed)),
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
        self.filters.may(segment, |filter| filter.contains(key))
    }

    /// The same of several keys, with the filter read if need be: once.
    pub async fn may_hold_read(
        &self,
        entry: &SegmentEntry,
        keys: &[u64],
        report: &ReadReport,
    ) -> Result<Vec<bool>, StoreError> {
        let known = self.filter(entry, report).await?;
        Ok(keys.iter().map(|key| known.may(|filter| filter.contains(*key))).collect())
    }

    /// Whether the segment may have spans of which its filters of values say so; none if those are not in memory.
    pub fn may_hold_values(
        &self,
        segment: Ulid,
        says: impl FnOnce(&ValueFilters) -> bool,
        report: &ReadReport,
    ) -> Option<bool> {
        add(&report.value_filters_asked, 1);
        self.value_filters.may(segment, says)
    }

    /// Has a segment's filter in memory, if there is room.
    pub(crate) async fn load_filter(&self, entry: &SegmentEntry) -> Result<(), StoreError> {
        if self.filters.is_full() {
            return Ok(());
        }
        self.filter(entry, &ReadReport::default()).await.map(drop)
    }

    /// Has a segment's filters of values in memory, if it has any and there is room.
    pub(crate) async fn load_value_filters(&self, entry: &SegmentEntry) -> Result<(), StoreError> {
        let Some(section) = entry.meta.value_filters.filter(|_| !self.value_filters.is_full()) else {
            return Ok(());
        };
        let report = ReadReport::default();
        self.read_filter(&self.value_filters, entry, &section, parse_value_filters, &report).await.map(drop)
    }

    /// Has a segment's metadata in memory, and the fields and traces of its attribute index; the bytes that each of both
    /// takes.
    pub(crate) async fn load_metadata(&self, entry: &SegmentEntry) -> Result<[u64; 2], StoreError> {
        let report = ReadReport::default();
        let segment = self.opened(entry, &report).await?;
        let mut index_bytes = 0;
        for part in segment.index_parts() {
            let header = self.index_header(entry, &segment, part, &report).await?;
            let traces = self.index_traces(entry, &segment, &header, &report).await?;
            index_bytes += header.heap_bytes() + traces.heap_bytes();
        }
        Ok([segment.heap_bytes() as u64, index_bytes as u64])
    }

    /// How much of either may be in memory.
    pub(crate) fn metadata_bytes_max(&self) -> [u64; 2] {
        [self.metadata.policy().max_capacity().unwrap_or(u64::MAX), self.index.bytes_max()]
    }

    /// Says whether something is read in advance.
    pub(crate) fn set_loading(&self, is_loading: bool) {
        self.is_loading.store(is_loading, Ordering::Relaxed);
    }

    async fn filter(
        &self,
        entry: &SegmentEntry,
        report: &ReadReport,
    ) -> Result<Known<KeyFilter>, StoreError> {
        self.read_filter(&self.filters, entry, &entry.meta.filter, KeyFilter::parse, report).await
    }

    /// A filter from memory, or from its section of the file. A damaged one allows everything: it only spares a look at
    /// what has checksums of its own.
    async fn read_filter<F: Filter>(
        &self,
        filters: &Filters<F>,
        entry: &SegmentEntry,
        section: &Section,
        parse: impl Fn(Bytes) -> Result<F, FormatError>,
        report: &ReadReport,
    ) -> Result<Known<F>, StoreError> {
        let _turn = filters.turn(entry.meta.id).await;
        if let Some(known) = filters.get(entry.meta.id) {
            return Ok(known);
        }
        let since = Instant::now();
        add(&report.filters_read, 1);
        let parse = |bytes: Bytes| parse_section(section, bytes, &parse);
        let range = section.range();
        let mut parsed = parse(self.reader.range(entry, range.clone(), report).await?);
        if let (Err(_), Some(cache)) = (&parsed, self.reader.disk_cache()) {
            cache.distrust(entry.meta.id);
            parsed = parse(self.reader.range(entry, range, report).await?);
        }
        let known = match parsed {
            Ok(filter) => Known::Filter(Arc::new(filter)),
            Err(error) => {
                tracing::error!(segment = entry.path, %error, "damaged, and done without: {}", F::WHAT);
                Known::Damaged
            }
        };
        filters.insert(entry.meta.id, known.clone());
        add_time(&report.filter_us, since);
        Ok(known)
    }

    /// The segment's metadata, from memory or from its tail.
    pub async fn open(&self, entry: &SegmentEntry) -> Result<Arc<OpenSegment>, StoreError> {
        self.opened(entry, &ReadReport::default()).await
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

    /// With all that its footer says, for those who go through all of it; not kept.
    pub async fn open_whole(&self, entry: &SegmentEntry) -> Result<WholeSegment, StoreError> {
        let range = OpenSegment::tail_range(&entry.meta);
        let tail = self.reader.without_disk_cache().range(entry, range, &ReadReport::default()).await?;
        WholeSegment::open(&entry.meta, tail).map_err(|error| self.damaged(entry, error))
    }

    /// Bytes of a segment's file, for those who go through it.
    pub async fn read_range(&self, entry: &SegmentEntry, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.reader.without_disk_cache().range(entry, range, &ReadReport::default()).await
    }
}

fn parse_section<F>(
    section: &Section,
    bytes: Bytes,
    parse: impl Fn(Bytes) -> Result<F, FormatError>,
) -> Result<F, FormatError> {
    OpenSegment::verify_section(section, &bytes)?;
    parse(bytes)
}

fn parse_value_filters(bytes: Bytes) -> Result<ValueFilters, FormatError> {
    ValueFilters::parse(&bytes)
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
