//! Collects the directory while rows are written in their order.

use std::collections::{HashMap, VecDeque};

use arrow_array::{Array, ArrayRef};

use super::block::{Summary, encode_block};
use super::{BLOCK_TRACES, Block, DirectoryIndex, NAME_BYTES_MAX, SERVICES_MAX, WHAT};
use crate::FormatError;
use crate::segment::column_set::add_columns;
use crate::segment::slice::RowFacts;

/// Directory blocks and their index, of rows given in the segment's order.
#[derive(Debug)]
pub(in crate::segment) struct DirectoryBuilder {
    /// Finished blocks, one after the other; offsets in the index are still relative to them.
    bytes: Vec<u8>,
    index: DirectoryIndex,
    rows: u64,
    /// Of how many rows the columns are known: they come a slice at a time.
    rows_with_columns: u64,
    /// Blocks that are complete but for the columns of their last rows.
    ended: VecDeque<OpenBlock>,
    block: OpenBlock,
    /// Hash of the newest trace of the block.
    newest_hash: u64,
    root_start: Option<u64>,
    places: HashMap<Box<str>, u32>,
}

#[derive(Debug, Default)]
struct OpenBlock {
    tenant: u32,
    first_row: u64,
    first_hash: u64,
    traces: Vec<Summary>,
    texts: Vec<Box<str>>,
}

impl OpenBlock {
    fn rows(&self) -> u64 {
        self.traces.iter().map(|trace| trace.rows).sum()
    }
}

impl DirectoryBuilder {
    pub(in crate::segment) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            index: DirectoryIndex::new(),
            rows: 0,
            rows_with_columns: 0,
            ended: VecDeque::new(),
            block: OpenBlock::default(),
            newest_hash: 0,
            root_start: None,
            places: HashMap::new(),
        }
    }

    /// The next row; `name` is asked for where it is a root that comes first.
    #[inline]
    pub(in crate::segment) fn push<'n>(
        &mut self,
        row: &RowFacts,
        name: impl FnOnce() -> &'n str,
        service: Option<&str>,
    ) {
        let same = self.block.tenant == row.tenant
            && self.block.traces.last().is_some_and(|trace| trace.trace_id == *row.trace_id.as_bytes());
        if !same {
            self.begin_trace(row);
        }
        let root = row.is_root && self.root_start.is_none_or(|start| row.start_unix_nano < start);
        // A text is placed only to be referred to: the block stays as small as its readers expect.
        let room = self.block.traces.last().is_some_and(|trace| trace.services.len() < SERVICES_MAX);
        let mut unlisted = false;
        let service = match service {
            Some(text) if room || root => Some(self.place(text)),
            Some(text) => {
                let place = self.places.get(cut(text)).copied();
                unlisted = place.is_none();
                place
            }
            None => None,
        };
        let root = root.then(|| {
            self.root_start = Some(row.start_unix_nano);
            (1 + self.place(name()), service.map_or(0, |service| 1 + service))
        });
        self.rows += 1;
        let Some(trace) = self.block.traces.last_mut() else { return };
        trace.rows += 1;
        trace.start_min = trace.start_min.min(row.start_unix_nano);
        trace.end_max = trace.end_max.max(row.end_unix_nano);
        trace.errors += u64::from(row.is_error);
        trace.more_services |= unlisted;
        if let Some((name, service)) = root {
            trace.root_name = name;
            trace.root_service = service;
        }
        if let Some(service) = service
            && !trace.services.contains(&service)
        {
            if trace.services.len() < SERVICES_MAX {
                trace.services.push(service);
            } else {
                trace.more_services = true;
            }
        }
    }

    fn begin_trace(&mut self, row: &RowFacts) {
        let full = self.block.traces.len() >= BLOCK_TRACES && row.hash != self.newest_hash;
        if full || row.tenant != self.block.tenant {
            self.end_block();
        }
        if self.block.traces.is_empty() {
            self.block.first_hash = row.hash;
        }
        self.block.tenant = row.tenant;
        self.newest_hash = row.hash;
        self.root_start = None;
        self.block.traces.push(Summary::new(&row.trace_id));
    }

    fn place(&mut self, text: &str) -> u32 {
        let text = cut(text);
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.block.texts.len() as u32;
        self.block.texts.push(text.into());
        self.places.insert(text.into(), place);
        place
    }

    fn end_block(&mut self) {
        let next = OpenBlock { first_row: self.rows, ..OpenBlock::default() };
        let ended = std::mem::replace(&mut self.block, next);
        self.places.clear();
        if !ended.traces.is_empty() {
            self.ended.push_back(ended);
        }
    }

    /// What the rows that were pushed last, since the call before, have in the file's columns.
    ///
    /// # Errors
    /// [`FormatError::Parquet`] if a block cannot be compressed, [`FormatError::TooLarge`] if it is more than the
    /// format holds.
    pub(in crate::segment) fn push_columns(&mut self, arrays: &[ArrayRef]) -> Result<(), FormatError> {
        let from = self.rows_with_columns;
        let to = from + arrays.first().map_or(0, |array| array.len() as u64);
        let mut sets = Vec::new();
        let mut traces = Vec::new();
        for block in self.ended.iter_mut().chain([&mut self.block]) {
            let mut next_row = block.first_row;
            for trace in &mut block.traces {
                let first_row = next_row.max(from);
                next_row += trace.rows;
                if first_row < next_row.min(to) {
                    let rows = (first_row - from) as usize..(next_row.min(to) - from) as usize;
                    sets.push((rows, trace.columns));
                    traces.push(trace);
                }
            }
        }
        add_columns(&mut sets, arrays);
        for (trace, (_, columns)) in traces.into_iter().zip(sets) {
            trace.columns = columns;
        }
        self.rows_with_columns = to;
        while let Some(block) = self.ended.pop_front_if(|block| block.first_row + block.rows() <= to) {
            self.write_block(&block)?;
        }
        Ok(())
    }

    fn write_block(&mut self, block: &OpenBlock) -> Result<(), FormatError> {
        let plain = encode_block(&block.traces, &block.texts);
        let packed = zstd::bulk::compress(&plain, 1).map_err(|error| FormatError::Parquet {
            what: "compressing a directory block",
            source: error.into(),
        })?;
        self.index.blocks.push(Block {
            tenant: block.tenant,
            traces: block.traces.len() as u32,
            first_hash: block.first_hash,
            first_row: block.first_row,
            rows: block.rows(),
            offset: self.bytes.len() as u64,
            len: u32::try_from(packed.len()).map_err(|_| FormatError::TooLarge {
                what: "directory block",
                size: packed.len() as u64,
                max: u64::from(u32::MAX),
            })?,
            crc32c: crc32c::crc32c(&packed),
        });
        self.bytes.extend_from_slice(&packed);
        Ok(())
    }

    /// The blocks as they lie at `offset` of the file, and their index.
    ///
    /// # Errors
    /// As [`push_columns`](Self::push_columns), and [`FormatError::Damaged`] if the columns of rows are not known:
    /// then they would not be found.
    pub(in crate::segment) fn finish(
        mut self,
        offset: u64,
    ) -> Result<(Vec<u8>, DirectoryIndex), FormatError> {
        self.end_block();
        if self.rows_with_columns != self.rows {
            let detail = format!("{} rows were listed and {} written", self.rows, self.rows_with_columns);
            return Err(FormatError::damaged(WHAT, detail));
        }
        for block in std::mem::take(&mut self.ended) {
            self.write_block(&block)?;
        }
        for block in &mut self.index.blocks {
            block.offset += offset;
        }
        Ok((self.bytes, self.index))
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default()
}
