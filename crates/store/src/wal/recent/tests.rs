use super::{Begin, RecentRequests};
use tracelake_model::limits;

const SECOND: u64 = 1_000_000_000;

fn store(requests: &std::sync::Arc<RecentRequests>, hash: u128, now: u64) {
    match requests.begin(hash, now) {
        Begin::New(guard) => guard.acknowledged(),
        other => unreachable!("{hash} is new, not {other:?}"),
    }
}

#[test]
fn a_stored_request_is_repeated_until_it_is_too_old() {
    let requests = RecentRequests::new(Vec::new());
    store(&requests, 7, 1_000 * SECOND);
    let last = 1_000 + limits::DEDUP_SECONDS_MAX;
    assert!(matches!(requests.begin(7, last * SECOND), Begin::Repeated));
    assert_eq!(requests.snapshot(last * SECOND), [(7, 1_000)]);
    assert!(matches!(requests.begin(7, (last + 1) * SECOND), Begin::New(_)));
    assert!(requests.is_empty());
}

#[test]
fn beyond_the_limit_the_oldest_are_forgotten() {
    let requests = RecentRequests::new((0..limits::DEDUP_REQUESTS_MAX).map(|n| (n.into(), 5)).collect());
    assert_eq!(requests.len() as u64, limits::DEDUP_REQUESTS_MAX);
    store(&requests, u128::MAX, 5 * SECOND);
    assert_eq!(requests.len() as u64, limits::DEDUP_REQUESTS_MAX);
    assert!(matches!(requests.begin(0, 5 * SECOND), Begin::New(_)));
    assert!(matches!(requests.begin(1, 5 * SECOND), Begin::Repeated));
}

#[tokio::test]
async fn a_second_copy_waits_for_the_first() {
    let requests = RecentRequests::new(Vec::new());
    let Begin::New(first) = requests.begin(7, SECOND) else { unreachable!("it is new") };
    let Begin::InFlight(waits) = requests.begin(7, SECOND) else { unreachable!("the first is in flight") };
    let Begin::InFlight(waits_too) = requests.begin(7, SECOND) else {
        unreachable!("the first is in flight")
    };
    let waiting = tokio::spawn(waits);
    assert!(requests.snapshot(SECOND).is_empty(), "what is not stored is not in the WAL's list");
    first.acknowledged();
    assert!(waiting.await.expect("the task ends"));
    assert!(waits_too.await, "the answer is there for who asks late");
    assert!(matches!(requests.begin(7, SECOND), Begin::Repeated));
}

#[tokio::test]
async fn when_the_first_fails_a_second_copy_may_try() {
    let requests = RecentRequests::new(Vec::new());
    let first = requests.begin(7, SECOND);
    let Begin::InFlight(waits) = requests.begin(7, SECOND) else { unreachable!("the first is in flight") };
    drop(first);
    assert!(!waits.await);
    assert!(matches!(requests.begin(7, SECOND), Begin::New(_)));
}
