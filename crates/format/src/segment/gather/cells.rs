//! Cells of columns in which most rows may have none: what a row lacks is filled in when a later row
//! has a cell, or at the end.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use tracelake_model::ValueRef;

use crate::FormatError;
use crate::segment::columns::AttributeType;
use crate::segment::slice::check_room;

/// Texts, some of them absent.
#[derive(Debug, Default)]
pub(in crate::segment) struct TextCells {
    builder: StringBuilder,
    rows: usize,
}

impl TextCells {
    pub(in crate::segment) fn len(&self) -> usize {
        self.rows
    }

    /// Makes it `rows` long with absent cells.
    #[inline]
    pub(in crate::segment) fn pad_to(&mut self, rows: usize) {
        if rows > self.rows {
            self.builder.append_nulls(rows - self.rows);
            self.rows = rows;
        }
    }

    /// Sets the cell of a row that is not before the last one set; returns the bytes added.
    #[inline]
    pub(in crate::segment) fn set(&mut self, row: usize, text: &str) -> Result<usize, FormatError> {
        self.pad_to(row);
        self.push(text)
    }

    /// Adds a cell.
    #[inline]
    pub(in crate::segment) fn push(&mut self, text: &str) -> Result<usize, FormatError> {
        check_room(self.builder.values_slice().len(), text.len())?;
        self.builder.append_value(text);
        self.rows += 1;
        Ok(text.len())
    }

    pub(in crate::segment) fn finish(&mut self, rows: usize) -> ArrayRef {
        self.pad_to(rows);
        self.rows = 0;
        Arc::new(self.builder.finish())
    }
}

/// The column of one attribute.
#[derive(Debug)]
pub(in crate::segment) struct AttributeCells {
    rows: usize,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Text(StringBuilder),
    Int(Int64Builder),
    Double(Float64Builder),
    Bool(BooleanBuilder),
}

impl AttributeCells {
    pub(in crate::segment) fn new(kind: AttributeType) -> Self {
        let values = match kind {
            AttributeType::String => Values::Text(StringBuilder::new()),
            AttributeType::Int => Values::Int(Int64Builder::new()),
            AttributeType::Double => Values::Double(Float64Builder::new()),
            AttributeType::Bool => Values::Bool(BooleanBuilder::new()),
        };
        Self { rows: 0, values }
    }

    #[inline]
    fn pad_to(&mut self, rows: usize) {
        if rows > self.rows {
            let missing = rows - self.rows;
            match &mut self.values {
                Values::Text(builder) => builder.append_nulls(missing),
                Values::Int(builder) => builder.append_nulls(missing),
                Values::Double(builder) => builder.append_nulls(missing),
                Values::Bool(builder) => builder.append_nulls(missing),
            }
            self.rows = rows;
        }
    }

    /// Sets the cell of a row and returns the bytes of text added; `None` if the row has one already or
    /// the column is of another type.
    #[inline]
    pub(in crate::segment) fn set(
        &mut self,
        row: usize,
        value: ValueRef<'_>,
    ) -> Result<Option<usize>, FormatError> {
        if self.rows > row {
            return Ok(None);
        }
        let mut bytes = 0;
        match (&self.values, value) {
            (Values::Text(builder), ValueRef::Text(text)) => {
                check_room(builder.values_slice().len(), text.len())?;
                bytes = text.len();
            }
            (Values::Int(_), ValueRef::Int(_))
            | (Values::Double(_), ValueRef::Double(_))
            | (Values::Bool(_), ValueRef::Bool(_)) => {}
            _ => return Ok(None),
        }
        self.pad_to(row);
        match (&mut self.values, value) {
            (Values::Text(builder), ValueRef::Text(text)) => builder.append_value(text),
            (Values::Int(builder), ValueRef::Int(value)) => builder.append_value(value),
            (Values::Double(builder), ValueRef::Double(value)) => builder.append_value(value),
            (Values::Bool(builder), ValueRef::Bool(value)) => builder.append_value(value),
            _ => return Ok(None),
        }
        self.rows += 1;
        Ok(Some(bytes))
    }

    pub(in crate::segment) fn finish(&mut self, rows: usize) -> ArrayRef {
        self.pad_to(rows);
        self.rows = 0;
        match &mut self.values {
            Values::Text(builder) => Arc::new(builder.finish()),
            Values::Int(builder) => Arc::new(builder.finish()),
            Values::Double(builder) => Arc::new(builder.finish()),
            Values::Bool(builder) => Arc::new(builder.finish()),
        }
    }
}
