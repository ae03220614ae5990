//! The attribute index: of a value of a field, the traces that may have it, so that a search reads those and not
//! every row. What it names is an upper bound: there may be traces too many, never too few. docs/formats/segment.md,
//! "Attribute index".
//!
//! Reading takes two steps: what is asked says which bytes it needs, and is answered from those. For each of
//! [`index_parts_of`](super::OpenSegment::index_parts_of) a tenant: the [`IndexHeader`] from its
//! [`header_range`](IndexPart::header_range), in it the [`field`](IndexHeader::field), of that what is asked, such as
//! [`equal`](IndexedField::equal) from [`equal_ranges`](IndexedField::equal_ranges). That gives a [`TraceSet`]; sets of
//! several conditions are put together, and the [`TraceTable`] says which rows are a trace's. Between ranges and answer
//! are [`index_ranges`](super::OpenSegment::index_ranges), the read, and
//! [`index_bytes`](super::OpenSegment::index_bytes).

mod build;
mod bytes;
mod dictionary;
mod fetched;
mod field;
pub(super) mod fuzzing;
mod hashed;
mod header;
mod operations;
mod parts;
mod postings;
mod query;
mod trace_set;
mod trace_table;
mod value;
mod value_filters;

use tracelake_model::limits;

pub use fetched::IndexBytes;
pub use field::{FieldLookup, FieldScope};
pub use header::IndexHeader;
pub use operations::Operations;
pub use parts::IndexPart;
pub use query::{IndexedField, SpanBounds};
pub use trace_set::TraceSet;
pub use trace_table::TraceTable;
pub use value::IndexValue;
pub use value_filters::{ValueFilters, ValueKey};

pub(super) use build::{BuiltPart, PartBuilder};
pub(super) use parts::PartIndex;

/// Rows after which a part ends: with traces of ordinary size some 10,000 ordinals, so that a bitmap of them is about
/// a kilobyte.
pub(super) const PART_ROWS: usize = 262_144;

/// Fields that a part lists.
const FIELDS_MAX: usize = limits::INDEX_FIELDS_MAX as usize;

/// Pairs of a service and a name that a part lists.
const OPERATIONS_MAX: usize = limits::INDEX_OPERATIONS_MAX as usize;

/// The longest key of a field.
const KEY_BYTES_MAX: usize = 256;

/// The longest text that is a term as it is.
const TEXT_BYTES_MAX: usize = limits::INDEX_TEXT_BYTES_MAX as usize;

const WHAT: &str = "attribute index";

fn damaged(detail: impl Into<String>) -> crate::FormatError {
    crate::FormatError::damaged(WHAT, detail)
}
