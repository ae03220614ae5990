//! What the document says of health, numbers and settings, and of what those who run a server ask for.

use serde_json::{Value, json};
use tracelake::{CacheSizes, CompactionStatus, ErrorKind, PrefetchStats, ReadCounts, TraceCacheStats};

use crate::api::openapi::operation::{Operation, in_json, in_text};
use crate::api::openapi::schema::{count, flat, list, noted, object, or_null, text, truth};

/// Of what changes the store.
const ERRORS: [ErrorKind; 5] = [
    ErrorKind::Invalid,
    ErrorKind::Forbidden,
    ErrorKind::Unavailable,
    ErrorKind::Corrupt,
    ErrorKind::Internal,
];

pub(crate) fn livez() -> Operation {
    let livez = Operation::new("livez", "operations", "Whether the process answers");
    livez.answer(200, "It does.", [in_text("`ok`")])
}

pub(crate) fn readyz() -> Operation {
    let verbose = || {
        object([
            ("ready", truth()),
            ("reason", or_null(text())),
            ("in_flight_bytes", count()),
            ("connections", count()),
        ])
    };
    Operation::new("readyz", "operations", "Whether spans can be acknowledged")
        .query("verbose", text(), "If it is there, whatever it says: more, as JSON.")
        .answer(200, "They can.", [in_text("`ok`"), in_json(verbose())])
        .answer(503, "They cannot.", [in_text("Why not."), in_json(verbose())])
        .header(503, "retry-after", noted(count(), "In seconds."))
        .errors(&[ErrorKind::Invalid])
}

pub(crate) fn metrics() -> Operation {
    let metrics = Operation::new("metrics", "operations", "What is counted");
    metrics.answer(200, "All numbers.", [in_text("The text format of Prometheus.")])
}

pub(crate) fn flush() -> Operation {
    let flushed = object([("manifest_version", count()), ("writer", text())]);
    Operation::new("flush", "store", "Writes what is in memory to segments")
        .description("Web pages are refused.")
        .answer(200, "The version of the manifest that has it, and who wrote that.", [in_json(flushed)])
        .errors(&ERRORS)
}

pub(crate) fn compact() -> Operation {
    Operation::new("compact", "store", "Merges segments until few remain")
        .description("It goes on if the client hangs up. Web pages are refused.")
        .answer(200, "How segments were merged since the start.", [in_json(flat::<CompactionStatus>())])
        .errors(&ERRORS)
}

pub(crate) fn status() -> Operation {
    let setting = object([("value", text()), ("origin", text())]);
    let status = object([
        ("version", text()),
        ("uptime_seconds", count()),
        ("durability", text()),
        ("ready", truth()),
        ("reason", or_null(text())),
        ("in_flight_bytes", count()),
        ("settings", json!({"type": "object", "additionalProperties": setting})),
        ("store", or_null(store())),
    ]);
    Operation::new("status", "operations", "Version, settings and their origins, and how the store is")
        .answer(200, "How it is.", [in_json(status)])
        .errors(&[ErrorKind::Invalid])
}

fn store() -> Value {
    let retention = object([
        ("on", truth()),
        ("segments_removed", count()),
        ("segments_rewritten", count()),
        ("spans_removed", count()),
        ("bytes_removed", count()),
        ("error", or_null(text())),
    ]);
    let recovery = object([
        ("wal_files", count()),
        ("frames", count()),
        ("spans", count()),
        ("duration_ms", count()),
        ("torn_bytes", count()),
        ("torn", or_null(text())),
        ("damage", list(text())),
    ]);
    object([
        ("durability", text()),
        ("manifest_version", count()),
        ("writer_epoch", count()),
        ("segments", count()),
        ("segment_bytes", count()),
        ("segment_rows", count()),
        ("attribute_columns", count()),
        ("generation", count()),
        ("memtable_spans", count()),
        ("memtable_bytes", count()),
        ("frozen_generations", count()),
        ("wal_bytes", count()),
        ("recent_requests", count()),
        ("flush_error", or_null(text())),
        ("failure", or_null(text())),
        ("compaction", flat::<CompactionStatus>()),
        ("retention", retention),
        ("recovery", recovery),
        ("trace_cache", flat::<TraceCacheStats>()),
        ("prefetch", flat::<PrefetchStats>()),
        ("caches", flat::<CacheSizes>()),
        ("reads", flat::<ReadCounts>()),
    ])
}
