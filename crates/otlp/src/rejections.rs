//! Spans that were understood and still not taken: counted by reason, for OTLP's partial success.

use std::fmt::Write;

/// Why a span was not taken. A span counts once, under the first reason that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// Not 16 bytes, or all zeros.
    TraceId,
    /// Not 8 bytes, or all zeros.
    SpanId,
    /// Neither absent nor 8 bytes.
    ParentSpanId,
    /// A link's trace or span ID in JSON that is no hexadecimal text. (In protobuf a link keeps whatever
    /// bytes it has.)
    LinkId,
    /// A start or end after `i64::MAX` nanoseconds (the year 2262).
    Time,
    /// A value with more elements than `value_elements_max`, on the span, its events and links, its
    /// resource or scope.
    ValueElementCount,
    /// A value larger than `attribute_value_bytes_max`, on the span, its events and links, its resource
    /// or scope.
    AttributeValueSize,
    /// More than `attributes_max`, on the span, an event or link of it, its resource or scope.
    AttributeCount,
    /// More than `span_events_max`.
    EventCount,
    /// More than `span_links_max`.
    LinkCount,
    /// A resource or scope larger than `resource_bytes_max`.
    ResourceSize,
}

impl RejectReason {
    /// Every reason, in the order in which they are looked for.
    pub const ALL: [Self; 11] = [
        Self::TraceId,
        Self::SpanId,
        Self::ParentSpanId,
        Self::LinkId,
        Self::Time,
        Self::ValueElementCount,
        Self::AttributeValueSize,
        Self::AttributeCount,
        Self::EventCount,
        Self::LinkCount,
        Self::ResourceSize,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::TraceId => "invalid_trace_id",
            Self::SpanId => "invalid_span_id",
            Self::ParentSpanId => "invalid_parent_span_id",
            Self::LinkId => "invalid_link_id",
            Self::Time => "time_out_of_range",
            Self::ValueElementCount => "too_many_value_elements",
            Self::AttributeValueSize => "attribute_value_too_large",
            Self::AttributeCount => "too_many_attributes",
            Self::EventCount => "too_many_events",
            Self::LinkCount => "too_many_links",
            Self::ResourceSize => "resource_too_large",
        }
    }

    /// What stands after "2 " in the message.
    fn phrase(self) -> &'static str {
        match self {
            Self::TraceId => "with an invalid trace ID (16 bytes, not all zeros)",
            Self::SpanId => "with an invalid span ID (8 bytes, not all zeros)",
            Self::ParentSpanId => "with an invalid parent span ID (8 bytes or none)",
            Self::LinkId => "with a link whose trace or span ID is not hexadecimal",
            Self::Time => "with a time after the year 2262",
            Self::ValueElementCount => "with an attribute value of more elements than value_elements_max",
            Self::AttributeValueSize => "with an attribute value larger than attribute_value_bytes_max",
            Self::AttributeCount => "with more attributes than attributes_max",
            Self::EventCount => "with more events than span_events_max",
            Self::LinkCount => "with more links than span_links_max",
            Self::ResourceSize => "with a resource or scope larger than resource_bytes_max",
        }
    }
}

/// How many spans of a request were not taken, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rejections {
    /// All of them.
    pub spans: u64,
    by_reason: [u64; RejectReason::ALL.len()],
}

impl Rejections {
    /// Whether every span was taken.
    pub fn is_empty(&self) -> bool {
        self.spans == 0
    }

    /// How many for this reason.
    pub fn count(&self, reason: RejectReason) -> u64 {
        self.by_reason[reason as usize]
    }

    /// One more.
    pub fn add(&mut self, reason: RejectReason) {
        self.spans += 1;
        self.by_reason[reason as usize] += 1;
    }

    /// Those of another request, too.
    pub fn merge(&mut self, other: &Self) {
        self.spans += other.spans;
        for (sum, count) in self.by_reason.iter_mut().zip(other.by_reason) {
            *sum += count;
        }
    }

    /// For the sender's log: `3 spans rejected: 2 with …, 1 with …`. None if every span was taken.
    pub fn message(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let mut message = format!("{} span{} rejected", self.spans, if self.spans == 1 { "" } else { "s" });
        let mut separator = ": ";
        for reason in RejectReason::ALL {
            let count = self.count(reason);
            if count > 0 {
                write!(message, "{separator}{count} {}", reason.phrase()).expect("a String takes every text");
                separator = ", ";
            }
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests;
