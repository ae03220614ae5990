//! Decompression. What zstd needs for it is kept from one page to the next: making it anew takes as long as several
//! pages of a lookup.

use std::io;
use std::sync::{Mutex, PoisonError};

use zstd::bulk::Decompressor;

/// Those that no thread is using, of some 100 KB each.
static IDLE: Mutex<Vec<Decompressor<'static>>> = Mutex::new(Vec::new());

/// More are at work at once only on machines with as many cores.
const IDLE_MAX: usize = 16;

/// What is in a zstd frame, at most so much.
///
/// # Errors
/// If it is more, or the bytes are no such frame.
pub(super) fn inflate(frame: &[u8], bytes_max: usize) -> io::Result<Vec<u8>> {
    let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = idle().pop();
    let mut zstd = kept.map_or_else(Decompressor::new, Ok)?;
    let inflated = zstd.decompress(frame, bytes_max);
    let mut idle = idle();
    if idle.len() < IDLE_MAX {
        idle.push(zstd);
    }
    inflated
}
