//! Decoding and encoding held to prost and opentelemetry-proto, and to each other.

mod generate;
mod hostile;
mod json;
mod oracle;
mod protobuf;
mod rejections;
