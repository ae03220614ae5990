//! Spans in memory: everything that is acknowledged and not yet in a segment.
//!
//! One memtable is one generation and has exactly the frames of one WAL file. Only the WAL's thread
//! adds to it, after the fsync, so that no query shows what a crash could take back. It is searched
//! by trace ID while it grows; batches are immutable and are handed out by reference.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use hashbrown::HashMap;
use tracelake_model::hash::trace_hash;
use tracelake_model::{SpanBatch, TenantId, TraceId};
use ulid::Ulid;

/// A generation in memory.
#[derive(Debug)]
pub struct Memtable {
    wal: Ulid,
    generation: u64,
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    tenants: BTreeMap<TenantId, TenantTable>,
    spans: u64,
    heap_bytes: u64,
    first_arrival_unix_nano: Option<u64>,
    last_arrival_unix_nano: u64,
}

#[derive(Debug, Default)]
struct TenantTable {
    batches: Vec<Arc<SpanBatch>>,
    /// The newest run of each trace, by the trace's hash; older ones follow by `Run::previous`.
    /// Traces whose hashes are equal share a chain.
    newest_run: HashMap<u64, u32, foldhash::fast::FixedState>,
    runs: Vec<Run>,
}

/// Neighbouring rows of one batch that belong to one trace.
#[derive(Debug, Clone, Copy)]
struct Run {
    batch: u32,
    row: u32,
    /// [`NO_RUN`] ends the chain.
    previous: u32,
}

const NO_RUN: u32 = u32::MAX;

/// A map's slot and its share of empty ones, for accounting.
const MAP_ENTRY_BYTES: u64 = 32;

/// Rows of one batch that belong to the trace that was asked for.
#[derive(Debug, Clone)]
pub struct TraceRows {
    /// The batch.
    pub batch: Arc<SpanBatch>,
    /// Its rows, ascending.
    pub rows: Vec<u32>,
}

/// How much a memtable holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemtableSize {
    /// Rows.
    pub spans: u64,
    /// Memory, index included.
    pub heap_bytes: u64,
    /// Tenants that have rows.
    pub tenants: usize,
    /// When its first request arrived.
    pub first_arrival_unix_nano: Option<u64>,
    /// When its last request arrived.
    pub last_arrival_unix_nano: u64,
}

impl Memtable {
    /// An empty one, for the file of a log with this sequence number.
    pub fn new(wal: Ulid, generation: u64) -> Self {
        Self { wal, generation, tables: RwLock::default() }
    }

    /// The log that its file is of.
    pub fn wal(&self) -> Ulid {
        self.wal
    }

    /// Its generation, which is the sequence number of its WAL file.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Adds batches, in the order of the WAL.
    pub fn publish(&self, batches: impl IntoIterator<Item = (TenantId, Arc<SpanBatch>, u64)>) {
        // A panic while the lock is held can only be one of allocation: what is there is whole.
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let tables = &mut *tables;
        for (tenant, batch, arrival_unix_nano) in batches {
            tables.spans += batch.len() as u64;
            tables.heap_bytes += batch.heap_bytes() as u64;
            tables.first_arrival_unix_nano.get_or_insert(arrival_unix_nano);
            tables.last_arrival_unix_nano = tables.last_arrival_unix_nano.max(arrival_unix_nano);
            tables.heap_bytes += tables.tenants.entry(tenant).or_default().add(batch);
        }
    }

    /// The rows of a trace, oldest batch first, at most `rows_max` of them; whether there are more.
    pub fn find(&self, tenant: &TenantId, trace_id: &TraceId, rows_max: usize) -> (Vec<TraceRows>, bool) {
        let tables = self.read();
        let Some(table) = tables.tenants.get(tenant) else { return (Vec::new(), false) };
        table.find(trace_id, rows_max)
    }

    /// How much it holds.
    pub fn size(&self) -> MemtableSize {
        let tables = self.read();
        MemtableSize {
            spans: tables.spans,
            heap_bytes: tables.heap_bytes,
            tenants: tables.tenants.len(),
            first_arrival_unix_nano: tables.first_arrival_unix_nano,
            last_arrival_unix_nano: tables.last_arrival_unix_nano,
        }
    }

    /// Whether the tenant has rows here.
    pub fn has_tenant(&self, tenant: &TenantId) -> bool {
        self.read().tenants.contains_key(tenant)
    }

    /// The batches of every tenant, by name, as of now.
    pub fn batches(&self) -> Vec<(TenantId, Vec<Arc<SpanBatch>>)> {
        let tables = self.read();
        tables.tenants.iter().map(|(tenant, table)| (tenant.clone(), table.batches.clone())).collect()
    }

    /// The batches of one tenant, as of now.
    pub fn batches_of(&self, tenant: &TenantId) -> Vec<Arc<SpanBatch>> {
        self.read().tenants.get(tenant).map(|table| table.batches.clone()).unwrap_or_default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TenantTable {
    /// Returns the bytes that the index grew by.
    fn add(&mut self, batch: Arc<SpanBatch>) -> u64 {
        let (runs_before, traces_before) = (self.runs.len(), self.newest_run.len());
        let batch_index = self.batches.len() as u32;
        let mut last: Option<&TraceId> = None;
        for (row, trace_id) in batch.trace_ids().enumerate() {
            if last == Some(trace_id) {
                continue;
            }
            last = Some(trace_id);
            let run = self.runs.len() as u32;
            let newest = self.newest_run.entry(trace_hash(trace_id)).or_insert(NO_RUN);
            self.runs.push(Run { batch: batch_index, row: row as u32, previous: *newest });
            *newest = run;
        }
        self.batches.push(batch);
        ((self.runs.len() - runs_before) * size_of::<Run>()) as u64
            + (self.newest_run.len() - traces_before) as u64 * MAP_ENTRY_BYTES
    }

    fn find(&self, trace_id: &TraceId, rows_max: usize) -> (Vec<TraceRows>, bool) {
        let mut found: Vec<TraceRows> = Vec::new();
        let mut left = rows_max;
        let mut more = false;
        let mut next = self.newest_run.get(&trace_hash(trace_id)).copied().unwrap_or(NO_RUN);
        // The chain goes from the newest to the oldest: turned round at the end.
        while let Some(run) = self.runs.get(next as usize) {
            next = run.previous;
            let Some(batch) = self.batches.get(run.batch as usize) else { continue };
            let rest = batch.trace_ids_from(run.row as usize);
            let len = rest.take_while(|other| *other == trace_id).count();
            let taken = len.min(left);
            left -= taken;
            let rows = (run.row..run.row + taken as u32).rev();
            match found.last_mut() {
                Some(last) if Arc::ptr_eq(&last.batch, batch) => last.rows.extend(rows),
                _ if taken > 0 => found.push(TraceRows { batch: Arc::clone(batch), rows: rows.collect() }),
                _ => {}
            }
            if taken < len {
                more = true;
                break;
            }
        }
        found.reverse();
        found.iter_mut().for_each(|part| part.rows.reverse());
        (found, more)
    }
}

#[cfg(test)]
mod tests;
