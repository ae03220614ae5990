//! The manifest's objects in the object store: every call with a deadline, reads repeated a bounded
//! number of times.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tracelake_format::FormatError;
use tracelake_format::manifest::{HEADER_BYTES, ObjectName, PAYLOAD_BYTES_MAX};

use super::error::ManifestError;

/// The folder of the manifest's objects.
pub const PREFIX: &str = "manifest";

/// How long and how often something is tried.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// For one answer of the object store.
    pub deadline: Duration,
    /// Tries until an error is passed on; at least 1.
    pub attempts_max: u32,
    /// Pause after the first try; it doubles with each.
    pub pause_first: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for RetryPolicy {
    /// 10 s for an answer: an fsync on a busy disk takes seconds, a request to S3 hardly one. 6 tries
    /// with pauses of 3.1 s together outlast what a store needs to shift load; longer trouble is the
    /// caller's to wait out.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            attempts_max: 6,
            pause_first: Duration::from_millis(100),
            pause_max: Duration::from_secs(2),
        }
    }
}

impl RetryPolicy {
    /// The pause before a try; none before the first, number 0.
    pub(super) async fn pause(&self, attempt: u32) {
        if let Some(doublings) = attempt.checked_sub(1) {
            let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
            let pause = self.pause_first.saturating_mul(factor).min(self.pause_max);
            if pause.is_zero() {
                // A timer would round it up to a millisecond.
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// What a put came to.
pub(super) enum Put {
    Done,
    Exists,
    Failed(object_store::Error),
    NoAnswer,
}

/// The manifest's folder in an object store.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) policy: RetryPolicy,
}

/// What a listing shows.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Versions with a checkpoint, the newest first.
    pub(super) checkpoints: Vec<u64>,
    /// The highest version of any object; 0 without any.
    pub(super) version_max: u64,
}

pub(super) fn path(name: ObjectName) -> Path {
    Path::from(PREFIX).join(name.to_string())
}

impl Objects {
    pub(super) async fn put_if_absent(&self, name: ObjectName, bytes: Bytes) -> Put {
        let options = PutOptions::from(PutMode::Create);
        let path = path(name);
        let put = self.store.put_opts(&path, PutPayload::from_bytes(bytes), options);
        match tokio::time::timeout(self.policy.deadline, put).await {
            Ok(Ok(_)) => Put::Done,
            // S3 answers a failed If-None-Match with 412; which of the two it becomes is the client's affair.
            Ok(Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })) => {
                Put::Exists
            }
            Ok(Err(error)) => Put::Failed(error),
            Err(_) => Put::NoAnswer,
        }
    }

    /// One try to read an object; `None` if there is none.
    pub(super) async fn get_once(&self, name: ObjectName) -> Result<Option<Bytes>, ManifestError> {
        let path = path(name);
        let read = async {
            let found = self.store.get(&path).await?;
            if found.meta.size > PAYLOAD_BYTES_MAX + HEADER_BYTES as u64 {
                return Ok(Err(found.meta.size));
            }
            found.bytes().await.map(Ok)
        };
        match tokio::time::timeout(self.policy.deadline, read).await {
            Ok(Ok(Ok(bytes))) => Ok(Some(bytes)),
            Ok(Ok(Err(size))) => Err(ManifestError::Damaged {
                object: path.to_string(),
                source: FormatError::TooLarge { what: "manifest object", size, max: PAYLOAD_BYTES_MAX },
                damaged_checkpoints: Vec::new(),
            }),
            Ok(Err(object_store::Error::NotFound { .. })) => Ok(None),
            Ok(Err(source)) => Err(ManifestError::Read { object: path.to_string(), source }),
            Err(_) => Err(self.no_answer(path.to_string())),
        }
    }

    /// Reads an object; `None` if there is none.
    pub(super) async fn get(&self, name: ObjectName) -> Result<Option<Bytes>, ManifestError> {
        let mut attempt = 0;
        loop {
            match self.get_once(name).await {
                Err(error) => attempt = self.try_again(error, attempt).await?,
                found => return found,
            }
        }
    }

    /// What there is.
    pub(super) async fn list(&self) -> Result<Listing, ManifestError> {
        let mut attempt = 0;
        loop {
            match self.list_once().await {
                Err(error) => attempt = self.try_again(error, attempt).await?,
                found => return found,
            }
        }
    }

    async fn list_once(&self) -> Result<Listing, ManifestError> {
        let prefix = Path::from(PREFIX);
        let mut listing = Listing::default();
        let mut objects = self.store.list(Some(&prefix));
        loop {
            // For each part of the answer, as the whole grows with the log.
            let next = tokio::time::timeout(self.policy.deadline, objects.next()).await;
            let object = match next {
                Ok(Some(Ok(object))) => object,
                Ok(Some(Err(source))) => {
                    return Err(ManifestError::Read { object: format!("the list of {PREFIX}/"), source });
                }
                Ok(None) => break,
                Err(_) => return Err(self.no_answer(format!("the list of {PREFIX}/"))),
            };
            let name = object.location.filename().and_then(ObjectName::parse);
            let Some(name) = name.filter(|name| path(*name) == object.location) else {
                tracing::warn!(object = %object.location, "not an object of the manifest; it is not read");
                continue;
            };
            listing.version_max = listing.version_max.max(name.version());
            if let ObjectName::Checkpoint(version) = name {
                listing.checkpoints.push(version);
            }
        }
        listing.checkpoints.sort_unstable_by(|a, b| b.cmp(a));
        Ok(listing)
    }

    fn no_answer(&self, object: String) -> ManifestError {
        let deadline_ms = u64::try_from(self.policy.deadline.as_millis()).unwrap_or(u64::MAX);
        ManifestError::Deadline { object, deadline_ms }
    }

    /// Pauses before a read is tried again, and returns the number of that try. Only what failed on
    /// the way is tried again, and only so often; any other error comes back.
    async fn try_again(&self, error: ManifestError, attempt: u32) -> Result<u32, ManifestError> {
        let on_the_way = matches!(error, ManifestError::Read { .. } | ManifestError::Deadline { .. });
        let next = attempt.saturating_add(1);
        if !on_the_way || next >= self.policy.attempts_max {
            return Err(error);
        }
        tracing::warn!(%error, attempt, "reading the manifest is tried again");
        self.policy.pause(next).await;
        Ok(next)
    }
}
