//! An upload in parts whose errors say no more than they should.

use async_trait::async_trait;
use futures::FutureExt;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::error::cleaned;

#[derive(Debug)]
pub(super) struct RemoteUpload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
}

impl RemoteUpload {
    pub(super) fn new(inner: Box<dyn MultipartUpload>, location: Path) -> Self {
        Self { inner, location }
    }
}

#[async_trait]
impl MultipartUpload for RemoteUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let location = self.location.clone();
        let part = self.inner.put_part(data);
        part.map(move |put| put.map_err(|error| cleaned(error, Some(&location)))).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.inner.complete().await.map_err(|error| cleaned(error, Some(&self.location)))
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await.map_err(|error| cleaned(error, Some(&self.location)))
    }
}
