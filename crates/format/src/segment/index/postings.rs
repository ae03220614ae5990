//! Sets of ordinals as they are stored: the gaps between them, or a bitmap.

use super::bytes::{BitReader, BitWriter, Reader, bits_of, put_varint};
use super::trace_set::TraceSet;
use crate::FormatError;

/// Appends a set, ascending and each once, of ordinals below `universe`.
pub(super) fn write(out: &mut Vec<u8>, ordinals: &[u32], universe: u32) {
    let count = ordinals.len() as u64;
    let is_partial = count > 0 && count < u64::from(universe);
    let gaps = || {
        let before = std::iter::once(0).chain(ordinals.iter().map(|ordinal| u64::from(*ordinal) + 1));
        ordinals.iter().zip(before).map(|(ordinal, least)| u64::from(*ordinal).saturating_sub(least))
    };
    let k = parameter(count, universe);
    let bitmap_len = universe.div_ceil(8) as usize;
    let rice_bits: u64 = gaps().map(|gap| (gap >> k) + 1 + u64::from(k)).sum();
    let is_bitmap = is_partial && rice_bits.div_ceil(8) > bitmap_len as u64;
    put_varint(out, count << 1 | u64::from(is_bitmap));
    if is_bitmap {
        let from = out.len();
        out.resize(from + bitmap_len, 0);
        for ordinal in ordinals {
            if let Some(byte) = out.get_mut(from + *ordinal as usize / 8) {
                *byte |= 1 << (ordinal % 8);
            }
        }
    } else if is_partial {
        let mut bits = BitWriter::new(out);
        for gap in gaps() {
            bits.put_unary(gap >> k);
            bits.put(gap & ((1 << k) - 1), k);
        }
        bits.finish();
    }
}

/// Bits of a gap's lower part: of the mean gap, which is within half a bit of the best.
fn parameter(count: u64, universe: u32) -> u32 {
    bits_of(u64::from(universe) / count.max(1)).saturating_sub(1)
}

/// Adds the set that bytes begin with to `set`, which has its universe; what is behind it.
pub(super) fn or_into<'a>(bytes: &'a [u8], set: &mut TraceSet) -> Result<&'a [u8], FormatError> {
    let mut reader = Reader::new(bytes);
    let (count, is_bitmap) = head(&mut reader, set.universe())?;
    let universe = set.universe();
    if count == universe {
        set.insert_all();
    } else if is_bitmap {
        set.or_bitmap(reader.take(universe.div_ceil(8) as usize)?)?;
    } else if count > 0 {
        let k = parameter(count.into(), universe);
        let mut bits = BitReader::new(reader.rest);
        let mut next = 0u64;
        for _ in 0..count {
            let high = bits.unary(u64::from(universe) >> k).ok_or_else(|| reader.damaged())?;
            let ordinal = next + (high << k | bits.bits(k));
            let ordinal = u32::try_from(ordinal).ok().filter(|ordinal| *ordinal < universe);
            let ordinal = ordinal.ok_or_else(|| reader.damaged())?;
            set.insert(ordinal);
            next = u64::from(ordinal) + 1;
        }
        if !bits.is_within() {
            return Err(reader.damaged());
        }
        reader.take(bits.bytes_read())?;
    }
    Ok(reader.rest)
}

/// How many are in the set that bytes begin with.
pub(super) fn count(bytes: &[u8], universe: u32) -> Result<u32, FormatError> {
    head(&mut Reader::new(bytes), universe).map(|(count, _)| count)
}

fn head(reader: &mut Reader<'_>, universe: u32) -> Result<(u32, bool), FormatError> {
    let head = reader.varint()?;
    let count = u32::try_from(head >> 1).ok().filter(|count| *count <= universe);
    Ok((count.ok_or_else(|| reader.damaged())?, head & 1 == 1))
}

#[cfg(test)]
mod tests;
