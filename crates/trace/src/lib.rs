//! What a set of spans means: the tree of a trace.
