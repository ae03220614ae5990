//! `TraceService/Export` over gRPC with the request as bytes: the message is already encoded, so
//! neither side of the call goes through generated structs.

use std::time::Duration;

use ::http::uri::PathAndQuery;
use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{BufferSettings, Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tracelake::ErrorKind;

use super::http::{causes, url};
use super::otlp::Attempt;
use super::wire::{PartialSuccess, partial_success, retry_delay};
use super::{ClientError, Compression};

const EXPORT: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");

/// One HTTP/2 connection to one server.
#[derive(Debug, Clone)]
pub(super) struct GrpcConnection {
    channel: Channel,
    endpoint: String,
    compression: Option<CompressionEncoding>,
    tenant: Option<MetadataValue<Ascii>>,
}

impl GrpcConnection {
    /// Connects with the first request.
    pub(super) fn new(
        endpoint: &str,
        compression: Compression,
        tenant: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let refuse = |reason: String| ClientError::Endpoint { endpoint: endpoint.to_owned(), reason };
        let uri = url(endpoint, "")?;
        let tenant =
            tenant.map(MetadataValue::try_from).transpose().map_err(|error| refuse(error.to_string()))?;
        let channel = Endpoint::from(uri)
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .tcp_nodelay(true)
            .connect_lazy();
        let compression = match compression {
            Compression::None => None,
            Compression::Gzip => Some(CompressionEncoding::Gzip),
            Compression::Zstd => Some(CompressionEncoding::Zstd),
        };
        Ok(Self { channel, endpoint: endpoint.to_owned(), compression, tenant })
    }

    /// Sends one request once.
    pub(super) async fn attempt(&self, body: Bytes) -> Attempt {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        if let Some(encoding) = self.compression {
            grpc = grpc.send_compressed(encoding);
        }
        if let Err(error) = grpc.ready().await {
            return Attempt::Retry { after: None, error: self.unreachable(causes(&error)) };
        }
        let message_bytes = body.len();
        let mut request = Request::new(body);
        if let Some(tenant) = &self.tenant {
            request.metadata_mut().insert("x-scope-orgid", tenant.clone());
        }
        match grpc.unary(request, EXPORT, RawCodec { message_bytes }).await {
            Ok(response) => match partial_success(&response.into_inner()) {
                Ok(PartialSuccess { rejected_spans, message }) => Attempt::Acked { rejected_spans, message },
                Err(error) => Attempt::Failed(ClientError::Malformed {
                    endpoint: self.endpoint.clone(),
                    reason: error.to_string(),
                }),
            },
            Err(status) => self.failed(&status),
        }
    }

    fn failed(&self, status: &Status) -> Attempt {
        // A status with a cause was made on this side: the connection broke, the server said nothing.
        if let Some(cause) = std::error::Error::source(status) {
            return Attempt::Retry { after: None, error: self.unreachable(causes(cause)) };
        }
        let after = retry_delay(status.details());
        let error = ClientError::Answered {
            endpoint: self.endpoint.clone(),
            status: code_name(status.code()).to_owned(),
            message: status.message().to_owned(),
            kind: kind(status.code(), after.is_some()),
        };
        if is_retryable(status.code(), after.is_some()) {
            Attempt::Retry { after, error }
        } else {
            Attempt::Failed(error)
        }
    }

    fn unreachable(&self, reason: String) -> ClientError {
        ClientError::Unreachable { endpoint: self.endpoint.clone(), reason }
    }
}

/// The codes that OTLP calls retryable; RESOURCE_EXHAUSTED only if the server says when.
fn is_retryable(code: Code, has_retry_info: bool) -> bool {
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => has_retry_info,
        _ => false,
    }
}

fn kind(code: Code, has_retry_info: bool) -> ErrorKind {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => ErrorKind::Invalid,
        Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Forbidden,
        Code::NotFound => ErrorKind::NotFound,
        Code::ResourceExhausted if has_retry_info => ErrorKind::Throttled,
        Code::ResourceExhausted => ErrorKind::TooLarge,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::Unavailable | Code::Aborted | Code::Cancelled | Code::DeadlineExceeded => {
            ErrorKind::Unavailable
        }
        Code::DataLoss => ErrorKind::Corrupt,
        _ => ErrorKind::Internal,
    }
}

/// The code as the gRPC documents spell it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Bytes in, bytes out.
struct RawCodec {
    message_bytes: usize,
}

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawEncoder;
    type Decoder = RawDecoder;

    fn encoder(&mut self) -> RawEncoder {
        RawEncoder { message_bytes: self.message_bytes }
    }

    fn decoder(&mut self) -> RawDecoder {
        RawDecoder
    }
}

struct RawEncoder {
    message_bytes: usize,
}

impl Encoder for RawEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }

    /// Room for the whole message and gRPC's 5 bytes before it: growing in steps would copy it.
    fn buffer_settings(&self) -> BufferSettings {
        let bytes = self.message_bytes + 5;
        BufferSettings::new(bytes, bytes)
    }
}

struct RawDecoder;

impl Decoder for RawDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
mod tests;
