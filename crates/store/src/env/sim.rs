//! A file system in memory for tests, from a seed: a power cut keeps what was synced and any part of
//! what was not, the disk can be full, and any call can fail.
//!
//! What was appended and not synced survives a power cut as nothing, as a prefix, as any subset of
//! its sectors with zeros in between, or whole. A name that was removed without syncing its folder may
//! come back. Folders exist as soon as they are named.
//!
//! As in Linux, a process that dies leaves what it wrote in the cache, and a sync that fails leaves
//! pages in it that look clean and that the disk does not have: a later sync passes over them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{FileHandle, Files};

/// What a power cut writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What happens at the call that was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with EIO; an append may have got half-way.
    Io,
    /// It fails with ENOSPC; an append may have got half-way.
    NoSpace,
    /// The power goes: this call and all that follow fail until [`SimFiles::restart`].
    PowerCut,
}

/// The file system. Clones are the same one, for the same process.
#[derive(Debug, Clone)]
pub struct SimFiles {
    disk: Arc<Mutex<Disk>>,
    /// If set, the life in which it works.
    life: Option<u64>,
}

#[derive(Debug)]
struct Disk {
    random: SmallRng,
    names: BTreeMap<PathBuf, u64>,
    /// Names removed since their folder was synced.
    removed: BTreeMap<PathBuf, u64>,
    inodes: HashMap<u64, Inode>,
    inode_next: u64,
    /// Handles of earlier lives are dead.
    life: u64,
    off: bool,
    capacity: Option<u64>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    sync_fault: Option<Fault>,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// As a reader sees it.
    now: Vec<u8>,
    durable: Vec<u8>,
    reserved: u64,
    /// After a sync that failed: up to here the cache says what the disk may not have.
    passed_over: usize,
}

impl Inode {
    fn sync(&mut self) {
        let kept = self.passed_over.min(self.durable.len()).min(self.now.len());
        let passed_over = self.passed_over.min(self.now.len());
        self.durable.truncate(kept);
        self.durable.resize(passed_over, 0);
        self.durable.extend_from_slice(&self.now[passed_over..]);
    }

    fn cut(&mut self, len: u64) {
        self.now.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        self.passed_over = self.passed_over.min(self.now.len());
    }

    fn fail_to_sync(&mut self, random: &mut SmallRng) {
        self.durable = survive(self, random);
        self.passed_over = self.now.len();
    }
}

impl SimFiles {
    /// An empty disk without limit.
    pub fn new(seed: u64) -> Self {
        let disk = Disk {
            random: SmallRng::seed_from_u64(seed),
            names: BTreeMap::new(),
            removed: BTreeMap::new(),
            inodes: HashMap::new(),
            inode_next: 0,
            life: 0,
            off: false,
            capacity: None,
            calls: 0,
            fault: None,
            sync_fault: None,
        };
        Self { disk: Arc::new(Mutex::new(disk)), life: None }
    }

    /// For a process that dies with the next power cut or kill: what is left of it, as its threads are,
    /// does nothing any more.
    pub fn of_new_process(&self) -> Self {
        let life = self.disk().life;
        Self { disk: Arc::clone(&self.disk), life: Some(life) }
    }

    fn disk_of_process(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        if self.life.is_some_and(|life| life != disk.life) {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(disk)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that all files together may have; None: any.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.disk().capacity = capacity;
    }

    /// Bytes that all files together have, reserved space included.
    pub fn used(&self) -> u64 {
        self.disk().used()
    }

    /// Calls so far that a fault can hit.
    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// The `nth` call from now (0: the next) meets the fault, once.
    pub fn fail_nth(&self, nth: u64, fault: Fault) {
        let mut disk = self.disk();
        disk.fault = Some((disk.calls + nth, fault));
    }

    /// Whether the fault set by [`SimFiles::fail_nth`] has yet to come; takes it back.
    pub fn clear_fault(&self) -> bool {
        self.disk().fault.take().is_some()
    }

    /// From now on every sync of a file fails so; None: they work again.
    pub fn fail_syncs(&self, fault: Option<Fault>) {
        self.disk().sync_fault = fault;
    }

    /// The power goes, now: until [`SimFiles::restart`] every call fails.
    pub fn power_cut(&self) {
        self.disk().power_cut();
    }

    /// The process dies. What it wrote stays in the cache; its open files are dead.
    pub fn kill(&self) {
        self.disk().life += 1;
    }

    /// The power is back. Files opened before stay dead.
    pub fn restart(&self) {
        self.disk().off = false;
    }

    /// Every file's path, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.disk().names.keys().cloned().collect()
    }

    /// A file's bytes as a reader sees them, if it exists.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        let inode = disk.names.get(path)?;
        Some(disk.inodes.get(inode)?.now.clone())
    }

    /// Puts a durable file there, over any that is.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = self.disk();
        let inode = disk.new_inode();
        disk.inodes.insert(inode, Inode { now: bytes.clone(), durable: bytes, ..Inode::default() });
        disk.names.insert(path.to_path_buf(), inode);
    }
}

impl Disk {
    fn used(&self) -> u64 {
        let mut inodes: Vec<u64> = self.names.values().copied().collect();
        inodes.sort_unstable();
        inodes.dedup();
        let size = |inode| {
            self.inodes.get(inode).map_or(0, |inode: &Inode| inode.reserved.max(inode.now.len() as u64))
        };
        inodes.iter().map(size).sum()
    }

    fn new_inode(&mut self) -> u64 {
        self.inode_next += 1;
        self.inode_next
    }

    fn call(&mut self) -> io::Result<()> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        self.calls += 1;
        match self.fault {
            Some((nth, fault)) if self.calls > nth => {
                self.fault = None;
                Err(self.meet(fault))
            }
            _ => Ok(()),
        }
    }

    fn meet(&mut self, fault: Fault) -> io::Error {
        match fault {
            Fault::Io => io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()),
            Fault::NoSpace => io::ErrorKind::StorageFull.into(),
            Fault::PowerCut => {
                self.power_cut();
                io::Error::other("the power went")
            }
        }
    }

    fn power_cut(&mut self) {
        self.off = true;
        self.life += 1;
        self.fault = None;
        for (path, inode) in std::mem::take(&mut self.removed) {
            if self.random.random_bool(0.5) {
                self.names.entry(path).or_insert(inode);
            }
        }
        let mut inodes: Vec<u64> = self.inodes.keys().copied().collect();
        // The order of a hash map is not from the seed.
        inodes.sort_unstable();
        for inode in inodes {
            if let Some(inode) = self.inodes.get_mut(&inode) {
                inode.now = survive(inode, &mut self.random);
                inode.durable = inode.now.clone();
                inode.reserved = 0;
                inode.passed_over = 0;
            }
        }
    }

    fn sync(&mut self, inode: u64) -> io::Result<()> {
        let outcome = self.call().and_then(|()| match self.sync_fault {
            Some(fault) => Err(self.meet(fault)),
            None => Ok(()),
        });
        let inode = self.inodes.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?;
        match outcome {
            Ok(()) => inode.sync(),
            Err(_) if !self.off => inode.fail_to_sync(&mut self.random),
            Err(_) => {}
        }
        outcome
    }

    fn inode(&mut self, path: &Path) -> io::Result<&mut Inode> {
        let inode = self.names.get(path).copied();
        inode.and_then(|inode| self.inodes.get_mut(&inode)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// What is left of a file after a power cut.
fn survive(inode: &Inode, random: &mut SmallRng) -> Vec<u8> {
    let (now, durable) = (&inode.now, &inode.durable);
    match random.random_range(0..4) {
        0 => durable.clone(),
        1 => now.clone(),
        2 if now.len() > durable.len() => now[..random.random_range(durable.len()..=now.len())].to_vec(),
        _ => {
            // The longer of both, sector by sector from one or the other; what is in neither is zero.
            let mut image = now.clone();
            for (index, sector) in image.chunks_mut(SECTOR_BYTES).enumerate() {
                if random.random_bool(0.5) {
                    for (offset, byte) in sector.iter_mut().enumerate() {
                        *byte = durable.get(index * SECTOR_BYTES + offset).copied().unwrap_or(0);
                    }
                }
            }
            image
        }
    }
}

#[derive(Debug)]
struct SimHandle {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    life: u64,
}

impl SimHandle {
    fn with<T>(&self, work: impl FnOnce(&mut Disk, u64) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if disk.life != self.life {
            return Err(io::Error::other("the process that opened the file is dead"));
        }
        work(&mut disk, self.inode)
    }
}

impl FileHandle for SimHandle {
    fn append(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.with(|disk, inode| {
            // A power cut may fall into the middle of the write: it is pending by then.
            let before = disk.inodes.get(&inode).map_or(0, |inode| inode.now.len());
            let room = disk.capacity.map(|capacity| {
                let own =
                    disk.inodes.get(&inode).map_or(0, |inode| inode.reserved.max(inode.now.len() as u64));
                capacity.saturating_sub(disk.used() - own).saturating_sub(before as u64)
            });
            let fits =
                room.map_or(bytes.len(), |room| bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            let cut = matches!(disk.fault, Some((nth, Fault::PowerCut)) if disk.calls >= nth);
            if cut && let Some(inode) = disk.inodes.get_mut(&inode) {
                inode.now.extend_from_slice(&bytes[..fits]);
            }
            let outcome = disk.call();
            let half = disk.random.random_range(0..=fits);
            let Some(inode) = disk.inodes.get_mut(&inode) else {
                return Err(io::ErrorKind::NotFound.into());
            };
            match outcome {
                Ok(()) if fits == bytes.len() => {
                    inode.now.extend_from_slice(&bytes);
                    Ok(())
                }
                Ok(()) => {
                    inode.now.extend_from_slice(&bytes[..fits]);
                    Err(io::ErrorKind::StorageFull.into())
                }
                Err(error) => {
                    if !cut {
                        inode.now.extend_from_slice(&bytes[..half]);
                    }
                    Err(error)
                }
            }
        })
    }

    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()> {
        self.with(|disk, inode| {
            disk.call()?;
            let used = disk.used();
            let capacity = disk.capacity;
            let inode = disk.inodes.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?;
            let own = inode.reserved.max(inode.now.len() as u64);
            if capacity.is_some_and(|capacity| used - own + to.max(own) > capacity) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            assert!(from <= to, "reserves a range that ends before it begins");
            inode.reserved = inode.reserved.max(to);
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|disk, inode| disk.sync(inode))
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.with(|disk, inode| {
            disk.call()?;
            let inode = disk.inodes.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?;
            inode.cut(len);
            inode.reserved = 0;
            Ok(())
        })
    }
}

impl Files for SimFiles {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.disk_of_process()?.call()
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        let mut disk = self.disk_of_process()?;
        disk.call()?;
        if disk.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.new_inode();
        disk.inodes.insert(inode, Inode::default());
        disk.names.insert(path.to_path_buf(), inode);
        disk.removed.remove(path);
        Ok(Box::new(SimHandle { disk: Arc::clone(&self.disk), inode, life: disk.life }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut disk = self.disk_of_process()?;
        disk.call()?;
        Ok(disk.names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let mut disk = self.disk_of_process()?;
        disk.call()?;
        disk.inode(path).map(|inode| inode.now.len() as u64)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let mut disk = self.disk_of_process()?;
        disk.call()?;
        let bytes = disk.inode(path)?.now.clone();
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    fn sync_and_forget_cache(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk_of_process()?;
        let inode = disk.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        disk.sync(inode)?;
        let inode = disk.inode(path)?;
        inode.now = inode.durable.clone();
        inode.passed_over = 0;
        Ok(())
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut disk = self.disk_of_process()?;
        disk.call()?;
        let inode = disk.inode(path)?;
        inode.cut(len);
        inode.sync();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk_of_process()?;
        disk.call()?;
        let inode = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_path_buf(), inode);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk_of_process()?;
        disk.call()?;
        if disk.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_path_buf(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk_of_process()?;
        disk.call()?;
        let inode = disk.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        disk.removed.insert(path.to_path_buf(), inode);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk_of_process()?;
        disk.call()?;
        disk.removed.retain(|path, _| path.parent() != Some(dir));
        Ok(())
    }
}
