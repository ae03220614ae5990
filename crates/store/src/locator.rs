//! Which segments can hold a trace, or a range of time: the partitions of a store.
//!
//! A segment is a partition by time (its spans' true earliest start and latest end) and by the hash of
//! trace IDs (the range that it has). Made once for each version of the manifest.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use tracelake_format::manifest::State as ManifestState;
use tracelake_model::hash::{filter_key, tenant_hash, trace_hash};
use tracelake_model::{TenantId, TraceId};
use ulid::Ulid;

/// A segment, as far as finding it needs to know.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Its place in the manifest's list of segments.
    pub segment: usize,
    /// Its name.
    pub id: Ulid,
    /// The newest generation that it has rows of.
    pub generation_max: u64,
    hashes: RangeInclusive<u64>,
    start_unix_nano_min: u64,
    start_unix_nano_max: u64,
    end_unix_nano_max: u64,
}

impl Partition {
    /// Whether a span of it can have been in progress within a time.
    pub fn overlaps(&self, start_unix_nano: Option<u64>, end_unix_nano: Option<u64>) -> bool {
        start_unix_nano.is_none_or(|start| self.end_unix_nano_max >= start)
            && end_unix_nano.is_none_or(|end| self.start_unix_nano_min <= end)
    }
}

/// The partitions of each tenant.
#[derive(Debug, Default)]
pub struct PartitionLocator {
    /// The newest generations first; with the hash of the tenant's name.
    tenants: HashMap<TenantId, (u64, Vec<Partition>)>,
}

impl PartitionLocator {
    /// Of the live segments.
    pub fn new(manifest: &ManifestState) -> Self {
        let mut tenants: HashMap<TenantId, (u64, Vec<Partition>)> = HashMap::new();
        for (segment, entry) in manifest.segments.iter().enumerate() {
            let meta = &entry.meta;
            let partition = Partition {
                segment,
                id: meta.id,
                generation_max: meta.generation_max,
                hashes: meta.trace_hash_min..=meta.trace_hash_max,
                start_unix_nano_min: meta.start_unix_nano_min,
                start_unix_nano_max: meta.start_unix_nano_max,
                end_unix_nano_max: meta.end_unix_nano_max,
            };
            for part in &meta.tenants {
                let of_tenant = tenants.entry(part.tenant.clone());
                let (_, partitions) = of_tenant.or_insert_with(|| (tenant_hash(&part.tenant), Vec::new()));
                partitions.push(partition.clone());
            }
        }
        for (_, partitions) in tenants.values_mut() {
            partitions.sort_by_key(|partition| std::cmp::Reverse((partition.generation_max, partition.id)));
        }
        Self { tenants }
    }

    /// The segments that can hold the trace as far as the manifest tells, the newest first, and the key to
    /// ask their filters for.
    pub fn of_trace<'l>(
        &'l self,
        tenant: &TenantId,
        trace_id: &TraceId,
    ) -> (u64, impl Iterator<Item = &'l Partition> + use<'l>) {
        let hash = trace_hash(trace_id);
        let (tenant_hash, partitions) =
            self.tenants.get(tenant).map_or((0, [].as_slice()), |(hash, partitions)| (*hash, partitions));
        let partitions = partitions.iter().filter(move |partition| partition.hashes.contains(&hash));
        (filter_key(tenant_hash, trace_id), partitions)
    }

    /// The segments with spans of the tenant that can start within the range, the newest first.
    pub fn of_starts<'l>(
        &'l self,
        tenant: &TenantId,
        starts: Range<u64>,
    ) -> impl Iterator<Item = &'l Partition> + use<'l> {
        let partitions = self.tenants.get(tenant).map_or([].as_slice(), |(_, partitions)| partitions);
        partitions.iter().filter(move |partition| {
            partition.start_unix_nano_min < starts.end && partition.start_unix_nano_max >= starts.start
        })
    }
}

#[cfg(test)]
mod tests;
