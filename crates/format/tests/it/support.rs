//! Reading a segment from memory, the way the store reads it from a file.

use bytes::Bytes;
use tracelake_format::FormatError;
use tracelake_format::segment::{
    AttributeColumns, AttributeCounts, KeyFilter, OpenSegment, SegmentInput, SegmentMeta,
    SegmentWriterOptions, TraceEntry, WrittenSegment, write_segment,
};
use tracelake_model::hash::{filter_key, tenant_hash};
use tracelake_model::{SpanBatch, TenantId, TraceId};
use ulid::Ulid;

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().expect("a valid name")
}

/// Small row groups and pages, so that small tests have several.
pub(crate) fn small() -> SegmentWriterOptions {
    SegmentWriterOptions { row_group_rows: 64, page_rows: 16, ..SegmentWriterOptions::default() }
}

/// The columns that the store would have after this generation.
pub(crate) fn columns(tenants: &[(TenantId, Vec<SpanBatch>)]) -> AttributeColumns {
    let mut columns = AttributeColumns::default();
    columns.extend_from(&AttributeCounts::of(tenants.iter().flat_map(|(_, batches)| batches)));
    columns
}

pub(crate) fn write(
    tenants: &[(TenantId, Vec<SpanBatch>)],
    columns: &AttributeColumns,
    options: &SegmentWriterOptions,
) -> WrittenSegment {
    let input = SegmentInput {
        segment_id: Ulid::from_parts(1, 2),
        tenants: tenants
            .iter()
            .map(|(tenant, batches)| (tenant.clone(), batches.iter().map(|batch| (batch, 7)).collect()))
            .collect(),
    };
    write_segment(&input, columns, options).expect("valid spans")
}

fn slice(file: &Bytes, range: &std::ops::Range<u64>) -> Bytes {
    file.slice(range.start as usize..range.end as usize)
}

pub(crate) fn open(meta: &SegmentMeta, file: &Bytes) -> Result<OpenSegment, FormatError> {
    OpenSegment::open(meta, slice(file, &OpenSegment::tail_range(meta)))
}

pub(crate) fn fetch(
    segment: &OpenSegment,
    file: &Bytes,
    rows: std::ops::Range<u64>,
) -> Vec<(std::ops::Range<u64>, Bytes)> {
    segment.ranges_for_rows(rows).into_iter().map(|range| (range.clone(), slice(file, &range))).collect()
}

pub(crate) fn find(
    segment: &OpenSegment,
    file: &Bytes,
    tenant: &TenantId,
    id: &TraceId,
) -> Result<Option<TraceEntry>, FormatError> {
    let Some(range) = segment.directory_block_range(tenant, id) else { return Ok(None) };
    segment.find_trace(&segment.directory_block(&range, &slice(file, &range))?, tenant, id)
}

/// Filter, directory, rows: what a lookup does.
pub(crate) fn lookup(
    meta: &SegmentMeta,
    file: &Bytes,
    tenant: &TenantId,
    id: &TraceId,
) -> Result<Option<SpanBatch>, FormatError> {
    lookup_in(&open(meta, file)?, file, tenant, id)
}

/// As [`lookup`], in a segment whose tail was read before.
pub(crate) fn lookup_in(
    segment: &OpenSegment,
    file: &Bytes,
    tenant: &TenantId,
    id: &TraceId,
) -> Result<Option<SpanBatch>, FormatError> {
    let meta = segment.meta();
    let filter = slice(file, &meta.filter.range());
    OpenSegment::verify_section(&meta.filter, &filter)?;
    if !KeyFilter::parse(filter)?.contains(filter_key(tenant_hash(tenant), id)) {
        return Ok(None);
    }
    let Some(entry) = find(segment, file, tenant, id)? else { return Ok(None) };
    let fetched = fetch(segment, file, entry.row_range());
    segment.decode_trace(&entry, fetched).map(Some)
}

/// Whether both hold the same spans, in any order.
pub(crate) fn same_spans<'a>(
    a: impl IntoIterator<Item = tracelake_model::SpanView<'a>>,
    b: impl IntoIterator<Item = tracelake_model::SpanView<'a>>,
) -> bool {
    let mut rest: Vec<_> = b.into_iter().collect();
    a.into_iter().all(|span| match rest.iter().position(|other| span.is_duplicate_of(other)) {
        Some(index) => {
            rest.swap_remove(index);
            true
        }
        None => false,
    }) && rest.is_empty()
}
