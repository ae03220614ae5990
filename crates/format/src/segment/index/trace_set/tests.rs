use super::*;

fn of(len: u32, ordinals: &[u32]) -> TraceSet {
    let mut set = TraceSet::empty(len);
    ordinals.iter().for_each(|ordinal| set.insert(*ordinal));
    set
}

fn ordinals(set: &TraceSet) -> Vec<u32> {
    set.iter().collect()
}

#[test]
fn sets_are_put_together() {
    let (a, b) = (of(130, &[0, 63, 64, 129]), of(130, &[63, 65, 129]));
    let mut both = a.clone();
    both.and(&b);
    assert_eq!(ordinals(&both), [63, 129]);
    let mut either = a.clone();
    either.or(&b);
    assert_eq!(ordinals(&either), [0, 63, 64, 65, 129]);
    let mut others = TraceSet::empty(130);
    (0..130).filter(|ordinal| !a.contains(*ordinal)).for_each(|ordinal| others.insert(ordinal));
    assert_eq!(others.count(), 126);
    assert!(a.iter().all(|ordinal| a.contains(ordinal) && !others.contains(ordinal)));
    others.or(&a);
    assert!(others.is_full());
    assert_eq!(others, TraceSet::full(130));
}

#[test]
fn nothing_is_beyond_the_part() {
    for len in [0, 1, 63, 64, 65] {
        let full = TraceSet::full(len);
        assert_eq!((full.count(), full.universe()), (len, len));
        assert!(!full.contains(len) && !full.contains(u32::MAX));
        let mut set = TraceSet::empty(len);
        set.insert(len);
        assert!(set.is_empty() && set.iter().next().is_none());
        set.insert_all();
        assert_eq!(set, full);
    }
}

#[test]
fn a_bitmap_that_is_not_of_the_part_is_refused() {
    let mut set = TraceSet::empty(70);
    let mut bitmap = [0; 9];
    bitmap[8] = 0b10_0000;
    set.or_bitmap(&bitmap).expect("of 70");
    assert_eq!(ordinals(&set), [69]);
    bitmap[8] = 0b100_0000;
    assert!(set.or_bitmap(&bitmap).is_err(), "the 71st");
    assert!(set.or_bitmap(&bitmap[..8]).is_err());
    assert!(set.or_bitmap(&[0; 10]).is_err());
    TraceSet::empty(64).or_bitmap(&[0xff; 8]).expect("of 64");
}
