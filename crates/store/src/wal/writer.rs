//! The thread that writes the log. It alone touches the file, so group, fsync, publication and
//! acknowledgement have one order, and the boundary between two files is where it says.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tracelake_format::wal::{FileHeader, FrameKind, FrameMeta, StoredPayload, compress, encode_requests};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::log_file::{Failure, LogFile};
use super::names::WalFile;
use super::{AfterPublish, Command, FramePosition, Pending, Reply, Shared, WalError, WalOptions, WalSink};
use crate::env::CrashPoint;

/// Bytes of one group. What arrives while 32 MiB are fsynced waits for the next.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Ends the thread where it stands: a simulated crash.
struct Crash;

struct Writer<T: 'static> {
    options: WalOptions,
    sink: Box<dyn WalSink<T>>,
    shared: Arc<Shared>,
    file: LogFile,
    /// The sink has asked for a new file and there is none yet.
    rotation_due: bool,
}

pub(super) fn start<T: Send + 'static>(
    options: WalOptions,
    mut sink: Box<dyn WalSink<T>>,
    receiver: mpsc::Receiver<Command<T>>,
    shared: Arc<Shared>,
) -> Result<(), WalError> {
    options.files.create_dir(&options.dir).map_err(WalError::file("making", &options.dir))?;
    let file = create(&options, options.sequence, options.previous_bytes, sink.recent_requests())
        .map_err(Failure::into_error)?;
    let writer = Writer { options, sink, shared, file, rotation_due: false };
    writer.show_file();
    let dir = writer.options.dir.clone();
    std::thread::Builder::new()
        .name("tracelake-wal".to_owned())
        .spawn(move || writer.run(receiver))
        .map(drop)
        .map_err(WalError::file("starting the thread that writes", dir))
}

/// If the thread panics, senders must not wait for it, and the process must not go on without it.
impl<T: 'static> Drop for Writer<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.poison("its thread panicked");
        }
    }
}

/// Begins a file: header and requests frame, durable.
fn create(
    options: &WalOptions,
    sequence: u64,
    previous_bytes: u64,
    requests: Vec<(u128, u64)>,
) -> Result<LogFile, Failure> {
    let created_unix_nano = options.clock.now_unix_nano();
    let salt =
        xxh3_64_with_seed(&[sequence.to_le_bytes(), created_unix_nano.to_le_bytes()].concat(), options.seed);
    let header = FileHeader { sequence, salt, created_unix_nano, previous_bytes, wal: options.wal };
    let path = WalFile::new(&options.dir, sequence).path;
    let mut file = LogFile::create(options.files.as_ref(), &path, &header)?;
    let meta = FrameMeta {
        kind: FrameKind::Requests,
        tenant: None,
        arrival_unix_nano: created_unix_nano,
        request_hash: 0,
        span_count: 0,
        start_unix_nano_min: 0,
        start_unix_nano_max: 0,
    };
    file.write(&[(&meta, StoredPayload::plain(&encode_requests(&requests)))], [false; 2])?;
    file.sync()?;
    Ok(file)
}

impl<T: 'static> Writer<T> {
    fn poison(&mut self, reason: &str) {
        let mut first = false;
        self.shared.poison.get_or_init(|| {
            first = true;
            reason.to_owned()
        });
        if first {
            tracing::error!(reason, "the WAL is poisoned");
            self.sink.poisoned(reason);
        }
    }
}

impl<T: Send + 'static> Writer<T> {
    fn run(mut self, mut receiver: mpsc::Receiver<Command<T>>) {
        let mut carried = None;
        while let Some(command) = carried.take().or_else(|| receiver.blocking_recv()) {
            let outcome = match command {
                Command::Append(first) => {
                    let group;
                    (group, carried) = gather(first, &mut receiver);
                    self.write_group(group)
                }
                Command::Rotate(reply) => self.rotate_for(reply),
                Command::Probe => self.probe(),
                Command::Close(reply) => {
                    self.trim();
                    answer(reply, Ok(()));
                    return;
                }
            };
            if let Err(Crash) = outcome {
                return;
            }
        }
        self.trim();
    }

    fn write_group(&mut self, group: Vec<Pending<T>>) -> Result<(), Crash> {
        if self.rotation_due && self.shared.poison.get().is_none() {
            // The file is full: without a new one it must not grow.
            if let Err(failure) = self.rotate()? {
                self.fail(group, failure);
                return Ok(());
            }
        }
        if let Some(reason) = self.shared.poison.get() {
            let failure = Failure::Poison(reason.clone());
            self.fail(group, failure);
            return Ok(());
        }
        self.reach(CrashPoint::WalWrite)?;
        let positions = match self.write_frames(&group) {
            Ok(positions) => positions,
            Err(failure) => {
                self.fail(group, failure);
                return Ok(());
            }
        };
        self.reach(CrashPoint::WalSync)?;
        if let Err(failure) = self.file.sync() {
            self.fail(group, failure);
            return Ok(());
        }
        self.reach(CrashPoint::WalPublish)?;
        self.count(&positions);
        let mut published = Vec::with_capacity(group.len());
        let mut replies = Vec::with_capacity(group.len());
        for pending in group {
            published.push(pending.attached);
            replies.push(pending.reply);
        }
        let after = self.sink.publish(published);
        for (reply, position) in replies.into_iter().zip(positions) {
            answer(reply, Ok(position));
        }
        if after == AfterPublish::Rotate {
            self.rotation_due = true;
            if let Err(failure) = self.rotate()? {
                tracing::warn!(%failure, "a new WAL file could not be begun; nothing more is taken until it can");
            }
        }
        Ok(())
    }

    fn write_frames(&mut self, group: &[Pending<T>]) -> Result<Vec<FramePosition>, Failure> {
        let mut buffers = vec![Vec::new(); group.len()];
        let compression = self.options.compression;
        let frame = |(pending, buffer)| {
            let pending: &Pending<T> = pending;
            (&pending.meta, compress(&pending.payload, compression, buffer))
        };
        let frames: Vec<_> = group.iter().zip(&mut buffers).map(frame).collect();
        self.file.write(&frames, self.sink.last_cuts())
    }

    /// Answers a group that was not stored.
    fn fail(&mut self, group: Vec<Pending<T>>, failure: Failure) {
        match &failure {
            Failure::Full(_) => {
                self.shared.disk_full_groups.fetch_add(1, Ordering::Relaxed);
                self.shared.disk_full.store(true, Ordering::Relaxed);
            }
            Failure::Refused(error) => tracing::error!(%error, "a group could not be written to the WAL"),
            Failure::Poison(reason) => self.poison(reason),
        }
        let error = failure.into_error();
        for pending in group {
            // First the sink's part: who is answered may try again at once and must not find it in flight.
            drop(pending.attached);
            answer(pending.reply, Err(error.clone()));
        }
    }

    fn rotate_for(&mut self, reply: Reply<u64>) -> Result<(), Crash> {
        if let Some(reason) = self.shared.poison.get() {
            answer(reply, Err(WalError::Poisoned { reason: reason.clone() }));
            return Ok(());
        }
        let outcome = self.rotate()?.map(|()| self.file.sequence()).map_err(Failure::into_error);
        answer(reply, outcome);
        Ok(())
    }

    /// Begins the next file. If that fails the log goes on in the old one, or is poisoned.
    fn rotate(&mut self) -> Result<Result<(), Failure>, Crash> {
        self.reach(CrashPoint::Freeze)?;
        let sequence = self.file.sequence() + 1;
        let requests = self.sink.recent_requests();
        let next = match create(&self.options, sequence, self.file.bytes(), requests) {
            Ok(next) => next,
            Err(failure) => {
                let failure = self.discard(sequence, failure);
                if let Failure::Poison(reason) = &failure {
                    self.poison(reason);
                }
                return Ok(Err(failure));
            }
        };
        self.reach(CrashPoint::FreezeSwap)?;
        if let Err(error) = self.sink.rotated(sequence) {
            let reason = format!("the WAL file could not be ended: {error}");
            self.poison(&reason);
            return Ok(Err(Failure::Poison(reason)));
        }
        self.trim();
        self.file = next;
        self.rotation_due = false;
        self.show_file();
        Ok(Ok(()))
    }

    /// Removes a file that could not be begun, durably: found by a recovery it would say that the one
    /// before it was complete.
    fn discard(&self, sequence: u64, failure: Failure) -> Failure {
        let error = match failure {
            Failure::Refused(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Failure::Poison(format!(
                    "file {sequence} exists already; another process writes here"
                ));
            }
            Failure::Poison(_) => return failure,
            Failure::Full(error) | Failure::Refused(error) => error,
        };
        let removed = match self.options.files.remove(&WalFile::new(&self.options.dir, sequence).path) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        match removed.and_then(|()| self.options.files.sync_dir(&self.options.dir)) {
            Ok(()) => Failure::of(error),
            Err(removal) => Failure::Poison(format!(
                "file {sequence} could not be begun ({error}) and could not be removed ({removal})"
            )),
        }
    }

    /// Looks whether a disk that was full has space for what comes next.
    fn probe(&mut self) -> Result<(), Crash> {
        if self.shared.poison.get().is_some() || !self.shared.disk_full.load(Ordering::Relaxed) {
            return Ok(());
        }
        let has_space = if self.rotation_due { self.rotate()?.is_ok() } else { self.file.has_space() };
        if has_space {
            self.shared.disk_full.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    fn trim(&mut self) {
        if self.shared.poison.get().is_none()
            && let Err(error) = self.file.trim()
        {
            // Nothing is lost: recovery takes zeros behind the last frame for the end.
            tracing::warn!(%error, "the WAL file's reserved space could not be given back");
        }
    }

    fn reach(&self, point: CrashPoint) -> Result<(), Crash> {
        self.options.crash_points.reach(point).map_err(|_| Crash)
    }

    fn count(&self, positions: &[FramePosition]) {
        let bytes = positions.iter().map(|position| position.bytes).sum();
        self.shared.groups.fetch_add(1, Ordering::Relaxed);
        self.shared.requests.fetch_add(positions.len() as u64, Ordering::Relaxed);
        self.shared.written_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.disk_full.store(false, Ordering::Relaxed);
        self.show_file();
    }

    fn show_file(&self) {
        self.shared.sequence.store(self.file.sequence(), Ordering::Relaxed);
        self.shared.file_bytes.store(self.file.bytes(), Ordering::Relaxed);
    }
}

/// Everything that waits, up to the size of a group. What does not fit, or is no append, is handed
/// back to be next.
fn gather<T>(
    first: Pending<T>,
    receiver: &mut mpsc::Receiver<Command<T>>,
) -> (Vec<Pending<T>>, Option<Command<T>>) {
    let mut bytes = first.payload.len();
    let mut group = vec![first];
    while let Ok(command) = receiver.try_recv() {
        match command {
            Command::Append(pending) if bytes + pending.payload.len() <= GROUP_BYTES_MAX => {
                bytes += pending.payload.len();
                group.push(pending);
            }
            other => return (group, Some(other)),
        }
    }
    (group, None)
}

/// Who asked may have gone: then nobody wants the answer.
fn answer<R>(reply: Reply<R>, result: Result<R, WalError>) {
    drop(reply.send(result));
}
