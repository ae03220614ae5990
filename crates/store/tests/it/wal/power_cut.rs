use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tracelake_format::wal::Compression;
use tracelake_store::env::Files;
use tracelake_store::env::sim::{Fault, SimFiles};
use tracelake_store::wal::{FileDamage, WalOptions, remove_covered};

use super::support::*;

const RUNS: u64 = 1_500;
const LIVES: u64 = 4;

/// What must hold over all lives of one log.
#[derive(Default)]
struct Model {
    next: u64,
    /// Sent together, so in no order among themselves: the number's batch.
    batch_of: BTreeMap<u64, u64>,
    batches: u64,
    acked: BTreeSet<u64>,
    published: BTreeSet<u64>,
    /// The manifest's part: what is in files up to here is elsewhere.
    covered: u64,
    in_segments: BTreeSet<u64>,
    known_damage: BTreeSet<(u64, u64)>,
}

#[tokio::test]
async fn a_power_cut_at_any_call_takes_nothing_back_that_was_acknowledged_or_shown() {
    for seed in seeds(RUNS) {
        let disk = SimFiles::new(seed);
        let mut random = SmallRng::seed_from_u64(seed ^ 0xA5);
        let mut model = Model::default();
        for life in 0..LIVES {
            live(&disk, &mut random, &mut model, &format!("TRACELAKE_TEST_SEED={seed}, life {life}")).await;
        }
    }
}

async fn live(disk: &SimFiles, random: &mut SmallRng, model: &mut Model, which: &str) {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let found = try_recover(files.as_ref(), Path::new(DIR), model.covered)
        .unwrap_or_else(|e| unreachable!("{which}: {e}"));
    check(&found, model, which);
    disk.fail_nth(random.random_range(0..60), Fault::PowerCut);
    let compression = if random.random_bool(0.5) { Compression::Lz4 } else { Compression::None };
    let rotate_after = random.random_bool(0.5).then(|| random.random_range(1..20));
    let options = WalOptions { compression, ..options(Arc::clone(&files), Path::new(DIR), &found.report) };
    if let Ok((wal, log)) = start(options, rotate_after) {
        // As the store does: what was recovered goes into a segment, then its files may go.
        let mut sealed = found.frames.clone();
        let mut alive = true;
        while alive {
            let batch = model.next..model.next + random.random_range(1..8);
            model.next = batch.end;
            model.batches += 1;
            for number in batch.clone() {
                model.batch_of.insert(number, model.batches);
            }
            let sent: Vec<u64> = batch.collect();
            for (number, result) in
                sent.iter().zip(join_all(sent.iter().map(|n| wal.append(request(*n)))).await)
            {
                match result {
                    Ok(_) => drop(model.acked.insert(*number)),
                    Err(_) => alive = false,
                }
            }
            if random.random_bool(0.1) && wal.rotate().await.is_err() {
                alive = false;
            }
            if random.random_bool(0.2) {
                let seen = log.lock().expect("no panic");
                let (newest, published) = (seen.sequence, seen.published.clone());
                drop(seen);
                sealed.retain(|(sequence, _)| *sequence > model.covered);
                let old = sealed.iter().chain(&published).filter(|(sequence, _)| *sequence < newest);
                model.in_segments.extend(old.map(|(_, number)| *number));
                model.covered = newest - 1;
                // What cannot be removed now is removed by a later start.
                drop(remove_covered(files.as_ref(), Path::new(DIR), &covered(model.covered)));
            }
        }
        wal.close().await;
        model.published.extend(log.lock().expect("no panic").published.iter().map(|(_, number)| *number));
    }
    disk.clear_fault();
    disk.power_cut();
    disk.restart();
}

fn check(found: &Recovered, model: &mut Model, which: &str) {
    let numbers = found.numbers();
    let counts = counts(&numbers);
    assert!(counts.values().all(|count| *count == 1), "{which}: something came back twice");
    for number in model.acked.union(&model.published) {
        assert!(
            counts.contains_key(number) || model.in_segments.contains(number),
            "{which}: {number} was acknowledged or shown and is lost; {:?}",
            found.report
        );
    }
    assert!(numbers.iter().all(|number| model.batch_of.contains_key(number)), "{which}: made up");
    let batches: Vec<_> = numbers.iter().map(|number| model.batch_of[number]).collect();
    assert!(batches.is_sorted(), "{which}: not in the order in which they were sent");
    assert!(found.report.gaps.is_empty(), "{which}: {:?}", found.report.gaps);
    for damaged in &found.report.damaged {
        let FileDamage::Frames { ranges } = &damaged.damage else {
            unreachable!("{which}: a header is durable before anything follows it: {damaged}")
        };
        for range in ranges {
            // A hole in the group that the crash interrupted. A later start reports the file again,
            // until it is covered.
            let known = model.known_damage.contains(&(damaged.sequence, range.at));
            assert!(known || !range.acknowledged, "{which}: no synced byte was lost: {damaged}");
            model.known_damage.insert((damaged.sequence, range.at));
        }
    }
}
