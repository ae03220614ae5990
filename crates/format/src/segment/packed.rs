//! Parquet's ways to pack numbers: runs and bits for levels and places in a dictionary, deltas for numbers
//! that follow each other. Each reader can pass over values, which is most of what reading a few rows is.
//!
//! The formats: "Encodings.md" of Parquet, "RLE / Bit-Packing Hybrid" and "DELTA_BINARY_PACKED". Bytes that
//! end too early or contradict themselves are an error.

use parquet::errors::ParquetError;

use super::page::invalid;

fn ends_early() -> ParquetError {
    invalid("ends before its last value")
}

/// Eight bytes from a place on, with zeros behind the end.
#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The number of so many bits that begins at a bit.
#[inline]
pub(super) fn bits_at(bytes: &[u8], bit: usize, width: u32) -> u64 {
    let (at, shift) = (bit / 8, (bit % 8) as u32);
    let mut value = load(bytes, at) >> shift;
    if shift + width > 64 {
        value |= u64::from(bytes.get(at + 8).copied().unwrap_or_default()) << (64 - shift);
    }
    if width < 64 { value & ((1 << width) - 1) } else { value }
}

/// LEB128.
#[inline]
fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, ParquetError> {
    if let Some(byte) = bytes.get(*at).filter(|byte| **byte < 0x80) {
        *at += 1;
        return Ok(u64::from(*byte));
    }
    long_varint(bytes, at)
}

fn long_varint(bytes: &[u8], at: &mut usize) -> Result<u64, ParquetError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or_else(ends_early)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(invalid("has a number without end"))
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Numbers of at most 32 bits, in runs of equal ones or packed bit by bit.
#[derive(Debug, Clone)]
pub(super) struct Hybrid<'p> {
    bytes: &'p [u8],
    at: usize,
    width: u32,
    run: Run,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    Same { value: u32, left: usize },
    Packed { bit: usize, left: usize },
}

impl<'p> Hybrid<'p> {
    pub(super) fn new(bytes: &'p [u8], width: u32) -> Result<Self, ParquetError> {
        if width > 32 {
            return Err(invalid(&format!("has places of {width} bits")));
        }
        Ok(Self { bytes, at: 0, width, run: Run::Same { value: 0, left: 0 } })
    }

    /// The run that the next value is in.
    fn run(&mut self) -> Result<&mut Run, ParquetError> {
        while let Run::Same { left: 0, .. } | Run::Packed { left: 0, .. } = self.run {
            let header = varint(self.bytes, &mut self.at)?;
            let count = usize::try_from(header >> 1).map_err(|_| ends_early())?;
            let width = self.width as usize;
            self.run = if header & 1 == 0 {
                let len = width.div_ceil(8);
                let value = self.bytes.get(self.at..self.at + len).ok_or_else(ends_early)?;
                self.at += len;
                let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
                if u64::from(value) >> width != 0 {
                    return Err(invalid(&format!("has {value} where there are {width} bits")));
                }
                Run::Same { value, left: count }
            } else {
                let bit = self.at * 8;
                let len = count.checked_mul(width).ok_or_else(ends_early)?;
                self.at = self.at.checked_add(len).ok_or_else(ends_early)?;
                // The last group of a page may lack what it does not need.
                let there = self.bytes.len().min(self.at) * 8 - bit.min(self.bytes.len() * 8);
                let count = count.checked_mul(8).ok_or_else(ends_early)?;
                let left = there.checked_div(width).map_or(count, |values| values.min(count));
                Run::Packed { bit, left }
            };
        }
        Ok(&mut self.run)
    }

    /// Passes over values.
    pub(super) fn skip(&mut self, mut count: usize) -> Result<(), ParquetError> {
        let width = self.width as usize;
        while count > 0 {
            let passed = match self.run()? {
                Run::Same { left, .. } => {
                    let passed = count.min(*left);
                    *left -= passed;
                    passed
                }
                Run::Packed { bit, left } => {
                    let passed = count.min(*left);
                    *left -= passed;
                    *bit += passed * width;
                    passed
                }
            };
            count -= passed;
        }
        Ok(())
    }

    /// Gives values one by one to `take`.
    #[inline]
    pub(super) fn each(&mut self, mut count: usize, mut take: impl FnMut(u32)) -> Result<(), ParquetError> {
        let (bytes, width) = (self.bytes, self.width);
        while count > 0 {
            let given = match self.run()? {
                Run::Same { value, left } => {
                    let given = count.min(*left);
                    *left -= given;
                    (0..given).for_each(|_| take(*value));
                    given
                }
                Run::Packed { bit, left } => {
                    let given = count.min(*left);
                    *left -= given;
                    for _ in 0..given {
                        take(bits_at(bytes, *bit, width) as u32);
                        *bit += width as usize;
                    }
                    given
                }
            };
            count -= given;
        }
        Ok(())
    }

    /// Appends values, of eight bits at most.
    pub(super) fn append(&mut self, mut count: usize, values: &mut Vec<u8>) -> Result<(), ParquetError> {
        let (bytes, width) = (self.bytes, self.width);
        while count > 0 {
            let given = match self.run()? {
                Run::Same { value, left } => {
                    let given = count.min(*left);
                    *left -= given;
                    values.resize(values.len() + given, *value as u8);
                    given
                }
                Run::Packed { bit, left } => {
                    // As many as one load has, whatever bit they begin at.
                    let in_load = 57 / width.max(1) as usize;
                    let given = count.min(*left).min(in_load);
                    *left -= given;
                    let mut word = bits_at(bytes, *bit, 57);
                    let mask = (1u64 << width.min(8)) - 1;
                    values.extend((0..given).map(|_| {
                        let value = (word & mask) as u8;
                        word >>= width;
                        value
                    }));
                    *bit += given * width as usize;
                    given
                }
            };
            count -= given;
        }
        Ok(())
    }

    /// How many of the next values are `wanted`, which are passed over.
    pub(super) fn count(&mut self, mut count: usize, wanted: u32) -> Result<usize, ParquetError> {
        let (bytes, width) = (self.bytes, self.width);
        let mut found = 0;
        while count > 0 {
            let passed = match self.run()? {
                Run::Same { value, left } => {
                    let passed = count.min(*left);
                    *left -= passed;
                    found += if *value == wanted { passed } else { 0 };
                    passed
                }
                Run::Packed { bit, left } => {
                    let passed = count.min(*left);
                    *left -= passed;
                    if width == 1 {
                        let ones = ones(bytes, *bit, passed);
                        found += if wanted == 1 { ones } else { passed - ones };
                        *bit += passed;
                    } else {
                        for _ in 0..passed {
                            found += usize::from(bits_at(bytes, *bit, width) as u32 == wanted);
                            *bit += width as usize;
                        }
                    }
                    passed
                }
            };
            count -= passed;
        }
        Ok(found)
    }
}

/// How many of so many bits are set.
fn ones(bytes: &[u8], mut bit: usize, mut count: usize) -> usize {
    let mut ones = 0;
    while count > 0 {
        let now = count.min(57 - bit % 8);
        ones += bits_at(bytes, bit, now as u32).count_ones() as usize;
        bit += now;
        count -= now;
    }
    ones
}

/// Numbers as differences to the one before, packed in blocks. 32-bit numbers are the low half of what it
/// gives.
#[derive(Debug, Clone)]
pub(super) struct Deltas<'p> {
    bytes: &'p [u8],
    at: usize,
    miniblocks: usize,
    miniblock_values: usize,
    /// Values not given yet.
    left: u64,
    next: i64,
    is_first: bool,
    min_delta: i64,
    /// Where the widths of the block's miniblocks are that have not begun.
    widths: std::ops::Range<usize>,
    width: u32,
    bit: usize,
    miniblock_left: usize,
}

impl<'p> Deltas<'p> {
    pub(super) fn new(bytes: &'p [u8]) -> Result<Self, ParquetError> {
        let mut at = 0;
        let block_values = varint(bytes, &mut at)?;
        let miniblocks = varint(bytes, &mut at)?;
        let left = varint(bytes, &mut at)?;
        let next = zigzag(varint(bytes, &mut at)?);
        let miniblock_values = block_values.checked_div(miniblocks).unwrap_or_default();
        if miniblock_values == 0 || miniblock_values % 8 != 0 || block_values > 1 << 20 {
            return Err(invalid("has blocks of deltas of an impossible size"));
        }
        Ok(Self {
            bytes,
            at,
            miniblocks: miniblocks as usize,
            miniblock_values: miniblock_values as usize,
            left,
            next,
            is_first: true,
            min_delta: 0,
            widths: 0..0,
            width: 0,
            bit: 0,
            miniblock_left: 0,
        })
    }

    fn begin_miniblock(&mut self) -> Result<(), ParquetError> {
        if self.widths.is_empty() {
            self.min_delta = zigzag(varint(self.bytes, &mut self.at)?);
            self.widths = self.at..self.at + self.miniblocks;
            self.at += self.miniblocks;
        }
        let width = self.widths.next().and_then(|at| self.bytes.get(at)).ok_or_else(ends_early)?;
        if *width > 64 {
            return Err(invalid(&format!("has deltas of {width} bits")));
        }
        self.width = u32::from(*width);
        self.bit = self.at * 8;
        self.at += self.miniblock_values / 8 * usize::from(*width);
        if self.at > self.bytes.len() {
            return Err(ends_early());
        }
        self.miniblock_left = self.miniblock_values;
        Ok(())
    }

    /// Gives values one by one to `take`.
    #[inline]
    pub(super) fn each(&mut self, mut count: usize, mut take: impl FnMut(i64)) -> Result<(), ParquetError> {
        self.left = self.left.checked_sub(count as u64).ok_or_else(ends_early)?;
        if count > 0 && self.is_first {
            self.is_first = false;
            take(self.next);
            count -= 1;
        }
        while count > 0 {
            if self.miniblock_left == 0 {
                self.begin_miniblock()?;
            }
            let now = count.min(self.miniblock_left);
            for _ in 0..now {
                let delta = bits_at(self.bytes, self.bit, self.width) as i64;
                self.bit += self.width as usize;
                self.next = self.next.wrapping_add(self.min_delta).wrapping_add(delta);
                take(self.next);
            }
            self.miniblock_left -= now;
            count -= now;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
