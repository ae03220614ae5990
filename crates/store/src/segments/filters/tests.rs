use super::*;

fn damaged(filters: &Filters, id: u128) {
    filters.insert(Ulid(id), Known::Damaged);
}

#[test]
fn what_fits_stays_and_what_does_not_is_not_kept() {
    let one = Known::Damaged.heap_bytes();
    let filters = Filters::new(2 * one);
    for id in 1..=3 {
        damaged(&filters, id);
    }
    assert_eq!(filters.size(), (2, 2 * one));
    assert_eq!(filters.may_hold(Ulid(1), 7), Some(true), "a damaged filter allows everything");
    assert_eq!(filters.may_hold(Ulid(3), 7), None);
    // Once more does not count twice.
    damaged(&filters, 1);
    assert_eq!(filters.size(), (2, 2 * one));
}

#[test]
fn there_is_room_when_a_segment_has_gone() {
    let one = Known::Damaged.heap_bytes();
    let filters = Filters::new(one);
    damaged(&filters, 1);
    filters.retain(|id| *id != Ulid(1));
    assert_eq!(filters.size(), (0, 0));
    damaged(&filters, 2);
    assert_eq!(filters.may_hold(Ulid(2), 7), Some(true));
}
