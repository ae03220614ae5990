use object_store::memory::InMemory;

use super::*;
use crate::env::fault_store::{Fault, FaultStore, Operation};

fn store() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

#[tokio::test]
async fn what_stands_there_already_is_accepted_if_it_is_the_same() {
    let (store, path) = (store(), Path::from("segments/a"));
    put_new(&store, &path, "spans".into()).await.expect("put");
    put_new(&store, &path, "spans".into()).await.expect("the same again");
    for other in ["snaps", "spans and more", ""] {
        let error = put_new(&store, &path, other.into()).await.expect_err("another's");
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    }
    assert_eq!(store.get(&path).await.expect("works").bytes().await.expect("works"), "spans");
}

#[tokio::test]
async fn what_is_large_is_put_in_parts_and_is_the_same() {
    let (store, path) = (store(), Path::from("segments/a"));
    let len = usize::try_from(limits::STORE_PUT_BYTES_MAX).expect("works") + 3;
    let bytes: Bytes = (0..len).map(|at| (at % 251) as u8).collect::<Vec<u8>>().into();
    put_new(&store, &path, bytes.clone()).await.expect("put");
    assert!(holds(&store, &path, &bytes).await.expect("read"));
    assert!(!holds(&store, &path, &bytes.slice(1..)).await.expect("read"));
}

/// An upload whose completion happens, and whose answer is lost.
#[derive(Debug)]
struct Forgetful(Box<dyn MultipartUpload>);

#[async_trait::async_trait]
impl MultipartUpload for Forgetful {
    fn put_part(&mut self, data: PutPayload) -> object_store::UploadPart {
        self.0.put_part(data)
    }

    async fn complete(&mut self) -> Result<object_store::PutResult> {
        self.0.complete().await?;
        let source = Box::<dyn std::error::Error + Send + Sync>::from("no such upload");
        Err(Error::NotFound { path: "upload".to_owned(), source })
    }

    async fn abort(&mut self) -> Result<()> {
        self.0.abort().await
    }
}

#[tokio::test]
async fn an_upload_that_was_completed_without_an_answer_is_complete() {
    let (store, path) = (store(), Path::from("segments/a"));
    let mut upload = Forgetful(store.put_multipart(&path).await.expect("works"));
    upload.put_part("spans".into()).await.expect("works");
    complete(&store, &path, &mut upload, 5).await.expect("it is there");

    let mut other = Forgetful(store.put_multipart(&path).await.expect("works"));
    other.put_part("fewer".into()).await.expect("works");
    complete(&store, &path, &mut other, 6).await.expect_err("of another size");
}

#[tokio::test]
async fn an_object_that_cannot_be_read_back_is_not_taken_for_ours() {
    let (inner, path) = (store(), Path::from("segments/a"));
    put_new(&inner, &path, "spans".into()).await.expect("put");
    let faulty: Arc<dyn ObjectStore> =
        Arc::new(FaultStore::new(inner, |call| (call.operation == Operation::Get).then_some(Fault::Before)));
    put_new(&faulty, &path, "spans".into()).await.expect_err("unknown");
}
