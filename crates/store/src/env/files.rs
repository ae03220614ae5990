//! The few things the WAL does with files, as a trait, so that tests can lose what was not synced,
//! fill the disk, and fail any call.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A file that is only appended to.
pub trait FileHandle: std::fmt::Debug + Send {
    /// Appends all of it. After an error the file's length is unknown.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended durable. After an error nothing is known to be.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `len` bytes: takes back an append that failed half-way.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// A folder's files.
pub trait Files: std::fmt::Debug + Send + Sync {
    /// Makes the folder and its parents, durably.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates a file that does not exist yet, durably by name, empty.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>>;
    /// The names in a folder, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Size of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Opens a file to read from its start.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;
    /// Cuts a file to `len` bytes, durably.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Gives a file another name, durably.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. It may come back after a crash.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFiles;

/// Makes a folder's names durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

impl FileHandle for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
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
        std::fs::create_dir_all(dir)?;
        sync_parent(dir)
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

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}
