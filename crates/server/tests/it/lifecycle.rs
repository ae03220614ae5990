//! Starting, stopping, starting again.

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracelake_server::{ExitReason, ServeError, Server};

use crate::harness::{TestServer, request, settings, span, trace_id};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart_whichever_way_it_came() {
    let server = TestServer::start().await;
    assert_eq!(server.post_protobuf(request(vec![span(1, 1), span(1, 2)])).await.status, StatusCode::OK);
    assert_eq!(server.export(&[], &request(vec![span(1, 3)])).await.code, 0);
    let (reason, folder) = server.stop().await;
    assert_eq!(reason, ExitReason::Stopped);
    assert_eq!(reason.exit_code(), 0);

    let server = TestServer::start_in(folder, |_| {}).await;
    assert_eq!(server.trace(&trace_id(1)).await.expect("a trace").len(), 3);
    // The same request again: acknowledged, and shown once.
    assert_eq!(server.post_protobuf(request(vec![span(1, 1), span(1, 2)])).await.status, StatusCode::OK);
    assert_eq!(server.trace(&trace_id(1)).await.expect("a trace").len(), 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_progress_ends_before_the_server_does() {
    let server = TestServer::start().await;
    let body = request(vec![span(1, 1)]);
    let mut socket = TcpStream::connect(server.addresses.otlp_http).await.expect("connected");
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    socket.write_all(&body[..10]).await.expect("sent");
    server.metric_becomes("tracelake_in_flight_bytes", |bytes| bytes == 10.0).await;
    let addr = server.addresses.otlp_http;
    let stopping = tokio::spawn(server.stop());
    // No new ones from now on: the port is closed as soon as the stop is under way.
    while let Ok(socket) = TcpStream::connect(addr).await {
        drop(socket);
        tokio::task::yield_now().await;
    }
    socket.write_all(&body[10..]).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer and the end");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (reason, folder) = stopping.await.expect("no panic");
    assert_eq!(reason, ExitReason::Stopped);
    let server = TestServer::start_in(folder, |_| {}).await;
    assert_eq!(server.trace(&trace_id(1)).await.expect("a trace").len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings(&folder);
    settings.otlp_http_addr = taken.local_addr().expect("an address");
    let error = Server::bind(settings).await.expect_err("taken");
    assert!(matches!(error, ServeError::Bind { name: "otlp_http", .. }));
    let message = error.to_string();
    assert!(message.contains(&taken.local_addr().expect("an address").to_string()), "{message}");
    assert!(message.contains("otlp_http_addr"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_opened_is_an_error_and_no_hang() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings(&folder);
    settings.data_dir = folder.path().join("file");
    std::fs::write(&settings.data_dir, "not a folder").expect("written");
    let server = Server::bind(settings).await.expect("bound");
    let result = server.run(std::future::pending(), |_| panic!("not ready")).await;
    assert!(matches!(result, Err(ServeError::Open(_))), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_stopped_before_it_is_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::bind(settings(&folder)).await.expect("bound");
    let reason = server.run(std::future::ready(()), |_| {}).await.expect("no error");
    assert_eq!(reason, ExitReason::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_greeting_has_the_ports_that_the_system_chose() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::bind(settings(&folder)).await.expect("bound");
    let addresses = server.addresses();
    assert_ne!(addresses.api.port(), 0);
    let line = format!(
        "\nlistening otlp_grpc={} otlp_http={} api={}\n",
        addresses.otlp_grpc, addresses.otlp_http, addresses.api
    );
    assert!(server.greeting().contains(&line), "{}", server.greeting());
}
