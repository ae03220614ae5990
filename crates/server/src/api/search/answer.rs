//! What a search answers, as JSON: traces, and what there is to say of them all.

use bytes::Bytes;
use serde_json::{Value, json};
use tracelake::model::SpanView;
use tracelake::search::{Cursor, SearchEnd, TraceHit};
use tracelake::traceql::{Kind, Status};

use super::select::{Selected, write_selected};
use crate::api::lines::joined;
use crate::api::times::rfc3339;

/// By OTLP's numbers.
const STATUSES: [Status; 3] = [Status::Unset, Status::Ok, Status::Error];
const KINDS: [Kind; 6] =
    [Kind::Unspecified, Kind::Internal, Kind::Server, Kind::Client, Kind::Producer, Kind::Consumer];

/// A page, piece by piece: of many traces it is never one text in memory.
pub(super) fn page(
    traces: impl Iterator<Item = TraceHit> + Send + 'static,
    select: Vec<Selected>,
    end: Value,
) -> impl Iterator<Item = Bytes> + Send + 'static {
    let mut separator = "";
    let traces = traces.map(move |hit| {
        let mut text = separator.to_owned();
        separator = ",";
        write_trace(&mut text, &hit, &select);
        Bytes::from(text)
    });
    let end = end.to_string();
    let end = format!("],{}", end.strip_prefix('{').unwrap_or_default());
    let begin = std::iter::once(Bytes::from_static(b"{\"traces\":["));
    joined(begin.chain(traces).chain(std::iter::once(Bytes::from(end))))
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

fn write_span(out: &mut String, span: &SpanView<'_>, select: &[Selected]) {
    let status = STATUSES.into_iter().find(|status| *status as i32 == span.status_code()).map(Status::name);
    let kind = KINDS.into_iter().find(|kind| *kind as i32 == span.kind()).map(Kind::name);
    let members = json!({
        "span_id": span.span_id().to_string(),
        "name": span.name(),
        "service": span.resource().service_name(),
        "start_time_unix_nano": span.start_unix_nano().to_string(),
        "duration_nano": span.duration_nano(),
        // Numbers that OTLP has no words for are kept.
        "status": status.map_or_else(|| Value::from(span.status_code()), Value::from),
        "kind": kind.map_or_else(|| Value::from(span.kind()), Value::from),
    });
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

/// What there is to say at the end.
pub(super) fn end(end: &SearchEnd) -> Value {
    let partial = tracelake::summary_of_gaps(&end.missing);
    let mut answer = json!({
        "next_cursor": end.next.as_ref().map(Cursor::to_string),
        "complete_up_to": rfc3339(end.complete_up_to_unix_nano),
        "partial": partial.map(|reason| json!({"reason": reason, "missing": end.missing})),
        "stats": end.stats,
    });
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
