//! The local object store: what its trait promises, what a crash leaves, what it must not touch.

#![expect(clippy::panic, reason = "a test fails by it")]

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path as FsPath;
use std::sync::{Arc, Barrier};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, integration};
use tempfile::TempDir;
use tracelake_store::local_store::{
    LocalStore, LockError, StoreLock, is_disk_full, is_surely_without_effect,
};

fn store() -> (TempDir, LocalStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalStore::open(&folder.path().join("objects")).expect("open");
    (folder, store)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

async fn paths(store: &LocalStore) -> Vec<String> {
    let mut paths: Vec<_> =
        store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.expect("list");
    paths.sort_unstable();
    paths
}

async fn read(store: &LocalStore, path: &str) -> Bytes {
    store.get(&Path::from(path)).await.expect("get").bytes().await.expect("bytes")
}

#[tokio::test]
async fn it_is_what_the_authors_of_the_trait_expect() {
    let (_folder, store) = store();
    integration::put_get_delete_list(&store).await;
    integration::put_get_attributes(&store).await;
    integration::get_opts(&store).await;
    integration::put_opts(&store, false).await;
    integration::list_uses_directories_correctly(&store).await;
    integration::list_with_delimiter(&store).await;
    integration::rename_and_copy(&store).await;
    integration::copy_if_not_exists(&store).await;
    integration::copy_rename_nonexistent_object(&store).await;
    let missing = integration::get_nonexistent_object(&store, None).await.expect_err("not there");
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
}

#[tokio::test]
async fn uploads_in_parts_are_what_the_authors_of_the_trait_expect() {
    let (folder, store) = store();
    integration::stream_get(&store).await;
    integration::multipart_race_condition(&store, true).await;
    integration::multipart_out_of_order(&store).await;
    let temp_files = std::fs::read_dir(folder.path().join("objects/.tmp")).expect("the temporary files");
    assert_eq!(temp_files.count(), 0);
}

#[test]
fn of_16_writers_of_one_name_exactly_one_wins() {
    let (_folder, store) = store();
    for round in 0..40 {
        let path = Path::from(format!("race/{round}"));
        let barrier = Arc::new(Barrier::new(16));
        let threads: Vec<_> = (0..16)
            .map(|writer| {
                let (store, path, barrier) = (store.clone(), path.clone(), Arc::clone(&barrier));
                std::thread::spawn(move || {
                    let runtime = runtime();
                    barrier.wait();
                    let payload = format!("writer {writer}").into();
                    (writer, runtime.block_on(store.put_opts(&path, payload, PutMode::Create.into())))
                })
            })
            .collect();
        let mut winners = Vec::new();
        for thread in threads {
            match thread.join().expect("a writer") {
                (writer, Ok(_)) => winners.push(writer),
                (_, Err(error)) => assert!(matches!(error, Error::AlreadyExists { .. }), "{error}"),
            }
        }
        let [winner] = winners[..] else { panic!("{winners:?} won") };
        let found = runtime().block_on(read(&store, path.as_ref()));
        assert_eq!(found, format!("writer {winner}"));
    }
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_never_seen_and_goes_at_the_next_start() {
    let (folder, store) = store();
    store.put(&Path::from("a/whole"), "whole".into()).await.expect("put");
    let root = folder.path().join("objects");
    let leftover = root.join(".tmp/4711-0");
    std::fs::write(&leftover, "half").expect("a leftover");

    assert_eq!(paths(&store).await, ["a/whole"]);
    let listed = store.list_with_delimiter(None).await.expect("list");
    assert_eq!(listed.common_prefixes, [Path::from("a")]);
    let error = store.get(&Path::from(".tmp/4711-0")).await.expect_err("not an object");
    assert!(!matches!(error, Error::NotFound { .. }), "{error}");
    store.put(&Path::from(".tmp/x"), "x".into()).await.expect_err("not an object's name");
    store.delete(&Path::from(".tmp/4711-0")).await.expect_err("not an object's name");

    LocalStore::open_existing(&root).expect("a reader");
    assert!(leftover.exists(), "a reader changes nothing");
    let store = LocalStore::open(&root).expect("the next start");
    assert!(!leftover.exists());
    assert_eq!(paths(&store).await, ["a/whole"]);
}

#[tokio::test]
async fn nothing_outside_the_folder_is_reached_through_links() {
    let (folder, store) = store();
    let root = folder.path().join("objects");
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).expect("a folder");
    std::fs::write(outside.join("secret"), "secret").expect("a file");
    symlink(&outside, root.join("folder")).expect("a link");
    symlink(outside.join("secret"), root.join("file")).expect("a link");
    symlink(outside.join("new"), root.join("dangling")).expect("a link");

    for path in ["folder/secret", "file", "folder"] {
        let error = store.get(&Path::from(path)).await.expect_err(path);
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    for path in ["folder/secret", "folder/new", "folder/deeper/new"] {
        let path = Path::from(path);
        store.put(&path, "x".into()).await.expect_err("through a link");
        store.put_opts(&path, "x".into(), PutMode::Create.into()).await.expect_err("through a link");
        store.delete(&path).await.expect_err("through a link");
        store.copy(&path, &Path::from("copy")).await.expect_err("through a link");
    }
    store.copy(&Path::from("file"), &Path::from("copy")).await.expect_err("of a link");
    let taken = store.put_opts(&Path::from("dangling"), "x".into(), PutMode::Create.into()).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
    // Links are heard of, not passed over: one may stand where segments should be.
    store.list(None).try_collect::<Vec<_>>().await.expect_err("a link in a listing");
    store.list(Some(&Path::from("folder"))).try_collect::<Vec<_>>().await.expect_err("a link to list");
    store.list_with_delimiter(Some(&Path::from("folder"))).await.expect_err("a link to list");

    // What replaces or removes a link leaves what it pointed to.
    store.put(&Path::from("file"), "mine".into()).await.expect("put over a link");
    store.delete(&Path::from("folder")).await.expect("delete a link");
    store.delete(&Path::from("dangling")).await.expect("delete a link");
    assert_eq!(std::fs::read_to_string(outside.join("secret")).expect("the file"), "secret");
    assert_eq!(std::fs::read_dir(&outside).expect("the folder").count(), 1);
    assert_eq!(paths(&store).await, ["file"]);
    assert_eq!(read(&store, "file").await, "mine");
}

#[tokio::test]
async fn a_pipe_is_no_object_and_is_not_waited_for() {
    let (folder, store) = store();
    let pipe = folder.path().join("objects/pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let error = store.get(&Path::from("pipe")).await.expect_err("a pipe");
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(paths(&store).await.is_empty());
}

#[tokio::test]
async fn the_lock_is_no_object() {
    let (folder, store) = store();
    let _lock = StoreLock::acquire(&folder.path().join("objects")).expect("nobody has it");
    assert!(paths(&store).await.is_empty());
    let lock = Path::from("LOCK");
    store.get(&lock).await.expect_err("it is none");
    store.put(&lock, "x".into()).await.expect_err("it is none");
    store.delete(&lock).await.expect_err("it is none");
    store.put(&Path::from("a/LOCK"), "x".into()).await.expect("one by that name elsewhere is");
    assert_eq!(paths(&store).await, ["a/LOCK"]);
}

#[tokio::test]
async fn ranges_come_in_the_order_asked_for_and_only_if_they_are_there() {
    let (_folder, store) = store();
    let path = Path::from("a/b");
    let data: Bytes = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    store.put(&path, data.clone().into()).await.expect("put");

    let ranges = [399_990..400_000, 0..1, 5..5, 4_000..300_000, 400_000..400_000, 0..400_000];
    let read = store.get_ranges(&path, &ranges).await.expect("ranges");
    let expected: Vec<_> =
        ranges.iter().map(|range| data.slice(range.start as usize..range.end as usize)).collect();
    assert_eq!(read, expected);
    assert!(store.get_ranges(&path, &[]).await.expect("none").is_empty());

    #[expect(clippy::reversed_empty_ranges, reason = "what must be refused")]
    for wrong in [0..400_001, 400_001..400_001, 0..u64::MAX, u64::MAX - 1..u64::MAX, 5..4] {
        store.get_ranges(&path, &[0..1, wrong]).await.expect_err("beyond the end");
    }
    let missing = store.get_ranges(&Path::from("a/c"), &ranges).await.expect_err("not there");
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    let below = store.get_ranges(&Path::from("a/b/c"), &ranges).await.expect_err("below a file");
    assert!(matches!(below, Error::NotFound { .. }), "{below}");
}

#[tokio::test]
async fn a_large_object_comes_in_pieces() {
    let (_folder, store) = store();
    let path = Path::from("large");
    let data: Bytes = (0..2_500_000u32).flat_map(u32::to_le_bytes).collect();
    store.put(&path, data.clone().into()).await.expect("put");
    let pieces: Vec<Bytes> =
        store.get(&path).await.expect("get").into_stream().try_collect().await.expect("pieces");
    assert!(pieces.iter().all(|piece| piece.len() <= 4 << 20));
    assert_eq!(pieces.concat(), data);
    let options = GetOptions::new().with_range(Some(GetRange::Suffix(9_000_000)));
    let tail = store.get_opts(&path, options).await.expect("get").bytes().await.expect("bytes");
    assert_eq!(tail, data.slice(1_000_000..));
}

#[tokio::test]
async fn who_reads_while_an_object_is_replaced_reads_the_old_one_to_its_end() {
    let (_folder, store) = store();
    let path = Path::from("replaced");
    let old = Bytes::from(vec![1; 10 << 20]);
    store.put(&path, old.clone().into()).await.expect("put");
    let mut stream = store.get(&path).await.expect("get").into_stream();
    let first = stream.next().await.expect("a piece").expect("a piece");
    store.put(&path, vec![2; 10 << 20].into()).await.expect("put");
    let rest: Vec<Bytes> = stream.try_collect().await.expect("pieces");
    assert_eq!([vec![first], rest].concat().concat(), old);
}

#[tokio::test]
async fn names_that_no_object_has_are_not_listed() {
    use std::os::unix::ffi::OsStrExt;
    let (folder, store) = store();
    store.put(&Path::from("a/b"), "x".into()).await.expect("put");
    let root = folder.path().join("objects");
    for name in [b"a/\xff\xfe".as_slice(), b"a/new\nline"] {
        std::fs::write(root.join(std::ffi::OsStr::from_bytes(name)), "x").expect("a file");
    }
    assert_eq!(paths(&store).await, ["a/b"]);
}

#[test]
fn opening_makes_the_folder_and_only_a_writer_may() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("deep/down/objects");
    let missing = LocalStore::open_existing(&root).expect_err("not there");
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    LocalStore::open(&root).expect("open");
    assert!(root.is_dir());
    LocalStore::open(&root).expect("open again");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("a file");
    LocalStore::open(&file).expect_err("a file");
    LocalStore::open(&file.join("below")).expect_err("below a file");
}

#[test]
fn a_data_folder_has_one_process_and_says_which() {
    let folder = tempfile::tempdir().expect("a folder");
    let lock = StoreLock::acquire(folder.path()).expect("the lock");
    let error = StoreLock::acquire(folder.path()).expect_err("locked");
    assert!(matches!(error, LockError::Held { .. }), "{error}");
    assert!(error.to_string().contains(&format!("PID {}", std::process::id())), "{error}");
    drop(lock);
    // A file that stays locks nobody out, whatever is in it.
    std::fs::write(folder.path().join("LOCK"), "999999999999999999999999\n").expect("a stale file");
    StoreLock::acquire(folder.path()).expect("the lock, again");
    let missing = StoreLock::acquire(&folder.path().join("missing")).expect_err("no folder");
    assert!(matches!(missing, LockError::Io { .. }), "{missing}");
}

const FULL_DISK: &str = "TRACELAKE_TEST_FULL_DISK";

/// On a file system of 1 MiB, in a mount namespace of its own.
#[test]
fn a_full_disk_is_an_error_that_leaves_nothing_behind() {
    if let Some(mount) = std::env::var_os(FULL_DISK) {
        return runtime().block_on(fill_the_disk(FsPath::new(&mount)));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let test = std::env::current_exe().expect("this test");
    let script = r#"mount -t tmpfs -o size=1m tracelake-test "$1" || exit 77
        exec "$2" --exact local_store::a_full_disk_is_an_error_that_leaves_nothing_behind --nocapture"#;
    let run = std::process::Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(test)
        .env(FULL_DISK, folder.path())
        .output();
    match run {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }
        other => {
            let why = match other {
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(error) => format!("there is no unshare: {error}"),
            };
            // CI sets it where this can run, so that it does.
            let required = std::env::var("TRACELAKE_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.split_whitespace().any(|name| name == "unshare"), "cannot run: {why}");
            // Not by a macro: what those print in a test that passes is not shown.
            writeln!(std::io::stderr(), "skipped: a_full_disk_is_an_error_that_leaves_nothing_behind: {why}")
                .ok();
        }
    }
}

async fn fill_the_disk(mount: &FsPath) {
    let store = LocalStore::open(&mount.join("objects")).expect("open");
    store.put(&Path::from("a/small"), "small".into()).await.expect("put");
    let free = Bytes::from(vec![7; 600 << 10]);
    store.put(&Path::from("a/filling"), free.clone().into()).await.expect("put");
    for mode in [PutMode::Create, PutMode::Overwrite] {
        let put = store.put_opts(&Path::from("a/large"), free.clone().into(), mode.into()).await;
        let error = put.expect_err("no space");
        assert!(is_disk_full(&error), "{error}");
        assert!(is_surely_without_effect(&error), "{error}");
    }
    // Even so a retry learns that its first try had succeeded.
    let again = store.put_opts(&Path::from("a/filling"), free.clone().into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(paths(&store).await, ["a/filling", "a/small"]);
    assert_eq!(std::fs::read_dir(mount.join("objects/.tmp")).expect("the temporary files").count(), 0);
    store.delete(&Path::from("a/filling")).await.expect("delete");
    store.put(&Path::from("a/large"), free.into()).await.expect("there is space again");
}
