//! The order of rows in a segment, and what is shared by the rows of a batch.

use std::collections::HashMap;
use std::sync::Arc;

use tracelake_model::hash::trace_hash;
use tracelake_model::{Resource, Scope, SpanBatch, SpanView, TenantId};
use tracelake_otlp::json;

use super::columns::AttributeColumn;
use crate::FormatError;

/// A row by where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowRef {
    hash: u64,
    batch: u32,
    row: u32,
}

impl RowRef {
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    #[inline]
    pub(super) fn batch(&self) -> usize {
        self.batch as usize
    }

    #[inline]
    pub(super) fn span<'a>(&self, batches: &[&'a SpanBatch]) -> Option<SpanView<'a>> {
        Some(batches.get(self.batch())?.span(self.row as usize))
    }
}

/// The rows of one tenant's batches, `first_batch` of all batches being its first, in the order of the
/// segment: (trace_hash, trace_id, start, span_id), then as they came.
pub(super) fn sorted(batches: &[&SpanBatch], first_batch: usize) -> Result<Vec<RowRef>, FormatError> {
    let total: usize = batches.iter().map(|batch| batch.len()).sum();
    let last_batch = first_batch + batches.len();
    if u32::try_from(total).is_err() || u32::try_from(last_batch).is_err() {
        return Err(FormatError::TooLarge {
            what: "generation",
            size: total as u64,
            max: u64::from(u32::MAX),
        });
    }
    let mut rows = Vec::with_capacity(total);
    for (index, batch) in batches.iter().enumerate() {
        let index = (first_batch + index) as u32;
        rows.extend(batch.trace_ids().iter().enumerate().map(|(row, trace_id)| RowRef {
            hash: trace_hash(trace_id),
            batch: index,
            row: row as u32,
        }));
    }
    rows.sort_unstable_by_key(|row| row.hash);
    let key = |row: &RowRef| {
        let span = batches.get(row.batch() - first_batch).map(|batch| batch.span(row.row as usize));
        (span.map(|span| (span.trace_id(), span.start_unix_nano(), span.span_id())), row.batch, row.row)
    };
    for trace in rows.chunk_by_mut(|a, b| a.hash == b.hash) {
        if trace.len() > 1 {
            trace.sort_by_cached_key(key);
        }
    }
    Ok(rows)
}

/// What a segment has once however many rows refer to it: a resource's or scope's text.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) texts: Vec<String>,
    by_text: HashMap<String, u32>,
}

impl Texts {
    fn place(&mut self, text: String) -> u32 {
        match self.by_text.get(&text) {
            Some(place) => *place,
            None => {
                let place = self.texts.len() as u32;
                self.texts.push(text.clone());
                self.by_text.insert(text, place);
                place
            }
        }
    }
}

/// Tables beside a batch: from its own numbers to the segment's.
#[derive(Debug, Default)]
pub(super) struct BatchTables {
    pub(super) resources: Vec<u32>,
    pub(super) scopes: Vec<u32>,
    /// By term: which attribute column, if any.
    pub(super) slots: Vec<u16>,
}

/// No attribute column.
pub(super) const NO_SLOT: u16 = u16::MAX;

/// Everything that rows of a segment share.
#[derive(Debug, Default)]
pub(super) struct Shared<'a> {
    pub(super) resources: Texts,
    /// By resource: its service.
    pub(super) services: Vec<Option<&'a str>>,
    pub(super) scopes: Texts,
    pub(super) batches: Vec<BatchTables>,
}

impl<'a> Shared<'a> {
    pub(super) fn of(batches: &[&'a SpanBatch], columns: &[AttributeColumn]) -> Self {
        let slots: HashMap<&str, u16> =
            columns.iter().enumerate().map(|(slot, column)| (column.key.as_str(), slot as u16)).collect();
        let mut shared = Self::default();
        // Batches share resources by pointer: then their text need not be written again to be compared.
        let mut resources: HashMap<*const Resource, u32> = HashMap::new();
        let mut scopes: HashMap<*const Scope, u32> = HashMap::new();
        for batch in batches {
            let mut tables = BatchTables::default();
            for resource in batch.resources() {
                let place = *resources.entry(Arc::as_ptr(resource)).or_insert_with(|| {
                    let mut text = String::new();
                    json::write_resource(&mut text, resource);
                    let place = shared.resources.place(text);
                    if place as usize == shared.services.len() {
                        shared.services.push(resource.service_name());
                    }
                    place
                });
                tables.resources.push(place);
            }
            for scope in batch.scopes() {
                let place = *scopes.entry(Arc::as_ptr(scope)).or_insert_with(|| {
                    let mut text = String::new();
                    json::write_scope(&mut text, scope);
                    shared.scopes.place(text)
                });
                tables.scopes.push(place);
            }
            tables.slots =
                batch.terms().iter().map(|(_, text)| slots.get(text).copied().unwrap_or(NO_SLOT)).collect();
            shared.batches.push(tables);
        }
        shared
    }
}

/// The tenants of a generation with their batches, by name.
pub(super) fn by_name<'a>(tenants: &[(TenantId, Vec<&'a SpanBatch>)]) -> Vec<(TenantId, Vec<&'a SpanBatch>)> {
    let mut merged: std::collections::BTreeMap<TenantId, Vec<&'a SpanBatch>> = Default::default();
    for (tenant, batches) in tenants {
        merged.entry(tenant.clone()).or_default().extend(batches.iter().filter(|batch| !batch.is_empty()));
    }
    merged.into_iter().filter(|(_, batches)| !batches.is_empty()).collect()
}
