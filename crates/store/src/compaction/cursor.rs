//! One segment from its first row to its last, a window of rows at a time.

use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tracelake_format::FormatError;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{Adapter, PlannedRows, RowGroupReader, SegmentPlan, WholeSegment};
use tracelake_model::hash::trace_hash;
use tracelake_model::{SpanBatch, SpanId, TenantId, TraceId};

use crate::StoreError;
use crate::segments::{Segments, damaged};

/// The order of rows in a segment. Tenants by their place among all tenants of the merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey {
    pub(super) tenant: u32,
    pub(super) hash: u64,
    pub(super) trace_id: TraceId,
    pub(super) start_unix_nano: u64,
    pub(super) span_id: SpanId,
}

/// Rows that were decoded together.
#[derive(Debug)]
pub(super) struct Window {
    /// No other window of the merge has it.
    pub(super) number: u64,
    pub(super) rows: PlannedRows,
    /// The path of their segment.
    segment: Arc<str>,
    /// The rows as spans, once one of them was compared with another row.
    spans: OnceLock<SpanBatch>,
}

impl Window {
    /// Its rows as spans: for whoever compares them.
    pub(super) fn spans(&self) -> Result<&SpanBatch, StoreError> {
        match self.spans.get() {
            Some(spans) => Ok(spans),
            None => {
                let spans = self.rows.rows().spans().map_err(|error| self.damaged(error))?;
                Ok(self.spans.get_or_init(|| spans))
            }
        }
    }

    /// What is wrong with the rows is wrong with the segment that they are of, whoever finds it.
    pub(super) fn damaged(&self, source: FormatError) -> StoreError {
        StoreError::Segment { segment: self.segment.to_string(), source }
    }
}

/// Where windows come from.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) runtime: &'a Handle,
    pub(super) segments: &'a Segments,
    pub(super) plan: &'a SegmentPlan,
    pub(super) window_rows: usize,
}

/// A segment being read, at one of its rows.
#[derive(Debug)]
pub(super) struct Cursor {
    entry: SegmentEntry,
    segment: Arc<WholeSegment>,
    adapter: Adapter,
    /// Where each tenant's rows end, and its place among all.
    tenants: Vec<(u64, u32)>,
    groups_begun: usize,
    reader: Option<RowGroupReader>,
    /// None behind the last row.
    window: Option<Arc<Window>>,
    /// Of the row.
    key: Option<RowKey>,
    windows_begun: u64,
    /// Windows of this segment have numbers of their own.
    number: u64,
    /// Of the window's first row, in the segment.
    first_row: u64,
    row: usize,
}

impl Cursor {
    /// At the segment's first row, if it has one.
    pub(super) fn open(
        source: &Source<'_>,
        entry: &SegmentEntry,
        segment: Arc<WholeSegment>,
        number: u64,
        tenants: &[TenantId],
    ) -> Result<Self, StoreError> {
        let parts = entry.meta.tenants.iter();
        let tenants = parts.map(|part| {
            let place = tenants.binary_search(&part.tenant).unwrap_or(tenants.len()) as u32;
            (part.first_row.saturating_add(part.rows), place)
        });
        let mut cursor = Self {
            entry: entry.clone(),
            adapter: Adapter::new(segment.segment(), source.plan),
            segment,
            tenants: tenants.collect(),
            groups_begun: 0,
            reader: None,
            window: None,
            key: None,
            windows_begun: 0,
            number,
            first_row: 0,
            row: 0,
        };
        cursor.fill(source)?;
        Ok(cursor)
    }

    /// The row: its key, its window and where it is there. None behind the last.
    pub(super) fn at(&self) -> Option<(RowKey, &Arc<Window>, usize)> {
        Some((self.key?, self.window.as_ref()?, self.row))
    }

    /// The key of the row; none behind the last.
    pub(super) fn key(&self) -> Option<RowKey> {
        self.key
    }

    /// To the next row.
    pub(super) fn advance(&mut self, source: &Source<'_>) -> Result<(), StoreError> {
        self.row += 1;
        match &self.window {
            Some(window) if self.row < window.rows.rows().len() => self.read_key(),
            _ => self.fill(source),
        }
    }

    fn read_key(&mut self) -> Result<(), StoreError> {
        let Some(window) = &self.window else { return Ok(()) };
        let (rows, row_of_segment) = (window.rows.rows(), self.first_row + self.row as u64);
        let after = self.tenants.partition_point(|(end, _)| *end <= row_of_segment);
        let damaged = |error| damaged(&self.entry, error);
        let trace_id = rows.trace_id(self.row).map_err(damaged)?;
        let hash = match self.key {
            Some(before) if before.trace_id == trace_id => before.hash,
            _ => trace_hash(&trace_id),
        };
        let key = RowKey {
            tenant: self.tenants.get(after).map_or(u32::MAX, |(_, tenant)| *tenant),
            hash,
            trace_id,
            start_unix_nano: rows.start_unix_nano(self.row),
            span_id: rows.span_id(self.row).map_err(damaged)?,
        };
        // Found here it is this segment that is left out of merges.
        if self.key.is_some_and(|before| before > key) {
            let detail = format!("row {row_of_segment} does not come in the order of a segment");
            return Err(damaged(FormatError::damaged("segment", detail)));
        }
        self.key = Some(key);
        Ok(())
    }

    fn fill(&mut self, source: &Source<'_>) -> Result<(), StoreError> {
        self.first_row += self.window.take().map_or(0, |window| window.rows.rows().len() as u64);
        self.row = 0;
        loop {
            if let Some(rows) = self.reader.as_mut().and_then(Iterator::next) {
                let rows = rows.and_then(|rows| self.adapter.adapt(rows));
                let rows = rows.map_err(|error| damaged(&self.entry, error))?;
                self.windows_begun += 1;
                let number = self.number << 32 | self.windows_begun;
                if !rows.rows().is_empty() {
                    let segment = Arc::from(&*self.entry.path);
                    self.window = Some(Arc::new(Window { number, rows, segment, spans: OnceLock::new() }));
                    return self.read_key();
                }
                continue;
            }
            let Some((range, _)) = RowGroupReader::range(&self.segment, self.groups_begun) else {
                self.reader = None;
                self.key = None;
                return Ok(());
            };
            let bytes = source.runtime.block_on(source.segments.read_range(&self.entry, range.clone()))?;
            let segment = Arc::clone(&self.segment);
            let reader = RowGroupReader::new(segment, self.groups_begun, (range, bytes), source.window_rows);
            self.reader = Some(reader.map_err(|error| damaged(&self.entry, error))?);
            self.groups_begun += 1;
        }
    }
}
