//! OTLP/gRPC as opentelemetry-proto 1.11 says, with health and reflection.

use prost::Message;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::harness::{EXPORT, TestServer, framed, gzip, request, span, trace_id, zstd};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_every_compression_is_acknowledged_and_read_back() {
    let server = TestServer::start().await;
    let message = |n: u64| request(vec![span(n, 1), span(n, 2)]);
    type Case<'a> = (u64, Vec<(&'a str, &'a str)>, Vec<u8>);
    let cases: [Case<'_>; 7] = [
        (1, vec![], framed(0, &message(1))),
        (2, vec![("grpc-encoding", "identity")], framed(0, &message(2))),
        (3, vec![("grpc-encoding", "gzip")], framed(1, &gzip(&message(3)))),
        (4, vec![("grpc-encoding", "zstd")], framed(1, &zstd(&message(4)))),
        // The flag of a message says whether this one is compressed.
        (5, vec![("grpc-encoding", "gzip")], framed(0, &message(5))),
        (6, vec![("content-type", "application/grpc+proto")], framed(0, &message(6))),
        (7, vec![("grpc-timeout", "5S"), ("x-scope-orgid", "default")], framed(0, &message(7))),
    ];
    for (trace, headers, body) in cases {
        let answer = server.grpc_raw(EXPORT, &headers, body).await;
        assert_eq!(answer.code, 0, "{headers:?}: {}", answer.message);
        assert_eq!(answer.response.expect("a response").partial_success, None);
        assert_eq!(answer.headers["x-tracelake-durability"], "fsync");
        assert_eq!(server.trace(&trace_id(trace)).await.expect("a trace").len(), 2, "{headers:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_turned_down_has_the_code_that_says_whether_to_send_it_again() {
    let server = TestServer::start_with(|settings| {
        settings.request_bytes_max = 10_000;
        settings.request_decoded_bytes_max = 20_000;
        settings.request_spans_max = 10;
    })
    .await;
    let good = request(vec![span(1, 1)]);
    let (invalid, exhausted, unimplemented) = (3, 8, 12);
    let metrics = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    let logs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, i32);
    let cases: Vec<Case<'_>> = vec![
        (EXPORT, vec![], framed(0, &[0xff; 9]), invalid),
        (EXPORT, vec![], framed(0, &good[..good.len() - 1]), invalid),
        (EXPORT, vec![], framed(0, &good)[..20].to_vec(), invalid),
        (EXPORT, vec![], [framed(0, &good), framed(0, &good)].concat(), invalid),
        (EXPORT, vec![], vec![], invalid),
        (EXPORT, vec![("grpc-encoding", "gzip")], framed(1, &good), invalid),
        (EXPORT, vec![("x-scope-orgid", "a/b")], framed(0, &good), invalid),
        // OUT_OF_RANGE would be sent again for ever.
        (EXPORT, vec![], framed(0, &[0; 10_001]), exhausted),
        (EXPORT, vec![], framed(0, &[0; 10_001])[..5].to_vec(), exhausted),
        (EXPORT, vec![("grpc-encoding", "gzip")], framed(1, &gzip(&[0; 20_001])), exhausted),
        (EXPORT, vec![("grpc-encoding", "zstd")], framed(1, &zstd(&[0; 20_001])), exhausted),
        (EXPORT, vec![], framed(0, &request((1..=11).map(|n| span(1, n)).collect())), exhausted),
        (EXPORT, vec![("grpc-encoding", "snappy")], framed(1, &good), unimplemented),
        (metrics, vec![], framed(0, &[]), unimplemented),
        (logs, vec![], framed(0, &[]), unimplemented),
        ("/some.other.Service/Method", vec![], framed(0, &[]), unimplemented),
    ];
    for (path, headers, body, code) in cases {
        let what = format!("{path} {headers:?} with {} bytes", body.len());
        let answer = server.grpc_raw(path, &headers, body).await;
        assert_eq!(answer.code, code, "{what}: {}", answer.message);
        assert!(!answer.message.is_empty(), "{what}");
        assert!(answer.details.is_none(), "{what} must not be sent again");
        assert_eq!(answer.headers["content-type"], "application/grpc", "{what}");
    }
    assert_eq!(server.trace(&trace_id(1)).await, None, "nothing of it was stored");
    assert_eq!(server.metric("tracelake_in_flight_bytes").await, 0.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_only_claims_to_be_compressed_is_held_to_the_decoded_limit() {
    let server = TestServer::start_with(|settings| {
        settings.request_bytes_max = 20_000;
        settings.request_decoded_bytes_max = 10_000;
    })
    .await;
    let message = request((1..=150).map(|n| span(1, n)).collect());
    assert!((10_001..20_000).contains(&message.len()), "{}", message.len());
    for headers in [&[][..], &[("grpc-encoding", "gzip")]] {
        let answer = server.grpc_raw(EXPORT, headers, framed(0, &message)).await;
        assert_eq!(answer.code, 8, "{headers:?}: {}", answer.message);
        assert!(answer.message.contains("request_decoded_bytes_max (10000 bytes)"), "{}", answer.message);
    }
    assert_eq!(server.trace(&trace_id(1)).await, None, "nothing of it was stored");
    server.stop().await;
}

/// `google.rpc.Status` and `google.rpc.RetryInfo`, as far as they are read here.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_can_be_flushed_senders_are_told_when_to_come_again() {
    let server = TestServer::start_with(|settings| {
        settings.generation_bytes_max = 1;
        settings.shutdown_seconds_max = 2;
    })
    .await;
    // Where segments would go stands a file, so each generation stays in memory.
    let segments = server.folder.path().join("data/store/segments");
    assert!(!segments.exists());
    std::fs::write(&segments, "in the way").expect("written");
    let mut taken = 0;
    let answer = loop {
        let answer = server.export(&[], &request(vec![span(1, taken + 1)])).await;
        if answer.code != 0 {
            break answer;
        }
        taken += 1;
        assert!(taken < 100, "memory must not fill without end");
    };
    assert_eq!(answer.code, 14, "{}", answer.message);
    let status = RpcStatus::decode(&answer.details.expect("details")[..]).expect("a status");
    assert_eq!((status.code, status.details.len()), (14, 1));
    assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let info = RetryInfo::decode(&status.details[0].value[..]).expect("RetryInfo");
    assert_eq!(info.retry_delay, Some(prost_types::Duration { seconds: 2, nanos: 0 }));
    assert_eq!(server.trace(&trace_id(1)).await.expect("what was taken is there").len() as u64, taken);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_are_not_taken_are_counted() {
    let server = TestServer::start().await;
    let mut zero = span(1, 2);
    zero.span_id = vec![0; 8];
    let answer = server.export(&[], &request(vec![span(1, 1), zero])).await;
    let partial = answer.response.expect("a response").partial_success.expect("one was rejected");
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("span ID"), "{partial:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_protocol_says_so_when_it_gets_the_other() {
    let server = TestServer::start().await;
    let url = format!("http://{}/v1/traces", server.addresses.otlp_grpc);
    let answer = server.send(http::Method::POST, &url, &[("content-type", "application/json")], "{}").await;
    assert_eq!(answer.status.as_u16(), 505);
    assert!(String::from_utf8_lossy(&answer.body).contains("OTLP/gRPC"), "{:?}", answer.body);

    let url = format!("http://{}{EXPORT}", server.addresses.otlp_http);
    let answer = server.send(http::Method::POST, &url, &[("content-type", "application/grpc")], "").await;
    assert_eq!(answer.headers["grpc-status"], "12");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_whether_spans_are_taken() {
    let server = TestServer::start().await;
    let channel = tonic::transport::Endpoint::new(format!("http://{}", server.addresses.otlp_grpc));
    let channel = channel.expect("a URL").connect().await.expect("connected");
    let mut health = HealthClient::new(channel);
    for service in ["", "opentelemetry.proto.collector.trace.v1.TraceService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(health.check(request).await.expect("an answer").into_inner().status, 1, "{service}");
    }
    let unknown = HealthCheckRequest { service: "other".to_owned() };
    assert_eq!(health.check(unknown).await.expect_err("unknown").code(), tonic::Code::NotFound);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_describes_the_trace_service() {
    let server = TestServer::start().await;
    let channel = tonic::transport::Endpoint::new(format!("http://{}", server.addresses.otlp_grpc));
    let channel = channel.expect("a URL").connect().await.expect("connected");
    let mut reflection = ServerReflectionClient::new(channel);
    let mut ask = async |message_request: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
        let answers =
            reflection.server_reflection_info(futures::stream::iter([request])).await.expect("answers");
        let answer = answers.into_inner().message().await.expect("an answer").expect("one");
        answer.message_response.expect("filled")
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("another answer");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"opentelemetry.proto.collector.trace.v1.TraceService"), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
    assert!(
        !names.iter().any(|name| name.contains("metrics")),
        "what is not served is not described: {names:?}"
    );

    let symbol = MessageRequest::FileContainingSymbol("opentelemetry.proto.trace.v1.Span".to_owned());
    let MessageResponse::FileDescriptorResponse(files) = ask(symbol).await else { panic!("another answer") };
    let file = files.file_descriptor_proto.first().expect("a file");
    let file = prost_types::FileDescriptorProto::decode(&file[..]).expect("a descriptor");
    assert_eq!(file.name(), "opentelemetry/proto/trace/v1/trace.proto");
    server.stop().await;
}
