//! OTLP on the wire to columns and back.
