//! Decompressing a request: never more than may be, whatever the compressed bytes claim, and not
//! where other requests wait for it. The only place that names a decompressor of requests.

use std::io::{Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tracelake::{ErrorKind, limits};

use super::in_flight::Reservation;
use crate::rejection::Rejection;

/// How a message is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Not at all.
    Identity,
    /// Members one behind the other count as one.
    Gzip,
    /// Frames one behind the other count as one.
    Zstd,
}

impl Compression {
    /// From Content-Encoding or grpc-encoding; `None` if it is not one that is read here.
    pub(crate) fn from_header(value: Option<&http::HeaderValue>) -> Option<Self> {
        let name = value.map_or(Ok(""), http::HeaderValue::to_str).ok()?.trim().to_ascii_lowercase();
        match name.as_str() {
            "" | "identity" | "none" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// What is decompressed where the request is; some 200 µs. What is larger goes to a thread that may
/// block.
const INLINE_BYTES_MAX: u64 = 128 << 10;

/// Bytes asked for, and taken from the budget, at a time.
const STEP_BYTES: u64 = 256 << 10;

/// A message decompressed in part.
struct Decompressing {
    source: Box<dyn Read + Send>,
    out: Vec<u8>,
    bytes_max: u64,
}

impl Decompressing {
    fn new(bytes: Bytes, compression: Compression, bytes_max: u64) -> Result<Self, Rejection> {
        let out = Vec::with_capacity((bytes.len() as u64 * 4).min(INLINE_BYTES_MAX) as usize);
        let bytes = Cursor::new(bytes);
        let source: Box<dyn Read + Send> = match compression {
            Compression::Identity => Box::new(bytes),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(invalid)?;
                // A frame may ask for up to 2 GiB.
                decoder.window_log_max(limits::ZSTD_WINDOW_BYTES_MAX.ilog2()).map_err(invalid)?;
                Box::new(decoder)
            }
        };
        Ok(Self { source, out, bytes_max })
    }

    /// Decompresses so many more bytes; true when there are no more.
    fn step(&mut self, bytes: u64, reservation: &mut Reservation) -> Result<bool, Rejection> {
        // One more than may be tells a message that is too large from one that just fits.
        let room = (self.bytes_max - self.out.len() as u64).saturating_add(1);
        let wanted = bytes.min(room);
        reservation.grow(wanted)?;
        let read = self.source.by_ref().take(wanted).read_to_end(&mut self.out).map_err(invalid)? as u64;
        if self.out.len() as u64 > self.bytes_max {
            let message = format!(
                "the decompressed request is larger than request_decoded_bytes_max ({} bytes); split it",
                self.bytes_max
            );
            return Err(Rejection::new(ErrorKind::TooLarge, message));
        }
        reservation.shrink_to(reservation.held() - (wanted - read));
        Ok(read < wanted)
    }
}

fn invalid(error: std::io::Error) -> Rejection {
    Rejection::new(ErrorKind::Invalid, format!("the request cannot be decompressed: {error}"))
}

/// The message, decompressed. While this works, the budget holds both forms; afterwards only what
/// is returned.
pub(super) async fn decompress(
    bytes: Bytes,
    compression: Compression,
    bytes_max: u64,
    reservation: &mut Reservation,
    permits: &Arc<Semaphore>,
) -> Result<Bytes, Rejection> {
    if compression == Compression::Identity {
        return Ok(bytes);
    }
    let mut work = Decompressing::new(bytes, compression, bytes_max)?;
    let done = work.step(INLINE_BYTES_MAX, reservation)?;
    if !done {
        let stopped = || Rejection::new(ErrorKind::Unavailable, "the server is stopping");
        let permit = Arc::clone(permits).acquire_owned().await.map_err(|_| stopped())?;
        let mut own = reservation.split();
        let blocking = tokio::task::spawn_blocking(move || {
            while !work.step(STEP_BYTES, &mut own)? {}
            // The permit goes last: until the work has ended, whoever still waits for it.
            Ok::<_, Rejection>((work, own, permit))
        });
        let (finished, own, _permit) = blocking.await.map_err(|_| stopped())??;
        work = finished;
        reservation.join(own);
    }
    let bytes = Bytes::from(work.out);
    reservation.shrink_to(bytes.len() as u64);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
