//! Sends the workload: one thread makes requests, every connection sends one at a time, so making
//! the next request overlaps with waiting for the last. The queue between them is bounded.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::histogram::Histogram;
use super::output::{JsonRequests, file_failure, push_hex};
use super::report::{Report, Sent};
use super::{GenArgs, Source};
use crate::client::wire::{MalformedMessage, for_each_span, span_ids};
use crate::client::{Ack, ClientError, OtlpSender, Protocol, SenderOptions};
use crate::outcome::Failure;

/// A request on its way from the generator to a connection.
struct Job {
    number: u64,
    /// Spans of all requests before it, for the rate.
    first_span: u64,
    spans: u32,
    body: Bytes,
}

/// What the generator's thread knows at its end.
struct Generated {
    spans: u64,
    traces: u64,
    requests: u64,
    raw_bytes: u64,
}

/// What all connections share.
struct Run {
    rate: Option<u64>,
    json: bool,
    begun: Instant,
    /// Ends the making of spans.
    stop: Arc<AtomicBool>,
    /// The server is gone: what is left is not tried.
    gone: AtomicBool,
    ack_log: Option<AckLog>,
    queue: tokio::sync::Mutex<mpsc::Receiver<Job>>,
}

impl Run {
    /// Or until nothing more is made: who has ended the run does not wait for what is left of it.
    async fn wait_until(&self, due: Instant) {
        /// How soon that is seen.
        const TICK: Duration = Duration::from_millis(50);
        while !self.stop.load(Ordering::Relaxed) && Instant::now() < due {
            tokio::time::sleep_until(due.min(Instant::now() + TICK).into()).await;
        }
    }
}

/// Where a server listens that was told nothing.
fn default_endpoint(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http | Protocol::HttpJson => "http://127.0.0.1:4318",
        Protocol::Grpc => "http://127.0.0.1:4317",
    }
}

/// Sends everything that `source` has.
///
/// # Errors
/// If nothing could be sent, or a file cannot be written.
pub(super) async fn run(args: &GenArgs, source: Source) -> Result<Report, Failure> {
    let endpoint = args.endpoint.as_deref().unwrap_or(default_endpoint(args.protocol));
    let mut options = SenderOptions::new(endpoint);
    options.protocol = args.protocol;
    options.compression = args.compression;
    options.tenant.clone_from(&args.tenant);
    options.retry_for = args.retry_for;
    let mut senders = Vec::new();
    for _ in 0..args.connections {
        senders.push(OtlpSender::new(&options)?);
    }
    let (into_queue, queue) = mpsc::channel(args.connections as usize + 2);
    let stop = Arc::clone(&source.stop);
    let run = Arc::new(Run {
        rate: args.rate,
        json: args.protocol == Protocol::HttpJson,
        begun: Instant::now(),
        stop,
        gone: AtomicBool::new(false),
        ack_log: args.ack_log.as_deref().map(AckLog::open).transpose()?,
        queue: tokio::sync::Mutex::new(queue),
    });
    let generator = tokio::task::spawn_blocking(move || generate(source, &into_queue));
    let workers: Vec<_> =
        senders.into_iter().map(|sender| tokio::spawn(work(Arc::clone(&run), sender))).collect();
    let mut tally = Tally::new();
    for worker in workers {
        tally.add(worker.await.map_err(stopped)??);
    }
    let elapsed = run.begun.elapsed();
    // If every connection gave up, the generator may wait for room in the queue.
    run.queue.lock().await.close();
    let generated = generator.await.map_err(stopped)??;
    if let (0, Some(error)) = (tally.sent.acked_spans, tally.error) {
        return Err(error.into());
    }
    Ok(Report {
        spans: generated.spans,
        traces: generated.traces,
        requests: generated.requests,
        raw_bytes: generated.raw_bytes,
        elapsed,
        sent: Some(tally.sent),
        rejected_spans: tally.rejected_spans,
    })
}

fn stopped(error: tokio::task::JoinError) -> Failure {
    Failure::Failed(format!("a part of the generator stopped: {error}"))
}

fn generate(mut source: Source, into_queue: &mpsc::Sender<Job>) -> Result<Generated, Failure> {
    let mut generated = Generated { spans: 0, traces: 0, requests: 0, raw_bytes: 0 };
    while let Some(request) = source.next()? {
        let first_span = generated.spans;
        generated.spans += u64::from(request.spans);
        generated.raw_bytes += request.body.len() as u64;
        let job =
            Job { number: generated.requests, first_span, spans: request.spans, body: request.body.into() };
        generated.requests += 1;
        // Nobody is left to send: what follows is made no more; what was made counts as lost.
        if into_queue.blocking_send(job).is_err() {
            break;
        }
    }
    source.finish()?;
    generated.traces = source.traces;
    Ok(generated)
}

/// What connections came to.
struct Tally {
    sent: Sent,
    rejected_spans: u64,
    error: Option<ClientError>,
}

impl Tally {
    fn new() -> Self {
        let sent = Sent {
            acked_spans: 0,
            acked_bytes: 0,
            latency: Histogram::new(),
            retries: 0,
            failed_requests: 0,
            first_failure: None,
            first_message: None,
        };
        Self { sent, rejected_spans: 0, error: None }
    }

    fn add(&mut self, other: Self) {
        self.sent.acked_spans += other.sent.acked_spans;
        self.sent.acked_bytes += other.sent.acked_bytes;
        self.sent.latency.merge(&other.sent.latency);
        self.sent.retries += other.sent.retries;
        self.sent.failed_requests += other.sent.failed_requests;
        self.rejected_spans += other.rejected_spans;
        self.sent.first_failure = self.sent.first_failure.take().or(other.sent.first_failure);
        self.sent.first_message = self.sent.first_message.take().or(other.sent.first_message);
        self.error = self.error.take().or(other.error);
    }

    fn acked(&mut self, job: &Job, latency: Duration, ack: Ack) {
        self.sent.acked_spans += u64::from(job.spans);
        self.sent.acked_bytes += job.body.len() as u64;
        self.sent.latency.record(latency);
        self.rejected_spans += ack.rejected_spans;
        self.sent.first_message = self.sent.first_message.take().or(ack.message);
    }

    fn failed(&mut self, error: ClientError) {
        self.sent.failed_requests += 1;
        self.sent.first_failure.get_or_insert_with(|| error.to_string());
        self.error.get_or_insert(error);
    }
}

/// One connection's work.
async fn work(run: Arc<Run>, mut sender: OtlpSender) -> Result<Tally, Failure> {
    let mut tally = Tally::new();
    loop {
        let job = run.queue.lock().await.recv().await;
        let Some(job) = job else { break };
        if run.gone.load(Ordering::Relaxed) {
            break;
        }
        if let Some(rate) = run.rate {
            run.wait_until(run.begun + Duration::from_secs_f64(job.first_span as f64 / rate as f64)).await;
        }
        let body = if run.json {
            let raw = job.body.clone();
            tokio::task::spawn_blocking(move || JsonRequests::new().convert(&raw))
                .await
                .map_err(stopped)??
        } else {
            job.body.clone()
        };
        if let Some(log) = &run.ack_log {
            log.with_ids("sent", &job)?;
        }
        let sent = Instant::now();
        match sender.send(body).await {
            Ok(ack) => {
                let latency = sent.elapsed();
                if let Some(log) = &run.ack_log {
                    log.with_ids("acked", &job)?;
                }
                tally.acked(&job, latency, ack);
            }
            Err(error) => {
                if let Some(log) = &run.ack_log {
                    log.append(&format!("failed {}\n", job.number))?;
                }
                let gone = matches!(error, ClientError::Unreachable { .. });
                tally.failed(error);
                if gone {
                    run.gone.store(true, Ordering::Relaxed);
                    run.stop.store(true, Ordering::Relaxed);
                    run.queue.lock().await.close();
                    break;
                }
            }
        }
    }
    tally.sent.retries = sender.retries();
    Ok(tally)
}

/// What was sent and acknowledged, as it happens: every line is in the file before what it tells of
/// goes on, so that the log of a client outlives the server that is being killed.
struct AckLog {
    path: PathBuf,
    file: Mutex<File>,
}

impl AckLog {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(|error| file_failure(path, &error))?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    fn with_ids(&self, word: &str, job: &Job) -> Result<(), Failure> {
        let mut line = format!("{word} {}", job.number);
        let written = for_each_span(&job.body, |span| {
            let (trace_id, span_id) = span_ids(span)?;
            line.push(' ');
            push_hex(&mut line, trace_id);
            line.push(':');
            push_hex(&mut line, span_id);
            Ok(())
        });
        written
            .map_err(|error: MalformedMessage| Failure::Failed(format!("a generated request: {error}")))?;
        line.push('\n');
        self.append(&line)
    }

    fn append(&self, line: &str) -> Result<(), Failure> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes()).map_err(|error| file_failure(&self.path, &error))
    }
}
