//! What a run came to, as text for people and as JSON for programs.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;

use super::histogram::Histogram;
use crate::time::grouped;

/// What must be given again, beside the other options, for the same spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct MadeWith {
    pub(super) seed: u64,
    pub(super) end_unix_nano: u64,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Report {
    /// Spans that were generated.
    pub(super) spans: u64,
    /// Traces that were begun.
    pub(super) traces: u64,
    /// Requests or messages.
    pub(super) requests: u64,
    /// Their protobuf bytes, before compression.
    pub(super) raw_bytes: u64,
    /// From the first request's making to the last answer.
    pub(super) elapsed: Duration,
    /// What was sent, if anything was.
    pub(super) sent: Option<Sent>,
    /// Spans that the server said it will not take.
    pub(super) rejected_spans: u64,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Sent {
    /// Spans in requests that were acknowledged, the rejected ones included.
    pub(super) acked_spans: u64,
    /// Protobuf bytes of those requests, before compression.
    pub(super) acked_bytes: u64,
    /// From a request's first attempt to its acknowledgement.
    pub(super) latency: Histogram,
    /// Requests that were sent again.
    pub(super) retries: u64,
    /// Requests that were given up.
    pub(super) failed_requests: u64,
    /// The first reason for which one was.
    pub(super) first_failure: Option<String>,
    /// The first partial success' words.
    pub(super) first_message: Option<String>,
}

impl Report {
    /// Spans that nobody acknowledged.
    pub(super) fn lost_spans(&self) -> u64 {
        self.sent.as_ref().map_or(0, |sent| self.spans - sent.acked_spans)
    }

    fn seconds(&self) -> f64 {
        self.elapsed.as_secs_f64().max(1e-9)
    }

    pub(super) fn print(&self, made_with: MadeWith, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer(&mut out, &self.json(made_with))?;
            writeln!(out)
        } else {
            self.text(&mut out)?;
            let MadeWith { seed, end_unix_nano } = made_with;
            writeln!(out, "made with --seed {seed} --end {end_unix_nano}")
        }
    }

    fn json(&self, made_with: MadeWith) -> serde_json::Value {
        let (spans, bytes) = self.done();
        let mut report = json!({
            "seed": made_with.seed,
            "end_unix_nano": made_with.end_unix_nano,
            "spans": self.spans,
            "traces": self.traces,
            "requests": self.requests,
            "raw_bytes": self.raw_bytes,
            "seconds": self.seconds(),
            "spans_per_second": spans as f64 / self.seconds(),
            "mb_per_second": bytes as f64 / 1e6 / self.seconds(),
        });
        if let (Some(sent), Some(members)) = (&self.sent, report.as_object_mut()) {
            members.insert("acked_spans".into(), json!(sent.acked_spans));
            members.insert("rejected_spans".into(), json!(self.rejected_spans));
            members.insert("lost_spans".into(), json!(self.lost_spans()));
            members.insert("retries".into(), json!(sent.retries));
            members.insert("failed_requests".into(), json!(sent.failed_requests));
            members.insert("first_failure".into(), json!(sent.first_failure));
            members.insert("first_message".into(), json!(sent.first_message));
            members.insert("ack_ms".into(), latency_json(&sent.latency));
        }
        report
    }

    /// Spans and bytes that count for the rates: what was acknowledged, or generated if nothing is sent.
    fn done(&self) -> (u64, u64) {
        self.sent.as_ref().map_or((self.spans, self.raw_bytes), |sent| (sent.acked_spans, sent.acked_bytes))
    }

    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        let (spans, bytes) = self.done();
        writeln!(
            out,
            "{} spans of {} traces in {} requests, {:.1} MB of OTLP protobuf, in {:.2} s",
            grouped(self.spans),
            grouped(self.traces),
            grouped(self.requests),
            self.raw_bytes as f64 / 1e6,
            self.seconds()
        )?;
        writeln!(
            out,
            "{} spans/s, {:.1} MB/s",
            grouped((spans as f64 / self.seconds()) as u64),
            bytes as f64 / 1e6 / self.seconds()
        )?;
        let Some(sent) = &self.sent else { return Ok(()) };
        writeln!(out, "acknowledged after {}", latency_text(&sent.latency))?;
        writeln!(
            out,
            "retries {}, rejected {}, lost {}",
            grouped(sent.retries),
            grouped(self.rejected_spans),
            grouped(self.lost_spans())
        )?;
        if let Some(failure) = &sent.first_failure {
            writeln!(out, "{} requests given up, the first: {failure}", grouped(sent.failed_requests))?;
        }
        if let Some(message) = &sent.first_message {
            writeln!(out, "the server said: {message}")?;
        }
        Ok(())
    }
}

/// Percentiles in milliseconds.
pub(super) fn latency_json(latency: &Histogram) -> serde_json::Value {
    json!({
        "count": latency.count(),
        "p50": latency.percentile_ms(50.0),
        "p90": latency.percentile_ms(90.0),
        "p95": latency.percentile_ms(95.0),
        "p99": latency.percentile_ms(99.0),
        "max": latency.max_ms(),
    })
}

/// Percentiles for people.
pub(super) fn latency_text(latency: &Histogram) -> String {
    format!(
        "p50 {:.2} ms, p90 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        latency.percentile_ms(50.0),
        latency.percentile_ms(90.0),
        latency.percentile_ms(95.0),
        latency.percentile_ms(99.0),
        latency.max_ms()
    )
}
