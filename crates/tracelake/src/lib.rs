//! The library: spans in over OTLP, durable; a trace out by its ID.
