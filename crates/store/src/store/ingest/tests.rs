use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_worked_on_than_there_are_permits_though_nobody_waits_for_it() {
    let permits = Arc::new(Semaphore::new(2));
    let (now, most, done) = (Arc::default(), Arc::default(), Arc::<AtomicUsize>::default());
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let permits = Arc::clone(&permits);
        let (now, most): (Arc<AtomicUsize>, Arc<AtomicUsize>) = (Arc::clone(&now), Arc::clone(&most));
        let (done, released) = (Arc::clone(&done), Arc::clone(&released));
        waiting.push(tokio::spawn(async move {
            bounded(&permits, move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                released.lock().expect("no panic").recv().expect("released");
                now.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
            })
            .await
        }));
    }
    while now.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    // Those that work have lost their clients, and half of those that wait for a permit.
    for task in &waiting[..4] {
        task.abort();
    }
    for _ in 0..8 {
        release.send(()).expect("somebody receives");
    }
    let mut completed = 0;
    for task in waiting {
        completed += usize::from(task.await.is_ok_and(|done| done.is_some()));
    }
    let all = permits.acquire_many(2).await.expect("open");
    assert!(completed >= 4, "{completed}");
    assert!(done.load(Ordering::SeqCst) >= completed);
    assert_eq!((now.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (0, 2));
    drop(all);
}

#[tokio::test]
async fn work_that_panics_gives_its_permit_back() {
    let permits = Arc::new(Semaphore::new(1));
    assert_eq!(bounded(&permits, || std::panic::resume_unwind(Box::new("on purpose"))).await, None::<()>);
    assert_eq!(bounded(&permits, || 1).await, Some(1));
}
