use std::error::Error as _;

use object_store::ObjectStoreExt;

use super::*;

fn wrapped(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "test", source: Box::new(source) }
}

#[test]
fn a_full_disk_is_recognised_wherever_it_is_in_the_chain() {
    // ENOSPC and EDQUOT.
    for errno in [28, 122] {
        let io = || io::Error::from_raw_os_error(errno);
        let file = FileError::new("writing", PathBuf::from("x"), io());
        assert!(is_disk_full(&wrapped(io())));
        assert!(is_disk_full(&file.into()));
        assert!(is_disk_full(&wrapped(wrapped(io()))));
    }
    let other = FileError::new("writing", PathBuf::from("x"), io::Error::from_raw_os_error(5));
    assert!(!is_disk_full(&other.into()));
}

#[test]
fn what_may_have_been_done_is_not_said_to_be_undone() {
    let error = |kind: io::ErrorKind| FileError::new("writing", PathBuf::from("x"), kind);
    assert!(is_surely_without_effect(&error(io::ErrorKind::Other).into()));
    assert!(is_surely_without_effect(&wrapped(io::Error::from(io::ErrorKind::StorageFull))));
    let unknown = FileError { effect: error::Effect::Unknown, ..error(io::ErrorKind::Other) };
    assert!(!is_surely_without_effect(&unknown.into()));
    assert!(!is_surely_without_effect(&wrapped(io::Error::from(io::ErrorKind::TimedOut))));
    let failed = |refused| error::SyncFailed { what: "x".to_owned(), why: "y".to_owned(), refused };
    assert!(!is_surely_without_effect(&failed(false).into()));
    assert!(is_surely_without_effect(&failed(true).into()));
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_written_and_everything_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalStore::open(folder.path()).expect("open");
    let path = Path::from("a/b");
    store.put(&path, "before".into()).await.expect("put");
    let mut upload = store.put_multipart(&Path::from("a/upload")).await.expect("an upload");

    store.root.fail_syncs();
    let errors = [
        store.put(&Path::from("a/c"), "after".into()).await.expect_err("put"),
        store.put_opts(&path, "after".into(), PutMode::Create.into()).await.expect_err("put if absent"),
        store.delete(&path).await.expect_err("delete"),
        store.copy(&path, &Path::from("a/d")).await.expect_err("copy"),
        store.put_multipart(&path).await.map(drop).expect_err("an upload"),
        upload.complete().await.expect_err("the end of an upload"),
    ];
    for error in errors {
        assert!(is_sync_failure(&error), "{error}");
        assert!(error.source().is_some());
    }
    let read = store.get(&path).await.expect("get").bytes().await.expect("bytes");
    assert_eq!(read, "before");
    let again = LocalStore::open(folder.path()).expect("a restart");
    again.put(&path, "after".into()).await.expect("put");
}

/// What the kernel has in memory is read although no thread may block; what it has not waits for one.
#[test]
fn what_is_in_memory_needs_no_thread_that_may_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalStore::open(folder.path()).expect("open");
    let path = Path::from("a/b");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(store.put(&path, "some bytes".into())).expect("put");
    if read_resident(&store.root, &path, &[0..1, 1..2]).is_none() && store.root.refuses_resident_reads() {
        let skipped = "skipped: what_is_in_memory_needs_no_thread_that_may_block: not on this system";
        writeln!(io::stderr(), "{skipped}").ok();
        return;
    }
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let blocked = runtime.spawn_blocking(move || held.recv());
    let read = runtime.block_on(async {
        tokio::time::timeout(std::time::Duration::from_secs(10), store.get_ranges(&path, &[0..4, 5..10]))
            .await
    });
    assert_eq!(read.expect("nothing is waited for").expect("ranges"), ["some", "bytes"]);
    drop(hold);
    runtime.block_on(blocked).expect("no panic").expect_err("nothing was sent");
    let resident = |path: &str, len: u64| read_resident(&store.root, &Path::from(path), &[0..len, 0..1]);
    assert!(resident("a/b", 10).is_some());
    assert_eq!(resident("a/b", 11), None, "beyond its end");
    assert_eq!(resident("a", 1), None, "a folder");
    std::os::unix::fs::symlink("b", folder.path().join("a/link")).expect("a link");
    assert_eq!(resident("a/link", 1), None, "a link");
    let large = File::create(folder.path().join("a/large")).expect("a file");
    large.set_len(4 << 20).expect("room");
    assert_eq!(resident("a/large", 2 << 20), None, "too much");
}

/// Whichever way they are read.
#[tokio::test]
async fn ranges_that_a_thread_may_block_for_are_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalStore::open(folder.path()).expect("open");
    let path = Path::from("a/b");
    store.put(&path, "some bytes".into()).await.expect("put");
    let read = |ranges: &[Range<u64>]| LocalStore::get_ranges_blocking(&store.root, &path, ranges);
    assert_eq!(read(&[5..10, 0..4, 3..3]).expect("ranges"), ["bytes", "some", ""]);
    for (range, is_cut_short_there) in [(0..11, true), (11..11, true), (0..10, false)] {
        let outcome = read(&[0..1, range]);
        assert_eq!(outcome.is_err_and(|error| is_cut_short(&error)), is_cut_short_there);
    }
}
