use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray};
use tracelake_model::{Resource, Scope, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, SpanView};

use super::*;
use crate::segment::rows::BatchTables;
use crate::segment::slice::RowFacts;

/// One span a trace, so many traces, in the segment's order.
fn batch(traces: u64, name: &str) -> SpanBatch {
    let mut ids: Vec<TraceId> = (1..=traces)
        .map(|index| TraceId::from_bytes(&(u128::from(index)).to_be_bytes()).expect("not zero"))
        .collect();
    ids.sort_by_key(trace_hash);
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    let name = builder.known_term(name);
    for trace_id in ids {
        builder.finish_span(SpanScalars {
            start_unix_nano: i64::MAX as u64,
            status_code: 2,
            name,
            resource,
            scope,
            ..SpanScalars::new(trace_id, SpanId::from_bytes(&[1; 8]).expect("not zero"))
        });
    }
    builder.finish()
}

fn push(builder: &mut DirectoryBuilder, tenant: u32, span: SpanView<'_>, service: &str) {
    let hash = trace_hash(&span.trace_id());
    let facts = RowFacts::of_span(tenant, 1, hash, &span, &BatchTables::default());
    builder.push(&facts, || span.name(), Some(service));
    let columns: ArrayRef = Arc::new(BooleanArray::from(vec![None, Some(true)]).slice(hash as usize % 2, 1));
    builder.push_columns(&[columns]).expect("small");
}

fn build(batch: &SpanBatch) -> (Vec<u8>, DirectoryIndex) {
    let mut builder = DirectoryBuilder::new();
    for tenant in 0..2 {
        for span in batch.spans() {
            push(&mut builder, tenant, span, "shop");
        }
    }
    builder.finish(1_000).expect("small")
}

fn bytes_of<'b>(bytes: &'b [u8], block: &Block) -> &'b [u8] {
    let from = (block.offset - 1_000) as usize;
    &bytes[from..from + block.len as usize]
}

fn entries(block: &Block, bytes: &[u8]) -> Vec<TraceEntry> {
    DirectoryBlock::decode(block, VERSION, bytes_of(bytes, block)).expect("own bytes").entries().collect()
}

#[test]
fn each_trace_is_in_the_block_that_the_index_names() {
    let batch = batch(700, "GET /");
    let (bytes, index) = build(&batch);
    assert_eq!(DirectoryIndex::parse(&index.to_bytes()).expect("own bytes"), index);
    assert_eq!(
        index.blocks().iter().map(|block| block.traces).collect::<Vec<_>>(),
        [256, 256, 188, 256, 256, 188]
    );
    for tenant in 0..2 {
        for (row, span) in batch.spans().enumerate() {
            let block = index.block_of(tenant, &span.trace_id()).expect("listed");
            let decoded = DirectoryBlock::decode(block, VERSION, bytes_of(&bytes, block)).expect("own bytes");
            let entries: Vec<TraceEntry> = decoded.entries().collect();
            let entry = entries.iter().find(|entry| entry.trace_id == span.trace_id()).expect("in its block");
            assert_eq!(
                entry.row_range(),
                (u64::from(tenant) * 700 + row as u64)..(u64::from(tenant) * 700 + row as u64 + 1)
            );
            assert_eq!(
                (entry.start_unix_nano_min, entry.end_unix_nano_max, entry.errors),
                (i64::MAX as u64, 0, 1)
            );
            assert_eq!(entry.services, [Box::from("shop")]);
            assert_eq!(entry.columns.contains(0), trace_hash(&span.trace_id()) % 2 == 1);
            let alone = decoded.find(&span.trace_id());
            assert_eq!(alone.as_ref(), Some(entry));
        }
    }
    assert_eq!(index.block_of(2, &batch.span(0).trace_id()), None);
    assert_eq!(DirectoryIndex::new().block_of(0, &batch.span(0).trace_id()), None);
}

#[test]
fn long_names_are_cut_between_characters() {
    let batch = batch(1, &"é".repeat(1_000));
    let (bytes, index) = build(&batch);
    let block = index.blocks().first().expect("one");
    let entries = entries(block, &bytes);
    let root = entries.first().and_then(|entry| entry.root.clone()).expect("a root");
    assert_eq!(&*root.name, "é".repeat(128));
}

#[test]
fn services_beyond_the_limit_are_counted_as_more() {
    let batch = batch(1, "a");
    let names: Vec<String> = (0..SERVICES_MAX + 1).map(|index| format!("service-{index}")).collect();
    let mut builder = DirectoryBuilder::new();
    for name in &names {
        push(&mut builder, 0, batch.span(0), name);
    }
    let (bytes, index) = builder.finish(1_000).expect("small");
    let block = index.blocks().first().expect("one");
    let entries = entries(block, &bytes);
    let entry = entries.first().expect("one");
    assert_eq!((entry.services.len(), entry.more_services, entry.rows), (SERVICES_MAX, true, 65));
}

#[test]
fn a_damaged_block_is_refused_whatever_its_checksum_says() {
    let (bytes, index) = build(&batch(40, "GET /"));
    let block = *index.blocks().first().expect("some");
    let packed = bytes_of(&bytes, &block);
    let plain = zstd::stream::decode_all(packed).expect("own bytes");
    for byte in 0..plain.len() {
        let mut damaged = plain.clone();
        damaged[byte] ^= 0x81;
        let packed = zstd::bulk::compress(&damaged, 1).expect("small");
        let honest = Block { len: packed.len() as u32, crc32c: crc32c::crc32c(&packed), ..block };
        // Either refused, or entries of other values: the checksum is what tells those.
        drop(DirectoryBlock::decode(&honest, VERSION, &packed));
        assert!(DirectoryBlock::decode(&block, VERSION, &packed).is_err(), "byte {byte}");
    }
    let bomb = zstd::bulk::compress(&vec![0; 300 << 20], 1).expect("zeros");
    let honest = Block { traces: u32::MAX, len: bomb.len() as u32, crc32c: crc32c::crc32c(&bomb), ..block };
    assert!(DirectoryBlock::decode(&honest, VERSION, &bomb).is_err());
}

#[test]
fn a_block_is_one_frame_that_says_its_size() {
    let (bytes, index) = build(&batch(40, "GET /"));
    let block = *index.blocks().first().expect("some");
    let packed = bytes_of(&bytes, &block).to_vec();
    let decode = |bytes: &[u8]| {
        let honest = Block { len: bytes.len() as u32, crc32c: crc32c::crc32c(bytes), ..block };
        DirectoryBlock::decode(&honest, VERSION, bytes).map(|decoded| decoded.entries().count())
    };
    assert_eq!(decode(&packed).ok(), Some(40));
    let plain = zstd::stream::decode_all(&*packed).expect("own bytes");
    let streamed = zstd::stream::encode_all(&*plain, 1).expect("small");
    let error = decode(&streamed).expect_err("it does not say its size");
    assert!(error.to_string().contains("does not say how large"), "{error}");
    assert!(decode(&[&*packed, &*packed].concat()).is_err(), "two frames");
    assert!(decode(&[&*packed, b"more"].concat()).is_err(), "what is no frame behind one");
}

#[test]
fn services_that_are_not_listed_do_not_make_a_block_larger_than_its_readers_expect() {
    let mut builder = DirectoryBuilder::new();
    let batch = batch(1, "GET /");
    let name = |index: usize| format!("{index:0256}");
    for index in 0..1_000 {
        push(&mut builder, 0, batch.span(0), &name(index));
    }
    // One of those that are listed, again.
    push(&mut builder, 0, batch.span(0), &name(3));
    let (bytes, index) = builder.finish(1_000).expect("small");
    let block = &index.blocks()[0];
    let entries = entries(block, &bytes);
    assert_eq!((entries[0].services.len(), entries[0].more_services), (SERVICES_MAX, true));
    assert_eq!(entries[0].rows, 1_001);
}
