//! A store of few spans in memory, and what is asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tracelake_model::{TenantId, TraceId};
use tracelake_query::{EngineOptions, Explained, TimeHint, TraceQueryEngine, TraceSpans};
use tracelake_store::env::fault_store::FaultStore;
use tracelake_store::env::sim::SimFiles;
use tracelake_store::format::segment::SegmentWriterOptions;
use tracelake_store::{Encoding, Store, StoreOptions};

/// A trace by a number.
pub(crate) fn trace_id(number: u64) -> TraceId {
    format!("{:032x}", u128::from(number) + 1).parse().expect("a valid ID")
}

/// A request of spans, each (trace, span, what else it has).
pub(crate) fn request(spans: &[(u64, u64, &str)]) -> Bytes {
    let spans = spans.iter().map(|(trace, span, more)| {
        let (trace, id) = (trace_id(*trace), span + 1);
        format!(r#"{{"traceId":"{trace}","spanId":"{id:016x}","name":"n","startTimeUnixNano":"{id}"{more}}}"#)
    });
    let spans: Vec<String> = spans.collect();
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(",")).into()
}

/// Of even seeds few rows make several row groups, and parts of an index; of every third there is no index, as in
/// segments of older formats.
fn writer_options(seed: u64) -> SegmentWriterOptions {
    let options =
        SegmentWriterOptions { attribute_index: !seed.is_multiple_of(3), ..SegmentWriterOptions::default() };
    if seed.is_multiple_of(2) {
        SegmentWriterOptions { row_group_rows: 32, page_rows: 8, index_part_rows: 96, ..options }
    } else {
        options
    }
}

async fn open(faults: &Arc<FaultStore>, files: &SimFiles, seed: u64) -> Store {
    let options = StoreOptions {
        files: Arc::new(files.clone()),
        segment_writer: writer_options(seed),
        ..StoreOptions::new(Arc::clone(faults) as _, PathBuf::from("/wal"), seed)
    };
    Store::open(options).await.expect("it opens")
}

pub(crate) struct World {
    pub(crate) faults: Arc<FaultStore>,
    pub(crate) store: Store,
    pub(crate) engine: TraceQueryEngine,
    pub(crate) tenant: TenantId,
    files: SimFiles,
    options: EngineOptions,
}

impl World {
    pub(crate) async fn new(seed: u64, options: EngineOptions) -> Self {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (faults, files) = (Arc::new(FaultStore::calm(objects)), SimFiles::new(seed));
        let store = open(&faults, &files, seed).await;
        let engine = TraceQueryEngine::new(store.clone(), options.clone());
        Self { faults, store, engine, tenant: TenantId::default(), files, options }
    }

    /// As after `kill -9`.
    pub(crate) async fn restart(&mut self, seed: u64) {
        self.files.kill();
        self.store = open(&self.faults, &self.files, seed).await;
        self.engine = TraceQueryEngine::new(self.store.clone(), self.options.clone());
    }

    pub(crate) async fn ingest(&self, spans: &[(u64, u64, &str)]) {
        let ingested = self.store.ingest(&self.tenant, Encoding::Json, request(spans)).await;
        assert_eq!(ingested.expect("it is taken").spans_accepted, spans.len() as u64);
    }

    pub(crate) async fn flush(&self) {
        self.store.flush().await.expect("a flush");
    }

    pub(crate) async fn look_up(&self, trace: u64) -> (Option<TraceSpans>, Explained) {
        self.engine.trace(&self.tenant, &trace_id(trace), TimeHint::default()).await
    }

    /// The spans of a trace by their numbers; nothing may be missing.
    pub(crate) async fn spans(&self, trace: u64) -> Vec<u64> {
        self.look_up(trace).await.0.as_ref().map(numbers).unwrap_or_default()
    }

    /// The same of many.
    pub(crate) async fn batch(&self, traces: &[u64]) -> BTreeMap<u64, Vec<u64>> {
        use futures::StreamExt;
        let ids = traces.iter().map(|trace| trace_id(*trace)).collect();
        let answers: Vec<_> = self.engine.traces(&self.tenant, ids).collect().await;
        let mut found = BTreeMap::new();
        for (id, spans) in answers {
            let trace = u128::from_be_bytes(*id.as_bytes()) as u64 - 1;
            let before = found.insert(trace, spans.as_ref().map(numbers).unwrap_or_default());
            assert_eq!(before, None, "each ID is answered once");
        }
        assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), traces.iter().copied().collect());
        found
    }
}

pub(crate) fn numbers(spans: &TraceSpans) -> Vec<u64> {
    assert!(spans.missing().is_empty(), "{:?}", spans.missing());
    spans.spans().map(|span| span.start_unix_nano() - 1).collect()
}
