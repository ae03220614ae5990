use super::*;

fn slabs(runs: &[Range<u64>], rows_max: u64) -> Vec<Vec<Range<u64>>> {
    let (mut slabs, mut start) = (Vec::new(), 0);
    loop {
        let slab = slab_of(runs, start, rows_max);
        if slab.is_empty() {
            return slabs;
        }
        start = hull(&slab).end;
        slabs.push(slab);
    }
}

fn run(start: u64, end: u64) -> Range<u64> {
    start..end
}

#[test]
fn rows_in_a_row_are_divided_where_pages_are() {
    let divided = |rows: Range<u64>, rows_max| slabs(&[rows], rows_max).concat();
    let expected = [run(1_000, 4_096), run(4_096, 8_192), run(8_192, 10_000)];
    assert_eq!(divided(1_000..10_000, SLAB_ROWS), expected);
    assert_eq!(divided(0..5_000, 2_048), [run(0, 2_048), run(2_048, 4_096), run(4_096, 5_000)]);
}

#[test]
fn rows_far_from_each_other_are_decoded_together() {
    let runs: Vec<_> = (0..8).map(|at| at * 4_000..at * 4_000 + 30).collect();
    assert_eq!(slabs(&runs, SLAB_ROWS), std::slice::from_ref(&runs));
}

#[test]
fn every_row_is_in_one_slab_and_none_has_too_many() {
    let runs: Vec<_> = (0..300_u64).map(|at| at * 100..at * 100 + 1 + at % 97).collect();
    let rows: Vec<u64> = runs.iter().cloned().flatten().collect();
    for rows_max in [1, 2, 7, 100, 4_095, SLAB_ROWS, 100_000] {
        let slabs = slabs(&runs, rows_max);
        assert!(slabs.iter().all(|slab| (1..=rows_max).contains(&count(slab))), "of {rows_max}");
        let together: Vec<u64> = slabs.into_iter().flatten().flatten().collect();
        assert_eq!(together, rows, "of {rows_max}");
    }
}
