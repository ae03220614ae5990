use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracelake_model::ErrorKind;
use tracelake_store::env::sim::{Fault, SimFiles};
use tracelake_store::env::{CrashPoint, CrashPoints, Files, SystemFiles};
use tracelake_store::wal::{AfterPublish, Append, Wal, WalError, WalSink};

use super::support::*;

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_by_itself_when_there_is_space() {
    let disk = SimFiles::new(1);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let (wal, log, _) = reopen(&files);
    disk.set_capacity(Some(40_000));
    let mut acked = Vec::new();
    let mut refused = 0;
    for number in 0..400 {
        match wal.append(request(number)).await {
            Ok(_) => acked.push(number),
            Err(error) => {
                assert!(matches!(error, WalError::DiskFull { .. }), "{error}");
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.retry_after().is_some());
                refused += 1;
            }
        }
    }
    assert!(refused > 100 && acked.len() > 10, "{refused} refused, {} taken", acked.len());
    assert!(wal.not_ready().expect("the disk is full").contains("full"));
    assert!(wal.rotate().await.is_err(), "there is no room for a new file either");
    assert!(disk.used() <= 40_000);

    disk.set_capacity(None);
    // Each question looks for space; the answer to the first is from before.
    while wal.not_ready().is_some() {
        tokio::task::yield_now().await;
    }
    for number in 400..410 {
        wal.append(request(number)).await.expect("there is space");
        acked.push(number);
    }
    assert_eq!(wal.rotate().await.expect("there is space"), 2);
    append_all(&wal, 410..412).await;
    acked.extend([410, 411]);
    assert!(log.lock().expect("no panic").poisoned.is_empty());
    wal.close().await;
    disk.power_cut();
    disk.restart();
    assert_eq!(recovered(files.as_ref()).numbers(), acked);
}

#[tokio::test]
async fn a_file_that_cannot_be_ended_does_not_grow() {
    let disk = SimFiles::new(1);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let report = recovered(files.as_ref()).report;
    let (wal, log) = start(options(Arc::clone(&files), Path::new(DIR), &report), Some(2)).expect("it starts");
    // The first request's reserve leaves no room for the next file's.
    append_all(&wal, 0..1).await;
    disk.set_capacity(Some(disk.used()));
    append_all(&wal, 1..2).await;
    for _ in 0..3 {
        let error = wal.append(request(2)).await.expect_err("the file is full");
        assert!(matches!(error, WalError::DiskFull { .. }), "{error}");
    }
    disk.set_capacity(None);
    append_all(&wal, 2..3).await;
    assert_eq!(log.lock().expect("no panic").published, [(1, 0), (1, 1), (2, 2)]);
    wal.close().await;
    assert_eq!(recovered(files.as_ref()).frames, [(1, 0), (1, 1), (2, 2)]);
}

/// Unmounts when the test is done, however it ends.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking(), "umount failed");
    }
}

#[tokio::test]
async fn a_real_full_disk_refuses_and_goes_on() {
    let dir = tempfile::tempdir().expect("there is room for a folder");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(dir.path()).output();
    if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: a small tmpfs cannot be mounted here: {mounted:?}");
        return;
    }
    let _mount = Mount(dir.path().to_path_buf());
    let wal_dir = dir.path().join("wal");
    let files: Arc<dyn Files> = Arc::new(SystemFiles);
    let report = try_recover(files.as_ref(), &wal_dir, 0).expect("it is empty").report;
    let (wal, log) = start(options(Arc::clone(&files), &wal_dir, &report), None).expect("it starts");
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![1; 2 << 20]).expect("there is room for it");
    let mut acked = Vec::new();
    let mut number = 0;
    let error = loop {
        match wal.append(request(number)).await {
            Ok(_) => acked.push(number),
            Err(error) => break error,
        }
        number += 1;
        assert!(number < 100_000, "four megabytes never get full");
    };
    assert!(matches!(error, WalError::DiskFull { .. }), "{error}");
    assert!(wal.append(request(number)).await.is_err());
    std::fs::remove_file(&ballast).expect("it can be removed");
    for number in number + 1..number + 50 {
        wal.append(request(number)).await.expect("there is space");
        acked.push(number);
    }
    assert!(log.lock().expect("no panic").poisoned.is_empty());
    wal.close().await;
    let recovered = try_recover(files.as_ref(), &wal_dir, 0).expect("the files can be read");
    assert_eq!(recovered.numbers(), acked);
    assert!(recovered.report.damage_messages().is_empty());
}

#[tokio::test]
async fn after_a_failed_fsync_nothing_is_acknowledged() {
    for fault in [Fault::Io, Fault::NoSpace] {
        let disk = SimFiles::new(2);
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let (wal, log, _) = reopen(&files);
        append_all(&wal, 0..3).await;
        disk.fail_syncs(Some(fault));
        let error = wal.append(request(3)).await.expect_err("it is not durable");
        assert!(matches!(error, WalError::Poisoned { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        disk.fail_syncs(None);
        assert!(matches!(wal.append(request(4)).await, Err(WalError::Poisoned { .. })));
        assert!(matches!(wal.rotate().await, Err(WalError::Poisoned { .. })));
        assert!(wal.not_ready().expect("it is poisoned").contains("poisoned"));
        {
            let seen = log.lock().expect("no panic");
            assert_eq!(seen.poisoned.len(), 1, "the sink is told once");
            assert_eq!(seen.published.len(), 3, "nothing is shown that a crash could take back");
        }
        wal.close().await;
        disk.power_cut();
        disk.restart();
        let numbers = recovered(files.as_ref()).numbers();
        assert!(numbers == [0, 1, 2] || numbers == [0, 1, 2, 3], "{numbers:?}");
    }
}

/// Crashes at the nth time that a step is reached.
#[derive(Debug)]
struct CrashAt {
    point: CrashPoint,
    left: AtomicU64,
}

impl CrashPoints for CrashAt {
    fn reach(&self, point: CrashPoint) -> io::Result<()> {
        if point == self.point && self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Err(io::Error::other("the test crashes here"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_crash_at_any_step_loses_nothing_that_was_acknowledged() {
    use CrashPoint::{Freeze, FreezeSwap, WalPublish, WalSync, WalWrite};
    for point in [WalWrite, WalSync, WalPublish, Freeze, FreezeSwap] {
        for nth in 0..3 {
            for power_cut in [false, true] {
                let disk = SimFiles::new(nth);
                let files: Arc<dyn Files> = Arc::new(disk.clone());
                let (wal, log) = reopen_with(&files, Arc::new(CrashAt { point, left: AtomicU64::new(nth) }));
                let (acked, sent) = run_until_it_stops(&wal, 0).await;
                assert!(sent < 12, "{point:?} is reached");
                assert!(matches!(wal.append(request(99)).await, Err(WalError::Stopped)));
                assert!(log.lock().expect("no panic").poisoned.is_empty());
                if power_cut {
                    disk.power_cut();
                    disk.restart();
                }
                let (wal, _, recovered) = reopen(&files);
                let numbers = recovered.numbers();
                assert!(
                    numbers.len() >= acked.len() && numbers.len() as u64 <= sent,
                    "{point:?} {numbers:?}"
                );
                assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{point:?}");
                assert!(recovered.report.damage_messages().is_empty(), "{point:?} {:?}", recovered.report);
                append_all(&wal, 50..52).await;
                wal.close().await;
                let again = self::recovered(files.as_ref());
                assert_eq!(again.numbers(), [numbers, vec![50, 51]].concat());
                assert!(again.report.damage_messages().is_empty(), "{point:?} {:?}", again.report);
            }
        }
    }
}

/// A process that dies leaves what it wrote in the kernel's memory. Whoever reads it from there shows
/// it, and tells its sender that it is stored.
#[tokio::test]
async fn what_a_restart_shows_survives_a_power_cut_right_after_it() {
    for seed in seeds(30) {
        let disk = SimFiles::new(seed);
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let crash = CrashAt { point: CrashPoint::WalSync, left: AtomicU64::new(2) };
        let (wal, _) = reopen_with(&files, Arc::new(crash));
        append_all(&wal, 0..2).await;
        // Written, not synced, not acknowledged.
        wal.append(request(2)).await.expect_err("it crashed");
        disk.kill();
        let shown = recovered(files.as_ref());
        assert_eq!(shown.numbers(), [0, 1, 2], "seed {seed}: the cache has all of it");
        disk.power_cut();
        disk.restart();
        let after = recovered(files.as_ref());
        assert_eq!(after.frames, shown.frames, "seed {seed}: shown, and then lost");
        assert_eq!(after.report.recent_requests, shown.report.recent_requests, "seed {seed}");
    }
}

/// After a failed fsync the kernel takes pages for written that it could not write.
#[tokio::test]
async fn after_a_failed_fsync_a_restart_shows_only_what_the_disk_has() {
    for seed in seeds(30) {
        let disk = SimFiles::new(seed);
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let (wal, _, _) = reopen(&files);
        append_all(&wal, 0..2).await;
        disk.fail_syncs(Some(Fault::Io));
        wal.append(request(2)).await.expect_err("it is not durable");
        disk.fail_syncs(None);
        disk.kill();
        let shown = recovered(files.as_ref());
        disk.power_cut();
        disk.restart();
        let after = recovered(files.as_ref());
        assert!(shown.numbers().starts_with(&[0, 1]), "seed {seed}: {shown:?}");
        assert_eq!(after.frames, shown.frames, "seed {seed}: shown, and then lost");
    }
}

/// Publishes nothing: it panics.
struct Panicking(Arc<std::sync::Mutex<Vec<String>>>);

impl WalSink<u64> for Panicking {
    fn publish(&mut self, _: Vec<u64>) -> AfterPublish {
        unreachable!("the test panics here")
    }
    fn rotated(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn recent_requests(&mut self) -> Vec<(u128, u64)> {
        Vec::new()
    }
    fn poisoned(&mut self, reason: &str) {
        self.0.lock().expect("no panic").push(reason.to_owned());
    }
}

#[tokio::test]
async fn a_panic_of_the_logs_thread_is_told_to_senders_and_to_the_sink() {
    let files: Arc<dyn Files> = Arc::new(SimFiles::new(0));
    let report = recovered(files.as_ref()).report;
    let told = Arc::default();
    let sink = Panicking(Arc::clone(&told));
    let wal = Wal::start(options(files, Path::new(DIR), &report), sink).expect("it starts");
    wal.append(request(0)).await.expect_err("nobody published it");
    // The thread may still be on its way to its end.
    while wal.poisoned().is_none() {
        tokio::task::yield_now().await;
    }
    assert!(wal.append(request(1)).await.is_err());
    while told.lock().expect("no panic").is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*told.lock().expect("no panic"), ["its thread panicked"]);
}

#[tokio::test]
async fn an_idle_log_takes_little_of_the_disk_and_a_busy_one_reserves_more() {
    let disk = SimFiles::new(0);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let (wal, _, _) = reopen(&files);
    assert!(disk.used() <= (1 << 20) + 4096, "{} bytes without a request", disk.used());
    let mut most_ahead = 0;
    let mut big = request(0);
    big.payload = vec![7; 3 << 20].into();
    for _ in 0..8 {
        let append = Append { tenant: big.tenant.clone(), payload: big.payload.clone(), ..request(0) };
        wal.append(append).await.expect("the disk is well");
        most_ahead = most_ahead.max(disk.used() - wal.size_bytes());
    }
    assert!((4 << 20..=8 << 20).contains(&most_ahead), "{most_ahead} bytes ahead");
    wal.close().await;
    assert_eq!(disk.used(), wal.size_bytes(), "what was not used is given back");
}

/// Appends twelve, with a new file after every other. Returns what was acknowledged and how many were
/// sent.
async fn run_until_it_stops(wal: &Wal<u64>, first: u64) -> (Vec<u64>, u64) {
    let mut acked = Vec::new();
    for number in first..first + 12 {
        if wal.append(request(number)).await.is_err() {
            return (acked, number + 1 - first);
        }
        acked.push(number);
        if number % 2 == 1 && wal.rotate().await.is_err() {
            return (acked, number + 1 - first);
        }
    }
    (acked, 12)
}

#[tokio::test]
async fn whichever_call_fails_nothing_acknowledged_is_lost() {
    for fault in [Fault::Io, Fault::NoSpace] {
        for power_cut in [false, true] {
            let mut nth = 0;
            while fail_one_call(nth, fault, power_cut).await {
                nth += 1;
            }
            assert!(nth > 30, "the scenario has more calls than {nth}");
        }
    }
}

/// Whether the scenario has that many calls.
async fn fail_one_call(nth: u64, fault: Fault, power_cut: bool) -> bool {
    let disk = SimFiles::new(nth);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    disk.fail_nth(nth, fault);
    let mut acked = Vec::new();
    if let Ok(found) = try_recover(files.as_ref(), Path::new(DIR), 0)
        && let Ok((wal, log)) = start(options(Arc::clone(&files), Path::new(DIR), &found.report), Some(4))
    {
        for number in 0..10 {
            match wal.append(request(number)).await {
                Ok(_) => acked.push(number),
                Err(WalError::Poisoned { .. }) => break,
                // One failure: the next try works.
                Err(_) => match wal.append(request(number)).await {
                    Ok(_) => acked.push(number),
                    Err(error) => unreachable!("call {nth}: {error}"),
                },
            }
        }
        // Either outcome is fine; what counts is what is on the disk.
        drop(wal.rotate().await);
        let poisoned = wal.poisoned().is_some();
        assert_eq!(poisoned, !log.lock().expect("no panic").poisoned.is_empty());
        wal.close().await;
    }
    let missed = disk.clear_fault();
    if power_cut {
        disk.power_cut();
        disk.restart();
    }
    recover_despite_faults(&disk, &acked, nth).await;
    !missed
}

/// Recovery, with each of its calls failing once, ends in the same state.
async fn recover_despite_faults(disk: &SimFiles, acked: &[u64], seed: u64) {
    for nth in 0.. {
        disk.fail_nth(nth, Fault::Io);
        let outcome = try_recover(disk, Path::new(DIR), 0);
        let missed = disk.clear_fault();
        let found = match outcome {
            Ok(found) => found,
            Err(error) => {
                assert!(!missed, "{error}");
                continue;
            }
        };
        let numbers = found.numbers();
        assert!(numbers.starts_with(acked), "seed {seed}: {numbers:?} lacks some of {acked:?}");
        assert!(
            numbers.len() <= acked.len() + 1,
            "seed {seed}: {numbers:?} has more than {acked:?} and one in doubt"
        );
        let damage = found.report.damage_messages();
        assert!(damage.is_empty(), "seed {seed}: {damage:?}");
        if missed {
            return;
        }
    }
}
