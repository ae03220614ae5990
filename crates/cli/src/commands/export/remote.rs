//! A time range from a running server: `GET /api/v1/export`, a stream of OTLP JSON lines.
//!
//! The stream may be larger than memory, so it is read as it is written. A line with `partial` or
//! `error` and no spans is what the server has to say about the others; a stream that breaks off is
//! an error and leaves no file.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::sync::mpsc;
use tracelake::limits;
use tracelake::otlp::{DecodeLimits, Decoder};

use super::{Export, ExportArgs};
use crate::client::ApiClient;
use crate::otlp_file::{Entry, MessageReader, Payload};
use crate::outcome::Failure;
use crate::time::rfc3339;

/// Longest silence between two pieces of the stream.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Pieces that are read ahead of the writer; a piece is what arrived at once, 64 KiB or so.
const QUEUED_PIECES_MAX: usize = 16;

/// Bytes of an answer that is an error.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Writes the spans of a time range.
pub(super) async fn time_range(args: &ExportArgs, export: Export) -> Result<Export, Failure> {
    let response = request(args).await?;
    let (pieces, queue) = mpsc::channel(QUEUED_PIECES_MAX);
    let writer =
        tokio::task::spawn_blocking(move || write_all(Pieces { queue, piece: Bytes::new() }, export));
    forward(response.into_body(), &pieces).await;
    drop(pieces);
    writer.await.map_err(|panic| Failure::Failed(format!("the writer stopped: {panic}")))?
}

async fn request(args: &ExportArgs) -> Result<Response<Incoming>, Failure> {
    // Says what is wrong with an address that cannot be used.
    ApiClient::new(&args.source.api, args.source.tenant.clone())?;
    let base = args.source.api.trim_end_matches('/');
    let scheme = if base.contains("://") { "" } else { "http://" };
    let bounds: Vec<String> = [("start", args.start), ("end", args.end)]
        .into_iter()
        .filter_map(|(name, bound)| Some(format!("{name}={}", rfc3339(bound?))))
        .collect();
    let url = format!("{scheme}{base}/api/v1/export?{}", bounds.join("&"));
    let mut request = Request::get(url.trim_end_matches('?')).header(header::ACCEPT, "application/x-ndjson");
    if let Some(tenant) = &args.source.tenant {
        request = request.header("x-scope-orgid", tenant.as_str());
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::Usage(format!("{base} is no usable address: {error}")))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let unreachable =
        |reason: String| Failure::Failed(format!("no answer from {url}: {reason}; is the server running?"));
    let response = match tokio::time::timeout(SILENCE_MAX, client.request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(unreachable(error.to_string())),
        Err(_) => return Err(unreachable(format!("none within {} s", SILENCE_MAX.as_secs()))),
    };
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = Limited::new(response.into_body(), ERROR_BYTES_MAX).collect().await;
    let said = body.ok().and_then(|body| serde_json::from_slice::<Remark>(&body.to_bytes()).ok());
    let message =
        said.and_then(|said| Some(said.error?.message)).unwrap_or_else(|| "no reason given".to_owned());
    Err(Failure::Failed(format!("{url} answered {status}: {message}")))
}

/// Hands the stream on until it ends, breaks, or nobody reads it.
async fn forward(mut body: Incoming, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let piece = match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_trailers) => continue,
            },
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server fell silent")),
        };
        let is_last = piece.is_err();
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// The stream as blocking code reads it.
struct Pieces {
    queue: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.queue.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let length = into.len().min(self.piece.len());
        into[..length].copy_from_slice(&self.piece[..length]);
        self.piece.advance(length);
        Ok(length)
    }
}

/// What a server says instead of spans, or about them.
#[derive(Debug, Default, Deserialize)]
struct Remark {
    partial: Option<serde_json::Value>,
    error: Option<RemarkError>,
}

#[derive(Debug, Deserialize)]
struct RemarkError {
    message: String,
}

fn write_all(stream: impl Read + Send, mut export: Export) -> Result<Export, Failure> {
    let broken = |reason: String| Failure::Failed(format!("the server's answer breaks off: {reason}"));
    let mut lines =
        MessageReader::open(stream, limits::IMPORT_LINE_BYTES_MAX).map_err(|e| broken(e.to_string()))?;
    let mut decoder = Decoder::new();
    while let Some(entry) = lines.next() {
        let text = match entry {
            Entry::Message(Payload::Json(text)) => text,
            Entry::Message(Payload::Protobuf(_)) => return Err(broken("it is not JSON".to_owned())),
            Entry::Skipped(reason) => return Err(broken(reason)),
        };
        let decoded =
            decoder.decode_json(text, &DecodeLimits::recovery()).map_err(|e| broken(e.to_string()))?;
        if !decoded.batch.is_empty() {
            export.write(decoded.batch)?;
            continue;
        }
        let remark: Remark = serde_json::from_slice(text).unwrap_or_default();
        if let Some(error) = remark.error {
            return Err(broken(error.message));
        }
        if let Some(partial) = remark.partial {
            export.note(&format!("not everything is there: {partial}"));
        }
    }
    Ok(export)
}

#[cfg(test)]
mod tests;
