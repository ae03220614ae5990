//! What a condition on one field asks of its values, whichever way those are come by: from a span, or from what many
//! spans share. Part of the evaluator; conditions on several fields are not here.

use tracelake_model::{KeyValue, SpanView, ValueRef};

use super::{About, Cell, TraceFacts, compare, each_of, in_list, of_literal, own_text};
use crate::field::{Field, Intrinsic};
use crate::predicate::{Comparison, Operand, Pattern, Predicate};

/// What a condition asks of the values of its field.
#[derive(Debug, Clone)]
pub(crate) enum Asked<'p> {
    /// That one of them compares so.
    Compare(Comparison, Cell<'p>),
    /// That one of them is a text that matches, or one that does not.
    Match { pattern: &'p Pattern, negated: bool },
    /// That the field is there, whatever it has.
    Exists,
    /// That it is not there.
    Absent,
}

impl Predicate {
    /// Of a condition on one field: which, and what is asked of it.
    pub(crate) fn asked(&self) -> Option<(&Field, Asked<'_>)> {
        match self {
            Self::Compare { left: Operand::Field(field), comparison, right: Operand::Literal(literal) } => {
                Some((field, Asked::Compare(*comparison, of_literal(literal))))
            }
            Self::Match { field, pattern, negated } => {
                Some((field, Asked::Match { pattern, negated: *negated }))
            }
            Self::Exists(field) => Some((field, Asked::Exists)),
            Self::Absent(field) => Some((field, Asked::Absent)),
            _ => None,
        }
    }
}

impl Asked<'_> {
    /// Whether a value is what is asked for.
    #[inline]
    pub(super) fn is(&self, cell: &Cell<'_>) -> bool {
        match self {
            Self::Compare(comparison, right) => compare(cell, *comparison, right),
            Self::Match { pattern, negated } => {
                matches!(cell, Cell::Text(text) if pattern.matches(text) != *negated)
            }
            Self::Exists | Self::Absent => false,
        }
    }

    /// What follows from whether the field is there, and whether one of its values is what is asked for.
    #[inline]
    pub(super) fn follows(&self, is_there: bool, is_any: bool) -> bool {
        match self {
            Self::Compare(..) | Self::Match { .. } => is_any,
            Self::Exists => is_there,
            Self::Absent => !is_there,
        }
    }

    /// What follows where the field is not there.
    pub(crate) fn of_none(&self) -> bool {
        self.follows(false, false)
    }

    /// Whether it asks for a value, and not whether there is one.
    pub(crate) fn is_of_value(&self) -> bool {
        matches!(self, Self::Compare(..) | Self::Match { .. })
    }

    /// What follows from the values of an attribute's key if one of these has to hold; none if there are none. Several
    /// are all [of a value](Self::is_of_value).
    #[inline]
    pub(crate) fn any_of_values<'a>(
        all: &[Self],
        values: impl Iterator<Item = ValueRef<'a>>,
    ) -> Option<bool> {
        let mut is_any = false;
        let is_there = each_of(values, &mut |cell| is_any |= all.iter().any(|one| one.is(&cell)));
        is_there.then(|| all.iter().any(|one| one.follows(true, is_any)))
    }

    /// The same of a key among attributes.
    pub(crate) fn of_list(&self, attributes: &[KeyValue], key: &str) -> Option<bool> {
        let mut is_any = false;
        let is_there = in_list(attributes, key, &mut |cell| is_any |= self.is(&cell));
        is_there.then(|| self.follows(true, is_any))
    }

    /// Of an intrinsic field that is this text of a span, or of its scope.
    pub(crate) fn of_own_text(&self, intrinsic: Intrinsic, text: &str) -> bool {
        self.of_cell(own_text(intrinsic, text))
    }

    /// Of an intrinsic field of a span, or of its trace; of an event or a link, as where there is none.
    pub(crate) fn of_intrinsic(
        &self,
        intrinsic: Intrinsic,
        span: &SpanView<'_>,
        trace: &TraceFacts<'_>,
    ) -> bool {
        self.of_cell(About { span, trace, event: None, link: None }.intrinsic(intrinsic))
    }

    fn of_cell(&self, cell: Option<Cell<'_>>) -> bool {
        self.follows(cell.is_some(), cell.is_some_and(|cell| self.is(&cell)))
    }

    /// The one text that is what is asked for, if nothing else is.
    pub(crate) fn only_text(&self) -> Option<&str> {
        match self {
            Self::Compare(Comparison::Equal, Cell::Text(text)) => Some(text),
            _ => None,
        }
    }
}
