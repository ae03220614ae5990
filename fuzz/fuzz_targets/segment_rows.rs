//! Any damage to the pages of a segment, behind checksums that are right.
#![no_main]

use bytes::Bytes;

/// Of version 1 of the format.
const FILE: &[u8] = include_bytes!("../../crates/format/testdata/v1/segment.parquet");

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _all = tracelake_format::segment::fuzzing::segment_rows(&Bytes::from_static(FILE), data);
});
