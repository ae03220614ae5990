//! The same searches of the same spans wherever those are: in memory, in flushed and in merged segments, and in
//! segments without an attribute index.

use std::collections::BTreeSet;
use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_query::search::{SearchQuery, SourceHow};
use tracelake_query::{EngineOptions, Order};

use super::model::{Query, Span};
use super::{Expected, TRACES, answered, expected, random_search, search};
use crate::oracle::seed;
use crate::support::World;

const SPANS: u64 = 150;
const SPANS_OF_REQUEST: usize = 25;
const QUERIES: usize = 66;

/// Spans times queries, at least, of each state and of all.
const PAIRS_OF_STATE_MIN: usize = 5_000;
const PAIRS_MIN: usize = 20_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The next spans come in.
    Ingest,
    Flush,
    Merge,
    /// It starts anew, and segments that are written from then on have no index.
    LeaveOutIndex,
}

use self::Step::{Flush, Ingest, LeaveOutIndex, Merge};

struct State {
    name: &'static str,
    /// Behind a seed that is divisible by 6: see `writer_options` in `support.rs`.
    world: u64,
    steps: &'static [Step],
    /// How often the rows of each segment were merged.
    levels: &'static [u32],
    /// How sources are looked into that have traces which are worth a look.
    hows: &'static [SourceHow],
}

const STATES: [State; 5] = [
    State {
        name: "in memory",
        world: 1,
        steps: &[Ingest, Ingest, Ingest, Ingest, Ingest, Ingest],
        levels: &[],
        hows: &[SourceHow::Memory],
    },
    State {
        name: "flushed",
        world: 2,
        steps: &[Ingest, Ingest, Flush, Ingest, Ingest, Flush, Ingest, Ingest, Flush],
        levels: &[0, 0, 0],
        hows: &[SourceHow::Index],
    },
    State {
        name: "merged",
        world: 4,
        steps: &[Ingest, Ingest, Flush, Ingest, Ingest, Flush, Ingest, Ingest, Flush, Merge],
        levels: &[1],
        hows: &[SourceHow::Index],
    },
    State {
        name: "in all three",
        world: 5,
        steps: &[Ingest, Flush, Ingest, Flush, Merge, Ingest, Ingest, Flush, Ingest, Ingest],
        levels: &[0, 1],
        hows: &[SourceHow::Memory, SourceHow::Index],
    },
    State {
        name: "with an index, without one, and in memory",
        world: 2,
        steps: &[Ingest, Ingest, Flush, LeaveOutIndex, Ingest, Ingest, Flush, Ingest, Ingest],
        levels: &[0, 0],
        hows: &[SourceHow::Memory, SourceHow::Index, SourceHow::Scan],
    },
];

impl State {
    async fn stored(&self, spans: &[Span], base: u64) -> World {
        let mut world = World::new(base + self.world, EngineOptions::default()).await;
        let mut left = spans.chunks(SPANS_OF_REQUEST);
        for step in self.steps {
            match step {
                Ingest => {
                    let some = left.next().expect("there are as many steps as requests");
                    world.send(&some.iter().collect::<Vec<_>>()).await;
                }
                Flush => world.flush().await,
                Merge => drop(world.store.compact().await.expect("a merge")),
                LeaveOutIndex => world.restart(base + 6).await,
            }
        }
        assert!(left.next().is_none(), "{}: all were sent", self.name);
        let snapshot = world.store.snapshot();
        let mut levels: Vec<u32> = snapshot.manifest.segments.iter().map(|entry| entry.meta.level).collect();
        levels.sort_unstable();
        assert_eq!(levels, self.levels, "{}", self.name);
        world
    }
}

/// What was looked into for all queries.
#[derive(Debug, Default)]
struct Looked {
    segments_live: BTreeSet<u64>,
    indexed: u64,
    scanned: u64,
    hows: BTreeSet<SourceHow>,
}

impl Looked {
    async fn all_pages(&mut self, world: &World, mut query: SearchQuery) -> Vec<Expected> {
        let mut all = Vec::new();
        loop {
            let page = world.page(&query).await;
            let stats = &page.end.stats;
            self.segments_live.insert(stats.segments_live);
            self.indexed += stats.segments_indexed;
            self.scanned += stats.segments_scanned;
            let plan = page.end.plan.as_ref().expect("it was asked for");
            let sources = plan.sources.iter().filter(|source| source.candidates > 0);
            self.hows.extend(sources.map(|source| source.how));
            all.extend(answered(&page, query.order));
            query.after = page.end.next;
            if query.after.is_none() {
                return all;
            }
        }
    }

    /// That the state was what it says.
    fn check(&self, state: &State) {
        let hows: BTreeSet<SourceHow> = state.hows.iter().copied().collect();
        assert_eq!(self.hows, hows, "{}", state.name);
        assert_eq!(self.segments_live, BTreeSet::from([state.levels.len() as u64]), "{}", state.name);
        let by = (self.indexed > 0, self.scanned > 0);
        assert_eq!(by, (hows.contains(&SourceHow::Index), hows.contains(&SourceHow::Scan)), "{}", state.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_searches_find_the_same_wherever_the_spans_are() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let spans: Vec<Span> = (1..=SPANS)
        .map(|id| {
            let trace = random.random_range(0..TRACES);
            Span::wild(&mut random, trace, id)
        })
        .collect();
    let queries: Vec<(Query, Range<u64>, Order, usize)> = (0..QUERIES)
        .map(|at| {
            let (query, starts, _, limit) = random_search(&mut random);
            (query, starts, [Order::Newest, Order::Oldest, Order::Longest][at % 3], limit)
        })
        .collect();
    let (mut all_pairs, mut hits) = (0, 0);
    for state in &STATES {
        let world = state.stored(&spans, seed % 1_000_000 * 6).await;
        let (mut looked, mut pairs) = (Looked::default(), 0);
        for (query, starts, order, limit) in &queries {
            let expected = expected(&spans, query, starts, *order);
            let search = SearchQuery { explain: true, ..search(query, starts.clone(), *order, *limit) };
            let found = looked.all_pages(&world, search).await;
            assert_eq!(found, expected, "{}: {} in {starts:?} by {order:?}", state.name, query.text());
            pairs += spans.len();
            hits += found.len();
        }
        looked.check(state);
        assert!(pairs >= PAIRS_OF_STATE_MIN, "{}: {pairs} spans were decided", state.name);
        all_pairs += pairs;
    }
    assert!(all_pairs >= PAIRS_MIN, "{all_pairs} spans were decided");
    assert!(hits >= QUERIES, "{hits} traces satisfied a condition: hardly any");
}
