//! What the document says of retention.

use serde_json::Value;
use tracelake::ErrorKind;

use crate::api::openapi::operation::{Operation, in_json};
use crate::api::openapi::schema::{count, either, list, object, text, truth, word};

pub(crate) fn apply() -> Operation {
    Operation::new("applyRetention", "store", "Removes what has expired")
        .description("For those who run the server: the answer names all tenants. Web pages are refused.")
        .query("dry_run", word(&["true", "false"]), "`true`: nothing is removed, it is only told.")
        .answer(200, "What went, or would go.", [in_json(report())])
        .errors(&[
            ErrorKind::Invalid,
            ErrorKind::Forbidden,
            ErrorKind::Unavailable,
            ErrorKind::Corrupt,
            ErrorKind::Internal,
        ])
}

fn report() -> Value {
    object([
        ("dry_run", truth()),
        ("on", truth()),
        ("segments_removed", count()),
        ("segments_rewritten", count()),
        ("spans_removed", count()),
        ("bytes_removed", count()),
        ("segments", list(segment())),
        ("more_segments", count()),
    ])
}

fn segment() -> Value {
    let because = either([object([("age_seconds_max", count())]), object([("bytes_max", count())])]);
    let part = object([
        ("tenant", text()),
        ("spans", count()),
        ("traces", count()),
        ("bytes", count()),
        ("because", because),
    ]);
    object([
        ("id", text()),
        ("level", count()),
        ("whole", truth()),
        ("bytes", count()),
        ("start_unix_nano_min", count()),
        ("newest_unix_nano", count()),
        ("parts", list(part)),
    ])
}
