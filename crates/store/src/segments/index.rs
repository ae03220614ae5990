//! The attribute index of segments: read part by part as it is asked, and kept within a budget of bytes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tracelake_format::FormatError;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{IndexBytes, IndexHeader, IndexPart, OpenSegment, TraceTable};
use ulid::Ulid;

use super::Segments;
use super::cache::{ENTRY_BYTES, cache};
use super::report::{ReadReport, add, add_time};
use crate::StoreError;

/// Bytes of a file by their place.
type Place = (Ulid, u64, u64);

#[derive(Debug, Clone)]
enum Kept {
    Header(Arc<IndexHeader>),
    Traces(Arc<TraceTable>),
    Bytes(IndexBytes),
}

/// A part of an index that is kept as it was decoded.
trait Section: Sized {
    fn keep(section: &Arc<Self>) -> Kept;
    fn of(kept: Kept) -> Option<Arc<Self>>;
}

impl Section for IndexHeader {
    fn keep(section: &Arc<Self>) -> Kept {
        Kept::Header(Arc::clone(section))
    }

    fn of(kept: Kept) -> Option<Arc<Self>> {
        if let Kept::Header(header) = kept { Some(header) } else { None }
    }
}

impl Section for TraceTable {
    fn keep(section: &Arc<Self>) -> Kept {
        Kept::Traces(Arc::clone(section))
    }

    fn of(kept: Kept) -> Option<Arc<Self>> {
        if let Kept::Traces(traces) = kept { Some(traces) } else { None }
    }
}

/// What something kept takes.
#[derive(Debug, Clone)]
pub(super) struct KeptBytes;

impl Weighter<Place, Kept> for KeptBytes {
    fn weight(&self, _: &Place, kept: &Kept) -> u64 {
        let bytes = match kept {
            Kept::Header(header) => header.heap_bytes(),
            Kept::Traces(traces) => traces.heap_bytes(),
            Kept::Bytes(bytes) => bytes.heap_bytes(),
        };
        (bytes + ENTRY_BYTES) as u64
    }
}

/// Of what is kept, to know how many there will be, roughly.
const USUAL_BYTES: u64 = 4_096;

/// What is known of indexes.
#[derive(Debug)]
pub(super) struct IndexCache(Cache<Place, Kept, KeptBytes, RandomState>);

impl IndexCache {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self(cache(bytes_max, USUAL_BYTES, KeptBytes))
    }

    /// What it may have.
    pub(super) fn bytes_max(&self) -> u64 {
        self.0.capacity()
    }

    /// What it has.
    pub(super) fn bytes(&self) -> u64 {
        self.0.weight()
    }

    fn get(&self, segment: Ulid, range: &Range<u64>) -> Option<Kept> {
        self.0.get(&(segment, range.start, range.end))
    }

    fn insert(&self, segment: Ulid, range: &Range<u64>, kept: Kept) {
        self.0.insert((segment, range.start, range.end), kept);
    }
}

impl Segments {
    /// What a part of an index says of its fields.
    pub async fn index_header(
        &self,
        entry: &SegmentEntry,
        segment: &OpenSegment,
        part: &IndexPart,
        report: &ReadReport,
    ) -> Result<Arc<IndexHeader>, StoreError> {
        let decode = |bytes: IndexBytes| segment.index_header(part, &bytes);
        self.index_section(entry, segment, part.header_range(), decode, report).await
    }

    /// The traces of a part of an index.
    pub async fn index_traces(
        &self,
        entry: &SegmentEntry,
        segment: &OpenSegment,
        header: &IndexHeader,
        report: &ReadReport,
    ) -> Result<Arc<TraceTable>, StoreError> {
        let decode = |bytes: IndexBytes| segment.trace_table(header, &bytes);
        self.index_section(entry, segment, header.trace_table_range(), decode, report).await
    }

    /// A section of an index, which is kept as it was decoded.
    async fn index_section<S: Section>(
        &self,
        entry: &SegmentEntry,
        segment: &OpenSegment,
        range: Range<u64>,
        decode: impl FnOnce(IndexBytes) -> Result<S, FormatError>,
        report: &ReadReport,
    ) -> Result<Arc<S>, StoreError> {
        if let Some(section) = self.index.get(entry.meta.id, &range).and_then(S::of) {
            return Ok(section);
        }
        let bytes = self.fetch_index(entry, segment, std::slice::from_ref(&range), report).await?;
        let section = Arc::new(decode(bytes).map_err(|error| self.damaged(entry, error))?);
        self.index.insert(entry.meta.id, &range, S::keep(&section));
        Ok(section)
    }

    /// These bytes of an index.
    pub async fn index_bytes(
        &self,
        entry: &SegmentEntry,
        segment: &OpenSegment,
        wanted: &[Range<u64>],
        report: &ReadReport,
    ) -> Result<IndexBytes, StoreError> {
        let mut found = IndexBytes::default();
        let mut missing = Vec::new();
        for range in wanted.iter().filter(|range| !range.is_empty()) {
            add(&report.index_ranges, 1);
            match self.index.get(entry.meta.id, range) {
                Some(Kept::Bytes(bytes)) => {
                    add(&report.index_ranges_cached, 1);
                    found.extend(bytes);
                }
                _ => missing.push(range.clone()),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let fetched = self.fetch_index(entry, segment, &missing, report).await?;
        for range in missing {
            let alone = fetched.only(&range).map_err(|error| self.damaged(entry, error))?;
            self.index.insert(entry.meta.id, &range, Kept::Bytes(alone.clone()));
            found.extend(alone);
        }
        Ok(found)
    }

    async fn fetch_index(
        &self,
        entry: &SegmentEntry,
        segment: &OpenSegment,
        wanted: &[Range<u64>],
        report: &ReadReport,
    ) -> Result<IndexBytes, StoreError> {
        let since = Instant::now();
        let ranges = segment.index_ranges(wanted);
        let fetched = self.reader.ranges(entry, &ranges, report).await?;
        let bytes = segment.index_bytes(fetched).map_err(|error| self.damaged(entry, error));
        add_time(&report.index_us, since);
        bytes
    }
}
