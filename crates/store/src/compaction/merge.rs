//! The merge itself: rows of all inputs in the one order that they all have, each to the slice that its
//! trace belongs to, exact duplicates left out. Runs on a thread that may block.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use object_store::ObjectStore;
use tokio::runtime::Handle;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{
    AttributeColumns, OpenSegment, RowGroupReader, SegmentPlan, SegmentWriterOptions, TraceEntry,
    WholeSegment,
};
use tracelake_model::{SpanBatch, TenantId, TraceId};
use ulid::Ulid;

use super::cursor::{Cursor, RowKey, Source, Window};
use super::output::{Output, Put};
use super::slices::{SLICES_MAX, Sampled, Slices};
use crate::StoreError;
use crate::segments::{Segments, damaged};

/// Rows of all inputs' windows together, and of one.
const WINDOWS_ROWS: usize = 16_384;
const WINDOW_ROWS: (usize, usize) = (16, 2_048);

/// Bytes of those rows, decoded, and how many times a row's bytes in its file that is.
const WINDOWS_BYTES: u64 = 32 << 20;
const DECODED_RATIO: u64 = 10;

/// Rows between two looks at whether others want to get on.
const ROWS_BETWEEN: u64 = 2_048;

/// Rows of all inputs by which it is decided how columns are written.
const PLAN_ROWS: usize = 8_192;

/// Blocks of an input's directory by which slices are chosen.
const SAMPLED_BLOCKS: usize = 16;

/// Rows of one span ID and start that are compared: there are two where a request was sent twice.
const COMPARED_MAX: usize = 16;

/// What a merge needs from outside.
pub(crate) struct MergeEnv<'a> {
    pub(crate) runtime: Handle,
    pub(crate) segments: &'a Segments,
    pub(crate) object_store: Arc<dyn ObjectStore>,
    pub(crate) writer_options: SegmentWriterOptions,
    /// What the clock says: times far ahead of it are impossible.
    pub(crate) now_unix_nano: u64,
    /// The size that outputs shall have.
    pub(crate) slice_bytes: u64,
    /// Names outputs.
    pub(crate) next_id: &'a (dyn Fn() -> Ulid + Sync),
    /// Called now and then: may wait, so that others get on, and may end the merge.
    pub(crate) between: &'a (dyn Fn() -> Result<(), StoreError> + Sync),
    /// Called before each output is finished: a crash may fall there.
    pub(crate) before_output: &'a (dyn Fn() -> Result<(), StoreError> + Sync),
}

/// What became of the inputs.
#[derive(Debug)]
pub(crate) struct Merged {
    /// Durable, and in no manifest.
    pub(crate) outputs: Vec<Put>,
    /// Rows that were left out because another is the same.
    pub(crate) duplicates: u64,
}

/// Merges segments into as few as their size and their times allow. Rows of the tenants in `expired` are
/// left out.
pub(crate) fn merge(
    env: &MergeEnv<'_>,
    inputs: &[SegmentEntry],
    columns: &AttributeColumns,
    expired: &BTreeSet<TenantId>,
) -> Result<Merged, StoreError> {
    // Older segments first: of two equal rows the older one stays.
    let mut inputs: Vec<&SegmentEntry> = inputs.iter().collect();
    inputs.sort_by_key(|entry| (entry.meta.generation_min, entry.meta.id));
    let tenants: BTreeSet<&TenantId> =
        inputs.iter().flat_map(|entry| &entry.meta.tenants).map(|part| &part.tenant).collect();
    let tenants: Vec<TenantId> = tenants.into_iter().cloned().collect();
    let mut opened = Vec::with_capacity(inputs.len());
    for entry in &inputs {
        (env.between)()?;
        opened.push(Arc::new(env.runtime.block_on(env.segments.open_whole(entry))?));
    }
    let survey = survey(env, &inputs, &opened, columns)?;
    let rows_expected: u64 = inputs.iter().map(|entry| entry.meta.rows).sum();
    let expired: Vec<bool> = tenants.iter().map(|tenant| expired.contains(tenant)).collect();
    let is_expired = |tenant: u32| expired.get(tenant as usize).copied().unwrap_or(false);
    let bytes: u64 = inputs.iter().map(|entry| entry.meta.size_bytes).sum();
    let row_bytes = (bytes / rows_expected.max(1)).max(1) * DECODED_RATIO;
    let rows_at_once = WINDOWS_ROWS.min(usize::try_from(WINDOWS_BYTES / row_bytes).unwrap_or(usize::MAX));
    let window_rows = (rows_at_once / inputs.len().max(1)).clamp(WINDOW_ROWS.0, WINDOW_ROWS.1);
    let source = Source { runtime: &env.runtime, segments: env.segments, plan: &survey.plan, window_rows };
    let mut cursors = Vec::with_capacity(inputs.len());
    for (number, (entry, opened)) in inputs.iter().zip(opened).enumerate() {
        cursors.push(Cursor::open(&source, entry, opened, number as u64, &tenants)?);
    }
    let level = inputs.iter().map(|entry| entry.meta.level).max().unwrap_or(0) + 1;
    let mut sink = Sink {
        env,
        plan: &survey.plan,
        level,
        tenants,
        slices: survey.slices,
        outputs: (0..SLICES_MAX).map(|_| None).collect(),
        trace: None,
        slice: 0,
        same: Vec::new(),
        rows: 0,
        duplicates: 0,
        expired: 0,
    };

    // An input goes on by itself as long as its rows come before all others': most traces are in one.
    let heads = cursors.iter().enumerate().filter_map(|(at, cursor)| Some(Reverse((cursor.key()?, at))));
    let mut heads: BinaryHeap<Reverse<(RowKey, usize)>> = heads.collect();
    while let Some(Reverse((_, at))) = heads.pop() {
        let Some(cursor) = cursors.get_mut(at) else { continue };
        let next_best = heads.peek().map(|Reverse(head)| *head);
        while let Some((key, window, row)) = cursor.at() {
            if is_expired(key.tenant) {
                sink.expired += 1;
            } else {
                sink.push(key, window, row)?;
            }
            if (sink.rows + sink.duplicates + sink.expired).is_multiple_of(ROWS_BETWEEN) {
                (env.between)()?;
            }
            cursor.advance(&source)?;
            let Some(next) = cursor.key() else { break };
            if next_best.is_some_and(|best| best < (next, at)) {
                heads.push(Reverse((next, at)));
                break;
            }
        }
    }
    let (rows, duplicates) = (sink.rows, sink.duplicates);
    assert_eq!(
        rows + duplicates + sink.expired,
        rows_expected,
        "a merge keeps every row that is no duplicate"
    );
    let parts = inputs.iter().flat_map(|entry| &entry.meta.tenants);
    let expired_parts =
        parts.filter(|part| sink.tenants.binary_search(&part.tenant).is_ok_and(|at| is_expired(at as u32)));
    let rows_expired: u64 = expired_parts.map(|part| part.rows).sum();
    assert_eq!(sink.expired, rows_expired, "whose rows are left out, all of theirs are, and nobody else's");
    let mut outputs = Vec::new();
    for output in sink.outputs.into_iter().flatten() {
        (env.between)()?;
        (env.before_output)()?;
        outputs.push(output.finish()?);
    }
    let written: u64 = outputs.iter().map(|output| output.entry.meta.rows).sum();
    assert_eq!(written, rows, "what was merged is in the outputs");
    Ok(Merged { outputs, duplicates })
}

/// Rows on their way to the outputs.
struct Sink<'a> {
    env: &'a MergeEnv<'a>,
    plan: &'a SegmentPlan,
    level: u32,
    tenants: Vec<TenantId>,
    slices: Slices,
    outputs: Vec<Option<Output>>,
    /// The trace of the row before, and the slice that it goes to.
    trace: Option<(u32, TraceId)>,
    slice: usize,
    /// Rows with the key of the row before.
    same: Vec<(RowKey, Arc<Window>, usize)>,
    rows: u64,
    duplicates: u64,
    expired: u64,
}

impl Sink<'_> {
    fn push(&mut self, key: RowKey, window: &Arc<Window>, row: usize) -> Result<(), StoreError> {
        if self.is_duplicate(&key, window, row)? {
            self.duplicates += 1;
            return Ok(());
        }
        if self.trace != Some((key.tenant, key.trace_id)) {
            // Its first row is its earliest.
            self.trace = Some((key.tenant, key.trace_id));
            self.slice = self.slices.of_trace(key.start_unix_nano, key.hash);
        }
        let slice = self.slice.min(self.outputs.len().saturating_sub(1));
        let (Some(output), Some(tenant)) =
            (self.outputs.get_mut(slice), self.tenants.get(key.tenant as usize))
        else {
            return Ok(());
        };
        self.rows += 1;
        let output = match output {
            Some(output) => output,
            None => output.insert(Output::begin(
                (self.env.next_id)(),
                self.level,
                self.plan,
                &self.env.writer_options,
                Arc::clone(&self.env.object_store),
                self.env.runtime.clone(),
            )?),
        };
        output.push(tenant, window, row)
    }

    fn is_duplicate(&mut self, key: &RowKey, window: &Arc<Window>, row: usize) -> Result<bool, StoreError> {
        if self.same.first().is_none_or(|(same, ..)| same != key) {
            self.same.clear();
        } else {
            let spans = window.spans()?;
            for (_, same, row_of_same) in &self.same {
                let same = same.spans()?.span(*row_of_same);
                if same.is_duplicate_of(&spans.span(row)) {
                    return Ok(true);
                }
            }
        }
        if self.same.len() < COMPARED_MAX {
            self.same.push((*key, Arc::clone(window), row));
        }
        Ok(false)
    }
}

/// What is decided before the first row.
struct Survey {
    plan: SegmentPlan,
    slices: Slices,
}

/// Looks at a few rows and traces of each input.
fn survey(
    env: &MergeEnv<'_>,
    inputs: &[&SegmentEntry],
    opened: &[Arc<WholeSegment>],
    columns: &AttributeColumns,
) -> Result<Survey, StoreError> {
    let mut rows: Vec<SpanBatch> = Vec::new();
    let mut traces: Vec<Sampled> = Vec::new();
    let mut present = BTreeSet::new();
    let rows_of_input = (PLAN_ROWS / inputs.len().max(1)).max(256);
    for (entry, opened) in inputs.iter().zip(opened) {
        (env.between)()?;
        let segment = opened.segment();
        present.extend(segment.attribute_columns().iter().map(|column| column.key.clone()));
        rows.extend(sample_rows(env, entry, opened, rows_of_input)?);
        sample_traces(env, entry, segment, &mut traces)?;
    }
    let bytes: u64 = inputs.iter().map(|entry| entry.meta.size_bytes).sum();
    let slices = (bytes + env.slice_bytes / 2) / env.slice_bytes.max(1);
    let slices = Slices::of(traces, slices, env.now_unix_nano);
    let sample: Vec<&SpanBatch> = rows.iter().collect();
    Ok(Survey { plan: SegmentPlan::of_sample(&sample, columns, &present), slices })
}

/// Rows in the middle: where rows of all inputs will be neighbours.
fn sample_rows(
    env: &MergeEnv<'_>,
    entry: &SegmentEntry,
    opened: &Arc<WholeSegment>,
    rows: usize,
) -> Result<Option<SpanBatch>, StoreError> {
    let middle = opened.segment().row_groups() / 2;
    let Some((range, _)) = RowGroupReader::range(opened, middle) else { return Ok(None) };
    let bytes = env.runtime.block_on(env.segments.read_range(entry, range.clone()))?;
    let mut reader = RowGroupReader::new(Arc::clone(opened), middle, (range, bytes), rows)
        .map_err(|error| damaged(entry, error))?;
    let first = reader.next().transpose().and_then(|rows| rows.map(|rows| rows.spans()).transpose());
    first.map_err(|error| damaged(entry, error))
}

fn sample_traces(
    env: &MergeEnv<'_>,
    entry: &SegmentEntry,
    segment: &OpenSegment,
    traces: &mut Vec<Sampled>,
) -> Result<(), StoreError> {
    let blocks: Vec<_> =
        entry.meta.tenants.iter().flat_map(|part| segment.directory_block_ranges(&part.tenant)).collect();
    let step = blocks.len().div_ceil(SAMPLED_BLOCKS).max(1);
    for block in blocks.into_iter().step_by(step) {
        let bytes = env.runtime.block_on(env.segments.read_range(entry, block.clone()))?;
        let block = segment.directory_block(&block, &bytes).map_err(|error| damaged(entry, error))?;
        // One of few blocks speaks for more rows.
        let rows = |trace: &TraceEntry| trace.rows.saturating_mul(step as u64);
        traces.extend(block.entries().map(|trace| (trace.start_unix_nano_min, rows(&trace))));
    }
    Ok(())
}
