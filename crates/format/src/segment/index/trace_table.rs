//! What a part says of each of its traces, so that a search can order and leave out traces without the directory.

use std::ops::Range;

use bytes::Bytes;

use super::bytes::{Reader, bits_of, pack, packed_len, unpack};
use super::damaged;
use crate::FormatError;

/// Says nothing of a duration.
const ANY_DURATION: u8 = u8::MAX;

/// A trace as the builder collects it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TraceRows {
    pub(super) rows: u32,
    pub(super) start_min: u64,
    pub(super) end_max: u64,
}

pub(super) fn write(out: &mut Vec<u8>, traces: &[TraceRows]) {
    let base = traces.iter().map(|trace| trace.start_min).min().unwrap_or_default();
    let bits_of_max =
        |value: &dyn Fn(&TraceRows) -> u64| bits_of(traces.iter().map(value).max().unwrap_or_default());
    let rows = |trace: &TraceRows| u64::from(trace.rows);
    let start = |trace: &TraceRows| trace.start_min - base;
    let (rows_bits, start_bits) = (bits_of_max(&rows), bits_of_max(&start));
    out.extend_from_slice(&base.to_le_bytes());
    out.extend_from_slice(&[rows_bits as u8, start_bits as u8]);
    pack(out, traces.iter().map(rows), rows_bits);
    pack(out, traces.iter().map(start), start_bits);
    out.extend(traces.iter().map(|trace| duration_byte(trace.end_max.saturating_sub(trace.start_min))));
}

/// The least byte that says at least so much.
pub(super) fn duration_byte(nanoseconds: u64) -> u8 {
    let Some(power) = nanoseconds.checked_ilog2() else { return 0 };
    let least = (4 * power) as u8;
    (least..least.saturating_add(5)).find(|byte| duration_of(*byte) >= nanoseconds).unwrap_or(ANY_DURATION)
}

pub(super) fn duration_of(byte: u8) -> u64 {
    match byte {
        ANY_DURATION => u64::MAX,
        _ => (((4 + u128::from(byte) % 4) << (byte / 4)) / 4) as u64,
    }
}

/// The traces of a part, by ordinal.
#[derive(Debug)]
pub struct TraceTable {
    first_row: u64,
    /// Behind the last row of each, counted from the part's first.
    rows_end: Box<[u32]>,
    base: u64,
    start_bits: u32,
    starts: Bytes,
    durations: Bytes,
}

impl TraceTable {
    /// Of a part with so many traces and rows.
    pub(super) fn read(bytes: &Bytes, traces: u32, first_row: u64, rows: u32) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let base = u64::from_le_bytes(reader.array()?);
        let [rows_bits, start_bits] = reader.array()?.map(u32::from);
        if rows_bits > 32 || start_bits > 64 {
            return Err(reader.damaged());
        }
        let count = traces as usize;
        let packed = |width| packed_len(count, width).ok_or_else(|| damaged("has too many traces"));
        let rows_packed = reader.take(packed(rows_bits)?)?;
        let starts = bytes.slice_ref(reader.take(packed(start_bits)?)?);
        let durations = bytes.slice_ref(reader.take(count)?);
        let mut end = 0u32;
        let mut rows_end = Vec::with_capacity(count);
        for at in 0..count {
            let rows = unpack(rows_packed, at, rows_bits) as u32;
            end = end.checked_add(rows).filter(|_| rows > 0).ok_or_else(|| reader.damaged())?;
            rows_end.push(end);
        }
        if end != rows || !reader.rest.is_empty() {
            return Err(damaged("the rows of a part's traces are not those of the part"));
        }
        Ok(Self { first_row, rows_end: rows_end.into(), base, start_bits, starts, durations })
    }

    /// How many traces.
    pub fn len(&self) -> usize {
        self.rows_end.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.rows_end.is_empty()
    }

    /// The rows of a trace in the segment, as far as they are of this part; none beyond the last trace.
    pub fn rows(&self, ordinal: u32) -> Range<u64> {
        let end = |at: usize| self.rows_end.get(at).copied();
        let at = ordinal as usize;
        let Some(rows_end) = end(at) else { return 0..0 };
        let start = at.checked_sub(1).and_then(end).unwrap_or_default();
        self.first_row + u64::from(start)..self.first_row + u64::from(rows_end)
    }

    /// The earliest start of those rows.
    pub fn start_unix_nano_min(&self, ordinal: u32) -> u64 {
        self.base.saturating_add(unpack(&self.starts, ordinal as usize, self.start_bits))
    }

    /// The latest start or end of those rows is at most so long after [`start_unix_nano_min`](Self::start_unix_nano_min). At
    /// most a quarter more than it is.
    pub fn duration_nano_max(&self, ordinal: u32) -> u64 {
        self.durations.get(ordinal as usize).map_or(u64::MAX, |byte| duration_of(*byte))
    }

    /// Bytes that it takes, for accounting.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.rows_end) + self.starts.len() + self.durations.len()
    }
}

#[cfg(test)]
mod tests;
