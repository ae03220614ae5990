//! Finding traces. It reads through one snapshot of the store and says of every answer what it lacks.

pub mod assemble;
pub mod export;
pub mod lookup;

pub use assemble::{TraceLimits, TraceSpans};
pub use export::{Selection, export};
pub use lookup::{TimeHint, lookup};
