//! Reads segments: filter, directory, then the byte ranges of the rows asked for. What was parsed is
//! kept within budgets of bytes; every byte is checked against its checksum before it is interpreted.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use moka::future::Cache;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tracelake_format::FormatError;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{OpenSegment, SegmentMeta, TraceFilter, WrittenSegment};
use tracelake_model::hash::{filter_key, tenant_hash};
use tracelake_model::{SpanBatch, TenantId, TraceId};
use ulid::Ulid;

use crate::StoreError;

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

/// The reader of all segments of a store.
#[derive(Debug, Clone)]
pub struct Segments {
    object_store: Arc<dyn ObjectStore>,
    metadata: Cache<Ulid, Arc<OpenSegment>>,
    /// None: it is damaged, and any trace may be in the segment.
    filters: Cache<Ulid, Option<Arc<TraceFilter>>>,
}

/// A trace's rows in one segment.
#[derive(Debug)]
pub struct FoundInSegment {
    /// The rows that were read.
    pub batch: SpanBatch,
    /// How many there are, which may be more.
    pub rows_total: u64,
}

/// More rows than this are decoded on a thread that may block: some milliseconds.
const INLINE_ROWS_MAX: u64 = 1_000;

impl Segments {
    /// With budgets for what is kept.
    pub fn new(
        object_store: Arc<dyn ObjectStore>,
        metadata_cache_bytes_max: u64,
        filter_cache_bytes_max: u64,
    ) -> Self {
        let bytes = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let metadata = Cache::builder()
            .max_capacity(metadata_cache_bytes_max)
            .weigher(move |_, segment: &Arc<OpenSegment>| bytes(segment.heap_bytes()));
        let filters = Cache::builder().max_capacity(filter_cache_bytes_max).weigher(
            move |_, filter: &Option<Arc<TraceFilter>>| bytes(filter.as_ref().map_or(1, |f| f.heap_bytes())),
        );
        Self { object_store, metadata: metadata.build(), filters: filters.build() }
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
                self.filters.insert(meta.id, Some(Arc::new(filter))).await;
            }
            // Whoever reads it from the store will see the same, and say so in the answer.
            Err(error) => tracing::error!(segment = %meta.id, %error, "a new segment does not open"),
        }
    }

    /// The rows of a trace in this segment, at most `rows_max` of them; none if it has none.
    pub async fn find(
        &self,
        entry: &SegmentEntry,
        tenant: &TenantId,
        trace_id: &TraceId,
        rows_max: u64,
    ) -> Result<Option<FoundInSegment>, StoreError> {
        if entry.meta.tenant(tenant).is_none() {
            return Ok(None);
        }
        let key = filter_key(tenant_hash(tenant), trace_id);
        if self.filter(entry).await?.is_some_and(|filter| !filter.contains(key)) {
            return Ok(None);
        }
        let segment = self.open(entry).await?;
        let Some(block_range) = segment.directory_block_range(tenant, trace_id) else { return Ok(None) };
        let block = self.read(entry, std::slice::from_ref(&block_range)).await?;
        let Some(block) = block.into_iter().next() else { return Ok(None) };
        let Some(found) =
            segment.find_trace(&block, tenant, trace_id).map_err(|error| damaged(entry, error))?
        else {
            return Ok(None);
        };
        let rows_total = found.rows;
        let batch =
            self.read_rows(entry, found.first_row..found.first_row + rows_total.min(rows_max)).await?;
        if batch.trace_ids().iter().any(|other| other != trace_id) {
            let detail = format!("the directory names rows of trace {trace_id} that are of another");
            return Err(damaged(entry, FormatError::damaged("segment", detail)));
        }
        Ok(Some(FoundInSegment { batch, rows_total }))
    }

    /// A range of a segment's rows.
    pub async fn read_rows(&self, entry: &SegmentEntry, rows: Range<u64>) -> Result<SpanBatch, StoreError> {
        if rows.is_empty() {
            return Ok(SpanBatch::default());
        }
        let segment = self.open(entry).await?;
        let ranges = segment.ranges_for_rows(rows.clone());
        let fetched = self.read(entry, &ranges).await?;
        let fetched: Vec<(Range<u64>, Bytes)> = ranges.into_iter().zip(fetched).collect();
        let decoded = if rows.end - rows.start <= INLINE_ROWS_MAX {
            segment.decode_rows(rows, fetched)
        } else {
            tokio::task::spawn_blocking(move || segment.decode_rows(rows, fetched))
                .await
                .map_err(|_| StoreError::TaskDied { what: "a decoding task" })?
        };
        decoded.map_err(|error| damaged(entry, error))
    }

    /// The segment's metadata, from memory or from its tail.
    pub async fn open(&self, entry: &SegmentEntry) -> Result<Arc<OpenSegment>, StoreError> {
        let load = async {
            let tail = self.read_range(entry, OpenSegment::tail_range(&entry.meta)).await?;
            OpenSegment::open(&entry.meta, tail).map(Arc::new).map_err(|error| damaged(entry, error))
        };
        self.metadata.try_get_with(entry.meta.id, load).await.map_err(StoreError::shared)
    }

    /// None if it is damaged. It only spares a look at the directory, which has checksums of its own:
    /// without it an answer is slower, and whole.
    async fn filter(&self, entry: &SegmentEntry) -> Result<Option<Arc<TraceFilter>>, StoreError> {
        let load = async {
            let bytes = self.read_range(entry, entry.meta.filter.range()).await?;
            let filter = parse_filter(&entry.meta, bytes).map(Arc::new);
            // Said once, as this is remembered.
            let damaged = |error: &FormatError| {
                tracing::error!(segment = entry.path, %error, "a trace filter is damaged and does without");
            };
            Ok::<_, StoreError>(filter.inspect_err(damaged).ok())
        };
        self.filters.try_get_with(entry.meta.id, load).await.map_err(StoreError::shared)
    }

    /// A segment's whole file, for checks.
    pub async fn read_whole(&self, entry: &SegmentEntry) -> Result<Bytes, StoreError> {
        let path = Path::from(entry.path.as_str());
        let get = async { self.object_store.get(&path).await?.bytes().await };
        get.await.map_err(|source| reading(entry, source))
    }

    /// Bytes of a segment's file.
    pub async fn read_range(&self, entry: &SegmentEntry, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = Path::from(entry.path.as_str());
        self.object_store.get_range(&path, range).await.map_err(|source| reading(entry, source))
    }

    async fn read(&self, entry: &SegmentEntry, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        let path = Path::from(entry.path.as_str());
        self.object_store.get_ranges(&path, ranges).await.map_err(|source| reading(entry, source))
    }
}

fn parse_filter(meta: &SegmentMeta, bytes: Bytes) -> Result<TraceFilter, FormatError> {
    OpenSegment::verify_section(&meta.filter, &bytes)?;
    TraceFilter::parse(bytes)
}

pub(crate) fn damaged(entry: &SegmentEntry, source: FormatError) -> StoreError {
    StoreError::Segment { segment: entry.path.clone(), source }
}

fn reading(entry: &SegmentEntry, source: object_store::Error) -> StoreError {
    StoreError::ObjectStore { what: format!("reading {}", entry.path), source }
}
