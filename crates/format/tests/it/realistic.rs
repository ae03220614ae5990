//! A synthetic shop, for sizes and speeds that mean something: 24 services, ten attributes a span,
//! traces of 1 to 200 spans whose parts arrive in different requests, errors with stack traces.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_model::{
    KeyValue, Owner, Resource, Scope, SpanBatch, SpanBatchBuilder, SpanId, SpanScalars, TraceId, Value,
};

const SERVICES: usize = 24;
const INSTANCES: usize = 4;
const REQUEST_SPANS: usize = 1_000;

fn text(key: &str, value: impl Into<Box<str>>) -> KeyValue {
    KeyValue { key: key.into(), value: Value::Text(value.into()) }
}

fn service_name(service: usize) -> String {
    const NAMES: [&str; 8] =
        ["frontend", "cart", "checkout", "payment", "catalog", "shipping", "recommend", "inventory"];
    format!("{}-{}", NAMES[service % NAMES.len()], service / NAMES.len())
}

fn resources(random: &mut StdRng) -> Vec<Arc<Resource>> {
    let instances = (0..SERVICES).flat_map(|service| (0..INSTANCES).map(move |_| service));
    instances
        .map(|service| {
            let name = service_name(service);
            let pod: u32 = random.random();
            Arc::new(Resource {
                attributes: vec![
                    text("service.name", name.as_str()),
                    text("service.version", format!("1.{}.0", service % 7)),
                    text("k8s.pod.name", format!("{name}-{pod:08x}")),
                    text("k8s.namespace.name", "shop"),
                    text("host.name", format!("node-{:02}", pod % 12)),
                    text("telemetry.sdk.language", ["go", "java", "nodejs"][service % 3]),
                    text("telemetry.sdk.version", "1.38.0"),
                    text("deployment.environment.name", "production"),
                ],
                schema_url: "https://opentelemetry.io/schemas/1.37.0".into(),
                ..Resource::default()
            })
        })
        .collect()
}

struct Open {
    builder: SpanBatchBuilder,
    resources: Vec<Option<u32>>,
    scope: Option<u32>,
}

struct Shop {
    random: StdRng,
    resources: Vec<Arc<Resource>>,
    scope: Arc<Scope>,
    open: Vec<Open>,
    done: Vec<SpanBatch>,
}

/// About `spans` spans in batches of 1,000.
pub(crate) fn batches(seed: u64, spans: usize) -> Vec<SpanBatch> {
    let mut random = StdRng::seed_from_u64(seed);
    let resources = resources(&mut random);
    let scope =
        Arc::new(Scope { name: "io.opentelemetry.http".into(), version: "2.1.0".into(), ..Scope::default() });
    let open = (0..6)
        .map(|_| Open {
            builder: SpanBatchBuilder::new(),
            resources: vec![None; SERVICES * INSTANCES],
            scope: None,
        })
        .collect();
    let mut shop = Shop { random, resources, scope, open, done: Vec::new() };
    let mut written = 0;
    let mut clock = 1_750_000_000_000_000_000u64;
    while written < spans {
        clock += shop.random.random_range(100_000..3_000_000);
        written += shop.trace(clock);
    }
    for open in &mut shop.open {
        if !open.builder.is_empty() {
            shop.done.push(open.builder.finish());
        }
    }
    shop.done
}

impl Shop {
    fn trace(&mut self, start: u64) -> usize {
        let random = &mut self.random;
        let spans = match random.random_range(0..10) {
            0..=2 => random.random_range(1..6),
            3..=8 => random.random_range(10..50),
            _ => random.random_range(50..201),
        };
        let trace_id = random.random::<[u8; 16]>();
        let failed = random.random_bool(0.05);
        let user = (random.random::<f64>().powi(3) * 20_000.0) as u32;
        let mut ids: Vec<(SpanId, u64, u64)> = Vec::new();
        for index in 0..spans {
            let random = &mut self.random;
            let parent = (index > 0).then(|| random.random_range(index / 3..index));
            let (parent_id, from, length) = match parent.and_then(|parent| ids.get(parent)) {
                Some((id, from, length)) => (Some(*id), *from, *length),
                None => (None, start, random.random_range(2_000_000..900_000_000)),
            };
            let offset = random.random_range(0..length / 2 + 1);
            let duration = random.random_range(length / 8 + 1..length / 2 + 2);
            let id = SpanId::from_bytes(&random.random::<[u8; 8]>()).expect("random");
            ids.push((id, from + offset, duration));
            let place = Place {
                trace_id: TraceId::from_bytes(&trace_id).expect("random"),
                id,
                parent_id,
                start: from + offset,
                end: from + offset + duration,
                user,
                failed: failed && index + 3 > spans,
                service: random.random_range(0..SERVICES),
            };
            self.span(&place, index);
        }
        spans
    }

    fn span(&mut self, place: &Place, index: usize) {
        let random = &mut self.random;
        let instance = place.service * INSTANCES + random.random_range(0..INSTANCES);
        let target = random.random_range(0..self.open.len());
        let open = &mut self.open[target];
        let resource = match open.resources[instance] {
            Some(resource) => resource,
            None => {
                let resource = open.builder.resource(Arc::clone(&self.resources[instance]));
                open.resources[instance] = Some(resource);
                resource
            }
        };
        let scope = *open.scope.get_or_insert_with(|| open.builder.scope(Arc::clone(&self.scope)));
        let builder = &mut open.builder;
        let operation = random.random_range(0..12);
        let name = match index % 3 {
            0 => server(builder, random, place, operation),
            1 => client(builder, random, place, operation),
            _ => database(builder, random, place, operation),
        };
        if random.random_bool(0.04) {
            let key = format!("app.debug.{}", random.random_range(0..300));
            put(builder, &key, &format!("v{}", random.random_range(0..1_000)));
        }
        if place.failed {
            exception(builder, random, place);
        }
        let name = builder.known_term(&name);
        builder.finish_span(SpanScalars {
            parent_span_id: place.parent_id,
            start_unix_nano: place.start,
            end_unix_nano: place.end,
            kind: [2, 3, 3][index % 3],
            status_code: if place.failed { 2 } else { 0 },
            flags: 0x101,
            name,
            resource,
            scope,
            ..SpanScalars::new(place.trace_id, place.id)
        });
        if builder.len() >= REQUEST_SPANS {
            self.done.push(builder.finish());
            open.resources.fill(None);
            open.scope = None;
        }
    }
}

struct Place {
    trace_id: TraceId,
    id: SpanId,
    parent_id: Option<SpanId>,
    start: u64,
    end: u64,
    user: u32,
    failed: bool,
    service: usize,
}

fn put(builder: &mut SpanBatchBuilder, key: &str, value: &str) {
    let key = builder.key(key.as_bytes()).expect("UTF-8");
    builder.push_text(Owner::Span, key, value);
}

fn put_int(builder: &mut SpanBatchBuilder, key: &str, value: i64) {
    let key = builder.key(key.as_bytes()).expect("UTF-8");
    builder.push_int(Owner::Span, key, value);
}

fn server(builder: &mut SpanBatchBuilder, random: &mut StdRng, place: &Place, operation: usize) -> String {
    let method = ["GET", "POST", "PUT", "DELETE"][operation % 4];
    let route = format!("/api/v{}/{}/{{id}}", place.service % 3, ["orders", "carts", "items"][operation % 3]);
    let id: u32 = random.random_range(0..500_000);
    put(builder, "http.request.method", method);
    put(builder, "http.route", &route);
    put(builder, "url.path", &route.replace("{id}", &id.to_string()));
    put(builder, "url.scheme", "https");
    put_int(builder, "http.response.status_code", if place.failed { 503 } else { 200 });
    put(builder, "user_agent.original", ["Mozilla/5.0 (X11; Linux x86_64)", "okhttp/4.12.0"][operation % 2]);
    put(builder, "client.address", &format!("10.{}.{}.7", place.user % 256, place.user / 256));
    put(builder, "user.id", &format!("user-{:06}", place.user));
    put_int(builder, "thread.id", random.random_range(1..64));
    put_int(builder, "http.response.body.size", random.random_range(100..40_000));
    format!("{method} {route}")
}

fn client(builder: &mut SpanBatchBuilder, random: &mut StdRng, place: &Place, operation: usize) -> String {
    let peer = service_name((place.service + operation) % SERVICES);
    put(builder, "rpc.system", "grpc");
    put(builder, "rpc.service", &format!("shop.{peer}.Api"));
    put(builder, "rpc.method", ["Get", "List", "Update"][operation % 3]);
    put(builder, "server.address", &format!("{peer}.shop.svc.cluster.local"));
    put_int(builder, "server.port", 8_443);
    put_int(builder, "rpc.grpc.status_code", if place.failed { 14 } else { 0 });
    put(builder, "network.protocol.version", "2");
    put(builder, "network.transport", "tcp");
    put_int(builder, "thread.id", random.random_range(1..64));
    put_int(builder, "rpc.attempt", 1);
    format!("shop.{peer}.Api/{}", ["Get", "List", "Update"][operation % 3])
}

fn database(builder: &mut SpanBatchBuilder, random: &mut StdRng, place: &Place, operation: usize) -> String {
    let table = ["orders", "carts", "items", "users"][operation % 4];
    put(builder, "db.system.name", "postgresql");
    put(builder, "db.namespace", &format!("shop{}", place.service % 6));
    put(builder, "db.collection.name", table);
    put(builder, "db.operation.name", ["SELECT", "UPDATE", "INSERT"][operation % 3]);
    put(
        builder,
        "db.query.text",
        &format!("SELECT id, sku, price FROM {table} WHERE id = $1 AND region = $2 LIMIT {operation}"),
    );
    put(builder, "server.address", &format!("pg-{}.shop", place.service % 4));
    put_int(builder, "server.port", 5_432);
    put_int(builder, "db.response.returned_rows", random.random_range(0..200));
    put_int(builder, "thread.id", random.random_range(1..64));
    put(builder, "db.connection.pool", "main");
    format!("SELECT {table}")
}

fn exception(builder: &mut SpanBatchBuilder, random: &mut StdRng, place: &Place) {
    let frames: String = (0..12)
        .map(|frame| {
            format!(
                "\tat shop.{}.Handler.call{frame}(Handler.java:{})\n",
                place.service,
                random.random_range(1..900)
            )
        })
        .collect();
    for (key, value) in [
        ("exception.type", "java.net.SocketTimeoutException"),
        ("exception.message", "upstream did not answer"),
        ("exception.stacktrace", &frames),
    ] {
        let key = builder.known_term(key);
        builder.push_text(Owner::Event, key, value);
    }
    let name = builder.known_term("exception");
    builder.finish_event(place.end - 1, name, 0);
}
