//! Reads what an earlier process left: every whole frame, in order; cuts a torn tail, keeps what is
//! damaged aside, and says what is missing. docs/formats/wal.md, "Recovery".
//!
//! It holds one frame in memory at a time, never appends to a file that it found, and removes none
//! that has anything in it.

use std::collections::{HashMap, HashSet};
use std::io::{self, IoSlice, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracelake_format::FormatError;
use tracelake_format::wal::{
    Damage, DecodedFileHeader, FILE_HEADER_BYTES, FileEnd, FileHeader, FileRole, Frame, FrameKind,
    FrameReader, Step, TornTail, decode_file_header, decode_requests,
};
use tracelake_model::limits;

use super::WalError;
use super::names::{WalFile, list_files, quarantine_dir};
use super::report::{DamagedFile, FileDamage, Gap, RecoveryReport, TornFile};
use crate::env::Files;

const READ_BYTES: usize = 1 << 20;
/// Names tried for a quarantined file when older ones have its name.
const QUARANTINE_NAMES_MAX: usize = 100;

/// Reads the log's files behind `covered`, the highest sequence that the manifest covers, and puts the
/// folder in order. `visit` gets every whole frame with spans, with its file's sequence.
///
/// # Errors
/// What `visit` returns; [`WalError::Format`] if a newer Tracelake wrote a file (nothing is changed
/// then); [`WalError::File`] if a file cannot be read or arranged. Calling again begins anew.
pub fn recover<E: From<WalError>>(
    files: &dyn Files,
    dir: &Path,
    covered: u64,
    visit: &mut dyn FnMut(u64, Frame) -> Result<(), E>,
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
    covered: u64,
    visit: &mut dyn FnMut(u64, Frame) -> Result<(), E>,
) -> Result<RecoveryReport, E> {
    Recovery::new(files, dir, false).run(covered, visit)
}

struct Recovery<'a> {
    files: &'a dyn Files,
    dir: &'a Path,
    repairs: bool,
    report: RecoveryReport,
    requests: Requests,
}

/// A file and what its header says.
struct Opened {
    file: WalFile,
    bytes: u64,
    header: Result<DecodedFileHeader, String>,
}

impl<'a> Recovery<'a> {
    fn new(files: &'a dyn Files, dir: &'a Path, repairs: bool) -> Self {
        Self { files, dir, repairs, report: RecoveryReport::default(), requests: Requests::default() }
    }

    fn run<E: From<WalError>>(
        mut self,
        covered: u64,
        visit: &mut dyn FnMut(u64, Frame) -> Result<(), E>,
    ) -> Result<RecoveryReport, E> {
        let found = match list_files(self.files, self.dir) {
            Err(WalError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        let split = found.partition_point(|file| file.sequence <= covered);
        self.report.covered_files = split as u64;
        self.report.next_sequence =
            covered.max(found.last().map_or(0, |file| file.sequence)).saturating_add(1);
        // All headers first: a newer version must be seen before anything is changed.
        let mut opened =
            found.into_iter().skip(split).map(|file| self.open(file)).collect::<Result<Vec<_>, _>>()?;

        if let Some(last) = opened.pop_if(|last| last.header.is_err()) {
            if self.is_unborn(&last.file.path)? {
                self.remove_unborn(&last)?;
            } else {
                opened.push(last);
            }
        }
        let mut expected = covered.saturating_add(1);
        for (index, file) in opened.iter().enumerate() {
            let sequence = file.file.sequence;
            if sequence > expected {
                self.report.gaps.push(Gap { first: expected, last: sequence - 1 });
            }
            expected = sequence.saturating_add(1);
            let role = match opened.get(index + 1) {
                None => FileRole::Newest,
                Some(next) => {
                    let next = next.header.as_ref().ok().map(|decoded| decoded.header);
                    let previous =
                        next.filter(|next| next.sequence == expected).map(|next| next.previous_bytes);
                    FileRole::Sealed { bytes: previous.filter(|bytes| *bytes > 0) }
                }
            };
            self.read_file(file, role, visit)?;
        }
        self.report.recent_requests = self.requests.into_list();
        Ok(self.report)
    }

    fn open(&self, file: WalFile) -> Result<Opened, WalError> {
        let bytes = self.files.len(&file.path).map_err(WalError::file("reading", &file.path))?;
        let mut start = Vec::new();
        let reader = self.files.open(&file.path).map_err(WalError::file("opening", &file.path))?;
        reader
            .take(FILE_HEADER_BYTES as u64)
            .read_to_end(&mut start)
            .map_err(WalError::file("reading", &file.path))?;
        let header = match decode_file_header(&start) {
            Ok(decoded) if decoded.header.sequence != file.sequence => {
                Err(format!("its header says that it is file {}", decoded.header.sequence))
            }
            Ok(decoded) => Ok(decoded),
            Err(source @ FormatError::Version { .. }) => {
                return Err(WalError::Format { path: file.path, source: Arc::new(source) });
            }
            Err(damaged) => Err(damaged.to_string()),
        };
        Ok(Opened { file, bytes, header })
    }

    fn read_file<E: From<WalError>>(
        &mut self,
        opened: &Opened,
        role: FileRole,
        visit: &mut dyn FnMut(u64, Frame) -> Result<(), E>,
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
        if !end.damage.is_empty() {
            // Its second name shows the same bytes: so no cut, which the next file's header makes good.
            self.quarantine(opened, FileDamage::Frames { ranges: end.damage })?;
        } else if !decoded.intact && self.report.frames > frames_before {
            self.quarantine(opened, FileDamage::HeaderCopy)?;
        } else if let Some(torn) = end.torn {
            self.cut(opened, torn)?;
        }
        Ok(())
    }

    fn walk<E: From<WalError>>(
        &mut self,
        file: &WalFile,
        header: &FileHeader,
        role: FileRole,
        visit: &mut dyn FnMut(u64, Frame) -> Result<(), E>,
    ) -> Result<FileEnd, E> {
        let read = |error| WalError::file("reading", &file.path)(error);
        let mut source = self.files.open(&file.path).map_err(WalError::file("opening", &file.path))?;
        io::copy(&mut (&mut source).take(FILE_HEADER_BYTES as u64), &mut io::sink()).map_err(read)?;
        let mut reader = FrameReader::new(header);
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match reader.step() {
                Step::Frame(frame) => match frame.meta.kind {
                    FrameKind::Spans => {
                        self.report.frames += 1;
                        self.report.spans += u64::from(frame.meta.span_count);
                        self.requests.stored(&frame);
                        visit(file.sequence, frame)?;
                    }
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

    /// Whether nothing but zeros stands behind a header that cannot be read: the header is durable
    /// before the first frame is written.
    fn is_unborn(&self, path: &Path) -> Result<bool, WalError> {
        let mut source = self.files.open(path).map_err(WalError::file("opening", path))?;
        io::copy(&mut (&mut source).take(FILE_HEADER_BYTES as u64), &mut io::sink())
            .map_err(WalError::file("reading", path))?;
        is_zero(source.as_mut()).map_err(WalError::file("reading", path))
    }

    fn remove_unborn(&mut self, opened: &Opened) -> Result<(), WalError> {
        let path = &opened.file.path;
        let mut kept_as = None;
        if self.repairs {
            let mut source = self.files.open(path).map_err(WalError::file("opening", path))?;
            if is_zero(source.as_mut()).map_err(WalError::file("reading", path))? {
                self.files.remove(path).map_err(WalError::file("removing", path))?;
                self.files.sync_dir(self.dir).map_err(WalError::file("syncing", self.dir))?;
            } else {
                let to = self.quarantine_path(&format!("{:020}.unborn", opened.file.sequence))?;
                self.files.rename(path, &to).map_err(WalError::file("moving to quarantine", path))?;
                kept_as = Some(to);
            }
        }
        // It held nothing, so its sequence is free; with the next one there would be a gap.
        self.report.next_sequence = opened.file.sequence;
        self.report.torn =
            Some(TornFile { path: path.clone(), at: 0, bytes: opened.bytes, kept_as, headers: Vec::new() });
        Ok(())
    }

    fn cut(&mut self, opened: &Opened, torn: TornTail) -> Result<(), WalError> {
        let path = &opened.file.path;
        let mut kept_as = None;
        if self.repairs {
            let to = self.quarantine_path(&format!("{:020}.{}.tail", opened.file.sequence, torn.at))?;
            self.copy_tail(path, torn.at, &to)?;
            self.files.truncate(path, torn.at).map_err(WalError::file("cutting the torn tail of", path))?;
            kept_as = Some(to);
        }
        let bytes = torn.end - torn.at;
        self.report.torn =
            Some(TornFile { path: path.clone(), at: torn.at, bytes, kept_as, headers: torn.headers });
        Ok(())
    }

    fn copy_tail(&self, path: &Path, at: u64, to: &Path) -> Result<(), WalError> {
        let temporary = to.with_extension("tmp");
        let copy = || -> io::Result<()> {
            match self.files.remove(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut source = self.files.open(path)?;
            io::copy(&mut (&mut source).take(at), &mut io::sink())?;
            let mut handle = self.files.create(&temporary)?;
            let mut chunk = vec![0; READ_BYTES];
            loop {
                match read_some(source.as_mut(), &mut chunk)? {
                    [] => break,
                    bytes => handle.append(&mut [IoSlice::new(bytes)])?,
                }
            }
            handle.sync()?;
            self.files.rename(&temporary, to)
        };
        copy().map_err(WalError::file("keeping the torn tail as", to))
    }

    fn quarantine(&mut self, opened: &Opened, damage: FileDamage) -> Result<(), WalError> {
        let WalFile { sequence, path } = opened.file.clone();
        let mut quarantined_as = None;
        if self.repairs {
            quarantined_as = Some(self.link_to_quarantine(&path, opened.bytes)?);
        }
        let file = DamagedFile { sequence, path, bytes: opened.bytes, quarantined_as, damage };
        self.report.damaged.push(file);
        Ok(())
    }

    fn link_to_quarantine(&self, path: &Path, bytes: u64) -> Result<PathBuf, WalError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for attempt in 0..QUARANTINE_NAMES_MAX {
            let name = if attempt == 0 { name.clone() } else { format!("{name}.{attempt}") };
            let to = self.quarantine_path(&name)?;
            match self.files.link(path, &to) {
                Ok(()) => return Ok(to),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // From a start before this one, unless it is of another length.
                    if self.files.len(&to).map_err(WalError::file("reading", &to))? == bytes {
                        return Ok(to);
                    }
                }
                Err(error) => return Err(WalError::file("linking into quarantine", path)(error)),
            }
        }
        let full =
            io::Error::other("its name is taken many times in the quarantine folder; clear that folder");
        Err(WalError::file("linking into quarantine", path)(full))
    }

    fn quarantine_path(&self, name: &str) -> Result<PathBuf, WalError> {
        let dir = quarantine_dir(self.dir);
        self.files.create_dir(&dir).map_err(WalError::file("making", &dir))?;
        Ok(dir.join(name))
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
    fn stored(&mut self, frame: &Frame) {
        self.stored.insert(frame.meta.request_hash, frame.meta.arrival_unix_nano / 1_000_000_000);
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

/// The next bytes; none at the end.
fn read_some<'b>(source: &mut (dyn Read + Send), chunk: &'b mut [u8]) -> io::Result<&'b [u8]> {
    loop {
        match source.read(chunk) {
            Ok(length) => return Ok(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
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
