//! Any damage to the attribute index of a segment, behind checksums that are right.
#![no_main]

use bytes::Bytes;

/// Of version 3 of the format.
const FILE: &[u8] = include_bytes!("../../crates/format/testdata/v3/segment.parquet");

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _all = tracelake_format::segment::fuzzing::segment_index(&Bytes::from_static(FILE), data);
});
