//! Any bytes as the parts of a segment.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracelake_format::segment::fuzzing::segment_open(data));
