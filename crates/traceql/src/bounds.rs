//! What a span alone can tell of a condition on its trace: enough to find the traces that are worth a look. It never
//! leaves out one that satisfies the whole.

use crate::field::{Field, Intrinsic};
use crate::predicate::{Predicate, TracePredicate};

/// What is decided without the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// True wherever the condition is.
    Upper,
    /// False wherever the condition is.
    Lower,
}

impl Bound {
    fn opposite(self) -> Self {
        match self {
            Self::Upper => Self::Lower,
            Self::Lower => Self::Upper,
        }
    }
}

impl TracePredicate {
    /// Conditions, one of which has a span for every trace that satisfies this, whatever its other spans and its
    /// root are. Of several such lists the one with the least that every span satisfies.
    pub fn span_conditions(&self) -> Vec<Predicate> {
        match self {
            Self::AnySpan(predicate) => vec![predicate.bound(Bound::Upper)],
            Self::And(all) => {
                let conditions = all.iter().map(Self::span_conditions);
                conditions.min_by_key(|list| looseness(list)).unwrap_or_default()
            }
            Self::Or(any) => any.iter().flat_map(Self::span_conditions).collect(),
            Self::Not(_) => vec![Predicate::Constant(true)],
        }
    }
}

/// How little a list of conditions tells, roughly.
fn looseness(list: &[Predicate]) -> usize {
    list.iter().map(|one| one.looseness()).max().unwrap_or_default()
}

impl Predicate {
    fn bound(&self, bound: Bound) -> Self {
        match self {
            Self::And(all) => Self::And(all.iter().map(|one| one.bound(bound)).collect()),
            Self::Or(any) => Self::Or(any.iter().map(|one| one.bound(bound)).collect()),
            Self::Not(of) => Self::Not(Box::new(of.bound(bound.opposite()))),
            leaf => {
                let mut is_of_trace = false;
                leaf.fields(&mut |field| is_of_trace |= field.is_of_trace());
                if is_of_trace { Self::Constant(bound == Bound::Upper) } else { leaf.clone() }
            }
        }
    }

    /// 0 for one value of an attribute, more for what more spans satisfy.
    fn looseness(&self) -> usize {
        use crate::predicate::{Comparison, Operand};
        match self {
            Self::Constant(false) => 0,
            Self::Constant(true) => 9,
            Self::Compare { left: Operand::Field(field), comparison: Comparison::Equal, .. } => match field {
                Field::Attribute { .. } => 1,
                Field::Intrinsic(Intrinsic::TraceId) => 0,
                Field::Intrinsic(_) => 2,
            },
            Self::Compare { comparison: Comparison::NotEqual, .. } | Self::Exists(_) => 5,
            Self::Compare { .. } | Self::Match { negated: false, .. } => 3,
            Self::Match { negated: true, .. } => 5,
            Self::Absent(_) | Self::Not(_) => 7,
            Self::And(all) => all.iter().map(Self::looseness).min().unwrap_or(9),
            Self::Or(any) => any.iter().map(Self::looseness).max().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
