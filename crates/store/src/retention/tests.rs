use tracelake_format::segment::SegmentTenant;

use super::*;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const NOW: u64 = 1_760_000_000 * SECOND;

/// A segment written when its newest span ended, of tenants with so many rows of 10 bytes each.
fn segment(id: u16, newest_unix_nano: u64, tenants: &[(&str, u64)]) -> SegmentEntry {
    written(id, newest_unix_nano, newest_unix_nano, tenants)
}

fn written(id: u16, written: u64, newest_unix_nano: u64, tenants: &[(&str, u64)]) -> SegmentEntry {
    let mut meta = SegmentMeta::new(Ulid::from_parts(written / 1_000_000, u128::from(id)), 0);
    for (tenant, rows) in tenants {
        let tenant = tenant.parse().expect("a valid name");
        meta.tenants.push(SegmentTenant { tenant, first_row: meta.rows, rows: *rows, traces: 1 });
        meta.rows += rows;
    }
    meta.size_bytes = 10 * meta.rows;
    meta.start_unix_nano_min = newest_unix_nano.saturating_sub(SECOND);
    meta.end_unix_nano_max = newest_unix_nano;
    SegmentEntry { path: format!("segments/{}.parquet", meta.id), meta }
}

fn limits(age_days: Option<u64>, bytes_max: Option<u64>) -> RetentionLimits {
    RetentionLimits { age_max: age_days.map(|days| Duration::from_secs(days * 86_400)), bytes_max }
}

fn policy(others: RetentionLimits, tenants: &[(&str, RetentionLimits)]) -> RetentionPolicy {
    let tenants = tenants.iter().map(|(tenant, limits)| (tenant.parse().expect("a valid name"), *limits));
    RetentionPolicy { others, tenants: tenants.collect() }
}

/// What goes: the segment's number, whether the whole of it, and whose parts.
fn plan(policy: &RetentionPolicy, segments: &[SegmentEntry]) -> Vec<(u128, bool, Vec<String>)> {
    let plan = policy.plan(NOW, &segments.iter().collect::<Vec<_>>());
    let tenants =
        |segment: &ExpiredSegment| segment.parts.iter().map(|part| part.tenant.to_string()).collect();
    plan.iter().map(|segment| (segment.id.random(), segment.whole, tenants(segment))).collect()
}

fn all_of(id: u128) -> (u128, bool, Vec<String>) {
    (id, true, vec!["a".to_owned()])
}

#[test]
fn without_a_limit_nothing_goes() {
    let segments = [segment(1, 2_000 * DAY, &[("a", u64::MAX / 100)])];
    assert!(policy(limits(None, None), &[]).is_off());
    assert_eq!(plan(&policy(limits(None, None), &[]), &segments), []);
    let others_only = policy(limits(None, None), &[("b", limits(Some(1), Some(1)))]);
    assert!(!others_only.is_off());
    assert_eq!(plan(&others_only, &segments), []);
}

#[test]
fn a_segment_goes_when_the_newest_span_in_it_is_too_old_and_not_before() {
    let week = policy(limits(Some(7), None), &[]);
    let at = |ago: u64| segment(1, NOW - ago, &[("a", 1)]);
    assert_eq!(plan(&week, &[at(7 * DAY)]), []);
    assert_eq!(plan(&week, &[at(7 * DAY + 1)]), [all_of(1)]);
    // A clock that went back, or a span of tomorrow.
    assert_eq!(plan(&week, &[segment(1, NOW + DAY, &[("a", 1)])]), []);
    // Open spans have no end: their start counts.
    let mut open = at(8 * DAY);
    (open.meta.end_unix_nano_max, open.meta.start_unix_nano_max) = (0, NOW - DAY);
    assert_eq!(plan(&week, &[open]), []);
}

#[test]
fn impossible_times_neither_keep_nor_kill() {
    let week = policy(limits(Some(7), None), &[]);
    for never in [0, 1, EARLIEST - 1] {
        let fresh = written(1, NOW - DAY, never, &[("a", 1)]);
        assert_eq!(plan(&week, std::slice::from_ref(&fresh)), [], "counted from when it was written");
        let old = written(1, NOW - 8 * DAY, never, &[("a", 1)]);
        assert_eq!(plan(&week, &[old]), [all_of(1)]);
    }
    for never in [NOW + 100 * 365 * DAY, i64::MAX as u64, u64::MAX] {
        let fresh = written(1, NOW - 7 * DAY, never, &[("a", 1)]);
        assert_eq!(plan(&week, &[fresh]), [], "a day ahead of its arrival it can be");
        let old = written(1, NOW - 9 * DAY, never, &[("a", 1)]);
        assert_eq!(plan(&week, &[old]), [all_of(1)]);
    }
    // Spans of long ago that were imported today are as old as they say.
    assert_eq!(plan(&week, &[written(1, NOW, NOW - 900 * DAY, &[("a", 1)])]), [all_of(1)]);
}

#[test]
fn by_bytes_the_oldest_go_until_the_rest_fits() {
    let segments: Vec<_> = [(3, 3), (1, 1), (2, 2), (4, 4)]
        .map(|(id, day)| segment(id, NOW - (10 - day) * DAY, &[("a", 10)]))
        .into();
    for (bytes_max, gone) in [(400, 0), (399, 1), (300, 1), (299, 2), (101, 3), (100, 3), (99, 4)] {
        let policy = policy(limits(None, Some(bytes_max)), &[]);
        let expected: Vec<_> = (1..=gone).map(all_of).collect();
        assert_eq!(plan(&policy, &segments), expected, "{bytes_max}");
    }
    // What is too old anyway counts no more.
    let both = policy(limits(Some(8), Some(300)), &[]);
    assert_eq!(plan(&both, &segments), [all_of(1)]);
    let because = both.plan(NOW, &segments.iter().collect::<Vec<_>>());
    assert_eq!(because[0].parts[0].because, Expiry::AgeSecondsMax(8 * 86_400));
}

#[test]
fn each_tenant_has_limits_of_its_own_and_a_share_of_the_bytes() {
    let segments = [
        segment(1, NOW - 9 * DAY, &[("a", 10), ("b", 30), ("c", 60)]),
        segment(2, NOW - 2 * DAY, &[("a", 10), ("b", 30)]),
        segment(3, NOW - DAY, &[("b", 30)]),
    ];
    let limits = [("a", limits(Some(7), None)), ("b", limits(None, Some(600)))];
    let found = policy(RetentionLimits::default(), &limits).plan(NOW, &segments.iter().collect::<Vec<_>>());
    assert_eq!(found.len(), 1, "{found:?}");
    let first = &found[0];
    assert_eq!((first.id.random(), first.whole, first.spans(), first.bytes_expired()), (1, false, 40, 400));
    assert_eq!(first.parts[0].because, Expiry::AgeSecondsMax(7 * 86_400));
    assert_eq!((first.parts[1].because, first.parts[1].bytes), (Expiry::BytesMax(600), 300));
    // When nobody has a part that stays, the whole goes.
    let all = policy(RetentionLimits { age_max: Some(Duration::from_secs(1)), bytes_max: None }, &limits);
    let found = plan(&all, &segments);
    assert_eq!(found[0], (1, true, vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
    assert_eq!(found.len(), 1, "who has limits of its own has none of the others'");
}
