use super::super::tests::{Answered, ScriptedServer, answer};
use super::super::{Ack, OtlpSender, Protocol, SenderOptions};
use super::*;

/// A gRPC frame around `message`.
fn success(message: &[u8]) -> Answered {
    let mut frame = vec![0, 0, 0, 0, message.len() as u8];
    frame.extend_from_slice(message);
    answer(200, &[("content-type", "application/grpc"), ("trailer:grpc-status", "0")], &frame)
}

/// An answer of headers only, as gRPC has it for errors.
fn failure(code: &str, details: &str) -> Answered {
    let headers = [("content-type", "application/grpc"), ("grpc-status", code), ("grpc-message", "because")];
    match details {
        "" => answer(200, &headers, b""),
        _ => answer(200, &[&headers[..], &[("grpc-status-details-bin", details)]].concat(), b""),
    }
}

/// `google.rpc.Status` with a RetryInfo of no delay, in base64.
const RETRY_INFO: &str = "GioKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8=";

async fn send(script: Vec<Answered>) -> (Result<Ack, ClientError>, u64, ScriptedServer) {
    let server = ScriptedServer::start(script, true).await;
    let mut options = SenderOptions::new(server.url());
    options.protocol = Protocol::Grpc;
    options.tenant = Some("acme".parse().expect("a tenant"));
    let mut sender = OtlpSender::new(&options).expect("a usable address");
    let sent = sender.send(Bytes::from_static(b"\x0a\x00")).await;
    (sent, sender.retries(), server)
}

#[tokio::test]
async fn the_message_arrives_as_it_is_and_the_answer_is_read() {
    let (sent, retries, server) = send(vec![success(&[0x0a, 2, 0x08, 3])]).await;
    assert_eq!(sent, Ok(Ack { rejected_spans: 3, message: None }));
    assert_eq!(retries, 0);
    let arrived = server.arrived();
    assert_eq!(arrived[0].uri.path(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!(&arrived[0].body[..], b"\0\0\0\0\x02\x0a\x00");
    assert_eq!(arrived[0].headers["x-scope-orgid"], "acme");
}

#[tokio::test]
async fn codes_that_can_pass_are_sent_again() {
    for code in ["1", "4", "10", "11", "14", "15"] {
        let (sent, retries, _) = send(vec![failure(code, ""), success(b"")]).await;
        assert_eq!(sent, Ok(Ack::default()), "code {code}");
        assert_eq!(retries, 1, "code {code}");
    }
}

#[tokio::test]
async fn resource_exhausted_is_sent_again_only_if_the_server_says_when() {
    let (sent, retries, _) = send(vec![failure("8", RETRY_INFO), success(b"")]).await;
    assert_eq!(sent, Ok(Ack::default()));
    assert_eq!(retries, 1);

    let (sent, retries, _) = send(vec![failure("8", ""), success(b"")]).await;
    let error = sent.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("RESOURCE_EXHAUSTED: because"), "{error}");
    assert_eq!(retries, 0);
}

#[tokio::test]
async fn codes_that_stay_are_not_sent_again() {
    for (code, kind) in
        [("3", ErrorKind::Invalid), ("12", ErrorKind::Unsupported), ("16", ErrorKind::Forbidden)]
    {
        let (sent, retries, _) = send(vec![failure(code, ""), success(b"")]).await;
        assert_eq!(sent.expect_err("an error").kind(), kind, "code {code}");
        assert_eq!(retries, 0, "code {code}");
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let mut options = SenderOptions::new("http://127.0.0.1:1");
    options.protocol = Protocol::Grpc;
    options.retry_for = Duration::ZERO;
    let mut sender = OtlpSender::new(&options).expect("a usable address");
    let error = sender.send(Bytes::new()).await.expect_err("nobody listens on port 1");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}
