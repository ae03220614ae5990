//! Starting and stopping servers, talking to them, and the spans that are sent.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
use prost::Message;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracelake_server::{Addresses, ExitReason, ServeError, Server, Settings};

pub(crate) struct TestServer {
    pub(crate) addresses: Addresses,
    pub(crate) folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<ExitReason, ServeError>>,
    http1: Client<HttpConnector, Full<Bytes>>,
    http2: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// A gRPC answer, taken apart.
#[derive(Debug)]
pub(crate) struct GrpcAnswer {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) headers: HeaderMap,
    /// `google.rpc.Status` of an error with details.
    pub(crate) details: Option<Vec<u8>>,
    pub(crate) response: Option<ExportTraceServiceResponse>,
}

pub(crate) fn settings(folder: &tempfile::TempDir) -> Settings {
    let mut settings = Settings::default();
    let any_port = "127.0.0.1:0".parse().expect("an address");
    settings.data_dir = folder.path().join("data");
    settings.otlp_grpc_addr = any_port;
    settings.otlp_http_addr = any_port;
    settings.api_addr = any_port;
    settings
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), change).await
    }

    /// Starts on a store that may be there already; returns once it is ready.
    pub(crate) async fn start_in(folder: tempfile::TempDir, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings(&folder);
        change(&mut settings);
        let server = Server::bind(settings).await.expect("bound");
        let addresses = server.addresses();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let running = tokio::spawn(server.run(
            async {
                stopped.await.ok();
            },
            |_| ready.send(()).expect("awaited"),
        ));
        if is_ready.await.is_err() {
            panic!("not ready: {:?}", running.await);
        }
        Self {
            addresses,
            folder,
            stop,
            running,
            http1: Client::builder(TokioExecutor::new()).build_http(),
            http2: Client::builder(TokioExecutor::new()).http2_only(true).build_http(),
        }
    }

    /// Asks it to stop, and returns how it ended, with its folder.
    pub(crate) async fn stop(self) -> (ExitReason, tempfile::TempDir) {
        self.stop.send(()).expect("running");
        (self.running.await.expect("no panic").expect("stopped"), self.folder)
    }

    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> Answer {
        answer(self.http1.request(request).await.expect("an answer")).await
    }

    pub(crate) fn api_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.api)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, &self.api_url(path), headers, Bytes::new()).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(request.body(Full::new(body.into())).expect("a request")).await
    }

    /// `POST /v1/traces`.
    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let url = format!("http://{}/v1/traces", self.addresses.otlp_http);
        self.send(Method::POST, &url, headers, body).await
    }

    pub(crate) async fn post_protobuf(&self, body: impl Into<Bytes>) -> Answer {
        self.post(&[("content-type", "application/x-protobuf")], body).await
    }

    /// A gRPC call with its body as it is.
    pub(crate) async fn grpc_raw(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> GrpcAnswer {
        let url = format!("http://{}{path}", self.addresses.otlp_grpc);
        let mut request =
            Request::post(url).header("te", "trailers").header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        grpc_answer(answer(self.http2.request(request).await.expect("an answer")).await)
    }

    pub(crate) async fn export(&self, headers: &[(&str, &str)], message: &[u8]) -> GrpcAnswer {
        self.grpc_raw(EXPORT, headers, framed(0, message)).await
    }

    /// The trace's spans as the API answers them in protobuf.
    pub(crate) async fn trace(&self, id: &str) -> Option<Vec<Span>> {
        let answer =
            self.get_with(&format!("/api/v1/traces/{id}"), &[("accept", "application/x-protobuf")]).await;
        match answer.status {
            StatusCode::NOT_FOUND => None,
            StatusCode::OK => Some(spans(&TracesData::decode(answer.body).expect("protobuf"))),
            status => panic!("{status}: {:?}", answer.body),
        }
    }

    /// One number of /metrics.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let text = String::from_utf8(self.get("/metrics").await.body.to_vec()).expect("text");
        let value = text.lines().find_map(|other| other.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{line} is not in\n{text}")).parse().expect("a number")
    }

    /// After a start: waits until what is known of segments was read in advance.
    pub(crate) async fn is_loaded(&self) {
        self.metric_becomes("tracelake_store_caches_loading", |loading| loading == 0.0).await;
    }

    /// Waits until a number of /metrics is what it should become.
    pub(crate) async fn metric_becomes(&self, line: &str, expected: impl Fn(f64) -> bool) {
        for _ in 0..600 {
            if expected(self.metric(line).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{line} stays {}", self.metric(line).await);
    }
}

pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

async fn answer(response: http::Response<hyper::body::Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole answer");
    let trailers = body.trailers().cloned().unwrap_or_default();
    Answer { status: parts.status, headers: parts.headers, body: body.to_bytes(), trailers }
}

fn grpc_answer(answer: Answer) -> GrpcAnswer {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let text = |name: &str| {
        answer.headers.get(name).or(answer.trailers.get(name)).map(|value| value.to_str().expect("text"))
    };
    let code = text("grpc-status").expect("a status").parse().expect("a number");
    let message = text("grpc-message").unwrap_or_default().replace("%20", " ");
    let details = text("grpc-status-details-bin").map(base64);
    let response = (code == 0).then(|| {
        let prefix = answer.body.first_chunk::<5>().expect("a message");
        assert_eq!(prefix[0], 0, "not compressed");
        assert_eq!(
            u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize,
            answer.body.len() - 5
        );
        ExportTraceServiceResponse::decode(&answer.body[5..]).expect("a response")
    });
    GrpcAnswer { code, message, details, response, headers: answer.headers }
}

/// Base64 without padding, as gRPC headers carry bytes.
fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("no base64: {text}"),
    };
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::from(value(byte));
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// A gRPC message with its prefix.
pub(crate) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut framed = vec![flag];
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(message);
    framed
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("in memory")
}

/// 2023-11-14T22:13:20Z.
pub(crate) const INSTANT: u64 = 1_700_000_000_000_000_000;

/// A span of a trace; both IDs end in the numbers given.
pub(crate) fn span(trace: u64, span: u64) -> Span {
    Span {
        trace_id: [&[0xab; 8][..], &trace.to_be_bytes()].concat(),
        span_id: span.to_be_bytes().to_vec(),
        name: format!("span {span}"),
        kind: 2,
        start_time_unix_nano: INSTANT,
        end_time_unix_nano: INSTANT + 1_000_000,
        attributes: vec![attribute("http.route", Value::StringValue("/cart".to_owned()))],
        ..Span::default()
    }
}

pub(crate) fn trace_id(trace: u64) -> String {
    format!("abababababababab{trace:016x}")
}

pub(crate) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Arrays in arrays.
pub(crate) fn nested(depth: usize) -> Value {
    let mut value = Value::IntValue(1);
    for _ in 0..depth {
        value = Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(value) }] });
    }
    value
}

/// A request with these spans, of one service.
pub(crate) fn request(spans: Vec<Span>) -> Vec<u8> {
    let resource = Resource {
        attributes: vec![attribute("service.name", Value::StringValue("shop".to_owned()))],
        ..Resource::default()
    };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

pub(crate) fn spans(data: &TracesData) -> Vec<Span> {
    let scopes = data.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| scope.spans.iter().cloned()).collect()
}

/// Span names of a trace with how often each is there.
pub(crate) fn names(spans: &[Span]) -> HashMap<&str, usize> {
    let mut names = HashMap::new();
    for span in spans {
        *names.entry(span.name.as_str()).or_default() += 1;
    }
    names
}

/// One span as OTLP JSON.
pub(crate) fn json_request(trace: u64, span: u64) -> String {
    let id = trace_id(trace).to_uppercase();
    serde_json::json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": id,
        "spanId": format!("{span:016x}"),
        "name": format!("span {span}"),
        "startTimeUnixNano": INSTANT.to_string(),
        "endTimeUnixNano": INSTANT + 1,
        "kind": 2,
        "someFieldOfTheFuture": {"a": [1, 2]},
    }]}]}]})
    .to_string()
}
