//! Rows of segments: planned, fetched and decoded, within bounds of bytes. Where a trace has them the directory says.

use std::ops::Range;
use std::slice;
use std::sync::Arc;
use std::time::Instant;

use tracelake_format::FormatError;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{ColumnSet, Decoding, Projection, ReadCache, TraceEntry};
use tracelake_model::{SpanBatch, TenantId, TraceId};

use super::report::{ReadReport, add, add_time};
use super::{Segments, damaged};
use crate::StoreError;

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
    /// Of each range, rows of its first so many row groups.
    groups_max: usize,
}

/// Row groups that are fetched together: some 6 MiB, where rows are large up to 32.
const GROUPS_AT_ONCE: usize = 4;

/// What is fetched for several traces together: of each of them it may be a page of every column.
const FETCH_BYTES_MAX: u64 = 64 << 20;

/// More rows than this are decoded on a thread that may block: some milliseconds.
const INLINE_ROWS_MAX: u64 = 1_000;

impl Segments {
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
            let wanted = Wanted {
                rows: slice::from_ref(&rows),
                filled: trace.columns,
                projection,
                groups_max: GROUPS_AT_ONCE,
            };
            let read = self.read(entry, wanted, Some(&cache), bytes_max - bytes, report).await?;
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
        let wanted = Wanted { rows: &[rows], filled: ColumnSet::ALL, projection, groups_max: GROUPS_AT_ONCE };
        self.read(entry, wanted, None, bytes_max, report).await
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
        let wanted = Wanted { rows, filled: ColumnSet::ALL, projection, groups_max: usize::MAX };
        self.read(entry, wanted, Some(&cache), bytes_max, report).await
    }

    async fn read(
        &self,
        entry: &SegmentEntry,
        wanted: Wanted<'_>,
        cache: Option<&Arc<dyn ReadCache>>,
        bytes_max: usize,
        report: &ReadReport,
    ) -> Result<ReadRows, StoreError> {
        let _reading = self.begin_read();
        let segment = self.opened(entry, report).await?;
        let since = Instant::now();
        let mut rows: Vec<Range<u64>> =
            wanted.rows.iter().map(|rows| segment.rows_of_groups(rows, wanted.groups_max)).collect();
        let plan = loop {
            let plan = segment.plan_rows(&rows, wanted.filled, wanted.projection, cache);
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
}

/// What a directory says contradicts what is there.
pub fn other_trace(entry: &SegmentEntry, trace_id: &TraceId) -> StoreError {
    let detail = format!("the directory names rows of trace {trace_id} that are of another");
    damaged(entry, FormatError::damaged("segment", detail))
}
