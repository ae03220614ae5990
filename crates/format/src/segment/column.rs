//! Some rows of one column of a row group as an Arrow array, from the pages that have them.
//!
//! The Parquet crate does the same, and does it well for whole row groups. For the thirty rows of a trace
//! its readers, made anew for each of some seventy columns, cost several times what is read; here a page's
//! other rows are passed over without a reader being made.

mod values;

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};
use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use self::values::Data;
pub(super) use self::values::TextRoom;
use super::packed::Hybrid;
use super::page::invalid;
use super::page_values::{Dictionary, Layout, PageValues};

/// From this definition level on an element of a list is there: the list is, and it is not empty.
const ELEMENT_LEVEL: u32 = 2;

/// The pages of a leaf that have rows of the runs, in order, and its dictionary.
#[derive(Debug)]
pub(super) struct LeafPages<'p> {
    pub(super) descriptor: ColumnDescPtr,
    pub(super) dictionary: Option<&'p Dictionary>,
    /// Data pages, and their rows, counted within the row group.
    pub(super) pages: Vec<(&'p Page, Range<u64>)>,
}

/// Elements of lists that are read together: each takes some bytes of every leaf.
const ELEMENTS_MAX: usize = 1 << 22;

/// The rows of the runs, which are in order and counted as the pages' rows are; none if their texts have no room,
/// or there are very many elements: then fewer rows are to be read at once. A dictionary can have a few bytes for
/// each of thousands of rows stand for a whole stack trace.
///
/// # Errors
/// If the pages are not of such a column, or contradict themselves.
pub(super) fn read_column(
    field: &Field,
    leaves: &[LeafPages<'_>],
    runs: &[Range<u64>],
    room: &TextRoom,
) -> Result<Option<ArrayRef>, ParquetError> {
    let rows = usize::try_from(runs.iter().map(|run| run.end - run.start).sum::<u64>()).unwrap_or(usize::MAX);
    let DataType::List(element) = field.data_type() else {
        let [leaf] = leaves else { return Err(invalid("is of a column with another number of leaves")) };
        let cells = read_leaf(leaf, field, runs, room)?;
        return match cells {
            cells if cells.is_too_large => Ok(None),
            cells if cells.valid.len() != rows => Err(lost_rows()),
            cells => cells.finish(field.data_type()).map(Some),
        };
    };
    let DataType::Struct(fields) = element.data_type() else {
        return Err(invalid("is of a list that Tracelake does not write"));
    };
    if fields.len() != leaves.len() {
        return Err(invalid("is of a list with another number of leaves"));
    }
    let mut lists = Lists::default();
    let mut arrays = Vec::with_capacity(leaves.len());
    for (field, leaf) in fields.iter().zip(leaves) {
        let is_same = !arrays.is_empty() && !field.is_nullable() && lists.levels_are_those_of(leaf);
        let mut cells = if is_same {
            read_elements(leaf, field, &lists, room)?
        } else {
            read_leaf(leaf, field, runs, room)?
        };
        if cells.is_too_large {
            return Ok(None);
        }
        if let Some(of_leaf) = cells.lists.take() {
            let is_first = arrays.is_empty();
            if of_leaf.valid.len() != rows || !is_first && !lists.are_as(&of_leaf) {
                return Err(lost_rows());
            }
            if is_first {
                lists = of_leaf;
            }
        }
        if cells.valid.len() != lists.ends.last().map_or(0, |end| *end as usize) {
            return Err(lost_rows());
        }
        arrays.push(cells.finish(field.data_type())?);
    }
    let Lists { ends, valid, .. } = lists;
    let elements = StructArray::try_new(fields.clone(), arrays, None)?;
    let offsets = OffsetBuffer::new(std::iter::once(0).chain(ends).collect());
    let nulls = NullBuffer::from(valid);
    Ok(Some(Arc::new(ListArray::try_new(Arc::clone(element), offsets, Arc::new(elements), Some(nulls))?)))
}

fn lost_rows() -> ParquetError {
    invalid("has other rows than its index says")
}

/// How a leaf's values lie, whether it is of a list, and its highest definition level.
fn shape(leaf: &LeafPages<'_>, field: &Field) -> Result<(Layout, bool, u32), ParquetError> {
    let descriptor = &leaf.descriptor;
    let layout = Layout::of(descriptor.physical_type(), descriptor.type_length())?;
    let is_nested = descriptor.max_rep_level() > 0;
    let levels_max = u32::try_from(descriptor.max_def_level()).unwrap_or(0);
    let expected = if is_nested { ELEMENT_LEVEL } else { 0 } + u32::from(field.is_nullable());
    if levels_max != expected || descriptor.max_rep_level() > 1 {
        return Err(invalid("is of a column with another nesting"));
    }
    Ok((layout, is_nested, levels_max))
}

/// A leaf of a list that has a value in each element: where they are, another leaf with the same levels has told.
fn read_elements<'p>(
    leaf: &LeafPages<'p>,
    field: &Field,
    lists: &Lists<'p>,
    room: &'p TextRoom,
) -> Result<Cells<'p>, ParquetError> {
    let (layout, ..) = shape(leaf, field)?;
    let mut cells = Cells::new(layout, field.data_type(), false, room);
    for ((page, _), elements) in leaf.pages.iter().zip(&lists.pages) {
        let (_, values, encoding) = split_levels(page)?;
        let values = PageValues::new(values, encoding, layout, leaf.dictionary)?;
        let mut page = OpenPage { levels: Levels::None, levels_max: 0, values };
        let mut at = 0;
        for run in &elements.runs {
            page.skip(run.start - at)?;
            page.take(run.end - run.start, &mut cells, leaf.dictionary)?;
            at = run.end;
        }
    }
    Ok(cells)
}

fn read_leaf<'p>(
    leaf: &LeafPages<'p>,
    field: &Field,
    runs: &[Range<u64>],
    room: &'p TextRoom,
) -> Result<Cells<'p>, ParquetError> {
    let (layout, is_nested, levels_max) = shape(leaf, field)?;
    let mut cells = Cells::new(layout, field.data_type(), is_nested, room);
    for (page, rows) in &leaf.pages {
        if let Some(lists) = &mut cells.lists {
            let (levels, ..) = split_levels(page)?;
            lists.pages.push(ElementsOfPage { rows: rows.clone(), levels, runs: Vec::new() });
        }
        let rows_of_page = rows.end - rows.start;
        let mut page = OpenPage::new(page, rows_of_page, layout, levels_max, is_nested, leaf.dictionary)?;
        let after = runs.partition_point(|run| run.end <= rows.start);
        let (mut at, mut elements) = (rows.start, 0);
        for run in runs.iter().skip(after).take_while(|run| run.start < rows.end) {
            let (start, end) = (run.start.max(rows.start), run.end.min(rows.end));
            elements += page.skip((start - at) as usize)?;
            let before = cells.valid.len();
            page.take((end - start) as usize, &mut cells, leaf.dictionary)?;
            let taken = cells.valid.len() - before;
            if let Some(of_page) = cells.lists.as_mut().and_then(|lists| lists.pages.last_mut()) {
                of_page.runs.push(elements..elements + taken);
            }
            elements += taken;
            at = end;
        }
    }
    Ok(cells)
}

/// A data page whose first rows may have been taken already.
struct OpenPage<'p> {
    levels: Levels<'p>,
    levels_max: u32,
    values: PageValues<'p>,
}

enum Levels<'p> {
    /// Each row has a value.
    None,
    /// A level a row.
    Flat(Hybrid<'p>),
    /// As many as there are elements, and one for each row without any: repetition and definition.
    Nested { repetition: Vec<u8>, definition: Vec<u8>, at: usize },
}

impl<'p> OpenPage<'p> {
    fn new(
        page: &'p Page,
        rows: u64,
        layout: Layout,
        levels_max: u32,
        is_nested: bool,
        dictionary: Option<&'p Dictionary>,
    ) -> Result<Self, ParquetError> {
        let Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, .. } = page
        else {
            return Err(invalid("is not a data page of version 1"));
        };
        let mut rest: &[u8] = buf;
        let width = u32::BITS - levels_max.leading_zeros();
        let levels = if is_nested {
            let repetition = all(&mut levels(&mut rest, *rep_level_encoding, 1)?, *num_values)?;
            let definition = all(&mut levels(&mut rest, *def_level_encoding, width)?, *num_values)?;
            let begun = count(&repetition, |repeated| repeated == 0);
            if begun as u64 != rows || repetition.first().is_some_and(|repeated| *repeated > 0) {
                return Err(lost_rows());
            }
            Levels::Nested { repetition, definition, at: 0 }
        } else if u64::from(*num_values) != rows {
            return Err(lost_rows());
        } else if levels_max > 0 {
            Levels::Flat(levels(&mut rest, *def_level_encoding, width)?)
        } else {
            Levels::None
        };
        let values = PageValues::new(rest, *encoding, layout, dictionary)?;
        Ok(Self { levels, levels_max, values })
    }

    /// Passes over rows; gives how many elements they have, or values.
    fn skip(&mut self, rows: usize) -> Result<usize, ParquetError> {
        let max = self.levels_max;
        let (values, elements) = match &mut self.levels {
            _ if rows == 0 => (0, 0),
            Levels::None => (rows, rows),
            Levels::Flat(levels) => (levels.count(rows, max)?, rows),
            Levels::Nested { repetition, definition, at } => {
                let levels = next_rows(repetition, at, rows)?;
                let definition = definition.get(levels).unwrap_or_default();
                let values = count(definition, |level| u32::from(level) == max);
                (values, count(definition, |level| u32::from(level) >= ELEMENT_LEVEL))
            }
        };
        self.values.skip(values)?;
        Ok(elements)
    }

    fn take(
        &mut self,
        rows: usize,
        cells: &mut Cells<'_>,
        dictionary: Option<&Dictionary>,
    ) -> Result<(), ParquetError> {
        let before = cells.valid.len();
        cells.is_too_large |= before + rows > ELEMENTS_MAX;
        if cells.is_too_large {
            return Ok(());
        }
        match &mut self.levels {
            Levels::None => cells.valid.resize(before + rows, true),
            Levels::Flat(levels) => {
                let max = self.levels_max;
                levels.each(rows, |level| cells.valid.push(level == max))?;
            }
            Levels::Nested { repetition, definition, at } => {
                let levels = next_rows(repetition, at, rows)?;
                cells.is_too_large |= before + levels.len() > ELEMENTS_MAX;
                if cells.is_too_large {
                    return Ok(());
                }
                let lists = cells.lists.get_or_insert_default();
                for level in levels {
                    let (repeated, defined) = (repetition[level] > 0, u32::from(definition[level]));
                    if !repeated {
                        lists.ends.push(lists.ends.last().copied().unwrap_or_default());
                        lists.valid.push(defined > 0);
                    }
                    if defined >= ELEMENT_LEVEL {
                        cells.valid.push(defined == self.levels_max);
                        if let Some(end) = lists.ends.last_mut() {
                            *end += 1;
                        }
                    }
                }
            }
        }
        let added = cells.valid.get(before..).unwrap_or_default();
        let values = added.iter().filter(|valid| **valid).count();
        let data = &mut cells.data;
        data.reserve(added.len());
        if values == added.len() {
            self.values.each(values, |value| data.push(value, dictionary))?;
        } else {
            let mut at = 0;
            self.values.each(values, |value| {
                while added.get(at) == Some(&false) {
                    data.push_none();
                    at += 1;
                }
                data.push(value, dictionary);
                at += 1;
            })?;
            (at..added.len()).for_each(|_| data.push_none());
        }
        cells.is_too_large |= data.is_too_large();
        Ok(())
    }
}

/// Levels of a page of version 1, which have their length before them.
fn levels<'p>(rest: &mut &'p [u8], encoding: Encoding, width: u32) -> Result<Hybrid<'p>, ParquetError> {
    if encoding != Encoding::RLE {
        return Err(invalid(&format!("has levels in {encoding}, which Tracelake does not do")));
    }
    let split = rest.split_first_chunk::<4>().and_then(|(length, behind)| {
        behind.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
    });
    let (levels, behind) = split.ok_or_else(|| invalid("ends within its levels"))?;
    *rest = behind;
    Hybrid::new(levels, width)
}

/// The levels of a page of a list, as they are, and its values with their encoding.
fn split_levels(page: &Page) -> Result<(&[u8], &[u8], Encoding), ParquetError> {
    let Page::DataPage { buf, encoding, def_level_encoding, rep_level_encoding, .. } = page else {
        return Err(invalid("is not a data page of version 1"));
    };
    let mut rest: &[u8] = buf;
    levels(&mut rest, *rep_level_encoding, 1)?;
    levels(&mut rest, *def_level_encoding, 1)?;
    let levels = buf.get(..buf.len() - rest.len()).unwrap_or_default();
    Ok((levels, rest, *encoding))
}

fn all(levels: &mut Hybrid<'_>, count: u32) -> Result<Vec<u8>, ParquetError> {
    /// Far more than the writer puts into a page; a few bytes of a page can say that it has billions.
    const LEVELS_MAX: u32 = 1 << 26;
    if count > LEVELS_MAX {
        return Err(invalid(&format!("has {count} levels")));
    }
    let mut all = Vec::new();
    levels.append(count as usize, &mut all)?;
    Ok(all)
}

/// The levels of the next rows.
fn next_rows(repetition: &[u8], at: &mut usize, rows: usize) -> Result<Range<usize>, ParquetError> {
    let start = *at;
    let mut left = rows;
    let levels = repetition.get(start..).ok_or_else(lost_rows)?;
    let whole = levels.chunks(LEVELS_AT_ONCE).take_while(|levels| {
        let begun = count(levels, |repeated| repeated == 0);
        let fits = begun <= left;
        left -= if fits { begun } else { 0 };
        fits
    });
    *at = (start + LEVELS_AT_ONCE * whole.count()).min(repetition.len());
    let rest = repetition.get(*at..).unwrap_or_default();
    *at += rest
        .iter()
        .take_while(|repeated| {
            let begins = **repeated == 0;
            let fits = !begins || left > 0;
            left -= usize::from(begins && fits);
            fits
        })
        .count();
    if left > 0 { Err(lost_rows()) } else { Ok(start..*at) }
}

/// So many are counted with vector instructions, in sums of a byte.
const LEVELS_AT_ONCE: usize = 128;

/// How many of the levels are such.
fn count(levels: &[u8], is: impl Fn(u8) -> bool) -> usize {
    let of_chunk = |levels: &[u8]| usize::from(levels.iter().map(|level| u8::from(is(*level))).sum::<u8>());
    levels.chunks(LEVELS_AT_ONCE).map(of_chunk).sum()
}

/// Whose elements are whose.
#[derive(Debug, Default)]
struct Lists<'p> {
    /// Behind each row's last.
    ends: Vec<i32>,
    valid: Vec<bool>,
    pages: Vec<ElementsOfPage<'p>>,
}

impl Lists<'_> {
    fn are_as(&self, other: &Self) -> bool {
        self.ends == other.ends && self.valid == other.valid
    }

    /// Whether another leaf has the same levels in pages of the same rows.
    fn levels_are_those_of(&self, leaf: &LeafPages<'_>) -> bool {
        let is_same = |(known, (page, rows)): (&ElementsOfPage<'_>, &(&Page, Range<u64>))| {
            known.rows == *rows && split_levels(page).is_ok_and(|(levels, ..)| levels == known.levels)
        };
        self.pages.len() == leaf.pages.len() && self.pages.iter().zip(&leaf.pages).all(is_same)
    }
}

/// The elements that were taken of a page, counted within it.
#[derive(Debug)]
struct ElementsOfPage<'p> {
    rows: Range<u64>,
    /// As they are in the page.
    levels: &'p [u8],
    runs: Vec<Range<usize>>,
}

/// What was read of a leaf: a cell for each row, or for each element.
#[derive(Debug)]
struct Cells<'p> {
    data: Data<'p>,
    valid: Vec<bool>,
    lists: Option<Lists<'p>>,
    /// Then nothing else means anything.
    is_too_large: bool,
}

impl<'p> Cells<'p> {
    fn new(layout: Layout, data_type: &DataType, is_nested: bool, room: &'p TextRoom) -> Self {
        let data = Data::new(layout, data_type, room);
        Self { data, valid: Vec::new(), lists: is_nested.then(Lists::default), is_too_large: false }
    }

    fn finish(self, data_type: &DataType) -> Result<ArrayRef, ParquetError> {
        self.data.finish(self.valid, data_type)
    }
}

#[cfg(test)]
mod tests;
