//! Lookups in a whole store, parts of which are damaged or too large for an answer.

mod batch;
mod engine;
mod oracle;
mod search;
mod search_real;
mod support;
mod values;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tracelake_model::{TenantId, TraceId};
use tracelake_query::{EngineOptions, GapKind, TimeHint, TraceLimits, TraceQueryEngine, TraceSpans};
use tracelake_store::env::fault_store::{FaultStore, Operation};
use tracelake_store::env::sim::SimFiles;
use tracelake_store::{Encoding, Store, StoreOptions};

const TRACE: &str = "5b8efff798038103d269b633813fc60c";
const SEGMENTS: u64 = 20;
const SPANS_EACH: u64 = 3;

fn request(segment: u64) -> Bytes {
    let span = |number: u64| {
        let id = segment * SPANS_EACH + number + 1;
        format!(r#"{{"traceId":"{TRACE}","spanId":"{id:016x}","name":"n","startTimeUnixNano":"{id}"}}"#)
    };
    let spans: Vec<String> = (0..SPANS_EACH).map(span).collect();
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(",")).into()
}

async fn open(objects: Arc<dyn ObjectStore>, files: &SimFiles, random_seed: u64) -> Store {
    let options = StoreOptions {
        files: Arc::new(files.clone()),
        ..StoreOptions::new(objects, PathBuf::from("/wal"), random_seed)
    };
    Store::open(options).await.expect("it opens")
}

/// A store with a trace that has some spans in each of its segments.
async fn store_of_segments() -> (Arc<InMemory>, Arc<FaultStore>, SimFiles, Store) {
    let objects = Arc::new(InMemory::new());
    let inner: Arc<dyn ObjectStore> = Arc::clone(&objects) as _;
    let (faults, files) = (Arc::new(FaultStore::calm(inner)), SimFiles::new(1));
    let store = open(Arc::clone(&faults) as _, &files, 1).await;
    for segment in 0..SEGMENTS {
        store.ingest(&TenantId::default(), Encoding::Json, request(segment)).await.expect("it is taken");
        store.flush().await.expect("a flush");
    }
    assert_eq!(store.status().segments, SEGMENTS);
    (objects, faults, files, store)
}

async fn trace(store: &Store, spans_max: usize) -> TraceSpans {
    let id: TraceId = TRACE.parse().expect("a valid ID");
    let trace = TraceLimits { spans_max, heap_bytes_max: usize::MAX };
    let engine = TraceQueryEngine::new(store.clone(), EngineOptions { trace, ..EngineOptions::default() });
    engine.trace(&TenantId::default(), &id, TimeHint::default()).await.0.expect("it is there")
}

fn missing(spans: &TraceSpans) -> Vec<String> {
    spans.missing().iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_segment_makes_the_answer_partial_and_is_named_in_it() {
    let (objects, faults, files, store) = store_of_segments().await;
    assert!(trace(&store, 1_000).await.missing().is_empty());
    let entry = store.snapshot().manifest.segments[7].clone();
    let path = Path::from(entry.path.as_str());
    let mut bytes = objects.get(&path).await.expect("there").bytes().await.expect("bytes").to_vec();
    // Everything but the magic at its begin and its end: every row is hit.
    let end = bytes.len() - 8;
    bytes[8..end].iter_mut().for_each(|byte| *byte ^= 0x10);
    objects.put(&path, bytes.into()).await.expect("put");
    drop(store);
    files.kill();
    let store = open(faults, &files, 2).await;
    let answer = trace(&store, 1_000).await;
    assert_eq!(answer.len() as u64, (SEGMENTS - 1) * SPANS_EACH, "all others are there");
    let [missing] = answer.missing() else { unreachable!("one thing is missing: {:?}", answer.missing()) };
    assert_eq!((missing.kind, missing.segment.as_ref()), (GapKind::Index, Some(&entry.path)));
    assert!(missing.to_string().contains("could not be read"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_not_read_for_an_answer_that_has_no_room_for_them() {
    let (_, faults, _, store) = store_of_segments().await;
    let reads = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reads);
    faults.set_plan(move |call| {
        let segment = call.operation == Operation::Get && call.path.as_ref().starts_with("segments/");
        counted.fetch_add(u64::from(segment), Ordering::SeqCst);
        None
    });
    let answer = trace(&store, 4).await;
    assert_eq!(answer.len(), 4);
    let missing = missing(&answer);
    assert!(missing.iter().any(|why| why.contains("trace_spans_max 4")), "{missing:?}");
    // A block of the directory and the rows, of those that are read at once and of one after them.
    let few = reads.swap(0, Ordering::SeqCst);
    assert!(few <= 2 * 6, "{few} reads");
    // An answer that is just full says nothing is missing only because it has looked everywhere.
    let answer = trace(&store, (SEGMENTS * SPANS_EACH) as usize).await;
    assert_eq!(answer.len() as u64, SEGMENTS * SPANS_EACH);
    assert!(answer.missing().is_empty());
    assert!(reads.load(Ordering::SeqCst) >= SEGMENTS, "the count counts");
}
