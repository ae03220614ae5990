//! The attribute index of segments: read part by part as it is asked, and kept within a budget of bytes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{IndexBytes, IndexHeader, IndexPart, OpenSegment, TraceEntry, TraceTable};
use tracelake_model::TenantId;
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
        let (id, range) = (entry.meta.id, part.header_range());
        if let Some(Kept::Header(header)) = self.index.get(id, &range) {
            return Ok(header);
        }
        let bytes = self.fetch_index(entry, segment, std::slice::from_ref(&range), report).await?;
        let header = segment.index_header(part, &bytes).map_err(|error| self.damaged(entry, error))?;
        let header = Arc::new(header);
        self.index.insert(id, &range, Kept::Header(Arc::clone(&header)));
        Ok(header)
    }

    /// The traces of a part of an index.
    pub async fn index_traces(
        &self,
        entry: &SegmentEntry,
        segment: &OpenSegment,
        header: &IndexHeader,
        report: &ReadReport,
    ) -> Result<Arc<TraceTable>, StoreError> {
        let (id, range) = (entry.meta.id, header.trace_table_range());
        if let Some(Kept::Traces(traces)) = self.index.get(id, &range) {
            return Ok(traces);
        }
        let bytes = self.fetch_index(entry, segment, std::slice::from_ref(&range), report).await?;
        let traces = segment.trace_table(header, &bytes).map_err(|error| self.damaged(entry, error))?;
        let traces = Arc::new(traces);
        self.index.insert(id, &range, Kept::Traces(Arc::clone(&traces)));
        Ok(traces)
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

    /// The traces that have these rows, which are in order and a tenant's. Each block of the directory is read once.
    pub async fn traces_of_rows(
        &self,
        entry: &SegmentEntry,
        tenant: &TenantId,
        rows: &[u64],
        report: &ReadReport,
    ) -> Result<Vec<TraceEntry>, StoreError> {
        let segment = self.opened(entry, report).await?;
        let since = Instant::now();
        let mut found = Vec::with_capacity(rows.len());
        let mut rest = rows;
        while let Some(first) = rest.first() {
            let Some(range) = segment.directory_block_of_row(tenant, *first) else {
                return Err(no_trace(entry, *first));
            };
            let block = self.directory_block(entry, &segment, range, report).await?;
            let mut taken = 0;
            for row in rest {
                let Some(trace) = block.trace_of_row(*row) else { break };
                found.push(trace);
                taken += 1;
            }
            let (_, later) =
                rest.split_at_checked(taken).filter(|_| taken > 0).ok_or_else(|| no_trace(entry, *first))?;
            rest = later;
        }
        add_time(&report.directory_us, since);
        Ok(found)
    }
}

fn no_trace(entry: &SegmentEntry, row: u64) -> StoreError {
    let detail = format!("its index names row {row}, of which the directory knows no trace");
    super::damaged(entry, tracelake_format::FormatError::damaged("segment", detail))
}
