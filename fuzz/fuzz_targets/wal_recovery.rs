//! Any bytes as a WAL file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracelake_format::wal::fuzzing::wal(data));
