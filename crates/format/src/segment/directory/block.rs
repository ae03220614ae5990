//! One block of the directory, in and out of its bytes.

use tracelake_model::TraceId;
use zstd::zstd_safe::get_frame_content_size;

use super::{Block, NAME_BYTES_MAX, RootSpan, SERVICES_MAX, TraceEntry, WHAT};
use crate::FormatError;

/// What a block inflates to at most: a hundred times a full one, as traces of equal hash share a block.
const BLOCK_BYTES_MAX: u64 = 256 << 20;

/// A trace as the builder collects it, its texts by their place in the block's dictionary.
#[derive(Debug, Default, Clone)]
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
    out
}

/// A block of the directory as it is kept in memory: decoded once, asked for many traces.
#[derive(Debug)]
pub struct DirectoryBlock {
    /// In order of rows.
    traces: Box<[Listed]>,
    /// Of all traces, one after the other, by their place among the texts.
    services: Box<[u32]>,
    texts: Box<[Box<str>]>,
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
}

impl DirectoryBlock {
    /// From a block's bytes, which are verified against its checksum first.
    pub(in crate::segment) fn decode(block: &Block, bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() as u64 != u64::from(block.len) || crc32c::crc32c(bytes) != block.crc32c {
            return Err(FormatError::damaged(
                WHAT,
                format!("checksum of the block at byte {} differs", block.offset),
            ));
        }
        let plain = inflate(bytes, block.traces)?;
        let mut reader = Reader { rest: &plain };
        let decoded = read_block(&mut reader, block)?;
        if !reader.rest.is_empty() {
            return Err(reader.damaged());
        }
        Ok(decoded)
    }

    /// The entry of a trace, if it is listed.
    pub fn find(&self, trace_id: &TraceId) -> Option<TraceEntry> {
        self.traces.iter().position(|listed| listed.trace_id == *trace_id).and_then(|at| self.entry(at))
    }

    /// All entries, in order of rows.
    pub fn entries(&self) -> impl Iterator<Item = TraceEntry> {
        (0..self.traces.len()).filter_map(|at| self.entry(at))
    }

    /// What it keeps in memory.
    pub fn heap_bytes(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| size_of::<Box<str>>() + text.len()).sum();
        size_of_val(&*self.traces) + size_of_val(&*self.services) + texts
    }

    fn entry(&self, at: usize) -> Option<TraceEntry> {
        let listed = self.traces.get(at)?;
        let before = at.checked_sub(1).and_then(|before| self.traces.get(before));
        let services = before.map_or(0, |before| before.services_end as usize)..listed.services_end as usize;
        let text = |place: u32| self.texts.get(place as usize).cloned();
        let optional = |code: u32| code.checked_sub(1).and_then(text);
        Some(TraceEntry {
            trace_id: listed.trace_id,
            first_row: listed.first_row,
            rows: listed.rows,
            start_unix_nano_min: listed.start,
            end_unix_nano_max: listed.end,
            errors: listed.errors,
            root: optional(listed.root_name)
                .map(|name| RootSpan { name, service: optional(listed.root_service) }),
            services: self.services.get(services)?.iter().filter_map(|place| text(*place)).collect(),
            more_services: listed.more_services,
        })
    }
}

/// What a damaged block says of its size allocates no more than its traces can need.
fn inflate(bytes: &[u8], traces: u32) -> Result<Vec<u8>, FormatError> {
    let max = u64::from(traces) * (64 + (2 + SERVICES_MAX) * (NAME_BYTES_MAX + 16)) as u64 + 64;
    let size = get_frame_content_size(bytes).ok().flatten();
    let size = size.ok_or_else(|| FormatError::damaged(WHAT, "a block does not say how large it is"))?;
    if size > max.min(BLOCK_BYTES_MAX) {
        return Err(FormatError::damaged(WHAT, "a block is larger than its traces can be"));
    }
    zstd::bulk::decompress(bytes, usize::try_from(size).unwrap_or(usize::MAX))
        .map_err(|error| FormatError::damaged(WHAT, format!("cannot be inflated: {error}")))
}

fn read_block(reader: &mut Reader<'_>, block: &Block) -> Result<DirectoryBlock, FormatError> {
    let count = reader.count(16)?;
    if count as u64 != u64::from(block.traces) {
        return Err(reader.damaged());
    }
    let texts = reader.count(1)?;
    let texts: Box<[Box<str>]> =
        (0..texts).map(|_| reader.text().map(Box::from)).collect::<Result<_, _>>()?;
    let ids = reader.take(16 * count)?.chunks_exact(16);
    let base = reader.take(8)?.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let rows = reader.varints(count)?;
    let starts = reader.varints(count)?;
    let spans = reader.varints(count)?;
    let errors = reader.varints(count)?;
    let root_names = reader.varints(count)?;
    let root_services = reader.varints(count)?;
    let listed_services = reader.varints(count)?;

    // Which text there is, so that what is found later has one.
    let place = |reader: &Reader<'_>, place: u64| {
        let known = u32::try_from(place).ok().filter(|place| (*place as usize) < texts.len());
        known.ok_or_else(|| reader.damaged())
    };
    let optional = |reader: &Reader<'_>, code: u64| match code.checked_sub(1) {
        None => Ok(0),
        Some(text) => place(reader, text).map(|place| place + 1),
    };
    let (mut traces, mut services) = (Vec::with_capacity(count), Vec::new());
    let mut first_row = block.first_row;
    let columns = ids.zip(rows).zip(starts).zip(spans).zip(errors);
    let columns = columns.zip(root_names).zip(root_services).zip(listed_services);
    for (((((((id, rows), start), span), errors), root_name), root_service), listed) in columns {
        if listed / 2 > SERVICES_MAX as u64 {
            return Err(reader.damaged());
        }
        for _ in 0..listed / 2 {
            let service = reader.varint()?;
            services.push(place(reader, service)?);
        }
        let start = base.checked_add(start).ok_or_else(|| reader.damaged())?;
        traces.push(Listed {
            trace_id: TraceId::from_bytes(id).ok_or_else(|| reader.damaged())?,
            first_row,
            rows,
            start,
            end: start.checked_add_signed(unzigzag(span)).ok_or_else(|| reader.damaged())?,
            errors,
            root_name: optional(reader, root_name)?,
            root_service: optional(reader, root_service)?,
            services_end: u32::try_from(services.len()).map_err(|_| reader.damaged())?,
            more_services: listed % 2 == 1,
        });
        first_row = first_row.checked_add(rows).ok_or_else(|| reader.damaged())?;
    }
    if first_row.checked_sub(block.first_row) != Some(block.rows) {
        return Err(reader.damaged());
    }
    Ok(DirectoryBlock { traces: traces.into(), services: services.into(), texts })
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

    fn varint(&mut self) -> Result<u64, FormatError> {
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

    fn varints(&mut self, count: usize) -> Result<Vec<u64>, FormatError> {
        (0..count).map(|_| self.varint()).collect()
    }

    /// A number of things of at least `bytes_min` bytes each, which therefore bounds an allocation.
    fn count(&mut self, bytes_min: usize) -> Result<usize, FormatError> {
        let count = usize::try_from(self.varint()?).map_err(|_| self.damaged())?;
        if count > self.rest.len() / bytes_min { Err(self.damaged()) } else { Ok(count) }
    }

    fn text(&mut self) -> Result<&'a str, FormatError> {
        let len = self.count(1)?;
        std::str::from_utf8(self.take(len)?).map_err(|_| self.damaged())
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
