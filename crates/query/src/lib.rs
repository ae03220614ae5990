//! Finding traces: lookup by ID.
