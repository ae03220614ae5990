//! The few things the WAL does with files, as a trait, so that tests can lose what was not synced,
//! fill the disk, and fail any call.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use rustix::io::Errno;

/// A file that is only appended to.
pub trait FileHandle: std::fmt::Debug + Send {
    /// Appends all of the parts, one behind the other. After an error the file's length is unknown.
    fn append(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// Makes sure, where the file system can, that the file may grow from `from` to `to` bytes
    /// without running out of space. Its length stays as it is.
    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()>;
    /// Makes what was appended durable. After an error nothing is known to be.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `len` bytes and gives back what was reserved: takes back an append that
    /// failed half-way. Not durable until the next sync.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// A folder's files.
pub trait Files: std::fmt::Debug + Send + Sync {
    /// Makes the folder and its parents, durably.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates a file that does not exist yet, durably by name, empty.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>>;
    /// What is in a folder, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Size of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Makes what others appended to a file durable, and forgets what is kept of it in memory, so that
    /// what is read from now on is what the disk has.
    fn sync_and_forget_cache(&self, path: &Path) -> io::Result<()>;
    /// Opens a file to read from its start.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;
    /// Cuts a file to `len` bytes, durably.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Gives a file another name, durably.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name that does not exist yet, durably. Where the file system has no hard
    /// links, a copy.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. It may come back after a crash, until its folder is synced.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder's names durable, removals included.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFiles;

fn sync_dir(dir: &Path) -> io::Result<()> {
    // The parent of a relative path of one part is the empty path.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

impl FileHandle for File {
    fn append(&mut self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Drops empty parts: a write of nothing would look like a file that takes nothing.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match self.write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()> {
        match fallocate(&*self, FallocateFlags::KEEP_SIZE, from, to.saturating_sub(from)) {
            // Not every file system can; there a full disk shows at the write, or at the sync.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            result => Ok(result?),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

impl Files for SystemFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match std::fs::create_dir(dir) {
            Ok(()) => sync_parent(dir),
            // Who made it may have died before its name was durable. A parent that is not ours to open
            // was made by somebody else, long ago.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {
                match sync_parent(dir) {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                    synced => synced,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match dir.parent() {
                Some(parent) => {
                    self.create_dir(parent)?;
                    std::fs::create_dir(dir)?;
                    sync_parent(dir)
                }
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        let file = File::options().append(true).create_new(true).open(path)?;
        sync_parent(path)?;
        Ok(Box::new(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        std::fs::metadata(path).map(|metadata| metadata.len())
    }

    fn sync_and_forget_cache(&self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        file.sync_all()?;
        match fadvise(&file, 0, None, Advice::DontNeed) {
            // Where pages cannot be dropped, what was synced is as good as it gets.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            result => Ok(result?),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = File::options().write(true).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        sync_parent(from)?;
        sync_parent(to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match std::fs::hard_link(from, to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => {
                let mut copy = File::options().write(true).create_new(true).open(to)?;
                io::copy(&mut File::open(from)?, &mut copy)?;
                copy.sync_all()?;
            }
        }
        sync_parent(to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        sync_dir(dir)
    }
}
