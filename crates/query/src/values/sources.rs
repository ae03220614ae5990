//! Going through the sources of a listing: the memtables and every segment that has spans in the range, several at
//! once; by the index where there is one and it can tell, else by the rows.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tracelake_model::{SpanBatch, TenantId, limits};
use tracelake_store::format::FormatError;
use tracelake_store::format::manifest::SegmentEntry;
use tracelake_store::format::segment::{
    IndexBytes, IndexHeader, IndexPart, OpenSegment, Projection, TraceSet,
};
use tracelake_store::report::ReadReport;
use tracelake_store::{Snapshot, Store, StoreError};

use super::asked::Asked;
use super::indexed;
use super::rows::RowCounter;
use super::tally::Tally;
use crate::gap::{Gap, GapKind};
use crate::lookup::{twice, unread};
use crate::search;

/// What the rows of a segment that are decoded together may take.
const WINDOW_BYTES: usize = 32 << 20;

/// What a listing may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValuesLimits {
    /// Sources that are gone through at once.
    pub(crate) workers: usize,
    /// How long it may take.
    pub(crate) time_max: Duration,
}

/// What was counted in all sources, and what lacks.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) tally: Tally,
    pub(super) missing: Vec<Gap>,
    pub(super) complete_up_to_unix_nano: u64,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Memtables,
    /// By its place in the manifest.
    Segment(usize),
}

/// How a part of an index is counted.
enum Part {
    /// Nothing of it is asked for.
    Passed,
    Rows(Range<u64>),
    Index {
        header: Arc<IndexHeader>,
        bytes: IndexBytes,
        /// None: all of its traces.
        within: Option<TraceSet>,
    },
}

struct Work {
    store: Store,
    tenant: TenantId,
    snapshot: Snapshot,
    asked: Arc<Asked>,
    projection: Projection,
    reads: ReadReport,
}

/// Goes through all sources until the time is over.
pub(super) async fn count(
    store: Store,
    tenant: TenantId,
    asked: Arc<Asked>,
    limits: ValuesLimits,
) -> Counted {
    // Before anything is looked at.
    let complete_up_to_unix_nano = store.now_unix_nano();
    let deadline = tokio::time::Instant::now() + limits.time_max;
    let snapshot = store.snapshot();
    let projection = asked.projection();
    let reads = ReadReport::default();
    let work = Arc::new(Work { store, tenant, snapshot, asked, projection, reads });
    let counting = work.sources().into_iter().map(|source| {
        let work = Arc::clone(&work);
        async move { work.of_source(source).await }
    });
    let mut counting = futures::stream::iter(counting).buffer_unordered(limits.workers.max(1));
    let (mut tally, mut missing) = (Tally::new(), Vec::new());
    loop {
        match tokio::time::timeout_at(deadline, counting.next()).await {
            Ok(Some(Ok(of_source))) => tally.merge(&of_source),
            Ok(Some(Err(gap))) => missing.push(gap),
            Ok(None) => break,
            Err(_) => {
                missing.push(Gap::late_search(limits.time_max));
                break;
            }
        }
    }
    if tally.is_over() {
        missing.push(too_many());
    }
    if tally.lacks_fields() {
        missing.push(too_many_fields());
    }
    work.store.segments().account(&work.reads);
    Counted { tally, missing, complete_up_to_unix_nano }
}

impl Work {
    fn sources(&self) -> Vec<Source> {
        let segments = self.snapshot.partitions.of_starts(&self.tenant, self.asked.starts.clone());
        let segments = segments.map(|partition| Source::Segment(partition.segment));
        std::iter::once(Source::Memtables).chain(segments).collect()
    }

    async fn of_source(&self, source: Source) -> Result<Arc<Tally>, Gap> {
        match source {
            Source::Memtables => self.of_memtables().await,
            Source::Segment(at) => match self.snapshot.manifest.segments.get(at) {
                Some(entry) => {
                    self.of_segment(entry).await.map_err(|error| unread(&self.store, entry, &error))
                }
                None => Ok(Arc::new(Tally::new())),
            },
        }
    }

    async fn of_memtables(&self) -> Result<Arc<Tally>, Gap> {
        let memtables = self.snapshot.memtables();
        let batches: Vec<Arc<SpanBatch>> =
            memtables.flat_map(|memtable| memtable.batches_of(&self.tenant)).collect();
        let asked = Arc::clone(&self.asked);
        let counting = tokio::task::spawn_blocking(move || {
            let mut counter = RowCounter::new();
            counter.add_batches(&asked, &batches);
            Arc::new(counter.tally)
        });
        counting.await.map_err(|_| Gap::memtables_unread())
    }

    async fn of_segment(&self, entry: &SegmentEntry) -> Result<Arc<Tally>, StoreError> {
        let (segments, reads) = (self.store.segments(), &self.reads);
        let starts = &self.asked.starts;
        let is_whole =
            entry.meta.start_unix_nano_min >= starts.start && entry.meta.start_unix_nano_max < starts.end;
        let opened = twice(|| segments.opened(entry, reads)).await?;
        let mut counter = RowCounter::new();
        if !opened.has_index() {
            let of_tenant = entry.meta.tenant(&self.tenant);
            let rows = of_tenant.map_or(0..0, |(_, part)| part.first_row..part.first_row + part.rows);
            counter = self.scan(entry, rows, counter).await?;
        }
        for part in opened.index_parts_of(&self.tenant) {
            match twice(|| self.read_part(entry, &opened, part, is_whole)).await? {
                Part::Passed => {}
                Part::Rows(rows) => counter = self.scan(entry, rows, counter).await?,
                Part::Index { header, bytes, within } => {
                    let asked = Arc::clone(&self.asked);
                    let counting = tokio::task::spawn_blocking(move || {
                        let within = within.as_ref();
                        let counted = indexed::count(&asked, &header, within, &bytes, &mut counter.tally);
                        (counter, counted)
                    });
                    let (after, counted) = counting.await.map_err(died)?;
                    counter = after;
                    if !counted.map_err(|error| segments.damaged(entry, error))? {
                        counter = self.scan(entry, part.row_range(), counter).await?;
                    }
                }
            }
        }
        Ok(Arc::new(counter.tally))
    }

    /// What is to be known of a part.
    async fn read_part(
        &self,
        entry: &SegmentEntry,
        opened: &OpenSegment,
        part: &IndexPart,
        is_whole: bool,
    ) -> Result<Part, StoreError> {
        let (segments, reads) = (self.store.segments(), &self.reads);
        let header = segments.index_header(entry, opened, part, reads).await?;
        let mut within = None;
        if !is_whole {
            let table = segments.index_traces(entry, opened, &header, reads).await?;
            let overlapping = indexed::overlapping(&table, &self.asked.starts);
            if overlapping.is_empty() {
                return Ok(Part::Passed);
            }
            within = (!overlapping.is_full()).then_some(overlapping);
        }
        if self.asked.condition.is_some() {
            return self.read_conditioned(entry, opened, header, within).await;
        }
        let Some(wanted) = indexed::ranges(&self.asked.question, &header, within.is_some()) else {
            return Ok(Part::Rows(part.row_range()));
        };
        let bytes = segments.index_bytes(entry, opened, &wanted, reads).await?;
        Ok(Part::Index { header, bytes, within })
    }

    /// The rows of a part from the first to the last trace that may satisfy the condition.
    async fn read_conditioned(
        &self,
        entry: &SegmentEntry,
        opened: &OpenSegment,
        header: Arc<IndexHeader>,
        within: Option<TraceSet>,
    ) -> Result<Part, StoreError> {
        let (segments, reads) = (self.store.segments(), &self.reads);
        let table = segments.index_traces(entry, opened, &header, reads).await?;
        let condition = self.asked.condition.iter();
        let wanted: Vec<_> =
            condition.flat_map(|condition| search::indexed::ranges(condition, &header)).collect();
        let bytes = segments.index_bytes(entry, opened, &wanted, reads).await?;
        let asked = Arc::clone(&self.asked);
        let naming = tokio::task::spawn_blocking(move || {
            let full = || TraceSet::full(header.part().traces);
            let mut traces = within.unwrap_or_else(full);
            if let Some(condition) = &asked.condition
                && let Some(found) = search::indexed::traces(condition, &header, &table, &bytes)?
            {
                traces.and(&found);
            }
            let (first, last) = (traces.iter().next(), traces.iter().last());
            let rows = first.zip(last).map(|(first, last)| table.rows(first).start..table.rows(last).end);
            Ok(rows.map_or(Part::Passed, Part::Rows))
        });
        naming.await.map_err(died)?.map_err(|error: FormatError| segments.damaged(entry, error))
    }

    /// Adds rows of a segment, in the columns that are asked of.
    async fn scan(
        &self,
        entry: &SegmentEntry,
        mut rows: Range<u64>,
        mut counter: RowCounter,
    ) -> Result<RowCounter, StoreError> {
        let segments = self.store.segments();
        while !rows.is_empty() {
            let read =
                || segments.read_rows(entry, rows.clone(), &self.projection, WINDOW_BYTES, &self.reads);
            let read = twice(read).await?;
            rows.start += (read.batch.len() as u64).max(1);
            let asked = Arc::clone(&self.asked);
            let counting = tokio::task::spawn_blocking(move || {
                counter.add_rows(&asked, &read.batch);
                counter
            });
            counter = counting.await.map_err(died)?;
        }
        Ok(counter)
    }
}

fn died(_: tokio::task::JoinError) -> StoreError {
    StoreError::TaskDied { what: "a listing of values" }
}

fn too_many() -> Gap {
    let why = format!(
        "more than values_found_max ({}) of them were found, and the others are not counted; narrow the range or \
         the prefix",
        limits::VALUES_FOUND_MAX
    );
    Gap { kind: GapKind::Limit, segment: None, why }
}

fn too_many_fields() -> Gap {
    let why = format!(
        "some parts of segments have more attributes than their index lists (index_fields_max, {})",
        limits::INDEX_FIELDS_MAX
    );
    Gap { kind: GapKind::Limit, segment: None, why }
}
