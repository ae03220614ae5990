//! The keys that flushed segments have, for those who list them again: such a segment has no index, and all of its
//! columns have to be read. Segments never change; what is gone is no longer asked for, and makes room.

use std::sync::Arc;

use moka::sync::Cache;
use tracelake_model::{TenantId, limits};

use super::tally::Tally;

/// By segment and tenant. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct KeysCache(Cache<(u128, TenantId), Arc<Tally>>);

impl KeysCache {
    pub(crate) fn new() -> Self {
        let weigh =
            |_: &(u128, TenantId), keys: &Arc<Tally>| u32::try_from(keys.keys_bytes()).unwrap_or(u32::MAX);
        Self(Cache::builder().max_capacity(limits::VALUES_CACHE_BYTES_MAX).weigher(weigh).build())
    }

    pub(super) fn get(&self, segment: u128, tenant: &TenantId) -> Option<Arc<Tally>> {
        self.0.get(&(segment, tenant.clone()))
    }

    pub(super) fn insert(&self, segment: u128, tenant: &TenantId, keys: Arc<Tally>) {
        self.0.insert((segment, tenant.clone()), keys);
        // Else it makes room only now and then.
        self.0.run_pending_tasks();
    }
}
