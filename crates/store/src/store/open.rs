//! Opening a store: take the manifest over, read the WAL back into memtables, begin a new WAL file.
//!
//! What the WAL holds is visible when this returns; it is flushed in the background. If the WAL holds
//! more than may be in memory, the oldest memtables are flushed on the way.

use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Handle;
use tracelake_format::wal::{Compression, FileHeader, Frame};
use tracelake_model::SpanBatch;
use tracelake_otlp::{DecodeLimits, Decoded, Decoder};
use ulid::Ulid;

use super::compact::Compactor;
use super::flush::Flusher;
use super::retain::Retainer;
use super::sink::Sink;
use super::status::RecoverySummary;
use super::{Inner, Pending, Store, StoreOptions};
use crate::StoreError;
use crate::manifest_log::{ManifestEnv, ManifestLog, RetryPolicy, WriterId};
use crate::memtable::Memtable;
use crate::wal::{RecentRequests, RecoveryReport, Visited, Wal, WalOptions, recover};

impl Store {
    /// Opens the store in `options`, which no other process may have open. Must be called on a Tokio
    /// runtime with more than one thread.
    ///
    /// # Errors
    /// If another writer takes the store over meanwhile, if the manifest cannot be read, or if the WAL
    /// was written by a newer Tracelake. Damage in the WAL is no error: it is set aside and reported.
    pub async fn open(options: StoreOptions) -> Result<Self, StoreError> {
        let began_unix_nano = options.clock.now_unix_nano();
        let mut random = StdRng::seed_from_u64(options.random_seed);
        let env = ManifestEnv {
            store: Arc::clone(&options.object_store),
            clock: Arc::clone(&options.clock),
            crash_points: Arc::clone(&options.crash_points),
            policy: RetryPolicy::default(),
        };
        let wal_seed = random.random();
        let new_wal = Ulid::from_parts(began_unix_nano / 1_000_000, random.random());
        let (log, manifest) = ManifestLog::open(env, WriterId::new(&*options.clock, random.random())).await?;
        let flusher = Flusher::new(Arc::new(options), log, manifest, random);
        let (flusher, report) = tokio::task::spawn_blocking(move || {
            let report = replay(&flusher, &Handle::current())?;
            Ok::<_, StoreError>((flusher, report))
        })
        .await
        .map_err(|_| StoreError::TaskDied { what: "the recovery" })??;
        let recovery =
            summarize(&report, flusher.options.clock.now_unix_nano().saturating_sub(began_unix_nano));
        let recent = RecentRequests::new(report.recent_requests.clone());
        let wal = start_wal(&flusher, &recent, &report, report.wal.unwrap_or(new_wal), wal_seed)?;
        // Now that there is a file that says which log this is: a crash may have kept files here that
        // a flush had covered.
        flusher.remove_covered_or_warn().await;
        let store = Self {
            inner: Arc::new(Inner {
                flusher,
                wal,
                recent,
                decoders: Mutex::new(Vec::new()),
                compactor: Compactor::default(),
                retainer: Retainer::default(),
                tasks: Mutex::new(Vec::new()),
                recovery,
            }),
        };
        store.spawn_flusher();
        store.spawn_compactor();
        store.spawn_loader();
        Ok(store)
    }
}

/// Reads the WAL's files back, each into a memtable of its own. Runs on a thread that may block.
fn replay(flusher: &Flusher, runtime: &Handle) -> Result<RecoveryReport, StoreError> {
    let options = &flusher.options;
    let manifest = flusher.current.get().manifest;
    let mut decoder = Decoder::new();
    let mut memtable: Option<Arc<Memtable>> = None;
    // Where the group begins that was read last, and its frames so far.
    let (mut group, mut frames) = (None, 0);
    let mut visit = |file: &FileHeader, frame: Frame| {
        let (decoded, visited) = decode_frame(&mut decoder, &frame);
        let into = match &memtable {
            Some(memtable) if memtable.wal_sequence() == file.sequence => Arc::clone(memtable),
            _ => {
                if let Some(done) = memtable.take() {
                    freeze(flusher, done, runtime)?;
                }
                Arc::clone(memtable.insert(Arc::new(Memtable::new(file.wal, file.sequence))))
            }
        };
        let begun = Some((file.sequence, frame.group.durable_bytes));
        if group != begun {
            // Frames are published one by one: as many groups of the memtable.
            let [before_this, before_last] = frame.group.cuts;
            if before_last && group.is_some_and(|(sequence, _)| sequence == file.sequence) {
                into.cut_before(frames);
            }
            if before_this {
                into.cut_before(0);
            }
            (group, frames) = (begun, 0);
        }
        frames += 1;
        let tenant = frame.meta.tenant.unwrap_or_default();
        into.publish(decoded.map(|batch| (tenant, Arc::new(batch), frame.meta.arrival_unix_nano)));
        Ok::<_, StoreError>(visited)
    };
    let report = recover(&*options.files, &options.wal_dir, &manifest.wal_covered, &mut visit)?;
    if let Some(done) = memtable.take() {
        freeze(flusher, done, runtime)?;
    }
    Ok(report)
}

/// What a whole frame holds, as far as it can be used. What was taken in can be decoded; so a frame of
/// which that is not true was written by a build with a fault, and must not stop every start.
pub fn decode_frame(decoder: &mut Decoder, frame: &Frame) -> (Option<SpanBatch>, Visited) {
    match decoder.decode_protobuf(&frame.payload, &DecodeLimits::recovery()) {
        Err(error) => (None, Visited::Unusable { why: error.to_string() }),
        Ok(Decoded { batch, rejections }) => {
            let visited = rejections
                .message()
                .map_or(Visited::Taken, |why| Visited::Partly { rejected_spans: rejections.spans, why });
            (Some(batch), visited)
        }
    }
}

/// Shows a memtable that was read back whole, and makes room if too many wait.
fn freeze(flusher: &Flusher, memtable: Arc<Memtable>, runtime: &Handle) -> Result<(), StoreError> {
    flusher.current.push_frozen(memtable);
    while flusher.current.frozen_len() > flusher.options.frozen_generations_max {
        runtime.block_on(flusher.flush_frozen())?;
    }
    Ok(())
}

fn start_wal(
    flusher: &Flusher,
    recent: &Arc<RecentRequests>,
    report: &RecoveryReport,
    wal: Ulid,
    seed: u64,
) -> Result<Wal<Pending>, StoreError> {
    flusher.current.set_active(Arc::new(Memtable::new(wal, report.next_sequence)));
    let options = &flusher.options;
    let sink = Sink {
        wal,
        current: Arc::clone(&flusher.current),
        recent: Arc::clone(recent),
        signals: Arc::clone(&flusher.signals),
        clock: Arc::clone(&options.clock),
        generation_bytes_max: options.generation_bytes_max,
        frozen_generations_max: options.frozen_generations_max,
    };
    let wal_options = WalOptions {
        files: Arc::clone(&options.files),
        clock: Arc::clone(&options.clock),
        crash_points: Arc::clone(&options.crash_points),
        dir: options.wal_dir.clone(),
        wal,
        sequence: report.next_sequence,
        previous_bytes: report.previous_bytes,
        seed,
        compression: Compression::default(),
    };
    Ok(Wal::start(wal_options, sink)?)
}

fn summarize(report: &RecoveryReport, took_nano: u64) -> RecoverySummary {
    let damage = report.damage_messages();
    for message in &damage {
        tracing::error!(message, "the WAL is damaged");
    }
    let torn = report.torn_message();
    if let Some(message) = &torn {
        tracing::warn!(message, "the end of the WAL was cut off");
    }
    let summary = RecoverySummary {
        wal_files: report.files,
        frames: report.frames,
        spans: report.spans,
        duration_ms: took_nano / 1_000_000,
        torn_bytes: report.torn.as_ref().map_or(0, |torn| torn.bytes),
        torn,
        damage,
    };
    tracing::info!(
        wal_files = summary.wal_files,
        spans = summary.spans,
        torn_bytes = summary.torn_bytes,
        duration_ms = summary.duration_ms,
        "the WAL was read back"
    );
    summary
}
