//! The few small messages that answers are made of, as protobuf and as OTLP JSON. Requests are
//! never decoded here: their bytes go to the library as they are.

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(crate) retry_delay: Option<prost_types::Duration>,
}

/// `opentelemetry.proto.collector.trace.v1.ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

/// `opentelemetry.proto.collector.trace.v1.ExportTracePartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

impl RpcStatus {
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!({"code": self.code, "message": self.message}).to_string()
    }
}

impl ExportResponse {
    /// The answer to a request that was taken, whole or in part.
    pub(crate) fn new(rejections: &tracelake::Rejections) -> Self {
        let partial_success = rejections.message().map(|error_message| PartialSuccess {
            rejected_spans: i64::try_from(rejections.spans).unwrap_or(i64::MAX),
            error_message: crate::rejection::capped(error_message),
        });
        Self { partial_success }
    }

    pub(crate) fn to_json(&self) -> String {
        match &self.partial_success {
            None => "{}".to_owned(),
            // A 64-bit integer is a string in protobuf's JSON.
            Some(partial) => serde_json::json!({"partialSuccess": {
                "rejectedSpans": partial.rejected_spans.to_string(),
                "errorMessage": partial.error_message,
            }})
            .to_string(),
        }
    }
}
