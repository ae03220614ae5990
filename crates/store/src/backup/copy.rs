//! One segment from one place to another, every byte checked on the way against what the manifest says
//! of it. docs/formats/backup.md, "What covers each byte".
//!
//! It holds a piece of the file at a time. What is put under the segment's name was whole.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use tracelake_format::FormatError;
use tracelake_format::checksum::{BLOCK_BYTES, ChecksumTable};
use tracelake_format::manifest::SegmentEntry;
use tracelake_format::segment::OpenSegment;

use super::BackupError;
use crate::StoreError;
use crate::put::{PART_BYTES, complete};
use crate::segments::{damaged, unreadable};

/// What is read and written at once: whole blocks.
const PIECE_BYTES: u64 = PART_BYTES as u64;
const _: () = assert!(PIECE_BYTES.is_multiple_of(BLOCK_BYTES));

/// Whether a segment had to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// It was.
    Now,
    /// It was there, and is what it should be.
    Before,
}

/// Copies a segment unless it is there. [`BackupError::Gone`] if it is not where it is copied from.
pub(super) async fn copy(
    from: &Arc<dyn ObjectStore>,
    to: &Arc<dyn ObjectStore>,
    entry: &SegmentEntry,
) -> Result<Copied, BackupError> {
    match Checked::open(to, entry).await {
        Ok(there) => match there.read_all(None).await {
            Ok(()) => return Ok(Copied::Before),
            Err(StoreError::Segment { source, .. }) => {
                // The good one takes its place, once it is whole.
                tracing::warn!(segment = entry.path, error = %source, "a damaged copy is made anew");
            }
            Err(error) => return Err(error.into()),
        },
        Err(StoreError::SegmentRead { source: Error::NotFound { .. }, .. } | StoreError::Segment { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let copied = async {
        let source = Checked::open(from, entry).await?;
        let path = Path::from(entry.path.as_str());
        let mut upload = to.put_multipart(&path).await.map_err(writing(entry))?;
        if let Err(error) = source.read_all(Some(&mut *upload)).await {
            if let Err(error) = upload.abort().await {
                tracing::debug!(segment = entry.path, %error, "an upload that was given up could not be removed");
            }
            return Err(error);
        }
        complete(to, &path, &mut *upload, entry.meta.size_bytes).await.map_err(writing(entry))
    };
    match copied.await {
        Ok(()) => Ok(Copied::Now),
        Err(StoreError::SegmentRead { source: Error::NotFound { .. }, .. }) => {
            Err(BackupError::Gone { segment: entry.path.clone() })
        }
        Err(error) => Err(error.into()),
    }
}

/// A segment's file whose checksums were read, and are what the manifest says.
struct Checked<'a> {
    store: &'a Arc<dyn ObjectStore>,
    entry: &'a SegmentEntry,
    table: ChecksumTable,
    /// What the table does not cover: itself and all behind it.
    tail: Bytes,
}

impl<'a> Checked<'a> {
    async fn open(store: &'a Arc<dyn ObjectStore>, entry: &'a SegmentEntry) -> Result<Self, StoreError> {
        let meta = &entry.meta;
        let not_whole = |detail: &str| damaged(entry, FormatError::damaged("segment", detail));
        let path = Path::from(entry.path.as_str());
        let size = store.head(&path).await.map_err(|error| unreadable(entry, error))?.size;
        if size != meta.size_bytes {
            return Err(not_whole(&format!("the file has {size} bytes instead of {}", meta.size_bytes)));
        }
        let (sums, footer) = (meta.checksums.range(), meta.footer.range());
        if sums.end != footer.start || footer.end != meta.size_bytes || sums.start > sums.end {
            return Err(not_whole("its sections are not next to each other"));
        }
        let tail = store
            .get_range(&path, sums.start..meta.size_bytes)
            .await
            .map_err(|error| unreadable(entry, error))?;
        let at = usize::try_from(meta.checksums.len).unwrap_or(usize::MAX);
        let (sums, footer) = tail.split_at_checked(at).ok_or_else(|| not_whole("it ends too early"))?;
        let table = OpenSegment::verify_section(&meta.checksums, sums)
            .and_then(|()| OpenSegment::verify_section(&meta.footer, footer))
            .and_then(|()| ChecksumTable::parse(sums))
            .map_err(|error| damaged(entry, error))?;
        if table.covered() != meta.checksums.offset {
            return Err(not_whole("its checksums do not cover what is before them"));
        }
        Ok(Self { store, entry, table, tail })
    }

    /// Reads the file from front to back, and passes on what is right.
    async fn read_all(&self, mut into: Option<&mut dyn MultipartUpload>) -> Result<(), StoreError> {
        let path = Path::from(self.entry.path.as_str());
        let covered = self.table.covered();
        let mut start = 0;
        while start < covered {
            let range: Range<u64> = start..covered.min(start.saturating_add(PIECE_BYTES));
            start = range.end;
            let bytes = self
                .store
                .get_range(&path, range.clone())
                .await
                .map_err(|error| unreadable(self.entry, error))?;
            let verified = self.table.verify(range.start, &bytes);
            verified.map_err(|error| damaged(self.entry, error))?;
            if bytes.len() as u64 != range.end - range.start {
                return Err(damaged(self.entry, FormatError::damaged("segment", "it ends too early")));
            }
            let Some(upload) = into.as_deref_mut() else { continue };
            let part = if range.end < covered {
                bytes
            } else {
                // With what follows, as only the last part of an upload may be small.
                let mut last = BytesMut::from(&bytes[..]);
                last.extend_from_slice(&self.tail);
                last.freeze()
            };
            upload.put_part(PutPayload::from_bytes(part)).await.map_err(writing(self.entry))?;
        }
        Ok(())
    }
}

fn writing(entry: &SegmentEntry) -> impl FnOnce(Error) -> StoreError {
    move |source| StoreError::ObjectStore { what: format!("writing a copy of {}", entry.path), source }
}
