//! What a set of spans means, computed from the spans alone: the tree of a trace.
//!
//! It reads no store and knows no wire format. Spans come from anywhere and may contradict each
//! other (no parent, two parents with one ID, a circle); nothing here drops one or fails on it: what
//! is odd is marked.

mod tree;

pub use tree::{Attachment, Node, Service, Step, TraceTree, Walk};
