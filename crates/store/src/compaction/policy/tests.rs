use tracelake_format::segment::SegmentMeta;
use ulid::Ulid;

use super::*;

fn segment(id: u128, level: u32, size_bytes: u64, start: u64) -> SegmentEntry {
    let meta = SegmentMeta {
        generation_min: id as u64,
        size_bytes,
        start_unix_nano_min: start,
        start_unix_nano_max: start + 1,
        ..SegmentMeta::new(Ulid(id), level)
    };
    SegmentEntry { path: format!("segments/{id}.parquet"), meta }
}

fn next(segments: &[SegmentEntry]) -> Vec<u128> {
    ids(policy().next(&segments.iter().collect::<Vec<_>>()))
}

fn ids(job: Option<Vec<SegmentEntry>>) -> Vec<u128> {
    job.into_iter().flatten().map(|segment| segment.meta.id.0).collect()
}

fn policy() -> CompactionPolicy {
    CompactionPolicy {
        slice_bytes: 1_000,
        flushed_segments_max: 4,
        flushed_segments_waiting_max: u64::MAX,
        similar_slices_max: 3,
        inputs_max: 5,
        ends_apart_max: u64::MAX,
    }
}

#[test]
fn few_and_small_segments_are_left_alone() {
    let segments = [segment(1, 0, 100, 0), segment(2, 0, 100, 0), segment(3, 1, 100, 0)];
    assert_eq!(next(&segments), []);
    // A single one of any size cannot become fewer.
    assert_eq!(next(&[segment(1, 0, 5_000, 0)]), []);
}

#[test]
fn flushed_segments_are_merged_when_they_are_many_or_large_oldest_first() {
    let many: Vec<_> = (1..=9).rev().map(|id| segment(id, 0, 10, 0)).collect();
    assert_eq!(next(&many), [1, 2, 3, 4, 5], "as many as one merge may have");
    let large = [segment(2, 0, 600, 0), segment(1, 0, 500, 0)];
    assert_eq!(next(&large), [1, 2]);
    let huge: Vec<_> = (1..=4).map(|id| segment(id, 0, 1_500, 0)).collect();
    assert_eq!(next(&huge), [1, 2], "no more than four slices at once");
}

#[test]
fn no_limit_makes_a_merge_of_nothing_and_rests_end_between_the_limits() {
    let always = CompactionPolicy { flushed_segments_max: 0, ..policy() };
    assert_eq!(ids(always.next(&[])), []);
    assert_eq!(ids(always.next(&[&segment(1, 0, 100, 0)])), []);
    assert_eq!(ids(always.next(&[&segment(1, 0, 100, 0), &segment(2, 0, 100, 0)])), [1, 2]);
    for (flushed_segments_max, flushed_segments_waiting_max, expected) in
        [(20, 512, 69), (600, 1_200, 660), (2, 4, 2), (usize::MAX, u64::MAX, u64::MAX)]
    {
        let policy = CompactionPolicy { flushed_segments_max, flushed_segments_waiting_max, ..policy() };
        assert_eq!(policy.resting_segments_max(), expected);
    }
}

#[test]
fn small_slices_of_one_size_are_merged_with_their_neighbours_in_time() {
    let mut segments: Vec<_> = [(1, 0), (2, 900), (3, 10), (4, 20), (5, 500)]
        .map(|(id, start)| segment(id, 1, 130, start))
        .into_iter()
        .collect();
    assert_eq!(next(&segments), [1, 3, 4]);
    // Of another size, or large enough.
    segments.truncate(2);
    segments.push(segment(6, 1, 30, 5));
    segments.push(segment(7, 1, 900, 6));
    assert_eq!(next(&segments), []);
}

#[test]
fn slices_that_would_expire_far_apart_are_not_merged() {
    let policy = CompactionPolicy { ends_apart_max: 50, ..policy() };
    let mut segments: Vec<_> = [(1, 0), (2, 900), (3, 40), (4, 80)]
        .map(|(id, start)| segment(id, 1, 130, start))
        .into_iter()
        .collect();
    for entry in &mut segments {
        entry.meta.end_unix_nano_max = entry.meta.start_unix_nano_max;
    }
    let next = |segments: &[SegmentEntry]| ids(policy.next(&segments.iter().collect::<Vec<_>>()));
    let all = |segments: &[SegmentEntry]| ids(policy.next_of_all(&segments.iter().collect::<Vec<_>>()));
    assert_eq!((next(&segments), all(&segments)), (vec![], vec![]));
    let mut wide = segment(5, 1, 130, 0);
    wide.meta.end_unix_nano_max = 85;
    segments.push(wide);
    assert_eq!(next(&segments), [3, 4, 5], "however early they begin");
    assert_eq!(all(&segments), [3, 4, 5]);
}

#[test]
fn merging_all_ends() {
    let policy = policy();
    let mut segments: Vec<_> = (1..=40).map(|id| segment(id, u32::from(id > 20), 100, id as u64)).collect();
    let mut next = 100;
    let mut jobs = 0;
    while let Some(job) = policy.next_of_all(&segments.iter().collect::<Vec<_>>()) {
        jobs += 1;
        assert!(jobs < 40, "{segments:?}");
        let bytes = job.iter().map(|segment| segment.meta.size_bytes).sum();
        segments.retain(|segment| job.iter().all(|input| input.meta.id != segment.meta.id));
        next += 1;
        segments.push(segment(next, 1, bytes, next as u64));
    }
    assert!(segments.len() <= 10, "{}", segments.len());
    assert_eq!(CompactionPolicy::backlog(&segments.iter().collect::<Vec<_>>()), (0, 0));
}
