//! The load of lookups: traces of an earlier run asked for one after the other on one connection,
//! each checked for its number of spans. A time is from the request to the answer's last byte;
//! reading the answer is not in it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngCore, SeedableRng};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tracelake::TraceId;

use super::GenArgs;
use super::histogram::Histogram;
use super::output::file_failure;
use super::report::{latency_json, latency_text};
use crate::client::wire::count_spans;
use crate::client::{ApiClient, ClientError, TraceAnswer, TraceFormat};
use crate::outcome::{Failure, Outcome};
use crate::time::grouped;

/// A trace as `--ids-out` wrote it.
#[derive(Debug, Clone, Copy)]
struct Expected {
    id: TraceId,
    spans: u64,
}

/// Keeps these draws apart from the workload's: with its seed as it is, an ID "of no trace" would be
/// drawn just as the workload drew one of its own.
const LOOKUP_SEED: u64 = 0x6c6f_6f6b_7570_2121;

/// What the lookups came to.
#[derive(Debug)]
struct Findings {
    found: Histogram,
    unknown: Histogram,
    missing: u64,
    wrong: u64,
    partial: u64,
    /// The first trace that was not as expected.
    first: Option<String>,
}

pub(super) async fn run(args: &GenArgs, seed: u64, ids: &Path) -> Result<Outcome, Failure> {
    let mut expected = read_ids(ids)?;
    let mut rng = SmallRng::seed_from_u64(seed ^ LOOKUP_SEED);
    expected.shuffle(&mut rng);
    // The warm-up takes from the end: no trace is in both unless there are too few.
    let lookups = args.lookups.min(expected.len());
    let warmup = args.lookup_warmup.min(expected.len() - lookups);
    let client = ApiClient::new(&args.api, args.tenant.clone())?;
    for trace in expected.iter().rev().take(warmup) {
        client.trace(trace.id, args.lookup_format, (None, None)).await?;
    }
    let mut findings = Findings {
        found: Histogram::new(),
        unknown: Histogram::new(),
        missing: 0,
        wrong: 0,
        partial: 0,
        first: None,
    };
    for trace in expected.iter().take(lookups) {
        let asked = Instant::now();
        let answer = client.trace(trace.id, args.lookup_format, (None, None)).await?;
        findings.found.record(asked.elapsed());
        findings.check(trace, answer.as_ref(), args)?;
    }
    for _ in 0..args.lookup_unknown {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        let Some(id) = TraceId::from_bytes(&bytes) else { continue };
        let asked = Instant::now();
        let answer = client.trace(id, args.lookup_format, (None, None)).await?;
        findings.unknown.record(asked.elapsed());
        if answer.is_some() {
            findings.note(&mut |findings| &mut findings.wrong, format!("{id} was never sent, and is there"));
        }
    }
    findings.print(seed, args.json).map_err(Failure::Output)?;
    Ok(Outcome::partly_if(findings.missing + findings.wrong + findings.partial > 0))
}

fn read_ids(path: &Path) -> Result<Vec<Expected>, Failure> {
    let file = std::fs::File::open(path).map_err(|error| file_failure(path, &error))?;
    let mut expected = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| file_failure(path, &error))?;
        let parsed = line.split_once(' ').and_then(|(id, spans)| {
            Some(Expected { id: id.parse().ok()?, spans: spans.trim().parse().ok()? })
        });
        expected.push(parsed.ok_or_else(|| {
            let line = number + 1;
            Failure::Usage(format!(
                "{}, line {line}: expected a trace ID and a number of spans",
                path.display()
            ))
        })?);
    }
    Ok(expected)
}

impl Findings {
    fn note(&mut self, counter: &mut dyn FnMut(&mut Self) -> &mut u64, what: String) {
        *counter(self) += 1;
        self.first.get_or_insert(what);
    }

    fn check(
        &mut self,
        trace: &Expected,
        answer: Option<&TraceAnswer>,
        args: &GenArgs,
    ) -> Result<(), Failure> {
        let Some(answer) = answer else {
            self.note(&mut |findings| &mut findings.missing, format!("{} was not found", trace.id));
            return Ok(());
        };
        let spans = spans_of(answer, args.lookup_format).map_err(|reason| ClientError::Malformed {
            endpoint: args.api.clone(),
            reason: format!("trace {}: {reason}", trace.id),
        })?;
        if answer.partial {
            self.note(&mut |findings| &mut findings.partial, format!("{} is partial", trace.id));
        } else if spans != trace.spans {
            let what = format!("{} has {spans} spans, expected {}", trace.id, trace.spans);
            self.note(&mut |findings| &mut findings.wrong, what);
        }
        Ok(())
    }

    fn print(&self, seed: u64, json: bool) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            let report = json!({
                "seed": seed,
                "lookups": self.found.count(),
                "lookup_ms": latency_json(&self.found),
                "unknown_ms": latency_json(&self.unknown),
                "missing": self.missing,
                "wrong": self.wrong,
                "partial": self.partial,
                "first": self.first,
            });
            serde_json::to_writer(&mut out, &report)?;
            return writeln!(out);
        }
        writeln!(out, "{} lookups: {}", grouped(self.found.count()), latency_text(&self.found))?;
        if self.unknown.count() > 0 {
            writeln!(out, "{} unknown IDs: {}", grouped(self.unknown.count()), latency_text(&self.unknown))?;
        }
        writeln!(
            out,
            "not found {}, wrong {}, partial {}",
            grouped(self.missing),
            grouped(self.wrong),
            grouped(self.partial)
        )?;
        if let Some(first) = &self.first {
            writeln!(out, "the first: {first}")?;
        }
        writeln!(out, "chosen with --seed {seed}")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TracesData {
    #[serde(default)]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    #[serde(default)]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
struct ScopeSpans {
    #[serde(default)]
    spans: Vec<IgnoredAny>,
}

fn spans_of(answer: &TraceAnswer, format: TraceFormat) -> Result<u64, String> {
    match format {
        TraceFormat::Protobuf => count_spans(&answer.body).map_err(|error| error.to_string()),
        TraceFormat::Json => {
            let data: TracesData = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
            let scopes = data.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            Ok(scopes.map(|scope| scope.spans.len() as u64).sum())
        }
    }
}
