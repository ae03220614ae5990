//! The Parquet file of a segment, and what is written and not yet taken of it.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::KeyValue;

use super::{SegmentWriterOptions, WrittenSegment};
use crate::FormatError;
use crate::checksum::ChecksumTable;
use crate::segment::columns::AttributeColumn;
use crate::segment::meta::{Section, SegmentMeta};
use crate::segment::shapes::Shapes;
use crate::segment::{Description, METADATA_KEY, WHAT, parquet_error, schema};

/// The Parquet file being written.
#[derive(Debug)]
pub(super) struct File {
    writer: ArrowWriter<Sink>,
    schema: SchemaRef,
    rows_of_group: usize,
}

/// What was written and not yet taken, and the checksums of everything written.
#[derive(Debug, Default)]
pub(super) struct Sink {
    offset: u64,
    bytes: Vec<u8>,
    checksums: ChecksumTable,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.checksums.extend(bytes);
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl File {
    pub(super) fn create(
        columns: &[AttributeColumn],
        shapes: &Shapes,
        options: &SegmentWriterOptions,
    ) -> Result<Self, FormatError> {
        let schema = schema::schema(columns);
        let properties = schema::properties(options, columns, shapes)?;
        // The Arrow schema would be kilobytes of what the Parquet schema says as well.
        let writer_options =
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Sink::default(), Arc::clone(&schema), writer_options)
            .map_err(parquet_error("beginning a segment"))?;
        Ok(Self { writer, schema, rows_of_group: 0 })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Of the row group that is being written.
    pub(super) fn rows_of_group(&self) -> usize {
        self.rows_of_group
    }

    /// The same, of its pages that are encoded.
    pub(super) fn bytes_of_group(&self) -> usize {
        self.writer.in_progress_size()
    }

    /// Writes a slice of rows.
    pub(super) fn write(&mut self, rows: usize, arrays: Vec<ArrayRef>) -> Result<(), FormatError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|source| parquet_error("gathering a segment's rows")(source.into()))?;
        self.writer.write(&batch).map_err(parquet_error("writing a segment's rows"))?;
        self.rows_of_group += rows;
        Ok(())
    }

    pub(super) fn end_row_group(&mut self) -> Result<(), FormatError> {
        self.rows_of_group = 0;
        self.writer.flush().map_err(parquet_error("ending a row group"))
    }

    pub(super) fn bytes_written(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<Section, FormatError> {
        let offset = self.bytes_written();
        self.writer
            .write_all(bytes)
            .map_err(|error| parquet_error("writing a segment's index")(error.into()))?;
        Ok(Section { offset, len: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) })
    }

    /// What the library holds back comes into the sink.
    fn sink(&mut self) -> Result<&mut Sink, FormatError> {
        self.writer.sync().map_err(|error| parquet_error("writing a segment")(error.into()))?;
        Ok(self.writer.inner_mut())
    }

    pub(super) fn checksums(&mut self) -> Result<&ChecksumTable, FormatError> {
        Ok(&self.sink()?.checksums)
    }

    pub(super) fn take_bytes(&mut self) -> Result<Vec<u8>, FormatError> {
        let sink = self.sink()?;
        let bytes = std::mem::take(&mut sink.bytes);
        sink.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// The footer, with what the file says of itself.
    pub(super) fn finish(
        mut self,
        meta: SegmentMeta,
        attribute_columns: Vec<AttributeColumn>,
    ) -> Result<WrittenSegment, FormatError> {
        let description = Description { segment: meta, attribute_columns };
        let json = serde_json::to_string(&description)
            .map_err(|error| FormatError::damaged(WHAT, format!("cannot describe itself: {error}")))?;
        self.writer.append_key_value_metadata(KeyValue::new(METADATA_KEY.to_owned(), json));
        let Sink { offset, bytes, .. } =
            self.writer.into_inner().map_err(parquet_error("writing a segment's footer"))?;

        let mut meta = description.segment;
        let footer = meta.checksums.range().end;
        let footer_bytes = footer
            .checked_sub(offset)
            .and_then(|from| bytes.get(usize::try_from(from).ok()?..))
            .unwrap_or_default();
        meta.footer =
            Section { offset: footer, len: footer_bytes.len() as u64, crc32c: crc32c::crc32c(footer_bytes) };
        meta.size_bytes = offset + bytes.len() as u64;
        Ok(WrittenSegment { bytes: bytes.into(), offset, meta })
    }
}
