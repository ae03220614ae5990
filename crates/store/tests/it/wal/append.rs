use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};

use futures::future::join_all;
use tracelake_model::ErrorKind;
use tracelake_store::env::sim::SimFiles;
use tracelake_store::env::{Files, SystemFiles};
use tracelake_store::wal::{
    AfterPublish, Begin, RecentRequests, RequestGuard, Wal, WalError, WalSink, list_files, remove_covered,
};

use super::support::*;

fn sim() -> Arc<dyn Files> {
    Arc::new(SimFiles::new(0))
}

#[tokio::test]
async fn what_is_appended_is_recovered_in_order() {
    let files = sim();
    let (wal, log, _) = reopen(&files);
    let positions = append_all(&wal, 0..20).await;
    assert!(positions.is_sorted());
    assert_eq!(log.lock().expect("no panic").published.len(), 20);
    wal.close().await;

    let (wal, _, recovered) = reopen(&files);
    assert_eq!(recovered.numbers(), (0..20).collect::<Vec<_>>());
    assert_eq!((recovered.report.frames, recovered.report.spans), (20, (0..20).sum()));
    assert!(recovered.report.torn.is_none() && recovered.report.damage_messages().is_empty());
    assert_eq!(recovered.report.next_sequence, 2);
    append_all(&wal, 20..25).await;
    wal.close().await;
    assert_eq!(self::recovered(files.as_ref()).numbers(), (0..25).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_senders_share_fsyncs_and_lose_nothing() {
    let dir = tempfile::tempdir().expect("there is room for a folder");
    let dir = dir.path().join("deep/wal");
    let files: Arc<dyn Files> = Arc::new(SystemFiles);
    let empty = try_recover(files.as_ref(), &dir, 0).expect("a folder that is not there is empty");
    let (wal, log) = start(options(Arc::clone(&files), &dir, &empty.report), Some(200)).expect("it starts");
    let sender = |sender: u64| {
        let wal = wal.clone();
        tokio::spawn(async move {
            for number in sender * 50..(sender + 1) * 50 {
                wal.append(request(number)).await.expect("the disk is well");
            }
        })
    };
    for sender in join_all((0..32).map(sender)).await {
        sender.expect("no sender panics");
    }
    let status = wal.status();
    assert_eq!(status.requests, 1_600);
    wal.close().await;

    let recovered = try_recover(files.as_ref(), &dir, 0).expect("the files can be read");
    let mut numbers = recovered.numbers();
    assert_eq!(recovered.frames, log.lock().expect("no panic").published, "in files, in order");
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1_600).collect::<Vec<_>>());
    let found = list_files(files.as_ref(), &dir).expect("the folder can be listed");
    assert!(found.len() > 5, "a new file after each 200 requests, not {}", found.len());
}

/// Publishes only when it is let.
struct Gate(mpsc::Receiver<()>);

impl WalSink<u64> for Gate {
    fn publish(&mut self, _: Vec<u64>) -> AfterPublish {
        self.0.recv().expect("the test opens the gate");
        AfterPublish::Continue
    }
    fn rotated(&mut self, _: u64) -> std::io::Result<()> {
        Ok(())
    }
    fn recent_requests(&mut self) -> Vec<(u128, u64)> {
        Vec::new()
    }
    fn poisoned(&mut self, _: &str) {}
}

fn is_ready(future: std::pin::Pin<&mut impl Future<Output = Result<impl Sized, WalError>>>) -> bool {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => {
            assert!(result.is_ok());
            true
        }
        Poll::Pending => false,
    }
}

#[tokio::test]
async fn what_waits_becomes_one_group_and_nothing_is_acknowledged_before_it_is_published() {
    let files = sim();
    let (open, gate) = mpsc::channel();
    let report = recovered(files.as_ref()).report;
    let wal = Wal::start(options(files, Path::new(DIR), &report), Gate(gate)).expect("it starts");
    let mut first = pin!(wal.append(request(0)));
    assert!(!is_ready(first.as_mut()));
    while wal.status().groups == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!is_ready(first.as_mut()), "durable, but not published yet");
    // The thread is held up: all these are in the queue once they have been polled.
    let mut waiting: Vec<_> = (1..=40).map(|number| Box::pin(wal.append(request(number)))).collect();
    for append in &mut waiting {
        assert!(!is_ready(append.as_mut()));
    }
    open.send(()).expect("the thread is there");
    first.await.expect("the disk is well");
    open.send(()).expect("the thread is there");
    for append in waiting {
        append.await.expect("the disk is well");
    }
    assert_eq!(wal.status().groups, 2);
}

#[tokio::test]
async fn a_file_ends_when_the_sink_asks_for_a_new_one() {
    let files = sim();
    let recovered = recovered(files.as_ref());
    let (wal, log) =
        start(options(Arc::clone(&files), Path::new(DIR), &recovered.report), Some(3)).expect("it starts");
    let positions = append_all(&wal, 0..7).await;
    let sequences: Vec<u64> = positions.iter().map(|position| position.sequence).collect();
    assert_eq!(sequences, [1, 1, 1, 2, 2, 2, 3], "the sink asked for a new file after every third");
    assert_eq!(wal.rotate().await.expect("there is room"), 4);
    append_all(&wal, 7..8).await;
    assert_eq!(wal.status().sequence, 4);
    wal.close().await;
    let recovered = self::recovered(files.as_ref());
    assert_eq!(recovered.frames, log.lock().expect("no panic").published);
}

fn remove(files: &Arc<dyn Files>, up_to: u64) -> usize {
    remove_covered(files.as_ref(), Path::new(DIR), &covered(up_to)).expect("they can be removed")
}

#[tokio::test]
async fn a_request_is_recognised_after_its_file_is_gone() {
    let files = sim();
    let (wal, _, _) = reopen(&files);
    append_all(&wal, 0..5).await;
    wal.rotate().await.expect("there is room");
    append_all(&wal, 5..6).await;
    assert_eq!(remove(&files, 1), 1);
    assert_eq!(remove(&files, 1), 0);
    wal.close().await;
    let recovered = try_recover(files.as_ref(), Path::new(DIR), 1).expect("the files can be read");
    assert_eq!(recovered.numbers(), [5]);
    assert!(recovered.report.gaps.is_empty());
    let recent = RecentRequests::new(recovered.report.recent_requests);
    for number in 0..6 {
        assert!(matches!(recent.begin(hash(number), NOW), Begin::Repeated), "request {number}");
    }
    assert!(matches!(recent.begin(hash(6), NOW), Begin::New(_)));
}

#[tokio::test]
async fn covered_files_are_not_read() {
    let files = sim();
    let (wal, _, _) = reopen(&files);
    append_all(&wal, 0..2).await;
    wal.rotate().await.expect("there is room");
    append_all(&wal, 2..4).await;
    wal.close().await;
    let recovered = try_recover(files.as_ref(), Path::new(DIR), 1).expect("the files can be read");
    assert_eq!((recovered.numbers(), recovered.report.covered_files), (vec![2, 3], 1));
    let recovered = try_recover(files.as_ref(), Path::new(DIR), 9).expect("the files can be read");
    assert_eq!((recovered.numbers(), recovered.report.next_sequence), (vec![], 10));
}

/// Completes the requests' guards when they are durable, as the store does.
struct Completing;

impl WalSink<RequestGuard> for Completing {
    fn publish(&mut self, group: Vec<RequestGuard>) -> AfterPublish {
        group.into_iter().for_each(RequestGuard::acknowledged);
        AfterPublish::Continue
    }
    fn rotated(&mut self, _: u64) -> std::io::Result<()> {
        Ok(())
    }
    fn recent_requests(&mut self) -> Vec<(u128, u64)> {
        Vec::new()
    }
    fn poisoned(&mut self, _: &str) {}
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_take_its_request_back() {
    let files = sim();
    let recent = RecentRequests::new(Vec::new());
    let report = recovered(files.as_ref()).report;
    let wal =
        Wal::start(options(Arc::clone(&files), Path::new(DIR), &report), Completing).expect("it starts");
    let Begin::New(guard) = recent.begin(hash(1), NOW) else { unreachable!("it is new") };
    let plain = request(1);
    let append = tracelake_store::wal::Append {
        tenant: plain.tenant,
        arrival_unix_nano: plain.arrival_unix_nano,
        request_hash: plain.request_hash,
        span_count: plain.span_count,
        start_unix_nano_min: plain.start_unix_nano_min,
        start_unix_nano_max: plain.start_unix_nano_max,
        payload: plain.payload,
        attached: guard,
    };
    {
        let mut gone = pin!(wal.append(append));
        is_ready(gone.as_mut());
    }
    match recent.begin(hash(1), NOW) {
        Begin::InFlight(first) => assert!(first.await),
        Begin::Repeated => {}
        Begin::New(_) => unreachable!("it is on its way into the log"),
    }
    wal.close().await;
    assert_eq!(recovered(files.as_ref()).numbers(), [1]);
}

#[tokio::test]
async fn a_closed_log_says_so() {
    let (wal, _, _) = reopen(&sim());
    wal.close().await;
    wal.close().await;
    let error = wal.append(request(1)).await.expect_err("it is closed");
    assert!(matches!(error, WalError::Stopped));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(wal.not_ready().is_some());
}

#[tokio::test]
async fn a_file_that_exists_is_not_written_over() {
    let files = sim();
    let (wal, _, recovered) = reopen(&files);
    append_all(&wal, 0..1).await;
    let again = start(options(Arc::clone(&files), Path::new(DIR), &recovered.report), None);
    assert!(again.is_err());
    wal.close().await;
    assert_eq!(self::recovered(files.as_ref()).numbers(), [0]);
}
