//! What a search answers, as JSON: traces or spans, and what there is to say of them all.

use bytes::Bytes;
use serde_json::{Value, json};
use tracelake::model::SpanView;
use tracelake::search::{Cursor, SearchEnd, SearchPage, TraceHit};
use tracelake::traceql::{Kind, Status};

use super::results::Form;
use super::select::{Selected, write_selected};
use crate::api::times::rfc3339;

/// A page but for the first `skip` of what it has, piece by piece: of many it is never one text in memory.
pub(super) fn page(
    page: SearchPage,
    skip: usize,
    form: Form,
) -> impl Iterator<Item = Bytes> + Send + 'static {
    let begin = std::iter::once(Bytes::from(list_begin(form.results.list())));
    let end = std::iter::once(Bytes::from(list_end(&page.end)));
    // One of them is empty.
    let of_spans = form.clone();
    let traces = page.traces.into_iter().skip(skip).map(move |hit| form.of_trace(&hit));
    let spans = page.spans.into_iter().skip(skip).map(move |hit| of_spans.of_span(&hit));
    let mut separator = "";
    let found = traces.chain(spans).map(move |text| {
        let text = format!("{separator}{text}");
        separator = ",";
        Bytes::from(text)
    });
    begin.chain(found).chain(end)
}

/// A document up to the first element of its list.
pub(super) fn list_begin(name: &str) -> String {
    format!("{{\"{name}\":[")
}

/// A document behind the last element of its list.
pub(super) fn list_end(search: &SearchEnd) -> String {
    let end = end(search).to_string();
    format!("],{}", end.strip_prefix('{').unwrap_or_default())
}

/// Appends a trace.
pub(super) fn write_trace(out: &mut String, hit: &TraceHit, select: &[Selected]) {
    let trace = json!({
        "trace_id": hit.trace_id.to_string(),
        "root_service": hit.root_service,
        "root_name": hit.root_name,
        "start_time": rfc3339(hit.start_unix_nano),
        "start_time_unix_nano": hit.start_unix_nano.to_string(),
        "duration_nano": hit.duration_nano,
        "span_count": hit.span_count,
        "error_count": hit.error_count,
        "services": hit.services,
        "service_count": hit.service_count,
        "matched": hit.matched,
    });
    open(out, &trace);
    out.push_str(",\"spans\":[");
    for (at, span) in hit.spans.spans().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_span(out, &span, select);
    }
    out.push_str("]}");
}

/// Appends a span of a trace.
fn write_span(out: &mut String, span: &SpanView<'_>, select: &[Selected]) {
    write_members(out, span, json!({}), select);
}

/// Appends a span that stands for itself.
pub(super) fn write_row(out: &mut String, span: &SpanView<'_>, select: &[Selected]) {
    let of_row = json!({
        "trace_id": span.trace_id().to_string(),
        "parent_span_id": span.parent_span_id().map(|parent| parent.to_string()),
        "start_time": rfc3339(span.start_unix_nano()),
    });
    write_members(out, span, of_row, select);
}

/// Appends what every span has, besides `more`.
fn write_members(out: &mut String, span: &SpanView<'_>, more: Value, select: &[Selected]) {
    let status = Status::of_number(span.status_code()).map(Status::name);
    let kind = Kind::of_number(span.kind()).map(Kind::name);
    let mut members = json!({
        "span_id": span.span_id().to_string(),
        "name": span.name(),
        "service": span.resource().service_name(),
        "start_time_unix_nano": span.start_unix_nano().to_string(),
        "duration_nano": span.duration_nano(),
        // Numbers that OTLP has no words for are kept.
        "status": status.map_or_else(|| Value::from(span.status_code()), Value::from),
        "kind": kind.map_or_else(|| Value::from(span.kind()), Value::from),
    });
    if let (Some(members), Value::Object(more)) = (members.as_object_mut(), more) {
        members.extend(more);
    }
    open(out, &members);
    out.push_str(",\"attributes\":");
    write_selected(out, span, select);
    out.push('}');
}

/// Appends an object that gets further members.
fn open(out: &mut String, object: &Value) {
    let text = object.to_string();
    out.push_str(text.strip_suffix('}').unwrap_or(&text));
}

/// What there is to say at the end. What was not asked for is not there.
pub(super) fn end(end: &SearchEnd) -> Value {
    let partial = tracelake::summary_of_gaps(&end.missing);
    let mut answer = json!({
        "next_cursor": end.next.as_ref().map(Cursor::to_string),
        "complete_up_to": rfc3339(end.complete_up_to_unix_nano),
        "partial": partial.map(|reason| json!({"reason": reason, "missing": end.missing})),
        "stats": end.stats,
    });
    if let (Some(members), Some(plan)) = (answer.as_object_mut(), &end.plan) {
        members.insert("explain".to_owned(), json!(plan));
    }
    if let (Some(members), Some(totals)) = (answer.as_object_mut(), &end.totals) {
        members.insert("total_count".to_owned(), json!(totals.count));
        if let Some(histogram) = &totals.histogram {
            let histogram = json!({
                "start_time": rfc3339(histogram.start_unix_nano),
                "start_time_unix_nano": histogram.start_unix_nano.to_string(),
                "width_nano": histogram.width_nano,
                "counts": histogram.counts,
            });
            members.insert("histogram".to_owned(), histogram);
        }
    }
    answer
}
