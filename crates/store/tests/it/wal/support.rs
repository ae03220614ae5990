//! A log whose requests are numbers, so that what comes back can be told to be what went in.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use tracelake_format::manifest::CoveredWal;
use tracelake_format::wal::{Compression, Frame};
use tracelake_store::env::{Clock, CrashPoints, Files, NoCrashes};
use tracelake_store::wal::{
    AfterPublish, Append, FramePosition, RecoveryReport, Visited, Wal, WalError, WalOptions, WalSink, recover,
};
use ulid::Ulid;

pub(super) const DIR: &str = "/wal";

/// A clock that stands still.
#[derive(Debug)]
pub(super) struct StillClock;

pub(super) const NOW: u64 = 1_760_000_000_000_000_000;

impl Clock for StillClock {
    fn now_unix_nano(&self) -> u64 {
        NOW
    }
}

/// The seeds of a random test: the one in TRACELAKE_TEST_SEED, or `count` of them.
pub(super) fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let one =
        std::env::var("TRACELAKE_TEST_SEED").ok().map(|seed| seed.parse().expect("the seed is a number"));
    one.map_or(0..count, |seed: u64| seed..seed + 1)
}

/// What the sink was told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// File and number of each published request, in order.
    pub(super) published: Vec<(u64, u64)>,
    pub(super) group_sizes: Vec<usize>,
    pub(super) sequence: u64,
    pub(super) poisoned: Vec<String>,
    /// Ask for a new file when this many are published in a file.
    pub(super) rotate_after: Option<usize>,
    in_file: usize,
}

pub(super) type Log = Arc<Mutex<Seen>>;

struct Sink(Log);

impl WalSink<u64> for Sink {
    fn publish(&mut self, group: Vec<u64>) -> AfterPublish {
        let mut seen = self.0.lock().expect("no test panics here");
        let sequence = seen.sequence;
        seen.group_sizes.push(group.len());
        seen.in_file += group.len();
        seen.published.extend(group.into_iter().map(|number| (sequence, number)));
        match seen.rotate_after {
            Some(after) if seen.in_file >= after => AfterPublish::Rotate,
            _ => AfterPublish::Continue,
        }
    }

    fn rotated(&mut self, new_sequence: u64) -> io::Result<()> {
        let mut seen = self.0.lock().expect("no test panics here");
        seen.sequence = new_sequence;
        seen.in_file = 0;
        Ok(())
    }

    fn recent_requests(&mut self) -> Vec<(u128, u64)> {
        let seen = self.0.lock().expect("no test panics here");
        seen.published.iter().map(|(_, number)| (hash(*number), NOW / 1_000_000_000)).collect()
    }

    fn poisoned(&mut self, reason: &str) {
        self.0.lock().expect("no test panics here").poisoned.push(reason.to_owned());
    }
}

pub(super) fn hash(number: u64) -> u128 {
    u128::from(number) << 64 | 0xD1CE
}

/// Different for each number, in size too: mostly small, some larger than a few sectors.
pub(super) fn payload(number: u64) -> Bytes {
    let mut random = SmallRng::seed_from_u64(number);
    let length = if number % 7 == 3 { random.random_range(0..6_000) } else { random.random_range(0..300) };
    let mut bytes = vec![0; length];
    random.fill_bytes(&mut bytes);
    bytes.into()
}

pub(super) fn request(number: u64) -> Append<u64> {
    Append {
        tenant: format!("tenant-{}", number % 3).parse().expect("the name is valid"),
        arrival_unix_nano: NOW,
        request_hash: hash(number),
        span_count: number as u32,
        start_unix_nano_min: number,
        start_unix_nano_max: number + 1,
        payload: payload(number),
        attached: number,
    }
}

/// The number of a frame, which must be exactly what was appended under it.
pub(super) fn number(frame: &Frame) -> u64 {
    let number = frame.meta.start_unix_nano_min;
    let expected = request(number);
    assert_eq!(frame.meta.tenant.as_ref(), Some(&expected.tenant));
    assert_eq!(frame.meta.request_hash, expected.request_hash);
    assert_eq!((frame.meta.span_count, frame.meta.start_unix_nano_max), (number as u32, number + 1));
    assert_eq!(frame.payload, expected.payload, "a frame was changed");
    number
}

/// What a recovery found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) report: RecoveryReport,
    /// File and number of each frame, in order.
    pub(super) frames: Vec<(u64, u64)>,
}

impl Recovered {
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.frames.iter().map(|(_, number)| *number).collect()
    }
}

/// The log of all these tests.
pub(super) const WAL: Ulid = Ulid(0x01AC_ED1A_CE00);

/// Its files up to this sequence.
pub(super) fn covered(sequence: u64) -> [CoveredWal; 1] {
    [CoveredWal { wal: WAL, sequence }]
}

pub(super) fn try_recover(files: &dyn Files, dir: &Path, up_to: u64) -> Result<Recovered, WalError> {
    let mut frames = Vec::new();
    let report = recover(files, dir, &covered(up_to), &mut |file, frame| {
        assert_eq!(file.wal, WAL);
        frames.push((file.sequence, number(&frame)));
        Ok::<_, WalError>(Visited::Taken)
    })?;
    Ok(Recovered { report, frames })
}

pub(super) fn recovered(files: &dyn Files) -> Recovered {
    try_recover(files, Path::new(DIR), 0).expect("the files can be read")
}

pub(super) fn options(files: Arc<dyn Files>, dir: &Path, report: &RecoveryReport) -> WalOptions {
    WalOptions {
        files,
        clock: Arc::new(StillClock),
        crash_points: Arc::new(NoCrashes),
        dir: dir.to_path_buf(),
        wal: report.wal.unwrap_or(WAL),
        sequence: report.next_sequence,
        previous_bytes: report.previous_bytes,
        seed: 99,
        compression: Compression::None,
    }
}

pub(super) fn start(options: WalOptions, rotate_after: Option<usize>) -> Result<(Wal<u64>, Log), WalError> {
    let seen = Seen { sequence: options.sequence, rotate_after, ..Seen::default() };
    let log = Arc::new(Mutex::new(seen));
    Ok((Wal::start(options, Sink(Arc::clone(&log)))?, log))
}

/// Recovers and goes on, on the simulated disk.
pub(super) fn reopen(files: &Arc<dyn Files>) -> (Wal<u64>, Log, Recovered) {
    let recovered = recovered(files.as_ref());
    let (wal, log) =
        start(options(Arc::clone(files), Path::new(DIR), &recovered.report), None).expect("it starts");
    (wal, log, recovered)
}

pub(super) fn reopen_with(files: &Arc<dyn Files>, crash_points: Arc<dyn CrashPoints>) -> (Wal<u64>, Log) {
    let report = recovered(files.as_ref()).report;
    let options = WalOptions { crash_points, ..options(Arc::clone(files), Path::new(DIR), &report) };
    start(options, None).expect("it starts")
}

pub(super) async fn append_all(wal: &Wal<u64>, numbers: impl IntoIterator<Item = u64>) -> Vec<FramePosition> {
    let mut positions = Vec::new();
    for number in numbers {
        positions.push(wal.append(request(number)).await.expect("the disk is well"));
    }
    positions
}

pub(super) fn wal_path(sequence: u64) -> PathBuf {
    Path::new(DIR).join(format!("{sequence:020}.wal"))
}

pub(super) fn quarantine_path(name: &str) -> PathBuf {
    Path::new(DIR).join("quarantine").join(name)
}

/// How often each number occurs.
pub(super) fn counts(numbers: &[u64]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for number in numbers {
        *counts.entry(*number).or_default() += 1;
    }
    counts
}
