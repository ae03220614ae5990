//! `tracelake export`: spans to an OTLP file that `tracelake import`, and other tools, read.

mod remote;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use tracelake::otlp::{DecodeLimits, Decoder, JsonEncoder, ProtobufEncoder};
use tracelake::{ExportSelection, SpanBatch, TimeHint, TraceId, Tracelake};

use super::Source;
use crate::client::{ApiClient, TraceFormat};
use crate::otlp_file::{Compression, Format, MessageWriter};
use crate::outcome::{Failure, Outcome};
use crate::time::{grouped, parse_time};

/// Spans of one message: readers hold a message in memory.
const MESSAGE_SPANS_MAX: usize = 8_192;

/// Flags of `tracelake export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    source: Source,
    /// The file; with .gz or .zst at the end it is compressed [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How spans are written [default: by the file's name, else jsonl]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Spans that start at this time or later: RFC 3339, or a number since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "traces")]
    start: Option<u64>,
    /// Spans that start before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "traces")]
    end: Option<u64>,
    /// These traces, whole
    #[arg(long = "trace", value_name = "ID", num_args = 1..)]
    traces: Vec<TraceId>,
}

/// An export under way.
struct Export {
    writer: MessageWriter,
    spans: u64,
    /// Traces that are not there, or not whole; gaps in a time range.
    incomplete: u64,
}

/// Exports spans.
pub(crate) async fn run(args: ExportArgs) -> Result<Outcome, Failure> {
    if let (Some(start), Some(end)) = (args.start, args.end)
        && start >= end
    {
        return Err(Failure::Usage("--end must be later than --start".to_owned()));
    }
    let writer = open_output(&args).map_err(|error| match &args.output {
        Some(path) => Failure::Failed(format!("{} cannot be written: {error}", path.display())),
        None => Failure::Output(error),
    })?;
    let mut export = Export { writer, spans: 0, incomplete: 0 };
    if let Some(store) = args.source.store.open_existing().await? {
        let exported = export.write_store(&store, &args).await;
        let closed = store.shutdown().await;
        exported?;
        closed?;
    } else if args.traces.is_empty() {
        export = remote::time_range(&args, export).await?;
    } else {
        export.write_traces_of_server(&args).await?;
    }
    if !args.traces.is_empty() && export.spans == 0 {
        return Err(Failure::Failed("none of the traces is there".to_owned()));
    }
    let Export { writer, spans, incomplete } = export;
    writer.finish().map_err(Failure::Output)?;
    // Standard output may be the spans themselves.
    say(&format!("exported {} spans", grouped(spans)));
    Ok(Outcome::partly_if(incomplete > 0))
}

fn open_output(args: &ExportArgs) -> io::Result<MessageWriter> {
    match &args.output {
        Some(path) => {
            let format = args.format.unwrap_or_else(|| Format::of_path(path));
            MessageWriter::create(path, format, Compression::of_path(path))
        }
        None => MessageWriter::stream(io::stdout(), args.format.unwrap_or(Format::Jsonl), Compression::None),
    }
}

/// A line on stderr. If that is gone nobody reads it.
fn say(text: &str) {
    writeln!(io::stderr(), "{text}").ok();
}

impl Export {
    async fn write_store(&mut self, store: &Tracelake, args: &ExportArgs) -> Result<(), Failure> {
        let tenant = args.source.tenant.clone().unwrap_or_default();
        if args.traces.is_empty() {
            let selection = ExportSelection::Starts(args.start.unwrap_or(0)..args.end.unwrap_or(u64::MAX));
            let mut batches = std::pin::pin!(store.export(&tenant, selection));
            while let Some(batch) = batches.next().await {
                self.write(batch?)?;
            }
            return Ok(());
        }
        for id in &args.traces {
            match store.trace(&tenant, *id, TimeHint::default()).await? {
                None => self.note(&format!("trace {id} is not there")),
                Some(trace) => {
                    if let Some(reason) = trace.partial() {
                        self.note(&format!("trace {id} is not whole: {reason}"));
                    }
                    let bytes: Vec<u8> = trace.into_protobuf_chunks().flatten().collect();
                    self.write_protobuf(&bytes)?;
                }
            }
        }
        Ok(())
    }

    async fn write_traces_of_server(&mut self, args: &ExportArgs) -> Result<(), Failure> {
        let client = ApiClient::new(&args.source.api, args.source.tenant.clone())?;
        for id in &args.traces {
            match client.trace(*id, TraceFormat::Protobuf, (None, None)).await? {
                None => self.note(&format!("trace {id} is not there")),
                Some(answer) => {
                    if answer.partial {
                        self.note(&format!("trace {id} is not whole: `tracelake trace {id}` tells why"));
                    }
                    self.write_protobuf(&answer.body)?;
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, text: &str) {
        self.incomplete += 1;
        say(text);
    }

    fn write_protobuf(&mut self, traces: &[u8]) -> Result<(), Failure> {
        let decoded = Decoder::new().decode_protobuf(traces, &DecodeLimits::recovery());
        let decoded = decoded.map_err(|error| Failure::Failed(format!("a trace cannot be read: {error}")))?;
        self.write(decoded.batch)
    }

    fn write(&mut self, batch: SpanBatch) -> Result<(), Failure> {
        let batch = Arc::new(batch);
        let rows = u32::try_from(batch.len())
            .map_err(|_| Failure::Failed("more spans at once than can be written".to_owned()))?;
        let rows: Vec<(u32, u32)> = (0..rows).map(|row| (0, row)).collect();
        for rows in rows.chunks(MESSAGE_SPANS_MAX) {
            let batches = [Arc::clone(&batch)];
            let mut message = Vec::new();
            match self.writer.format() {
                Format::Jsonl => {
                    JsonEncoder::new(batches, rows.to_vec()).for_each(|chunk| message.extend(chunk))
                }
                Format::Protobuf => {
                    ProtobufEncoder::new(batches, rows.to_vec()).for_each(|chunk| message.extend(chunk));
                }
            }
            self.writer.write(&message).map_err(Failure::Output)?;
            self.spans += rows.len() as u64;
        }
        Ok(())
    }
}
