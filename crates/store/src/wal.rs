//! The write-ahead log: a thread that makes groups of requests durable with one fsync each, and the
//! recovery of what it wrote. docs/formats/wal.md specifies files, order and failures.
//!
//! It keeps bytes and knows nothing of spans: what is visible, and when a file is full, is for the
//! [`WalSink`]. A request is acknowledged only after its group is durable *and* published.

mod error;
mod log_file;
mod names;
mod quarantine;
mod recent;
mod recovery;
mod report;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tracelake_format::wal::{Compression, FrameMeta};
use tracelake_model::{TenantId, limits};
use ulid::Ulid;

pub use self::error::WalError;
pub use self::names::{WalFile, list_files, remove_covered};
pub use self::quarantine::dir_of as quarantine_dir;
pub use self::recent::{Begin, InFlight, RecentRequests, RequestGuard};
pub use self::recovery::{Visited, inspect, recover};
pub use self::report::{DamagedFile, FileDamage, Gap, LostFrame, RecoveryReport, TornFile};
use crate::env::{Clock, CrashPoints, Files};

/// Where and how the log is written.
#[derive(Debug, Clone)]
pub struct WalOptions {
    /// The file system.
    pub files: Arc<dyn Files>,
    /// The time of day, for file headers.
    pub clock: Arc<dyn Clock>,
    /// Where tests let it crash.
    pub crash_points: Arc<dyn CrashPoints>,
    /// The log's folder.
    pub dir: PathBuf,
    /// The log's name for itself: [`RecoveryReport::wal`], or a new one.
    pub wal: Ulid,
    /// The first file's sequence: [`RecoveryReport::next_sequence`].
    pub sequence: u64,
    /// Length of the file before it: [`RecoveryReport::previous_bytes`].
    pub previous_bytes: u64,
    /// Random; the files' salts are made of it.
    pub seed: u64,
    /// How payloads are stored.
    pub compression: Compression,
}

/// A request to make durable.
#[derive(Debug)]
pub struct Append<T> {
    /// Whose spans.
    pub tenant: TenantId,
    /// When it arrived.
    pub arrival_unix_nano: u64,
    /// Hash of tenant and body, by which it is recognised when it is sent again.
    pub request_hash: u128,
    /// Number of spans.
    pub span_count: u32,
    /// Earliest start of the spans.
    pub start_unix_nano_min: u64,
    /// Latest start of the spans.
    pub start_unix_nano_max: u64,
    /// The request in OTLP protobuf.
    pub payload: Bytes,
    /// What the sink gets when the request is durable. Dropped if it does not become so.
    pub attached: T,
}

/// Where a frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FramePosition {
    /// The file's sequence.
    pub sequence: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// Its bytes in the file.
    pub bytes: u64,
}

/// What the sink wants after a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterPublish {
    /// The next group goes into the same file.
    Continue,
    /// The file is full: a new one before the next group.
    Rotate,
}

/// Where durable requests go. Called on the log's thread, in the order of the frames.
pub trait WalSink<T>: Send + 'static {
    /// Makes a durable group visible. Its requests are acknowledged when this returns.
    fn publish(&mut self, group: Vec<T>) -> AfterPublish;
    /// Whether a generation ended behind the group that was published last, and behind the one before it.
    fn last_cuts(&self) -> [bool; 2] {
        [false; 2]
    }
    /// The boundary between two files: everything published so far is in files before that of `new_sequence`,
    /// everything later in that one or later ones. That file is durable. An error poisons the log.
    fn rotated(&mut self, new_sequence: u64) -> std::io::Result<()>;
    /// Hash and arrival in seconds since 1970 of the recent requests that are durable, oldest first.
    fn recent_requests(&mut self) -> Vec<(u128, u64)>;
    /// Nothing will be acknowledged any more. Called once.
    fn poisoned(&mut self, reason: &str);
}

/// What the log is doing, for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WalStatus {
    /// The file that is written.
    pub sequence: u64,
    /// Its bytes.
    pub file_bytes: u64,
    /// Groups made durable since the start.
    pub groups: u64,
    /// Requests made durable since the start.
    pub requests: u64,
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// Groups that failed because the disk was full, since the start.
    pub disk_full_groups: u64,
}

#[derive(Debug, Default)]
struct Shared {
    poison: OnceLock<String>,
    sequence: AtomicU64,
    file_bytes: AtomicU64,
    groups: AtomicU64,
    requests: AtomicU64,
    written_bytes: AtomicU64,
    disk_full_groups: AtomicU64,
    disk_full: AtomicBool,
}

type Reply<R> = oneshot::Sender<Result<R, WalError>>;

#[derive(Debug)]
struct Pending<T> {
    meta: FrameMeta,
    payload: Bytes,
    attached: T,
    reply: Reply<FramePosition>,
}

#[derive(Debug)]
enum Command<T> {
    Append(Pending<T>),
    Rotate(Reply<u64>),
    /// Looks whether a full disk has space again.
    Probe,
    Close(Reply<()>),
}

/// The log, open for appending. Clones are the same log; when the last is dropped, or after
/// [`Wal::close`], the thread ends.
#[derive(Debug)]
pub struct Wal<T> {
    commands: mpsc::Sender<Command<T>>,
    shared: Arc<Shared>,
}

impl<T> Clone for Wal<T> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<T: Send + 'static> Wal<T> {
    /// Begins the file of `options.sequence`, which must not exist, and starts the thread.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn start(options: WalOptions, sink: impl WalSink<T>) -> Result<Self, WalError> {
        let queue = usize::try_from(limits::WAL_QUEUE_REQUESTS_MAX).unwrap_or(usize::MAX);
        let (commands, receiver) = mpsc::channel(queue);
        let shared = Arc::new(Shared::default());
        writer::start(options, Box::new(sink), receiver, Arc::clone(&shared))?;
        Ok(Self { commands, shared })
    }

    /// Makes a request durable. Resolves when it is durable and published. Dropping the future does
    /// not take the request back: it is written all the same.
    ///
    /// # Errors
    /// [`WalError::DiskFull`] and [`WalError::Write`]: not stored, may be tried again.
    /// [`WalError::Poisoned`] and [`WalError::Stopped`]: may be stored or not; this log takes no more.
    pub async fn append(&self, append: Append<T>) -> Result<FramePosition, WalError> {
        let size = append.payload.len() as u64;
        if size > limits::WAL_FRAME_BYTES_MAX {
            return Err(WalError::TooLarge { size, max: limits::WAL_FRAME_BYTES_MAX });
        }
        let meta = FrameMeta {
            kind: tracelake_format::wal::FrameKind::Spans,
            tenant: Some(append.tenant),
            arrival_unix_nano: append.arrival_unix_nano,
            request_hash: append.request_hash,
            span_count: append.span_count,
            start_unix_nano_min: append.start_unix_nano_min,
            start_unix_nano_max: append.start_unix_nano_max,
        };
        let (payload, attached) = (append.payload, append.attached);
        self.send(|reply| Command::Append(Pending { meta, payload, attached, reply })).await
    }

    /// Begins a new file, which ends the generation, at the next frame boundary. Resolves to the new
    /// sequence after [`WalSink::rotated`] has returned.
    ///
    /// # Errors
    /// [`WalError::DiskFull`] and [`WalError::Write`]: the log goes on in the old file.
    pub async fn rotate(&self) -> Result<u64, WalError> {
        self.send(Command::Rotate).await
    }

    /// Ends the log after everything that was sent before; nothing if it has ended or is poisoned. The
    /// last file stays.
    pub async fn close(&self) {
        // An error says that it had ended before, which is what is wanted.
        drop(self.send(Command::Close).await);
    }

    async fn send<R>(&self, command: impl FnOnce(Reply<R>) -> Command<T>) -> Result<R, WalError> {
        let (reply, answer) = oneshot::channel();
        if self.shared.poison.get().is_none()
            && self.commands.send(command(reply)).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        Err(self
            .poisoned()
            .map_or(WalError::Stopped, |reason| WalError::Poisoned { reason: reason.to_owned() }))
    }

    /// Why nothing is acknowledged any more, if so.
    pub fn poisoned(&self) -> Option<&str> {
        self.shared.poison.get().map(String::as_str)
    }

    /// Why requests cannot be made durable at the moment; none if they can. After a full disk it looks
    /// for space by itself whenever this is asked.
    pub fn not_ready(&self) -> Option<String> {
        if let Some(reason) = self.poisoned() {
            return Some(WalError::Poisoned { reason: reason.to_owned() }.to_string());
        }
        if self.commands.is_closed() {
            return Some(WalError::Stopped.to_string());
        }
        if self.shared.disk_full.load(Ordering::Relaxed) {
            // With a full queue there are groups to come, which are probes as good.
            drop(self.commands.try_send(Command::Probe));
            return Some("the disk of the WAL is full".to_owned());
        }
        None
    }

    /// Bytes of the file that is written.
    pub fn size_bytes(&self) -> u64 {
        self.shared.file_bytes.load(Ordering::Relaxed)
    }

    /// What it is doing.
    pub fn status(&self) -> WalStatus {
        let shared = &self.shared;
        WalStatus {
            sequence: shared.sequence.load(Ordering::Relaxed),
            file_bytes: shared.file_bytes.load(Ordering::Relaxed),
            groups: shared.groups.load(Ordering::Relaxed),
            requests: shared.requests.load(Ordering::Relaxed),
            written_bytes: shared.written_bytes.load(Ordering::Relaxed),
            disk_full_groups: shared.disk_full_groups.load(Ordering::Relaxed),
        }
    }
}
