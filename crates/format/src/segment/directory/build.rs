//! Collects the directory while rows are written in their order.

use std::collections::HashMap;

use super::block::{Summary, encode_block};
use super::{BLOCK_TRACES, Block, DirectoryIndex, NAME_BYTES_MAX, SERVICES_MAX};
use crate::FormatError;
use crate::segment::slice::RowFacts;

/// Directory blocks and their index, of rows given in the segment's order.
#[derive(Debug)]
pub(in crate::segment) struct DirectoryBuilder {
    /// Finished blocks, one after the other; offsets in the index are still relative to them.
    bytes: Vec<u8>,
    index: DirectoryIndex,
    tenant: u32,
    row: u64,
    block_first_row: u64,
    traces: Vec<Summary>,
    /// Hash of the first and of the newest trace of the block.
    first_hash: u64,
    newest_hash: u64,
    root_start: Option<u64>,
    texts: Vec<Box<str>>,
    places: HashMap<Box<str>, u32>,
}

impl DirectoryBuilder {
    pub(in crate::segment) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            index: DirectoryIndex::default(),
            tenant: 0,
            row: 0,
            block_first_row: 0,
            traces: Vec::new(),
            first_hash: 0,
            newest_hash: 0,
            root_start: None,
            texts: Vec::new(),
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
    ) -> Result<(), FormatError> {
        let same = self.tenant == row.tenant
            && self.traces.last().is_some_and(|trace| trace.trace_id == *row.trace_id.as_bytes());
        if !same {
            self.begin_trace(row)?;
        }
        let root = row.is_root && self.root_start.is_none_or(|start| row.start_unix_nano < start);
        // A text is placed only to be referred to: the block stays as small as its readers expect.
        let room = self.traces.last().is_some_and(|trace| trace.services.len() < SERVICES_MAX);
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
        self.row += 1;
        let Some(trace) = self.traces.last_mut() else { return Ok(()) };
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
        Ok(())
    }

    fn begin_trace(&mut self, row: &RowFacts) -> Result<(), FormatError> {
        let full = self.traces.len() >= BLOCK_TRACES && row.hash != self.newest_hash;
        if full || row.tenant != self.tenant {
            self.end_block()?;
        }
        if self.traces.is_empty() {
            self.first_hash = row.hash;
        }
        self.tenant = row.tenant;
        self.newest_hash = row.hash;
        self.root_start = None;
        self.traces.push(Summary {
            trace_id: *row.trace_id.as_bytes(),
            start_min: u64::MAX,
            ..Summary::default()
        });
        Ok(())
    }

    fn place(&mut self, text: &str) -> u32 {
        let text = cut(text);
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.texts.len() as u32;
        self.texts.push(text.into());
        self.places.insert(text.into(), place);
        place
    }

    fn end_block(&mut self) -> Result<(), FormatError> {
        if self.traces.is_empty() {
            return Ok(());
        }
        let plain = encode_block(&self.traces, &self.texts);
        let packed = zstd::bulk::compress(&plain, 1).map_err(|error| FormatError::Parquet {
            what: "compressing a directory block",
            source: error.into(),
        })?;
        self.index.blocks.push(Block {
            tenant: self.tenant,
            traces: self.traces.len() as u32,
            first_hash: self.first_hash,
            first_row: self.block_first_row,
            rows: self.row - self.block_first_row,
            offset: self.bytes.len() as u64,
            len: u32::try_from(packed.len()).map_err(|_| FormatError::TooLarge {
                what: "directory block",
                size: packed.len() as u64,
                max: u64::from(u32::MAX),
            })?,
            crc32c: crc32c::crc32c(&packed),
        });
        self.bytes.extend_from_slice(&packed);
        self.block_first_row = self.row;
        self.traces.clear();
        self.texts.clear();
        self.places.clear();
        Ok(())
    }

    /// The blocks as they lie at `offset` of the file, and their index.
    pub(in crate::segment) fn finish(
        mut self,
        offset: u64,
    ) -> Result<(Vec<u8>, DirectoryIndex), FormatError> {
        self.end_block()?;
        for block in &mut self.index.blocks {
            block.offset += offset;
        }
        Ok((self.bytes, self.index))
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default()
}
