//! Terms that one trace alone has: a fingerprint and its ordinal, found by a read of some 400 bytes.

use std::ops::Range;

use super::bytes::{Reader, bits_of, pack, packed_len, unpack};
use super::trace_set::TraceSet;
use crate::FormatError;

/// Hashes a block on average: with so many few blocks have more than [`BLOCK_HASHES_MAX`].
const BLOCK_HASHES: usize = 88;
const BLOCK_HASHES_MAX: usize = 128;

const FINGERPRINT_BYTES: usize = 2;

fn ordinal_bits(universe: u32) -> u32 {
    bits_of(u64::from(universe).saturating_sub(1))
}

/// Which block a hash is in.
fn block_of(hash: u64, blocks: usize) -> usize {
    ((u128::from(hash) * blocks as u128) >> 64) as usize
}

/// Appends the blocks of hashes and the ordinal of each; returns how many hashes each block has.
pub(super) fn write(out: &mut Vec<u8>, hashes: &[(u64, u32)], universe: u32) -> Vec<usize> {
    let mut blocks = hashes.len().div_ceil(BLOCK_HASHES);
    let mut counts;
    loop {
        counts = vec![0usize; blocks];
        for (hash, _) in hashes {
            if let Some(count) = counts.get_mut(block_of(*hash, blocks)) {
                *count += 1;
            }
        }
        // Hashes that were chosen to be in one block are not parted by any number of blocks.
        if counts.iter().all(|count| *count <= BLOCK_HASHES_MAX) || blocks >= 2 * hashes.len() {
            break;
        }
        blocks += blocks / 16 + 1;
    }
    let mut entries: Vec<(u32, u16, u32)> = hashes
        .iter()
        .map(|(hash, ordinal)| (block_of(*hash, blocks) as u32, *hash as u16, *ordinal))
        .collect();
    entries.sort_unstable();
    for block in entries.chunk_by(|a, b| a.0 == b.0) {
        for (_, fingerprint, _) in block {
            out.extend_from_slice(&fingerprint.to_le_bytes());
        }
        pack(out, block.iter().map(|(_, _, ordinal)| u64::from(*ordinal)), ordinal_bits(universe));
    }
    counts
}

/// Bytes of a block with so many hashes.
pub(super) fn block_len(hashes: usize, universe: u32) -> Option<usize> {
    hashes.checked_mul(FINGERPRINT_BYTES)?.checked_add(packed_len(hashes, ordinal_bits(universe))?)
}

/// The block of a hash: its bytes among those of all blocks, and how many hashes it has. None if there is none.
pub(super) fn block(counts: &[u32], hash: u64, universe: u32) -> Option<(Range<usize>, usize)> {
    let at = block_of(hash, counts.len());
    let len = |count: &u32| block_len(*count as usize, universe);
    let start = counts.get(..at)?.iter().try_fold(0usize, |sum, count| sum.checked_add(len(count)?))?;
    let count = *counts.get(at)?;
    (count > 0).then_some((start..start.checked_add(len(&count)?)?, count as usize))
}

/// Adds to `set` the traces that a block has for a hash.
pub(super) fn or_into(block: &[u8], hashes: usize, hash: u64, set: &mut TraceSet) -> Result<(), FormatError> {
    let mut reader = Reader::new(block);
    let fingerprints = reader.take(hashes.saturating_mul(FINGERPRINT_BYTES))?;
    let ordinals = reader.rest;
    if block_len(hashes, set.universe()) != Some(block.len()) {
        return Err(reader.damaged());
    }
    let wanted = (hash as u16).to_le_bytes();
    let (fingerprints, _) = fingerprints.as_chunks::<FINGERPRINT_BYTES>();
    for (at, _) in fingerprints.iter().enumerate().filter(|(_, fingerprint)| **fingerprint == wanted) {
        let ordinal = unpack(ordinals, at, ordinal_bits(set.universe()));
        let ordinal = u32::try_from(ordinal).ok().filter(|ordinal| *ordinal < set.universe());
        set.insert(ordinal.ok_or_else(|| reader.damaged())?);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
