//! One segment being written: rows are gathered into chunks, bytes go to the object store as they come.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;
use tracelake_format::FormatError;
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::{
    RowRun, RunSource, SegmentPlan, SegmentWriter, SegmentWriterOptions, SharedTables, WrittenSegment,
};
use tracelake_model::TenantId;
use ulid::Ulid;

use super::cursor::Window;
use crate::StoreError;
use crate::put::{PART_BYTES, complete, put_new};
use crate::segments::segment_path;

/// Windows that a chunk may refer to: an output that gets few rows must not keep all windows alive.
const CHUNK_WINDOWS_MAX: usize = 64;

/// Bytes of those windows.
const CHUNK_WINDOWS_BYTES_MAX: usize = 16 << 20;

/// Texts of resources and scopes that are held, before they are forgotten and written again.
const SHARED_BYTES_MAX: usize = 32 << 20;

/// A segment of the merge.
pub(super) struct Output {
    id: Ulid,
    writer: SegmentWriter,
    upload: Upload,
    chunk_rows: usize,
    tenant: Option<TenantId>,
    runs: Vec<RowRun>,
    rows: usize,
    windows: Vec<Arc<Window>>,
    windows_bytes: usize,
    /// By window: its place in `windows`.
    places: HashMap<u64, u32>,
    /// By window, as long as that lives: what the writer shares of it.
    tables: HashMap<u64, (Weak<Window>, SharedTables)>,
}

/// A segment that is durable.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) entry: SegmentEntry,
    pub(crate) written: WrittenSegment,
}

impl Output {
    pub(super) fn begin(
        id: Ulid,
        level: u32,
        plan: &SegmentPlan,
        options: &SegmentWriterOptions,
        object_store: Arc<dyn ObjectStore>,
        runtime: Handle,
    ) -> Result<Self, StoreError> {
        let path = segment_path(id);
        let writer = SegmentWriter::begin(id, level, plan, options).map_err(writing(id))?;
        Ok(Self {
            id,
            writer,
            upload: Upload::new(object_store, runtime, path),
            chunk_rows: options.page_rows,
            tenant: None,
            runs: Vec::new(),
            rows: 0,
            windows: Vec::new(),
            windows_bytes: 0,
            places: HashMap::new(),
            tables: HashMap::new(),
        })
    }

    /// Adds a row.
    pub(super) fn push(
        &mut self,
        tenant: &TenantId,
        window: &Arc<Window>,
        row: usize,
    ) -> Result<(), StoreError> {
        if self.tenant.as_ref() != Some(tenant) {
            self.write_chunk()?;
            self.tenant = Some(tenant.clone());
        }
        let newest = self.windows.last().filter(|newest| newest.number == window.number);
        let place = match newest {
            Some(_) => self.windows.len() as u32 - 1,
            None => *self.places.entry(window.number).or_insert_with(|| {
                self.windows_bytes += window.rows.heap_bytes();
                self.windows.push(Arc::clone(window));
                self.windows.len() as u32 - 1
            }),
        };
        let row = row as u32;
        if !self.runs.last_mut().is_some_and(|run| run.extend(place, row)) {
            self.runs.push(RowRun::of_row(place, row));
        }
        self.rows += 1;
        let full = self.rows >= self.chunk_rows
            || self.windows.len() > CHUNK_WINDOWS_MAX
            // A window that is larger has many rows to be written together.
            || (self.windows.len() > 1 && self.windows_bytes > CHUNK_WINDOWS_BYTES_MAX);
        if full { self.write_chunk() } else { Ok(()) }
    }

    fn write_chunk(&mut self) -> Result<(), StoreError> {
        let Some(tenant) = self.tenant.as_ref().filter(|_| !self.runs.is_empty()) else { return Ok(()) };
        if self.writer.shared_bytes() > SHARED_BYTES_MAX {
            self.writer.forget_shared().map_err(writing(self.id))?;
            self.tables.clear();
        }
        let mut sources = Vec::with_capacity(self.windows.len());
        for window in &self.windows {
            let tables = match self.tables.entry(window.number) {
                Entry::Occupied(known) => known.get().1.clone(),
                Entry::Vacant(new) => {
                    let tables = self.writer.tables(&window.rows).map_err(|error| window.damaged(error))?;
                    new.insert((Arc::downgrade(window), tables)).1.clone()
                }
            };
            sources.push(RunSource { rows: &window.rows, tables });
        }
        self.writer.push(tenant, &self.runs, &sources).map_err(writing(self.id))?;
        drop(sources);
        self.runs.clear();
        self.rows = 0;
        self.windows.clear();
        self.tables.retain(|_, (window, _)| window.strong_count() > 0);
        self.windows_bytes = 0;
        self.places.clear();
        let bytes = self.writer.take_bytes().map_err(writing(self.id))?;
        self.upload.push(bytes.into())
    }

    /// Writes what is left and waits until all of it is durable.
    pub(super) fn finish(mut self) -> Result<Put, StoreError> {
        self.write_chunk()?;
        let written = self.writer.finish().map_err(writing(self.id))?;
        let path = self.upload.path.clone();
        self.upload.finish(written.bytes.clone())?;
        Ok(Put { entry: SegmentEntry { path, meta: written.meta.clone() }, written })
    }
}

fn writing(id: Ulid) -> impl Fn(FormatError) -> StoreError {
    move |source| StoreError::Segment { segment: segment_path(id), source }
}

/// An object that is put in parts, or at once if it is small. One that is not finished is no object.
struct Upload {
    object_store: Arc<dyn ObjectStore>,
    runtime: Handle,
    path: String,
    /// What comes next, as it came: it is copied nowhere.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    parts: Option<Box<dyn MultipartUpload>>,
    /// In parts, so far.
    put_bytes: u64,
}

impl Upload {
    fn new(object_store: Arc<dyn ObjectStore>, runtime: Handle, path: String) -> Self {
        let waiting = VecDeque::new();
        Self { object_store, runtime, path, waiting, waiting_bytes: 0, parts: None, put_bytes: 0 }
    }

    fn push(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes);
        while self.waiting_bytes >= PART_BYTES {
            let part = self.take(PART_BYTES);
            self.put_part(part)?;
        }
        Ok(())
    }

    /// The next bytes, or all if there are fewer.
    fn take(&mut self, bytes: usize) -> Vec<Bytes> {
        let (mut taken, mut left) = (Vec::new(), bytes.min(self.waiting_bytes));
        self.waiting_bytes -= left;
        while left > 0
            && let Some(first) = self.waiting.front_mut()
        {
            let piece = first.split_to(left.min(first.len()));
            left -= piece.len();
            if first.is_empty() {
                self.waiting.pop_front();
            }
            taken.push(piece);
        }
        taken
    }

    fn put_part(&mut self, part: Vec<Bytes>) -> Result<(), StoreError> {
        let runtime = self.runtime.clone();
        self.put_bytes += part.iter().map(Bytes::len).sum::<usize>() as u64;
        let put = async {
            let parts = match &mut self.parts {
                Some(parts) => parts,
                None => self.parts.insert(self.object_store.put_multipart(&Path::from(&*self.path)).await?),
            };
            parts.put_part(part.into_iter().collect()).await
        };
        let result = runtime.block_on(put);
        result.map_err(|source| putting(&self.path, source))
    }

    fn finish(mut self, rest: Bytes) -> Result<(), StoreError> {
        self.push(rest)?;
        let last = self.take(PART_BYTES);
        let location = Path::from(&*self.path);
        let put = |error| putting(&self.path, error);
        if self.parts.is_none() {
            let whole = Bytes::from(last.concat());
            return self.runtime.block_on(put_new(&self.object_store, &location, whole)).map_err(put);
        }
        if !last.is_empty() {
            self.put_part(last)?;
        }
        if let Some(mut parts) = self.parts.take() {
            let done = complete(&self.object_store, &location, &mut *parts, self.put_bytes);
            let done = self.runtime.clone().block_on(done);
            if done.is_err() {
                // Its parts take space until it is given up.
                self.parts = Some(parts);
            }
            done.map_err(|error| putting(&self.path, error))?;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut parts) = self.parts.take()
            && let Err(error) = self.runtime.block_on(parts.abort())
        {
            tracing::debug!(path = self.path, %error, "an upload that was given up could not be removed");
        }
    }
}

fn putting(path: &str, source: object_store::Error) -> StoreError {
    StoreError::ObjectStore { what: format!("writing {path}"), source }
}

#[cfg(test)]
mod tests;
