//! What the document says of itself.

use serde_json::json;
use tracelake::ErrorKind;

use super::operation::{Operation, in_json};

pub(crate) fn answer() -> Operation {
    Operation::new("openapi", "operations", "This document")
        .answer(200, "OpenAPI 3.1.", [in_json(json!({"type": "object"}))])
        .errors(&[ErrorKind::Invalid])
}
