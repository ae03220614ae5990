//! Spans back to OTLP: as one protobuf message, and as protobuf or JSON in chunks, so that an answer is
//! never in memory as a whole.
//!
//! Spans are grouped by the content of their resource, then of their scope; groups and the spans in
//! them stand in the order in which each first occurred.

mod plan;
mod protobuf;

use std::sync::Arc;

use bytes::Bytes;
use tracelake_model::{SpanBatch, SpanView};

use crate::json;
use plan::{Placed, plan};
pub(crate) use protobuf::{any_value_len, field_len, key_value_len, varint_field_len};

/// A chunk ends with the span that reaches this size.
const CHUNK_BYTES: usize = 64 << 10;
/// Spans in one `ResourceSpans` of a stream. Its length stands before it, so it must be in memory;
/// the group goes on in a further one with the same resource, which OTLP allows.
const RESOURCE_SPANS_SPANS_MAX: usize = 256;

/// `TracesData` (the same as `ExportTraceServiceRequest`) in protobuf. Decoded again, it gives the same
/// spans, grouped.
pub fn encode_protobuf(spans: &[SpanView<'_>]) -> Vec<u8> {
    let plan = plan(spans.iter().copied());
    let mut out = Vec::new();
    for resource_group in plan.chunk_by(|a, b| a.resource == b.resource) {
        protobuf::resource_spans(&mut out, view(spans, resource_group), |out| {
            for scope_group in resource_group.chunk_by(|a, b| a.scope == b.scope) {
                protobuf::scope_spans(out, view(spans, scope_group), |out| {
                    for placed in scope_group {
                        protobuf::span(out, &spans[placed.index as usize]);
                    }
                });
            }
        });
    }
    out
}

/// Any span of the group: all have the same resource, or scope.
fn view<'s, 'b>(spans: &'s [SpanView<'b>], group: &[Placed]) -> &'s SpanView<'b> {
    &spans[group[0].index as usize]
}

/// Chosen spans of several batches, owned, in the order in which they are written.
#[derive(Debug)]
struct Selection {
    batches: Vec<Arc<SpanBatch>>,
    rows: Vec<(u32, u32)>,
    plan: Vec<Placed>,
    next: usize,
}

impl Selection {
    fn new(batches: impl IntoIterator<Item = impl Into<Arc<SpanBatch>>>, rows: Vec<(u32, u32)>) -> Self {
        let batches: Vec<Arc<SpanBatch>> = batches.into_iter().map(Into::into).collect();
        let views = rows.iter().map(|(batch, row)| batches[*batch as usize].span(*row as usize));
        let plan = plan(views);
        Self { batches, rows, plan, next: 0 }
    }

    fn span(&self, placed: Placed) -> SpanView<'_> {
        let (batch, row) = self.rows[placed.index as usize];
        self.batches[batch as usize].span(row as usize)
    }
}

/// `TracesData` in protobuf, in chunks of some 64 KiB that are whole messages: joined, they are one
/// `TracesData`, and each is one by itself. Nothing if there are no spans.
#[derive(Debug)]
pub struct ProtobufEncoder {
    selection: Selection,
}

impl ProtobufEncoder {
    /// Of the spans at `rows`: (which of `batches`, which row of it).
    ///
    /// # Panics
    /// If a batch has no such row.
    pub fn new(batches: impl IntoIterator<Item = impl Into<Arc<SpanBatch>>>, rows: Vec<(u32, u32)>) -> Self {
        Self { selection: Selection::new(batches, rows) }
    }

    /// One `ResourceSpans` with one `ScopeSpans`; how many spans it took.
    fn resource_spans(&self, out: &mut Vec<u8>, rest: &[Placed]) -> usize {
        let first = rest[0];
        let span = self.selection.span(first);
        let full = out.len() + CHUNK_BYTES;
        let mut taken = 0;
        protobuf::resource_spans(out, &span, |out| {
            protobuf::scope_spans(out, &span, |out| {
                for placed in rest.iter().take(RESOURCE_SPANS_SPANS_MAX) {
                    if !placed.same_group(first) || (taken > 0 && out.len() >= full) {
                        break;
                    }
                    protobuf::span(out, &self.selection.span(*placed));
                    taken += 1;
                }
            });
        });
        taken
    }
}

impl Iterator for ProtobufEncoder {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::with_capacity(CHUNK_BYTES);
        let mut next = self.selection.next;
        while out.len() < CHUNK_BYTES {
            let rest = &self.selection.plan[next..];
            if rest.is_empty() {
                break;
            }
            next += self.resource_spans(&mut out, rest);
        }
        self.selection.next = next;
        (!out.is_empty()).then(|| out.into())
    }
}

/// `TracesData` in OTLP's JSON, in chunks of some 64 KiB. `{"resourceSpans":[]}` if there are no spans.
#[derive(Debug)]
pub struct JsonEncoder {
    selection: Selection,
    trailing_member: Option<String>,
    done: bool,
}

impl JsonEncoder {
    /// Of the spans at `rows`: (which of `batches`, which row of it).
    ///
    /// # Panics
    /// If a batch has no such row.
    pub fn new(batches: impl IntoIterator<Item = impl Into<Arc<SpanBatch>>>, rows: Vec<(u32, u32)>) -> Self {
        Self { selection: Selection::new(batches, rows), trailing_member: None, done: false }
    }

    /// Adds a member to the outermost object, after `resourceSpans`; `member` is JSON text such as
    /// `"partial":{"reason":"…"}` and is not checked.
    pub fn with_trailing_member(mut self, member: impl Into<String>) -> Self {
        self.trailing_member = Some(member.into());
        self
    }

    /// One span, with whatever of its groups begins before or ends after it.
    fn span(&self, out: &mut String, index: usize) {
        let plan = &self.selection.plan;
        let placed = plan[index];
        let before = index.checked_sub(1).map(|before| plan[before]);
        let after = plan.get(index + 1);
        let span = self.selection.span(placed);
        let new_resource = before.is_none_or(|before| before.resource != placed.resource);
        let new_scope = before.is_none_or(|before| !before.same_group(placed));
        if new_resource {
            out.push_str(if index == 0 { "{\"resource\":" } else { ",{\"resource\":" });
            json::write_resource_fields(out, span.resource());
            out.push_str(",\"scopeSpans\":[");
        }
        if new_scope {
            out.push_str(if new_resource { "{\"scope\":" } else { ",{\"scope\":" });
            json::write_scope_fields(out, span.scope());
            out.push_str(",\"spans\":[");
        } else {
            out.push(',');
        }
        json::write_span(out, &span);
        if after.is_none_or(|after| !after.same_group(placed)) {
            out.push(']');
            json::write_schema_url(out, &span.scope().schema_url);
            out.push('}');
        }
        if after.is_none_or(|after| after.resource != placed.resource) {
            out.push(']');
            json::write_schema_url(out, &span.resource().schema_url);
            out.push('}');
        }
    }
}

impl Iterator for JsonEncoder {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut out = String::with_capacity(CHUNK_BYTES + 4_096);
        if self.selection.next == 0 {
            out.push_str("{\"resourceSpans\":[");
        }
        while self.selection.next < self.selection.plan.len() && out.len() < CHUNK_BYTES {
            self.span(&mut out, self.selection.next);
            self.selection.next += 1;
        }
        if self.selection.next == self.selection.plan.len() {
            out.push(']');
            if let Some(member) = &self.trailing_member {
                out.push(',');
                out.push_str(member);
            }
            out.push('}');
            self.done = true;
        }
        Some(out.into())
    }
}

#[cfg(test)]
mod tests;
