//! Finding traces, by ID and by what is in them. It reads through one snapshot of the store and says of every answer what it lacks.

pub mod assemble;
mod batch;
mod cache;
mod copies;
pub mod engine;
pub mod export;
pub mod gap;
mod lookup;
mod prefetch;
pub mod search;
pub mod values;

pub use assemble::{TraceLimits, TraceSpans};
pub use batch::BatchAnswer;
pub use cache::{TraceCacheLimits, TraceCacheStats};
pub use engine::{EngineOptions, TraceQueryEngine};
pub use export::{Selection, export};
pub use gap::{Gap, GapKind, summary};
pub use lookup::{Explained, TimeHint};
pub use prefetch::PrefetchStats;
pub use search::{Order, SearchPage, SearchQuery, TraceHit};
