//! Rows that go from segments to a segment stay in their columns: neighbouring rows are copied together, and nothing
//! is made of a value but where it has a column in one file and none in the other.

mod adapt;
mod rows;
mod runs;
mod settle;

pub use adapt::Adapter;
pub use rows::{PlannedRows, SegmentRows, SharedTables};
pub use runs::{RowRun, RunSource};

pub(super) use runs::Runs;
