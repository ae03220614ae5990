//! From the columns of a segment to those of a plan.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::{FieldRef, SchemaRef};

use super::rows::{PlannedRows, SegmentRows};
use super::settle::{Demoted, settle};
use crate::FormatError;
use crate::segment::columns::{AttributeColumn, AttributeType};
use crate::segment::open::OpenSegment;
use crate::segment::row_group::is_read;
use crate::segment::unpack::wrong_type;
use crate::segment::{SegmentPlan, schema};

/// How rows of one segment come into the columns of a plan.
#[derive(Debug)]
pub struct Adapter {
    schema: SchemaRef,
    /// By column of the plan: where it is among those of the rows.
    places: Vec<Option<usize>>,
    /// Attributes that have a column in the plan alone: which, and of what type.
    promoted: HashMap<String, (usize, AttributeType)>,
    /// Columns of the rows, of attributes that have none in the plan.
    demoted: Vec<(usize, AttributeColumn)>,
    residual: usize,
}

impl Adapter {
    /// For rows of this segment.
    pub fn new(segment: &OpenSegment, plan: &SegmentPlan) -> Self {
        let schema = schema::schema(&plan.columns);
        let read = segment.schema.fields().iter().filter(|field| is_read(field.name()));
        let read: HashMap<&str, usize> =
            read.enumerate().map(|(place, field)| (field.name().as_str(), place)).collect();
        let is_shared = |field: &FieldRef| [schema::RESOURCE, schema::SCOPE].contains(&field.name().as_str());
        let of_rows =
            |column: &AttributeColumn| read.get(schema::attribute_field_name(&column.key).as_str()).copied();
        let mut places: Vec<Option<usize>> = schema
            .fields()
            .iter()
            .map(|field| read.get(field.name().as_str()).copied().filter(|_| !is_shared(field)))
            .collect();
        let mut promoted = HashMap::new();
        for column in &plan.columns {
            if !segment.attribute_columns().contains(column)
                && let Ok(place) = schema.index_of(&schema::attribute_field_name(&column.key))
            {
                // It may be there with another type.
                if let Some(place) = places.get_mut(place) {
                    *place = None;
                }
                promoted.insert(column.key.clone(), (place, column.kind));
            }
        }
        let demoted = segment.attribute_columns().iter().filter(|column| !plan.columns.contains(column));
        let demoted = demoted.filter_map(|column| Some((of_rows(column)?, column.clone()))).collect();
        let residual = schema.index_of(schema::ATTRIBUTES).unwrap_or_default();
        Self { schema, places, promoted, demoted, residual }
    }

    /// The same rows in the plan's columns.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a value is none of its type; [`FormatError::TooLarge`] if there is more text than
    /// the format holds.
    pub fn adapt(&self, rows: SegmentRows) -> Result<PlannedRows, FormatError> {
        let batch = rows.batch();
        let of_rows = |place: &Option<usize>| batch.columns().get((*place)?).map(Arc::clone);
        let mut columns: Vec<Option<ArrayRef>> = self.places.iter().map(of_rows).collect();
        let mut settled_bytes = 0;
        if !self.promoted.is_empty() || !self.demoted.is_empty() {
            let demoted = self.demoted.iter().filter_map(|(place, column)| {
                let cells = batch.columns().get(*place).filter(|cells| cells.null_count() < cells.len())?;
                Some(Demoted { column, cells })
            });
            let demoted: Vec<_> = demoted.collect();
            for (column, array) in settle(batch, &self.promoted, &demoted, self.residual)? {
                settled_bytes += array.get_array_memory_size();
                if let Some(place) = columns.get_mut(column) {
                    *place = Some(array);
                }
            }
        }
        for (column, field) in columns.iter_mut().zip(self.schema.fields()) {
            if column.as_ref().is_some_and(|array| array.data_type() != field.data_type()) {
                return Err(wrong_type());
            }
            column.take_if(|array| array.null_count() == array.len());
        }
        let columns = columns.into_iter().map(|column| column.map(|array| array.to_data())).collect();
        PlannedRows::new(rows, columns, settled_bytes)
    }
}
