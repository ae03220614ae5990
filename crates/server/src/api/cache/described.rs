//! What the document says of forgetting traces that are kept in memory.

use tracelake::ErrorKind;

use crate::api::openapi::operation::{Operation, in_json};
use crate::api::openapi::schema::{number, object, word};
use crate::api::trace::described::asked_id;

const ERRORS: [ErrorKind; 3] = [ErrorKind::Invalid, ErrorKind::Forbidden, ErrorKind::Unavailable];

pub(crate) fn drop_all() -> Operation {
    Operation::new("dropCachedTraces", "store", "Forgets the tenant's traces that are kept in memory")
        .description("What is stored is not touched. Web pages are refused.")
        .tenant()
        .answer(200, "They are forgotten.", [in_json(object([("dropped", word(&["all"]))]))])
        .errors(&ERRORS)
}

pub(crate) fn drop_one() -> Operation {
    Operation::new("dropCachedTrace", "store", "Forgets a trace that is kept in memory")
        .description("What is stored is not touched. Web pages are refused.")
        .tenant()
        .path("trace_id", asked_id(), "Hexadecimal; a short one is padded with zeros on the left.")
        .answer(200, "1 if it was kept, else 0.", [in_json(object([("dropped", number(0, 1))]))])
        .errors(&ERRORS)
}
