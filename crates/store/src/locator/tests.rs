use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{SegmentMeta, SegmentTenant};

use super::*;

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a valid name")
}

fn trace_id(n: u8) -> TraceId {
    TraceId::from_bytes(&[n; 16]).expect("not zero")
}

fn segment(id: u128, tenants: &[&str], hashes: RangeInclusive<u64>, starts: Range<u64>) -> SegmentEntry {
    let tenants =
        tenants.iter().map(|name| SegmentTenant { tenant: tenant(name), first_row: 0, rows: 1, traces: 1 });
    let meta = SegmentMeta {
        generation_max: id as u64,
        trace_hash_min: *hashes.start(),
        trace_hash_max: *hashes.end(),
        start_unix_nano_min: starts.start,
        start_unix_nano_max: starts.end,
        end_unix_nano_max: starts.end + 10,
        tenants: tenants.collect(),
        ..SegmentMeta::new(Ulid(id), 0)
    };
    SegmentEntry { path: format!("segments/{id}.parquet"), meta }
}

fn locator(segments: Vec<SegmentEntry>) -> PartitionLocator {
    PartitionLocator::new(&ManifestState { segments, ..ManifestState::default() })
}

fn ids<'p>(partitions: impl Iterator<Item = &'p Partition>) -> Vec<u128> {
    partitions.map(|partition| partition.id.0).collect()
}

#[test]
fn a_trace_can_be_where_its_tenant_and_its_hash_are_the_newest_first() {
    let id = trace_id(7);
    let hash = trace_hash(&id);
    let locator = locator(vec![
        segment(1, &["a"], 0..=u64::MAX, 0..10),
        segment(2, &["b"], 0..=u64::MAX, 0..10),
        segment(3, &["a", "b"], hash..=hash, 0..10),
        segment(4, &["a"], 0..=hash - 1, 0..10),
        segment(5, &["a"], hash + 1..=u64::MAX, 0..10),
    ]);
    let found = |name: &str| ids(locator.of_trace(&tenant(name), &id).1);
    assert_eq!(found("a"), [3, 1]);
    assert_eq!(found("b"), [3, 2]);
    assert_eq!(found("nobody"), [0; 0]);
    let key = locator.of_trace(&tenant("a"), &id).0;
    assert_eq!(key, filter_key(tenant_hash(&tenant("a")), &id));
}

#[test]
fn a_range_of_starts_has_its_start_and_not_its_end() {
    let locator = locator(vec![segment(1, &["a"], 0..=1, 10..20), segment(2, &["a"], 0..=1, 20..30)]);
    let found = |starts: Range<u64>| ids(locator.of_starts(&tenant("a"), starts));
    assert_eq!(found(0..10), [0; 0]);
    assert_eq!(found(0..11), [1]);
    assert_eq!(found(20..21), [2, 1]);
    assert_eq!(found(21..40), [2]);
    assert_eq!(found(31..40), [0; 0]);
}

#[test]
fn a_hint_overlaps_what_was_in_progress() {
    let locator = locator(vec![segment(1, &["a"], 0..=u64::MAX, 10..20)]);
    let (_, mut partitions) = locator.of_trace(&tenant("a"), &trace_id(1));
    let partition = partitions.next().expect("one");
    assert!(partition.overlaps(None, None));
    assert!(partition.overlaps(Some(30), None), "its last span ends then");
    assert!(!partition.overlaps(Some(31), None));
    assert!(partition.overlaps(None, Some(10)));
    assert!(!partition.overlaps(None, Some(9)));
}
