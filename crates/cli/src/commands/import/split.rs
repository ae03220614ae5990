//! From the messages of a file to requests of a good size: large messages are cut, small ones
//! joined.
//!
//! Requests are protobuf, whatever the file is: the server then parses no JSON, and two requests
//! are joined by writing one behind the other.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::IgnoredAny;
use tracelake::otlp::{DecodeLimits, Decoded, Decoder, encode_protobuf};
use tracelake::{SpanBatch, SpanView, limits};

use super::Request;
use crate::otlp_file::Payload;

/// Spans of one request: a fraction of what a server takes, so that acknowledgements come steadily.
const REQUEST_SPANS_TARGET: usize = 8_192;

/// Bytes of one request.
const REQUEST_BYTES_TARGET: usize = 8 << 20;

/// Cuts and joins the messages of one file.
pub(super) struct Splitter<F> {
    /// Takes a request; false if nobody takes any more.
    send: F,
    decoder: Decoder,
    limits: DecodeLimits,
    body: Vec<u8>,
    spans: usize,
    first_place: String,
    last_place: String,
}

impl<F: FnMut(Request) -> bool> Splitter<F> {
    pub(super) fn new(send: F) -> Self {
        Self {
            send,
            decoder: Decoder::new(),
            limits: decode_limits(),
            body: Vec::new(),
            spans: 0,
            first_place: String::new(),
            last_place: String::new(),
        }
    }

    /// The spans of a message; or why it has none that can be imported.
    pub(super) fn decode(&mut self, payload: Payload<'_>) -> Result<Decoded, String> {
        let decoded = match payload {
            Payload::Json(text) => self.decoder.decode_json(text, &self.limits),
            Payload::Protobuf(bytes) => self.decoder.decode_protobuf(bytes, &self.limits),
        };
        let decoded = decoded.map_err(|error| error.to_string())?;
        if let Payload::Json(text) = payload
            && decoded.batch.is_empty()
            && decoded.rejections.is_empty()
            && let Some(reason) = not_traces(text)
        {
            return Err(reason);
        }
        Ok(decoded)
    }

    /// Takes the spans of a message; false if nobody takes requests any more.
    pub(super) fn push(&mut self, batch: &SpanBatch, place: &str) -> bool {
        let spans: Vec<SpanView<'_>> = batch.spans().collect();
        for piece in spans.chunks(REQUEST_SPANS_TARGET) {
            if self.spans + piece.len() > REQUEST_SPANS_TARGET && !self.finish() {
                return false;
            }
            let mut rest = vec![piece];
            while let Some(piece) = rest.pop() {
                let encoded = encode_protobuf(piece);
                if encoded.len() > REQUEST_BYTES_TARGET && piece.len() > 1 {
                    let (first, second) = piece.split_at(piece.len() / 2);
                    rest.extend([second, first]);
                    continue;
                }
                if self.body.len() + encoded.len() > REQUEST_BYTES_TARGET && !self.finish() {
                    return false;
                }
                if self.body.is_empty() {
                    place.clone_into(&mut self.first_place);
                }
                place.clone_into(&mut self.last_place);
                self.body.extend(encoded);
                self.spans += piece.len();
            }
        }
        true
    }

    /// Sends what has been gathered; false if nobody takes requests any more.
    pub(super) fn finish(&mut self) -> bool {
        if self.spans == 0 {
            return true;
        }
        let place = if self.first_place == self.last_place {
            self.first_place.clone()
        } else {
            format!("{} to {}", self.first_place, self.last_place)
        };
        let body = Bytes::from(std::mem::take(&mut self.body));
        let spans = std::mem::take(&mut self.spans) as u64;
        (self.send)(Request { body, spans, place })
    }
}

/// Rules that a server has for a span hold here too, so that what it would reject is named with its
/// line. What it has for a request does not: requests are cut.
fn decode_limits() -> DecodeLimits {
    let times = |factor: u64, limit: u64| usize::try_from(factor * limit).unwrap_or(usize::MAX);
    DecodeLimits {
        spans_max: times(10, limits::REQUEST_SPANS_MAX),
        items_max: times(4, limits::REQUEST_ITEMS_MAX),
        ..DecodeLimits::default()
    }
}

/// Why a JSON object without spans has none, if that is worth telling.
fn not_traces(text: &[u8]) -> Option<String> {
    let members: BTreeMap<String, IgnoredAny> = serde_json::from_slice(text).ok()?;
    if members.is_empty() || members.contains_key("resourceSpans") {
        return None;
    }
    let signals =
        [("resourceMetrics", "metrics"), ("resourceLogs", "logs"), ("resourceProfiles", "profiles")];
    let signal = signals.iter().find(|(member, _)| members.contains_key(*member));
    Some(match signal {
        Some((_, signal)) => format!("holds {signal}, not traces"),
        None => "holds no resourceSpans: not traces".to_owned(),
    })
}

/// A request in two; none if it is of one span, or cannot be read back.
pub(super) fn halve(request: &Request) -> Option<[Request; 2]> {
    let decoded = Decoder::new().decode_protobuf(&request.body, &DecodeLimits::recovery()).ok()?;
    let spans: Vec<SpanView<'_>> = decoded.batch.spans().collect();
    if spans.len() < 2 {
        return None;
    }
    let (first, second) = spans.split_at(spans.len() / 2);
    Some([second, first].map(|half| Request {
        body: encode_protobuf(half).into(),
        spans: half.len() as u64,
        place: request.place.clone(),
    }))
}
