//! An upload in parts: each goes to its place in a temporary file, which gets its name at the end.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::dir::{Root, Temp};
use super::error::{FileError, STORE};
use super::{blocking, list::object_meta};

/// An upload in parts.
#[derive(Debug)]
pub(super) struct Upload {
    root: Arc<Root>,
    location: Path,
    open: Option<(Temp, Arc<File>)>,
    next_offset: u64,
}

impl Upload {
    pub(super) fn new(root: Arc<Root>, location: Path, temp: Temp, file: File) -> Self {
        Self { root, location, open: Some((temp, Arc::new(file))), next_offset: 0 }
    }
}

fn over() -> Error {
    Error::Generic { store: STORE, source: "the upload has been completed or aborted".into() }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some((_, file)) = &self.open else { return async { Err(over()) }.boxed() };
        let file = Arc::clone(file);
        let path = self.root.display(self.location.as_ref());
        let mut offset = self.next_offset;
        self.next_offset += data.content_length() as u64;
        blocking(move || {
            for chunk in data.iter() {
                file.write_all_at(chunk, offset)
                    .map_err(|error| FileError::new("writing a part of", path.clone(), error))?;
                offset += chunk.len() as u64;
            }
            Ok(())
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (temp, file) = self.open.take().ok_or_else(over)?;
        let (root, location) = (Arc::clone(&self.root), self.location.clone());
        blocking(move || {
            root.check_synced()?;
            temp.sync(&file)?;
            let metadata = file.metadata().map_err(|error| temp.error("looking at", error))?;
            let meta = object_meta(location, &metadata).map_err(|error| temp.error("looking at", error))?;
            root.name_over(temp, &meta.location)?;
            Ok(PutResult { e_tag: meta.e_tag, version: None })
        })
        .await
    }

    async fn abort(&mut self) -> Result<()> {
        let upload = self.open.take().ok_or_else(over)?;
        blocking(move || {
            drop(upload);
            Ok(())
        })
        .await
    }
}
