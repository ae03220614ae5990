//! A part of a bucket as an object store: S3 and what speaks like it, Google Cloud Storage, Azure.
//!
//! The clients are the object_store crate's. This adds what must hold for all of them: every wait has
//! an end, names are those within the prefix, and no error repeats what a server sent or a URL carried.
//! It keeps no credentials: they are what the clients find in the environment.

mod client;
mod error;
mod upload;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tracelake_model::limits;

use crate::location::{Bucket, StorePlace};
pub use error::Unreachable;
use error::{cleaned, silent};
use upload::RemoteUpload;

/// For the answer to a read, and for each piece of it.
const READ_MAX: Duration = Duration::from_secs(limits::STORE_READ_SECONDS_MAX);

/// A part of a bucket.
#[derive(Debug, Clone)]
pub struct RemoteStore {
    inner: Arc<PrefixStore<Arc<dyn ObjectStore>>>,
    name: String,
}

impl fmt::Display for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl RemoteStore {
    /// A client of the bucket. It does not ask whether there is one: [`Self::check`].
    ///
    /// # Errors
    /// If what is in the environment does not fit together.
    pub fn new(bucket: &Bucket, place: &StorePlace) -> Result<Self, Unreachable> {
        let client = client::build(bucket, place)
            .map_err(|error| Unreachable::misconfigured(bucket, place, &cleaned(error, None)))?;
        Ok(Self::over(client, bucket))
    }

    fn over(client: Arc<dyn ObjectStore>, bucket: &Bucket) -> Self {
        let inner = Arc::new(PrefixStore::new(client, bucket.prefix.clone()));
        Self { inner, name: bucket.to_string() }
    }

    /// Asks once whether the bucket is there and may be read, so that a start that cannot work ends
    /// with a sentence that says why.
    ///
    /// # Errors
    /// If not.
    pub async fn check(&self, bucket: &Bucket, place: &StorePlace) -> Result<(), Unreachable> {
        let prefix = Path::from(crate::manifest_log::PREFIX);
        let first = self.list(Some(&prefix)).next().await;
        first.transpose().map(|_| ()).map_err(|error| Unreachable::refused(bucket, place, &error))
    }
}

/// The stream with an error where a piece does not come in time, and errors that say nothing more than
/// they should.
fn watched(pieces: BoxStream<'static, Result<Bytes>>, location: Path) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((pieces, location), |(mut pieces, location)| async move {
        match tokio::time::timeout(READ_MAX, pieces.next()).await {
            Err(_) => Err(silent(&location, READ_MAX)),
            Ok(None) => Ok(None),
            Ok(Some(Ok(piece))) => Ok(Some((piece, (pieces, location)))),
            Ok(Some(Err(error))) => Err(cleaned(error, Some(&location))),
        }
    })
    .boxed()
}

#[async_trait]
impl ObjectStore for RemoteStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, opts).await;
        put.map_err(|error| cleaned(error, Some(location)))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, opts).await;
        let upload = upload.map_err(|error| cleaned(error, Some(location)))?;
        Ok(Box::new(RemoteUpload::new(upload, location.clone())))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let got = tokio::time::timeout(READ_MAX, self.inner.get_opts(location, options)).await;
        let got = got.map_err(|_| silent(location, READ_MAX))?;
        let got = got.map_err(|error| cleaned(error, Some(location)))?;
        let meta = ObjectMeta { location: location.clone(), ..got.meta.clone() };
        let (range, attributes) = (got.range.clone(), got.attributes.clone());
        let payload = GetResultPayload::Stream(watched(got.into_stream(), location.clone()));
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // Each by itself, so that each of its pieces has its time; whoever asks has merged what is near.
        object_store::coalesce_ranges(ranges, |range| self.get_range(location, range), 0).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations).map_err(|error| cleaned(error, None)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let asked = prefix.cloned();
        self.inner.list(prefix).map_err(move |error| cleaned(error, asked.as_ref())).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let asked = prefix.cloned();
        let listing = self.inner.list_with_offset(prefix, offset);
        listing.map_err(move |error| cleaned(error, asked.as_ref())).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await.map_err(|error| cleaned(error, prefix))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await.map_err(|error| cleaned(error, Some(to)))
    }
}

#[cfg(test)]
mod tests;
