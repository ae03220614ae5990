use std::sync::Arc;

use super::{ENTRIES_MAX, ENTRY_BYTES_MAX, Extent, Memo};

#[test]
fn what_was_inserted_is_found_by_both_parts_of_its_key() {
    let mut memo = Memo::default();
    let slot = memo.insert(b"ab", b"c", &Arc::new(7), 0, Extent::default()).expect("small enough");
    assert_eq!(memo.find(b"ab", b"c"), Some(slot));
    assert_eq!(memo.find(b"a", b"bc"), None);
    assert_eq!(memo.find(b"ab", b""), None);
    assert_eq!(**memo.value(slot).0, 7);
}

#[test]
fn a_number_is_good_for_one_request() {
    let mut memo = Memo::default();
    let slot = memo.insert(b"a", b"", &Arc::new(()), 0, Extent::default()).expect("small enough");
    assert_eq!(memo.index(slot), None);
    memo.set_index(slot, 3);
    assert_eq!(memo.index(slot), Some(3));
    memo.next_request();
    assert_eq!(memo.index(slot), None);
}

#[test]
fn it_stays_bounded() {
    let mut memo = Memo::default();
    for number in 0..3 * ENTRIES_MAX as u64 {
        memo.insert(&number.to_le_bytes(), b"", &Arc::new(number), 0, Extent::default());
        assert!(memo.entries.len() <= ENTRIES_MAX);
        let slot = memo.find(&number.to_le_bytes(), b"").expect("just inserted");
        assert_eq!(**memo.value(slot).0, number);
    }
    assert_eq!(memo.insert(&vec![0; ENTRY_BYTES_MAX], b"", &Arc::new(0), 0, Extent::default()), None);
}
