//! `tracelake import`: OTLP files into a server or a store.
//!
//! One thread reads, decodes and cuts; several senders wait for acknowledgements; a short queue
//! between them bounds what is in memory. Whatever is not stored in the end is named with its file
//! and line.

mod destination;
mod split;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::{Mutex, mpsc};
use tracelake::{TenantId, limits};

use super::StoreArgs;
use super::import::destination::{Destination, SendError};
use super::import::split::Splitter;
use crate::otlp_file::{Entry, MessageReader};
use crate::outcome::{Failure, Outcome};
use crate::time::grouped;

/// Requests that wait for an acknowledgement at once. An acknowledgement is an fsync away, and one
/// fsync serves all that wait: a few hide it, more only take memory.
const SENDERS: usize = 4;

/// Requests that are read ahead of the senders.
const QUEUED_REQUESTS_MAX: usize = 4;

/// Flags of `tracelake import`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// OTLP JSON lines, or protobuf messages with their length in front; plain, gzip or zstd; - for
    /// standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The OTLP/HTTP port of a running server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4318", conflicts_with = "data_dir")]
    endpoint: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Whose spans they are
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantId>,
}

/// Spans on their way, as one OTLP request.
#[derive(Debug)]
struct Request {
    body: Bytes,
    spans: u64,
    /// `file:line`, or the first and the last of several.
    place: String,
}

/// What has become of everything so far, and the progress bar.
#[derive(Debug)]
struct Progress {
    bar: ProgressBar,
    stored: AtomicU64,
    rejected: AtomicU64,
    /// Lines and requests.
    skipped: AtomicU64,
}

impl Progress {
    fn new(bytes_total: Option<u64>) -> Self {
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(bytes_total, target);
        let template = match bytes_total {
            Some(_) => "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}",
            None => "{spinner} {bytes} {bytes_per_sec} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let none = || AtomicU64::new(0);
        Self { bar, stored: none(), rejected: none(), skipped: none() }
    }

    /// A line on stderr, above the bar.
    fn say(&self, text: &str) {
        // If stderr is gone nobody reads it; the exit code still says that something was left out.
        self.bar.suspend(|| writeln!(io::stderr(), "{text}").ok());
    }

    fn skip(&self, place: &str, reason: &str) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
        self.say(&format!("{place}: skipped: {reason}"));
    }

    fn reject(&self, place: &str, spans: u64, reason: &str) {
        self.rejected.fetch_add(spans, Ordering::Relaxed);
        self.say(&format!("{place}: {reason}"));
    }

    fn store(&self, spans: u64) {
        let stored = self.stored.fetch_add(spans, Ordering::Relaxed) + spans;
        self.bar.set_message(format!("{} spans", grouped(stored)));
    }
}

/// Imports files.
pub(crate) async fn run(args: ImportArgs) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    // All of them before the first is read: a misspelt name must not be found after an hour.
    let inputs = args.files.iter().map(|path| Input::open(path)).collect::<Result<Vec<_>, _>>()?;
    let bytes_total = inputs.iter().map(|input| input.bytes).sum::<Option<u64>>();
    let progress = Arc::new(Progress::new(bytes_total));
    let mut destinations = destination::open(&args, SENDERS).await?;

    let (sender, receiver) = mpsc::channel(QUEUED_REQUESTS_MAX);
    let receiver = Arc::new(Mutex::new(receiver));
    let reader = {
        let progress = Arc::clone(&progress);
        tokio::task::spawn_blocking(move || read_all(inputs, &progress, &sender))
    };
    let senders: Vec<_> = destinations
        .drain(..)
        .map(|destination| tokio::spawn(send_all(destination, Arc::clone(&receiver), Arc::clone(&progress))))
        .collect();
    // The senders have it now: when the last of them gives up, the reader must notice.
    drop(receiver);

    let mut stores = Vec::new();
    let mut failed = None;
    for sender in senders {
        match sender.await {
            Ok((store, result)) => {
                stores.extend(store);
                failed = failed.or(result.err());
            }
            Err(panic) => failed = failed.or(Some(format!("a sender stopped: {panic}"))),
        }
    }
    if let Err(panic) = reader.await {
        failed = failed.or(Some(format!("the reader stopped: {panic}")));
    }
    // They all are one store.
    if let Some(store) = stores.pop() {
        store.shutdown().await?;
    }
    progress.bar.finish_and_clear();
    summarise(&progress, args.files.len(), begun, failed)
}

fn summarise(
    progress: &Progress,
    files: usize,
    begun: Instant,
    failed: Option<String>,
) -> Result<Outcome, Failure> {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (stored, rejected, skipped) =
        (count(&progress.stored), count(&progress.rejected), count(&progress.skipped));
    let seconds = begun.elapsed().as_secs_f64();
    let rate = (stored as f64 / seconds.max(0.001)) as u64;
    let mut text = format!(
        "imported {} spans from {files} {} in {seconds:.1} s ({} spans/s)",
        grouped(stored),
        if files == 1 { "file" } else { "files" },
        grouped(rate)
    );
    if rejected > 0 {
        text += &format!("; {} {} rejected", grouped(rejected), if rejected == 1 { "span" } else { "spans" });
    }
    if skipped > 0 {
        text += &format!("; {} skipped", grouped(skipped));
    }
    if let Some(reason) = failed {
        return Err(Failure::Failed(format!("{reason}; before that, {text}")));
    }
    writeln!(io::stdout(), "{text}").map_err(Failure::Output)?;
    Ok(Outcome::partly_if(rejected > 0 || skipped > 0))
}

/// A file that is open.
struct Input {
    name: String,
    reader: Box<dyn Read + Send>,
    /// How large it is; none for a stream.
    bytes: Option<u64>,
}

impl Input {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self { name: "stdin".to_owned(), reader: Box::new(io::stdin()), bytes: None });
        }
        let failed = |error| Failure::Failed(format!("{} cannot be read: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Failure::Failed(format!("{} is a folder", path.display())));
        }
        let bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self { name: path.display().to_string(), reader: Box::new(file), bytes })
    }
}

/// Reads files until the end, or until nobody takes requests any more.
fn read_all(inputs: Vec<Input>, progress: &Progress, requests: &mpsc::Sender<Request>) {
    for Input { name, reader, .. } in inputs {
        let reader = progress.bar.wrap_read(reader);
        let mut messages = match MessageReader::open(reader, limits::IMPORT_LINE_BYTES_MAX) {
            Ok(messages) => messages,
            Err(error) => {
                progress.skip(&name, &error.to_string());
                continue;
            }
        };
        let mut splitter = Splitter::new(|request| requests.blocking_send(request).is_ok());
        loop {
            // The place is known only when the entry has been read, and the entry borrows the reader.
            let is_taken = match messages.next() {
                None => break,
                Some(Entry::Skipped(reason)) => {
                    progress.skip(&format!("{name}:{}", messages.place()), &reason);
                    true
                }
                Some(Entry::Message(payload)) => {
                    let decoded = splitter.decode(payload);
                    let place = format!("{name}:{}", messages.place());
                    match decoded {
                        Ok(decoded) => {
                            if let Some(reason) = decoded.rejections.message() {
                                progress.reject(&place, decoded.rejections.spans, &reason);
                            }
                            splitter.push(&decoded.batch, &place)
                        }
                        Err(reason) => {
                            progress.skip(&place, &reason);
                            true
                        }
                    }
                }
            };
            if !is_taken {
                return;
            }
        }
        if !splitter.finish() {
            return;
        }
    }
}

/// Sends requests until there are no more, or one cannot be sent for a reason that the next one
/// would share. Answers with the store that must be closed, if it is one.
async fn send_all(
    mut destination: Destination,
    requests: Arc<Mutex<mpsc::Receiver<Request>>>,
    progress: Arc<Progress>,
) -> (Option<tracelake::Tracelake>, Result<(), String>) {
    let result = loop {
        let Some(request) = requests.lock().await.recv().await else { break Ok(()) };
        if let Err(reason) = send(&mut destination, request, &progress).await {
            // Nobody takes the rest: without this the other senders would go on against a server
            // that is gone, each until its own patience ends.
            requests.lock().await.close();
            break Err(reason);
        }
    };
    (destination.into_store(), result)
}

/// Sends one request, in halves if it is too large for the server.
async fn send(destination: &mut Destination, request: Request, progress: &Progress) -> Result<(), String> {
    let mut pending = vec![request];
    while let Some(request) = pending.pop() {
        match destination.send(request.body.clone()).await {
            Ok(ack) => {
                progress.store(request.spans.saturating_sub(ack.rejected_spans));
                if ack.rejected_spans > 0 {
                    let reason = ack.message.unwrap_or_else(|| "no reason given".to_owned());
                    progress.reject(&request.place, ack.rejected_spans, &reason);
                }
            }
            Err(SendError::TooLarge(reason)) => match split::halve(&request) {
                Some(halves) => pending.extend(halves),
                None => progress.skip(&request.place, &reason),
            },
            Err(SendError::Refused(reason)) => {
                progress.skip(&request.place, &format!("{} spans: {reason}", request.spans));
            }
            Err(SendError::Lost(reason)) => {
                return Err(format!("stopped at {}: {reason}", request.place));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
