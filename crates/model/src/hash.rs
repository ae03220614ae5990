//! The one hash of a trace. It is on disk (row order, shard ranges, filters, directories), so it
//! never changes: XXH3, because identifiers may be zero-padded or begin with a time.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{TenantId, TraceId};

/// Decides the shard of a trace and the order of traces in a segment: `XXH3_64(trace_id)`.
#[inline]
pub fn trace_hash(trace_id: &TraceId) -> u64 {
    xxh3_64(trace_id.as_bytes())
}

/// What a segment's filter holds: the trace's hash, seeded with the tenant's, so that a trace of
/// one tenant never costs another a read.
#[inline]
pub fn filter_key(tenant_hash: u64, trace_id: &TraceId) -> u64 {
    xxh3_64_with_seed(trace_id.as_bytes(), tenant_hash)
}

/// Of a text that is compared with others by its hash.
pub fn text_hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// The seed for [`filter_key`]: `XXH3_64(name)`.
pub fn tenant_hash(tenant: &TenantId) -> u64 {
    xxh3_64(tenant.as_str().as_bytes())
}
