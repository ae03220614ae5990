//! Receives OTLP, serves the API, configuration and telemetry.
