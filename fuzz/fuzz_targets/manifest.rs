//! Any bytes as a manifest object.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracelake_format::manifest::fuzzing::manifest(data));
