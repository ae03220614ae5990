//! OTLP on the wire to spans in memory and back: protobuf and JSON requests become a
//! [`SpanBatch`](tracelake_model::SpanBatch), spans become protobuf and JSON answers.
//!
//! No I/O, no clock, no generated structs. What cannot be read is refused as a whole
//! ([`DecodeError`]); what can be read but not kept is left out, counted and named ([`Rejections`]).

mod decoder;
mod encode;
mod error;
mod extent;
mod field;
#[doc(hidden)]
pub mod fuzzing;
pub mod json;
mod limits;
mod memo;
mod rejections;
mod walker;
mod wire;

pub use decoder::{Decoded, Decoder};
pub use encode::{JsonEncoder, ProtobufEncoder, encode_protobuf};
pub use error::DecodeError;
pub use limits::DecodeLimits;
pub use rejections::{RejectReason, Rejections};
