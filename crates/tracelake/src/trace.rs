//! A trace as it is answered.

use bytes::Bytes;
use tracelake_model::{SpanId, SpanView};
use tracelake_otlp::{JsonEncoder, ProtobufEncoder};
use tracelake_query::{Gap, TraceSpans};

/// The spans of one trace, each once.
#[derive(Debug)]
pub struct Trace {
    spans: TraceSpans,
    partial: Option<String>,
}

impl Trace {
    pub(crate) fn new(spans: TraceSpans) -> Self {
        let partial = tracelake_query::summary(spans.missing());
        Self { spans, partial }
    }

    /// How many spans.
    pub fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// What is missing and why, in a line; none if the trace is whole.
    pub fn partial(&self) -> Option<&str> {
        self.partial.as_deref()
    }

    /// What is missing, one by one.
    pub fn missing(&self) -> &[Gap] {
        self.spans.missing()
    }

    /// Identifiers that several different spans of the trace have; all of those spans are here.
    pub fn conflicting_span_ids(&self) -> &[SpanId] {
        self.spans.conflicting_span_ids()
    }

    /// The spans, by start and span ID.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = SpanView<'_>> {
        self.spans.spans()
    }

    /// As OTLP JSON, piece by piece: `resourceSpans`, then `partial` with a `reason` and what is `missing` one by
    /// one, and `conflictingSpanIds` where there is something to say.
    pub fn into_json_chunks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let mut remarks = Vec::new();
        if let Some(reason) = &self.partial {
            let partial = serde_json::json!({"reason": reason, "missing": self.missing()});
            remarks.push(format!(r#""partial":{partial}"#));
        }
        if !self.conflicting_span_ids().is_empty() {
            let ids: Vec<String> = self.conflicting_span_ids().iter().map(SpanId::to_string).collect();
            remarks.push(format!(r#""conflictingSpanIds":{}"#, serde_json::json!(ids)));
        }
        let (batches, rows) = self.spans.into_parts();
        let encoder = JsonEncoder::new(batches, rows);
        if remarks.is_empty() { encoder } else { encoder.with_trailing_member(remarks.join(",")) }
    }

    /// As OTLP protobuf (`TracesData`), piece by piece.
    pub fn into_protobuf_chunks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let (batches, rows) = self.spans.into_parts();
        ProtobufEncoder::new(batches, rows)
    }
}
