use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn find(bytes: &[u8], counts: &[u32], hash: u64, universe: u32) -> Vec<u32> {
    let mut set = TraceSet::empty(universe);
    if let Some((range, hashes)) = block(counts, hash, universe) {
        or_into(&bytes[range], hashes, hash, &mut set).expect("own bytes");
    }
    set.iter().collect()
}

#[test]
fn each_hash_is_found_in_its_block_and_few_others() {
    let mut random = StdRng::seed_from_u64(1);
    for (count, universe) in [(1, 1), (5, 3), (128, 1_000), (20_000, 9_999)] {
        let hashes: Vec<(u64, u32)> =
            (0..count).map(|_| (random.random(), random.random_range(0..universe))).collect();
        let mut bytes = vec![7];
        let counts = write(&mut bytes, &hashes, universe);
        assert!(counts.iter().all(|count| *count <= BLOCK_HASHES_MAX));
        let counts: Vec<u32> = counts.into_iter().map(|count| count as u32).collect();
        let len: usize = counts.iter().filter_map(|count| block_len(*count as usize, universe)).sum();
        assert_eq!(bytes.len(), 1 + len);
        for (hash, ordinal) in &hashes {
            assert!(find(&bytes[1..], &counts, *hash, universe).contains(ordinal));
        }
        let others = (0..2_000).filter(|_| !find(&bytes[1..], &counts, random.random(), universe).is_empty());
        assert!(others.count() < 20, "of 2000 some 4");
    }
    assert!(find(&[], &[], 5, 9).is_empty());
}

#[test]
fn hashes_that_were_chosen_to_be_alike_take_a_large_block() {
    let hashes: Vec<(u64, u32)> = (0..1_000).map(|at| (0xffff + (at << 16), at as u32)).collect();
    let mut bytes = Vec::new();
    let counts = write(&mut bytes, &hashes, 1_000);
    let counts: Vec<u32> = counts.into_iter().map(|count| count as u32).collect();
    assert_eq!(find(&bytes, &counts, 0xffff, 1_000).len(), 1_000);
}

#[test]
fn damaged_blocks_are_refused() {
    let hashes: Vec<(u64, u32)> = (0..10).map(|at| (u64::from(at), at)).collect();
    let mut bytes = Vec::new();
    write(&mut bytes, &hashes, 10);
    let mut set = TraceSet::empty(10);
    assert!(or_into(&bytes[1..], 10, 3, &mut set).is_err());
    assert!(or_into(&bytes, 11, 3, &mut set).is_err());
    bytes.truncate(20);
    bytes.resize(25, 0xff);
    assert!(or_into(&bytes, 10, 3, &mut set).is_err(), "the 16th of 10");
}
