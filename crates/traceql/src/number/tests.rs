use std::cmp::Ordering::{Equal, Greater, Less};

use proptest::prelude::*;

use super::*;

fn int(int: i64) -> Number {
    Number::Int(int.into())
}

#[test]
fn integers_and_doubles_compare_by_their_value() {
    let two_53 = (1i64 << 53) as f64;
    for (a, b, expected) in [
        (int((1 << 53) + 1), Number::Double(two_53), Some(Greater)),
        (int(1 << 53), Number::Double(two_53), Some(Equal)),
        (int(i64::MAX), Number::Double(i64::MAX as f64), Some(Less)),
        (int(i64::MIN), Number::Double(i64::MIN as f64), Some(Equal)),
        (int(2), Number::Double(2.5), Some(Less)),
        (int(-2), Number::Double(-2.5), Some(Greater)),
        (int(0), Number::Double(-0.0), Some(Equal)),
        (int(0), Number::Double(f64::NAN), None),
        (int(0), Number::Double(f64::INFINITY), Some(Less)),
        (int(0), Number::Double(f64::NEG_INFINITY), Some(Greater)),
        (Number::Int(i128::MAX), Number::Double(INT_END), Some(Less)),
        (Number::Int(i128::MIN), Number::Double(-INT_END), Some(Equal)),
        (Number::Double(f64::NAN), Number::Double(f64::NAN), None),
    ] {
        assert_eq!(a.compare(b), expected, "{a:?} {b:?}");
        assert_eq!(b.compare(a), expected.map(Ordering::reverse), "{b:?} {a:?}");
    }
}

#[test]
fn arithmetic_is_exact_where_it_can_be() {
    let is = |number: Number, expected: Number| {
        assert_eq!(number.compare(expected), Some(Equal), "{number:?} {expected:?}");
    };
    is(int(i64::MAX).plus(int(i64::MAX)), Number::Int(2 * i128::from(i64::MAX)));
    is(int(6).divided_by(int(3)), int(2));
    is(int(1).divided_by(int(2)), Number::Double(0.5));
    is(int(2).power(int(10)), int(1_024));
    is(int(2).power(int(-1)), Number::Double(0.5));
    is(int(-7).remainder(int(3)), int(-1));
    is(int(5).negated(), int(-5));
    is(Number::Int(i128::MAX).times(int(2)), Number::Double(2.0 * INT_END));
    is(Number::Int(i128::MIN).negated(), Number::Double(INT_END));
    assert!(int(1).divided_by(int(0)).compare(int(0)).is_none());
    assert!(int(1).remainder(int(0)).compare(int(0)).is_none());
    is(Number::Int(i128::MIN).divided_by(int(-1)), Number::Double(INT_END));
    is(Number::Int(i128::MIN).remainder(int(-1)), int(0));
    is(int(0).power(int(0)), int(1));
    is(Number::Double(f64::INFINITY).power(int(2)), Number::Double(f64::INFINITY));
    for (a, b) in [(int(0), int(-1)), (int(10), int(400)), (Number::Double(0.0), Number::Double(-0.5))] {
        assert!(a.power(b).compare(int(0)).is_none(), "{a:?} {b:?}");
    }
    assert!(Number::Double(1.0).divided_by(Number::Double(0.0)).compare(int(0)).is_none());
}

proptest! {
    #[test]
    fn a_comparison_agrees_with_that_of_decimals(int in any::<i64>(), offset in -3i64..3, fraction in 0u8..4) {
        // Below 2^50 quarters are exact in a double.
        let int = int >> 14;
        let quarters = 4 * i128::from(int + offset) + i128::from(fraction);
        let double = (int + offset) as f64 + f64::from(fraction) / 4.0;
        let expected = (4 * i128::from(int)).cmp(&quarters);
        prop_assert_eq!(Number::Int(int.into()).compare(Number::Double(double)), Some(expected));
    }
}
