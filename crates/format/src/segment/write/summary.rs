//! What the manifest and the filter need of the rows.

use std::cmp::Ordering;

use tracelake_model::hash::{filter_key, tenant_hash};
use tracelake_model::{TenantId, TraceId};
use ulid::Ulid;

use crate::FormatError;
use crate::segment::WHAT;
use crate::segment::meta::{SegmentMeta, SegmentTenant};
use crate::segment::slice::RowFacts;

#[derive(Debug)]
pub(super) struct Summary {
    pub(super) meta: SegmentMeta,
    pub(super) filter_keys: Vec<u64>,
    tenant_hash: u64,
    newest: Option<(u64, TraceId)>,
}

impl Summary {
    pub(super) fn new(id: Ulid, level: u32) -> Self {
        let meta = SegmentMeta::new(id, level);
        Self { meta, filter_keys: Vec::new(), tenant_hash: 0, newest: None }
    }

    /// The ordinal of the tenant whose rows come next.
    pub(super) fn tenant(&mut self, tenant: &TenantId) -> Result<u32, FormatError> {
        match self.meta.tenants.last().map(|last| last.tenant.cmp(tenant)) {
            Some(Ordering::Equal) => {}
            Some(Ordering::Greater) => return Err(disorder()),
            None | Some(Ordering::Less) => {
                self.tenant_hash = tenant_hash(tenant);
                self.newest = None;
                let first_row = self.meta.rows;
                let part = SegmentTenant { tenant: tenant.clone(), first_row, rows: 0, traces: 0 };
                self.meta.tenants.push(part);
            }
        }
        Ok(self.meta.tenants.len() as u32 - 1)
    }

    #[inline]
    pub(super) fn push(&mut self, row: &RowFacts) -> Result<(), FormatError> {
        let meta = &mut self.meta;
        let trace = (row.hash, row.trace_id);
        let new_trace = u64::from(self.newest != Some(trace));
        if new_trace == 1 {
            if self.newest.is_some_and(|newest| newest > trace) {
                return Err(disorder());
            }
            self.newest = Some(trace);
            self.filter_keys.push(filter_key(self.tenant_hash, &trace.1));
            meta.trace_hash_min = meta.trace_hash_min.min(row.hash);
            meta.trace_hash_max = meta.trace_hash_max.max(row.hash);
        }
        meta.rows += 1;
        meta.traces += new_trace;
        meta.generation_min = meta.generation_min.min(row.generation);
        meta.generation_max = meta.generation_max.max(row.generation);
        meta.start_unix_nano_min = meta.start_unix_nano_min.min(row.start_unix_nano);
        meta.start_unix_nano_max = meta.start_unix_nano_max.max(row.start_unix_nano);
        meta.end_unix_nano_max = meta.end_unix_nano_max.max(row.end_unix_nano);
        if let Some(part) = meta.tenants.last_mut() {
            part.rows += 1;
            part.traces += new_trace;
        }
        Ok(())
    }
}

fn disorder() -> FormatError {
    FormatError::damaged(WHAT, "its rows do not come in the order of a segment")
}
