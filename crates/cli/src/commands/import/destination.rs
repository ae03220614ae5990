//! Where imported spans go: a server over OTLP/HTTP, or a store in this process.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tracelake::{Encoding, ErrorKind, TenantId, Tracelake};

use super::ImportArgs;
use crate::client::{Ack, ClientError, OtlpSender, SenderOptions};
use crate::outcome::Failure;

/// How long one request is tried: a restart of the server, or a full disk that somebody clears.
const RETRY_FOR: Duration = Duration::from_secs(120);

/// One way to a server or a store; a sender has its own.
pub(super) enum Destination {
    Server(OtlpSender),
    Store { store: Tracelake, tenant: TenantId },
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SendError {
    /// More than is taken at once: halves of it may be.
    TooLarge(String),
    /// This request will never be taken; others may.
    Refused(String),
    /// Nothing is taken any more.
    Lost(String),
}

/// Opens as many ways as senders.
pub(super) async fn open(args: &ImportArgs, count: usize) -> Result<Vec<Destination>, Failure> {
    if let Some(options) = args.store.options()? {
        let store = Tracelake::open(options).await?;
        let tenant = args.tenant.clone().unwrap_or_default();
        let one = || Destination::Store { store: store.clone(), tenant: tenant.clone() };
        return Ok((0..count).map(|_| one()).collect());
    }
    let mut options = SenderOptions::new(&args.endpoint);
    options.tenant = args.tenant.clone();
    options.retry_for = Duration::ZERO;
    // A request of no spans, once: whoever forgot to start a server must not wait until patience
    // with one that restarts has run out. What else is wrong shows with the first spans.
    if let Err(error @ ClientError::Unreachable { .. }) = OtlpSender::new(&options)?.send(Bytes::new()).await
    {
        return Err(error.into());
    }
    options.retry_for = RETRY_FOR;
    let senders = (0..count).map(|_| OtlpSender::new(&options).map(Destination::Server));
    Ok(senders.collect::<Result<_, _>>()?)
}

impl Destination {
    /// Sends an OTLP protobuf request, waiting and trying again where that can help.
    pub(super) async fn send(&mut self, body: Bytes) -> Result<Ack, SendError> {
        match self {
            Self::Server(sender) => {
                sender.send(body).await.map_err(|error| judge(error.kind(), error.to_string()))
            }
            Self::Store { store, tenant } => {
                let begun = Instant::now();
                loop {
                    match store.ingest(tenant, Encoding::Protobuf, body.clone()).await {
                        Ok(outcome) => {
                            let rejected_spans = outcome.rejections.spans;
                            return Ok(Ack { rejected_spans, message: outcome.rejections.message() });
                        }
                        Err(error) => match error.retry_after() {
                            Some(wait) if begun.elapsed() + wait < RETRY_FOR => {
                                tokio::time::sleep(wait).await
                            }
                            _ => return Err(judge(error.kind(), error.to_string())),
                        },
                    }
                }
            }
        }
    }

    /// The store, if it is one.
    pub(super) fn into_store(self) -> Option<Tracelake> {
        match self {
            Self::Server(_) => None,
            Self::Store { store, .. } => Some(store),
        }
    }
}

fn judge(kind: ErrorKind, reason: String) -> SendError {
    match kind {
        ErrorKind::TooLarge => SendError::TooLarge(reason),
        ErrorKind::Invalid => SendError::Refused(reason),
        _ => SendError::Lost(reason),
    }
}
