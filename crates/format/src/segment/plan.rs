//! Which bytes of a segment hold rows, and which pages of them a cache has.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

use super::column_set::ColumnSet;
use super::open::{OpenSegment, RowGroup, UniformRows};
use super::pages::{CachedPage, PagePlace, ReadCache};
use super::projection::Projection;
use super::schema;

/// Rows with fewer than this between them are read as one run. Passing over rows costs little, and what a row takes
/// is paid for each that nobody asked for.
const GAP_ROWS_MAX: u64 = 16;

/// Columns that spans are not made of, known otherwise or derived, beside the generation.
const NOT_READ: [&str; 2] = [schema::TENANT, schema::SERVICE_NAME];

/// How rows will be read: from which bytes, and with which pages of a cache.
#[derive(Debug)]
pub struct RowsPlan {
    pub(super) runs: Vec<Range<u64>>,
    ranges: Vec<Range<u64>>,
    pub(super) parts: Vec<PlannedPart>,
    pub(super) cache: Option<Arc<dyn ReadCache>>,
    pages: Counted,
    dictionaries: Counted,
    pub(super) has_generations: bool,
}

/// Pages that are read, and those of them that the cache has.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    all: usize,
    cached: usize,
}

impl Counted {
    fn add(&mut self, is_cached: bool) {
        self.all += 1;
        self.cached += usize::from(is_cached);
    }
}

impl RowsPlan {
    /// The rows that will be read, in order: those asked for, and a few between them.
    pub fn runs(&self) -> &[Range<u64>] {
        &self.runs
    }

    /// The ranges of the file to fetch: pages and dictionaries of all columns, in whole checksum blocks, in
    /// order, without overlap. Whoever fetches may fetch what lies between them, too.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// How many pages it reads, dictionaries included, and how many of them were in the cache.
    pub fn pages(&self) -> (usize, usize) {
        (self.pages.all, self.pages.cached)
    }

    /// The same of dictionaries alone.
    pub fn dictionaries(&self) -> (usize, usize) {
        (self.dictionaries.all, self.dictionaries.cached)
    }
}

/// What is read of a row group.
#[derive(Debug)]
pub(super) struct PlannedPart {
    pub(super) group: usize,
    /// Counted within the group, in order.
    pub(super) runs: Vec<Range<u64>>,
    pub(super) columns: Vec<PlannedColumn>,
}

#[derive(Debug)]
pub(super) struct PlannedColumn {
    pub(super) column: usize,
    pub(super) leaves: Vec<PlannedLeaf>,
}

impl PlannedColumn {
    /// Of its pages in the file.
    fn bytes(&self) -> u64 {
        let pages = self.leaves.iter().flat_map(|leaf| &leaf.pages);
        pages.map(|page| page.place.range.end - page.place.range.start).sum()
    }
}

/// The pages of a leaf that are read, in order, the dictionary first.
#[derive(Debug)]
pub(super) struct PlannedLeaf {
    pub(super) leaf: usize,
    pub(super) pages: Vec<PlannedPage>,
}

#[derive(Debug)]
pub(super) struct PlannedPage {
    pub(super) place: PagePlace,
    pub(super) page: Option<CachedPage>,
    /// Whether it is among what is fetched, so that it can be loaded again.
    pub(super) is_fetched: bool,
}

impl PlannedPage {
    /// Whether it has no row from there on; a dictionary is for all of them.
    pub(super) fn ends_by(&self, row: u64) -> bool {
        self.place.rows.as_ref().is_some_and(|rows| rows.end <= row)
    }
}

/// From the first row to the last.
pub(super) fn hull(runs: &[Range<u64>]) -> Range<u64> {
    let end = runs.last().map_or(0, |run| run.end);
    runs.first().map_or(end, |run| run.start)..end
}

impl OpenSegment {
    /// How to read these rows, which are in order, and have nothing in other columns than these. Rows beyond the
    /// last are ignored.
    pub fn plan_rows(
        &self,
        rows: &[Range<u64>],
        filled: ColumnSet,
        projection: &Projection,
        cache: Option<&Arc<dyn ReadCache>>,
    ) -> RowsPlan {
        let filled = filled.and(self.columns_of(projection));
        let has_generations = projection.has_generations();
        let mut runs: Vec<Range<u64>> = Vec::with_capacity(rows.len());
        for range in rows {
            let range = range.start..range.end.min(self.meta.rows);
            match runs.last_mut() {
                _ if range.is_empty() => {}
                Some(last) if range.start < last.end.saturating_add(GAP_ROWS_MAX) => {
                    last.end = last.end.max(range.end);
                }
                _ => runs.push(range),
            }
        }
        let (mut parts, mut ranges) = (Vec::new(), Vec::new());
        let (mut pages, mut dictionaries) = (Counted::default(), Counted::default());
        for (index, group) in self.groups.iter().enumerate() {
            let first = group.rows.start;
            let runs: Vec<_> =
                within(&runs, &group.rows).map(|run| run.start - first..run.end - first).collect();
            if runs.is_empty() {
                continue;
            }
            let mut columns = Vec::new();
            for column in self.columns_to_read(group, &hull(&runs), filled, has_generations) {
                let mut leaves = Vec::new();
                for leaf in self.leaves.get(column).cloned().into_iter().flatten() {
                    let places = group.layout.pages(leaf);
                    let places =
                        places.filter(|place| place.rows.as_ref().is_none_or(|rows| overlap(&runs, rows)));
                    let places = places.map(|place| {
                        let page = cache.and_then(|cache| cache.page(place.key(self.meta.id)));
                        pages.add(page.is_some());
                        if place.rows.is_none() {
                            dictionaries.add(page.is_some());
                        }
                        if page.is_none() {
                            ranges.push(self.checksums.align(place.range.clone()));
                        }
                        PlannedPage { place, is_fetched: page.is_none(), page }
                    });
                    leaves.push(PlannedLeaf { leaf, pages: places.collect() });
                }
                columns.push(PlannedColumn { column, leaves });
            }
            // What takes longest first, so that several who share the work end together.
            columns.sort_by_cached_key(|column| Reverse(column.bytes()));
            parts.push(PlannedPart { group: index, runs, columns });
        }
        RowsPlan {
            runs,
            ranges: merged(ranges),
            parts,
            cache: cache.cloned(),
            pages,
            dictionaries,
            has_generations,
        }
    }

    /// The first of these rows, as many as are in so many row groups.
    pub fn rows_of_groups(&self, rows: &Range<u64>, groups: usize) -> Range<u64> {
        let first = self.groups.partition_point(|group| group.rows.end <= rows.start);
        let last = self.groups.get(first.saturating_add(groups.saturating_sub(1)));
        rows.start..last.map_or(rows.end, |last| last.rows.end.min(rows.end))
    }

    /// The ranges of the file that hold these rows, for [`decode_rows`](Self::decode_rows). Rows beyond the last
    /// are ignored.
    pub fn ranges_for_rows(&self, rows: Range<u64>) -> Vec<Range<u64>> {
        self.plan_rows(&[rows], ColumnSet::ALL, &Projection::ALL, None).ranges
    }

    /// The columns that have to be read for rows of a row group.
    fn columns_to_read(
        &self,
        group: &RowGroup,
        rows: &Range<u64>,
        filled: ColumnSet,
        has_generations: bool,
    ) -> Vec<usize> {
        let fields = self.schema.fields().iter().enumerate();
        fields
            .filter(|(column, field)| {
                if field.name() == schema::GENERATION {
                    return has_generations;
                }
                // One that must have values is read, whatever the directory says.
                (filled.contains(*column) || !field.is_nullable())
                    && !NOT_READ.contains(&field.name().as_str())
                    && uniform_value(group, *column, rows).is_none()
            })
            .map(|(column, _)| column)
            .collect()
    }
}

/// Whether runs, which are in order, have any of the rows.
fn overlap(runs: &[Range<u64>], rows: &Range<u64>) -> bool {
    let after = runs.partition_point(|run| run.end <= rows.start);
    runs.get(after).is_some_and(|run| run.start < rows.end)
}

/// Of runs in order what lies within a range.
pub(super) fn within<'r>(
    runs: &'r [Range<u64>],
    range: &'r Range<u64>,
) -> impl Iterator<Item = Range<u64>> + use<'r> {
    let first = runs.partition_point(|run| run.end <= range.start);
    let runs = runs.iter().skip(first).take_while(|run| run.start < range.end);
    runs.map(|run| run.start.max(range.start)..run.end.min(range.end))
}

/// In order; what touches is one, as pages that share a checksum block do.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// What a column has in all of these rows, if its pages need not be read: `Some(None)` for null.
pub(super) fn uniform_value(group: &RowGroup, column: usize, part: &Range<u64>) -> Option<Option<i32>> {
    let uniform = group.uniform.get(column)?;
    let within = |uniform: &&UniformRows| uniform.rows.start <= part.start && part.end <= uniform.rows.end;
    uniform.iter().find(within).map(|uniform| uniform.value)
}
