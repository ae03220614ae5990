//! A slice of rows on its way into a file: as many as a page has. Whichever way rows come, what they refer to is
//! written alike.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, StringArray};
use tracelake_model::{SpanView, TraceId};

use super::rows::{BatchTables, Shared};
use crate::FormatError;

/// A slice ends early at this much text, far below what offsets of 31 bits can hold.
pub(super) const SLICE_TEXT_BYTES_MAX: usize = 32 << 20;

/// Rows that are gathered until they are written.
pub(super) trait Slice {
    fn rows(&self) -> usize;

    /// Whether it should be written before more is added to it.
    fn is_full(&self, rows_max: usize) -> bool;

    /// Its arrays in the order of the schema; the slice is empty again.
    fn finish(&mut self, tenants: &[&str], shared: &Shared) -> Result<Vec<ArrayRef>, FormatError>;
}

/// The number of OTLP for spans that failed.
pub(super) const STATUS_ERROR: i32 = 2;

/// What the writer itself needs to know of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowFacts {
    /// Its place among the file's tenants.
    pub(super) tenant: u32,
    pub(super) generation: u64,
    /// Of the trace ID.
    pub(super) hash: u64,
    pub(super) trace_id: TraceId,
    pub(super) start_unix_nano: u64,
    pub(super) end_unix_nano: u64,
    pub(super) is_root: bool,
    pub(super) is_error: bool,
    /// Its places in what the file shares.
    pub(super) resource: u32,
    pub(super) scope: u32,
}

impl RowFacts {
    #[inline]
    pub(super) fn of_span(
        tenant: u32,
        generation: u64,
        hash: u64,
        span: &SpanView<'_>,
        tables: &BatchTables,
    ) -> Self {
        Self {
            tenant,
            generation,
            hash,
            trace_id: span.trace_id(),
            start_unix_nano: span.start_unix_nano(),
            end_unix_nano: span.end_unix_nano(),
            is_root: span.parent_span_id().is_none(),
            is_error: span.status_code() == STATUS_ERROR,
            resource: tables.resources.get(span.resource_index()).copied().unwrap_or_default(),
            scope: tables.scopes.get(span.scope_index()).copied().unwrap_or_default(),
        }
    }
}

/// What the rows of a slice refer to.
#[derive(Debug, Default)]
pub(super) struct References {
    tenants: Vec<i32>,
    resources: Vec<u32>,
    scopes: Vec<u32>,
}

/// The columns of [`References`].
#[derive(Debug)]
pub(super) struct ReferenceColumns {
    pub(super) tenant: ArrayRef,
    pub(super) resource: ArrayRef,
    pub(super) service: ArrayRef,
    pub(super) scope: ArrayRef,
}

impl References {
    #[inline]
    pub(super) fn push(&mut self, row: &RowFacts) {
        self.tenants.push(row.tenant as i32);
        self.resources.push(row.resource);
        self.scopes.push(row.scope);
    }

    pub(super) fn rows(&self) -> usize {
        self.tenants.len()
    }

    /// It is empty again.
    pub(super) fn finish(
        &mut self,
        tenants: &[&str],
        shared: &Shared,
    ) -> Result<ReferenceColumns, FormatError> {
        let rows = std::mem::take(self);
        let resources = Local::of(&rows.resources, shared.resources.texts.len());
        let scopes = Local::of(&rows.scopes, shared.scopes.texts.len());
        let text = |place: u32| shared.resources.texts.get(place as usize).map(String::as_str);
        let service = |place: u32| shared.services.get(place as usize).and_then(|service| service.as_deref());
        let scope = |place: u32| shared.scopes.texts.get(place as usize).map(String::as_str);
        let names = Arc::new(StringArray::from_iter_values(tenants));
        let tenant = DictionaryArray::try_new(Int32Array::from(rows.tenants), names);
        Ok(ReferenceColumns {
            tenant: Arc::new(tenant.map_err(columns_error)?),
            resource: resources.array(text)?,
            service: resources.array(service)?,
            scope: scopes.array(scope)?,
        })
    }
}

/// The few of a segment's texts that a slice refers to.
struct Local {
    keys: Vec<i32>,
    places: Vec<u32>,
}

impl Local {
    fn of(places_of_rows: &[u32], texts: usize) -> Self {
        let mut local = vec![-1i32; texts];
        let mut places = Vec::new();
        let keys = places_of_rows
            .iter()
            .map(|place| match local.get_mut(*place as usize) {
                Some(key) if *key >= 0 => *key,
                Some(key) => {
                    *key = places.len() as i32;
                    places.push(*place);
                    *key
                }
                None => 0,
            })
            .collect();
        Self { keys, places }
    }

    fn array<'t>(&self, text: impl Fn(u32) -> Option<&'t str>) -> Result<ArrayRef, FormatError> {
        let mut values = StringBuilder::new();
        for place in &self.places {
            let text = text(*place);
            check_room(values.values_slice().len(), text.map_or(0, str::len))?;
            values.append_option(text);
        }
        let keys = Int32Array::from(self.keys.clone());
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(values.finish())).map_err(columns_error)?))
    }
}

/// Refuses what Arrow's 31-bit offsets cannot hold, where its builders would panic.
#[inline]
pub(super) fn check_room(used: usize, more: usize) -> Result<(), FormatError> {
    match used.checked_add(more) {
        Some(size) if size <= i32::MAX as usize => Ok(()),
        size => Err(FormatError::TooLarge {
            what: "text of one column of a slice",
            size: size.unwrap_or(usize::MAX) as u64,
            max: i32::MAX as u64,
        }),
    }
}

pub(super) fn columns_error(source: arrow_schema::ArrowError) -> FormatError {
    FormatError::Parquet { what: "building a segment's columns", source: source.into() }
}
