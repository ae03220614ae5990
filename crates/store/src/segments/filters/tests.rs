use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

fn damaged(filters: &Filters<KeyFilter>, id: u128) {
    filters.insert(Ulid(id), Known::Damaged);
}

#[test]
fn what_fits_stays_and_what_does_not_is_not_kept() {
    let one = Known::<KeyFilter>::Damaged.heap_bytes();
    let filters: Filters<KeyFilter> = Filters::new(2 * one);
    for id in 1..=3 {
        damaged(&filters, id);
    }
    assert_eq!(filters.size(), (2, 2 * one));
    assert_eq!(filters.may(Ulid(1), |_| false), Some(true), "a damaged filter allows everything");
    assert_eq!(filters.may(Ulid(3), |_| false), None);
    // Once more does not count twice.
    damaged(&filters, 1);
    assert_eq!(filters.size(), (2, 2 * one));
}

#[test]
fn there_is_room_when_a_segment_has_gone() {
    let one = Known::<KeyFilter>::Damaged.heap_bytes();
    let filters: Filters<KeyFilter> = Filters::new(one);
    damaged(&filters, 1);
    filters.retain(|id| *id != Ulid(1));
    assert_eq!(filters.size(), (0, 0));
    damaged(&filters, 2);
    assert_eq!(filters.may(Ulid(2), |_| false), Some(true));
}

async fn reads(filters: &Filters<KeyFilter>, asking: usize) -> usize {
    let reads = AtomicUsize::new(0);
    let asked = (0..asking).map(|_| async {
        let _turn = filters.turn(Ulid(7)).await;
        if filters.get(Ulid(7)).is_none() {
            reads.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            damaged(filters, 7);
        }
    });
    futures::future::join_all(asked).await;
    reads.into_inner()
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_many_ask_for_is_read_once() {
    assert_eq!(reads(&Filters::<KeyFilter>::new(1 << 20), 50).await, 1);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_room_nobody_waits_for_another() {
    let filters: Filters<KeyFilter> = Filters::new(0);
    damaged(&filters, 1);
    let began = tokio::time::Instant::now();
    assert_eq!(reads(&filters, READS_AT_ONCE).await, READS_AT_ONCE);
    assert_eq!(began.elapsed(), Duration::from_millis(10), "all at once");
}
