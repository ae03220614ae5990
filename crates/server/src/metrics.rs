//! What the server counts, in Prometheus' text format.
//!
//! Each server has its own recorder: nothing global, so that several can run in one process. The
//! numbers of the store are those of its status, read when somebody looks.

use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tracelake::otlp::RejectReason;

/// How an OTLP request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http_protobuf",
            Self::HttpJson => "http_json",
        }
    }
}

const REQUESTS: &str = "tracelake_ingest_requests_total";
const ACCEPTED: &str = "tracelake_ingest_spans_accepted_total";
const REJECTED: &str = "tracelake_ingest_spans_rejected_total";
const WIRE_BYTES: &str = "tracelake_ingest_received_bytes_total";
const DECODED_BYTES: &str = "tracelake_ingest_decompressed_bytes_total";
const ACK_SECONDS: &str = "tracelake_ingest_ack_seconds";
const LOOKUPS: &str = "tracelake_lookups_total";
const LOOKUP_SECONDS: &str = "tracelake_lookup_seconds";
const SEARCHES: &str = "tracelake_searches_total";
const SEARCH_SECONDS: &str = "tracelake_search_seconds";
const LISTINGS: &str = "tracelake_listings_total";
const LISTING_SECONDS: &str = "tracelake_listing_seconds";

const COUNTERS: [(&str, &str); 8] = [
    (REQUESTS, "OTLP requests, by protocol and outcome (ok, partial, or the kind of error)."),
    (ACCEPTED, "Spans made durable and acknowledged."),
    (REJECTED, "Spans of acknowledged requests that were not taken, by reason."),
    (WIRE_BYTES, "Bytes of OTLP requests as they arrived."),
    (DECODED_BYTES, "Bytes of OTLP requests after decompression."),
    (LOOKUPS, "Traces asked for by ID, by outcome (found, partial, not_found, or the kind of error)."),
    (SEARCHES, "Searches, by outcome (complete, partial, broken_off by the client, or the kind of error)."),
    (LISTINGS, "Lists of services, operations, attributes and values, by outcome (as searches)."),
];
const HISTOGRAMS: [(&str, &str); 4] = [
    (ACK_SECONDS, "From an OTLP request's headers to its acknowledgement, by protocol."),
    (LOOKUP_SECONDS, "From a lookup's arrival to the first byte of its answer."),
    (
        SEARCH_SECONDS,
        "From a search's arrival to the first byte of its answer; how long one worked that is streamed.",
    ),
    (LISTING_SECONDS, "From the arrival of who asks for such a list to the first byte of the answer."),
];

/// The upper bounds of the latency histograms, in seconds: around the figures that are promised.
const SECONDS_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 5.0, 10.0];

/// What the names of the store's numbers begin with.
const STORE: &str = "tracelake_store";

/// Of the store's status, by path, the numbers that only grow while the process runs.
const STORE_TOTALS: [&str; 13] = [
    "compaction_merges",
    "compaction_rows",
    "compaction_duplicates",
    "compaction_bytes_read",
    "compaction_bytes_written",
    "compaction_files_deleted",
    "retention_segments_removed",
    "retention_segments_rewritten",
    "retention_spans_removed",
    "retention_bytes_removed",
    "trace_cache_hits",
    "trace_cache_misses",
    "trace_cache_evictions",
];

/// The parts of it of which all numbers do.
const STORE_TOTALS_OF: [&str; 2] = ["prefetch_", "reads_"];

/// The counters of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

fn key(name: &'static str, labels: Vec<Label>) -> Key {
    Key::from_parts(name, labels)
}

/// Whether a number of the store's status is a total: rates are made of counters only.
fn is_store_total(name: &str) -> bool {
    let path = name.strip_prefix(STORE).and_then(|path| path.strip_prefix('_'));
    path.is_some_and(|path| {
        STORE_TOTALS.contains(&path) || STORE_TOTALS_OF.iter().any(|part| path.starts_with(*part))
    })
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new().set_buckets(&SECONDS_BUCKETS)?.build_recorder();
        for (name, help) in COUNTERS {
            recorder.describe_counter(name.into(), None, help.into());
        }
        for (name, help) in HISTOGRAMS {
            recorder.describe_histogram(name.into(), None, help.into());
        }
        let handle = recorder.handle();
        let metrics = Self { recorder, handle };
        // What has not happened yet must be there as 0 for a rate to see its first time.
        for protocol in [Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson] {
            metrics.received(protocol, 0, 0);
            let labels = [("protocol", protocol.name()), ("outcome", "ok")];
            metrics.count(REQUESTS, &labels, 0);
        }
        metrics.count(ACCEPTED, &[], 0);
        metrics.count(LOOKUPS, &[("outcome", "found")], 0);
        metrics.count(SEARCHES, &[("outcome", "complete")], 0);
        metrics.count(LISTINGS, &[("outcome", "complete")], 0);
        Ok(metrics)
    }

    fn count(&self, name: &'static str, labels: &[(&'static str, &'static str)], by: u64) {
        let labels = labels.iter().map(|(name, value)| Label::from_static_parts(name, value)).collect();
        self.recorder.register_counter(&key(name, labels), &METADATA).increment(by);
    }

    /// A request's bytes have arrived.
    pub(crate) fn received(&self, protocol: Protocol, wire_bytes: u64, decoded_bytes: u64) {
        self.count(WIRE_BYTES, &[("protocol", protocol.name())], wire_bytes);
        self.count(DECODED_BYTES, &[("protocol", protocol.name())], decoded_bytes);
    }

    /// A request has been answered.
    pub(crate) fn answered(&self, protocol: Protocol, outcome: &'static str, took: Duration) {
        self.count(REQUESTS, &[("protocol", protocol.name()), ("outcome", outcome)], 1);
        if matches!(outcome, "ok" | "partial") {
            let labels = vec![Label::from_static_parts("protocol", protocol.name())];
            self.recorder.register_histogram(&key(ACK_SECONDS, labels), &METADATA).record(took.as_secs_f64());
        }
    }

    /// Spans have been acknowledged, or reported as not taken.
    pub(crate) fn spans(&self, outcome: &tracelake::IngestOutcome) {
        self.count(ACCEPTED, &[], outcome.spans_accepted);
        for reason in RejectReason::ALL {
            match outcome.rejections.count(reason) {
                0 => {}
                spans => self.count(REJECTED, &[("reason", reason.name())], spans),
            }
        }
    }

    /// A lookup has been answered.
    pub(crate) fn looked_up(&self, outcome: &'static str, took: Duration) {
        self.count(LOOKUPS, &[("outcome", outcome)], 1);
        self.recorder
            .register_histogram(&key(LOOKUP_SECONDS, Vec::new()), &METADATA)
            .record(took.as_secs_f64());
    }

    /// A search has been answered.
    pub(crate) fn searched(&self, outcome: &'static str, took: Duration) {
        self.count(SEARCHES, &[("outcome", outcome)], 1);
        self.recorder
            .register_histogram(&key(SEARCH_SECONDS, Vec::new()), &METADATA)
            .record(took.as_secs_f64());
    }

    /// A list of services, operations, attributes or values has been answered.
    pub(crate) fn listed(&self, outcome: &'static str, took: Duration) {
        self.count(LISTINGS, &[("outcome", outcome)], 1);
        self.recorder
            .register_histogram(&key(LISTING_SECONDS, Vec::new()), &METADATA)
            .record(took.as_secs_f64());
    }

    /// Sets a number that is read rather than counted.
    pub(crate) fn gauge(&self, name: String, help: &str, value: f64) {
        self.recorder.describe_gauge(name.clone().into(), None, help.to_owned().into());
        self.recorder.register_gauge(&Key::from_name(name), &METADATA).set(value);
    }

    /// The same of a number that only grows. Of two who read it at once the one who is late changes nothing.
    fn total(&self, name: String, help: &str, value: u64) {
        self.recorder.describe_counter(name.clone().into(), None, help.to_owned().into());
        self.recorder.register_counter(&Key::from_name(name), &METADATA).absolute(value);
    }

    /// Each number in the store's status as `tracelake_store_…`, named by its path: a counter if it only
    /// grows, else a gauge.
    pub(crate) fn store_gauges(&self, status: &serde_json::Value) {
        self.store_gauge(STORE, status);
    }

    fn store_gauge(&self, name: &str, value: &serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                for (member, value) in members {
                    self.store_gauge(&format!("{name}_{member}"), value);
                }
            }
            serde_json::Value::Number(number) => {
                let help = "A number of the store's status, as /api/v1/status gives it.";
                match number.as_u64().filter(|_| is_store_total(name)) {
                    Some(total) => self.total(name.to_owned(), help, total),
                    None => self.gauge(name.to_owned(), help, number.as_f64().unwrap_or(f64::NAN)),
                }
            }
            _ => {}
        }
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds recorded latencies into their histograms, which otherwise wait for somebody to look.
    pub(crate) fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

static METADATA: Metadata<'static> = Metadata::new("tracelake", Level::INFO, None);

#[cfg(test)]
mod tests;
