//! The Parquet schema of a segment and how each column is written. docs/formats/segment.md, "Rows".

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;

use super::SegmentWriterOptions;
use super::columns::{AttributeColumn, AttributeType};
use super::shapes::Shapes;
use crate::FormatError;

pub(super) const TENANT: &str = "tenant";
pub(super) const GENERATION: &str = "generation";
pub(super) const TRACE_ID: &str = "trace_id";
pub(super) const SPAN_ID: &str = "span_id";
pub(super) const PARENT_SPAN_ID: &str = "parent_span_id";
pub(super) const NAME: &str = "name";
pub(super) const KIND: &str = "kind";
pub(super) const SERVICE_NAME: &str = "service_name";
pub(super) const START_TIME: &str = "start_time";
pub(super) const DURATION_NANO: &str = "duration_nano";
pub(super) const STATUS_CODE: &str = "status_code";
pub(super) const STATUS_MESSAGE: &str = "status_message";
pub(super) const TRACE_STATE: &str = "trace_state";
pub(super) const FLAGS: &str = "flags";
pub(super) const DROPPED_ATTRIBUTES: &str = "dropped_attributes_count";
pub(super) const DROPPED_EVENTS: &str = "dropped_events_count";
pub(super) const DROPPED_LINKS: &str = "dropped_links_count";
pub(super) const RESOURCE: &str = "resource";
pub(super) const SCOPE: &str = "scope";
pub(super) const ATTRIBUTE_PREFIX: &str = "attr.";
pub(super) const ATTRIBUTES: &str = "attributes";
pub(super) const EVENTS: &str = "events";
pub(super) const LINKS: &str = "links";

/// The largest dictionary of a column in a row group; beyond it the writer goes on without. A lookup
/// decodes a dictionary whole.
pub(super) const DICTIONARY_BYTES_MAX: usize = 256 << 10;

/// Never reached: a column that must not go on without its dictionary. Resources, scopes and services
/// are larger than other texts, and each row refers to one; the writer ends a row group before they
/// are too much (`shared_texts`).
const DICTIONARY_BYTES_UNBOUNDED: usize = 1 << 30;

/// Text kept of a page's lowest and highest value.
const STATISTICS_BYTES_MAX: usize = 32;

/// Columns before the attributes' own, in their order.
pub(super) const FIXED_COLUMNS: [&str; 19] = [
    TENANT,
    GENERATION,
    TRACE_ID,
    SPAN_ID,
    PARENT_SPAN_ID,
    NAME,
    KIND,
    SERVICE_NAME,
    START_TIME,
    DURATION_NANO,
    STATUS_CODE,
    STATUS_MESSAGE,
    TRACE_STATE,
    FLAGS,
    DROPPED_ATTRIBUTES,
    DROPPED_EVENTS,
    DROPPED_LINKS,
    RESOURCE,
    SCOPE,
];

fn fixed_field(name: &str) -> Field {
    let dictionary = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let (data_type, nullable) = match name {
        TENANT | RESOURCE | SCOPE => (dictionary(), false),
        SERVICE_NAME => (dictionary(), true),
        GENERATION => (DataType::UInt64, false),
        TRACE_ID => (DataType::FixedSizeBinary(16), false),
        SPAN_ID => (DataType::FixedSizeBinary(8), false),
        PARENT_SPAN_ID => (DataType::FixedSizeBinary(8), true),
        KIND | STATUS_CODE => (DataType::Int32, false),
        START_TIME => (DataType::Timestamp(TimeUnit::Nanosecond, None), false),
        DURATION_NANO => (DataType::Int64, false),
        FLAGS | DROPPED_ATTRIBUTES | DROPPED_EVENTS | DROPPED_LINKS => (DataType::UInt32, false),
        STATUS_MESSAGE | TRACE_STATE => (DataType::Utf8, true),
        _ => (DataType::Utf8, false),
    };
    Field::new(name, data_type, nullable)
}

pub(super) fn attribute_field_name(key: &str) -> String {
    format!("{ATTRIBUTE_PREFIX}{key}")
}

fn attribute_data_type(kind: AttributeType) -> DataType {
    match kind {
        AttributeType::String => DataType::Utf8,
        AttributeType::Int => DataType::Int64,
        AttributeType::Double => DataType::Float64,
        AttributeType::Bool => DataType::Boolean,
    }
}

pub(super) fn residual_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("type", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, false),
    ])
}

pub(super) fn event_fields() -> Fields {
    Fields::from(vec![
        Field::new("time_unix_nano", DataType::UInt64, false),
        Field::new("name", DataType::Utf8, false),
        Field::new("attributes", DataType::Utf8, true),
        Field::new("dropped_attributes_count", DataType::UInt32, false),
    ])
}

pub(super) fn link_fields() -> Fields {
    Fields::from(vec![
        Field::new("trace_id", DataType::Binary, false),
        Field::new("span_id", DataType::Binary, false),
        Field::new("trace_state", DataType::Utf8, true),
        Field::new("flags", DataType::UInt32, false),
        Field::new("attributes", DataType::Utf8, true),
        Field::new("dropped_attributes_count", DataType::UInt32, false),
    ])
}

/// The element of a list, as Parquet names it.
pub(super) fn element(fields: Fields) -> Field {
    Field::new("element", DataType::Struct(fields), false)
}

/// The schema of a file with these attribute columns.
pub(super) fn schema(attributes: &[AttributeColumn]) -> SchemaRef {
    let mut fields: Vec<Field> = FIXED_COLUMNS.iter().map(|name| fixed_field(name)).collect();
    fields.extend(
        attributes.iter().map(|column| {
            Field::new(attribute_field_name(&column.key), attribute_data_type(column.kind), true)
        }),
    );
    for (name, fields_of) in
        [(ATTRIBUTES, residual_fields()), (EVENTS, event_fields()), (LINKS, link_fields())]
    {
        fields.push(Field::new(name, DataType::List(Arc::new(element(fields_of))), true));
    }
    Arc::new(Schema::new(fields))
}

fn path(parts: &[&str]) -> ColumnPath {
    ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect())
}

/// How columns are written.
pub(super) fn properties(
    options: &SegmentWriterOptions,
    attributes: &[AttributeColumn],
    shapes: &Shapes,
) -> Result<WriterProperties, FormatError> {
    let level = ZstdLevel::try_new(options.zstd_level)
        .map_err(|source| FormatError::Parquet { what: "setting the compression level", source })?;
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("tracelake ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(level))
        .set_data_page_row_count_limit(options.page_rows)
        .set_write_batch_size(options.page_rows)
        .set_max_row_group_row_count(None)
        .set_dictionary_enabled(false)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_index_truncate_length(Some(STATISTICS_BYTES_MAX))
        .set_statistics_truncate_length(Some(STATISTICS_BYTES_MAX));
    for name in [
        TENANT,
        GENERATION,
        KIND,
        SERVICE_NAME,
        STATUS_CODE,
        FLAGS,
        DROPPED_ATTRIBUTES,
        DROPPED_EVENTS,
        DROPPED_LINKS,
        RESOURCE,
        SCOPE,
    ] {
        builder = builder.set_column_dictionary_enabled(path(&[name]), true);
    }
    for name in [SERVICE_NAME, RESOURCE, SCOPE] {
        builder = builder.set_column_dictionary_page_size_limit(path(&[name]), DICTIONARY_BYTES_UNBOUNDED);
    }
    for (name, repeats) in
        [(NAME, shapes.name), (STATUS_MESSAGE, shapes.status_message), (TRACE_STATE, shapes.trace_state)]
    {
        builder = builder.set_column_dictionary_enabled(path(&[name]), repeats);
    }
    // Random bytes, and differences that were packed: there is nothing to gain.
    for name in [SPAN_ID, DURATION_NANO] {
        builder = builder.set_column_compression(path(&[name]), Compression::UNCOMPRESSED);
    }
    // Starts are left as they are: in the order of traces a difference is as large as a time, and zstd takes
    // what times have in common.
    builder = builder.set_column_encoding(path(&[DURATION_NANO]), Encoding::DELTA_BINARY_PACKED);
    for name in [
        GENERATION,
        KIND,
        START_TIME,
        DURATION_NANO,
        STATUS_CODE,
        STATUS_MESSAGE,
        TRACE_STATE,
        FLAGS,
        DROPPED_ATTRIBUTES,
        DROPPED_EVENTS,
        DROPPED_LINKS,
    ] {
        builder = with_statistics(builder, path(&[name]));
    }
    for (column, shape) in attributes.iter().zip(&shapes.attributes) {
        let name = attribute_field_name(&column.key);
        let path = path(&[&name]);
        let is_text = column.kind == AttributeType::String;
        // In the order of traces every page has texts from A to Z: bounds say nothing and cost two
        // comparisons a value. Pages without any value are worth knowing where they can be.
        if !is_text || shape.is_sparse {
            builder = with_statistics(builder, path.clone());
        }
        builder = match column.kind {
            AttributeType::String | AttributeType::Int if shape.repeats => {
                builder.set_column_dictionary_enabled(path, true)
            }
            AttributeType::Int => builder
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
                .set_column_compression(path, Compression::UNCOMPRESSED),
            // Doubles hardly repeat bit for bit; zstd takes what they have in common.
            AttributeType::String | AttributeType::Double | AttributeType::Bool => builder,
        };
    }
    let leaf = |list: &str, leaf: &str| path(&[list, "list", "element", leaf]);
    for (list, name) in [
        (ATTRIBUTES, "key"),
        (ATTRIBUTES, "type"),
        (ATTRIBUTES, "value"),
        (EVENTS, "name"),
        (EVENTS, "attributes"),
        (EVENTS, "dropped_attributes_count"),
        (LINKS, "trace_state"),
        (LINKS, "flags"),
        (LINKS, "attributes"),
        (LINKS, "dropped_attributes_count"),
    ] {
        builder = builder.set_column_dictionary_enabled(leaf(list, name), true);
    }
    builder = builder.set_column_encoding(leaf(EVENTS, "time_unix_nano"), Encoding::DELTA_BINARY_PACKED);
    // One leaf of each list tells which pages have nothing.
    for (list, name) in [(ATTRIBUTES, "type"), (EVENTS, "time_unix_nano"), (LINKS, "flags")] {
        builder = with_statistics(builder, leaf(list, name));
    }
    Ok(builder.build())
}

fn with_statistics(builder: WriterPropertiesBuilder, path: ColumnPath) -> WriterPropertiesBuilder {
    builder.set_column_statistics_enabled(path, EnabledStatistics::Page)
}
