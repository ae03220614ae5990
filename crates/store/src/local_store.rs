//! Objects as files of a local folder, durable when a call returns unless they need not be: the object store of a
//! single machine. The one in the object_store crate syncs neither files nor folders and follows links.
//!
//! It knows nothing of what is in the objects. One process writes at a time ([`StoreLock`]); others
//! may read.

mod dir;
mod error;
mod list;
mod lock;
mod resident;
mod upload;

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, AtFlags};

use dir::Root;
use error::{FileError, STORE};
use list::object_meta;
use resident::read_resident;
use upload::Upload;

pub(crate) use error::{is_cut_short, sync_failure};
pub use error::{is_disk_full, is_surely_without_effect, is_sync_failure};
pub use lock::{LOCK_FILE, LockError, StoreLock};

/// What is read of an object at once. A row group fits, so its read is one piece and one turn on the
/// blocking pool.
const READ_BYTES: u64 = 4 << 20;

/// A folder as an object store.
///
/// - A put writes a temporary file, syncs it, gives it its name and syncs the folder: after a power
///   cut the object is there whole or not at all, and there if the call returned.
/// - Put-if-absent is a hard link, so of any number of writers one wins.
/// - One opened [volatile](Self::open_volatile) syncs nothing: a power cut may take what was put.
/// - After a folder could not be synced every write is refused ([`is_sync_failure`]).
/// - Symbolic links below the root are refused.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: Arc<Root>,
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}({})", self.root.path().display())
    }
}

impl LocalStore {
    /// Opens the folder to write, makes it (durably, with all above it) if it is not there, and
    /// removes what a crash left half-written. The caller holds the [`StoreLock`]: another writer's
    /// temporary files would go, too.
    ///
    /// # Errors
    /// Of the file system.
    pub fn open(path: &FsPath) -> Result<Self> {
        Self::open_with(path, true)
    }

    /// The same for what can be had again: a power cut may take what was put, or leave other bytes in its place.
    ///
    /// # Errors
    /// Of the file system.
    pub fn open_volatile(path: &FsPath) -> Result<Self> {
        Self::open_with(path, false)
    }

    fn open_with(path: &FsPath, syncs: bool) -> Result<Self> {
        let fail = |doing, source| FileError::new(doing, path.to_owned(), source);
        make_root(path)?;
        let root = Root::open_with(path, syncs).map_err(|error| fail("opening", error))?;
        let removed = root.remove_temp_files()?;
        if removed > 0 {
            tracing::info!(path = %path.display(), removed, "removed files that a crash left half-written");
        }
        Ok(Self { root: Arc::new(root) })
    }

    /// Opens a folder that exists and changes nothing in it: for readers beside a running writer.
    ///
    /// # Errors
    /// Of the file system.
    pub fn open_existing(path: &FsPath) -> Result<Self> {
        let root = Root::open(path).map_err(|error| FileError::new("opening", path.to_owned(), error))?;
        Ok(Self { root: Arc::new(root) })
    }

    /// The folder.
    pub fn path(&self) -> &FsPath {
        self.root.path()
    }
}

/// Makes a folder and whatever is missing above it, each durable in its parent.
fn make_root(path: &FsPath) -> Result<(), FileError> {
    let fail = |doing, path: &FsPath, source| FileError::new(doing, path.to_owned(), source);
    let path = std::path::absolute(path).map_err(|error| fail("finding", path, error))?;
    let mut missing: Vec<PathBuf> = Vec::new();
    for folder in path.ancestors() {
        match std::fs::metadata(folder) {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(folder.to_owned()),
            Err(error) => return Err(fail("looking for", folder, error)),
        }
    }
    let sync = |folder: &FsPath| File::open(folder).and_then(|folder| folder.sync_all());
    if missing.is_empty()
        && let Some(parent) = path.parent()
        && let Err(error) = sync(parent)
        && error.kind() != io::ErrorKind::PermissionDenied
    {
        // Who made the folder may have died before this. Where the parent is not ours to open, it
        // was made by somebody else, long ago.
        return Err(fail("syncing the folder", parent, error));
    }
    for folder in missing.iter().rev() {
        match std::fs::create_dir(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fail("making the folder", folder, error)),
        }
        if let Some(parent) = folder.parent() {
            sync(parent).map_err(|error| fail("syncing the folder", parent, error))?;
        }
    }
    Ok(())
}

/// Runs file-system calls where they may block; outside a runtime, right here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime
            .spawn_blocking(work)
            .await
            .unwrap_or_else(|error| Err(Error::Generic { store: STORE, source: Box::new(error) })),
        Err(_) => work(),
    }
}

fn read(root: &Root, file: &File, location: &Path, range: Range<u64>) -> Result<Bytes> {
    let fail = |error| root.error("reading", location.as_ref(), error);
    let len = usize::try_from(range.end.saturating_sub(range.start))
        .map_err(|_| fail(io::Error::new(io::ErrorKind::OutOfMemory, "the range does not fit in memory")))?;
    // Into room that is not zeroed first: a lookup reads most of a megabyte.
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = range.start + bytes.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(fail(io::ErrorKind::UnexpectedEof.into()).into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(fail(error.into()).into()),
        }
    }
    // The capacity may be more than what was asked for.
    bytes.truncate(len);
    Ok(bytes.into())
}

impl LocalStore {
    fn put_blocking(
        root: &Arc<Root>,
        location: Path,
        payload: &PutPayload,
        mode: &PutMode,
    ) -> Result<PutResult> {
        root.check_synced()?;
        root.split(&location)?;
        if *mode == PutMode::Create {
            // Before anything is written: on a full disk, too, a retry learns that it has succeeded.
            root.refuse_taken(&location)?;
        }
        let (temp, mut file) = root.temp_file()?;
        for chunk in payload {
            file.write_all(chunk).map_err(|error| temp.error("writing", error))?;
        }
        temp.sync(&file)?;
        let metadata = file.metadata().map_err(|error| temp.error("looking at", error))?;
        let meta = object_meta(location, &metadata).map_err(|error| temp.error("looking at", error))?;
        match mode {
            PutMode::Create => root.name_new(temp, &meta.location)?,
            _ => root.name_over(temp, &meta.location)?,
        }
        Ok(PutResult { e_tag: meta.e_tag, version: None })
    }

    fn get_blocking(root: Arc<Root>, location: Path, options: &GetOptions) -> Result<GetResult> {
        let (file, metadata) = root.open_file(&location)?;
        let fail = |error| root.error("reading", location.as_ref(), error);
        let meta = object_meta(location.clone(), &metadata).map_err(fail)?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range
                .as_range(meta.size)
                .map_err(|error| Error::Generic { store: STORE, source: Box::new(error) })?,
            None => 0..meta.size,
        };
        let payload = if options.head || range.is_empty() {
            stream::empty().boxed()
        } else {
            // The first piece comes with the answer; most reads have no second.
            let end = range.end.min(range.start + READ_BYTES);
            let first = read(&root, &file, &location, range.start..end)?;
            let rest = (root, Arc::new(file), location, end..range.end);
            let rest = stream::try_unfold(rest, |(root, file, location, range)| async move {
                if range.is_empty() {
                    return Ok(None);
                }
                let end = range.end.min(range.start + READ_BYTES);
                blocking(move || {
                    let bytes = read(&root, &file, &location, range.start..end)?;
                    Ok(Some((bytes, (root, file, location, end..range.end))))
                })
                .await
            });
            stream::once(async { Ok(first) }).chain(rest).boxed()
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes: Attributes::default(),
        })
    }

    fn get_ranges_blocking(root: &Root, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (file, metadata) = root.open_file(location)?;
        let size = metadata.len();
        let read_range = |range: &Range<u64>| {
            // Checked before memory is taken for it.
            if range.start > range.end || range.end > size {
                let what = format!("bytes {} to {} of an object of {size}", range.start, range.end);
                let source = io::Error::new(io::ErrorKind::UnexpectedEof, what);
                return Err(root.error("reading", location.as_ref(), source).into());
            }
            read(root, &file, location, range.clone())
        };
        // The disk can be at all of them while the first is waited for. Only a hint: an error says nothing.
        for range in ranges {
            if let Some(len) = range.end.checked_sub(range.start).and_then(NonZeroU64::new) {
                let _ = rustix::fs::fadvise(&file, range.start, Some(len), Advice::WillNeed);
            }
        }
        ranges.iter().map(read_range).collect()
    }

    fn not_implemented(&self, operation: &str) -> Error {
        Error::NotImplemented { operation: operation.to_owned(), implementer: self.to_string() }
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return Err(self.not_implemented("put with PutMode::Update"));
        }
        if !opts.attributes.is_empty() {
            return Err(self.not_implemented("put with attributes"));
        }
        let (root, location) = (Arc::clone(&self.root), location.clone());
        blocking(move || Self::put_blocking(&root, location, &payload, &opts.mode)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return Err(self.not_implemented("put_multipart with attributes"));
        }
        let (root, location) = (Arc::clone(&self.root), location.clone());
        blocking(move || {
            root.check_synced()?;
            root.split(&location)?;
            let (temp, file) = root.temp_file()?;
            Ok(Box::new(Upload::new(root, location, temp, file)) as Box<dyn MultipartUpload>)
        })
        .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (root, location) = (Arc::clone(&self.root), location.clone());
        blocking(move || Self::get_blocking(root, location, &options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(read) = read_resident(&self.root, location, ranges) {
            return Ok(read);
        }
        let (root, location, ranges) = (Arc::clone(&self.root), location.clone(), ranges.to_vec());
        blocking(move || Self::get_ranges_blocking(&root, &location, &ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let root = Arc::clone(&self.root);
        locations
            .then(move |location| {
                let root = Arc::clone(&root);
                blocking(move || {
                    let location = location?;
                    root.remove(&location)?;
                    Ok(location)
                })
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(Arc::clone(&self.root), prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(Arc::clone(&self.root), prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (root, prefix) = (Arc::clone(&self.root), prefix.cloned());
        blocking(move || list::list_with_delimiter(&root, prefix.as_ref())).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (root, from, to) = (Arc::clone(&self.root), from.clone(), to.clone());
        blocking(move || {
            root.check_synced()?;
            // Objects are replaced, never changed in place, so a copy can be a second name.
            root.open_file(&from)?;
            let (folder, name) = root.split(&from)?;
            let folder = root.folder(folder)?;
            root.split(&to)?;
            let (temp, ()) =
                root.temp(|dir, temp| rustix::fs::linkat(&folder, name, dir, temp, AtFlags::empty()))?;
            match options.mode {
                CopyMode::Create => root.name_new(temp, &to),
                CopyMode::Overwrite => root.name_over(temp, &to),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests;
