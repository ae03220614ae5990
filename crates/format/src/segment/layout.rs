//! Where the pages of a row group lie, in some ten bytes a page. With it an open segment takes a fifth of what the Parquet
//! crate keeps of a footer, which for a thousand segments would be more than all the memory that lookups may have.

use std::ops::Range;

use parquet::basic::Compression;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};

use super::pages::PagePlace;

/// The column chunks of a row group.
#[derive(Debug)]
pub(super) struct GroupLayout {
    chunks: Box<[Chunk]>,
    /// Of all chunks, one after the other.
    pages: Box<[PageBytes]>,
    /// First rows of pages: columns have the same, as a rule.
    first_rows: Vec<Box<[u32]>>,
    rows: u64,
}

#[derive(Debug)]
struct Chunk {
    /// Of its dictionary, or of its first page.
    start: u64,
    has_dictionary: bool,
    /// Behind its last page.
    pages_end: u32,
    /// Which of the lists.
    first_rows: u32,
    codec: ChunkCodec,
}

/// How a chunk's pages are compressed, and what they are in all when they are not.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkCodec {
    pub(super) compression: Compression,
    pub(super) uncompressed_bytes: u64,
}

/// Counted from the chunk's start.
#[derive(Debug)]
struct PageBytes {
    start: u32,
    len: u32,
}

impl GroupLayout {
    /// None if the index contradicts itself or the row group.
    pub(super) fn of(group: &RowGroupMetaData, index: &[OffsetIndexMetaData]) -> Option<Self> {
        let rows = u64::try_from(group.num_rows()).ok()?;
        let (mut chunks, mut pages) = (Vec::with_capacity(index.len()), Vec::new());
        let mut lists: Vec<Box<[u32]>> = Vec::new();
        if index.len() != group.num_columns() {
            return None;
        }
        for (column, index) in group.columns().iter().zip(index) {
            let locations = index.page_locations();
            let first_rows = first_rows(locations, rows)?;
            let list = lists.iter().position(|list| **list == *first_rows).unwrap_or_else(|| {
                lists.push(first_rows);
                lists.len() - 1
            });
            let first_page = u64::try_from(locations.first()?.offset).ok()?;
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let start = u64::try_from(start).ok()?.min(first_page);
            let mut behind = first_page;
            for location in locations {
                let offset = u64::try_from(location.offset).ok().filter(|offset| *offset >= behind)?;
                let len = u32::try_from(location.compressed_page_size).ok()?;
                behind = offset.checked_add(len.into())?;
                pages.push(PageBytes { start: u32::try_from(offset - start).ok()?, len });
            }
            chunks.push(Chunk {
                start,
                has_dictionary: first_page > start,
                pages_end: u32::try_from(pages.len()).ok()?,
                first_rows: u32::try_from(list).ok()?,
                codec: ChunkCodec {
                    compression: column.compression(),
                    uncompressed_bytes: u64::try_from(column.uncompressed_size()).ok()?,
                },
            });
        }
        Some(Self { chunks: chunks.into(), pages: pages.into(), first_rows: lists, rows })
    }

    pub(super) fn codec(&self, leaf: usize) -> Option<ChunkCodec> {
        self.chunks.get(leaf).map(|chunk| chunk.codec)
    }

    /// The pages of a leaf, in order, the dictionary first.
    pub(super) fn pages(&self, leaf: usize) -> impl Iterator<Item = PagePlace> {
        let chunk = self.chunks.get(leaf);
        let before = leaf.checked_sub(1).and_then(|before| self.chunks.get(before));
        let from = before.map_or(0, |before| before.pages_end as usize);
        let pages =
            chunk.and_then(|chunk| self.pages.get(from..chunk.pages_end as usize)).unwrap_or_default();
        let first_rows = chunk.and_then(|chunk| self.first_rows.get(chunk.first_rows as usize));
        let first_rows = first_rows.map(|rows| &**rows).unwrap_or_default();
        let start = chunk.map_or(0, |chunk| chunk.start);
        let first = pages.first().filter(|_| chunk.is_some_and(|chunk| chunk.has_dictionary));
        let dictionary =
            first.map(|first| PagePlace { range: start..start + u64::from(first.start), rows: None });
        let rows_end = first_rows.iter().skip(1).map(|row| u64::from(*row)).chain([self.rows]);
        let pages = pages.iter().zip(first_rows).zip(rows_end).map(move |((page, first_row), rows_end)| {
            let start = start + u64::from(page.start);
            let rows = Some(u64::from(*first_row)..rows_end);
            PagePlace { range: start..start + u64::from(page.len), rows }
        });
        dictionary.into_iter().chain(pages)
    }

    /// From the first chunk to the last; none if there is none.
    pub(super) fn bytes(&self) -> Option<Range<u64>> {
        let ends = self.chunks.iter().filter_map(|chunk| {
            let last = self.pages.get(chunk.pages_end.checked_sub(1)? as usize)?;
            Some(chunk.start + u64::from(last.start) + u64::from(last.len))
        });
        Some(self.chunks.iter().map(|chunk| chunk.start).min()?..ends.max()?)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let lists: usize =
            self.first_rows.iter().map(|list| size_of::<Box<[u32]>>() + size_of_val(&**list)).sum();
        size_of_val(&*self.chunks) + size_of_val(&*self.pages) + lists
    }
}

/// From 0 on, rising, all within the row group.
fn first_rows(pages: &[PageLocation], rows: u64) -> Option<Box<[u32]>> {
    let first_rows = pages.iter().map(|page| u32::try_from(page.first_row_index).ok());
    let first_rows: Box<[u32]> = first_rows.collect::<Option<_>>()?;
    let in_order = first_rows.is_sorted_by(|a, b| a < b);
    let within = first_rows.last().is_some_and(|last| u64::from(*last) < rows);
    (in_order && within && first_rows.first() == Some(&0)).then_some(first_rows)
}

#[cfg(test)]
mod tests;
