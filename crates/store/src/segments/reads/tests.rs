use std::sync::Mutex;

use super::*;

/// Each try in turn: how long it takes, and what it gives.
async fn outcome(tries: Vec<(u64, Result<u32, ()>)>) -> (Option<u32>, u64) {
    let reader = RangeReader {
        object_store: Arc::new(object_store::memory::InMemory::new()),
        hedge_after: Some(Duration::from_millis(100)),
    };
    let report = ReadReport::default();
    let tries = Mutex::new(tries.into_iter());
    let read = || {
        let next = tries.lock().expect("no panic").next();
        async move {
            let (delay_ms, outcome) = next.expect("no more tries than are needed");
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            outcome.map_err(|()| object_store::Error::NotImplemented {
                operation: "it".to_owned(),
                implementer: "a test".to_owned(),
            })
        }
    };
    let outcome = reader.hedged(read, &report).await;
    (outcome.ok(), report.counts().hedged_reads)
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_is_begun_a_second_time_and_the_first_answer_wins() {
    assert_eq!(outcome(vec![(99, Ok(1))]).await, (Some(1), 0));
    assert_eq!(outcome(vec![(99, Err(()))]).await, (None, 0), "an early error is not slow");
    assert_eq!(outcome(vec![(10_000, Ok(1)), (10, Ok(2))]).await, (Some(2), 1));
    assert_eq!(outcome(vec![(150, Ok(1)), (10_000, Ok(2))]).await, (Some(1), 1));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_try_waits_for_the_other() {
    assert_eq!(outcome(vec![(300, Ok(1)), (10, Err(()))]).await, (Some(1), 1));
    assert_eq!(outcome(vec![(120, Err(())), (300, Ok(2))]).await, (Some(2), 1));
    assert_eq!(outcome(vec![(120, Err(())), (300, Err(()))]).await, (None, 1));
}
