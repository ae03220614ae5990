//! What tests of a store share: a clock to set, a policy that merges nothing, and looking a trace up.

use std::sync::atomic::{AtomicU64, Ordering};

use tracelake_format::manifest::SegmentEntry;
use tracelake_model::hash::{filter_key, tenant_hash};
use tracelake_model::{TenantId, TraceId};
use tracelake_store::compaction::policy::CompactionPolicy;
use tracelake_store::env::Clock;
use tracelake_store::report::ReadReport;
use tracelake_store::{FoundInSegment, Store, StoreError};

#[derive(Debug)]
pub(crate) struct TestClock(pub(crate) AtomicU64);

impl Clock for TestClock {
    fn now_unix_nano(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Merges nothing by itself.
pub(crate) fn idle() -> CompactionPolicy {
    CompactionPolicy {
        flushed_segments_max: usize::MAX,
        similar_slices_max: usize::MAX,
        ..CompactionPolicy::default()
    }
}

/// The rows of a trace in a segment, as a lookup reads them: by its filter first.
pub(crate) async fn find(
    store: &Store,
    entry: &SegmentEntry,
    tenant: &TenantId,
    trace_id: &TraceId,
) -> Result<Option<FoundInSegment>, StoreError> {
    let (segments, report) = (store.segments(), ReadReport::default());
    if entry.meta.tenant(tenant).is_none() {
        return Ok(None);
    }
    let key = filter_key(tenant_hash(tenant), trace_id);
    let may_hold = match segments.may_hold(entry.meta.id, key, &report) {
        Some(may_hold) => may_hold,
        None => segments.may_hold_read(entry, &[key], &report).await? == [true],
    };
    if may_hold {
        segments.search(entry, tenant, trace_id, u64::MAX, usize::MAX, &report).await
    } else {
        Ok(None)
    }
}
