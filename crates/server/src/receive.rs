//! How an OTLP request gets from the wire to the store, the same for every protocol: limits before
//! its body is read, while it is read and while it is decompressed; a budget of bytes for all
//! requests together; a deadline for slow senders.
//!
//! Nothing is decoded here: what a span is, the library knows.

mod body;
mod decompress;
mod in_flight;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::HeaderMap;
use http::request::Parts;
use tracelake::{Encoding, ErrorKind, IngestOutcome, TenantId, Tracelake, limits};

use crate::metrics::Protocol;
use crate::rejection::Rejection;
use crate::shared::Shared;

pub(crate) use body::Framing;
use body::Message;
pub(crate) use decompress::Compression;
pub(crate) use in_flight::InFlight;
use in_flight::Reservation;

/// The header that names the tenant.
pub(crate) const TENANT_HEADER: &str = "x-scope-orgid";

/// The tenant that a request names; the default one if it names none.
pub(crate) fn tenant(headers: &HeaderMap) -> Result<TenantId, Rejection> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(TenantId::default()) };
    let invalid = |why: &str| Rejection::new(ErrorKind::Invalid, format!("the header X-Scope-OrgID: {why}"));
    if values.next().is_some() {
        return Err(invalid("a request belongs to one tenant, and it is there more than once"));
    }
    let name = value.to_str().unwrap_or_default();
    name.parse().map_err(|error: tracelake::model::ParseTenantError| invalid(&error.to_string()))
}

/// One request as its protocol describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Description {
    pub(crate) protocol: Protocol,
    pub(crate) encoding: Encoding,
    pub(crate) framing: Framing,
    pub(crate) compression: Compression,
}

/// A request that has been read whole.
struct Arrived {
    description: Description,
    tenant: TenantId,
    message: Message,
    reservation: Reservation,
    /// What it is beside its bytes: a client can ask and hang up, over and over, with a few bytes each.
    _overhead: Reservation,
}

/// Charged to the budget for each request that has arrived: its task, its place in queues, its answer.
const REQUEST_OVERHEAD_BYTES: u64 = 4 << 10;

impl Shared {
    /// Takes a request in; returns when its spans are durable, or why it is turned down.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        description: Result<Description, Rejection>,
        parts: &Parts,
        mut body: Body,
    ) -> Result<IngestOutcome, Rejection> {
        let result = match description {
            Ok(description) => self.receive_body(description, parts, &mut body).await,
            Err(rejection) => Err(rejection),
        };
        if let Err(rejection) = &result
            && parts.version < http::Version::HTTP_2
            && !rejection.is_too_slow()
            && !parts.headers.contains_key(http::header::EXPECT)
        {
            // Closing a connection that is still being written to resets it, and the sender would
            // lose the answer. HTTP/2 has a frame to say so.
            let bytes_max = self.settings.request_bytes_max.saturating_mul(limits::DRAIN_FACTOR_MAX);
            body::drain(body, bytes_max, self.body_timeout());
        }
        result
    }

    fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.settings.body_read_seconds_max)
    }

    async fn receive_body(
        self: &Arc<Self>,
        description: Description,
        parts: &Parts,
        body: &mut Body,
    ) -> Result<IngestOutcome, Rejection> {
        let store = self.store()?.clone();
        let tenant = tenant(&parts.headers)?;
        let mut reservation = self.in_flight.reserve();
        let limits = body::Limits {
            framing: description.framing,
            wire_bytes_max: self.settings.request_bytes_max,
            decoded_bytes_max: self.settings.request_decoded_bytes_max,
            compressed: description.compression != Compression::Identity,
        };
        let declared = declared_bytes(&parts.headers)?;
        limits.check_declared(declared, &self.in_flight)?;

        let reading = body::read(body, limits, declared, &mut reservation);
        let message = match tokio::time::timeout(self.body_timeout(), reading).await {
            Ok(message) => message?,
            Err(_) => return Err(Rejection::too_slow(self.settings.body_read_seconds_max)),
        };
        let mut overhead = self.in_flight.reserve();
        overhead.grow(REQUEST_OVERHEAD_BYTES)?;
        let arrived = Arrived { description, tenant, message, reservation, _overhead: overhead };
        // A task of its own, because a client that hangs up ends this one. What is being decompressed
        // or decoded cannot be ended; it must go on counting as in flight until it is done.
        let work = self.work.spawn(Arc::clone(self).take_in(store, arrived));
        work.await.unwrap_or_else(|error| {
            let (kind, message) = if error.is_panic() {
                (ErrorKind::Internal, "the request ended unexpectedly; this is a fault of Tracelake")
            } else {
                (ErrorKind::Unavailable, "the server is stopping")
            };
            Err(Rejection::new(kind, message))
        })
    }

    async fn take_in(
        self: Arc<Self>,
        store: Tracelake,
        arrived: Arrived,
    ) -> Result<IngestOutcome, Rejection> {
        let Arrived { description, tenant, message, mut reservation, _overhead } = arrived;
        let wire_bytes = reservation.held();
        // The sender's flag, not its header, says whether a gRPC message is compressed.
        let compression = if message.uncompressed { Compression::Identity } else { description.compression };
        let decoded = decompress::decompress(
            message.bytes,
            compression,
            self.settings.request_decoded_bytes_max,
            &mut reservation,
            &self.decompressions,
        )
        .await?;
        self.metrics.received(description.protocol, wire_bytes, decoded.len() as u64);
        let taken = store.ingest(&tenant, description.encoding, decoded).await?;
        self.metrics.spans(&taken);
        Ok(taken)
    }
}

/// What Content-Length says, if it is there.
fn declared_bytes(headers: &HeaderMap) -> Result<Option<u64>, Rejection> {
    let Some(value) = headers.get(http::header::CONTENT_LENGTH) else { return Ok(None) };
    let bytes = value.to_str().ok().and_then(|text| text.parse().ok());
    bytes
        .map(Some)
        .ok_or_else(|| Rejection::new(ErrorKind::Invalid, "the header Content-Length is no number"))
}

/// What all requests share that decompress more than fits between two polls.
pub(crate) fn decompression_permits() -> Arc<tokio::sync::Semaphore> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Arc::new(tokio::sync::Semaphore::new(cores))
}
