use super::*;

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a valid name")
}

fn trace_id(n: u8) -> TraceId {
    TraceId::from_bytes(&[n; 16]).expect("not zero")
}

fn trace(rows: usize) -> CachedTrace {
    CachedTrace {
        generation: 1,
        retention_version: 0,
        batches: Vec::new(),
        rows: vec![(0, 0); rows],
        conflicting: Vec::new(),
    }
}

#[test]
fn a_tenants_traces_are_its_own() {
    let cache = TraceCache::new(TraceCacheLimits { bytes_max: 1 << 20, traces_max: 0 });
    let (a, b, id) = (tenant("a"), tenant("b"), trace_id(1));
    cache.insert(&a, &id, trace(1));
    assert!(cache.contains(&a, &id) && !cache.contains(&b, &id));
    cache.insert(&b, &id, trace(1));
    cache.remove_all(&a);
    assert!(cache.get(&a, &id, 0).is_none() && cache.get(&b, &id, 0).is_some());
}

#[test]
fn a_trace_that_would_drive_out_most_others_is_not_kept() {
    let cache = TraceCache::new(TraceCacheLimits { bytes_max: 8_000, traces_max: 0 });
    cache.insert(&tenant("a"), &trace_id(1), trace(1_000));
    cache.insert(&tenant("a"), &trace_id(2), trace(10));
    assert!(!cache.contains(&tenant("a"), &trace_id(1)));
    assert!(cache.contains(&tenant("a"), &trace_id(2)));
}

#[test]
fn what_was_there_before_retention_removed_something_is_not_shown() {
    let cache = TraceCache::new(TraceCacheLimits { bytes_max: 1 << 20, traces_max: 0 });
    cache.insert(&tenant("a"), &trace_id(1), trace(1));
    assert!(cache.get(&tenant("a"), &trace_id(1), 7).is_none());
    assert!(cache.get(&tenant("a"), &trace_id(1), 0).is_some());
}

#[test]
fn without_room_nothing_is_kept_or_counted() {
    let cache = TraceCache::new(TraceCacheLimits { bytes_max: 0, traces_max: 0 });
    cache.insert(&tenant("a"), &trace_id(1), trace(0));
    assert!(cache.get(&tenant("a"), &trace_id(1), 0).is_none());
    assert_eq!(cache.stats(), TraceCacheStats::default());
}
