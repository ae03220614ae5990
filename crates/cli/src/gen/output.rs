//! Workloads that are not sent: to a file, or nowhere; and the file of trace IDs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracelake::otlp::{DecodeLimits, Decoder, JsonEncoder};

use super::report::Report;
use super::{GenArgs, Source};
use crate::otlp_file::{Compression, Format, MessageWriter};
use crate::outcome::Failure;

/// Where the workload goes if it is not sent.
#[derive(Debug)]
pub(super) enum Output {
    File { path: PathBuf, writer: Box<MessageWriter> },
    Nowhere,
}

impl Output {
    /// `None` if it is to be sent.
    pub(super) fn of(args: &GenArgs) -> Result<Option<Self>, Failure> {
        if args.dry_run {
            return Ok(Some(Self::Nowhere));
        }
        let Some(path) = &args.output else { return Ok(None) };
        let (format, compression) = (Format::of_path(path), Compression::of_path(path));
        // A device or a pipe is written to as it is; only a file can appear under its name at the end.
        let is_special = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        let writer = if is_special {
            File::options()
                .write(true)
                .open(path)
                .and_then(|file| MessageWriter::stream(file, format, compression))
        } else {
            MessageWriter::create(path, format, compression)
        };
        let writer = Box::new(writer.map_err(|error| file_failure(path, &error))?);
        Ok(Some(Self::File { path: path.clone(), writer }))
    }

    pub(super) async fn run(self, source: Source) -> Result<Report, Failure> {
        tokio::task::spawn_blocking(move || self.write(source))
            .await
            .map_err(|error| Failure::Failed(format!("the generator stopped: {error}")))?
    }

    fn write(mut self, mut source: Source) -> Result<Report, Failure> {
        let begun = Instant::now();
        let (mut spans, mut requests, mut raw_bytes) = (0, 0, 0);
        let mut json = JsonRequests::new();
        while let Some(request) = source.next()? {
            spans += u64::from(request.spans);
            requests += 1;
            raw_bytes += request.body.len() as u64;
            if let Self::File { path, writer } = &mut self {
                let written = match writer.format() {
                    Format::Protobuf => writer.write(&request.body),
                    Format::Jsonl => writer.write(&json.convert(&request.body)?),
                };
                written.map_err(|error| file_failure(path, &error))?;
            }
        }
        source.finish()?;
        if let Self::File { path, writer } = self {
            writer.finish().map_err(|error| file_failure(&path, &error))?;
        }
        let elapsed = begun.elapsed();
        Ok(Report {
            spans,
            traces: source.traces,
            requests,
            raw_bytes,
            elapsed,
            sent: None,
            rejected_spans: 0,
        })
    }
}

/// Turns requests from protobuf into OTLP JSON.
#[derive(Debug)]
pub(super) struct JsonRequests {
    decoder: Decoder,
    limits: DecodeLimits,
}

impl JsonRequests {
    pub(super) fn new() -> Self {
        Self { decoder: Decoder::new(), limits: DecodeLimits::default() }
    }

    pub(super) fn convert(&mut self, body: &[u8]) -> Result<Bytes, Failure> {
        let decoded = self.decoder.decode_protobuf(body, &self.limits).map_err(|error| {
            Failure::Failed(format!("a generated request cannot be written as JSON: {error}"))
        })?;
        let batch = Arc::new(decoded.batch);
        let rows = (0..batch.len() as u32).map(|row| (0, row)).collect();
        let mut text = Vec::with_capacity(3 * body.len());
        for chunk in JsonEncoder::new([batch], rows) {
            text.extend_from_slice(&chunk);
        }
        Ok(text.into())
    }
}

/// The file of trace IDs and their numbers of spans.
#[derive(Debug)]
pub(super) struct IdsFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl IdsFile {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let out = File::create(path).map_err(|error| file_failure(path, &error))?;
        Ok(Self { path: path.to_owned(), out: BufWriter::new(out) })
    }

    pub(super) fn write(&mut self, traces: &[([u8; 16], u32)]) -> Result<(), Failure> {
        let mut line = String::with_capacity(64);
        for (trace_id, spans) in traces {
            line.clear();
            push_hex(&mut line, trace_id);
            line.push_str(&format!(" {spans}\n"));
            self.out.write_all(line.as_bytes()).map_err(|error| file_failure(&self.path, &error))?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| file_failure(&self.path, &error))
    }
}

/// Appends `bytes` in hexadecimal.
pub(super) fn push_hex(into: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        into.push(char::from(DIGITS[usize::from(byte >> 4)]));
        into.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// A file that cannot be read or written.
pub(super) fn file_failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}
