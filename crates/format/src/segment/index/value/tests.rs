use super::*;

#[test]
fn numbers_order_as_their_terms_do() {
    let numbers =
        [f64::NEG_INFINITY, f64::MIN, -1.5, -1.0, -f64::MIN_POSITIVE, 0.0, 5e-324, 0.5, 500.0, f64::MAX];
    assert!(numbers.is_sorted_by(|a, b| number_bytes(*a) < number_bytes(*b)));
    assert!(numbers.iter().all(|number| number_of(number_bytes(*number)) == *number));
    assert_eq!(number_bytes(-0.0), number_bytes(0.0));
}

#[test]
fn an_integer_and_a_double_of_equal_value_are_the_same_term() {
    let bytes = |value| Term::of(value).map(|term| term.bytes().to_vec());
    assert_eq!(bytes(IndexValue::Int(500)), bytes(IndexValue::Double(500.0)));
    assert_eq!(bytes(IndexValue::Int((1 << 53) + 1)), bytes(IndexValue::Int(1 << 53)));
    assert_eq!(bytes(IndexValue::Double(f64::NAN)), None);
}

#[test]
fn bounds_have_whatever_may_share_a_term() {
    let excluded = |value| number_bounds(Bound::Excluded(value), Bound::Unbounded).map(|(lower, _)| lower);
    let below = (1i64 << 53) - 1;
    assert_eq!(excluded(IndexValue::Int(below)), Some(Bound::Excluded(number_bytes(below as f64))));
    for large in [1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN, -(1 << 53)] {
        assert_eq!(excluded(IndexValue::Int(large)), Some(Bound::Included(number_bytes(large as f64))));
    }
    assert_eq!(excluded(IndexValue::Double(f64::NAN)), None);
    assert_eq!(excluded(IndexValue::Text("1")), None);
}

#[test]
fn long_texts_are_terms_of_their_own() {
    let longest = "x".repeat(TEXT_BYTES_MAX);
    assert_eq!(Term::of_text(&longest).term_type(), TermType::Text);
    let longer = "x".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(Term::of_text(&longer).term_type(), TermType::LongText);
    assert_eq!(Term::of_text(&longer).bytes().len(), 8);
}
