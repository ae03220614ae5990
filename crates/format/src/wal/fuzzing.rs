//! What a fuzzer calls: anything may be in a WAL file, nothing may panic, and a frame that is handed
//! out is one that was written there.

use bytes::Bytes;
use ulid::Ulid;

use super::{
    Compression, FILE_HEADER_BYTES, FileEnd, FileHeader, FileRole, FileSeal, Frame, FrameGroup, FrameKind,
    FrameMeta, FrameReader, Step, compress, decode_file_header, decode_requests, encode_frame,
};

const HEADER: FileHeader =
    FileHeader { sequence: 1, salt: 2, created_unix_nano: 3, previous_bytes: 0, wal: Ulid(4) };

/// Reads `data` as a file, as the frames of a file, and as a payload that is then damaged.
///
/// # Panics
/// If one of the promises above is broken.
pub fn wal(data: &[u8]) {
    if let (Ok(decoded), Some(frames)) = (decode_file_header(data), data.get(FILE_HEADER_BYTES..)) {
        walk(&decoded.header, frames, usize::MAX, FileRole::Newest);
    }
    let chunk = data.first().map_or(1, |byte| usize::from(*byte) + 1);
    let whole = walk(&HEADER, data, usize::MAX, FileRole::Newest);
    assert_eq!(
        whole,
        walk(&HEADER, data, chunk, FileRole::Newest),
        "the pieces it is fed in must not matter"
    );
    walk(&HEADER, data, chunk, FileRole::Sealed { bytes: Some(data.len() as u64 + 7) });
    for frame in whole.0 {
        // The error is as good as a list: both are an answer.
        drop(decode_requests(&frame.payload));
    }
    damage_one_of_two(data);
}

/// Two frames with `data` as payload, one byte of them changed: what is handed out is one of the two.
fn damage_one_of_two(data: &[u8]) {
    let seal = FileSeal::new(&HEADER);
    let compression = if data.len().is_multiple_of(2) { Compression::None } else { Compression::Lz4 };
    let mut buffer = Vec::new();
    let payload = compress(data, compression, &mut buffer);
    let (mut file, mut ends) = (Vec::new(), Vec::new());
    for request_hash in [1, 2] {
        let meta = FrameMeta {
            kind: FrameKind::Spans,
            tenant: Some(tracelake_model::TenantId::default()),
            arrival_unix_nano: 1,
            request_hash,
            span_count: 1,
            start_unix_nano_min: 1,
            start_unix_nano_max: 1,
        };
        let offset = (FILE_HEADER_BYTES + file.len()) as u64;
        if encode_frame(
            &mut file,
            seal,
            offset,
            FrameGroup { durable_bytes: offset, cuts: [false; 2] },
            &meta,
            payload,
        )
        .is_err()
        {
            return;
        }
        ends.push(file.len());
    }
    let place =
        data.iter().fold(7_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let at = place % file.len();
    if let Some(byte) = file.get_mut(at) {
        *byte ^= 1 << (place % 8);
    }
    let (frames, _) = walk(&HEADER, &file, 4096, FileRole::Newest);
    let untouched = if ends.first().is_some_and(|end| at < *end) { 2 } else { 1 };
    let hashes: Vec<u128> = frames.iter().map(|frame| frame.meta.request_hash).collect();
    assert_eq!(hashes, [untouched], "exactly the frame that was not touched is whole");
    assert!(frames.iter().all(|frame| frame.payload == Bytes::copy_from_slice(data)));
}

fn walk(header: &FileHeader, bytes: &[u8], chunk: usize, role: FileRole) -> (Vec<Frame>, FileEnd) {
    let mut reader = FrameReader::new(header);
    let mut frames = Vec::new();
    let mut chunks = bytes.chunks(chunk);
    loop {
        match reader.step() {
            Step::Frame(frame) => frames.push(frame),
            Step::NeedsMore => match chunks.next() {
                Some(chunk) => reader.feed(chunk),
                None => reader.feed_end(),
            },
            Step::End => return (frames, reader.finish(role)),
        }
    }
}
