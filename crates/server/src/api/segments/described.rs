//! What the document says of what the store is made of.

use serde_json::Value;
use tracelake::{ErrorKind, limits};

use crate::api::openapi::operation::{Operation, in_json};
use crate::api::openapi::schema::{count, list, number, object, or_null, pattern, text, word};

const ERRORS: [ErrorKind; 2] = [ErrorKind::Invalid, ErrorKind::Unavailable];

const ALL: &str = "`true`: of all tenants, with their names.";

pub(crate) fn segments() -> Operation {
    let page =
        object([("manifest_version", count()), ("segments", list(segment())), ("next", or_null(text()))]);
    Operation::new("segments", "store", "The live segments that have spans of the tenant")
        .description("By name. Pages of different versions of the manifest are of different sets.")
        .tenant()
        .query("all", word(&["true", "false"]), ALL)
        .query("after", text(), "The `next` of the page before.")
        .query("limit", number(1, limits::SEGMENTS_LISTED_MAX), "How many at most.")
        .answer(200, "A page of them.", [in_json(page)])
        .errors(&ERRORS)
}

pub(crate) fn partitions() -> Operation {
    let partitions = object([
        ("manifest_version", count()),
        ("partitions", list(partition())),
        ("more_partitions", count()),
    ]);
    Operation::new("partitions", "store", "The segments, put together by day and hashes of trace IDs")
        .tenant()
        .query("all", word(&["true", "false"]), ALL)
        .answer(200, "The partitions.", [in_json(partitions)])
        .errors(&ERRORS)
}

fn segment() -> Value {
    object([
        ("id", text()),
        ("level", count()),
        ("spans", count()),
        ("traces", count()),
        ("bytes", count()),
        ("start_unix_nano_min", count()),
        ("start_unix_nano_max", count()),
        ("end_unix_nano_max", count()),
        ("trace_hash_min", pattern("^[0-9a-f]+$")),
        ("trace_hash_max", pattern("^[0-9a-f]+$")),
        ("generation_min", count()),
        ("generation_max", count()),
        ("tenants", list(text())),
    ])
}

fn partition() -> Value {
    object([
        ("day", pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}$")),
        ("hashes", text()),
        ("segments", count()),
        ("flushed_segments", count()),
        ("spans", count()),
        ("traces", count()),
        ("bytes", count()),
        ("start_unix_nano_min", count()),
        ("start_unix_nano_max", count()),
        ("end_unix_nano_max", count()),
    ])
}
