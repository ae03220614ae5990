//! Rows of a segment in its columns, and the same in the columns of a plan.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampNanosecondType, UInt64Type};
use arrow_array::{
    Array, ArrayRef, DictionaryArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray,
};
use arrow_data::ArrayData;
use tracelake_model::hash::trace_hash;
use tracelake_model::{SpanBatch, SpanId, TraceId};

use crate::FormatError;
use crate::segment::row_group::WholeSegment;
use crate::segment::rows::Shared;
use crate::segment::schema;
use crate::segment::slice::{RowFacts, STATUS_ERROR};
use crate::segment::unpack::{Unpacker, damaged, optional, required, wrong_type};

/// Neighbouring rows of a segment, in its columns.
#[derive(Debug)]
pub struct SegmentRows {
    whole: Arc<WholeSegment>,
    batch: RecordBatch,
    generations: PrimitiveArray<UInt64Type>,
    trace_ids: FixedSizeBinaryArray,
    span_ids: FixedSizeBinaryArray,
    starts: PrimitiveArray<TimestampNanosecondType>,
}

impl SegmentRows {
    pub(in crate::segment) fn new(whole: Arc<WholeSegment>, batch: RecordBatch) -> Result<Self, FormatError> {
        Ok(Self {
            generations: required::<PrimitiveArray<_>>(&batch, schema::GENERATION)?.clone(),
            trace_ids: required::<FixedSizeBinaryArray>(&batch, schema::TRACE_ID)?.clone(),
            span_ids: required::<FixedSizeBinaryArray>(&batch, schema::SPAN_ID)?.clone(),
            starts: required::<PrimitiveArray<_>>(&batch, schema::START_TIME)?.clone(),
            whole,
            batch,
        })
    }

    pub(in crate::segment) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The generation of a row.
    pub fn generation(&self, row: usize) -> u64 {
        self.generations.value(row)
    }

    /// The trace of a row.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if it is zero.
    #[inline]
    pub fn trace_id(&self, row: usize) -> Result<TraceId, FormatError> {
        TraceId::from_bytes(self.trace_ids.value(row)).ok_or_else(zero)
    }

    /// The span of a row.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if it is zero.
    #[inline]
    pub fn span_id(&self, row: usize) -> Result<SpanId, FormatError> {
        SpanId::from_bytes(self.span_ids.value(row)).ok_or_else(zero)
    }

    /// When a row's span began.
    #[inline]
    pub fn start_unix_nano(&self, row: usize) -> u64 {
        self.starts.value(row) as u64
    }

    /// The same rows as spans.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a value is none of its type.
    pub fn spans(&self) -> Result<SpanBatch, FormatError> {
        let mut unpacker = Unpacker::new(self.whole.segment().attribute_columns(), None);
        unpacker.push(&self.batch, &[])?;
        Ok(unpacker.finish().0)
    }
}

fn zero() -> FormatError {
    damaged("an identifier is zero")
}

/// The same rows in the columns of a [plan](crate::segment::SegmentPlan), by its [`Adapter`](super::Adapter).
#[derive(Debug)]
pub struct PlannedRows {
    rows: SegmentRows,
    /// In the order of the schema; none where no row has a value, and of what the writer shares.
    columns: Vec<Option<ArrayData>>,
    durations: PrimitiveArray<Int64Type>,
    parent_span_ids: FixedSizeBinaryArray,
    names: StringArray,
    status_codes: PrimitiveArray<Int32Type>,
    resources: Dictionary,
    scopes: Dictionary,
    heap_bytes: usize,
    row_bytes: usize,
}

/// Places of texts, by row.
#[derive(Debug)]
struct Dictionary {
    keys: PrimitiveArray<Int32Type>,
    texts: StringArray,
}

impl Dictionary {
    fn of(batch: &RecordBatch, name: &str) -> Result<Self, FormatError> {
        let column = required::<DictionaryArray<Int32Type>>(batch, name)?;
        let texts = column.values().as_string_opt::<i32>().ok_or_else(wrong_type)?.clone();
        Ok(Self { keys: column.keys().clone(), texts })
    }

    /// What `place` says of each text that a row refers to; nothing of the others, as they are the row group's.
    fn places(
        &self,
        mut place: impl FnMut(&str) -> Result<u32, FormatError>,
    ) -> Result<Vec<u32>, FormatError> {
        let mut places = vec![u32::MAX; self.texts.len()];
        for key in self.keys.values() {
            let known = places.get_mut(*key as usize).ok_or_else(wrong_type)?;
            if *known == u32::MAX {
                *known = place(self.texts.value(*key as usize))?;
            }
        }
        Ok(places)
    }
}

impl PlannedRows {
    /// `settled_bytes` is what those columns take that are not the rows' own.
    pub(super) fn new(
        rows: SegmentRows,
        columns: Vec<Option<ArrayData>>,
        settled_bytes: usize,
    ) -> Result<Self, FormatError> {
        let batch = &rows.batch;
        let parents = optional::<FixedSizeBinaryArray>(batch, schema::PARENT_SPAN_ID)?;
        let parents = parents.ok_or_else(wrong_type)?;
        if parents.iter().flatten().any(|parent| parent.iter().all(|byte| *byte == 0)) {
            return Err(zero());
        }
        // A dictionary's texts are the row group's, which all of its rows share.
        let texts = |array: &ArrayRef| {
            array.as_dictionary_opt::<Int32Type>().map_or(0, |array| array.values().get_array_memory_size())
        };
        let shared_bytes: usize = batch.columns().iter().map(texts).sum();
        let heap_bytes = (batch.get_array_memory_size() + settled_bytes).saturating_sub(shared_bytes);
        Ok(Self {
            columns,
            row_bytes: heap_bytes / batch.num_rows().max(1),
            heap_bytes,
            durations: required::<PrimitiveArray<_>>(batch, schema::DURATION_NANO)?.clone(),
            parent_span_ids: parents.clone(),
            names: required::<StringArray>(batch, schema::NAME)?.clone(),
            status_codes: required::<PrimitiveArray<_>>(batch, schema::STATUS_CODE)?.clone(),
            resources: Dictionary::of(batch, schema::RESOURCE)?,
            scopes: Dictionary::of(batch, schema::SCOPE)?,
            rows,
        })
    }

    /// The rows as they lie in their segment.
    pub fn rows(&self) -> &SegmentRows {
        &self.rows
    }

    /// Bytes that they take, but for what they share with all rows of their row group.
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// The same of one row, on average.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    pub(super) fn column(&self, column: usize) -> Option<&ArrayData> {
        self.columns.get(column)?.as_ref()
    }

    pub(in crate::segment) fn name(&self, row: usize) -> &str {
        self.names.value(row)
    }

    pub(in crate::segment) fn tables(&self, shared: &mut Shared) -> Result<SharedTables, FormatError> {
        Ok(SharedTables {
            resources: self.resources.places(|text| shared.place_resource_text(text))?.into(),
            scopes: self.scopes.places(|text| shared.place_scope_text(text))?.into(),
        })
    }

    #[inline]
    pub(super) fn facts(
        &self,
        tenant: u32,
        row: usize,
        tables: &SharedTables,
    ) -> Result<RowFacts, FormatError> {
        let trace_id = self.rows.trace_id(row)?;
        let start_unix_nano = self.rows.start_unix_nano(row);
        let place = |places: &[u32], dictionary: &Dictionary| {
            places.get(dictionary.keys.value(row) as usize).copied().unwrap_or_default()
        };
        Ok(RowFacts {
            tenant,
            generation: self.rows.generation(row),
            hash: trace_hash(&trace_id),
            trace_id,
            start_unix_nano,
            end_unix_nano: start_unix_nano.wrapping_add_signed(self.durations.value(row)),
            is_root: self.parent_span_ids.is_null(row),
            is_error: self.status_codes.value(row) == STATUS_ERROR,
            resource: place(&tables.resources, &self.resources),
            scope: place(&tables.scopes, &self.scopes),
        })
    }
}

/// Where a writer has the resources and scopes of some rows.
#[derive(Debug, Clone, Default)]
pub struct SharedTables {
    resources: Arc<[u32]>,
    scopes: Arc<[u32]>,
}
