use tracelake_model::{Resource, Scope, SpanBatchBuilder, SpanId, SpanScalars};

use super::*;

fn trace_id(n: u8) -> TraceId {
    TraceId::from_bytes(&[n; 16]).expect("not zero")
}

/// A batch with one span for each trace named, numbered from `first_span`.
fn batch(traces: &[u8], first_span: u8) -> Arc<SpanBatch> {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    for (row, trace) in traces.iter().enumerate() {
        builder.finish_span(SpanScalars {
            start_unix_nano: 1,
            end_unix_nano: 2,
            resource,
            scope,
            ..SpanScalars::new(
                trace_id(*trace),
                SpanId::from_bytes(&[first_span + row as u8; 8]).expect("not zero"),
            )
        });
    }
    Arc::new(builder.finish())
}

fn span_numbers(found: &[TraceRows]) -> Vec<u8> {
    let spans = found.iter().flat_map(|part| part.rows.iter().map(|row| part.batch.span(*row as usize)));
    spans.map(|span| span.span_id().as_bytes()[0]).collect()
}

#[test]
fn a_trace_is_found_across_batches_and_runs_in_order_of_arrival() {
    let (memtable, tenant) = (Memtable::new(Ulid::nil(), 1), TenantId::default());
    memtable.publish([
        (tenant.clone(), batch(&[7, 7, 8, 7], 1), 100),
        (tenant.clone(), batch(&[8], 5), 101),
        (tenant.clone(), batch(&[9, 7], 6), 102),
    ]);
    let (found, more) = memtable.find(&tenant, &trace_id(7), 100);
    assert_eq!((span_numbers(&found), more), (vec![1, 2, 4, 7], false));
    let (found, more) = memtable.find(&tenant, &trace_id(6), 100);
    assert_eq!((span_numbers(&found), more), (vec![], false));
}

#[test]
fn another_tenant_sees_nothing() {
    let memtable = Memtable::new(Ulid::nil(), 1);
    memtable.publish([(TenantId::default(), batch(&[7], 1), 100)]);
    let other: TenantId = "other".parse().expect("a valid name");
    assert!(memtable.find(&other, &trace_id(7), 100).0.is_empty());
    assert!(!memtable.has_tenant(&other));
}

#[test]
fn what_is_over_the_limit_is_said_to_be_there() {
    let (memtable, tenant) = (Memtable::new(Ulid::nil(), 1), TenantId::default());
    memtable.publish([(tenant.clone(), batch(&[7, 7, 8, 7], 1), 100)]);
    for (rows_max, expected, more) in
        [(0, vec![], true), (1, vec![4], true), (2, vec![1, 4], true), (3, vec![1, 2, 4], false)]
    {
        let (found, has_more) = memtable.find(&tenant, &trace_id(7), rows_max);
        assert_eq!((span_numbers(&found), has_more), (expected, more), "rows_max={rows_max}");
    }
}

#[test]
fn memory_is_accounted_for() {
    let (memtable, tenant) = (Memtable::new(Ulid::nil(), 1), TenantId::default());
    assert_eq!(memtable.size(), MemtableSize::default());
    let one = batch(&[1, 2, 3], 1);
    memtable.publish([(tenant.clone(), Arc::clone(&one), 100), (tenant, batch(&[4], 9), 90)]);
    let size = memtable.size();
    assert_eq!((size.spans, size.tenants, size.first_arrival_unix_nano), (4, 1, Some(100)));
    assert_eq!(size.last_arrival_unix_nano, 100);
    assert!(size.heap_bytes > one.heap_bytes() as u64 + 4 * (12 + MAP_ENTRY_BYTES));
}

#[test]
fn a_cut_is_told_behind_the_last_group_and_behind_the_one_before_it() {
    let (memtable, tenant) = (Memtable::new(Ulid::nil(), 1), TenantId::default());
    let publish = |first_span| memtable.publish([(tenant.clone(), batch(&[7], first_span), 100)]);
    assert_eq!(memtable.last_cuts(), [false, false]);
    publish(1);
    assert_eq!((memtable.cut(), memtable.last_cuts()), (0, [true, false]));
    publish(2);
    assert_eq!(memtable.last_cuts(), [false, true]);
    publish(3);
    assert_eq!(memtable.last_cuts(), [false, false]);
    assert_eq!((memtable.cut(), memtable.cut(), memtable.last_cuts()), (1, 1, [true, false]));
    assert_eq!(memtable.later_generations(), 2);
}
