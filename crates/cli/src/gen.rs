//! `tracelake gen`: a realistic workload from a seed, to a file or to any OTLP endpoint, and the
//! load of lookups that goes with it.
//!
//! The same seed, options and version give the same bytes on any 64-bit machine, however many
//! connections send them; `--end` belongs to the options, as its default is now. Without a seed each
//! run has one of its own: IDs that come again with other times would look like damaged traces. The
//! report says which. The workload is the program's own invention and no recording: what is true of
//! it need not be true of your services.

mod draw;
mod exceptions;
mod histogram;
mod lookup;
mod output;
pub(crate) mod parse;
mod plan;
mod report;
mod send;
mod shop;
mod template;
mod trace;
mod wire;
mod workload;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tracelake::TenantId;

use crate::client::{Compression, Protocol, TraceFormat};
use crate::outcome::{Failure, Outcome};
use crate::time::parse_time;
use workload::{Workload, WorkloadOptions};

/// Arguments of `tracelake gen`.
#[derive(Debug, clap::Args)]
pub(crate) struct GenArgs {
    /// Spans to make, exactly
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    spans: Option<u64>,
    /// Begin no more traces after this time, such as 30s or 5m; those that have begun are ended, without
    /// keeping to --rate [default: after 100000 spans]
    #[arg(long, alias = "duration-run", value_name = "DURATION", value_parser = parse::duration)]
    run_for: Option<Duration>,
    /// The same seed, --spans and --end make the same spans [default: another one each time, which
    /// the report names]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The span of time over which traces begin
    #[arg(long, alias = "duration", value_name = "DURATION", default_value = "1h", value_parser = parse::duration)]
    span_of_time: Duration,
    /// Where that span ends, in RFC 3339 or as a number since 1970 [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    end: Option<u64>,
    /// Spans of one request
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch_spans: u32,

    /// Write to a file: OTLP JSON lines (.jsonl) or protobuf messages behind their base-128 lengths
    /// (.binpb), compressed with .gz or .zst behind that
    #[arg(long, value_name = "FILE", conflicts_with_all = ["endpoint", "dry_run"])]
    output: Option<PathBuf>,
    /// Only make the spans, and say how fast
    #[arg(long, conflicts_with = "endpoint")]
    dry_run: bool,
    /// Send to this OTLP endpoint [default: http://127.0.0.1:4318, or :4317 for gRPC]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// How to send
    #[arg(long, value_enum, default_value_t = Protocol::Http)]
    protocol: Protocol,
    /// Compression of requests
    #[arg(long, value_enum, default_value_t = Compression::None)]
    compression: Compression,
    /// Connections, each with one request at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Spans to send in a second, at most [default: as fast as possible]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// How long one request is tried, as OTLP says what may be tried again
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse::duration)]
    retry_for: Duration,
    /// Send as this tenant, and look up as it
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantId>,

    /// Append to this file what was sent and acknowledged, a line each before and after a request:
    /// "sent N ID..." and "acked N ID..." (or "failed N"), ID being TRACE:SPAN
    #[arg(long, value_name = "FILE")]
    ack_log: Option<PathBuf>,
    /// Write every trace ID and its number of spans to this file, a line each
    #[arg(long, value_name = "FILE")]
    ids_out: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,

    /// Make no spans: look up traces of a file that --ids-out wrote, check their numbers of spans,
    /// and print how long each lookup took
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "endpoint", "dry_run", "spans", "run_for"])]
    lookup_ids: Option<PathBuf>,
    /// The API to look up at
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", requires = "lookup_ids")]
    api: String,
    /// Traces to look up, chosen by the seed, each once
    #[arg(long, value_name = "N", default_value_t = 2_000, requires = "lookup_ids")]
    lookups: usize,
    /// Other traces to look up before, which do not count
    #[arg(long, value_name = "N", default_value_t = 200, requires = "lookup_ids")]
    lookup_warmup: usize,
    /// IDs of no trace to look up after
    #[arg(long, value_name = "N", default_value_t = 0, requires = "lookup_ids")]
    lookup_unknown: usize,
    /// The encoding to ask for
    #[arg(long, value_enum, default_value_t = TraceFormat::Json, requires = "lookup_ids")]
    lookup_format: TraceFormat,
}

/// Spans if nothing says how many.
const SPANS_DEFAULT: u64 = 100_000;
/// Spans that fill the span of time of a run whose number of spans is not known.
const SPANS_A_SECOND_NOMINAL: u64 = 100_000;

/// Makes the workload, or looks traces up.
///
/// # Errors
/// If the arguments cannot be used, a file cannot be written, or nothing could be sent at all.
/// [`Outcome::Partly`] is a run in which spans were lost or rejected, or traces not found whole.
pub(crate) async fn run(args: GenArgs) -> Result<Outcome, Failure> {
    let seed = args.seed.unwrap_or_else(random_seed);
    if let Some(ids) = &args.lookup_ids {
        return lookup::run(&args, seed, ids).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let end_unix_nano = args.end.map_or_else(now_unix_nano, Ok)?;
    let made_with = report::MadeWith { seed, end_unix_nano };
    let source = Source::new(&args, made_with, Arc::clone(&stop))?;
    let interrupted = tokio::spawn(stop_on_interrupt(Arc::clone(&stop)));
    let report = match output::Output::of(&args)? {
        Some(output) => output.run(source).await?,
        None => send::run(&args, source).await?,
    };
    interrupted.abort();
    report.print(made_with, args.json).map_err(Failure::Output)?;
    Ok(Outcome::partly_if(report.lost_spans() > 0 || report.rejected_spans > 0))
}

/// Of 32 bits: it is to be typed again, and read from JSON by those who have only doubles.
fn random_seed() -> u64 {
    u64::from(SmallRng::from_os_rng().random::<u32>())
}

/// The first interrupt lets the run end in order, with a report; the next one ends the process.
async fn stop_on_interrupt(stop: Arc<AtomicBool>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.store(true, Ordering::Relaxed);
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(130);
    }
}

/// The workload as a run draws on it: until it has all spans, its time is over, or it is stopped.
#[derive(Debug)]
struct Source {
    workload: Workload,
    ids: Option<output::IdsFile>,
    stop: Arc<AtomicBool>,
    run_for: Option<Duration>,
    begun: Option<Instant>,
    stopped: bool,
    traces: u64,
}

impl Source {
    fn new(
        args: &GenArgs,
        report::MadeWith { seed, end_unix_nano }: report::MadeWith,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let window_nanos = u64::try_from(args.span_of_time.as_nanos()).unwrap_or(u64::MAX);
        let spans = match (args.spans, args.run_for) {
            (Some(spans), _) => Some(spans),
            (None, Some(_)) => None,
            (None, None) => Some(SPANS_DEFAULT),
        };
        let seconds = args.run_for.unwrap_or_default().as_secs().max(1);
        let nominal = args.rate.unwrap_or(SPANS_A_SECOND_NOMINAL).saturating_mul(seconds);
        let workload = Workload::new(WorkloadOptions {
            seed,
            spans: spans.unwrap_or(u64::MAX),
            begin_unix_nano: end_unix_nano.saturating_sub(window_nanos),
            end_unix_nano,
            spans_of_time: spans.unwrap_or(nominal),
            batch_spans: args.batch_spans as usize,
        });
        let ids = args.ids_out.as_deref().map(output::IdsFile::create).transpose()?;
        Ok(Self { workload, ids, stop, run_for: args.run_for, begun: None, stopped: false, traces: 0 })
    }

    /// The next request. After the time is over those follow whose traces have begun, so that every
    /// trace is whole.
    fn next(&mut self) -> Result<Option<workload::GeneratedRequest>, Failure> {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let over = self.run_for.is_some_and(|run_for| begun.elapsed() >= run_for);
        if !self.stopped && (over || self.stop.load(Ordering::Relaxed)) {
            self.stopped = true;
            self.stop.store(true, Ordering::Relaxed);
            self.workload.stop();
        }
        let request = self.workload.next_request();
        if let Some(request) = &request {
            self.traces += request.traces.len() as u64;
            if let Some(ids) = &mut self.ids {
                ids.write(&request.traces)?;
            }
        }
        Ok(request)
    }

    /// Ends the file of trace IDs.
    fn finish(&mut self) -> Result<(), Failure> {
        self.ids.take().map_or(Ok(()), output::IdsFile::finish)
    }
}

fn now_unix_nano() -> Result<u64, Failure> {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .ok_or_else(|| Failure::Failed("the clock shows a time before 1970; give --end".to_owned()))
}

#[cfg(test)]
mod tests;
