use super::*;

const HOUR: u64 = 3_600_000_000_000;

#[test]
fn nothing_and_one_slice_have_no_boundary() {
    assert!(boundaries(Vec::new(), 3).is_empty());
    assert!(boundaries(vec![(5, 1)], 3).is_empty());
    assert!(boundaries((0..100).map(|start| (start, 1)).collect(), 1).is_empty());
}

#[test]
fn slices_have_equal_parts_of_the_rows() {
    let sample = (0..1_000).map(|start| (start, if start < 500 { 3 } else { 1 })).collect();
    assert_eq!(boundaries(sample, 2), [333]);
}

#[test]
fn what_is_far_from_all_others_gets_slices_of_its_own() {
    let mut sample: Vec<Sampled> =
        (0..1_000).map(|minute| (1_000 * HOUR + minute * HOUR / 1_000, 10)).collect();
    sample.push((0, 1));
    sample.push((9_000 * HOUR, 1));
    let found = boundaries(sample.clone(), 1);
    assert_eq!(found.len(), 2);
    assert!(found[0] < 1_000 * HOUR && found[0] > 0, "{found:?}");
    assert!(found[1] > 1_001 * HOUR && found[1] <= 9_000 * HOUR, "{found:?}");
    assert!(boundaries(sample, 100).len() < SLICES_MAX);
}
