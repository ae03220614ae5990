use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const MINUTE: u64 = WIDTH_NANO_MIN;
const HOUR: u64 = NEAR_NANO;

/// 2025.
const NOW: u64 = 1_760_000_000_000_000_000;

#[test]
fn nothing_and_one_slice_are_not_divided() {
    for sample in [Vec::new(), vec![(NOW, 1)], (0..100).map(|minute| (NOW - minute * MINUTE, 1)).collect()] {
        let slices = Slices::of(sample, 1, NOW);
        assert_eq!((slices.of_trace(0, 0), slices.of_trace(u64::MAX, u64::MAX)), (0, 0));
    }
}

#[test]
fn slices_have_equal_parts_of_the_rows() {
    let sample = (0..1_000).map(|minute| (NOW + minute * MINUTE, if minute < 500 { 3 } else { 1 })).collect();
    let slices = Slices::of(sample, 2, NOW);
    assert_eq!((slices.starts.as_slice(), slices.shards), ([NOW + 333 * MINUTE].as_slice(), 1));
    assert_eq!(slices.of_trace(NOW + 333 * MINUTE - 1, u64::MAX), 0);
    assert_eq!(slices.of_trace(NOW + 333 * MINUTE, 0), 1);
}

#[test]
fn much_in_little_time_is_divided_by_shards() {
    let sample: Vec<Sampled> = (0..1_000).map(|at| (NOW + at * MINUTE / 1_000, 1)).collect();
    let slices = Slices::of(sample.clone(), 4, NOW);
    assert_eq!((slices.starts.len(), slices.shards), (0, 4));
    let quarter = 1 << 62;
    for (hash, expected) in [(0, 0), (quarter - 1, 0), (quarter, 1), (2 * quarter, 2), (u64::MAX, 3)] {
        assert_eq!(slices.of_trace(NOW + 7, hash), expected);
    }
    // Two minutes: two ranges of two shards each; and late ones beside.
    let mut sample: Vec<Sampled> = (0..1_000).map(|at| (NOW + at * MINUTE / 400, 100)).collect();
    assert_eq!(Slices::of(sample.clone(), 4, NOW).shards, 2);
    sample.push((NOW - 100 * HOUR, 1));
    let slices = Slices::of(sample, 4, NOW);
    assert_eq!(slices.of_trace(NOW - 100 * HOUR, u64::MAX), 0);
    assert!(slices.of_trace(NOW, 0) > 0);
}

#[test]
fn what_is_far_from_all_others_gets_slices_of_its_own() {
    let early = NOW - 1_000 * HOUR;
    let mut sample: Vec<Sampled> = (0..1_000).map(|minute| (early + minute * HOUR / 1_000, 10)).collect();
    sample.push((NOW - 9_000 * HOUR, 1));
    sample.push((NOW, 1));
    let slices = Slices::of(sample, 1, NOW);
    assert_eq!(slices.of_trace(NOW - 9_000 * HOUR, 0), 0);
    assert_eq!((slices.of_trace(early, 0), slices.of_trace(early + HOUR, u64::MAX)), (1, 1));
    assert_eq!(slices.of_trace(NOW, 0), 2);
}

#[test]
fn impossible_times_get_slices_of_their_own_however_many_they_are() {
    let mut sample: Vec<Sampled> = (0..100).map(|second| (NOW - second * 1_000_000_000, 1)).collect();
    sample.extend((0..80).map(|at| (at, 1)));
    sample.extend((0..80).map(|at| (NOW + 25 * HOUR + at, 1)));
    let slices = Slices::of(sample, 1, NOW);
    let found = [0, 79, NOW - 100_000_000_000, NOW, NOW + HOUR / 2, NOW + 25 * HOUR, u64::MAX];
    assert_eq!(found.map(|start| slices.of_trace(start, 0)), [0, 0, 1, 1, 1, 2, 2]);
    // With a clock that is wrong nothing else is.
    let all: Vec<Sampled> = (0..1_000).map(|at| (at, 1)).collect();
    assert_eq!(Slices::of(all, 1, NOW).of_trace(0, 0), 0);
}

#[test]
fn there_are_never_more_slices_than_are_written_at_once() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..2_000 {
        let width = 1u64 << random.random_range(0..62);
        let start = |random: &mut StdRng| match random.random_range(0..10) {
            0 => random.random(),
            _ => NOW - random.random_range(0..width.min(NOW)),
        };
        let sample: Vec<Sampled> = (0..random.random_range(0..200))
            .map(|_| (start(&mut random), random.random_range(0..1_000)))
            .collect();
        let slices = Slices::of(sample.clone(), random.random_range(0..10), NOW);
        assert!(slices.starts.is_sorted_by(|a, b| a < b), "{slices:?}");
        let (mut before, mut highest) = (0, 0);
        let mut starts: Vec<u64> = sample.iter().map(|(start, _)| *start).collect();
        starts.extend([0, u64::MAX]);
        starts.sort_unstable();
        for start in starts {
            let slice = slices.of_trace(start, 0);
            assert!(slice >= before, "later traces are in later slices: {slices:?}");
            before = slice;
            highest = highest.max(slices.of_trace(start, u64::MAX));
        }
        assert!(highest < SLICES_MAX, "{slices:?}");
    }
}
