//! Any bytes as an OTLP request in protobuf.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracelake_otlp::fuzzing::protobuf(data));
