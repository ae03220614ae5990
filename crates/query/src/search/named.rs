//! The traces that a condition names by their IDs: they are looked up, and no source is asked.

use std::collections::BTreeSet;

use tracelake_model::TraceId;
use tracelake_traceql::{Comparison, Field, Intrinsic, Literal, Operand, Predicate};

/// The only traces of which a span can satisfy one of the conditions; none if it can be one of any trace.
pub(super) fn by_any(conditions: &[Predicate]) -> Option<BTreeSet<TraceId>> {
    let named: Option<Vec<_>> = conditions.iter().map(by).collect();
    Some(named?.into_iter().flatten().collect())
}

fn by(condition: &Predicate) -> Option<BTreeSet<TraceId>> {
    match condition {
        Predicate::Constant(false) => Some(BTreeSet::new()),
        Predicate::And(all) => {
            let mut named = all.iter().filter_map(by);
            let first = named.next()?;
            Some(named.fold(first, |both, other| &both & &other))
        }
        Predicate::Or(any) => by_any(any),
        Predicate::Compare {
            left: Operand::Field(Field::Intrinsic(Intrinsic::TraceId)),
            comparison: Comparison::Equal,
            right: Operand::Literal(Literal::Text(text)),
        } => {
            // What reads as an ID and is not written as one is equal to none.
            let named = text.parse::<TraceId>().ok().filter(|id| id.to_string() == **text);
            Some(named.into_iter().collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
