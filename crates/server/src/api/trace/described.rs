//! What the document says of a trace by its ID.

use serde_json::Value;
use tracelake::{ErrorKind, Explained};

use crate::api::openapi::operation::{Operation, error, in_json, in_protobuf};
use crate::api::openapi::schema::{
    either, flat, list, object, or_null, pattern, shared, text, trace_id, truth, with_optional, word,
};

/// A trace ID as it is asked for.
pub(crate) fn asked_id() -> Value {
    pattern("^[0-9a-fA-F]{1,32}$")
}

pub(crate) fn by_id() -> Operation {
    let found = || [in_json(either([shared("Trace"), explained()])), in_protobuf("`TracesData` of OTLP.")];
    let not_found = either([error(&[ErrorKind::NotFound]), explained()]);
    Operation::new("trace", "traces", "A trace by its ID")
        .description("OTLP as JSON or protobuf, from memory and from segments.")
        .tenant()
        .path("trace_id", asked_id(), "Hexadecimal; a short one is padded with zeros on the left.")
        .times("when the trace was, roughly; it orders the work and changes no answer")
        .query("explain", word(&["true", "false", ""]), "What it took to find the trace, with it in JSON.")
        .answer(200, "The trace.", found())
        .partial(found())
        .answer(404, "`not_found`: there is no such trace.", [in_json(not_found)])
        .error_as(406, ErrorKind::UnsupportedMedia, "`Accept` allows neither encoding.")
        .errors(&[ErrorKind::Invalid, ErrorKind::Throttled, ErrorKind::Unavailable])
}

/// A trace with what it took to find it.
fn explained() -> Value {
    // The one member that is null by default and no text otherwise.
    let explain = with_optional(flat::<Explained>(), [("trace_cache_hit", or_null(truth()))]);
    let of_none = object([("kind", word(&[ErrorKind::NotFound.name()])), ("message", text())]);
    let explained = object([
        ("trace_id", trace_id()),
        ("explain", explain),
        ("missing", list(shared("Gap"))),
        ("trace", or_null(shared("Trace"))),
    ]);
    with_optional(explained, [("error", of_none)])
}
