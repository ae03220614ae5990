//! What a field is, and what its ordinals are of.

use super::query::IndexedField;

/// Where a field's key stands, by its number in the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldScope {
    /// No attribute: `name`, `kind`, `status`, `statusMessage`, `event:name`, `link:traceID`, `link:spanID`,
    /// `instrumentation:name`, `instrumentation:version`.
    Intrinsic = 0,
    /// Attributes of spans.
    Span = 1,
    /// Attributes of resources.
    Resource = 2,
    /// Attributes of instrumentation scopes.
    Instrumentation = 3,
    /// Attributes of events.
    Event = 4,
    /// Attributes of links.
    Link = 5,
}

impl FieldScope {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::Intrinsic, Self::Span, Self::Resource, Self::Instrumentation, Self::Event, Self::Link];
}

/// What is known of a field.
#[derive(Debug, Clone, Copy)]
pub enum FieldLookup<'h> {
    /// No trace of the part has it.
    Absent,
    /// It is not indexed: any trace may have it, with any value.
    Unknown,
    /// It is indexed.
    Known(IndexedField<'h>),
}

pub(super) const NAME: &str = "name";
pub(super) const KIND: &str = "kind";
pub(super) const STATUS: &str = "status";
pub(super) const STATUS_MESSAGE: &str = "statusMessage";
pub(super) const EVENT_NAME: &str = "event:name";
pub(super) const LINK_TRACE_ID: &str = "link:traceID";
pub(super) const LINK_SPAN_ID: &str = "link:spanID";
pub(super) const INSTRUMENTATION_NAME: &str = "instrumentation:name";
pub(super) const INSTRUMENTATION_VERSION: &str = "instrumentation:version";

/// What a field's ordinals are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Universe {
    Traces,
    Resources,
    Scopes,
}

impl Universe {
    pub(super) fn of(scope: FieldScope, key: &str) -> Self {
        match scope {
            FieldScope::Resource => Self::Resources,
            FieldScope::Instrumentation => Self::Scopes,
            FieldScope::Intrinsic if [INSTRUMENTATION_NAME, INSTRUMENTATION_VERSION].contains(&key) => {
                Self::Scopes
            }
            FieldScope::Intrinsic | FieldScope::Span | FieldScope::Event | FieldScope::Link => Self::Traces,
        }
    }
}

/// Whether a field's terms are in the terms block although one trace alone has them: those are few, or what a search
/// offers to whoever types.
pub(super) fn is_never_hashed(scope: FieldScope, key: &str) -> bool {
    let is_intrinsic = scope == FieldScope::Intrinsic && [NAME, KIND, STATUS].contains(&key);
    is_intrinsic || Universe::of(scope, key) != Universe::Traces
}
