use rand::{Rng, SeedableRng, rngs::StdRng};
use xorf::Filter;

use super::*;

fn keys(count: usize, seed: u64) -> Vec<u64> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut keys: Vec<u64> = (0..count).map(|_| random.random()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[test]
fn no_key_is_denied_and_others_are() {
    for count in [0, 1, 2, 3, 4, 5, 7, 10, 100, 1_000, 20_000] {
        let keys = keys(count, count as u64);
        for (width, hits_max) in [(Width::Four, 0), (Width::One, 80)] {
            let filter = KeyFilter::parse(KeyFilter::build(&keys, width).into()).expect("own bytes");
            assert_eq!(filter.keys() as usize, keys.len());
            assert!(keys.iter().all(|key| filter.contains(*key)), "{count} keys");
            let others = self::keys(10_000, 99);
            let hits = others.iter().filter(|key| filter.contains(**key)).count();
            // With four bytes a false hit has a chance of 1 in 400,000, with one 39 are to be expected.
            assert!(hits <= hits_max, "{count} keys: {hits} of 10,000 others");
        }
    }
}

#[test]
fn the_documented_layout_answers_as_xorf_does() {
    let keys = keys(5_000, 1);
    let fuse_32 = BinaryFuse32::try_from(&keys).expect("distinct keys");
    let fuse_8 = BinaryFuse8::try_from(&keys).expect("distinct keys");
    let [four, one] = [Width::Four, Width::One]
        .map(|width| KeyFilter::parse(KeyFilter::build(&keys, width).into()).expect("own bytes"));
    for key in keys.iter().copied().chain(self::keys(5_000, 2)) {
        assert_eq!(four.contains(key), fuse_32.contains(&key));
        assert_eq!(one.contains(key), fuse_8.contains(&key));
    }
}

#[test]
fn a_filter_that_could_not_be_built_denies_nothing() {
    let filter = KeyFilter::parse(header(ANYTHING, 7, 0, 0, 0).into()).expect("a known kind");
    assert!(filter.contains(1) && filter.contains(u64::MAX));
}

#[test]
fn damaged_bytes_are_refused_or_answer_without_a_panic() {
    for stored in [Width::Four, Width::One].map(|width| KeyFilter::build(&keys(50, 3), width)) {
        for len in 0..stored.len() {
            assert!(KeyFilter::parse(Bytes::copy_from_slice(&stored[..len])).is_err(), "cut to {len}");
        }
        for bit in 0..8 * stored.len() {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(filter) = KeyFilter::parse(damaged.into()) {
                for key in 0..64 {
                    filter.contains(key << 58);
                }
            }
        }
    }
}
