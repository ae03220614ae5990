//! The log of manifest entries in the object store: reads it, adds to it, one writer at a time.
//! docs/formats/manifest.md specifies the protocol.
//!
//! It never guesses: a commit has happened, has not, or is pending until that is known. It knows
//! nothing of what is in the segments that it lists, and deletes nothing.

mod check;
mod error;
mod objects;
mod replay;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStore;
use tokio::sync::Mutex;
use tracelake_format::manifest::{Change, Commit, Entry, ObjectName, Open, State};
use ulid::Ulid;
use xxhash_rust::xxh3::xxh3_128;

use crate::env::{Clock, CrashPoint, CrashPoints};
use crate::local_store::{is_disk_full, is_surely_without_effect, is_sync_failure};
use objects::{Objects, Put};

pub use check::ManifestCheck;
pub use error::{Fence, ManifestError};
pub use objects::{PREFIX, RetryPolicy};

/// Versions between checkpoints: a start reads at most this many entries and a few more, in about
/// 100 ms from S3, and checkpoints cost less than the entries do.
pub const CHECKPOINT_INTERVAL: u64 = 64;

/// After a checkpoint could not be written, as many versions later.
const CHECKPOINT_RETRY_INTERVAL: u64 = 8;

/// Other writers that may open the log while this one does.
const OPENERS_MAX: u32 = 64;

/// The name that a writing process gives itself: random, so that no two are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterId(Ulid);

impl WriterId {
    /// A name from 80 random bits, and the time for people to read.
    pub fn new(clock: &dyn Clock, random: u128) -> Self {
        Self(Ulid::from_parts(unix_ms(clock), random))
    }
}

impl std::fmt::Display for WriterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

fn unix_ms(clock: &dyn Clock) -> u64 {
    Duration::from_nanos(clock.now_unix_nano()).as_millis().try_into().unwrap_or(u64::MAX)
}

/// What the log needs from outside.
#[derive(Debug, Clone)]
pub struct ManifestEnv {
    /// Where the log is.
    pub store: Arc<dyn ObjectStore>,
    /// Stamps entries, for people.
    pub clock: Arc<dyn Clock>,
    /// Asked before a checkpoint is put.
    pub crash_points: Arc<dyn CrashPoints>,
    /// Deadlines and tries.
    pub policy: RetryPolicy,
}

/// A commit on its way: what is put stays the same, byte for byte, however often it is put.
#[derive(Debug)]
struct Pending {
    entry: Entry,
    bytes: Bytes,
    next: State,
    /// Some put may have arrived.
    maybe_done: bool,
}

/// What only one commit at a time may touch.
#[derive(Debug)]
struct Writing {
    pending: Option<Pending>,
    /// The version at which the next checkpoint is due.
    checkpoint_due: u64,
}

/// The log, opened to write.
#[derive(Debug)]
pub struct ManifestLog {
    objects: Objects,
    clock: Arc<dyn Clock>,
    crash_points: Arc<dyn CrashPoints>,
    writer: WriterId,
    commits_begun: AtomicU64,
    state: RwLock<Arc<State>>,
    writing: Mutex<Writing>,
    fence: OnceLock<Fence>,
}

impl ManifestLog {
    /// Reads the log and takes it over: whoever wrote before is fenced from here on. The state
    /// returned includes the opening itself.
    ///
    /// # Errors
    /// [`ManifestError::Missing`] or [`ManifestError::Damaged`] name the object that ends the log too
    /// early. [`ManifestError::Unknown`] leaves at most an opening that nobody uses.
    pub async fn open(env: ManifestEnv, writer: WriterId) -> Result<(Self, Arc<State>), ManifestError> {
        let objects = Objects { store: env.store, policy: env.policy };
        let replayed = replay::replay(&objects).await?;
        let log = Self {
            objects,
            clock: env.clock,
            crash_points: env.crash_points,
            writer,
            commits_begun: AtomicU64::new(0),
            state: RwLock::new(Arc::new(replayed.state)),
            writing: Mutex::new(Writing {
                pending: None,
                checkpoint_due: replayed.checkpoint_version.saturating_add(CHECKPOINT_INTERVAL),
            }),
            fence: OnceLock::new(),
        };
        let state = log.take_over().await?;
        Ok((log, state))
    }

    /// Reads the log without taking part: for readers beside a writer, and for verification.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub async fn load(store: Arc<dyn ObjectStore>, policy: RetryPolicy) -> Result<State, ManifestError> {
        let objects = Objects { store, policy };
        Ok(replay::replay(&objects).await?.state)
    }

    /// Reads every object of the log, also those that no start needs, and reports what is wrong with
    /// any. Takes no part in it.
    ///
    /// # Errors
    /// The log cannot be listed; what is wrong with an object is in the answer.
    pub async fn check(
        store: Arc<dyn ObjectStore>,
        policy: RetryPolicy,
    ) -> Result<ManifestCheck, ManifestError> {
        check::check(&Objects { store, policy }).await
    }

    /// The state after the last commit that is known to have happened.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The name in this writer's entries.
    pub fn writer(&self) -> WriterId {
        self.writer
    }

    /// Makes a change durable and returns the state with it. A commit that was pending is finished
    /// first; if it is this very change, that is all.
    ///
    /// May be dropped at any point: what was begun is then pending.
    ///
    /// # Errors
    /// After [`ManifestError::Fenced`] stop. After [`ManifestError::Unknown`] it is pending, and
    /// happens with the next call that succeeds, whatever that commits; committing the same change
    /// again is the way to learn the outcome. After [`ManifestError::NotCommitted`] or
    /// [`ManifestError::Misfit`] it did not happen and is forgotten.
    pub async fn commit(&self, commit: Commit) -> Result<Arc<State>, ManifestError> {
        let change = Change::Commit(commit);
        let mut writing = self.writing.lock().await;
        self.check_fence()?;
        if let Some(pending) = &writing.pending {
            let same = pending.entry.change == change;
            let state = self.finish(&mut writing).await?;
            if same {
                return Ok(state);
            }
        }
        let epoch = self.state().epoch;
        self.begin(&mut writing, epoch, change)?;
        self.finish(&mut writing).await
    }

    /// Finishes a pending commit, if there is one, and returns the state.
    ///
    /// # Errors
    /// As for [`Self::commit`].
    pub async fn resolve(&self) -> Result<Arc<State>, ManifestError> {
        let mut writing = self.writing.lock().await;
        self.check_fence()?;
        if writing.pending.is_some() { self.finish(&mut writing).await } else { Ok(self.state()) }
    }

    /// Asks whether another writer has taken over: one read, to be made now and then.
    ///
    /// # Errors
    /// [`ManifestError::Fenced`] if so; a failed read is an error too, and says nothing.
    pub async fn check_epoch(&self) -> Result<(), ManifestError> {
        self.check_fence()?;
        let version = self.state().version.saturating_add(1);
        let Some(bytes) = self.objects.get_once(ObjectName::Entry(version)).await? else { return Ok(()) };
        let entry = replay::decode_entry(version, &bytes)?;
        // A commit of our own may be under way.
        if entry.writer == self.writer.to_string() { Ok(()) } else { Err(self.lost_to(&entry)) }
    }

    /// Commits the opening, after whatever others committed meanwhile.
    async fn take_over(&self) -> Result<Arc<State>, ManifestError> {
        let mut writing = self.writing.lock().await;
        for _ in 0..OPENERS_MAX {
            let epoch = self.state().epoch.saturating_add(1);
            self.begin(&mut writing, epoch, Change::Open(Open {}))?;
            match self.put(&mut writing).await? {
                Ours::Yes => return self.advance(&mut writing).await,
                Ours::No(other) => {
                    writing.pending = None;
                    let mut state = State::clone(&self.state());
                    state
                        .apply(&other)
                        .map_err(|source| replay::damaged(ObjectName::Entry(other.version), source))?;
                    self.publish(state);
                }
            }
        }
        Err(ManifestError::Contended { opened: OPENERS_MAX })
    }

    fn begin(&self, writing: &mut Writing, epoch: u64, change: Change) -> Result<(), ManifestError> {
        let state = self.state();
        let number = self.commits_begun.fetch_add(1, Ordering::Relaxed);
        // The writer's name is random, so this is, too; and no two commits of a writer share it.
        let random = xxh3_128(&[self.writer.0.to_bytes().as_slice(), &number.to_le_bytes()].concat());
        let entry = Entry {
            version: state.version.saturating_add(1),
            commit_id: Ulid::from_parts(unix_ms(&*self.clock), random),
            writer_epoch: epoch,
            writer: self.writer.to_string(),
            committed_unix_nano: self.clock.now_unix_nano(),
            change,
        };
        let misfit = |source| ManifestError::Misfit { version: state.version, source };
        let mut next = State::clone(&state);
        next.apply(&entry).map_err(misfit)?;
        let bytes = Bytes::from(entry.encode().map_err(misfit)?);
        writing.pending = Some(Pending { entry, bytes, next, maybe_done: false });
        Ok(())
    }

    /// Finishes the pending commit of this writer.
    async fn finish(&self, writing: &mut Writing) -> Result<Arc<State>, ManifestError> {
        match self.put(writing).await? {
            Ours::Yes => self.advance(writing).await,
            Ours::No(other) => Err(self.lost_to(&other)),
        }
    }

    /// Puts the pending entry until it is known whose version it is.
    async fn put(&self, writing: &mut Writing) -> Result<Ours, ManifestError> {
        let Some(pending) = &mut writing.pending else { return Ok(Ours::Yes) };
        let version = pending.entry.version;
        let name = ObjectName::Entry(version);
        let mut detail = String::new();
        let mut refused = None;
        for attempt in 0..self.objects.policy.attempts_max.max(1) {
            self.objects.policy.pause(attempt).await;
            // Until this one is answered: a caller may stop waiting in the middle of it.
            let maybe_done_before = std::mem::replace(&mut pending.maybe_done, true);
            match self.objects.put_if_absent(name, pending.bytes.clone()).await {
                // Also after "done": the WAL goes on the strength of this, so it has been read back.
                Put::Done | Put::Exists => match self.objects.get_once(name).await {
                    Ok(Some(found)) if found == pending.bytes => return Ok(Ours::Yes),
                    Ok(Some(found)) => return Ok(Ours::No(Box::new(replay::decode_entry(version, &found)?))),
                    Ok(None) => detail = "it is said to exist, and is not found".to_owned(),
                    Err(error @ ManifestError::Damaged { .. }) => return Err(error),
                    Err(error) => detail = error.to_string(),
                },
                Put::NoAnswer => detail = format!("no answer within {:?}", self.objects.policy.deadline),
                // Whether the entry is there is for the next start to find out.
                Put::Failed(source) if is_sync_failure(&source) => {
                    return Err(ManifestError::NotDurable { version, source });
                }
                Put::Failed(error) => {
                    detail = error.to_string();
                    let full = is_disk_full(&error);
                    if is_surely_without_effect(&error) {
                        pending.maybe_done = maybe_done_before;
                        refused = Some(error);
                    }
                    if full {
                        // Space does not come back within a pause; the caller knows what to wait for.
                        break;
                    }
                }
            }
            tracing::warn!(version, attempt, detail, "a manifest commit has no clear answer yet");
        }
        match refused {
            Some(source) if !pending.maybe_done => {
                writing.pending = None;
                Err(ManifestError::NotCommitted { version, source })
            }
            _ => Err(ManifestError::Unknown { version, detail }),
        }
    }

    /// The pending commit has happened.
    async fn advance(&self, writing: &mut Writing) -> Result<Arc<State>, ManifestError> {
        if let Some(pending) = writing.pending.take() {
            self.publish(pending.next);
        }
        let state = self.state();
        if state.version >= writing.checkpoint_due {
            self.crash_points.reach(CrashPoint::ManifestCheckpoint).map_err(ManifestError::Stopped)?;
            let interval = if self.put_checkpoint(&state).await? {
                CHECKPOINT_INTERVAL
            } else {
                CHECKPOINT_RETRY_INTERVAL
            };
            writing.checkpoint_due = state.version.saturating_add(interval);
        }
        Ok(state)
    }

    /// Whether it is there now. It only makes the next start faster, so one try must do.
    async fn put_checkpoint(&self, state: &State) -> Result<bool, ManifestError> {
        let detail = match state.encode_checkpoint() {
            Err(error) => error.to_string(),
            Ok(bytes) => {
                let name = ObjectName::Checkpoint(state.version);
                match self.objects.put_if_absent(name, Bytes::from(bytes)).await {
                    Put::Done | Put::Exists => return Ok(true),
                    Put::NoAnswer => "no answer".to_owned(),
                    // The store takes no more writes: not the next commit either.
                    Put::Failed(source) if is_sync_failure(&source) => {
                        return Err(ManifestError::NotDurable { version: state.version, source });
                    }
                    Put::Failed(error) => error.to_string(),
                }
            }
        };
        tracing::warn!(version = state.version, detail, "a manifest checkpoint could not be written");
        Ok(false)
    }

    fn publish(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }

    fn check_fence(&self) -> Result<(), ManifestError> {
        self.fence.get().map_or(Ok(()), |fence| Err(ManifestError::Fenced(fence.clone())))
    }

    /// Somebody else's entry stands where ours should.
    fn lost_to(&self, other: &Entry) -> ManifestError {
        // Whoever wrote it, it must fit what came before: then it is the opening of a higher epoch.
        let mut state = State::clone(&self.state());
        if let Err(source) = state.apply(other) {
            return replay::damaged(ObjectName::Entry(other.version), source);
        }
        let fence = Fence { epoch: other.writer_epoch, writer: other.writer.clone(), version: other.version };
        tracing::error!(epoch = fence.epoch, writer = fence.writer, "another writer took the store over");
        ManifestError::Fenced(self.fence.get_or_init(|| fence).clone())
    }
}

/// Whose entry stands at the pending version.
enum Ours {
    Yes,
    No(Box<Entry>),
}
