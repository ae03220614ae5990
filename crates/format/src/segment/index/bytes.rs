//! Numbers of the index in and out of bytes: varints, and bits packed from the lowest of each byte on.

use super::damaged;
use crate::FormatError;
use crate::segment::packed::bits_at;

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// In how many bits a number is.
pub(super) fn bits_of(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Bytes that so many numbers of so many bits take.
pub(super) fn packed_len(count: usize, width: u32) -> Option<usize> {
    Some(count.checked_mul(width as usize)?.div_ceil(8))
}

/// What was not read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn damaged(&self) -> FormatError {
        damaged(format!("contradicts itself {} bytes before the end of a block", self.rest.len()))
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    /// A number that is at most so much.
    pub(super) fn at_most(&mut self, max: usize) -> Result<usize, FormatError> {
        let value = self.varint()?;
        usize::try_from(value).ok().filter(|value| *value <= max).ok_or_else(|| self.damaged())
    }

    /// A number of things of at least `bytes_min` bytes each, which therefore bounds an allocation.
    pub(super) fn count(&mut self, bytes_min: usize) -> Result<usize, FormatError> {
        let mut after = *self;
        after.varint()?;
        self.at_most(after.rest.len() / bytes_min.max(1))
    }

    /// A length and so many bytes.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], FormatError> {
        let len = self.count(1)?;
        self.take(len)
    }
}

/// Packs bits behind bytes.
#[derive(Debug)]
pub(super) struct BitWriter<'o> {
    out: &'o mut Vec<u8>,
    word: u64,
    bits: u32,
}

impl<'o> BitWriter<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, word: 0, bits: 0 }
    }

    /// The lowest bits of a value, which has no others.
    pub(super) fn put(&mut self, value: u64, width: u32) {
        let (low, high) = (width.min(32), width.saturating_sub(32));
        self.put_few(value & u64::from(u32::MAX), low);
        self.put_few(value >> 32, high);
    }

    /// At most 32.
    fn put_few(&mut self, value: u64, width: u32) {
        self.word |= value << self.bits;
        self.bits += width;
        while self.bits >= 8 {
            self.out.push(self.word as u8);
            self.word >>= 8;
            self.bits -= 8;
        }
    }

    /// So many 0 bits and a 1.
    pub(super) fn put_unary(&mut self, mut zeros: u64) {
        while zeros >= 32 {
            self.put_few(0, 32);
            zeros -= 32;
        }
        self.put_few(1 << zeros, zeros as u32 + 1);
    }

    /// Fills up the last byte.
    pub(super) fn finish(self) {
        if self.bits > 0 {
            self.out.push(self.word as u8);
        }
    }
}

/// Appends numbers of so many bits each.
pub(super) fn pack(out: &mut Vec<u8>, values: impl IntoIterator<Item = u64>, width: u32) {
    let mut bits = BitWriter::new(out);
    values.into_iter().for_each(|value| bits.put(value, width));
    bits.finish();
}

/// The number at a place among packed ones; 0 behind the last.
#[inline]
pub(super) fn unpack(bytes: &[u8], at: usize, width: u32) -> u64 {
    if width == 0 { 0 } else { bits_at(bytes, at.saturating_mul(width as usize), width) }
}

/// Reads bits one after the other; 0 behind the last byte.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    bit: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, bit: 0 }
    }

    /// How many 0 bits come before the next 1, if that is at most `max`.
    #[inline]
    pub(super) fn unary(&mut self, max: u64) -> Option<u64> {
        let mut zeros = 0u64;
        while zeros <= max && self.bit < self.bytes.len().saturating_mul(8) {
            let word = bits_at(self.bytes, self.bit, 57);
            let now = word.trailing_zeros();
            if now < 57 {
                self.bit += now as usize + 1;
                zeros += u64::from(now);
                return Some(zeros).filter(|zeros| *zeros <= max);
            }
            self.bit += 57;
            zeros += 57;
        }
        None
    }

    #[inline]
    pub(super) fn bits(&mut self, width: u32) -> u64 {
        if width == 0 {
            return 0;
        }
        let value = bits_at(self.bytes, self.bit, width);
        self.bit += width as usize;
        value
    }

    /// Whether no bit was read behind the last byte.
    pub(super) fn is_within(&self) -> bool {
        self.bit.div_ceil(8) <= self.bytes.len()
    }

    pub(super) fn bytes_read(&self) -> usize {
        self.bit.div_ceil(8)
    }
}

#[cfg(test)]
mod tests;
