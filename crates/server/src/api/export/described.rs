//! What the document says of an export.

use tracelake::ErrorKind;

use crate::api::openapi::operation::{Operation, in_lines};
use crate::api::openapi::schema::{either, shared};

pub(crate) fn time_range() -> Operation {
    Operation::new("export", "traces", "Every span of a time range")
        .description("OTLP JSON lines, each span once. An error after the stream has begun is its last line.")
        .tenant()
        .times("when spans started")
        .answer(200, "The spans.", [in_lines(either([shared("Trace"), shared("Error")]))])
        .errors(&[ErrorKind::Invalid, ErrorKind::Throttled, ErrorKind::Unavailable])
}
