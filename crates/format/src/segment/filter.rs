//! Whether a segment can hold a trace, or a part of its attribute index a value: a binary fuse filter, built with
//! `xorf`, read here, because the layout is on disk and the bytes may be damaged. docs/formats/segment.md, "Filters".

use bytes::Bytes;
use xorf::{BinaryFuse8, BinaryFuse32};

use crate::FormatError;

const MAGIC: [u8; 4] = *b"TLFI";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;

/// Its kinds, by their numbers.
const NOTHING: u32 = 0;
const FUSE_32: u32 = 1;
const ANYTHING: u32 = 2;
const FUSE_8: u32 = 3;

const WHAT: &str = "filter";

/// Of the binary fuse filter: longer segments gain nothing (Graf and Lemire, 2022).
const SEGMENT_LENGTH_MAX: u32 = 1 << 18;

/// A set of keys: no false "no", and a false "yes" once in 4 billion, or in 256 where bytes count more.
#[derive(Debug, Clone)]
pub struct KeyFilter {
    keys: u32,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Nothing,
    Fuse { width: Width, seed: u64, segment_length: u32, segment_count_length: u32, fingerprints: Bytes },
    Anything,
}

/// How many bytes a fingerprint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    One = 1,
    Four = 4,
}

impl KeyFilter {
    /// The stored filter of these keys, sorted and each once.
    pub(super) fn build(keys: &[u64], width: Width) -> Vec<u8> {
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        if keys.is_empty() {
            return header(NOTHING, count, 0, 0, 0);
        }
        // Construction is random and can fail; whoever asks then looks in vain.
        match width {
            Width::One => {
                let Ok(fuse) = BinaryFuse8::try_from(keys) else { return Self::anything() };
                let shape = &fuse.descriptor;
                let mut out =
                    header(FUSE_8, count, shape.seed, shape.segment_length, shape.segment_count_length);
                out.extend_from_slice(&fuse.fingerprints);
                out
            }
            Width::Four => {
                let Ok(fuse) = BinaryFuse32::try_from(keys) else { return Self::anything() };
                let shape = &fuse.descriptor;
                let mut out =
                    header(FUSE_32, count, shape.seed, shape.segment_length, shape.segment_count_length);
                out.reserve_exact(4 * fuse.fingerprints.len());
                for fingerprint in &fuse.fingerprints {
                    out.extend_from_slice(&fingerprint.to_le_bytes());
                }
                out
            }
        }
    }

    /// A stored filter that any key may be in.
    pub(super) fn anything() -> Vec<u8> {
        header(ANYTHING, 0, 0, 0, 0)
    }

    /// Reads a stored filter. The bytes are kept, not copied.
    pub fn parse(bytes: Bytes) -> Result<Self, FormatError> {
        let damaged = |detail: &str| FormatError::damaged(WHAT, detail);
        let header: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or_else(|| damaged("shorter than its header"))?;
        let (words, _) = header.as_chunks::<4>();
        let [magic, version, kind, keys, seed_low, seed_high, length, count_length] = words else {
            return Err(damaged("shorter than its header"));
        };
        if *magic != MAGIC {
            return Err(damaged("does not begin with TLFI"));
        }
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(FormatError::Version { what: WHAT, found: version, supported: VERSION });
        }
        let fingerprints = bytes.slice(HEADER_BYTES..);
        let kind = match u32::from_le_bytes(*kind) {
            NOTHING if fingerprints.is_empty() => Kind::Nothing,
            ANYTHING if fingerprints.is_empty() => Kind::Anything,
            kind @ (FUSE_32 | FUSE_8) => {
                let width = if kind == FUSE_8 { Width::One } else { Width::Four };
                let segment_length = u32::from_le_bytes(*length);
                let segment_count_length = u32::from_le_bytes(*count_length);
                if !segment_length.is_power_of_two()
                    || segment_length > SEGMENT_LENGTH_MAX
                    || segment_count_length == 0
                    || !segment_count_length.is_multiple_of(segment_length)
                {
                    return Err(damaged("its segment lengths contradict each other"));
                }
                let slots = u64::from(segment_count_length) + 2 * u64::from(segment_length);
                if fingerprints.len() as u64 != width as u64 * slots {
                    return Err(damaged("its length is not that of its fingerprints"));
                }
                let seed = u64::from(u32::from_le_bytes(*seed_low))
                    | u64::from(u32::from_le_bytes(*seed_high)) << 32;
                Kind::Fuse { width, seed, segment_length, segment_count_length, fingerprints }
            }
            _ => return Err(damaged("is of no known kind")),
        };
        Ok(Self { keys: u32::from_le_bytes(*keys), kind })
    }

    /// Whether the key may be in it; if not, it is not.
    #[inline]
    pub fn contains(&self, key: u64) -> bool {
        match &self.kind {
            Kind::Nothing => false,
            Kind::Anything => true,
            Kind::Fuse { width, seed, segment_length, segment_count_length, fingerprints } => {
                let hash = mix(key.wrapping_add(*seed));
                let first = ((u128::from(hash) * u128::from(*segment_count_length)) >> 64) as u32;
                let mask = segment_length - 1;
                let second = (first + segment_length) ^ ((hash >> 18) as u32 & mask);
                let third = (first + 2 * segment_length) ^ (hash as u32 & mask);
                let at = |slot: u32| match width {
                    Width::One => fingerprints.get(slot as usize).map(|byte| u32::from(*byte)),
                    Width::Four => {
                        let from = 4 * slot as usize;
                        let word = fingerprints.get(from..from + 4).and_then(<[u8]>::first_chunk);
                        word.map(|word| u32::from_le_bytes(*word))
                    }
                };
                let (Some(a), Some(b), Some(c)) = (at(first), at(second), at(third)) else {
                    // The lengths were checked; a filter must never say "no" in doubt.
                    return true;
                };
                let fingerprint = (hash ^ (hash >> 32)) as u32;
                match width {
                    Width::One => fingerprint as u8 == (a ^ b ^ c) as u8,
                    Width::Four => fingerprint == a ^ b ^ c,
                }
            }
        }
    }

    /// How many keys it was built from.
    pub fn keys(&self) -> u32 {
        self.keys
    }

    /// Bytes on the heap, for accounting.
    pub fn heap_bytes(&self) -> usize {
        match &self.kind {
            Kind::Fuse { fingerprints, .. } => HEADER_BYTES + fingerprints.len(),
            Kind::Nothing | Kind::Anything => HEADER_BYTES,
        }
    }
}

fn header(kind: u32, keys: u32, seed: u64, segment_length: u32, segment_count_length: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&keys.to_le_bytes());
    out.extend_from_slice(&seed.to_le_bytes());
    out.extend_from_slice(&segment_length.to_le_bytes());
    out.extend_from_slice(&segment_count_length.to_le_bytes());
    out
}

/// The 64-bit finalizer of MurmurHash3.
#[inline]
fn mix(mut key: u64) -> u64 {
    key ^= key >> 33;
    key = key.wrapping_mul(0xff51_afd7_ed55_8ccd);
    key ^= key >> 33;
    key = key.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ (key >> 33)
}

#[cfg(test)]
mod tests;
