use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use prost::Message;
use tonic_health::pb::health_check_response::ServingStatus as Answered;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::ServiceExt;

use super::*;

/// What `grpc.health.v1.Health/Check` answers, for the server and for the trace service.
async fn check(shared: &Arc<Shared>, health: &HealthReporter) -> Vec<Answered> {
    update_health(shared, health).await;
    let mut answers = Vec::new();
    for service in ["", otlp_grpc::TRACE_SERVICE] {
        let message = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
        let framed = [&[0, 0, 0, 0, message.len() as u8][..], &message].concat();
        let request = Request::post("http://server/grpc.health.v1.Health/Check")
            .version(http::Version::HTTP_2)
            .header("content-type", "application/grpc")
            .body(Body::from(framed))
            .expect("a request");
        let router = otlp_grpc::router(shared, health).expect("good descriptors");
        let answer = router.oneshot(request).await.expect("infallible");
        let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
        answers.push(HealthCheckResponse::decode(&body[5..]).expect("an answer").status());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_not_serving_while_spans_cannot_be_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = Settings::default();
    settings.data_dir = folder.path().to_owned();
    let shared = Shared::new(settings, Metrics::new().expect("valid buckets"));
    let health = HealthReporter::new();
    assert_eq!(check(&shared, &health).await, [Answered::NotServing; 2], "while it starts");
    let store = Tracelake::open(shared.settings.store_options()).await.expect("opened");
    shared.opened(store.clone());
    assert_eq!(check(&shared, &health).await, [Answered::Serving; 2]);
    store.shutdown().await.expect("flushed");
    assert_eq!(check(&shared, &health).await, [Answered::NotServing; 2], "once its store has stopped");
    shared.stopping.cancel();
    assert_eq!(check(&shared, &health).await, [Answered::NotServing; 2], "while it stops");
}
