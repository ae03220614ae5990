use object_store::memory::InMemory;

use super::*;

/// Puts pieces of these sizes; gives what they are together, and the object.
async fn put(sizes: Vec<usize>) -> (Bytes, Bytes) {
    let all: Bytes = (0..sizes.iter().sum()).map(|at: usize| (at % 251) as u8).collect::<Vec<u8>>().into();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut upload = Upload::new(Arc::clone(&store), Handle::current(), "segments/a".into());
    let mut rest = all.clone();
    let putting = tokio::task::spawn_blocking(move || {
        let (last, sizes) = sizes.split_last().expect("one piece");
        for size in sizes {
            upload.push(rest.split_to(*size)).expect("put");
            assert!(upload.waiting_bytes < PART_BYTES, "{} bytes wait", upload.waiting_bytes);
        }
        assert_eq!(rest.len(), *last);
        upload.finish(rest).expect("put");
    });
    putting.await.expect("no panic");
    let put = store.get(&Path::from("segments/a")).await.expect("there").bytes().await.expect("read");
    (all, put)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_the_pieces_one_after_the_other_and_less_than_a_part_waits() {
    for sizes in [
        vec![0, 3, 0],
        vec![PART_BYTES - 1, 1],
        vec![5, 2 * PART_BYTES, 7, 0],
        vec![PART_BYTES / 3; 10],
        vec![1, 3 * PART_BYTES],
    ] {
        let (all, put) = put(sizes.clone()).await;
        assert!(all == put, "{sizes:?}");
    }
}
