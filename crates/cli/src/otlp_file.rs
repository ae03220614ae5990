//! OTLP in files: one JSON object a line, or protobuf messages with their length in front; plain,
//! gzip or zstd.
//!
//! - JSON lines are what OpenTelemetry's file exporter specification says, and what the Collector's
//!   file exporter writes by default.
//! - Protobuf messages with a base-128 length are what that specification says.
//! - Messages with a length of four bytes, most significant first, are what the Collector writes
//!   with `format: proto`, or with `compression: zstd`; there each message is compressed by itself.
//!
//! What a file is, its first bytes tell, not its name. This module splits files into messages and
//! joins messages to files; what a message means it does not know.

mod detect;
mod read;
mod write;

pub(crate) use read::{Entry, MessageReader, Payload};
pub(crate) use write::{Compression, Format, MessageWriter};

#[cfg(test)]
mod tests;
