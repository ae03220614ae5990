//! The payload of a requests frame: the recent requests, so that one that is sent again is
//! recognised when the file that held it is gone.

use super::frame::damaged;
use crate::FormatError;

const ENTRY_BYTES: usize = 20;

/// Encodes (request hash, arrival in seconds since 1970), oldest first. Times past 2106 become 2106.
pub fn encode_requests(requests: &[(u128, u64)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(requests.len() * ENTRY_BYTES);
    for (hash, arrival_seconds) in requests {
        out.extend_from_slice(&hash.to_le_bytes());
        out.extend_from_slice(&u32::try_from(*arrival_seconds).unwrap_or(u32::MAX).to_le_bytes());
    }
    out
}

/// Reads what [`encode_requests`] wrote.
///
/// # Errors
/// [`FormatError::Damaged`] if the length is not that of whole entries.
pub fn decode_requests(payload: &[u8]) -> Result<Vec<(u128, u64)>, FormatError> {
    let (entries, rest) = payload.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(damaged("its list of requests ends within an entry"));
    }
    let entry = |entry: &[u8; ENTRY_BYTES]| {
        let (hash, seconds) = entry.split_first_chunk::<16>()?;
        Some((u128::from_le_bytes(*hash), u64::from(u32::from_le_bytes(seconds.try_into().ok()?))))
    };
    entries
        .iter()
        .map(entry)
        .collect::<Option<_>>()
        .ok_or_else(|| damaged("its list of requests is too short"))
}
