//! Reading a request's body: never more than may be, never more than the budget has, and for gRPC
//! the one length-prefixed message of a unary call.
//!
//! The prefix is read here and not by tonic because tonic answers a length above its limit with
//! OUT_OF_RANGE, which OTLP clients send again for ever, because it decompresses where other
//! requests wait, and because both protocols then share limits, budget and deadline.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tracelake::ErrorKind;

use super::in_flight::{InFlight, Reservation};
use crate::rejection::Rejection;

/// How the message lies in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The body is the message.
    Whole,
    /// A flag for compression, the length in four bytes (big-endian), the message.
    Grpc,
}

/// The bytes in front of a gRPC message.
const GRPC_PREFIX_BYTES: usize = 5;

/// What is set aside at once for a body of known length; one that is longer grows as it arrives.
const INITIAL_BYTES_MAX: u64 = 1 << 20;

/// What a body is held to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) framing: Framing,
    /// Of the message as it arrives.
    pub(super) wire_bytes_max: u64,
    /// Of the message as it is decoded, which it arrives as if it is not compressed.
    pub(super) decoded_bytes_max: u64,
    /// Whether the message is compressed. Until a gRPC message's flag is there, what its header says.
    pub(super) compressed: bool,
}

/// A message as it came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Bytes,
    /// The gRPC flag says that this one is not compressed, whatever the header says.
    pub(super) uncompressed: bool,
}

impl Limits {
    /// The most bytes of the message as it arrives, and the setting that says so.
    fn message_bytes_max(&self) -> (u64, &'static str) {
        if self.compressed || self.wire_bytes_max <= self.decoded_bytes_max {
            (self.wire_bytes_max, "request_bytes_max")
        } else {
            (self.decoded_bytes_max, "request_decoded_bytes_max")
        }
    }

    /// The most bytes of the body.
    fn body_bytes_max(&self) -> u64 {
        let (message, _) = self.message_bytes_max();
        match self.framing {
            Framing::Whole => message,
            Framing::Grpc => message.saturating_add(GRPC_PREFIX_BYTES as u64),
        }
    }

    fn too_large(&self) -> Rejection {
        let (bytes, setting) = self.message_bytes_max();
        let message = format!("the request is larger than {setting} ({bytes} bytes); split it");
        Rejection::new(ErrorKind::TooLarge, message)
    }

    /// Turns down by its announced length what would be turned down anyway.
    pub(super) fn check_declared(
        &self,
        declared: Option<u64>,
        in_flight: &InFlight,
    ) -> Result<(), Rejection> {
        let Some(bytes) = declared else { return in_flight.would_fit(1) };
        if bytes > self.body_bytes_max() { Err(self.too_large()) } else { in_flight.would_fit(bytes) }
    }
}

/// Reads the message of a body. The caller sets the deadline.
pub(super) async fn read(
    body: &mut Body,
    limits: Limits,
    declared: Option<u64>,
    reservation: &mut Reservation,
) -> Result<Message, Rejection> {
    let (mut limits, mut declared) = (limits, declared);
    let mut prefix_wanted = limits.framing == Framing::Grpc;
    let mut gathered = Gathered::Nothing;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| broken_off())?.into_data() else { continue };
        if data.is_empty() {
            continue;
        }
        reservation.grow(data.len() as u64)?;
        if reservation.held() > limits.body_bytes_max() {
            return Err(limits.too_large());
        }
        gathered = gathered.and(data, declared);
        if prefix_wanted && let Some((flag, length)) = grpc_prefix(gathered.bytes()) {
            limits.compressed &= flag != 0;
            if length > limits.message_bytes_max().0 {
                return Err(limits.too_large());
            }
            declared = Some(length + GRPC_PREFIX_BYTES as u64);
            prefix_wanted = false;
        }
    }
    let bytes = gathered.into_bytes();
    match limits.framing {
        Framing::Whole => Ok(Message { bytes, uncompressed: false }),
        Framing::Grpc => unframe(bytes),
    }
}

/// What has arrived: most bodies are one piece, and need no copy.
enum Gathered {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Gathered {
    fn and(self, data: Bytes, declared: Option<u64>) -> Self {
        match self {
            Self::Nothing => Self::One(data),
            Self::One(first) => {
                let capacity = declared.unwrap_or(0).min(INITIAL_BYTES_MAX) as usize;
                let mut many = BytesMut::with_capacity(capacity.max(2 * (first.len() + data.len())));
                many.extend_from_slice(&first);
                many.extend_from_slice(&data);
                Self::Many(many)
            }
            Self::Many(mut many) => {
                many.extend_from_slice(&data);
                Self::Many(many)
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

fn broken_off() -> Rejection {
    Rejection::new(ErrorKind::Invalid, "the request's body broke off before its end")
}

/// The flag and the length in front of a gRPC message, once they are there.
fn grpc_prefix(bytes: &[u8]) -> Option<(u8, u64)> {
    let [flag, length @ ..] = bytes.first_chunk::<GRPC_PREFIX_BYTES>()?;
    Some((*flag, u64::from(u32::from_be_bytes(*length))))
}

fn unframe(mut bytes: Bytes) -> Result<Message, Rejection> {
    let invalid = |message: &str| Rejection::new(ErrorKind::Invalid, message);
    let (flag, length) = grpc_prefix(&bytes).ok_or_else(|| invalid("the gRPC call has no message"))?;
    let bytes = bytes.split_off(GRPC_PREFIX_BYTES);
    match (bytes.len() as u64).cmp(&length) {
        std::cmp::Ordering::Less => Err(broken_off()),
        std::cmp::Ordering::Greater => Err(invalid("the gRPC call has more than one message")),
        std::cmp::Ordering::Equal if flag > 1 => Err(invalid("the gRPC message has an unknown flag")),
        std::cmp::Ordering::Equal => Ok(Message { bytes, uncompressed: flag == 0 }),
    }
}

/// Reads what is left of a body and throws it away, for a while and up to a size, so that its
/// sender gets to read the answer: most clients read none before they have written everything, and
/// one whose connection breaks off sends the same again.
pub(super) fn drain(mut body: Body, bytes_max: u64, timeout: Duration) {
    if http_body::Body::is_end_stream(&body) {
        return;
    }
    // One for each connection at most: HTTP/1 has one request at a time.
    tokio::spawn(async move {
        let discard = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                if bytes > bytes_max {
                    break;
                }
            }
        };
        if tokio::time::timeout(timeout, discard).await.is_err() {
            tracing::debug!("the rest of a rejected request did not arrive in time");
        }
    });
}

#[cfg(test)]
mod tests;
