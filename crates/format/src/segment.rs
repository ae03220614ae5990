//! A segment: the rows of a generation as one Parquet file with a trace directory, a trace-ID filter
//! checksums of its own, and, if a merge wrote it, an attribute index. docs/formats/segment.md specifies it.
//!
//! Pure: [`write_segment`] gives bytes; [`OpenSegment`] says which bytes it needs and decodes them.
//! Nothing is parsed before its checksum was verified, so damaged bytes give an error, never a wrong
//! answer.

mod check;
mod column;
mod column_set;
pub mod columns;
mod decode;
mod directory;
mod filter;
#[doc(hidden)]
pub mod fuzzing;
mod gather;
mod index;
mod inflate;
mod layout;
mod merge;
pub mod meta;
mod open;
mod packed;
mod page;
mod page_values;
mod pages;
mod plan;
mod projection;
mod residual;
mod row_group;
mod rows;
mod schema;
mod shapes;
mod shared_texts;
mod slice;
mod unpack;
mod write;

pub use column_set::ColumnSet;
pub use columns::{AttributeColumn, AttributeColumns, AttributeCounts, AttributeType};
pub use decode::Decoding;
pub use directory::{DirectoryBlock, RootSpan, TraceEntry};
pub use filter::KeyFilter;
pub use index::{
    FieldLookup, FieldScope, IndexBytes, IndexHeader, IndexPart, IndexValue, IndexedField, Operations,
    SpanBounds, TraceSet, TraceTable, ValueFilters, ValueKey,
};
pub use merge::{Adapter, PlannedRows, RowRun, RunSource, SegmentRows, SharedTables};
pub use meta::{Section, SegmentMeta, SegmentTenant};
pub use open::OpenSegment;
pub use pages::{CachedPage, PageKey, ReadCache};
pub use plan::RowsPlan;
pub use projection::Projection;
pub use row_group::{RowGroupReader, WholeSegment};
pub use write::{
    SegmentInput, SegmentPlan, SegmentWriter, SegmentWriterOptions, WrittenSegment, write_segment,
};

/// The version of the format that is written, and the newest that is read.
pub const FORMAT_VERSION: u32 = 4;

/// The key of the footer's metadata under which a segment describes itself.
const METADATA_KEY: &str = "tracelake";

/// What errors call it.
const WHAT: &str = "segment";

/// What a segment says of itself in its footer.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Description {
    segment: SegmentMeta,
    attribute_columns: Vec<AttributeColumn>,
}

fn parquet_error(what: &'static str) -> impl FnOnce(parquet::errors::ParquetError) -> crate::FormatError {
    move |source| crate::FormatError::Parquet { what, source }
}
