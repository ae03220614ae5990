//! Makes a store of so many segments, of which none are merged and no trace is in two: for measuring what the number
//! of segments alone costs a lookup. `scripts/bench.py --parts segments` serves such stores.
//!
//! `cargo run --release -p tracelake --example segments -- FOLDER SEGMENTS SPANS`: the store is in FOLDER, and in
//! FOLDER.ids are its traces, each with its number of spans, as `tracelake gen --ids-out` writes them.

#[path = "../../format/tests/it/realistic.rs"]
mod realistic;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use tracelake::{Encoding, Options, TenantId, TraceId, Tracelake};
use tracelake_model::SpanView;
use tracelake_otlp::encode_protobuf;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, segments, spans] = arguments.as_slice() else { return Err("FOLDER SEGMENTS SPANS".into()) };
    let (segments, spans): (usize, usize) = (segments.parse()?, spans.parse()?);
    let store = Tracelake::open(Options {
        flushed_segments_max: usize::MAX,
        flushed_segments_waiting_max: u64::MAX,
        slice_bytes: u64::MAX,
        generation_bytes_max: u64::MAX,
        generation_age_max: Duration::from_secs(3_600),
        ..Options::new(PathBuf::from(folder))
    })
    .await?;
    let tenant = TenantId::default();
    let mut traces: BTreeMap<TraceId, u64> = BTreeMap::new();
    for segment in 0..segments {
        for batch in realistic::batches(segment as u64, spans / segments) {
            batch.trace_ids().for_each(|id| *traces.entry(*id).or_default() += 1);
            let views: Vec<SpanView<'_>> = batch.spans().collect();
            store.ingest(&tenant, Encoding::Protobuf, encode_protobuf(&views).into()).await?;
        }
        store.flush().await?;
    }
    store.shutdown().await?;
    let mut lines = String::new();
    for (id, spans) in &traces {
        writeln!(lines, "{id} {spans}")?;
    }
    std::fs::write(PathBuf::from(folder).with_extension("ids"), lines)?;
    Ok(())
}
