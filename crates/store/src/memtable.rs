//! Spans in memory: everything that is acknowledged and not yet in a segment.
//!
//! One memtable has exactly the frames of one WAL file: one generation, or several, as a search whose pages
//! come one by one ends the generation that it sees ([`Memtable::cut`]). Only the WAL's thread adds to it, after
//! the fsync, so that no query shows what a crash could take back. It is searched by trace ID while it grows;
//! batches are immutable and are handed out by reference.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use hashbrown::HashMap;
use tracelake_model::hash::trace_hash;
use tracelake_model::{SpanBatch, TenantId, TraceId};
use ulid::Ulid;

/// The spans of one WAL file.
#[derive(Debug)]
pub struct Memtable {
    wal: Ulid,
    wal_sequence: u64,
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    tenants: BTreeMap<TenantId, TenantTable>,
    spans: u64,
    heap_bytes: u64,
    first_arrival_unix_nano: Option<u64>,
    last_arrival_unix_nano: u64,
    /// Groups of the WAL so far.
    groups: u32,
    /// Behind how many groups a generation ended, ascending.
    cuts: Vec<u32>,
    is_frozen: bool,
}

#[derive(Debug, Default)]
struct TenantTable {
    batches: Vec<Arc<SpanBatch>>,
    /// Of each batch the number of its group, from 1 on; ascending.
    groups: Vec<u32>,
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

/// A batch, and how many of its memtable's [generations](Memtable::cut) were before it.
pub type NumberedBatch = (Arc<SpanBatch>, u32);

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
    pub fn new(wal: Ulid, wal_sequence: u64) -> Self {
        Self { wal, wal_sequence, tables: RwLock::default() }
    }

    /// The log that its file is of.
    pub fn wal(&self) -> Ulid {
        self.wal
    }

    /// The sequence number of its file.
    pub fn wal_sequence(&self) -> u64 {
        self.wal_sequence
    }

    /// Adds batches, in the order of the WAL.
    pub fn publish(&self, batches: impl IntoIterator<Item = (TenantId, Arc<SpanBatch>, u64)>) {
        // A panic while the lock is held can only be one of allocation: what is there is whole.
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let tables = &mut *tables;
        tables.groups += 1;
        let group = tables.groups;
        for (tenant, batch, arrival_unix_nano) in batches {
            tables.spans += batch.len() as u64;
            tables.heap_bytes += batch.heap_bytes() as u64;
            tables.first_arrival_unix_nano.get_or_insert(arrival_unix_nano);
            tables.last_arrival_unix_nano = tables.last_arrival_unix_nano.max(arrival_unix_nano);
            tables.heap_bytes += tables.tenants.entry(tenant).or_default().add(batch, group);
        }
    }

    /// The rows of a trace, oldest batch first, at most `rows_max` of them; whether there are more.
    pub fn find(&self, tenant: &TenantId, trace_id: &TraceId, rows_max: usize) -> (Vec<TraceRows>, bool) {
        self.find_until(tenant, trace_id, rows_max, u32::MAX)
    }

    /// The same up to one of its [generations](Self::cut).
    pub fn find_until(
        &self,
        tenant: &TenantId,
        trace_id: &TraceId,
        rows_max: usize,
        generation: u32,
    ) -> (Vec<TraceRows>, bool) {
        let tables = self.read();
        let Some(table) = tables.tenants.get(tenant) else { return (Vec::new(), false) };
        table.find(trace_id, rows_max, tables.groups_until(generation))
    }

    /// Ends the generation that is in progress: what is published from now on is of a later one. Gives how many of
    /// its generations were before the one that ended.
    pub fn cut(&self) -> u32 {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let groups = tables.groups;
        if !tables.is_frozen && tables.cuts.last() != Some(&groups) {
            tables.cuts.push(groups);
        }
        let ended = tables.cuts.len() as u32;
        if tables.cuts.last() == Some(&groups) { ended.saturating_sub(1) } else { ended }
    }

    /// Ends a generation where a group of the WAL says that one ended: as many groups ago.
    pub(crate) fn cut_before(&self, groups_ago: u32) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let Some(groups) = tables.groups.checked_sub(groups_ago) else { return };
        if let Err(place) = tables.cuts.binary_search(&groups) {
            tables.cuts.insert(place, groups);
        }
    }

    /// Whether a generation ended behind the last group, and behind the one before it.
    pub(crate) fn last_cuts(&self) -> [bool; 2] {
        let tables = self.read();
        let is_cut = |groups: u32| tables.cuts.binary_search(&groups).is_ok();
        [0, 1].map(|ago| tables.groups.checked_sub(ago).is_some_and(is_cut))
    }

    /// How many of its generations are before the last one.
    pub fn later_generations(&self) -> u32 {
        self.read().cuts.len() as u32
    }

    /// Nothing is published in it any more, and no generation of it ends.
    pub(crate) fn freeze(&self) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).is_frozen = true;
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

    /// The batches of every tenant, by name, as of now, each with how many of the memtable's
    /// [generations](Self::cut) were before it.
    pub fn batches(&self) -> Vec<(TenantId, Vec<NumberedBatch>)> {
        let tables = self.read();
        let before = |group: &u32| tables.cuts.partition_point(|cut| cut < group) as u32;
        let of_tenant = |(tenant, table): (&TenantId, &TenantTable)| {
            let batches = table.batches.iter().cloned().zip(table.groups.iter().map(before));
            (tenant.clone(), batches.collect())
        };
        tables.tenants.iter().map(of_tenant).collect()
    }

    /// The batches of one tenant, as of now.
    pub fn batches_of(&self, tenant: &TenantId) -> Vec<Arc<SpanBatch>> {
        self.batches_until(tenant, u32::MAX)
    }

    /// The same up to one of its [generations](Self::cut).
    pub fn batches_until(&self, tenant: &TenantId, generation: u32) -> Vec<Arc<SpanBatch>> {
        let tables = self.read();
        let Some(table) = tables.tenants.get(tenant) else { return Vec::new() };
        let groups = tables.groups_until(generation);
        let until = table.groups.partition_point(|group| *group <= groups);
        table.batches.iter().take(until).cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// The groups that are of so many generations and one more.
    fn groups_until(&self, generation: u32) -> u32 {
        self.cuts.get(generation as usize).copied().unwrap_or(u32::MAX)
    }
}

impl TenantTable {
    /// Returns the bytes that the index grew by.
    fn add(&mut self, batch: Arc<SpanBatch>, group: u32) -> u64 {
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
        self.groups.push(group);
        ((self.runs.len() - runs_before) * size_of::<Run>()) as u64
            + (self.newest_run.len() - traces_before) as u64 * MAP_ENTRY_BYTES
    }

    fn find(&self, trace_id: &TraceId, rows_max: usize, groups: u32) -> (Vec<TraceRows>, bool) {
        let mut found: Vec<TraceRows> = Vec::new();
        let mut left = rows_max;
        let mut more = false;
        let mut next = self.newest_run.get(&trace_hash(trace_id)).copied().unwrap_or(NO_RUN);
        // The chain goes from the newest to the oldest: turned round at the end.
        while let Some(run) = self.runs.get(next as usize) {
            next = run.previous;
            let Some(batch) = self.batches.get(run.batch as usize) else { continue };
            if self.groups.get(run.batch as usize).is_none_or(|group| *group > groups) {
                continue;
            }
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
