//! What the ports answer while the store is not open yet, no longer, or busy.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use tower::ServiceExt;

use super::*;
use crate::{api, otlp_grpc, otlp_http};

fn shared(change: impl FnOnce(&mut Settings)) -> Arc<Shared> {
    let mut settings = Settings::default();
    change(&mut settings);
    Shared::new(settings, Metrics::new().expect("valid buckets"))
}

async fn get(shared: &Arc<Shared>, path: &str) -> Response {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    api::router(shared).oneshot(request).await.expect("infallible")
}

async fn post(router: Router, version: http::Version, path: &str, media_type: &str) -> Response {
    let request =
        Request::post(path).version(version).header(CONTENT_TYPE, media_type).body(Body::from("{}"));
    router.oneshot(request.expect("a request")).await.expect("infallible")
}

/// Spans and lookups are told to come again, whichever way they come.
async fn assert_unavailable(shared: &Arc<Shared>) {
    let http =
        post(otlp_http::router(shared), http::Version::HTTP_11, "/v1/traces", "application/json").await;
    assert_eq!(http.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(http.headers()["retry-after"], "1");

    let router = otlp_grpc::router(shared, &Default::default()).expect("good descriptors");
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let grpc = post(router, http::Version::HTTP_2, path, "application/grpc").await;
    assert_eq!(grpc.headers()["grpc-status"], "14");
    assert!(grpc.headers().contains_key("grpc-status-details-bin"), "RetryInfo");

    let lookup = get(shared, "/api/v1/traces/1").await;
    assert_eq!(lookup.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(lookup.headers()["retry-after"], "1");

    let ready = get(shared, "/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(shared, "/livez").await.status(), StatusCode::OK);
    for path in ["/readyz?verbose", "/metrics", "/api/v1/status"] {
        assert_ne!(get(shared, path).await.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
}

#[tokio::test]
async fn while_the_store_is_opened_senders_are_told_to_come_again() {
    assert_unavailable(&shared(|_| {})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_stops_senders_are_told_to_come_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let shared = shared(|settings| settings.data_dir = folder.path().to_owned());
    shared.opened(Tracelake::open(shared.settings.store_options()).await.expect("opened"));
    assert_eq!(get(&shared, "/readyz").await.status(), StatusCode::OK);
    shared.stopping.cancel();
    assert_unavailable(&shared).await;
    shared.store_if_open().expect("open").shutdown().await.expect("flushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_above_the_limit_wait_and_are_then_told_to_come_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let shared = shared(|settings| {
        settings.data_dir = folder.path().to_owned();
        settings.concurrent_lookups_max = 1;
    });
    shared.opened(Tracelake::open(shared.settings.store_options()).await.expect("opened"));
    let turn = Arc::clone(&shared.lookups).try_acquire_owned().expect("free");
    let answer = get(&shared, "/api/v1/traces/1").await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "1");
    drop(turn);
    assert_eq!(get(&shared, "/api/v1/traces/1").await.status(), StatusCode::NOT_FOUND);
    shared.store_if_open().expect("open").shutdown().await.expect("flushed");
}
