//! The folder as file descriptors. Every name is looked up relative to a folder that is already
//! open and never through a symbolic link, so nothing outside the root is read or written,
//! whatever lies inside.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use object_store::path::Path;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use super::error::{Effect, FileError, SyncFailed};
use super::lock::LOCK_FILE;

/// Files that are being written. The name is not one that an object can have, and it is one folder,
/// so that removing what a crash left does not mean walking through everything.
pub(super) const TEMP_DIR: &str = ".tmp";

/// Folders whose names are known to be durable; beyond this many they are synced again.
const DURABLE_DIRS_MAX: usize = 4096;

const OPEN_DIR: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The open root.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    dir: OwnedFd,
    next_temp: AtomicU64,
    durable_dirs: Mutex<HashSet<String>>,
    sync_failed: OnceLock<SyncFailed>,
    /// Not for what can be had again.
    syncs: bool,
    no_resident_reads: AtomicBool,
}

/// A file on its way to its name. Removed when dropped.
#[derive(Debug)]
pub(super) struct Temp {
    root: Arc<Root>,
    dir: OwnedFd,
    name: String,
}

impl Drop for Temp {
    fn drop(&mut self) {
        match rustix::fs::unlinkat(&self.dir, self.name.as_str(), AtFlags::empty()) {
            // Not there any more once it was renamed.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                let path = self.root.path.join(TEMP_DIR).join(&self.name);
                tracing::warn!(path = %path.display(), %error, "a temporary file stays until the next start");
            }
        }
    }
}

impl Root {
    /// Opens the folder `path`, which exists.
    pub(super) fn open(path: &FsPath) -> io::Result<Self> {
        Self::open_with(path, true)
    }

    /// The same, whose files and folders are synced or not.
    pub(super) fn open_with(path: &FsPath, syncs: bool) -> io::Result<Self> {
        // The root itself may be a link: where it is, its owner decides.
        let dir = File::open(path)?;
        if !dir.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
        }
        Ok(Self {
            path: path.to_owned(),
            dir: dir.into(),
            next_temp: AtomicU64::new(0),
            durable_dirs: Mutex::default(),
            sync_failed: OnceLock::new(),
            syncs,
            no_resident_reads: AtomicBool::new(false),
        })
    }

    pub(super) fn path(&self) -> &FsPath {
        &self.path
    }

    /// Where an object is, for people.
    pub(super) fn display(&self, location: &str) -> PathBuf {
        self.path.join(location)
    }

    pub(super) fn error(&self, doing: &'static str, at: &str, source: impl Into<io::Error>) -> FileError {
        FileError::new(doing, self.display(at), source)
    }

    /// Folder and name of an object.
    pub(super) fn split<'a>(&self, location: &'a Path) -> Result<(&'a str, &'a str), FileError> {
        let text: &str = location.as_ref();
        let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
        // Path has no empty, "." or ".." segments; this says so where it matters.
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        let is_own = text == LOCK_FILE || text.split('/').next() == Some(TEMP_DIR);
        if !text.split('/').all(plain) || is_own {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "no object can have this name");
            return Err(self.error("using", text, source));
        }
        Ok((folder, name))
    }

    /// Opens a folder below the root; "" is the root.
    pub(super) fn folder(&self, folder: &str) -> Result<OwnedFd, FileError> {
        self.walk(folder, |dir, part, _| open_dir(dir, part))
    }

    /// Opens a folder below the root, and makes it with all above it, durably.
    pub(super) fn make_folder(&self, folder: &str) -> Result<OwnedFd, object_store::Error> {
        // The walk speaks in file errors; a failed sync is kept and answered by the check after it.
        let opened = self.walk(folder, |dir, part, path| {
            let (child, made) = match open_dir(dir, part) {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(dir, part, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    (open_dir(dir, part)?, true)
                }
                other => (other?, false),
            };
            // Also one that is there may not be durable: who made it may have died before its sync.
            if made || !self.is_durable(path) {
                self.sync(dir, path).map_err(|_| Errno::IO)?;
                self.set_durable(path);
            }
            Ok(child)
        });
        self.check_synced()?;
        Ok(opened?)
    }

    fn walk(
        &self,
        folder: &str,
        step: impl Fn(BorrowedFd<'_>, &str, &str) -> rustix::io::Result<OwnedFd>,
    ) -> Result<OwnedFd, FileError> {
        let fail = |errno: Errno, path: &str| self.error("opening the folder", path, errno);
        let mut current: Option<OwnedFd> = None;
        let mut end = 0;
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            end += part.len() + usize::from(end > 0);
            let path = folder.get(..end).unwrap_or(folder);
            let dir = current.as_ref().map_or(self.dir.as_fd(), AsFd::as_fd);
            let child = match step(dir, part, path) {
                Ok(child) => child,
                Err(Errno::NOTDIR | Errno::LOOP) if is_symlink(dir, part) => return Err(self.symlink(path)),
                // Below a file there is nothing.
                Err(Errno::NOTDIR) => return Err(fail(Errno::NOENT, path)),
                Err(errno) => return Err(fail(errno, path)),
            };
            current = Some(child);
        }
        match current {
            Some(dir) => Ok(dir),
            None => self.dir.try_clone().map_err(|error| self.error("opening the folder", folder, error)),
        }
    }

    pub(super) fn symlink(&self, at: &str) -> FileError {
        let source = io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a symbolic link, and these are not followed; mount the other folder here instead",
        );
        self.error("using", at, source)
    }

    /// Opens an object to read.
    pub(super) fn open_file(&self, location: &Path) -> Result<(File, std::fs::Metadata), FileError> {
        let (folder, name) = self.split(location)?;
        let dir = if folder.is_empty() { None } else { Some(self.folder(folder)?) };
        let dir = dir.as_ref().map_or(self.dir.as_fd(), AsFd::as_fd);
        // Without NONBLOCK a pipe by that name would be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let at: &str = location.as_ref();
        let file = match retry_on_intr(|| rustix::fs::openat(dir, name, flags, Mode::empty())) {
            Ok(file) => File::from(file),
            Err(Errno::LOOP) => return Err(self.symlink(at)),
            Err(errno) => return Err(self.error("opening", at, errno)),
        };
        let metadata = file.metadata().map_err(|error| self.error("opening", at, error))?;
        if !metadata.is_file() {
            return Err(self.error("opening", at, Errno::NOENT));
        }
        Ok((file, metadata))
    }

    /// Opens an object if that takes no look at the disk, and it is there: none in every other case.
    pub(super) fn open_resident(&self, location: &Path) -> Option<OwnedFd> {
        if self.no_resident_reads.load(Ordering::Relaxed) {
            return None;
        }
        self.split(location).ok()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::CACHED | ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let location: &str = location.as_ref();
        let opened = rustix::fs::openat2(&self.dir, location, flags, Mode::empty(), resolve);
        opened.inspect_err(|errno| self.resident_read_failed(*errno)).ok()
    }

    #[cfg(test)]
    pub(super) fn refuses_resident_reads(&self) -> bool {
        self.no_resident_reads.load(Ordering::Relaxed)
    }

    /// What the kernel, a sandbox or the file system refuses once it refuses always: it is not tried again.
    pub(super) fn resident_read_failed(&self, errno: Errno) {
        if matches!(errno, Errno::NOSYS | Errno::INVAL | Errno::PERM | Errno::OPNOTSUPP) {
            self.no_resident_reads.store(true, Ordering::Relaxed);
        }
    }

    /// A new temporary name; `make` creates the file by that name.
    pub(super) fn temp<T>(
        self: &Arc<Self>,
        make: impl Fn(BorrowedFd<'_>, &str) -> rustix::io::Result<T>,
    ) -> Result<(Temp, T), object_store::Error> {
        let dir = self.make_folder(TEMP_DIR)?;
        loop {
            // The process ID only keeps two processes apart that should not both be here.
            let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", std::process::id());
            match make(dir.as_fd(), &name) {
                Ok(made) => return Ok((Temp { root: Arc::clone(self), dir, name }, made)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.error("creating", TEMP_DIR, errno).into()),
            }
        }
    }

    /// A new temporary file, open to write.
    pub(super) fn temp_file(self: &Arc<Self>) -> Result<(Temp, File), object_store::Error> {
        self.temp(|dir, name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o666)).map(File::from)
        })
    }

    /// Removes what earlier processes were writing when they died.
    pub(super) fn remove_temp_files(&self) -> Result<u64, FileError> {
        let dir = match self.folder(TEMP_DIR) {
            Ok(dir) => dir,
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let fail = |errno: Errno| self.error("cleaning", TEMP_DIR, errno);
        let mut removed = 0;
        for entry in Dir::read_from(&dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            rustix::fs::unlinkat(&dir, entry.file_name(), AtFlags::empty()).map_err(fail)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Gives a written and synced file its name, replacing what had it.
    pub(super) fn name_over(&self, temp: Temp, location: &Path) -> Result<(), object_store::Error> {
        let (folder, name) = self.split(location)?;
        let dir = self.make_folder(folder)?;
        rustix::fs::renameat(&temp.dir, temp.name.as_str(), &dir, name)
            .map_err(|errno| self.naming_failed(location, errno))?;
        Ok(self.sync(dir.as_fd(), location.as_ref())?)
    }

    /// Gives a written and synced file a name that nothing has.
    pub(super) fn name_new(&self, temp: Temp, location: &Path) -> Result<(), object_store::Error> {
        let (folder, name) = self.split(location)?;
        let dir = self.make_folder(folder)?;
        match rustix::fs::linkat(&temp.dir, temp.name.as_str(), &dir, name, AtFlags::empty()) {
            Ok(()) => Ok(self.sync(dir.as_fd(), location.as_ref())?),
            Err(Errno::EXIST) => Err(self.taken(dir.as_fd(), location)?),
            Err(errno) => Err(self.naming_failed(location, errno).into()),
        }
    }

    fn naming_failed(&self, location: &Path, errno: Errno) -> FileError {
        // A full disk refuses before it begins. Of any other error a file system behind a network may
        // say it when only the answer went wrong.
        let effect = match errno {
            Errno::NOSPC | Errno::DQUOT => Effect::None,
            _ => Effect::Unknown,
        };
        FileError { effect, ..self.error("giving its name to", location.as_ref(), errno) }
    }

    /// Refuses a name that something has already.
    pub(super) fn refuse_taken(&self, location: &Path) -> Result<(), object_store::Error> {
        let (folder, name) = self.split(location)?;
        let dir = self.make_folder(folder)?;
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(self.taken(dir.as_fd(), location)?),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error("looking for", location.as_ref(), errno).into()),
        }
    }

    /// "Already exists", said only once that is durable: whoever hears it may conclude that an
    /// earlier put of its own has succeeded.
    fn taken(&self, dir: BorrowedFd<'_>, location: &Path) -> Result<object_store::Error, SyncFailed> {
        self.sync(dir, location.as_ref())?;
        Ok(self.error("creating", location.as_ref(), Errno::EXIST).into())
    }

    /// Removes an object, durably.
    pub(super) fn remove(&self, location: &Path) -> Result<(), object_store::Error> {
        self.check_synced()?;
        let (folder, name) = self.split(location)?;
        let dir = self.folder(folder)?;
        match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) => Ok(self.sync(dir.as_fd(), location.as_ref())?),
            // A folder is no object. Linux says ISDIR, POSIX allows PERM.
            Err(Errno::ISDIR | Errno::PERM) if is_dir(dir.as_fd(), name) => {
                Err(self.error("deleting", location.as_ref(), Errno::NOENT).into())
            }
            Err(errno) => Err(self.error("deleting", location.as_ref(), errno).into()),
        }
    }

    /// Makes the names in a folder durable. When that fails, nothing is written any more.
    fn sync(&self, dir: BorrowedFd<'_>, at: &str) -> Result<(), SyncFailed> {
        if !self.syncs {
            return Ok(());
        }
        let Err(errno) = retry_on_intr(|| rustix::fs::fsync(dir)) else { return Ok(()) };
        let what = format!("the folder of {}", self.display(at).display());
        let failed = SyncFailed { what, why: errno.to_string(), refused: false };
        tracing::error!(error = %failed, "the local store stops writing");
        // Set already when two fail at once; the first one says enough.
        self.sync_failed.get_or_init(|| SyncFailed { refused: true, ..failed.clone() });
        Err(failed)
    }

    /// Whether it may still write.
    pub(super) fn check_synced(&self) -> Result<(), SyncFailed> {
        self.sync_failed.get().map_or(Ok(()), |failed| Err(failed.clone()))
    }

    /// As if a sync had failed.
    #[cfg(test)]
    pub(super) fn fail_syncs(&self) {
        let failed = SyncFailed { what: "x".to_owned(), why: "a test".to_owned(), refused: true };
        self.sync_failed.get_or_init(|| failed);
    }

    fn is_durable(&self, folder: &str) -> bool {
        self.durable_dirs.lock().unwrap_or_else(PoisonError::into_inner).contains(folder)
    }

    fn set_durable(&self, folder: &str) {
        let mut durable = self.durable_dirs.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= DURABLE_DIRS_MAX {
            durable.clear();
        }
        durable.insert(folder.to_owned());
    }
}

impl Temp {
    /// Writes the file's bytes through to the disk.
    pub(super) fn sync(&self, file: &File) -> Result<(), FileError> {
        if !self.root.syncs {
            return Ok(());
        }
        // Should it fail, the file is dropped, and a retry writes another one: unlike a folder's
        // names, nothing that matters is in it yet.
        file.sync_all().map_err(|error| self.error("syncing", error))
    }

    pub(super) fn error(&self, doing: &'static str, source: io::Error) -> FileError {
        let path = self.root.path.join(TEMP_DIR).join(&self.name);
        FileError { doing, path, effect: Effect::None, source }
    }
}

fn open_dir(dir: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    retry_on_intr(|| rustix::fs::openat(dir, name, OPEN_DIR, Mode::empty()))
}

fn file_type(dir: BorrowedFd<'_>, name: &str) -> Option<FileType> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

fn is_symlink(dir: BorrowedFd<'_>, name: &str) -> bool {
    file_type(dir, name) == Some(FileType::Symlink)
}

fn is_dir(dir: BorrowedFd<'_>, name: &str) -> bool {
    file_type(dir, name) == Some(FileType::Directory)
}
