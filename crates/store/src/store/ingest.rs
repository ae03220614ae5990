//! From an OTLP request to spans that are durable and visible.

use std::sync::{Arc, LazyLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tracelake_model::{SpanBatch, TenantId, limits};
use tracelake_otlp::{Decoded, Decoder, Rejections, encode_protobuf};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::{Inner, Pending, Store};
use crate::StoreError;
use crate::wal::{Append, Begin, RequestGuard};

/// How an OTLP request is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Binary protobuf.
    Protobuf,
    /// OTLP/JSON.
    Json,
}

/// What became of a request. Whatever was accepted is durable and visible.
#[derive(Debug)]
pub struct Ingested {
    /// Spans taken.
    pub spans_accepted: u64,
    /// Spans not taken, and why.
    pub rejections: Rejections,
    /// The same request was acknowledged before; nothing was stored again.
    pub repeated: bool,
}

/// How long a request waits for room before it is sent away. Shorter than clients wait for an answer.
const ROOM_WAIT: Duration = Duration::from_secs(limits::ROOM_WAIT_SECONDS_MAX);

/// How often a request that waits looks whether segments were merged.
const BACKLOG_TICK: Duration = Duration::from_millis(50);

/// A larger body is decoded on a thread that may block: at a microsecond a span this keeps the
/// reactor's pauses below a millisecond or so.
const INLINE_BYTES_MAX: usize = 512 << 10;

/// Decodes of larger bodies that are worked on at once, of all stores of the process: one for each core,
/// as more would be no faster, and what each builds is in memory twice when it ends.
static DECODES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Arc::new(Semaphore::new(cores))
});

/// Decoders kept for reuse. Each holds some megabytes at most.
const IDLE_DECODERS_MAX: usize = 8;

impl Store {
    /// Takes a request in; resolves when its spans are durable and visible.
    pub async fn ingest(
        &self,
        tenant: &TenantId,
        encoding: Encoding,
        body: Bytes,
    ) -> Result<Ingested, StoreError> {
        let inner = &self.inner;
        if let Some(reason) = inner.flusher.signals.failure() {
            return Err(StoreError::Stopped { reason });
        }
        if *inner.flusher.signals.stopping.borrow() {
            return Err(StoreError::Stopped { reason: "it is shutting down".to_owned() });
        }
        inner.wait_for_room().await?;
        let (decoded, request_hash, payload) = self.decode(tenant, encoding, body).await?;
        let Decoded { batch, rejections } = decoded;
        let spans_accepted = batch.len() as u64;
        if batch.is_empty() {
            return Ok(Ingested { spans_accepted, rejections, repeated: false });
        }
        let repeated = loop {
            match inner.recent.begin(request_hash, inner.flusher.options.clock.now_unix_nano()) {
                Begin::Repeated => break true,
                Begin::InFlight(first) => {
                    if first.await {
                        break true;
                    }
                }
                Begin::New(guard) => {
                    inner.append(tenant, request_hash, payload, batch, guard).await?;
                    break false;
                }
            }
        };
        Ok(Ingested { spans_accepted, rejections, repeated })
    }

    /// Returns what the request holds, its hash, and what the WAL keeps of it.
    async fn decode(
        &self,
        tenant: &TenantId,
        encoding: Encoding,
        body: Bytes,
    ) -> Result<(Decoded, u128, Bytes), StoreError> {
        if body.len() <= INLINE_BYTES_MAX {
            return self.inner.decode(tenant, encoding, body);
        }
        let (store, tenant) = (self.clone(), tenant.clone());
        let died = || StoreError::TaskDied { what: "a decoding task" };
        bounded(&DECODES, move || store.inner.decode(&tenant, encoding, body)).await.ok_or_else(died)?
    }
}

/// Does work on a thread that may block, once there is a permit. The work has the permit until it ends:
/// whoever waits for it may give up, and the work goes on. None if it panicked.
async fn bounded<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    let blocking = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    blocking.await.ok()
}

impl Inner {
    fn decode(
        &self,
        tenant: &TenantId,
        encoding: Encoding,
        body: Bytes,
    ) -> Result<(Decoded, u128, Bytes), StoreError> {
        let request_hash = xxh3_128_with_seed(&body, tracelake_model::hash::tenant_hash(tenant));
        let mut decoder = self.decoder();
        let decoded = match encoding {
            Encoding::Protobuf => decoder.decode_protobuf(&body, &self.flusher.options.decode_limits),
            Encoding::Json => decoder.decode_json(&body, &self.flusher.options.decode_limits),
        };
        self.put_back(decoder);
        let decoded = decoded?;
        // A replay takes everything that is in the WAL, so what was rejected must not be in it.
        let as_received = encoding == Encoding::Protobuf && decoded.rejections.is_empty();
        let payload = if as_received {
            body
        } else {
            let spans: Vec<_> = decoded.batch.spans().collect();
            Bytes::from(encode_protobuf(&spans))
        };
        Ok((decoded, request_hash, payload))
    }

    fn decoder(&self) -> Decoder {
        let idle = self.decoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_default()
    }

    fn put_back(&self, decoder: Decoder) {
        let mut idle = self.decoders.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_DECODERS_MAX {
            idle.push(decoder);
        }
    }

    async fn append(
        &self,
        tenant: &TenantId,
        request_hash: u128,
        payload: Bytes,
        batch: SpanBatch,
        guard: RequestGuard,
    ) -> Result<(), StoreError> {
        let active = self.flusher.current.active();
        let tenants_max = limits::GENERATION_TENANTS_MAX as usize;
        if active.size().tenants >= tenants_max && !active.has_tenant(tenant) {
            return Err(StoreError::TooManyTenants { tenants: tenants_max });
        }
        let starts = || batch.spans().map(|span| span.start_unix_nano());
        let arrival_unix_nano = self.flusher.options.clock.now_unix_nano();
        let append = Append {
            tenant: tenant.clone(),
            arrival_unix_nano,
            request_hash,
            span_count: batch.len() as u32,
            start_unix_nano_min: starts().min().unwrap_or_default(),
            start_unix_nano_max: starts().max().unwrap_or_default(),
            payload,
            attached: Pending { tenant: tenant.clone(), batch: Arc::new(batch), arrival_unix_nano, guard },
        };
        self.wal.append(append).await?;
        Ok(())
    }

    /// While as many memtables wait to be flushed as may, and the next is full, nothing is taken; nor
    /// while so many segments wait to be merged that lookups suffer.
    async fn wait_for_room(&self) -> Result<(), StoreError> {
        let room = async {
            loop {
                let flushed = self.flusher.signals.flushed.notified();
                tokio::pin!(flushed);
                flushed.as_mut().enable();
                if let Some(reason) = self.flusher.signals.failure() {
                    return Err(StoreError::Stopped { reason });
                }
                if self.backlog_over_limit().is_some() {
                    tokio::time::sleep(BACKLOG_TICK).await;
                    continue;
                }
                let full = self.flusher.current.frozen_len() >= self.flusher.options.frozen_generations_max
                    && self.flusher.current.active().size().heap_bytes
                        >= self.flusher.options.generation_bytes_max;
                if !full {
                    return Ok(());
                }
                flushed.await;
            }
        };
        let too_late = |_| Err(self.backlog_over_limit().unwrap_or(StoreError::Busy));
        tokio::time::timeout(ROOM_WAIT, room).await.unwrap_or_else(too_late)
    }
}

#[cfg(test)]
mod tests;
