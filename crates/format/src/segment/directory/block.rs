//! One block of the directory, in and out of its bytes.

use std::collections::HashMap;

use tracelake_model::TraceId;
use zstd::zstd_safe::get_frame_content_size;

use super::{Block, NAME_BYTES_MAX, RootSpan, SERVICES_MAX, TraceEntry, VERSION_WITH_COLUMNS, WHAT};
use crate::FormatError;
use crate::segment::column_set::ColumnSet;
use crate::segment::inflate::inflate;

/// What a block inflates to at most: a hundred times a full one, as traces of equal hash share a block.
const BLOCK_BYTES_MAX: u64 = 256 << 20;

/// A trace as the builder collects it, its texts by their place in the block's dictionary.
#[derive(Debug, Clone)]
pub(super) struct Summary {
    pub(super) trace_id: [u8; 16],
    pub(super) rows: u64,
    pub(super) start_min: u64,
    pub(super) end_max: u64,
    pub(super) errors: u64,
    /// Root name and service: 0 for none, else 1 + text.
    pub(super) root_name: u32,
    pub(super) root_service: u32,
    pub(super) services: Vec<u32>,
    pub(super) more_services: bool,
    pub(super) columns: ColumnSet,
}

impl Summary {
    /// Of no row yet.
    pub(super) fn new(trace_id: &TraceId) -> Self {
        Self {
            trace_id: *trace_id.as_bytes(),
            rows: 0,
            start_min: u64::MAX,
            end_max: 0,
            errors: 0,
            root_name: 0,
            root_service: 0,
            services: Vec::new(),
            more_services: false,
            columns: ColumnSet::NONE,
        }
    }
}

pub(super) fn encode_block(traces: &[Summary], texts: &[Box<str>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * traces.len());
    put_varint(&mut out, traces.len() as u64);
    put_varint(&mut out, texts.len() as u64);
    for text in texts {
        put_varint(&mut out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    for trace in traces {
        out.extend_from_slice(&trace.trace_id);
    }
    let base = traces.iter().map(|trace| trace.start_min).min().unwrap_or_default();
    out.extend_from_slice(&base.to_le_bytes());
    for trace in traces {
        put_varint(&mut out, trace.rows);
    }
    for trace in traces {
        put_varint(&mut out, trace.start_min - base);
    }
    for trace in traces {
        put_varint(&mut out, zigzag(trace.end_max.wrapping_sub(trace.start_min) as i64));
    }
    for trace in traces {
        put_varint(&mut out, trace.errors);
    }
    for trace in traces {
        put_varint(&mut out, u64::from(trace.root_name));
    }
    for trace in traces {
        put_varint(&mut out, u64::from(trace.root_service));
    }
    for trace in traces {
        put_varint(&mut out, 2 * trace.services.len() as u64 + u64::from(trace.more_services));
    }
    for service in traces.iter().flat_map(|trace| &trace.services) {
        put_varint(&mut out, u64::from(*service));
    }
    let (mut sets, mut places) = (Vec::new(), HashMap::new());
    let of_traces = traces.iter().map(|trace| {
        *places.entry(trace.columns).or_insert_with(|| {
            sets.push(trace.columns);
            sets.len() - 1
        })
    });
    let of_traces: Vec<usize> = of_traces.collect();
    put_varint(&mut out, sets.len() as u64);
    for set in &sets {
        out.extend_from_slice(&set.to_le_bytes());
    }
    for set in of_traces {
        put_varint(&mut out, set as u64);
    }
    out
}

/// A block of the directory as it is kept in memory: decoded once, asked for many traces.
#[derive(Debug)]
pub struct DirectoryBlock {
    /// In order of rows.
    traces: Box<[Listed]>,
    /// Of all traces, one after the other, by their place among the texts.
    services: Box<[u32]>,
    /// One after the other, and behind the last byte of each.
    texts: Box<str>,
    texts_end: Box<[u32]>,
    /// Of columns; none if nothing is known of them.
    sets: Box<[ColumnSet]>,
}

/// Texts are told by their place; a root's by one more, so that 0 is none.
#[derive(Debug)]
struct Listed {
    trace_id: TraceId,
    first_row: u64,
    rows: u64,
    start: u64,
    end: u64,
    errors: u64,
    root_name: u32,
    root_service: u32,
    /// Behind its last.
    services_end: u32,
    more_services: bool,
    /// Its place among the sets.
    columns: u32,
}

impl DirectoryBlock {
    /// From a block's bytes, which are verified against its checksum first; `version` is that of the index.
    pub(in crate::segment) fn decode(block: &Block, version: u32, bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() as u64 != u64::from(block.len) || crc32c::crc32c(bytes) != block.crc32c {
            return Err(FormatError::damaged(
                WHAT,
                format!("checksum of the block at byte {} differs", block.offset),
            ));
        }
        let plain = inflate_block(bytes, block.traces)?;
        let mut reader = Reader { rest: &plain };
        let decoded = read_block(&mut reader, block, version)?;
        if !reader.rest.is_empty() {
            return Err(reader.damaged());
        }
        Ok(decoded)
    }

    /// The entry of a trace, if it is listed.
    pub fn find(&self, trace_id: &TraceId) -> Option<TraceEntry> {
        self.traces.iter().position(|listed| listed.trace_id == *trace_id).and_then(|at| self.entry(at))
    }

    /// The entry of the trace that has a row of the segment, if it is listed.
    pub fn trace_of_row(&self, row: u64) -> Option<TraceEntry> {
        let after = self.traces.partition_point(|listed| listed.first_row <= row);
        self.entry(after.checked_sub(1)?).filter(|entry| entry.row_range().contains(&row))
    }

    /// All entries, in order of rows.
    pub fn entries(&self) -> impl Iterator<Item = TraceEntry> {
        (0..self.traces.len()).filter_map(|at| self.entry(at))
    }

    /// What it keeps in memory.
    pub fn heap_bytes(&self) -> usize {
        let texts = self.texts.len() + size_of_val(&*self.texts_end);
        size_of_val(&*self.traces) + size_of_val(&*self.services) + texts + size_of_val(&*self.sets)
    }

    fn text(&self, place: u32) -> Option<Box<str>> {
        let place = place as usize;
        let start = place.checked_sub(1).and_then(|before| self.texts_end.get(before)).copied();
        let end = *self.texts_end.get(place)?;
        self.texts.get(start.unwrap_or_default() as usize..end as usize).map(Box::from)
    }

    fn entry(&self, at: usize) -> Option<TraceEntry> {
        let listed = self.traces.get(at)?;
        let before = at.checked_sub(1).and_then(|before| self.traces.get(before));
        let services = before.map_or(0, |before| before.services_end as usize)..listed.services_end as usize;
        let optional = |code: u32| code.checked_sub(1).and_then(|place| self.text(place));
        Some(TraceEntry {
            trace_id: listed.trace_id,
            first_row: listed.first_row,
            rows: listed.rows,
            start_unix_nano_min: listed.start,
            end_unix_nano_max: listed.end,
            errors: listed.errors,
            root: optional(listed.root_name)
                .map(|name| RootSpan { name, service: optional(listed.root_service) }),
            services: self.services.get(services)?.iter().filter_map(|place| self.text(*place)).collect(),
            more_services: listed.more_services,
            columns: self.sets.get(listed.columns as usize).copied().unwrap_or(ColumnSet::ALL),
        })
    }
}

/// What a damaged block says of its size allocates no more than its traces can need.
fn inflate_block(bytes: &[u8], traces: u32) -> Result<Vec<u8>, FormatError> {
    let max = u64::from(traces) * (96 + (2 + SERVICES_MAX) * (NAME_BYTES_MAX + 16)) as u64 + 64;
    let size = get_frame_content_size(bytes).ok().flatten();
    let size = size.ok_or_else(|| FormatError::damaged(WHAT, "a block does not say how large it is"))?;
    if size > max.min(BLOCK_BYTES_MAX) {
        return Err(FormatError::damaged(WHAT, "a block is larger than its traces can be"));
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    inflate(bytes, size).map_err(|error| FormatError::damaged(WHAT, format!("cannot be inflated: {error}")))
}

fn read_block(reader: &mut Reader<'_>, block: &Block, version: u32) -> Result<DirectoryBlock, FormatError> {
    let count = reader.count(16)?;
    if count as u64 != u64::from(block.traces) {
        return Err(reader.damaged());
    }
    let (texts, texts_end) = reader.texts()?;
    let known_texts = texts_end.len() as u64;
    let mut traces = Vec::with_capacity(count);
    for id in reader.take(16 * count)?.as_chunks::<16>().0 {
        traces.push(Listed {
            trace_id: TraceId::from_bytes(id).ok_or_else(|| reader.damaged())?,
            first_row: 0,
            rows: 0,
            start: 0,
            end: 0,
            errors: 0,
            root_name: 0,
            root_service: 0,
            services_end: 0,
            more_services: false,
            columns: 0,
        });
    }
    let base = reader.take(8)?.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let mut next_row = block.first_row;
    for trace in &mut traces {
        trace.first_row = next_row;
        trace.rows = reader.varint()?;
        next_row = next_row.checked_add(trace.rows).ok_or_else(|| reader.damaged())?;
    }
    if next_row.checked_sub(block.first_row) != Some(block.rows) {
        return Err(reader.damaged());
    }
    for trace in &mut traces {
        trace.start = base.checked_add(reader.varint()?).ok_or_else(|| reader.damaged())?;
    }
    for trace in &mut traces {
        let span = unzigzag(reader.varint()?);
        trace.end = trace.start.checked_add_signed(span).ok_or_else(|| reader.damaged())?;
    }
    for trace in &mut traces {
        trace.errors = reader.varint()?;
    }
    for trace in &mut traces {
        trace.root_name = reader.below(known_texts + 1)?;
    }
    for trace in &mut traces {
        trace.root_service = reader.below(known_texts + 1)?;
    }
    let mut services_end = 0u32;
    for trace in &mut traces {
        let listed = reader.varint()?;
        // At most so many of each trace: their sum is far below what 32 bits hold.
        let services = u32::try_from(listed / 2).ok().filter(|services| *services as usize <= SERVICES_MAX);
        services_end = services
            .and_then(|services| services_end.checked_add(services))
            .ok_or_else(|| reader.damaged())?;
        trace.services_end = services_end;
        trace.more_services = listed % 2 == 1;
    }
    let services = (0..services_end).map(|_| reader.below(known_texts)).collect::<Result<_, _>>()?;
    let mut sets = Box::default();
    if version >= VERSION_WITH_COLUMNS {
        let count = reader.count(16)?;
        let bytes = reader.take(16 * count)?.as_chunks::<16>().0;
        sets = bytes.iter().map(|set| ColumnSet::from_le_bytes(*set)).collect();
        for trace in &mut traces {
            trace.columns = reader.below(count as u64)?;
        }
    }
    Ok(DirectoryBlock { traces: traces.into(), services, texts, texts_end, sets })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn damaged(&self) -> FormatError {
        FormatError::damaged(
            WHAT,
            format!("a block contradicts itself {} bytes before its end", self.rest.len()),
        )
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, FormatError> {
        // One byte, as most are.
        if let Some((byte, rest)) = self.rest.split_first()
            && *byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or_else(|| self.damaged())?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    /// A place among so many.
    fn below(&mut self, count: u64) -> Result<u32, FormatError> {
        let place = self.varint()?;
        u32::try_from(place).ok().filter(|_| place < count).ok_or_else(|| self.damaged())
    }

    /// A number of things of at least `bytes_min` bytes each, which therefore bounds an allocation.
    fn count(&mut self, bytes_min: usize) -> Result<usize, FormatError> {
        let count = usize::try_from(self.varint()?).map_err(|_| self.damaged())?;
        if count > self.rest.len() / bytes_min { Err(self.damaged()) } else { Ok(count) }
    }

    /// Texts one after the other, and behind the last byte of each.
    fn texts(&mut self) -> Result<(Box<str>, Box<[u32]>), FormatError> {
        let count = self.count(1)?;
        let (mut texts, mut ends) = (String::new(), Vec::with_capacity(count));
        for _ in 0..count {
            let len = self.count(1)?;
            texts.push_str(std::str::from_utf8(self.take(len)?).map_err(|_| self.damaged())?);
            ends.push(u32::try_from(texts.len()).map_err(|_| self.damaged())?);
        }
        Ok((texts.into(), ends.into()))
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
