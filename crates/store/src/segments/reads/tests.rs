use std::sync::Mutex;

use super::*;

fn reader(gap_bytes_max: u64) -> RangeReader {
    let object_store = Arc::new(object_store::memory::InMemory::new());
    RangeReader::new(object_store, Some(Duration::from_millis(100)), gap_bytes_max, None)
}

/// Each try in turn: how long it takes, and what it gives.
async fn outcome(tries: Vec<(u64, Result<u32, ()>)>) -> (Option<u32>, u64) {
    let reader = reader(0);
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

#[test]
fn ranges_that_are_near_each_other_are_read_as_one() {
    let merged = |gap_bytes_max, ranges: &[Range<u64>]| reader(gap_bytes_max).merged(ranges);
    let ranges = [0..10, 10..20, 25..30, 36..40, 38..39];
    assert_eq!(merged(0, &ranges), [0..20, 25..30, 36..40]);
    assert_eq!(merged(5, &ranges), [0..30, 36..40]);
    assert_eq!(merged(u64::MAX, &ranges), std::slice::from_ref(&(0..40)));
    assert_eq!(merged(5, &[]), []);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_throughout_is_not_asked_everything_twice() {
    let (reader, report) = (reader(0), ReadReport::default());
    let slow = || async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(())
    };
    let reads = (0..100).map(|_| reader.hedged(slow, &report));
    let outcomes = futures::future::join_all(reads).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(report.counts().hedged_reads, HEDGES_AT_ONCE as u64);
    reader.hedged(slow, &report).await.expect("it answers");
    assert_eq!(report.counts().hedged_reads, HEDGES_AT_ONCE as u64 + 1, "permits come back");
}
