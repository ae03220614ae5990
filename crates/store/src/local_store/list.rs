//! Listing: a walk over the folders that yields objects in batches, so that neither a large store
//! nor a slow reader holds more than a batch in memory.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::CStr;
use std::fs::Metadata;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, Result};
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::blocking;
use super::dir::{Root, TEMP_DIR};
use super::error::FileError;
use super::lock::LOCK_FILE;

/// Objects from one turn on the blocking pool.
const BATCH_OBJECTS: usize = 1024;

/// An object as the trait describes it.
pub(super) fn object_meta(location: Path, metadata: &Metadata) -> io::Result<ObjectMeta> {
    let modified = metadata.modified()?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Objects are replaced by new files, so the inode alone tells almost every two apart.
    let e_tag = format!("{:x}-{:x}-{:x}", metadata.ino(), since.as_nanos(), metadata.len());
    Ok(ObjectMeta {
        location,
        last_modified: modified.into(),
        size: metadata.len(),
        e_tag: Some(e_tag),
        version: None,
    })
}

/// What stands in a folder.
enum Found {
    Object(ObjectMeta),
    Folder(String),
}

/// A folder being read.
struct Folder {
    path: String,
    dir: OwnedFd,
    entries: Dir,
}

impl Folder {
    /// `None` if there is no such folder.
    fn open(root: &Root, path: &str) -> Result<Option<Self>> {
        let dir = match root.folder(path) {
            Ok(dir) => dir,
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let entries = Dir::read_from(&dir).map_err(|errno| root.error("listing", path, errno))?;
        Ok(Some(Self { path: path.to_owned(), dir, entries }))
    }

    fn next(&mut self, root: &Root, offset: Option<&Path>) -> Option<Result<Found>> {
        loop {
            let entry = match self.entries.next()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(root.error("listing", &self.path, errno).into())),
            };
            match self.look_at(root, entry.file_name(), entry.file_type(), offset) {
                Ok(None) => {}
                Ok(Some(found)) => return Some(Ok(found)),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    fn look_at(
        &self,
        root: &Root,
        name: &CStr,
        file_type: FileType,
        offset: Option<&Path>,
    ) -> Result<Option<Found>, FileError> {
        // A name that no object can have is nobody's object.
        let Ok(name) = name.to_str() else { return Ok(None) };
        if matches!(name, "." | "..") || (self.path.is_empty() && [TEMP_DIR, LOCK_FILE].contains(&name)) {
            return Ok(None);
        }
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) };
        let Ok(location) = Path::parse(&path) else { return Ok(None) };

        let mut file_type = file_type;
        if file_type == FileType::Unknown {
            // Some file systems do not tell while listing.
            match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => file_type = FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(root.error("listing", &path, errno)),
            }
        }
        match file_type {
            FileType::Directory => Ok(Some(Found::Folder(path))),
            // Passing over it could hide segments; whoever linked another disk here must hear.
            FileType::Symlink => Err(root.symlink(&path)),
            FileType::RegularFile if offset.is_some_and(|offset| location <= *offset) => Ok(None),
            FileType::RegularFile => match root.open_file(&location) {
                Ok((_, metadata)) => object_meta(location, &metadata)
                    .map(|meta| Some(Found::Object(meta)))
                    .map_err(|error| root.error("listing", &path, error)),
                // Deleted since.
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            _ => Ok(None),
        }
    }
}

/// A walk over everything below a folder.
struct Walk {
    root: Arc<Root>,
    open: Vec<Folder>,
    offset: Option<Path>,
    found: VecDeque<Result<ObjectMeta>>,
}

impl Walk {
    fn fill(&mut self) {
        while self.found.len() < BATCH_OBJECTS {
            let Some(folder) = self.open.last_mut() else { return };
            match folder.next(&self.root, self.offset.as_ref()) {
                None => drop(self.open.pop()),
                Some(Ok(Found::Object(meta))) => self.found.push_back(Ok(meta)),
                Some(Ok(Found::Folder(path))) => match Folder::open(&self.root, &path) {
                    Ok(folder) => self.open.extend(folder),
                    Err(error) => self.found.push_back(Err(error)),
                },
                Some(Err(error)) => self.found.push_back(Err(error)),
            }
        }
    }
}

/// Every object below `prefix` whose path comes after `offset`.
pub(super) fn list(
    root: Arc<Root>,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let prefix = prefix.map(|prefix| prefix.as_ref().to_owned()).unwrap_or_default();
    let walk = Walk { root, open: Vec::new(), offset: offset.cloned(), found: VecDeque::new() };
    stream::try_unfold((walk, Some(prefix)), |(mut walk, mut first)| async move {
        if walk.found.is_empty() {
            let start = first.take();
            walk = blocking(move || {
                if let Some(prefix) = start {
                    walk.open.extend(Folder::open(&walk.root, &prefix)?);
                }
                walk.fill();
                Ok(walk)
            })
            .await?;
        }
        match walk.found.pop_front() {
            Some(Ok(meta)) => Ok(Some((meta, (walk, first)))),
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    })
    .boxed()
}

/// The objects and folders right below `prefix`.
pub(super) fn list_with_delimiter(root: &Root, prefix: Option<&Path>) -> Result<ListResult> {
    let prefix = prefix.map(AsRef::as_ref).unwrap_or_default();
    let mut common_prefixes = BTreeSet::new();
    let mut objects = Vec::new();
    if let Some(mut folder) = Folder::open(root, prefix)? {
        while let Some(found) = folder.next(root, None) {
            match found? {
                Found::Object(meta) => objects.push(meta),
                Found::Folder(path) => {
                    common_prefixes.insert(Path::parse(path)?);
                }
            }
        }
    }
    Ok(ListResult { common_prefixes: common_prefixes.into_iter().collect(), objects })
}
