//! One segment from its first row to its last, a window of rows at a time.

use std::sync::Arc;

use tokio::runtime::Handle;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{RowGroupReader, WholeSegment};
use tracelake_model::hash::trace_hash;
use tracelake_model::{SpanBatch, SpanId, SpanView, TenantId, TraceId};

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
    pub(super) batch: SpanBatch,
    pub(super) generations: Vec<u64>,
}

/// Where windows come from.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) runtime: &'a Handle,
    pub(super) segments: &'a Segments,
    pub(super) window_rows: usize,
}

/// A segment being read, at one of its rows.
#[derive(Debug)]
pub(super) struct Cursor {
    entry: SegmentEntry,
    segment: Arc<WholeSegment>,
    /// Where each tenant's rows end, and its place among all.
    tenants: Vec<(u64, u32)>,
    groups_begun: usize,
    reader: Option<RowGroupReader>,
    window: Arc<Window>,
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
            segment,
            tenants: tenants.collect(),
            groups_begun: 0,
            reader: None,
            window: Arc::new(Window { number: 0, batch: SpanBatch::default(), generations: Vec::new() }),
            windows_begun: 0,
            number,
            first_row: 0,
            row: 0,
        };
        cursor.fill(source)?;
        Ok(cursor)
    }

    /// The window and the row in it.
    pub(super) fn at(&self) -> (&Arc<Window>, usize) {
        (&self.window, self.row)
    }

    /// The key of the row; none behind the last.
    pub(super) fn key(&self) -> Option<RowKey> {
        if self.row >= self.window.batch.len() {
            return None;
        }
        let row = self.first_row + self.row as u64;
        let after = self.tenants.partition_point(|(end, _)| *end <= row);
        let span: SpanView<'_> = self.window.batch.span(self.row);
        let trace_id = span.trace_id();
        Some(RowKey {
            tenant: self.tenants.get(after).map_or(u32::MAX, |(_, tenant)| *tenant),
            hash: trace_hash(&trace_id),
            trace_id,
            start_unix_nano: span.start_unix_nano(),
            span_id: span.span_id(),
        })
    }

    /// To the next row.
    pub(super) fn advance(&mut self, source: &Source<'_>) -> Result<(), StoreError> {
        self.row += 1;
        if self.row < self.window.batch.len() { Ok(()) } else { self.fill(source) }
    }

    fn fill(&mut self, source: &Source<'_>) -> Result<(), StoreError> {
        self.first_row += self.window.batch.len() as u64;
        self.row = 0;
        loop {
            if let Some(rows) = self.reader.as_mut().and_then(Iterator::next) {
                let (batch, generations) = rows.map_err(|error| damaged(&self.entry, error))?;
                self.windows_begun += 1;
                let number = self.number << 32 | self.windows_begun;
                self.window = Arc::new(Window { number, batch, generations });
                if !self.window.batch.is_empty() {
                    return Ok(());
                }
                continue;
            }
            let Some((range, _)) = RowGroupReader::range(&self.segment, self.groups_begun) else {
                self.reader = None;
                self.window =
                    Arc::new(Window { number: 0, batch: SpanBatch::default(), generations: Vec::new() });
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
