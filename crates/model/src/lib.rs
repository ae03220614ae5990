//! The vocabulary that every other crate of Tracelake shares: identifiers, spans in rows,
//! limits and error kinds.
//!
//! It does no I/O, knows no clock and no wire format: what a span *is* stands here, how it
//! travels stands in `tracelake-otlp`, how it rests in `tracelake-format`.

pub mod batch;
pub mod error;
pub mod hash;
pub mod id;
pub mod limits;
pub mod resource;
pub mod tenant;
pub mod value;

pub use batch::{
    EventView, LinkView, Owner, SpanBatch, SpanBatchBuilder, SpanScalars, SpanView, TermId, bring_near,
};
pub use error::ErrorKind;
pub use id::{ParseIdError, SpanId, TraceId};
pub use resource::{EntityRef, Resource, Scope};
pub use tenant::{ParseTenantError, TenantId};
pub use value::{KeyValue, Value, ValueRef};
