//! Lookups beside a map in memory, while spans come in and are flushed and merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_query::{EngineOptions, TraceCacheLimits};

use crate::support::World;

const TRACES: u64 = 40;
const STEPS: usize = 400;

/// Room for few traces.
const SMALL_CACHE_BYTES: u64 = 20_000;

/// From `TRACELAKE_TEST_SEED`, else a new one; printed either way.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("TRACELAKE_TEST_SEED={seed}");
    seed
}

async fn play(seed: u64, cache_bytes_max: u64) {
    let cache = TraceCacheLimits { bytes_max: cache_bytes_max, traces_max: 0 };
    let world = World::new(seed, EngineOptions { cache, ..EngineOptions::default() }).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut oracle: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut next = 0;
    for step in 0..STEPS {
        match random.random_range(0..20) {
            0..8 => {
                let spans: Vec<(u64, u64)> = (0..random.random_range(1..30))
                    .map(|_| {
                        // Some of them sent before.
                        let again = next > 0 && random.random_bool(0.1);
                        let span = if again { random.random_range(0..next) } else { next };
                        next += u64::from(!again);
                        (span * 7 % TRACES, span)
                    })
                    .collect();
                world
                    .ingest(&spans.iter().map(|(trace, span)| (*trace, *span, "")).collect::<Vec<_>>())
                    .await;
                spans.iter().for_each(|(trace, span)| {
                    oracle.entry(*trace).or_default().insert(*span);
                });
            }
            8..10 => world.flush().await,
            10 => {
                world.store.compact().await.expect("a merge");
            }
            11 => {
                let traces: Vec<u64> = (0..TRACES + 5).filter(|_| random.random_bool(0.5)).collect();
                for (trace, found) in world.batch(&traces).await {
                    let expected: Vec<u64> = oracle.get(&trace).into_iter().flatten().copied().collect();
                    assert_eq!(found, expected, "trace {trace} in a batch at step {step}");
                }
            }
            _ => {
                let trace = random.random_range(0..TRACES + 5);
                let expected: Vec<u64> = oracle.get(&trace).into_iter().flatten().copied().collect();
                assert_eq!(world.spans(trace).await, expected, "trace {trace} at step {step}");
            }
        }
    }
    let stats = world.engine.cache_stats();
    assert!(stats.bytes <= cache_bytes_max, "{stats:?}");
    // A small cache has room for small traces only, and whether one of those is asked for twice is chance.
    match cache_bytes_max {
        0 => assert_eq!(stats.hits, 0, "{stats:?}"),
        SMALL_CACHE_BYTES => {}
        _ => assert!(stats.hits > 0, "{stats:?}"),
    }
    assert!(world.store.status().compaction.merges > 0, "nothing was merged");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_a_map_with_a_cache_and_without() {
    let seed = seed();
    for cache_bytes_max in [0, SMALL_CACHE_BYTES, 64 << 20] {
        play(seed, cache_bytes_max).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_never_lack_anything_while_segments_are_flushed_and_merged() {
    let world = Arc::new(World::new(seed(), EngineOptions::default()).await);
    const SPANS: u64 = 25;
    let all: Vec<u64> = (0..SPANS).collect();
    for span in 0..SPANS {
        world.ingest(&(0..TRACES).map(|trace| (trace, span, "")).collect::<Vec<_>>()).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|reader| {
            let (world, done, all) = (Arc::clone(&world), Arc::clone(&done), all.clone());
            tokio::spawn(async move {
                let mut lookups = 0;
                while !done.load(Ordering::SeqCst) {
                    let trace = (lookups * 7 + reader) % TRACES;
                    if lookups % 3 == 0 {
                        world.engine.drop_all_cached(&world.tenant);
                    }
                    assert_eq!(world.spans(trace).await, all, "trace {trace}");
                    if lookups % 10 == 0 {
                        assert_eq!(world.batch(&[trace]).await[&trace], all, "trace {trace} in a batch");
                    }
                    lookups += 1;
                }
                lookups
            })
        })
        .collect();
    for round in 0..20 {
        world.ingest(&[(TRACES + round, SPANS, "")]).await;
        world.flush().await;
        if round % 4 == 3 {
            world.store.compact().await.expect("a merge");
        }
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.expect("no answer was wrong") > 0);
    }
}
