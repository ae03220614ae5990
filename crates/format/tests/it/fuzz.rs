//! The functions that the fuzzers of `fuzz/` call, and one that they cannot, for a bounded number of rounds: valid
//! inputs, damaged by chance from a seed, so that rounds get past the first check.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_format::manifest::{Change, Commit, CoveredWal, Entry, Flushed, SegmentEntry, State};
use tracelake_format::segment::{OpenSegment, SegmentWriterOptions};
use tracelake_model::TenantId;
use tracelake_otlp::{JsonEncoder, encode_protobuf};
use ulid::Ulid;

use crate::random::{Odd, seed};
use crate::support::{columns, small, tenant, write};

const ROUNDS: usize = 3_000;

/// Calls `target` with each input as it is, then with damaged ones.
fn rounds(name: &str, inputs: &[Vec<u8>], target: fn(&[u8])) {
    let seed = seed();
    println!("{name}: TRACELAKE_TEST_SEED={seed}");
    inputs.iter().for_each(|input| target(input));
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..ROUNDS {
        let mut input = inputs[random.random_range(0..inputs.len())].clone();
        for _ in 0..random.random_range(1..4) {
            damage(&mut input, &mut random);
        }
        target(&input);
    }
}

fn damage(input: &mut Vec<u8>, random: &mut StdRng) {
    if input.is_empty() {
        input.push(random.random());
        return;
    }
    let at = random.random_range(0..input.len());
    let end = (at + random.random_range(1..16)).min(input.len());
    match random.random_range(0..6) {
        0 => input[at] ^= 1 << random.random_range(0..8),
        1 => input[at] = [0, 1, 0x7f, 0x80, 0xff][random.random_range(0..5)],
        2 => input.truncate(at),
        3 => drop(input.drain(at..end)),
        4 => {
            let part = input[at..end].to_vec();
            let to = random.random_range(0..=input.len());
            drop(input.splice(to..to, part));
        }
        _ => input.insert(at, random.random()),
    }
}

#[test]
fn otlp_in_protobuf() {
    let mut odd = Odd::new(seed(), 4);
    let inputs: Vec<Vec<u8>> =
        (1..6).map(|spans| encode_protobuf(&odd.batch(spans).spans().collect::<Vec<_>>())).collect();
    rounds("protobuf", &inputs, tracelake_otlp::fuzzing::protobuf);
}

#[test]
fn otlp_in_json() {
    let mut odd = Odd::new(seed(), 4);
    let inputs: Vec<Vec<u8>> = (1..6)
        .map(|spans| {
            let batch = odd.batch(spans);
            let rows = (0..batch.len() as u32).map(|row| (0, row)).collect();
            JsonEncoder::new([batch], rows).flatten().collect()
        })
        .collect();
    rounds("JSON", &inputs, tracelake_otlp::fuzzing::json);
}

#[test]
fn a_wal_file() {
    use tracelake_format::wal::{
        Compression, FILE_HEADER_BYTES, FileHeader, FileSeal, FrameGroup, FrameKind, FrameMeta, compress,
        encode_file_header, encode_frame, encode_requests,
    };
    let header = FileHeader { sequence: 1, salt: 2, created_unix_nano: 3, previous_bytes: 0, wal: Ulid(4) };
    let mut odd = Odd::new(seed(), 4);
    let payload = encode_protobuf(&odd.batch(3).spans().collect::<Vec<_>>());
    // As the fuzzer's own header seals them: a frame of spans, and one of requests.
    let mut frames = Vec::new();
    for (kind, payload) in
        [(FrameKind::Spans, payload.clone()), (FrameKind::Requests, encode_requests(&[(7, 8)]))]
    {
        let meta = FrameMeta {
            kind,
            tenant: (kind == FrameKind::Spans).then(TenantId::default),
            arrival_unix_nano: 5,
            request_hash: 6,
            span_count: u32::from(kind == FrameKind::Spans) * 3,
            start_unix_nano_min: 1,
            start_unix_nano_max: 9,
        };
        let offset = (FILE_HEADER_BYTES + frames.len()) as u64;
        let mut buffer = Vec::new();
        let stored = compress(&payload, Compression::None, &mut buffer);
        encode_frame(
            &mut frames,
            FileSeal::new(&header),
            offset,
            FrameGroup { durable_bytes: offset, cuts: [false; 2] },
            &meta,
            stored,
        )
        .expect("a valid frame");
    }
    let file = [encode_file_header(&header).as_slice(), &frames].concat();
    let inputs = [encode_file_header(&header).to_vec(), file, frames, payload, Vec::new()];
    rounds("WAL", &inputs, tracelake_format::wal::fuzzing::wal);
}

#[test]
fn the_parts_of_a_segment() {
    let mut odd = Odd::new(seed(), 4);
    let tenants = vec![(tenant("default"), vec![odd.batch(6)])];
    let written = write(&tenants, &columns(&tenants), &small());
    let part = |range: std::ops::Range<u64>| written.bytes[range.start as usize..range.end as usize].to_vec();
    let inputs = [
        part(OpenSegment::tail_range(&written.meta)),
        part(written.meta.footer.range()),
        part(written.meta.filter.range()),
        part(written.meta.directory.range()),
        part(written.meta.checksums.range()),
    ];
    rounds("segment", &inputs, tracelake_format::segment::fuzzing::segment_open);
}

#[test]
fn the_attribute_index_of_a_segment() {
    let mut random = StdRng::seed_from_u64(seed());
    let tenants = crate::index::odd_tenants(random.random(), &mut random);
    let written = write(&tenants, &columns(&tenants), &crate::index::indexed());
    let opened = crate::support::open(&written.meta, &written.bytes).expect("own bytes");
    let parts = opened.index_parts().iter().map(|part| part.range());
    let inputs: Vec<Vec<u8>> = parts
        .chain(written.meta.index.map(|index| index.range()))
        .map(|range| written.bytes[range.start as usize..range.end as usize].to_vec())
        .collect();
    rounds("attribute index", &inputs, tracelake_format::segment::fuzzing::segment_open);
}

#[test]
fn an_attribute_index_that_is_damaged_before_its_checksums() {
    rounds_of_pages(&crate::index::indexed(), tracelake_format::segment::fuzzing::segment_index);
}

/// Damages the pages of segments, behind checksums that are right.
fn rounds_of_pages(options: &SegmentWriterOptions, target: fn(&Bytes, &[u8]) -> bool) {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut odd = Odd::new(seed, 8);
    let files: Vec<_> = (0..4)
        .map(|_| {
            let tenants = vec![(tenant("default"), vec![odd.batch(random.random_range(1..90))])];
            write(&tenants, &columns(&tenants), options).bytes
        })
        .collect();
    assert!(files.iter().all(|file| target(file, &[])), "they are read where nothing is damaged");
    let read = (0..ROUNDS).filter(|_| {
        let edits: Vec<u8> = (0..4 * random.random_range(1..6)).map(|_| random.random()).collect();
        target(&files[random.random_range(0..files.len())], &edits)
    });
    // Of values that are as they are, other ones are made.
    let read = read.count();
    println!("{read} of {ROUNDS} were read");
    assert!((1..ROUNDS).contains(&read));
}

#[test]
fn the_rows_of_a_segment() {
    rounds_of_pages(&small(), tracelake_format::segment::fuzzing::segment_rows);
}

#[test]
fn a_segment_that_is_merged() {
    rounds_of_pages(&small(), tracelake_format::segment::fuzzing::segment_merge);
}

#[test]
fn a_manifest_object() {
    let mut odd = Odd::new(seed(), 4);
    let tenants = vec![(tenant("default"), vec![odd.batch(2)])];
    let meta = write(&tenants, &columns(&tenants), &small()).meta;
    let commit = Commit {
        flushed: Some(Flushed { generation: 1, wal: Ulid(4), wal_covered: 1 }),
        segments_added: vec![SegmentEntry { path: "segments/a.parquet".to_owned(), meta }],
        ..Commit::default()
    };
    let entry = Entry {
        version: 1,
        commit_id: Ulid::from_parts(1, 2),
        writer_epoch: 1,
        writer: "writer".to_owned(),
        committed_unix_nano: 3,
        change: Change::Commit(commit.clone()),
    };
    let state = State {
        version: 1,
        epoch: 1,
        wal_covered: vec![CoveredWal { wal: Ulid(4), sequence: 1 }],
        segments: commit.segments_added,
        ..State::default()
    };
    let inputs =
        [entry.encode().expect("an entry encodes"), state.encode_checkpoint().expect("a checkpoint encodes")];
    rounds("manifest", &inputs, tracelake_format::manifest::fuzzing::manifest);
}
