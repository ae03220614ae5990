use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn read(bytes: &[u8], universe: u32) -> Result<(Vec<u32>, usize), FormatError> {
    let mut set = TraceSet::empty(universe);
    let rest = or_into(bytes, &mut set)?.len();
    Ok((set.iter().collect(), rest))
}

#[test]
fn sets_of_every_density_come_back() {
    let mut random = StdRng::seed_from_u64(1);
    for universe in [1, 2, 7, 8, 9, 64, 65, 1_000, 10_007] {
        for share in [0.0, 0.0001, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999, 1.0] {
            let ordinals: Vec<u32> = (0..universe).filter(|_| random.random_bool(share)).collect();
            let mut bytes = Vec::new();
            write(&mut bytes, &ordinals, universe);
            assert!(bytes.len() <= universe.div_ceil(8) as usize + 3);
            bytes.extend([0xff; 3]);
            assert_eq!(count(&bytes, universe).expect("own bytes"), ordinals.len() as u32);
            assert_eq!(read(&bytes, universe).expect("own bytes"), (ordinals, 3));
        }
    }
}

#[test]
fn two_of_many_take_few_bytes() {
    let mut bytes = Vec::new();
    write(&mut bytes, &[17, 9_000], 10_000);
    assert!(bytes.len() <= 5, "{} bytes", bytes.len());
}

#[test]
fn damaged_sets_are_refused_or_within_their_universe() {
    let mut random = StdRng::seed_from_u64(2);
    for _ in 0..20_000 {
        let universe = random.random_range(1..300);
        let ordinals: Vec<u32> = (0..universe).filter(|_| random.random_bool(0.1)).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &ordinals, universe);
        let at = random.random_range(0..bytes.len());
        bytes[at] = random.random();
        bytes.truncate(random.random_range(0..=bytes.len()));
        if let Ok((ordinals, _)) = read(&bytes, universe) {
            assert!(ordinals.iter().all(|ordinal| *ordinal < universe));
        }
    }
    assert!(read(&[], 5).is_err());
    assert!(read(&[6 << 1], 5).is_err(), "more than there are");
}
