use bytes::Bytes;
use proptest::prelude::*;
use tracelake_model::TenantId;
use ulid::Ulid;

use super::*;
use crate::FormatError;

const HEADER: FileHeader = FileHeader {
    sequence: 7,
    salt: 0x5A17,
    created_unix_nano: 1_700_000_000,
    previous_bytes: 4096,
    wal: Ulid(0x0123_4567_89AB_CDEF_0011_2233_4455_6677),
};

fn meta(number: u64) -> FrameMeta {
    let tenant: TenantId = format!("tenant-{number}").parse().expect("the name is valid");
    FrameMeta {
        kind: FrameKind::Spans,
        tenant: Some(tenant),
        arrival_unix_nano: 1_000 + number,
        request_hash: u128::from(number) << 70 | 1,
        span_count: number as u32,
        start_unix_nano_min: 10 * number,
        start_unix_nano_max: 10 * number + 5,
    }
}

fn group(durable_bytes: u64) -> FrameGroup {
    FrameGroup { durable_bytes, cuts: [durable_bytes.is_multiple_of(2), durable_bytes.is_multiple_of(3)] }
}

fn payload(number: u64) -> Bytes {
    Bytes::from(format!("payload of {number}: {}", "spans ".repeat(number as usize)))
}

/// Frames in groups of the given sizes; the file and where each frame begins.
fn file(groups: &[usize], compression: Compression) -> (Vec<u8>, Vec<u64>) {
    let seal = FileSeal::new(&HEADER);
    let mut bytes = encode_file_header(&HEADER).to_vec();
    let mut offsets = Vec::new();
    let mut buffer = Vec::new();
    for size in groups {
        let durable = bytes.len() as u64;
        for _ in 0..*size {
            let (offset, number) = (bytes.len() as u64, offsets.len() as u64);
            let payload = payload(number);
            let stored = compress(&payload, compression, &mut buffer);
            encode_frame(&mut bytes, seal, offset, group(durable), &meta(number), stored)
                .expect("the payload is small");
            offsets.push(offset);
        }
    }
    (bytes, offsets)
}

fn walk(bytes: &[u8], chunk: usize, role: FileRole) -> (Vec<Frame>, FileEnd) {
    let mut reader = FrameReader::new(&HEADER);
    let mut frames = Vec::new();
    let mut chunks = bytes.get(FILE_HEADER_BYTES..).unwrap_or_default().chunks(chunk);
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

/// The numbers of the frames, each checked to be what was written under that number.
fn numbers(frames: &[Frame]) -> Vec<u64> {
    let number = |frame: &Frame| {
        let number = frame.meta.arrival_unix_nano - 1_000;
        assert_eq!((&frame.meta, &frame.payload), (&meta(number), &payload(number)), "a frame was changed");
        number
    };
    frames.iter().map(number).collect()
}

#[test]
fn what_is_written_is_read() {
    for compression in [Compression::None, Compression::Lz4] {
        let (bytes, offsets) = file(&[1, 3, 2], compression);
        for chunk in [1, 7, 150, usize::MAX] {
            let (frames, end) = walk(&bytes, chunk, FileRole::Newest);
            assert_eq!(numbers(&frames), [0, 1, 2, 3, 4, 5]);
            assert_eq!(frames.iter().map(|frame| frame.offset).collect::<Vec<_>>(), offsets);
            assert_eq!(end, FileEnd { bytes: bytes.len() as u64, torn: None, damage: Vec::new() });
        }
    }
}

#[test]
fn the_file_header_is_read_back() {
    let bytes = encode_file_header(&HEADER);
    let decoded = decode_file_header(&bytes).expect("it is whole");
    assert_eq!(decoded, DecodedFileHeader { header: HEADER, intact: true });
    assert_eq!(bytes[48..64], HEADER.wal.to_bytes(), "where the specification puts it");
}

#[test]
fn any_flipped_bit_of_the_file_header_is_seen_and_costs_nothing() {
    let bytes = encode_file_header(&HEADER);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let decoded = decode_file_header(&flipped).expect("the other copy is whole");
        assert_eq!(decoded, DecodedFileHeader { header: HEADER, intact: false }, "bit {bit}");
    }
    assert!(matches!(decode_file_header(&[0; FILE_HEADER_BYTES]), Err(FormatError::Damaged { .. })));
    assert!(matches!(decode_file_header(&bytes[..100]), Err(FormatError::Damaged { .. })));
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let mut bytes = encode_file_header(&HEADER);
    for block in bytes.chunks_mut(FILE_HEADER_BYTES / 2) {
        block[8..12].copy_from_slice(&9_u32.to_le_bytes());
        let crc = crc32c::crc32c(&block[..508]);
        block[508..].copy_from_slice(&crc.to_le_bytes());
    }
    let error = decode_file_header(&bytes).expect_err("the version is not known");
    assert!(matches!(error, FormatError::Version { found: 9, supported: VERSION, .. }), "{error}");
}

#[test]
fn a_file_cut_anywhere_keeps_its_whole_frames() {
    let (bytes, offsets) = file(&[1, 1, 1, 2], Compression::None);
    for cut in FILE_HEADER_BYTES..bytes.len() {
        let (frames, end) = walk(&bytes[..cut], 64, FileRole::Newest);
        let whole = offsets.iter().skip(1).filter(|offset| **offset <= cut as u64).count() as u64;
        assert_eq!(numbers(&frames), (0..whole).collect::<Vec<_>>(), "cut at {cut}");
        assert_eq!(end.damage, [], "cut at {cut}");
        assert_eq!(end.bytes, offsets[whole as usize], "cut at {cut}");
        assert_eq!(
            end.torn.map(|torn| torn.at),
            (end.bytes != cut as u64).then_some(end.bytes),
            "cut at {cut}"
        );
    }
}

#[test]
fn zeros_behind_the_last_frame_are_the_end() {
    let (mut bytes, _) = file(&[2], Compression::None);
    let length = bytes.len() as u64;
    bytes.resize(bytes.len() + 10_000, 0);
    for role in [FileRole::Newest, FileRole::Sealed { bytes: None }, FileRole::Sealed { bytes: Some(length) }]
    {
        let (frames, end) = walk(&bytes, 4096, role);
        assert_eq!(numbers(&frames), [0, 1]);
        assert_eq!(end, FileEnd { bytes: length, torn: None, damage: Vec::new() });
    }
}

#[test]
fn every_flipped_bit_costs_one_frame_at_most_and_is_seen() {
    for compression in [Compression::None, Compression::Lz4] {
        let (bytes, offsets) = file(&[2, 1, 2], compression);
        for bit in FILE_HEADER_BYTES * 8..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let hit = offsets.iter().filter(|offset| **offset <= bit as u64 / 8).count() as u64 - 1;
            let (frames, end) = walk(&flipped, 1000, FileRole::Newest);
            let others: Vec<u64> = (0..5).filter(|number| *number != hit).collect();
            assert_eq!(numbers(&frames), others, "bit {bit}");
            if hit == 4 {
                assert_eq!(end.torn.map(|torn| torn.at), Some(offsets[4]), "bit {bit}");
                assert_eq!(end.damage, [], "bit {bit}");
            } else {
                let [damage] = end.damage.as_slice() else { unreachable!("one range, not {:?}", end.damage) };
                assert_eq!((damage.at, damage.end), (offsets[hit as usize], offsets[hit as usize + 1]));
                // Frames 3 and 4 were written when 0 to 2 were durable.
                assert_eq!(damage.acknowledged, hit < 3, "bit {bit}");
                let in_header = bit as u64 / 8 < offsets[hit as usize] + FRAME_HEADER_BYTES as u64;
                let known = damage.header.as_ref().map(|header| header.meta.clone());
                assert_eq!(known, (!in_header).then(|| meta(hit)), "bit {bit}");
            }
        }
    }
}

#[test]
fn in_a_sealed_file_a_broken_end_is_damage() {
    let (bytes, offsets) = file(&[1, 1], Compression::None);
    let length = bytes.len() as u64;
    let cut = bytes.len() - 3;
    let (frames, end) = walk(&bytes[..cut], 64, FileRole::Sealed { bytes: Some(length) });
    assert_eq!(numbers(&frames), [0]);
    assert_eq!(end.torn, None);
    let ranges: Vec<_> =
        end.damage.iter().map(|damage| (damage.at, damage.end, damage.acknowledged)).collect();
    assert_eq!(ranges, [(offsets[1], cut as u64, true), (cut as u64, length, true)]);

    let (frames, end) = walk(&bytes[..offsets[1] as usize], 64, FileRole::Sealed { bytes: Some(length) });
    assert_eq!(numbers(&frames), [0]);
    assert_eq!(end.damage.len(), 1, "a whole frame is missing at the end");
}

#[test]
fn what_was_judged_torn_before_is_no_damage_later() {
    let (bytes, offsets) = file(&[1, 1], Compression::None);
    let (_, end) = walk(&bytes[..bytes.len() - 1], 64, FileRole::Sealed { bytes: Some(offsets[1]) });
    assert_eq!(end.damage, []);
}

#[test]
fn frames_of_another_file_or_place_are_not_taken() {
    let (bytes, offsets) = file(&[1, 1, 1], Compression::None);
    let frame = bytes[offsets[1] as usize..offsets[2] as usize].to_vec();
    let mut moved = bytes.clone();
    moved.splice(offsets[1] as usize..offsets[1] as usize, [0; 3]);
    assert_eq!(
        numbers(&walk(&moved, 64, FileRole::Newest).0),
        [0],
        "frames that moved are not where they were"
    );
    let mut repeated = bytes.clone();
    repeated.extend_from_slice(&frame);
    assert_eq!(numbers(&walk(&repeated, 64, FileRole::Newest).0), [0, 1, 2], "a copied frame is not a frame");

    let mut other = FrameReader::new(&FileHeader { salt: HEADER.salt + 1, ..HEADER });
    other.feed(&bytes[FILE_HEADER_BYTES..]);
    other.feed_end();
    assert!(matches!(other.step(), Step::End), "no frame is of a file with another salt");
}

#[test]
fn a_frame_within_a_payload_is_not_a_frame() {
    let seal = FileSeal::new(&HEADER);
    let mut bytes = encode_file_header(&HEADER).to_vec();
    let outer = bytes.len() as u64;
    let mut inner = Vec::new();
    // The worst case: the sender knows the salt and the place.
    let inner_at = outer + FRAME_HEADER_BYTES as u64;
    encode_frame(&mut inner, seal, inner_at, group(outer), &meta(9), StoredPayload::plain(b"forged"))
        .expect("it is small");
    encode_frame(&mut bytes, seal, outer, group(outer), &meta(1), StoredPayload::plain(&inner))
        .expect("it is small");
    *bytes.last_mut().expect("there are bytes") ^= 1;
    let (frames, end) = walk(&bytes, 64, FileRole::Newest);
    assert_eq!(frames, [], "the damaged frame's header says where it ends");
    assert_eq!(end.torn.map(|torn| (torn.at, torn.headers.len())), Some((outer, 1)));
}

#[test]
fn a_file_full_of_damage_is_reported_in_bounded_space() {
    let seal = FileSeal::new(&HEADER);
    let mut bytes = encode_file_header(&HEADER).to_vec();
    for number in 0..5_000 {
        let offset = bytes.len() as u64;
        let plain = StoredPayload::plain(b"x");
        encode_frame(&mut bytes, seal, offset, group(offset), &meta(number), plain).expect("it is small");
        *bytes.last_mut().expect("there are bytes") ^= 1;
    }
    let (frames, end) = walk(&bytes, 4096, FileRole::Sealed { bytes: None });
    assert_eq!(frames, []);
    assert_eq!(end.damage.len(), 1024);
    assert_eq!(end.damage.last().map(|damage| damage.end), Some(bytes.len() as u64));
}

#[test]
fn requests_are_read_back() {
    let requests = [(u128::MAX, 0), (1, u64::from(u32::MAX)), (2, u64::MAX)];
    let encoded = encode_requests(&requests);
    let decoded = decode_requests(&encoded).expect("it is whole");
    assert_eq!(decoded, [(u128::MAX, 0), (1, u64::from(u32::MAX)), (2, u64::from(u32::MAX))]);
    assert!(decode_requests(&encoded[1..]).is_err());
}

#[test]
fn a_payload_over_the_limit_is_refused() {
    let seal = FileSeal::new(&HEADER);
    let payload =
        StoredPayload { compression: Compression::Lz4, decoded_bytes: (256 << 20) + 1, stored: b"" };
    let refused = encode_frame_header(seal, 0, group(0), &meta(1), payload);
    assert!(matches!(refused, Err(FormatError::TooLarge { .. })));
}

proptest! {
    #[test]
    fn anything_can_be_in_a_file(data in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        fuzzing::wal(&data);
    }

    /// Ranges of a file overwritten: what is handed out was written, in order, and all that was not hit.
    #[test]
    fn overwritten_ranges_cost_only_what_they_hit(
        holes in proptest::collection::vec((0.0..1.0_f64, 1_usize..400, any::<u8>()), 1..4),
        chunk in 1_usize..3_000,
    ) {
        let (mut bytes, offsets) = file(&[2, 1, 3, 1, 2], Compression::None);
        let ends: Vec<u64> = offsets.iter().skip(1).copied().chain([bytes.len() as u64]).collect();
        let before = bytes.clone();
        for (place, length, value) in holes {
            let room = bytes.len() - FILE_HEADER_BYTES;
            let at = FILE_HEADER_BYTES + (place * room as f64) as usize;
            let end = (at + length).min(bytes.len());
            bytes[at..end].fill(value);
        }
        let hit = |number: usize| {
            let range = offsets[number] as usize..ends[number] as usize;
            before[range.clone()] != bytes[range]
        };
        let expected: Vec<u64> = (0..offsets.len()).filter(|number| !hit(*number)).map(|n| n as u64).collect();
        let (frames, _) = walk(&bytes, chunk, FileRole::Newest);
        prop_assert_eq!(numbers(&frames), expected);
    }
}
