//! What is listed, of which spans, and what has to be read of them for it.

use std::ops::Range;

use tracelake_model::SpanView;
use tracelake_store::format::segment::{FieldScope, Projection};
use tracelake_traceql::{Predicate, TraceFacts};

use super::answer::TypedValue;
use super::tally::Scalar;
use crate::search::add_field;

/// The scopes of attributes.
pub(super) const SCOPES: [FieldScope; 5] = [
    FieldScope::Span,
    FieldScope::Resource,
    FieldScope::Instrumentation,
    FieldScope::Event,
    FieldScope::Link,
];

/// The intrinsics whose values can be listed: few, or in the index as they are.
pub(super) const NAME: &str = "name";
pub(super) const KIND: &str = "kind";
pub(super) const STATUS: &str = "status";

/// See the module.
#[derive(Debug)]
pub(super) struct Asked {
    /// Spans whose start is in the range.
    pub(super) starts: Range<u64>,
    pub(super) question: Question,
    /// What is listed begins so.
    pub(super) prefix: Box<str>,
    /// Only spans that satisfy it. It asks of nothing that a trace has as a whole.
    pub(super) condition: Option<Predicate>,
}

#[derive(Debug)]
pub(super) enum Question {
    /// The values of a key in these scopes; or the texts among them alone.
    Values { scopes: Vec<FieldScope>, key: Box<str>, texts_alone: bool },
    /// The names of spans of a service.
    Operations { service: Box<str> },
    /// The keys of attributes, of one scope or of all.
    Keys { scope: Option<FieldScope> },
}

impl Asked {
    /// Whether a span counts.
    pub(super) fn takes(&self, span: &SpanView<'_>) -> bool {
        let facts = TraceFacts::default();
        self.starts.contains(&span.start_unix_nano())
            && self.condition.as_ref().is_none_or(|condition| condition.matches(span, &facts))
    }

    /// Whether a value is listed, as far as what is asked for and the prefix say.
    pub(super) fn lists(&self, value: Scalar<'_>) -> bool {
        let Question::Values { scopes, texts_alone, .. } = &self.question else { return true };
        let begins = |text: &str| text.starts_with(&*self.prefix);
        match value {
            Scalar::Text(text) => begins(text),
            _ if *texts_alone => false,
            // Kinds and statuses are listed by their words.
            _ if self.prefix.is_empty() || *scopes == [FieldScope::Intrinsic] => true,
            Scalar::Number(number) => begins(&TypedValue::Number(number).text()),
            Scalar::Bool(value) => begins(&TypedValue::Bool(value).text()),
        }
    }

    /// The same of a key.
    pub(super) fn lists_key(&self, scope: FieldScope, key: &str) -> bool {
        let Question::Keys { scope: wanted } = &self.question else { return false };
        wanted.is_none_or(|wanted| wanted == scope) && key.starts_with(&*self.prefix)
    }

    /// What has to be read of spans.
    pub(super) fn projection(&self) -> Projection {
        let mut projection = match &self.question {
            Question::Keys { .. } => Projection::ALL,
            Question::Values { .. } | Question::Operations { .. } => Projection::least(),
        };
        if let Question::Values { scopes, key, .. } = &self.question {
            for scope in scopes {
                match scope {
                    FieldScope::Span => projection.add_attribute(key),
                    FieldScope::Event => projection.add_events(),
                    FieldScope::Link => projection.add_links(),
                    // Every span has these.
                    FieldScope::Intrinsic | FieldScope::Resource | FieldScope::Instrumentation => {}
                }
            }
        }
        if let Some(condition) = &self.condition {
            condition.fields(&mut |field| add_field(&mut projection, field));
        }
        projection
    }
}
