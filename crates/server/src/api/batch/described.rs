//! What the document says of many traces by their IDs.

use tracelake::ErrorKind;

use crate::api::openapi::operation::{Operation, in_lines};
use crate::api::openapi::schema::{
    asked_time_of_body, count, either, list, object, or_null, shared, text, trace_id, truth, with_optional,
    word,
};
use crate::api::trace::described::asked_id;

pub(crate) fn traces() -> Operation {
    let asked = object([("trace_ids", list(asked_id()))]);
    let asked = with_optional(asked, [("start", asked_time_of_body()), ("end", asked_time_of_body())]);
    let lacking = object([("kind", word(&["partial"])), ("message", text())]);
    let answered = object([
        ("trace_id", trace_id()),
        ("found", truth()),
        ("trace", or_null(shared("Trace"))),
        ("error", or_null(lacking)),
    ]);
    let last = object([("partial", object([("traces", count()), ("reason", text())]))]);
    Operation::new("traces", "traces", "Many traces by their IDs")
        .description(
            "A line for each, as they are found; an ID that is there twice is answered once. If some are partial, a \
             last line says so. An answer that breaks off without the end of its HTTP body is not the whole.",
        )
        .tenant()
        .body(asked)
        .answer(200, "The traces.", [in_lines(either([answered, last]))])
        .error_as(408, ErrorKind::Invalid, "the body came too slowly.")
        .errors(&[ErrorKind::Invalid, ErrorKind::TooLarge, ErrorKind::Throttled, ErrorKind::Unavailable])
}
