//! Numbers as conditions compare them: integers and doubles by their value, exactly.

use std::cmp::Ordering;

/// A number. Integers are wider than an attribute's, so that sums and products of two are exact.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Int(i128),
    Double(f64),
}

/// 2^127, from which on a double is larger than every integer.
const INT_END: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

impl Number {
    /// None for a NaN, which orders nowhere.
    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(&b),
            (Self::Int(a), Self::Double(b)) => int_to_double(a, b),
            (Self::Double(a), Self::Int(b)) => int_to_double(b, a).map(Ordering::reverse),
        }
    }

    fn as_double(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Double(double) => double,
        }
    }

    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Int(int) => int.checked_neg().map_or(Self::Double(-(int as f64)), Self::Int),
            Self::Double(double) => Self::Double(-double),
        }
    }

    /// Of integers an integer where that is exact, else of doubles.
    fn of(
        self,
        other: Self,
        ints: impl FnOnce(i128, i128) -> Option<i128>,
        doubles: impl FnOnce(f64, f64) -> f64,
    ) -> Self {
        let exact = match (self, other) {
            (Self::Int(a), Self::Int(b)) => ints(a, b),
            _ => None,
        };
        exact.map_or_else(|| Self::Double(doubles(self.as_double(), other.as_double())), Self::Int)
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.of(other, i128::checked_add, |a, b| a + b)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        self.of(other, i128::checked_sub, |a, b| a - b)
    }

    pub(crate) fn times(self, other: Self) -> Self {
        self.of(other, i128::checked_mul, |a, b| a * b)
    }

    pub(crate) fn divided_by(self, other: Self) -> Self {
        let exact = |a: i128, b: i128| a.checked_div(b).filter(|_| a.checked_rem(b) == Some(0));
        self.of(other, exact, |a, b| if b == 0.0 { f64::NAN } else { a / b })
    }

    pub(crate) fn remainder(self, other: Self) -> Self {
        self.of(other, i128::checked_rem, |a, b| a % b)
    }

    pub(crate) fn power(self, other: Self) -> Self {
        let exact = |a: i128, b: i128| u32::try_from(b).ok().and_then(|b| a.checked_pow(b));
        // 0 ^ -1 is a division by zero, and what is too large is no infinity either.
        let finite = |a: f64, b: f64| {
            let power = a.powf(b);
            if a.is_finite() && b.is_finite() && power.is_infinite() { f64::NAN } else { power }
        };
        self.of(other, exact, finite)
    }
}

fn int_to_double(int: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double >= INT_END {
        return Some(Ordering::Less);
    }
    if double < -INT_END {
        return Some(Ordering::Greater);
    }
    // Both conversions are exact: the whole part fits, and what is left over is less than one.
    let whole = double.trunc();
    Some(
        int.cmp(&(whole as i128))
            .then_with(|| 0.0f64.partial_cmp(&(double - whole)).unwrap_or(Ordering::Equal)),
    )
}

#[cfg(test)]
mod tests;
