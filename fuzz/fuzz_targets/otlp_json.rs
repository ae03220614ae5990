//! Any bytes as an OTLP request in JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracelake_otlp::fuzzing::json(data));
