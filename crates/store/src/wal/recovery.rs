//! Reads what an earlier process left: every whole frame, in order; cuts a torn tail, keeps what is
//! damaged aside, and says what is missing. docs/formats/wal.md, "Recovery".
//!
//! It holds one frame in memory at a time, never appends to a file that it found, and removes none
//! that has anything in it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Read};
use std::path::Path;

use tracelake_format::manifest::CoveredWal;
use tracelake_format::wal::{
    Damage, DecodedFileHeader, FILE_HEADER_BYTES, FileEnd, FileHeader, FileRole, Frame, FrameKind, FrameMeta,
    FrameReader, Step, TornTail, decode_requests,
};
use tracelake_model::limits;
use ulid::Ulid;

use super::WalError;
use super::names::{WalFile, covered_up_to, list_files, read_header};
use super::quarantine::{self, read_some};
use super::report::{DamagedFile, FileDamage, Gap, LostFrame, RecoveryReport, TornFile};
use crate::env::Files;

const READ_BYTES: usize = 1 << 20;
/// Frames of one file that are reported one by one when they cannot be used.
const LOST_FRAMES_MAX: usize = 1024;

/// What whoever reads the log back could make of a whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visited {
    /// All of it.
    Taken,
    /// All but some of its spans.
    Partly {
        /// How many not.
        rejected_spans: u64,
        /// Why not.
        why: String,
    },
    /// Nothing.
    Unusable {
        /// Why.
        why: String,
    },
}

/// Reads the log's files, but for those that the manifest covers, and puts the folder in order. `visit`
/// gets every whole frame with spans, with its file's header; a frame that it cannot use is reported
/// like damage.
///
/// # Errors
/// What `visit` returns; [`WalError::Format`] if a newer Tracelake wrote a file (nothing is changed
/// then); [`WalError::File`] if a file cannot be read or arranged. Calling again begins anew.
pub fn recover<E: From<WalError>>(
    files: &dyn Files,
    dir: &Path,
    covered: &[CoveredWal],
    visit: &mut dyn FnMut(&FileHeader, Frame) -> Result<Visited, E>,
) -> Result<RecoveryReport, E> {
    Recovery::new(files, dir, true).run(covered, visit)
}

/// The same, changing nothing.
///
/// # Errors
/// As [`recover`].
pub fn inspect<E: From<WalError>>(
    files: &dyn Files,
    dir: &Path,
    covered: &[CoveredWal],
    visit: &mut dyn FnMut(&FileHeader, Frame) -> Result<Visited, E>,
) -> Result<RecoveryReport, E> {
    Recovery::new(files, dir, false).run(covered, visit)
}

struct Recovery<'a> {
    files: &'a dyn Files,
    dir: &'a Path,
    repairs: bool,
    report: RecoveryReport,
    requests: Requests,
    /// Of the file that is being read.
    lost_frames: Vec<LostFrame>,
}

/// A file and what its header says.
struct Opened {
    file: WalFile,
    bytes: u64,
    /// The log that it is of, if that can be read.
    wal: Option<Ulid>,
    header: Result<DecodedFileHeader, String>,
}

impl<'a> Recovery<'a> {
    fn new(files: &'a dyn Files, dir: &'a Path, repairs: bool) -> Self {
        Self {
            files,
            dir,
            repairs,
            report: RecoveryReport::default(),
            requests: Requests::default(),
            lost_frames: Vec::new(),
        }
    }

    fn run<E: From<WalError>>(
        mut self,
        covered: &[CoveredWal],
        visit: &mut dyn FnMut(&FileHeader, Frame) -> Result<Visited, E>,
    ) -> Result<RecoveryReport, E> {
        let found = match list_files(self.files, self.dir) {
            Err(WalError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        // All headers first: a newer version must be seen before anything is changed.
        let mut opened = found.into_iter().map(|file| self.open(file)).collect::<Result<Vec<_>, _>>()?;
        let wals: BTreeSet<Ulid> = opened.iter().filter_map(|file| file.wal).collect();
        // Where files of several logs lie together, who has the others' numbers is not known: a new one
        // is begun.
        self.report.wal = wals.first().copied().filter(|_| wals.len() == 1);
        let own_covered = self.report.wal.and_then(|wal| covered_up_to(covered, wal)).unwrap_or(0);
        self.report.next_sequence =
            own_covered.max(opened.last().map_or(0, |last| last.file.sequence)).saturating_add(1);
        let found = opened.len();
        opened.retain(|file| {
            let covered = file.wal.and_then(|wal| covered_up_to(covered, wal));
            file.header.is_err() || covered.is_none_or(|covered| file.file.sequence > covered)
        });
        self.report.covered_files = (found - opened.len()) as u64;

        if let Some(last) = opened.pop_if(|last| last.header.is_err()) {
            if self.is_unborn(&last.file.path)? {
                self.remove_unborn(&last, own_covered)?;
            } else {
                opened.push(last);
            }
        }
        self.find_gaps(&opened, own_covered);
        for (index, file) in opened.iter().enumerate() {
            let role = match opened.get(index + 1) {
                None => FileRole::Newest,
                Some(next) => {
                    let follows = |next: &FileHeader| {
                        Some(next.sequence) == file.file.sequence.checked_add(1) && Some(next.wal) == file.wal
                    };
                    let next = next.header.as_ref().ok().map(|decoded| decoded.header);
                    let previous = next.filter(follows).map(|next| next.previous_bytes);
                    FileRole::Sealed { bytes: previous.filter(|bytes| *bytes > 0) }
                }
            };
            self.read_file(file, role, visit)?;
        }
        if self.report.wal.is_none() {
            // The next file begins a log, so it has none before it.
            self.report.previous_bytes = 0;
        }
        self.report.recent_requests = self.requests.into_list();
        Ok(self.report)
    }

    /// Sequences that are missing, as far as that can be told: of a log whose name is known, or between
    /// two files of one log.
    fn find_gaps(&mut self, opened: &[Opened], own_covered: u64) {
        // A log that was begun where files of another lay does not begin with 1.
        let begins = own_covered == 0
            && opened
                .first()
                .and_then(|file| file.header.as_ref().ok())
                .is_some_and(|decoded| decoded.header.previous_bytes == 0);
        let mut expected = self.report.wal.filter(|_| !begins).map(|_| own_covered.saturating_add(1));
        let mut before: Option<&Opened> = None;
        for file in opened {
            let sequence = file.file.sequence;
            if before
                .is_some_and(|before| before.wal.is_some() && file.wal.is_some() && before.wal != file.wal)
            {
                expected = None;
            }
            if let Some(first) = expected.filter(|expected| sequence > *expected) {
                self.report.gaps.push(Gap { first, last: sequence - 1 });
            }
            expected = Some(sequence.saturating_add(1));
            before = Some(file);
        }
    }

    fn open(&self, file: WalFile) -> Result<Opened, WalError> {
        if self.repairs {
            // What is read is shown, and its senders are told that it is stored. A process that died
            // between write and fsync left it in the kernel's memory only; after an fsync that failed,
            // that memory may have what the disk never got.
            self.files
                .sync_and_forget_cache(&file.path)
                .map_err(WalError::file("syncing before it is read", &file.path))?;
        }
        let bytes = self.files.len(&file.path).map_err(WalError::file("reading", &file.path))?;
        let (wal, header) = match read_header(self.files, &file.path)? {
            Ok(decoded) if decoded.header.sequence != file.sequence => {
                let what = format!("its header says that it is file {}", decoded.header.sequence);
                (Some(decoded.header.wal), Err(what))
            }
            Ok(decoded) => (Some(decoded.header.wal), Ok(decoded)),
            Err(damaged) => (None, Err(damaged.to_string())),
        };
        Ok(Opened { file, bytes, wal, header })
    }

    fn read_file<E: From<WalError>>(
        &mut self,
        opened: &Opened,
        role: FileRole,
        visit: &mut dyn FnMut(&FileHeader, Frame) -> Result<Visited, E>,
    ) -> Result<(), E> {
        self.report.files += 1;
        self.report.bytes += opened.bytes;
        self.report.previous_bytes = 0;
        let decoded = match &opened.header {
            Ok(decoded) => decoded,
            Err(what) => {
                let damage = FileDamage::Header { what: what.clone() };
                return Ok(self.quarantine(opened, damage)?);
            }
        };
        let frames_before = self.report.frames;
        let end = self.walk(&opened.file, &decoded.header, role, visit)?;
        self.report.previous_bytes = end.bytes;
        for damage in &end.damage {
            self.requests.lost(damage);
        }
        let unusable = std::mem::take(&mut self.lost_frames);
        let mut is_linked = !unusable.is_empty();
        if is_linked {
            self.quarantine(opened, FileDamage::Unusable { frames: unusable })?;
        }
        if !end.damage.is_empty() {
            is_linked = true;
            self.quarantine(opened, FileDamage::Frames { ranges: end.damage })?;
        } else if !decoded.intact && self.report.frames > frames_before {
            is_linked = true;
            self.quarantine(opened, FileDamage::HeaderCopy)?;
        }
        if let Some(torn) = end.torn {
            self.cut(opened, torn, is_linked)?;
        }
        Ok(())
    }

    fn walk<E: From<WalError>>(
        &mut self,
        file: &WalFile,
        header: &FileHeader,
        role: FileRole,
        visit: &mut dyn FnMut(&FileHeader, Frame) -> Result<Visited, E>,
    ) -> Result<FileEnd, E> {
        let read = |error| WalError::file("reading", &file.path)(error);
        let mut source = self.files.open(&file.path).map_err(WalError::file("opening", &file.path))?;
        io::copy(&mut (&mut source).take(FILE_HEADER_BYTES as u64), &mut io::sink()).map_err(read)?;
        let mut reader = FrameReader::new(header);
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match reader.step() {
                Step::Frame(frame) => match frame.meta.kind {
                    FrameKind::Spans => self.visit(header, frame, visit)?,
                    FrameKind::Requests => self.requests.listed(&frame),
                },
                Step::NeedsMore => match read_some(source.as_mut(), &mut chunk).map_err(read)? {
                    [] => reader.feed_end(),
                    bytes => reader.feed(bytes),
                },
                Step::End => return Ok(reader.finish(role)),
            }
        }
    }

    fn visit<E: From<WalError>>(
        &mut self,
        header: &FileHeader,
        frame: Frame,
        visit: &mut dyn FnMut(&FileHeader, Frame) -> Result<Visited, E>,
    ) -> Result<(), E> {
        let (meta, offset) = (frame.meta.clone(), frame.offset);
        let (lost_spans, what) = match visit(header, frame)? {
            Visited::Taken => (0, None),
            Visited::Partly { rejected_spans, why } => (rejected_spans, Some(why)),
            Visited::Unusable { why } => {
                // Not among the stored: whoever sends it again is not told that it is.
                self.requests.unusable(meta.request_hash);
                self.lose(LostFrame { offset, spans: u64::from(meta.span_count), meta, what: why });
                return Ok(());
            }
        };
        self.report.frames += 1;
        self.report.spans += u64::from(meta.span_count).saturating_sub(lost_spans);
        self.requests.stored(&meta);
        if let Some(what) = what {
            self.lose(LostFrame { offset, spans: lost_spans, meta, what });
        }
        Ok(())
    }

    fn lose(&mut self, frame: LostFrame) {
        let full = self.lost_frames.len() >= LOST_FRAMES_MAX;
        match self.lost_frames.last_mut() {
            Some(last) if full => last.spans += frame.spans,
            _ => self.lost_frames.push(frame),
        }
    }

    /// Whether nothing but zeros stands behind a header that cannot be read: the header is durable
    /// before the first frame is written.
    fn is_unborn(&self, path: &Path) -> Result<bool, WalError> {
        let mut source = self.files.open(path).map_err(WalError::file("opening", path))?;
        io::copy(&mut (&mut source).take(FILE_HEADER_BYTES as u64), &mut io::sink())
            .map_err(WalError::file("reading", path))?;
        is_zero(source.as_mut()).map_err(WalError::file("reading", path))
    }

    fn remove_unborn(&mut self, opened: &Opened, own_covered: u64) -> Result<(), WalError> {
        let path = &opened.file.path;
        let mut kept_as = None;
        if self.repairs {
            let mut source = self.files.open(path).map_err(WalError::file("opening", path))?;
            if is_zero(source.as_mut()).map_err(WalError::file("reading", path))? {
                self.files.remove(path).map_err(WalError::file("removing", path))?;
                self.files.sync_dir(self.dir).map_err(WalError::file("syncing", self.dir))?;
            } else {
                let name = format!("{:020}.unborn", opened.file.sequence);
                kept_as = Some(quarantine::take(self.files, self.dir, path, &name)?);
            }
        }
        // It held nothing, so its sequence is free; with the next one there would be a gap. Not if the
        // manifest covers it, as where an older copy of the folder was put back: a file with it would
        // be removed before it is flushed.
        self.report.next_sequence = opened.file.sequence.max(own_covered.saturating_add(1));
        self.report.torn =
            Some(TornFile { path: path.clone(), at: 0, bytes: opened.bytes, kept_as, headers: Vec::new() });
        Ok(())
    }

    /// Reports a torn tail, and cuts it off unless the file has a second name in quarantine, which shows
    /// the same bytes: then the next file's header says where this one ends.
    fn cut(&mut self, opened: &Opened, torn: TornTail, is_linked: bool) -> Result<(), WalError> {
        let path = &opened.file.path;
        let mut kept_as = None;
        if self.repairs && !is_linked {
            let name = format!("{:020}.{}.tail", opened.file.sequence, torn.at);
            kept_as = Some(quarantine::copy_tail(self.files, self.dir, path, torn.at, &name)?);
            self.files.truncate(path, torn.at).map_err(WalError::file("cutting the torn tail of", path))?;
        }
        let bytes = torn.end - torn.at;
        self.report.torn =
            Some(TornFile { path: path.clone(), at: torn.at, bytes, kept_as, headers: torn.headers });
        Ok(())
    }

    fn quarantine(&mut self, opened: &Opened, damage: FileDamage) -> Result<(), WalError> {
        let WalFile { sequence, path } = opened.file.clone();
        let quarantined_as =
            if self.repairs { Some(quarantine::link(self.files, self.dir, &path)?) } else { None };
        let file = DamagedFile { sequence, path, bytes: opened.bytes, quarantined_as, damage };
        self.report.damaged.push(file);
        Ok(())
    }
}

/// The requests that will be recognised when they are sent again: those that are stored. What a
/// damaged frame held is not.
#[derive(Default)]
struct Requests {
    listed: HashMap<u128, u64>,
    stored: HashMap<u128, u64>,
    lost: HashSet<u128>,
}

impl Requests {
    fn stored(&mut self, meta: &FrameMeta) {
        self.stored.insert(meta.request_hash, meta.arrival_unix_nano / 1_000_000_000);
    }

    fn unusable(&mut self, request_hash: u128) {
        self.lost.insert(request_hash);
    }

    fn listed(&mut self, frame: &Frame) {
        // The checksum held, so only a wrong writer could make this fail; the list is a convenience.
        match decode_requests(&frame.payload) {
            // The newest list has all that is not too old.
            Ok(list) => self.listed = list.into_iter().collect(),
            Err(error) => tracing::warn!(%error, "the list of recent requests of a WAL file cannot be read"),
        }
    }

    fn lost(&mut self, damage: &Damage) {
        self.lost.extend(damage.header.as_ref().map(|header| header.meta.request_hash));
    }

    fn into_list(mut self) -> Vec<(u128, u64)> {
        self.listed.retain(|hash, _| !self.lost.contains(hash));
        self.listed.extend(self.stored);
        let mut list: Vec<_> = self.listed.into_iter().collect();
        list.sort_unstable_by_key(|(hash, arrival)| (*arrival, *hash));
        let excess =
            list.len().saturating_sub(usize::try_from(limits::DEDUP_REQUESTS_MAX).unwrap_or(usize::MAX));
        list.split_off(excess)
    }
}

fn is_zero(source: &mut (dyn Read + Send)) -> io::Result<bool> {
    let mut chunk = vec![0; READ_BYTES];
    loop {
        match read_some(source, &mut chunk)? {
            [] => return Ok(true),
            bytes if bytes.iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}
