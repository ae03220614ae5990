//! The walker against prost, and JSON: microseconds a span at 8, 64 and 512 spans a resource, 10
//! attributes a span, some 450 bytes. Throughput is in spans, so criterion's "Kelem/s" reads as
//! thousands of spans a second. With the allocator of the binary, for all of them.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};
use prost::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tracelake_otlp::{DecodeLimits, Decoder, JsonEncoder, encode_protobuf};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Spans of one request: what an SDK and what the Collector's batch processor send by default. The
/// latter's body and batch do not fit into a core's cache.
const REQUESTS: [usize; 2] = [512, 8_192];

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn span(rng: &mut SmallRng) -> Span {
    const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
    const ROUTES: [&str; 6] =
        ["/cart", "/cart/{id}", "/product/{id}", "/checkout", "/api/recommendations", "/health"];
    let route = ROUTES[rng.random_range(0..ROUTES.len())];
    let method = METHODS[rng.random_range(0..METHODS.len())];
    let start = 1_760_000_000_000_000_000 + rng.random_range(0..3_600_000_000_000_u64);
    Span {
        trace_id: rng.random::<[u8; 16]>().to_vec(),
        span_id: rng.random::<[u8; 8]>().to_vec(),
        parent_span_id: rng.random::<[u8; 8]>().to_vec(),
        flags: 0x101,
        name: format!("{method} {route}"),
        kind: rng.random_range(1..4),
        start_time_unix_nano: start,
        end_time_unix_nano: start + rng.random_range(1_000..900_000_000),
        attributes: vec![
            text("http.request.method", method),
            text("http.route", route),
            text("url.path", format!("/product/{}", rng.random_range(0..100_000))),
            attribute("http.response.status_code", Value::IntValue(200)),
            text("server.address", "shop.example.com"),
            attribute("server.port", Value::IntValue(8_080)),
            text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
            text("client.address", format!("10.0.{}.{}", rng.random::<u8>(), rng.random::<u8>())),
            attribute("app.sampled", Value::BoolValue(true)),
            text("app.user.id", format!("user-{}", rng.random_range(0..5_000))),
        ],
        status: Some(Status::default()),
        ..Span::default()
    }
}

fn request(spans: usize, spans_per_resource: usize) -> Vec<u8> {
    let mut rng = SmallRng::seed_from_u64(7);
    let resource_spans = (0..spans / spans_per_resource).map(|number| {
        let service = format!("service-{}", number % 24);
        ResourceSpans {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", &*service),
                    text("service.namespace", "shop"),
                    text("service.version", "1.4.2"),
                    text("service.instance.id", format!("{service}-7d9f8b6c5-x2x4z")),
                    text("k8s.pod.name", format!("{service}-7d9f8b6c5-x2x4z")),
                    text("telemetry.sdk.name", "opentelemetry"),
                    text("telemetry.sdk.language", "rust"),
                    text("telemetry.sdk.version", "0.33.0"),
                ],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "shop.http".into(),
                    version: "1.0".into(),
                    ..InstrumentationScope::default()
                }),
                spans: (0..spans_per_resource).map(|_| span(&mut rng)).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }
    });
    TracesData { resource_spans: resource_spans.collect() }.encode_to_vec()
}

fn decode(criterion: &mut Criterion) {
    let limits = DecodeLimits::default();
    for spans in REQUESTS {
        let mut group = criterion.benchmark_group(format!("decode {spans} spans"));
        group.throughput(Throughput::Elements(spans as u64)).sample_size(50);
        for spans_per_resource in [8, 64, 512] {
            let body = request(spans, spans_per_resource);
            println!("{} bytes a span", body.len() / spans);
            let mut decoder = Decoder::new();
            group.bench_with_input(BenchmarkId::new("walker", spans_per_resource), &body, |bencher, body| {
                bencher.iter(|| decoder.decode_protobuf(black_box(body), &limits).expect("valid"));
            });
            group.bench_with_input(BenchmarkId::new("prost", spans_per_resource), &body, |bencher, body| {
                bencher.iter(|| TracesData::decode(black_box(&**body)).expect("valid"));
            });
            let batch = decoder.decode_protobuf(&body, &limits).expect("valid").batch;
            let rows: Vec<(u32, u32)> = (0..batch.len() as u32).map(|row| (0, row)).collect();
            let json: Vec<u8> = JsonEncoder::new([batch], rows).flatten().collect();
            group.bench_with_input(BenchmarkId::new("json", spans_per_resource), &json, |bencher, body| {
                bencher.iter(|| decoder.decode_json(black_box(body), &limits).expect("valid"));
            });
        }
        group.finish();
    }
}

fn encode(criterion: &mut Criterion) {
    let limits = DecodeLimits::default();
    for spans in REQUESTS {
        let batch = Decoder::new().decode_protobuf(&request(spans, 64), &limits).expect("valid").batch;
        let batch = Arc::new(batch);
        let rows: Vec<(u32, u32)> = (0..batch.len() as u32).map(|row| (0, row)).collect();
        let views: Vec<_> = batch.spans().collect();
        let mut group = criterion.benchmark_group(format!("encode {spans} spans"));
        group.throughput(Throughput::Elements(spans as u64)).sample_size(50);
        group.bench_function("protobuf", |bencher| bencher.iter(|| encode_protobuf(black_box(&views))));
        group.bench_function("json", |bencher| {
            bencher.iter(|| {
                let encoder = JsonEncoder::new([Arc::clone(&batch)], rows.clone());
                encoder.map(|chunk| chunk.len()).sum::<usize>()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
