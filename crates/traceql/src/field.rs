//! What a condition can ask of: intrinsic fields of a span and its trace, and attributes by scope.

use std::fmt;

use crate::names::{name_of, of_name};

/// Where an attribute is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttributeScope {
    /// The span's, then the resource's, then the instrumentation scope's: the first that is there decides.
    Any,
    /// The span's own.
    Span,
    /// Those of the resource that it comes from.
    Resource,
    /// Those of one of its events.
    Event,
    /// Those of one of its links.
    Link,
    /// Those of its instrumentation scope.
    Instrumentation,
}

/// What a span or its trace has without attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Intrinsic {
    /// The span's name.
    Name,
    /// Its kind.
    Kind,
    /// Its status.
    Status,
    /// The status' message; absent if empty.
    StatusMessage,
    /// End less start, 0 if it ended before it began.
    Duration,
    /// The span's ID, 16 lowercase hexadecimal digits.
    SpanId,
    /// Its parent's; absent for a root.
    ParentId,
    /// The trace's ID, 32 lowercase hexadecimal digits.
    TraceId,
    /// The name of the trace's root; absent if none has arrived.
    RootName,
    /// The service of the trace's root; absent if none has arrived, or it names none.
    RootService,
    /// From the trace's first start to its last end.
    TraceDuration,
    /// The name of an event.
    EventName,
    /// From the span's start to an event.
    EventTimeSinceStart,
    /// The trace that a link points at, lowercase hexadecimal digits.
    LinkTraceId,
    /// The span that a link points at, lowercase hexadecimal digits.
    LinkSpanId,
    /// The instrumentation scope's name; absent if empty.
    InstrumentationName,
    /// The instrumentation scope's version; absent if empty.
    InstrumentationVersion,
}

/// The type of an intrinsic's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IntrinsicType {
    Text,
    Duration,
    Status,
    Kind,
}

/// What a condition asks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// What is there without attributes.
    Intrinsic(Intrinsic),
    /// An attribute.
    Attribute {
        /// Where it is looked for.
        scope: AttributeScope,
        /// Its key.
        key: Box<str>,
    },
}

/// Every spelling.
const INTRINSICS: [(&str, Intrinsic); 25] = [
    ("name", Intrinsic::Name),
    ("span:name", Intrinsic::Name),
    ("kind", Intrinsic::Kind),
    ("span:kind", Intrinsic::Kind),
    ("status", Intrinsic::Status),
    ("span:status", Intrinsic::Status),
    ("statusMessage", Intrinsic::StatusMessage),
    ("span:statusMessage", Intrinsic::StatusMessage),
    ("duration", Intrinsic::Duration),
    ("span:duration", Intrinsic::Duration),
    ("span:id", Intrinsic::SpanId),
    ("span:parentID", Intrinsic::ParentId),
    ("trace:id", Intrinsic::TraceId),
    ("rootName", Intrinsic::RootName),
    ("trace:rootName", Intrinsic::RootName),
    ("rootServiceName", Intrinsic::RootService),
    ("trace:rootService", Intrinsic::RootService),
    ("traceDuration", Intrinsic::TraceDuration),
    ("trace:duration", Intrinsic::TraceDuration),
    ("event:name", Intrinsic::EventName),
    ("event:timeSinceStart", Intrinsic::EventTimeSinceStart),
    ("link:traceID", Intrinsic::LinkTraceId),
    ("link:spanID", Intrinsic::LinkSpanId),
    ("instrumentation:name", Intrinsic::InstrumentationName),
    ("instrumentation:version", Intrinsic::InstrumentationVersion),
];

/// TraceQL's intrinsics that need the tree of a trace.
const UNSUPPORTED: [&str; 7] = [
    "childCount",
    "span:childCount",
    "nestedSetLeft",
    "nestedSetRight",
    "nestedSetParent",
    "parent",
    "trace:spanCount",
];

const SCOPES: [(&str, AttributeScope); 6] = [
    (".", AttributeScope::Any),
    ("span.", AttributeScope::Span),
    ("resource.", AttributeScope::Resource),
    ("event.", AttributeScope::Event),
    ("link.", AttributeScope::Link),
    ("instrumentation.", AttributeScope::Instrumentation),
];

impl Intrinsic {
    /// The one of this spelling.
    pub(crate) fn of(name: &str) -> Option<Self> {
        of_name(&INTRINSICS, name)
    }

    pub(crate) fn is_unsupported(name: &str) -> bool {
        UNSUPPORTED.contains(&name)
    }

    /// How it is printed.
    pub fn name(self) -> &'static str {
        name_of(&INTRINSICS, &self)
    }

    /// How many hexadecimal digits it has, if it is an ID.
    pub(crate) fn id_digits(self) -> Option<usize> {
        match self {
            Self::SpanId | Self::ParentId | Self::LinkSpanId => Some(16),
            Self::TraceId | Self::LinkTraceId => Some(32),
            _ => None,
        }
    }

    pub(crate) fn value_type(self) -> IntrinsicType {
        match self {
            Self::Duration | Self::TraceDuration | Self::EventTimeSinceStart => IntrinsicType::Duration,
            Self::Status => IntrinsicType::Status,
            Self::Kind => IntrinsicType::Kind,
            _ => IntrinsicType::Text,
        }
    }
}

impl AttributeScope {
    /// What stands before a key: `span.`, or `.` for any.
    pub fn prefix(self) -> &'static str {
        name_of(&SCOPES, &self)
    }

    /// The scope of a prefix.
    pub(crate) fn of(prefix: &str) -> Option<Self> {
        of_name(&SCOPES, prefix)
    }
}

impl Field {
    /// An attribute of a scope.
    pub fn attribute(scope: AttributeScope, key: &str) -> Self {
        Self::Attribute { scope, key: key.into() }
    }

    /// From a text that is nothing else, as in JSON: an intrinsic's name, or a key behind its scope as it is,
    /// without quotes.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        if let Some(intrinsic) = Intrinsic::of(text) {
            return Some(Self::Intrinsic(intrinsic));
        }
        SCOPES.iter().find_map(|(prefix, scope)| {
            let key = text.strip_prefix(prefix).filter(|key| !key.is_empty())?;
            Some(Self::attribute(*scope, key))
        })
    }

    /// Whether it is of an event.
    pub(crate) fn is_of_trace(&self) -> bool {
        matches!(
            self,
            Self::Intrinsic(Intrinsic::RootName | Intrinsic::RootService | Intrinsic::TraceDuration)
        )
    }

    /// Whether it is of one of a span's events.
    pub fn is_of_event(&self) -> bool {
        matches!(
            self,
            Self::Attribute { scope: AttributeScope::Event, .. }
                | Self::Intrinsic(Intrinsic::EventName | Intrinsic::EventTimeSinceStart)
        )
    }

    /// Whether it is of a link.
    pub fn is_of_link(&self) -> bool {
        matches!(
            self,
            Self::Attribute { scope: AttributeScope::Link, .. }
                | Self::Intrinsic(Intrinsic::LinkTraceId | Intrinsic::LinkSpanId)
        )
    }
}

/// As TraceQL has it.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intrinsic(intrinsic) => f.write_str(intrinsic.name()),
            Self::Attribute { scope, key } => {
                f.write_str(scope.prefix())?;
                if crate::lexer::is_plain_key(*scope, key) {
                    f.write_str(key)
                } else {
                    write!(f, "{}", crate::print::Quoted(key))
                }
            }
        }
    }
}
