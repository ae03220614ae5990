//! The order of rows in a segment, and what is shared by the rows of a batch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tracelake_model::hash::trace_hash;
use tracelake_model::{Resource, Scope, SpanBatch, SpanView, TenantId};
use tracelake_otlp::json;

use super::WHAT;
use super::columns::AttributeColumn;
use crate::FormatError;

/// A row by where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowRef {
    hash: u64,
    source: u32,
    row: u32,
}

impl RowRef {
    /// Row `row` of a source; `hash` is the [`trace_hash`] of its trace.
    fn new(hash: u64, source: u32, row: u32) -> Self {
        Self { hash, source, row }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    #[inline]
    pub(super) fn source(&self) -> usize {
        self.source as usize
    }

    #[inline]
    pub(super) fn row(&self) -> usize {
        self.row as usize
    }

    #[inline]
    pub(super) fn span<'a>(&self, batches: &[&'a SpanBatch]) -> Option<SpanView<'a>> {
        Some(batches.get(self.source())?.span(self.row()))
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
        rows.extend(
            batch
                .trace_ids()
                .enumerate()
                .map(|(row, trace_id)| RowRef::new(trace_hash(trace_id), index, row as u32)),
        );
    }
    rows.sort_unstable_by_key(|row| row.hash);
    let key = |row: &RowRef| {
        let span = batches.get(row.source() - first_batch).map(|batch| batch.span(row.row as usize));
        (span.map(|span| (span.trace_id(), span.start_unix_nano(), span.span_id())), row.source, row.row)
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
    bytes: usize,
}

impl Texts {
    fn place(&mut self, text: &str) -> u32 {
        match self.by_text.get(text) {
            Some(place) => *place,
            None => {
                let place = self.texts.len() as u32;
                self.bytes += text.len();
                self.texts.push(text.to_owned());
                self.by_text.insert(text.to_owned(), place);
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
pub(super) struct Shared {
    pub(super) resources: Texts,
    /// By resource: its service.
    pub(super) services: Vec<Option<Box<str>>>,
    pub(super) scopes: Texts,
    slots: HashMap<String, u16>,
}

impl Shared {
    pub(super) fn new(columns: &[AttributeColumn]) -> Self {
        let slots = columns.iter().enumerate().map(|(slot, column)| (column.key.clone(), slot as u16));
        Self { slots: slots.collect(), ..Self::default() }
    }

    /// Adds what these batches refer to.
    pub(super) fn add(&mut self, batches: &[&SpanBatch]) -> Vec<Arc<BatchTables>> {
        // Batches share resources by pointer: then their text need not be written again to be compared.
        let mut resources: HashMap<*const Resource, u32> = HashMap::new();
        let mut scopes: HashMap<*const Scope, u32> = HashMap::new();
        let mut tables_of_batches = Vec::with_capacity(batches.len());
        for batch in batches {
            let mut tables = BatchTables::default();
            for resource in batch.resources() {
                let place =
                    *resources.entry(Arc::as_ptr(resource)).or_insert_with(|| self.place_resource(resource));
                tables.resources.push(place);
            }
            for scope in batch.scopes() {
                let place = *scopes.entry(Arc::as_ptr(scope)).or_insert_with(|| {
                    let mut text = String::new();
                    json::write_scope(&mut text, scope);
                    self.scopes.place(&text)
                });
                tables.scopes.push(place);
            }
            let slot = |text: &str| self.slots.get(text).copied().unwrap_or(NO_SLOT);
            tables.slots = batch.terms().iter().map(|(_, text)| slot(text)).collect();
            tables_of_batches.push(Arc::new(tables));
        }
        tables_of_batches
    }

    fn place_resource(&mut self, resource: &Resource) -> u32 {
        let mut text = String::new();
        json::write_resource(&mut text, resource);
        let place = self.resources.place(&text);
        if place as usize == self.services.len() {
            self.services.push(resource.service_name().map(Into::into));
        }
        place
    }

    /// Adds a resource as it stands in a segment.
    pub(super) fn place_resource_text(&mut self, text: &str) -> Result<u32, FormatError> {
        if let Some(place) = self.resources.by_text.get(text) {
            return Ok(*place);
        }
        let resource =
            json::parse_resource(text).map_err(|error| FormatError::damaged(WHAT, error.to_string()))?;
        self.services.push(resource.service_name().map(Into::into));
        Ok(self.resources.place(text))
    }

    /// Adds a scope as it stands in a segment.
    pub(super) fn place_scope_text(&mut self, text: &str) -> Result<u32, FormatError> {
        if let Some(place) = self.scopes.by_text.get(text) {
            return Ok(*place);
        }
        json::parse_scope(text).map_err(|error| FormatError::damaged(WHAT, error.to_string()))?;
        Ok(self.scopes.place(text))
    }

    /// Bytes of all the texts.
    pub(super) fn bytes(&self) -> usize {
        self.resources.bytes + self.scopes.bytes
    }

    /// Forgets the texts. Tables made before mean nothing from now on.
    pub(super) fn clear(&mut self) {
        self.resources = Texts::default();
        self.scopes = Texts::default();
        self.services.clear();
    }
}

/// A tenant's batches, each with its generation.
pub(super) type TenantBatches<'a> = (TenantId, Vec<(&'a SpanBatch, u64)>);

/// Tenants with their batches, by name.
pub(super) fn by_name<'a>(tenants: &[TenantBatches<'a>]) -> Vec<TenantBatches<'a>> {
    let mut merged: BTreeMap<TenantId, Vec<(&'a SpanBatch, u64)>> = BTreeMap::new();
    for (tenant, batches) in tenants {
        merged
            .entry(tenant.clone())
            .or_default()
            .extend(batches.iter().filter(|(batch, _)| !batch.is_empty()));
    }
    merged.into_iter().filter(|(_, batches)| !batches.is_empty()).collect()
}
