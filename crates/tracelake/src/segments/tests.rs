use tracelake_format::manifest::SegmentEntry;
use ulid::Ulid;

use super::*;

fn segment(id: u128, day: u64, hashes: (u64, u64), tenants: &[(&str, u64)]) -> SegmentEntry {
    let mut meta = SegmentMeta::new(Ulid(id), u32::from(id > 2));
    for (tenant, rows) in tenants {
        let tenant = tenant.parse().expect("a valid name");
        meta.tenants.push(SegmentTenant { tenant, first_row: meta.rows, rows: *rows, traces: 1 });
        meta.rows += rows;
        meta.traces += 1;
    }
    meta.size_bytes = 100 * meta.rows;
    (meta.start_unix_nano_min, meta.start_unix_nano_max) = (day * DAY_NANOSECONDS, day * DAY_NANOSECONDS + 5);
    meta.end_unix_nano_max = day * DAY_NANOSECONDS + 6;
    (meta.trace_hash_min, meta.trace_hash_max) = hashes;
    SegmentEntry { path: format!("segments/{}.parquet", meta.id), meta }
}

fn state() -> State {
    let all = (1 << 40, u64::MAX - 1);
    let segments = vec![
        segment(3, 20_000, all, &[("a", 3), ("b", 1)]),
        segment(1, 20_000, all, &[("a", 1)]),
        segment(2, 20_001, all, &[("b", 7)]),
        segment(4, 20_001, (0, u64::MAX >> 1), &[("a", 2)]),
    ];
    State { version: 9, segments, ..State::default() }
}

fn ids(page: &SegmentPage) -> Vec<u128> {
    page.segments.iter().map(|info| Ulid::from_string(&info.id).expect("a name").0).collect()
}

#[test]
fn segments_come_in_pages_by_name() {
    let state = state();
    let first = page(&state, &Whose::All, None, 3);
    assert_eq!((ids(&first), first.manifest_version), (vec![1, 2, 3], 9));
    let second = page(&state, &Whose::All, first.next.as_deref(), 3);
    assert_eq!((ids(&second), second.next), (vec![4], None));
    assert_eq!(page(&state, &Whose::All, None, 4).next, None, "the last page knows that it is");
    assert_eq!(ids(&page(&state, &Whose::All, None, 0)), [1], "a page has at least one");
}

#[test]
fn a_tenant_sees_its_own_and_nothing_of_others() {
    let found = page(&state(), &Whose::Tenant("b".parse().expect("a valid name")), None, 10);
    assert_eq!(ids(&found), [2, 3]);
    let shared = &found.segments[1];
    assert_eq!(
        (shared.spans, shared.traces, shared.bytes, &shared.tenants[..]),
        (1, 1, 100, &["b".to_owned()][..])
    );
    let none = page(&state(), &Whose::Tenant("c".parse().expect("a valid name")), None, 10);
    assert_eq!((none.segments, none.next), (vec![], None));
}

#[test]
fn partitions_are_of_one_day_and_one_range_of_hashes() {
    let found = partitions(&state(), &Whose::All);
    let shape: Vec<_> = found
        .partitions
        .iter()
        .map(|part| {
            (part.day.as_str(), part.hashes.as_str(), part.segments, part.flushed_segments, part.spans)
        })
        .collect();
    let expected =
        [("2024-10-04", "0-f", 2, 1, 5), ("2024-10-05", "0-7", 1, 0, 2), ("2024-10-05", "0-f", 1, 1, 7)];
    assert_eq!(shape, expected);
    let own = partitions(&state(), &Whose::Tenant("b".parse().expect("a valid name")));
    assert_eq!(own.partitions.iter().map(|part| part.spans).collect::<Vec<_>>(), [1, 7]);
}

#[test]
fn days_are_those_of_the_calendar() {
    for (day, text) in [
        (0, "1970-01-01"),
        (58, "1970-02-28"),
        (59, "1970-03-01"),
        (10_957, "2000-01-01"),
        (11_016, "2000-02-29"),
        (11_017, "2000-03-01"),
        (47_540, "2100-02-28"),
        (47_541, "2100-03-01"),
        (u64::MAX / DAY_NANOSECONDS, "2554-07-21"),
    ] {
        assert_eq!(day_text(day), text, "{day}");
    }
}
