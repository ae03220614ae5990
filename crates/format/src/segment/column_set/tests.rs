use std::sync::Arc;

use arrow_array::Int64Array;

use super::*;

#[test]
fn any_sees_each_bit_of_its_range_and_none_beside_it() {
    for offset in [0, 3, 8] {
        for only in 0..40 {
            let all: BooleanBuffer = (0..offset + 40).map(|bit| bit == offset + only).collect();
            let bits = all.slice(offset, 40);
            for start in 0..40 {
                for end in start + 1..=40 {
                    assert_eq!(
                        any(&bits, &(start..end)),
                        (start..end).contains(&only),
                        "{only} {start}..{end}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_set_has_the_columns_of_its_rows() {
    let column = |rows: [Option<i64>; 6]| Arc::new(Int64Array::from(rows.to_vec())) as ArrayRef;
    let arrays = [
        column([Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)]),
        column([None; 6]),
        column([None, None, Some(3), None, None, None]),
        column([Some(1), None, None, None, None, Some(6)]),
    ];
    let mut sets = vec![(0..2, ColumnSet::NONE), (2..3, ColumnSet::NONE), (3..6, ColumnSet::NONE)];
    add_columns(&mut sets, &arrays);
    let listed = |set: ColumnSet| (0..4).filter(|column| set.contains(*column)).collect::<Vec<_>>();
    assert_eq!(
        sets.iter().map(|(_, set)| listed(*set)).collect::<Vec<_>>(),
        [vec![0, 3], vec![0, 2], vec![0, 3]]
    );
    assert!(sets.iter().all(|(_, set)| set.contains(128)), "beyond what a set can tell");
    assert_eq!(ColumnSet::from_le_bytes(sets[0].1.to_le_bytes()), sets[0].1);
}
