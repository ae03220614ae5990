//! The OpenTelemetry SDK for Rust as a sender, over both protocols.

use opentelemetry::trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::harness::{TestServer, names};

/// A small trace: a request, its query that fails, an event. Returns its ID.
fn make_trace(provider: &SdkTracerProvider) -> String {
    let tracer = provider.tracer("checkout");
    let root = tracer.span_builder("GET /cart").with_kind(SpanKind::Server).start(&tracer);
    let id = root.span_context().trace_id().to_string();
    let context = Context::current_with_span(root);
    let mut query =
        tracer.span_builder("SELECT cart").with_kind(SpanKind::Client).start_with_context(&tracer, &context);
    query.set_attribute(KeyValue::new("db.system.name", "postgresql"));
    query.add_event("exception", vec![KeyValue::new("exception.type", "Timeout")]);
    query.set_status(Status::error("too slow"));
    query.end();
    context.span().end();
    id
}

fn provider(exporter: SpanExporter) -> SdkTracerProvider {
    let resource = Resource::builder_empty().with_service_name("shop").build();
    SdkTracerProvider::builder().with_resource(resource).with_simple_exporter(exporter).build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_sdk_exports_is_read_back() {
    let server = TestServer::start().await;
    let grpc = format!("http://{}", server.addresses.otlp_grpc);
    let http = format!("http://{}/v1/traces", server.addresses.otlp_http);
    let exporters = [
        SpanExporter::builder().with_tonic().with_endpoint(&grpc).build().expect("an exporter"),
        SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&grpc)
            .with_compression(opentelemetry_otlp::Compression::Gzip)
            .build()
            .expect("an exporter"),
        SpanExporter::builder().with_http().with_endpoint(&http).build().expect("an exporter"),
        SpanExporter::builder()
            .with_http()
            .with_endpoint(&http)
            .with_compression(opentelemetry_otlp::Compression::Zstd)
            .build()
            .expect("an exporter"),
    ];
    for exporter in exporters {
        let what = format!("{exporter:?}");
        let provider = provider(exporter);
        // The SDK's simple processor blocks while it exports.
        let made = tokio::task::spawn_blocking(move || {
            let id = make_trace(&provider);
            provider.shutdown().expect("exported");
            id
        });
        let id = made.await.expect("no panic");
        let spans = server.trace(&id).await.unwrap_or_else(|| panic!("{what}: the trace is missing"));
        let names = names(&spans);
        assert_eq!(names.len(), 2, "{what}: {names:?}");
        let query = spans.iter().find(|span| span.name == "SELECT cart").expect("the query");
        let root = spans.iter().find(|span| span.name == "GET /cart").expect("the root");
        assert_eq!(query.parent_span_id, root.span_id);
        assert_eq!(query.attributes.len(), 1);
        assert_eq!(query.events[0].name, "exception");
        let status = query.status.as_ref().expect("a status");
        assert_eq!((status.code, status.message.as_str()), (2, "too slow"));
    }
    server.stop().await;
}
