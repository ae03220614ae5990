//! Merges segments into fewer and larger ones. docs/compaction.md says which, when and what it costs.
//!
//! It reads segments and writes segments; what becomes of them, the store decides. Rows keep their
//! generations; of exact duplicates one stays. Memory is bounded by windows of rows of each input and
//! what a [`SegmentWriter`](tracelake_format::segment::SegmentWriter) holds for each output.

mod cursor;
mod merge;
mod output;
pub mod policy;
mod slices;

pub(crate) use merge::{MergeEnv, Merged, merge};
