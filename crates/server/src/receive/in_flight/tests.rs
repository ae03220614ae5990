use super::*;

#[test]
fn the_budget_is_shared_and_given_back() {
    let budget = InFlight::new(100);
    let mut first = budget.reserve();
    let mut second = budget.reserve();
    first.grow(60).expect("fits");
    assert_eq!(second.grow(41).expect_err("full").kind(), ErrorKind::Throttled);
    assert_eq!(budget.bytes(), 60, "what was refused takes nothing");
    second.grow(40).expect("fits exactly");
    assert!(budget.would_fit(1).is_err());
    first.shrink_to(10);
    assert_eq!((first.held(), budget.bytes()), (10, 50));
    assert!(second.grow(u64::MAX).is_err(), "a sum beyond 64 bits does not fit");
    drop(first);
    drop(second);
    assert_eq!(budget.bytes(), 0);
}
