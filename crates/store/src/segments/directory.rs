//! Where traces are in segments: the directory's blocks, read as they are asked. It reads no rows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use tracelake_format::FormatError;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{DirectoryBlock, OpenSegment, TraceEntry};
use tracelake_model::{TenantId, TraceId};

use super::Segments;
use super::report::{ReadReport, add, add_time};
use crate::StoreError;

impl Segments {
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
        let mut wanted: BTreeMap<u64, (Range<u64>, Vec<TraceId>)> = BTreeMap::new();
        for trace_id in trace_ids {
            if let Some(range) = segment.directory_block_range(tenant, trace_id) {
                wanted.entry(range.start).or_insert((range, Vec::new())).1.push(*trace_id);
            }
        }
        let mut located = Vec::with_capacity(trace_ids.len());
        for (range, trace_ids) in wanted.into_values() {
            let block = self.directory_block(entry, &segment, range, report).await?;
            for trace_id in &trace_ids {
                let found = segment.find_trace(&block, tenant, trace_id);
                located.extend(found.map_err(|error| self.damaged(entry, error))?);
            }
        }
        located.sort_by_key(|trace| trace.first_row);
        add(&report.false_reads, (trace_ids.len().saturating_sub(located.len())) as u64);
        add_time(&report.directory_us, since);
        Ok(located)
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
                return Err(self.damaged(entry, no_trace(*first)));
            };
            let block = self.directory_block(entry, &segment, range, report).await?;
            let mut taken = 0;
            for row in rest {
                let Some(trace) = block.trace_of_row(*row) else { break };
                found.push(trace);
                taken += 1;
            }
            let later = rest.split_at_checked(taken).filter(|_| taken > 0).map(|(_, later)| later);
            rest = later.ok_or_else(|| self.damaged(entry, no_trace(*first)))?;
        }
        add_time(&report.directory_us, since);
        Ok(found)
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
}

fn no_trace(row: u64) -> FormatError {
    let detail = format!("its index names row {row}, of which the directory knows no trace");
    FormatError::damaged("segment", detail)
}
