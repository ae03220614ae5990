use object_store::ObjectStoreExt;
use object_store::memory::InMemory;

use super::*;
use crate::location::Provider;

fn bucket(prefix: &str) -> Bucket {
    Bucket { provider: Provider::S3, name: "traces".to_owned(), prefix: Path::from(prefix) }
}

#[tokio::test]
async fn it_is_an_object_store_within_its_prefix() {
    let client: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let within = |prefix: &str| RemoteStore::over(Arc::clone(&client), &bucket(prefix));
    object_store::integration::stream_get(&within("streams")).await;
    let store = within("a/b");
    object_store::integration::put_get_delete_list(&store).await;
    object_store::integration::get_opts(&store).await;
    object_store::integration::list_uses_directories_correctly(&store).await;
    object_store::integration::list_with_delimiter(&store).await;
    object_store::integration::rename_and_copy(&store).await;
    object_store::integration::put_opts(&store, true).await;
    store.put(&Path::from("x"), "y".into()).await.expect("works");
    client.head(&Path::from("a/b/x")).await.expect("below the prefix");
}

#[test]
fn a_bucket_whose_provider_needs_more_is_refused_with_what_to_do() {
    let bucket = Bucket { provider: Provider::Azure, name: "container".to_owned(), prefix: Path::from("x") };
    // Without an account there is no host to ask; the environment of tests has none.
    if std::env::var_os("AZURE_STORAGE_ACCOUNT_NAME").is_some() {
        return;
    }
    let error = RemoteStore::new(&bucket, &StorePlace::default()).expect_err("no account").to_string();
    assert!(error.contains("az://container/x") && error.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{error}");
}
