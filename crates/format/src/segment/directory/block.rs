//! One block of the directory, in and out of its bytes.

use std::io::Read;

use tracelake_model::TraceId;

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

/// The block's entries that are wanted. The bytes are verified against the block's checksum first.
pub(in crate::segment) fn decode_block(
    block: &Block,
    bytes: &[u8],
    is_wanted: impl Fn(&TraceId) -> bool,
) -> Result<Vec<TraceEntry>, FormatError> {
    if bytes.len() as u64 != u64::from(block.len) || crc32c::crc32c(bytes) != block.crc32c {
        return Err(FormatError::damaged(
            WHAT,
            format!("checksum of the block at byte {} differs", block.offset),
        ));
    }
    let plain = inflate(bytes, block.traces)?;
    let mut reader = Reader { rest: &plain };
    let entries = read_entries(&mut reader, block, is_wanted)?;
    if !reader.rest.is_empty() {
        return Err(reader.damaged());
    }
    Ok(entries)
}

/// Inflates step by step: what a damaged block says of its size must not allocate it.
fn inflate(bytes: &[u8], traces: u32) -> Result<Vec<u8>, FormatError> {
    let max = u64::from(traces) * (64 + (2 + SERVICES_MAX) * (NAME_BYTES_MAX + 16)) as u64 + 64;
    let max = max.min(BLOCK_BYTES_MAX);
    let refused = |error: std::io::Error| FormatError::damaged(WHAT, format!("cannot be inflated: {error}"));
    let mut plain = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(refused)?;
    decoder.take(max + 1).read_to_end(&mut plain).map_err(refused)?;
    if plain.len() as u64 > max {
        return Err(FormatError::damaged(WHAT, "a block is larger than its traces can be"));
    }
    Ok(plain)
}

fn read_entries(
    reader: &mut Reader<'_>,
    block: &Block,
    is_wanted: impl Fn(&TraceId) -> bool,
) -> Result<Vec<TraceEntry>, FormatError> {
    let traces = reader.count(16)?;
    if traces as u64 != u64::from(block.traces) {
        return Err(reader.damaged());
    }
    let texts = reader.count(1)?;
    let texts: Vec<&str> = (0..texts).map(|_| reader.text()).collect::<Result<_, _>>()?;
    let ids: Vec<TraceId> = (0..traces)
        .map(|_| TraceId::from_bytes(reader.take(16)?).ok_or_else(|| reader.damaged()))
        .collect::<Result<_, _>>()?;
    let base = reader.take(8)?.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let rows = reader.varints(traces)?;
    let starts = reader.varints(traces)?;
    let spans = reader.varints(traces)?;
    let errors = reader.varints(traces)?;
    let root_names = reader.varints(traces)?;
    let root_services = reader.varints(traces)?;
    let services = reader.varints(traces)?;
    let mut first_row = block.first_row;
    let mut entries = Vec::new();
    let columns = ids.iter().zip(&rows).zip(&starts).zip(&spans).zip(&errors);
    let columns = columns.zip(&root_names).zip(&root_services).zip(&services);
    for (((((((id, rows), start), span), errors), root_name), root_service), services) in columns {
        let listed = services / 2;
        if listed > SERVICES_MAX as u64 {
            return Err(reader.damaged());
        }
        let first = first_row;
        first_row = first_row.checked_add(*rows).ok_or_else(|| reader.damaged())?;
        if !is_wanted(id) {
            reader.skip_varints(listed)?;
            continue;
        }
        let text = |place: u64| usize::try_from(place).ok().and_then(|place| texts.get(place)).copied();
        let optional = |code: u64| match code.checked_sub(1) {
            None => Some(None),
            Some(place) => text(place).map(|text| Some(Box::<str>::from(text))),
        };
        let (Some(root_name), Some(root_service)) = (optional(*root_name), optional(*root_service)) else {
            return Err(reader.damaged());
        };
        let listed = (0..listed)
            .map(|_| Ok(text(reader.varint()?).ok_or_else(|| reader.damaged())?.into()))
            .collect::<Result<Vec<Box<str>>, FormatError>>()?;
        let start = base.checked_add(*start).ok_or_else(|| reader.damaged())?;
        entries.push(TraceEntry {
            trace_id: *id,
            first_row: first,
            rows: *rows,
            start_unix_nano_min: start,
            end_unix_nano_max: start.checked_add_signed(unzigzag(*span)).ok_or_else(|| reader.damaged())?,
            errors: *errors,
            root: root_name.map(|name| RootSpan { name, service: root_service }),
            services: listed,
            more_services: services % 2 == 1,
        });
    }
    if first_row.checked_sub(block.first_row) != Some(block.rows) {
        return Err(reader.damaged());
    }
    Ok(entries)
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

    fn skip_varints(&mut self, count: u64) -> Result<(), FormatError> {
        (0..count).try_for_each(|_| self.varint().map(drop))
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
