use std::io::Read;

use super::super::tests::{Answered, ScriptedServer, answer};
use super::*;
use crate::outcome::Failure;

async fn send(
    script: Vec<Answered>,
    change: impl FnOnce(&mut SenderOptions),
) -> (Result<Ack, ClientError>, u64, ScriptedServer) {
    let server = ScriptedServer::start(script, false).await;
    let mut options = SenderOptions::new(server.url());
    change(&mut options);
    let mut sender = OtlpSender::new(&options).expect("a usable address");
    let sent = sender.send(Bytes::from_static(b"\x0a\x00")).await;
    (sent, sender.retries(), server)
}

#[tokio::test]
async fn the_body_and_the_tenant_arrive_as_they_are() {
    let (sent, retries, server) = send(vec![answer(200, &[], b"")], |options| {
        options.tenant = Some("acme".parse().expect("a tenant"));
    })
    .await;
    assert_eq!(sent, Ok(Ack::default()));
    assert_eq!(retries, 0);
    let arrived = server.arrived();
    assert_eq!(arrived[0].uri.path(), "/v1/traces");
    assert_eq!(arrived[0].headers["content-type"], "application/x-protobuf");
    assert_eq!(arrived[0].headers["x-scope-orgid"], "acme");
    assert_eq!(&arrived[0].body[..], b"\x0a\x00");
}

#[tokio::test]
async fn compressed_bodies_decompress_to_what_was_given() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let (sent, _, server) =
            send(vec![answer(200, &[], b"")], |options| options.compression = compression).await;
        assert_eq!(sent, Ok(Ack::default()));
        let arrived = &server.arrived()[0];
        let body = if arrived.headers["content-encoding"] == "gzip" {
            let mut body = Vec::new();
            flate2::read::GzDecoder::new(&arrived.body[..]).read_to_end(&mut body).expect("gzip");
            body
        } else {
            assert_eq!(arrived.headers["content-encoding"], "zstd");
            zstd::decode_all(&arrived.body[..]).expect("zstd")
        };
        assert_eq!(body, b"\x0a\x00");
    }
}

#[tokio::test]
async fn a_partial_success_is_an_ack_that_says_what_was_rejected() {
    let body = [0x0a, 7, 0x08, 3, 0x12, 3, b'b', b'a', b'd'];
    let (sent, retries, _) = send(vec![answer(200, &[], &body)], |_| {}).await;
    assert_eq!(sent, Ok(Ack { rejected_spans: 3, message: Some("bad".to_owned()) }));
    assert_eq!(retries, 0);

    let body = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"bad"}}"#;
    let (sent, _, server) =
        send(vec![answer(200, &[], body)], |options| options.protocol = Protocol::HttpJson).await;
    assert_eq!(sent, Ok(Ack { rejected_spans: 3, message: Some("bad".to_owned()) }));
    assert_eq!(server.arrived()[0].headers["content-type"], "application/json");
}

#[tokio::test]
async fn what_can_pass_is_sent_again_with_the_same_bytes_on_the_same_connection() {
    for status in [429, 502, 503, 504] {
        let busy = answer(status, &[("retry-after", "0")], b"\x12\x04busy");
        let (sent, retries, server) = send(vec![busy.clone(), busy, answer(200, &[], b"")], |_| {}).await;
        assert_eq!(sent, Ok(Ack::default()));
        assert_eq!(retries, 2);
        let arrived = server.arrived();
        assert_eq!(arrived.len(), 3);
        assert!(arrived.iter().all(|request| request.body == arrived[0].body && request.connection == 0));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_opened_again() {
    let (sent, retries, server) = send(vec![Answered::Closed, answer(200, &[], b"")], |_| {}).await;
    assert_eq!(sent, Ok(Ack::default()));
    assert_eq!(retries, 1);
    assert_eq!(server.arrived()[1].connection, 1);
}

#[tokio::test]
async fn an_error_that_stays_is_not_sent_again() {
    for (status, kind, exit_code) in [
        (400, ErrorKind::Invalid, 2),
        (410, ErrorKind::Gone, 1),
        (413, ErrorKind::TooLarge, 1),
        (415, ErrorKind::UnsupportedMedia, 1),
        (500, ErrorKind::Internal, 1),
    ] {
        let script = vec![answer(status, &[], b"\x08\x03\x12\x09malformed"), answer(200, &[], b"")];
        let (sent, retries, _) = send(script, |_| {}).await;
        let error = sent.expect_err("an error");
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().ends_with("malformed"), "{error}");
        assert_eq!(Failure::from(error).exit_code(), exit_code, "{status}");
        assert_eq!(retries, 0);
    }
}

#[tokio::test]
async fn retries_end_with_the_time_allowed() {
    let (sent, retries, _) = send(vec![answer(503, &[("retry-after", "30")], b"")], |options| {
        options.retry_for = Duration::from_secs(20);
    })
    .await;
    assert_eq!(sent.expect_err("an error").kind(), ErrorKind::Unavailable);
    assert_eq!(retries, 0);

    let mut options = SenderOptions::new("http://127.0.0.1:1");
    options.retry_for = Duration::ZERO;
    let mut sender = OtlpSender::new(&options).expect("a usable address");
    let error = sender.send(Bytes::new()).await.expect_err("nobody listens on port 1");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}
