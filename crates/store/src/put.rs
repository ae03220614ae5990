//! Putting an object that is this process's alone: nobody else has its name, and what stands there after
//! an answer was lost is therefore what was put.
//!
//! The manifest's objects have names that others may want; they are put elsewhere.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result,
};
use tracelake_model::limits;

/// Parts of an upload: above the least that S3 takes (5 MiB), and what an upload holds. All have the
/// same size but the last, as some stores demand.
pub(crate) const PART_BYTES: usize = 8 << 20;

/// Read back at once.
const READ_BYTES: u64 = 8 << 20;

/// Puts a whole object under a name that nobody else has.
///
/// # Errors
/// If it may not be there. Then it never will be named.
pub(crate) async fn put_new(store: &Arc<dyn ObjectStore>, path: &Path, bytes: Bytes) -> Result<()> {
    if bytes.len() as u64 > limits::STORE_PUT_BYTES_MAX {
        return put_in_parts(store, path, &bytes).await;
    }
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(path, PutPayload::from_bytes(bytes.clone()), options).await {
        Ok(_) => Ok(()),
        // The answer to an earlier try of the same request was lost, perhaps.
        Err(error @ (Error::AlreadyExists { .. } | Error::Precondition { .. })) => {
            if holds(store, path, &bytes).await? { Ok(()) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

async fn put_in_parts(store: &Arc<dyn ObjectStore>, path: &Path, bytes: &Bytes) -> Result<()> {
    let mut upload = store.put_multipart(path).await?;
    let put = async {
        for start in (0..bytes.len()).step_by(PART_BYTES) {
            let part = bytes.slice(start..bytes.len().min(start + PART_BYTES));
            upload.put_part(PutPayload::from_bytes(part)).await?;
        }
        complete(store, path, &mut *upload, bytes.len() as u64).await
    };
    let done = put.await;
    if done.is_err()
        && let Err(error) = upload.abort().await
    {
        tracing::debug!(%path, %error, "an upload that was given up could not be removed");
    }
    done
}

/// Makes an object of the parts.
///
/// # Errors
/// If it may not be there.
pub(crate) async fn complete(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    upload: &mut dyn MultipartUpload,
    bytes: u64,
) -> Result<()> {
    let Err(error) = upload.complete().await else { return Ok(()) };
    // Once it is done, and the answer lost, a store no longer knows of such an upload. An object in
    // parts is there whole or not at all.
    match store.head(path).await {
        Ok(meta) if meta.size == bytes => Ok(()),
        _ => Err(error),
    }
}

async fn holds(store: &Arc<dyn ObjectStore>, path: &Path, bytes: &Bytes) -> Result<bool> {
    let size = bytes.len() as u64;
    if store.head(path).await?.size != size {
        return Ok(false);
    }
    for start in (0..size).step_by(READ_BYTES as usize) {
        let range: Range<u64> = start..size.min(start + READ_BYTES);
        let expected = bytes.slice(range.start as usize..range.end as usize);
        if store.get_range(path, range).await? != expected {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
