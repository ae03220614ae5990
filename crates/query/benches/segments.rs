//! What a lookup costs by how many segments there are: the same spans in ten and in a thousand, which no setting
//! of the server would leave unmerged. Printed for each: lookups of traces, each once, and of IDs that nobody has, and
//! what is kept in memory of a segment. docs/benchmarks.md, "Segments".
//!
//! `cargo bench -p tracelake-query`; `SEGMENTS=10,1000 SPANS=1500000` are the defaults.

#[path = "../../format/tests/it/realistic.rs"]
mod realistic;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tracelake_model::{SpanView, TenantId, TraceId};
use tracelake_otlp::encode_protobuf;
use tracelake_query::{EngineOptions, Explained, TimeHint, TraceCacheLimits, TraceQueryEngine};
use tracelake_store::compaction::policy::CompactionPolicy;
use tracelake_store::local_store::LocalStore;
use tracelake_store::{Encoding, Store, StoreOptions};

const LOOKUPS: usize = 2_000;
const WARM_UP: usize = 200;
const UNKNOWN: usize = 20_000;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let number = |name: &str| std::env::var(name).ok();
    let spans: usize = number("SPANS").map_or(Ok(1_500_000), |text| text.parse())?;
    let segments = number("SEGMENTS").unwrap_or_else(|| "10,1000".to_owned());
    println!(
        "| segments | after | by ID p50 | p95 | range reads | footers read | unknown p50 | that read | resident a segment |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for segments in segments.split(',') {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(measure(segments.trim().parse()?, spans))?;
    }
    Ok(())
}

async fn measure(segments: usize, spans: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let (store, mut ids) = fill(folder.path(), segments, spans).await?;
    // Not the seed of a segment's spans: that would draw their IDs.
    let mut random = StdRng::seed_from_u64(u64::MAX);
    ids.shuffle(&mut random);
    let (first, rest) = ids.split_at(ids.len() / 2);
    look_up(&store, "filling", first, &mut random).await?;
    store.shutdown().await?;
    drop(store);
    let store = open(folder.path()).await?;
    look_up(&store, "a restart", rest, &mut random).await?;
    store.shutdown().await?;
    Ok(())
}

/// A store that merges nothing.
async fn open(folder: &std::path::Path) -> Outcome<Store> {
    let objects = Arc::new(LocalStore::open(&folder.join("store"))?);
    let compaction = CompactionPolicy {
        flushed_segments_max: usize::MAX,
        flushed_segments_waiting_max: u64::MAX,
        similar_slices_max: usize::MAX,
        slice_bytes: u64::MAX,
        ..CompactionPolicy::default()
    };
    let options = StoreOptions {
        compaction,
        generation_age_max: Duration::from_secs(3_600),
        ..StoreOptions::new(objects, folder.join("wal"), 1)
    };
    Ok(Store::open(options).await?)
}

async fn fill(folder: &std::path::Path, segments: usize, spans: usize) -> Outcome<(Store, Vec<TraceId>)> {
    let store = open(folder).await?;
    let tenant = TenantId::default();
    let mut ids = HashSet::new();
    for segment in 0..segments {
        for batch in realistic::batches(segment as u64, spans / segments) {
            ids.extend(batch.trace_ids());
            let views: Vec<SpanView<'_>> = batch.spans().collect();
            store.ingest(&tenant, Encoding::Protobuf, encode_protobuf(&views).into()).await?;
        }
        store.flush().await?;
    }
    let mut ids: Vec<TraceId> = ids.into_iter().collect();
    ids.sort_unstable();
    assert_eq!(store.snapshot().manifest.segments.len(), segments, "nothing was merged");
    Ok((store, ids))
}

async fn look_up(store: &Store, after: &str, ids: &[TraceId], random: &mut StdRng) -> Outcome<()> {
    let cache = TraceCacheLimits { bytes_max: 0, ..EngineOptions::default().cache };
    let engine = TraceQueryEngine::new(store.clone(), EngineOptions { cache, ..EngineOptions::default() });
    let tenant = TenantId::default();
    let (mut known, mut reads) = (Vec::new(), Explained::default());
    for (at, id) in ids.iter().take(WARM_UP + LOOKUPS).enumerate() {
        let began = Instant::now();
        let (found, explained) = engine.trace(&tenant, id, TimeHint::default()).await;
        let took = began.elapsed();
        let found = found.ok_or("a trace is not there")?;
        assert!(found.missing().is_empty(), "{:?}", found.missing());
        if at >= WARM_UP {
            known.push(took);
            reads.reads.range_reads += explained.reads.range_reads;
            reads.reads.segments_opened += explained.reads.segments_opened;
        }
    }
    let (mut unknown, mut that_read) = (Vec::new(), 0);
    for _ in 0..UNKNOWN {
        let id = TraceId::from_bytes(&random.random::<[u8; 16]>()).ok_or("no ID")?;
        let began = Instant::now();
        let (found, explained) = engine.trace(&tenant, &id, TimeHint::default()).await;
        unknown.push(began.elapsed());
        assert!(found.is_none(), "nobody has it");
        that_read += u64::from(explained.reads.range_reads > 0);
    }
    let sizes = store.segments().cache_sizes();
    let segments = store.snapshot().manifest.segments.len();
    println!(
        "| {segments} | {after} | {:.2} ms | {:.2} ms | {:.1} | {:.2} | {:.3} ms | {that_read} of {UNKNOWN} | {:.1} KB |",
        quantile(&mut known, 0.5),
        quantile(&mut known, 0.95),
        reads.reads.range_reads as f64 / LOOKUPS as f64,
        reads.reads.segments_opened as f64 / LOOKUPS as f64,
        quantile(&mut unknown, 0.5),
        (sizes.metadata_bytes + sizes.filter_bytes) as f64 / segments as f64 / 1_024.0,
    );
    Ok(())
}

fn quantile(times: &mut [Duration], quantile: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len() as f64 * quantile) as usize;
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}
