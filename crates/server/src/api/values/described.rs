//! What the document says of listing what people can type.

use serde_json::{Value, json};
use tracelake::{ErrorKind, limits};

use super::SCOPES;
use crate::api::openapi::operation::{Operation, in_json};
use crate::api::openapi::schema::{
    count, list, noted, number, object, or_null, shared, text, time, truth, word,
};

const ERRORS: [ErrorKind; 3] = [ErrorKind::Invalid, ErrorKind::Throttled, ErrorKind::Unavailable];

const IN_SCOPE: &str = "Of this scope only; without it of any but `intrinsic`.";

const KEY: &str = "The attribute's key; with `scope` of `intrinsic`: `name`, `kind` or `status`.";

pub(crate) fn services() -> Operation {
    let service = object([("service", text()), ("traces", count())]);
    listed("services", service, Operation::new("services", "search", "The services that spans are of"))
}

pub(crate) fn operations() -> Operation {
    let operation = object([("operation", text()), ("traces", count())]);
    let named = Operation::new("operations", "search", "The names of spans").query(
        "service",
        text(),
        "Of spans of this service only.",
    );
    listed("operations", operation, named)
}

pub(crate) fn attributes() -> Operation {
    let types = list(word(&["string", "number", "bool"]));
    let scopes = word(&of_attributes());
    let key = object([("scope", scopes.clone()), ("key", text()), ("types", types), ("traces", count())]);
    let named = Operation::new("attributes", "search", "The keys of attributes, with their types").query(
        "scope",
        scopes,
        "Of this scope only.",
    );
    listed("attributes", key, named)
}

pub(crate) fn values() -> Operation {
    let value = noted(json!({"type": ["string", "number", "boolean"]}), "An infinity is a text.");
    let value =
        object([("value", value), ("type", word(&["string", "number", "bool"])), ("traces", count())]);
    let named = Operation::new("attributeValues", "search", "The values of an attribute")
        .path("key", text(), KEY)
        .query("scope", word(&SCOPES.map(|(name, _)| name)), IN_SCOPE)
        .query("q", text(), "Only of spans that satisfy this condition in TraceQL, of one pair of braces.");
    listed("values", value, named)
}

fn of_attributes() -> Vec<&'static str> {
    SCOPES.iter().map(|(name, _)| *name).filter(|name| *name != "intrinsic").collect()
}

fn listed(name: &str, entry: Value, operation: Operation) -> Operation {
    let answer = object([
        (name, list(entry)),
        ("more", truth()),
        ("unlisted_values", count()),
        ("complete_up_to", time()),
        ("partial", or_null(shared("Partial"))),
    ]);
    operation
        .description(
            "What most traces have first. A trace with spans in several segments counts in each, and in a range that \
             cuts a part of a merged segment the traces that overlap it count.",
        )
        .tenant()
        .times("when spans started")
        .query("prefix", text(), "What begins so.")
        .query("limit", number(1, limits::VALUES_LISTED_MAX), "How many at most; 100 without it.")
        .answer(200, "The list.", [in_json(answer.clone())])
        .partial([in_json(answer)])
        .errors(&ERRORS)
}
