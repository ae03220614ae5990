//! What a segment's filters of values say of a condition, without a look into the segment: whether a span may satisfy it.

use tracelake_model::TenantId;
use tracelake_store::format::segment::{SegmentMeta, ValueFilters, ValueKey};
use tracelake_traceql::{Comparison, Operand, Predicate};

use super::indexed::{places, value_of};

/// A condition as filters are asked.
#[derive(Debug)]
pub(super) enum Filtered {
    /// Nothing is known of it.
    Anything,
    /// A value, in any of these fields.
    Value(Vec<ValueKey>),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl Filtered {
    pub(super) fn of(condition: &Predicate) -> Self {
        match condition {
            Predicate::And(all) => Self::All(all.iter().map(Self::of).collect()),
            Predicate::Or(any) => Self::Any(any.iter().map(Self::of).collect()),
            Predicate::Constant(false) => Self::Any(Vec::new()),
            Predicate::Compare {
                left: Operand::Field(field),
                comparison: Comparison::Equal,
                right: Operand::Literal(literal),
            } => {
                let places = places(field);
                let keys: Option<Vec<ValueKey>> =
                    places.iter().map(|(scope, key)| ValueKey::of(*scope, key, value_of(literal))).collect();
                keys.filter(|keys| !keys.is_empty()).map_or(Self::Anything, Self::Value)
            }
            _ => Self::Anything,
        }
    }

    /// Whether a filter can say no.
    pub(super) fn is_selective(&self) -> bool {
        match self {
            Self::Anything => false,
            Self::Value(_) => true,
            Self::All(all) => all.iter().any(Self::is_selective),
            Self::Any(any) => any.iter().all(Self::is_selective),
        }
    }

    /// Whether a span of the tenant may satisfy it.
    pub(super) fn may_match(&self, filters: &ValueFilters, meta: &SegmentMeta, tenant: &TenantId) -> bool {
        match self {
            Self::Anything => true,
            Self::Value(keys) => keys.iter().any(|key| filters.may_hold(meta, tenant, *key)),
            Self::All(all) => all.iter().all(|one| one.may_match(filters, meta, tenant)),
            Self::Any(any) => any.iter().any(|one| one.may_match(filters, meta, tenant)),
        }
    }
}
