//! Receives OTLP, serves the API, configuration and telemetry.
//!
//! A server has three ports: OTLP/gRPC, OTLP/HTTP, and the API with health and metrics. The ports
//! know protocols and limits; what a span is and where it rests is the library's (`tracelake`).

mod api;
mod greeting;
mod metrics;
mod otlp_grpc;
mod otlp_http;
mod proto;
mod receive;
mod rejection;
mod serve;
pub mod settings;
mod shared;
pub mod telemetry;
mod transport;

pub use serve::{Addresses, ExitReason, ServeError, Server, serve};
pub use settings::{Settings, SettingsArgs, SettingsError, StorePlaceArgs};
