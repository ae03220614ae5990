//! Any bytes as a query in TraceQL.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tracelake_traceql::fuzzing::query(data));
