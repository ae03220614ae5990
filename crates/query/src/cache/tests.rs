use tracelake_model::{Resource, Scope, SpanBatchBuilder, SpanId, SpanScalars};

use super::*;
use crate::assemble::{Assembler, TraceLimits};

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a valid name")
}

fn trace_id(n: u8) -> TraceId {
    TraceId::from_bytes(&[n; 16]).expect("not zero")
}

fn trace(spans: u64) -> CachedTrace {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    for n in 1..=spans {
        let span_id = SpanId::from_bytes(&n.to_be_bytes()).expect("not zero");
        builder.finish_span(SpanScalars { resource, scope, ..SpanScalars::new(trace_id(1), span_id) });
    }
    let mut assembler = Assembler::new(TraceLimits { spans_max: 10_000, heap_bytes_max: 1 << 30 });
    assert!(assembler.add_read(builder.finish()));
    let spans = assembler.finish().expect("there are spans");
    CachedTrace { generation: 1, retention_version: 0, spans }
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
    let bytes_max = 8 * trace(100).heap_bytes() as u64;
    let cache = TraceCache::new(TraceCacheLimits { bytes_max, traces_max: 0 });
    cache.insert(&tenant("a"), &trace_id(1), trace(1_000));
    cache.insert(&tenant("a"), &trace_id(2), trace(100));
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
    cache.insert(&tenant("a"), &trace_id(1), trace(1));
    assert!(cache.get(&tenant("a"), &trace_id(1), 0).is_none());
    assert_eq!(cache.stats(), TraceCacheStats::default());
}

#[test]
fn of_more_traces_than_there_is_room_for_the_last_are_kept_however_often_others_were_asked_for() {
    let traces_max = 20;
    let cache = TraceCache::new(TraceCacheLimits { bytes_max: 1 << 30, traces_max });
    let id = |n: u8| trace_id(n + 1);
    for n in 0..traces_max as u8 {
        cache.insert(&tenant("a"), &id(n), trace(1));
        (0..10).for_each(|_| drop(cache.get(&tenant("a"), &id(n), 0)));
    }
    for n in 100..100 + traces_max as u8 {
        cache.insert(&tenant("a"), &id(n), trace(1));
        assert!(cache.get(&tenant("a"), &id(n), 0).is_some(), "it was just put in");
    }
    assert!((0..traces_max as u8).all(|n| !cache.contains(&tenant("a"), &id(n))));
}
