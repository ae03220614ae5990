//! From the bytes of a plan its rows.
//!
//! Columns do not depend on each other: several threads can decode those of a lookup.

use std::borrow::Borrow;
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;
use bytes::Bytes;
use tracelake_model::SpanBatch;

use super::column::{LeafPages, TextRoom, read_column};
use super::column_set::ColumnSet;
use super::directory::TraceEntry;
use super::open::{OpenSegment, RowGroup};
use super::pages::{CachedPage, PageSource, ReadCache};
use super::plan::{PlannedColumn, PlannedLeaf, PlannedPart, RowsPlan, hull, uniform_value, within};
use super::projection::Projection;
use super::unpack::Unpacker;
use super::{WHAT, parquet_error};
use crate::FormatError;

/// Rows decoded at once, wherever in a row group they are; bounds what a large range holds beside its spans. Pages
/// have a power of two of rows, as a rule, so that few lie in two slabs.
const SLAB_ROWS: u64 = 4_096;

/// Text of a slab, of all its columns: one that has more is decoded in parts. Where less is wanted in all it is as
/// much less, down to the first.
const SLAB_TEXT_BYTES: RangeInclusive<usize> = 1 << 20..=32 << 20;

/// What decoded spans take at most, whoever asks: a batch counts its texts' bytes with 32 bits.
const BATCH_BYTES_MAX: usize = 1 << 30;

pub(super) const READING: &str = "reading a segment's rows";

/// Rows on their way from bytes to spans: [`finish`](Self::finish) gives them. Beside it any number of threads may
/// do a part of what it would do, with [`work`](Self::work).
#[derive(Debug)]
pub struct Decoding<S> {
    segment: S,
    source: PageSource,
    cache: Option<Arc<dyn ReadCache>>,
    rows: u64,
    heap_bytes_max: usize,
    /// Whether fewer rows will do than those of the plan.
    may_be_cut: bool,
    has_generations: bool,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// As that of most traces is.
    OneSlab(SharedSlab),
    /// One after the other, by whoever finishes: all at once would take memory without a bound.
    Parts(Mutex<Vec<PlannedPart>>),
}

#[derive(Debug)]
struct SharedSlab {
    group: usize,
    runs: Vec<Range<u64>>,
    room: TextRoom,
    columns: Vec<Mutex<ColumnOfSlab>>,
    /// The first column that nobody has begun.
    next: AtomicUsize,
    /// Whether a column was too much to be read at once: then none is.
    is_too_large: AtomicBool,
}

#[derive(Debug)]
struct ColumnOfSlab {
    /// None once it has been finished with.
    planned: Option<PlannedColumn>,
    decoded: Option<Result<Option<ArrayRef>, FormatError>>,
}

/// A thread that panicked has left nothing half-done: what has no result is done again.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(runs: &[Range<u64>]) -> u64 {
    runs.iter().map(|run| run.end - run.start).sum()
}

/// Of the runs those rows from `start` on that are decoded together: at most so many. It ends where pages do, if
/// there is such a place.
fn slab_of(runs: &[Range<u64>], start: u64, rows_max: u64) -> Vec<Range<u64>> {
    let (mut slab, mut left) = (Vec::new(), rows_max.max(1));
    for run in within(runs, &(start..u64::MAX)) {
        let taken = run.start..run.end.min(run.start + left);
        left -= taken.end - taken.start;
        let is_cut = taken.end < run.end;
        slab.push(taken);
        if left == 0 && !is_cut {
            return slab;
        }
        if is_cut {
            let aligned = slab.last().map_or(0, |last| last.end / SLAB_ROWS * SLAB_ROWS);
            let first = slab.first().map_or(0, |first| first.start);
            return if aligned > first { within(&slab, &(0..aligned)).collect() } else { slab };
        }
    }
    slab
}

/// One row may have as much as the offsets of an Arrow array can say.
fn text_room(runs: &[Range<u64>], bytes_max: usize) -> TextRoom {
    let of_slab = bytes_max.clamp(*SLAB_TEXT_BYTES.start(), *SLAB_TEXT_BYTES.end());
    TextRoom::new(if count(runs) > 1 { of_slab } else { i32::MAX as usize })
}

impl<S: Borrow<OpenSegment>> Decoding<S> {
    /// Of a plan of this segment, from parts of the file that have the bytes of its [ranges](RowsPlan::ranges).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a part has another length than its range.
    pub fn new(
        segment: S,
        mut plan: RowsPlan,
        fetched: Vec<(Range<u64>, Bytes)>,
    ) -> Result<Self, FormatError> {
        let source = segment.borrow().page_source(fetched)?;
        let rows = count(&plan.runs);
        let is_one_slab = |part: &mut PlannedPart| count(&part.runs) <= SLAB_ROWS;
        let only = if plan.parts.len() == 1 { plan.parts.pop_if(is_one_slab) } else { None };
        let work = match only {
            None => Work::Parts(Mutex::new(plan.parts)),
            Some(PlannedPart { group, runs, columns }) => {
                let columns = columns.into_iter();
                let columns =
                    columns.map(|column| Mutex::new(ColumnOfSlab { planned: Some(column), decoded: None }));
                Work::OneSlab(SharedSlab {
                    group,
                    room: text_room(&runs, BATCH_BYTES_MAX),
                    runs,
                    columns: columns.collect(),
                    next: AtomicUsize::new(0),
                    is_too_large: AtomicBool::new(false),
                })
            }
        };
        Ok(Self {
            segment,
            source,
            cache: plan.cache,
            rows,
            heap_bytes_max: BATCH_BYTES_MAX,
            may_be_cut: false,
            has_generations: plan.has_generations,
            work,
        })
    }

    /// The same, but it ends behind the slab with which its spans take so much: a few bytes in a file can be a whole
    /// stack trace in each of thousands of rows. The first slab is decoded anyway. Without it, more than 1 GiB is an
    /// error.
    #[must_use]
    pub fn at_most(mut self, heap_bytes_max: usize) -> Self {
        self.heap_bytes_max = heap_bytes_max.min(BATCH_BYTES_MAX);
        self.may_be_cut = true;
        if let Work::OneSlab(slab) = &mut self.work {
            slab.room = text_room(&slab.runs, self.heap_bytes_max);
        }
        self
    }

    /// How much of it others can do: so many columns.
    pub fn shared_columns(&self) -> usize {
        match &self.work {
            Work::OneSlab(slab) => slab.columns.len(),
            Work::Parts(_) => 0,
        }
    }

    /// Does what nobody has begun, until there is nothing left to begin.
    pub fn work(&self) {
        let Work::OneSlab(slab) = &self.work else { return };
        while let Some(column) = slab.columns.get(slab.next.fetch_add(1, Ordering::Relaxed)) {
            if slab.is_too_large.load(Ordering::Relaxed) {
                return;
            }
            let mut column = lock(column);
            if column.decoded.is_none()
                && let Some(planned) = &mut column.planned
            {
                let decoded = self.decode_column(slab.group, planned, &slab.runs, &slab.room);
                slab.is_too_large.fetch_or(matches!(decoded, Ok(None)), Ordering::Relaxed);
                column.decoded = Some(decoded);
            }
        }
    }

    /// The spans of the plan's [runs](RowsPlan::runs), in order, or the first of them if all are more than
    /// [`at_most`](Self::at_most) allows. Once: asking again is an error.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if a checksum differs; [`FormatError::Parquet`] if bytes are missing, or what was
    /// verified cannot be decoded; [`FormatError::TooLarge`] if not all rows can be held at once, and fewer would not do.
    pub fn finish(&self) -> Result<SpanBatch, FormatError> {
        self.finish_with_generations().map(|(batch, _)| batch)
    }

    /// The same with the generation of each span, where [the projection](super::Projection::with_generations) has it.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_with_generations(&self) -> Result<(SpanBatch, Vec<u64>), FormatError> {
        let mut unpacker = Unpacker::new(&self.segment.borrow().attribute_columns, self.cache.clone());
        match &self.work {
            Work::OneSlab(slab) => {
                self.work();
                self.finish_slab(slab, &mut unpacker)?;
            }
            Work::Parts(parts) => {
                for part in std::mem::take(&mut *lock(parts)) {
                    if !self.is_full(&unpacker) {
                        self.decode_part(part, &mut unpacker)?;
                    }
                }
            }
        }
        let is_cut = self.is_full(&unpacker);
        let (batch, generations) = unpacker.finish();
        if self.has_generations && generations.len() != batch.len() {
            let detail = format!("{} rows have {} generations", batch.len(), generations.len());
            return Err(FormatError::damaged(WHAT, detail));
        }
        if batch.len() as u64 != self.rows && is_cut && !self.may_be_cut {
            let (size, max) = (self.rows, batch.len() as u64);
            return Err(FormatError::TooLarge { what: "rows decoded at once", size, max });
        }
        if batch.len() as u64 != self.rows && !is_cut {
            let detail = format!("{} rows were decoded instead of {}", batch.len(), self.rows);
            return Err(FormatError::damaged(WHAT, detail));
        }
        Ok((batch, generations))
    }

    /// An empty batch has a size, too.
    fn is_full(&self, unpacker: &Unpacker<'_>) -> bool {
        !unpacker.is_empty() && unpacker.content_bytes() >= self.heap_bytes_max
    }

    fn finish_slab(&self, slab: &SharedSlab, unpacker: &mut Unpacker<'_>) -> Result<(), FormatError> {
        let (mut columns, mut arrays) = (Vec::new(), Vec::new());
        let mut is_too_large = slab.is_too_large.load(Ordering::Relaxed);
        for column in &slab.columns {
            // Waits for another thread that is at it.
            let mut column = lock(column);
            let planned = column.planned.take();
            let mut planned =
                planned.ok_or_else(|| FormatError::damaged(WHAT, "its rows were asked for twice"))?;
            let decoded = match column.decoded.take() {
                _ if is_too_large => Ok(None),
                Some(decoded) => decoded,
                None => self.decode_column(slab.group, &mut planned, &slab.runs, &slab.room),
            };
            match decoded? {
                Some(array) => arrays.push((planned.column, array)),
                None => is_too_large = true,
            }
            columns.push(planned);
        }
        let part = PlannedPart { group: slab.group, runs: slab.runs.clone(), columns };
        if is_too_large {
            drop(arrays);
            return self.decode_part(part, unpacker);
        }
        let Some(group) = self.segment.borrow().groups.get(slab.group) else { return Ok(()) };
        unpacker.push(&self.batch(arrays)?, &self.constants(group, &slab.runs))
    }

    /// Slab by slab, so that a large range takes little beside its spans. A slab with very much text is taken in
    /// parts.
    fn decode_part(&self, mut part: PlannedPart, unpacker: &mut Unpacker<'_>) -> Result<(), FormatError> {
        let Some(group) = self.segment.borrow().groups.get(part.group) else { return Ok(()) };
        let constants = self.constants(group, &part.runs);
        let (mut rows_at_once, mut start) = (SLAB_ROWS, 0);
        loop {
            let runs = slab_of(&part.runs, start, rows_at_once);
            if runs.is_empty() {
                return Ok(());
            }
            match self.decode_slab(&mut part, &runs)? {
                Some(batch) => unpacker.push(&batch, &constants)?,
                None if count(&runs) > 1 => {
                    rows_at_once = count(&runs) / 2;
                    continue;
                }
                None => {
                    let row = hull(&runs).start;
                    let detail = format!("row {row} of a row group has more than can be held");
                    return Err(FormatError::damaged(WHAT, detail));
                }
            }
            if self.is_full(unpacker) {
                return Ok(());
            }
            let end = hull(&runs).end;
            if end / SLAB_ROWS > start / SLAB_ROWS {
                rows_at_once = SLAB_ROWS;
            }
            start = end;
        }
    }

    /// The rows of a slab; none if they are too much to be read at once.
    fn decode_slab(
        &self,
        part: &mut PlannedPart,
        runs: &[Range<u64>],
    ) -> Result<Option<RecordBatch>, FormatError> {
        let room = text_room(runs, self.heap_bytes_max);
        let mut arrays = Vec::with_capacity(part.columns.len());
        for planned in &mut part.columns {
            let array = self.decode_column(part.group, planned, runs, &room)?;
            let Some(array) = array else { return Ok(None) };
            arrays.push((planned.column, array));
        }
        self.batch(arrays).map(Some)
    }

    fn batch(&self, arrays: Vec<(usize, ArrayRef)>) -> Result<RecordBatch, FormatError> {
        let fields = self.segment.borrow().schema.fields();
        let known =
            arrays.into_iter().filter_map(|(column, array)| Some((Arc::clone(fields.get(column)?), array)));
        let (fields, arrays): (Vec<_>, Vec<_>) = known.unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|source| parquet_error(READING)(source.into()))
    }

    /// The rows of a slab in one column; none if they are too much to be read at once.
    fn decode_column(
        &self,
        group: usize,
        planned: &mut PlannedColumn,
        runs: &[Range<u64>],
        room: &TextRoom,
    ) -> Result<Option<ArrayRef>, FormatError> {
        let fields = self.segment.borrow().schema.fields();
        let field = fields.get(planned.column);
        let field =
            field.ok_or_else(|| FormatError::damaged(WHAT, "a column was planned that it has not"))?;
        let hull = hull(runs);
        for leaf in &mut planned.leaves {
            self.load_pages(group, leaf, &hull)?;
        }
        let leaves: Vec<LeafPages<'_>> =
            planned.leaves.iter().map(|leaf| self.leaf_pages(leaf, &hull)).collect();
        let array = read_column(field, &leaves, runs, room).map_err(parquet_error(READING))?;
        drop(leaves);
        // Those of the other columns need not wait in memory with it.
        let pages = planned.leaves.iter_mut().flat_map(|leaf| &mut leaf.pages);
        for page in pages.filter(|page| page.is_fetched && page.ends_by(hull.end)) {
            page.page = None;
        }
        Ok(array)
    }

    /// Has the leaf's dictionary and its pages with rows of the slab in memory, verified.
    fn load_pages(&self, group: usize, leaf: &mut PlannedLeaf, slab: &Range<u64>) -> Result<(), FormatError> {
        let segment = self.segment.borrow();
        for planned in &mut leaf.pages {
            let is_ahead = planned.place.rows.as_ref().is_some_and(|rows| rows.start >= slab.end);
            if planned.page.is_none() && !planned.ends_by(slab.start) && !is_ahead {
                let range = &planned.place.range;
                let blocks = segment.checksums.align(range.clone());
                if range.start < blocks.start || range.end > blocks.end {
                    return Err(FormatError::damaged(WHAT, "a page is outside of what its checksums cover"));
                }
                let bytes = self.source.fetched(&blocks).map_err(parquet_error(READING))?;
                segment.checksums.verify(blocks.start, &bytes)?;
                let codec = segment.groups.get(group).and_then(|group| group.layout.codec(leaf.leaf));
                let codec =
                    codec.ok_or_else(|| FormatError::damaged(WHAT, "a page was planned that it has not"))?;
                let loaded = self.source.load(codec, range);
                let (page, fetched) = loaded.map_err(parquet_error(READING))?;
                let descriptor = segment.descriptor.column(leaf.leaf);
                let page = CachedPage::new(page, &descriptor).map_err(parquet_error(READING))?;
                let key = planned.place.key(segment.meta.id);
                if let Some(cache) =
                    self.cache.as_ref().filter(|cache| cache.wants_page(key, page.heap_bytes()))
                {
                    cache.insert_page(key, page.without(&fetched));
                }
                planned.page = Some(page);
            }
        }
        Ok(())
    }

    fn leaf_pages<'p>(&'p self, leaf: &'p PlannedLeaf, slab: &Range<u64>) -> LeafPages<'p> {
        let pages = leaf.pages.iter().filter_map(|planned| {
            let rows =
                planned.place.rows.clone().filter(|rows| rows.end > slab.start && rows.start < slab.end)?;
            Some((planned.page.as_ref()?.data()?, rows))
        });
        let dictionary = leaf.pages.first().filter(|planned| planned.place.rows.is_none());
        LeafPages {
            descriptor: self.segment.borrow().descriptor.column(leaf.leaf),
            dictionary: dictionary.and_then(|planned| planned.page.as_ref()?.dictionary()),
            pages: pages.collect(),
        }
    }

    /// Numbers of columns that need not be read for these rows of a row group.
    fn constants(&self, group: &RowGroup, runs: &[Range<u64>]) -> Vec<(&str, i32)> {
        let hull = hull(runs);
        let fields = self.segment.borrow().schema.fields().iter().enumerate();
        fields
            .filter_map(|(column, field)| {
                uniform_value(group, column, &hull).flatten().map(|value| (field.name().as_str(), value))
            })
            .collect()
    }
}

impl OpenSegment {
    /// The spans of these rows, in order, from the bytes of [`ranges_for_rows`](Self::ranges_for_rows).
    ///
    /// # Errors
    /// As [`Decoding::new`] and [`Decoding::finish`].
    pub fn decode_rows(
        &self,
        rows: Range<u64>,
        fetched: Vec<(Range<u64>, Bytes)>,
    ) -> Result<SpanBatch, FormatError> {
        let plan = self.plan_rows(&[rows], ColumnSet::ALL, &Projection::ALL, None);
        Decoding::new(self, plan, fetched)?.finish()
    }

    /// The spans of a trace that [`find_trace`](Self::find_trace) found. Never another trace's.
    ///
    /// # Errors
    /// As [`decode_rows`](Self::decode_rows).
    pub fn decode_trace(
        &self,
        entry: &TraceEntry,
        fetched: Vec<(Range<u64>, Bytes)>,
    ) -> Result<SpanBatch, FormatError> {
        let plan = self.plan_rows(&[entry.row_range()], entry.columns, &Projection::ALL, None);
        let batch = Decoding::new(self, plan, fetched)?.finish()?;
        let others = batch.trace_ids().any(|trace_id| *trace_id != entry.trace_id);
        if others || batch.len() as u64 != entry.rows {
            return Err(FormatError::damaged(WHAT, "its directory and rows contradict each other"));
        }
        Ok(batch)
    }

    /// Of parts of the file that have yet to be verified.
    pub(super) fn page_source(
        &self,
        mut fetched: Vec<(Range<u64>, Bytes)>,
    ) -> Result<PageSource, FormatError> {
        for (range, bytes) in &fetched {
            if range.end.checked_sub(range.start) != Some(bytes.len() as u64) {
                return Err(FormatError::damaged(
                    WHAT,
                    format!("the read of {range:?} gave {} bytes", bytes.len()),
                ));
            }
        }
        fetched.sort_unstable_by_key(|(range, _)| range.start);
        Ok(PageSource::new(fetched.into_iter().map(|(range, bytes)| (range.start, bytes)).collect()))
    }
}

#[cfg(test)]
mod tests;
