use ulid::Ulid;

use super::*;

#[test]
fn what_comes_in_behind_a_cut_is_of_a_later_generation() {
    let active = Arc::new(Memtable::new(Ulid::nil(), 3));
    let snapshot = Snapshot::new(Arc::default(), Arc::clone(&active));
    let first = snapshot.generation();
    assert_eq!(first, 3 * GENERATIONS_OF_FILE);
    active.publish([]);
    assert_eq!((snapshot.cut(), snapshot.generation()), (first, first + 1));
    assert_eq!(snapshot.cut(), first, "nothing has come in since");
    active.publish([]);
    assert_eq!((snapshot.cut(), snapshot.generation()), (first + 1, first + 2));
}
