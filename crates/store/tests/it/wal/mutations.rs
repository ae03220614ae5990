use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use tracelake_format::wal::FILE_HEADER_BYTES;
use tracelake_store::env::Files;
use tracelake_store::env::sim::SimFiles;

use super::support::*;

const RUNS: u64 = 3_000;
const FILES: u64 = 4;
const REQUESTS_EACH: u64 = 5;

/// A log of several files: its bytes, by sequence from 1 on.
async fn sound() -> Vec<Vec<u8>> {
    let disk = SimFiles::new(0);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let (wal, _, _) = reopen(&files);
    for file in 0..FILES {
        if file > 0 {
            wal.rotate().await.expect("there is room");
        }
        append_all(&wal, file * REQUESTS_EACH..(file + 1) * REQUESTS_EACH).await;
    }
    wal.close().await;
    (1..=FILES).map(|sequence| disk.bytes(&wal_path(sequence)).expect("it is there")).collect()
}

/// Changes one file by chance; none: it is gone. Of the newest one nothing is cut off or made zero at its
/// end: nothing anywhere says how long it was.
fn mutate(bytes: &[u8], others: &[Vec<u8>], newest: bool, random: &mut SmallRng) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        let end = (at + random.random_range(1..700)).min(bytes.len());
        match random.random_range(0..if newest { 5 } else { 9 }) {
            0 | 1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 => random.fill_bytes(&mut bytes[at..end]),
            3 => drop(bytes.splice(at..at, (0..random.random_range(1..700)).map(|_| 0x5a))),
            4 => bytes.extend((0..random.random_range(1..700)).map(|n| n as u8)),
            5 => bytes[at..end].fill(0),
            6 => bytes.truncate(at),
            7 => drop(bytes.drain(at..end)),
            _ => match random.random_range(0..3) {
                0 => return None,
                1 => bytes = others[random.random_range(0..others.len())].clone(),
                _ => bytes[FILE_HEADER_BYTES.min(at)..].fill(0),
            },
        }
    }
    Some(bytes)
}

/// What can be read is what was written, and what cannot be read is said: by file, where one alone is
/// damaged.
#[tokio::test]
async fn whatever_happens_to_the_files_no_loss_goes_unsaid() {
    let sound = sound().await;
    let (mut losses, mut untouched) = (0, 0);
    for seed in seeds(RUNS) {
        println!("TRACELAKE_TEST_SEED={seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let hit: BTreeSet<usize> =
            (0..random.random_range(1..3)).map(|_| random.random_range(0..sound.len())).collect();
        let disk = SimFiles::new(seed);
        for (index, bytes) in sound.iter().enumerate() {
            let newest = index + 1 == sound.len();
            let bytes = if hit.contains(&index) {
                mutate(bytes, &sound, newest, &mut random)
            } else {
                Some(bytes.clone())
            };
            if let Some(bytes) = bytes {
                disk.put(&wal_path(index as u64 + 1), bytes);
            }
        }
        let found = try_recover(&disk, Path::new(DIR), 0).expect("damage is no error");
        let counts = counts(&found.numbers());
        assert!(counts.values().all(|count| *count == 1), "something came back twice");
        let said = found.report.damage_messages();
        let torn = found.report.torn_message();
        for file in 0..FILES {
            let numbers = file * REQUESTS_EACH..(file + 1) * REQUESTS_EACH;
            let lost: Vec<u64> = numbers.filter(|number| !counts.contains_key(number)).collect();
            if lost.is_empty() {
                untouched += 1;
                continue;
            }
            losses += 1;
            assert!(hit.contains(&(file as usize)), "file {} is sound, and {lost:?} are lost", file + 1);
            let path = wal_path(file + 1).display().to_string();
            let gap = |first: u64, last: u64| (first..=last).contains(&(file + 1));
            let named = said.iter().chain(&torn).any(|message| message.contains(&path))
                || found.report.gaps.iter().any(|gap_found| gap(gap_found.first, gap_found.last));
            // With its successor's header gone, nothing says how long a file was: then that is said.
            let unsaid = if hit.len() == 1 { !named } else { said.is_empty() && torn.is_none() };
            assert!(!unsaid, "{lost:?} of file {} are lost: {:?}", file + 1, found.report);
        }
        // It has been put in order: what was found is found again, and the log can go on.
        let again = try_recover(&disk, Path::new(DIR), 0).expect("damage is no error");
        assert_eq!(again.frames, found.frames);
        assert_eq!(again.report.next_sequence, found.report.next_sequence);
    }
    // One seed alone may lose nothing.
    let all_runs = std::env::var_os("TRACELAKE_TEST_SEED").is_none();
    assert!(!all_runs || (losses > 0 && untouched > 0), "{losses} losses, {untouched} files without");
}
