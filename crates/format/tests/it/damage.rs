//! Damaged bytes: an error or the right answer, never a wrong one, never a panic.

use bytes::Bytes;
use tracelake_format::segment::{OpenSegment, WrittenSegment, fuzzing};
use tracelake_model::{SpanBatch, TenantId, TraceId};

use crate::random::{Odd, seed};
use crate::support::{columns, lookup, lookup_in, open, same_spans, small, tenant, write};

fn segment() -> (WrittenSegment, TenantId, TraceId, SpanBatch) {
    let mut odd = Odd::new(5, 3);
    let tenants = vec![(tenant("default"), vec![odd.batch(6)])];
    let segment = write(&tenants, &columns(&tenants), &small());
    let id = tenants[0].1[0].span(0).trace_id();
    let expected = lookup(&segment.meta, &segment.bytes, &tenants[0].0, &id).expect("own").expect("there");
    (segment, tenants[0].0.clone(), id, expected)
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    let (segment, tenant, id, expected) = segment();
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let tail = OpenSegment::tail_range(&segment.meta).start as usize;
    let mut file = segment.bytes.to_vec();
    let mut noticed = 0;
    for bit in 0..8 * file.len() {
        file[bit / 8] ^= 1 << (bit % 8);
        let damaged = Bytes::copy_from_slice(&file);
        let found = if bit / 8 < tail {
            lookup_in(&opened, &damaged, &tenant, &id)
        } else {
            lookup(&segment.meta, &damaged, &tenant, &id)
        };
        match found {
            Ok(found) => {
                let spans = found.unwrap_or_default();
                assert!(same_spans(expected.spans(), spans.spans()), "bit {bit}");
            }
            Err(_) => noticed += 1,
        }
        file[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(noticed > 4 * file.len(), "only {noticed} of {} bits", 8 * file.len());
}

#[test]
fn a_check_notices_every_flipped_byte() {
    let (segment, ..) = segment();
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    assert_eq!(opened.check(&segment.bytes), Vec::<String>::new());
    let mut file = segment.bytes.to_vec();
    for byte in 0..file.len() {
        file[byte] ^= 0x10;
        assert!(!opened.check(&Bytes::copy_from_slice(&file)).is_empty(), "byte {byte}");
        file[byte] ^= 0x10;
    }
    assert!(!opened.check(&segment.bytes.slice(1..)).is_empty());
}

#[test]
fn a_check_notices_every_flipped_byte_of_an_index() {
    let mut odd = Odd::new(5, 3);
    let tenants = vec![(tenant("default"), vec![odd.batch(6)])];
    let segment = write(&tenants, &columns(&tenants), &crate::index::indexed());
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let parts = opened.index_parts().iter().map(|part| part.range());
    let ranges: Vec<_> = parts.chain(segment.meta.index.map(|index| index.range())).collect();
    assert_eq!(ranges.len(), 2);
    let mut file = segment.bytes.to_vec();
    for byte in ranges.into_iter().flatten() {
        let byte = byte as usize;
        file[byte] ^= 0x10;
        let damaged = Bytes::copy_from_slice(&file);
        assert!(!opened.check(&damaged).is_empty(), "byte {byte}");
        assert!(open(&segment.meta, &damaged).is_err() || byte < segment.meta.directory.offset as usize);
        file[byte] ^= 0x10;
    }
}

#[test]
fn bytes_that_were_not_fetched_are_an_error() {
    let (segment, tenant, id, _) = segment();
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let entry = crate::support::find(&opened, &segment.bytes, &tenant, &id).expect("own").expect("there");
    assert!(opened.decode_trace(&entry, vec![]).is_err());
    let short = segment.bytes.slice(0..4096);
    assert!(opened.decode_trace(&entry, vec![(0..4096, short.clone())]).is_err());
    assert!(opened.decode_trace(&entry, vec![(0..8192, short)]).is_err());
}

#[test]
fn a_directory_of_another_trace_is_noticed() {
    let (segment, tenant, id, _) = segment();
    let opened = open(&segment.meta, &segment.bytes).expect("own bytes");
    let mut entry = crate::support::find(&opened, &segment.bytes, &tenant, &id).expect("own").expect("there");
    entry.trace_id = TraceId::from_bytes(&[9; 16]).expect("not zero");
    let fetched = crate::support::fetch(&opened, &segment.bytes, entry.row_range());
    assert!(opened.decode_trace(&entry, fetched).is_err());
}

#[test]
fn parsers_behind_the_checksums_do_not_panic() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let (segment, ..) = segment();
    let section = |section: &tracelake_format::segment::Section| {
        segment.bytes.slice(section.offset as usize..(section.offset + section.len) as usize).to_vec()
    };
    let meta = &segment.meta;
    let mut random = StdRng::seed_from_u64(seed());
    for whole in [&meta.filter, &meta.directory, &meta.checksums, &meta.footer].map(section) {
        fuzzing::segment_open(&whole);
        for _ in 0..2_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            bytes.truncate(random.random_range(0..=bytes.len()).max(bytes.len() / 2));
            fuzzing::segment_open(&bytes);
        }
    }
}
