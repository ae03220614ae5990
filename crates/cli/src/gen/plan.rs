//! The shop made ready to run: names resolved to numbers, operations to templates, pods to resources.

mod fixed;

use std::collections::BTreeMap;

use super::draw::Draws;
use super::exceptions::{Exception, exceptions};
use super::shop::{Action, ENDPOINTS, Endpoint, Entry, Language, Query, ROOTS, SERVICES, Service, Value};
use super::template::{Arena, Range, Template, TemplateBuilder};
use fixed::{rare_attributes, resources};

/// Everything that does not change while spans are generated.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) arena: Arena,
    pub(super) templates: Vec<Template>,
    pub(super) endpoints: Vec<PlannedEndpoint>,
    /// Endpoints with which traces begin; as often in here as their weight says.
    pub(super) roots: Vec<u16>,
    pub(super) resources: Vec<PlannedResource>,
    /// For each service its resources, as a range.
    pub(super) pods: Vec<std::ops::Range<u16>>,
    pub(super) exceptions: Vec<Vec<Exception>>,
    /// Attributes that few spans have, each an encoded field; the first are the commonest.
    pub(super) rare: Vec<Range>,
    pub(super) lanes: u16,
    pub(super) topics: u8,
}

/// An endpoint, resolved.
#[derive(Debug)]
pub(super) struct PlannedEndpoint {
    pub(super) service: u16,
    /// What the endpoint's own span looks like, and the scope it belongs to.
    pub(super) served: (u16, ScopeKind),
    /// What the caller's span looks like.
    pub(super) called: (u16, ScopeKind),
    pub(super) work_ns: u64,
    pub(super) steps: Vec<PlannedStep>,
    /// The topic whose messages it works on.
    pub(super) consumes: Option<u8>,
}

/// A step, resolved.
#[derive(Debug)]
pub(super) struct PlannedStep {
    pub(super) action: PlannedAction,
    pub(super) percent: u8,
    pub(super) times: (u8, u8),
    pub(super) parallel: bool,
}

/// An action, resolved.
#[derive(Debug)]
pub(super) enum PlannedAction {
    Call { endpoint: u16 },
    Leaf { template: u16, scope: ScopeKind, work_ns: u64, publishes: Option<u8> },
}

/// A pod.
#[derive(Debug)]
pub(super) struct PlannedResource {
    pub(super) service: u16,
    /// The `Resource` message.
    pub(super) resource: Vec<u8>,
    /// For each [`ScopeKind`] the `InstrumentationScope` message.
    pub(super) scopes: [Vec<u8>; ScopeKind::COUNT],
    /// Which exporter sends its spans.
    pub(super) lane: u16,
}

/// The instrumentation library that made a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScopeKind {
    Http,
    Rpc,
    Database,
    Messaging,
    Own,
}

impl ScopeKind {
    pub(super) const COUNT: usize = 5;
    const ALL: [Self; Self::COUNT] = [Self::Http, Self::Rpc, Self::Database, Self::Messaging, Self::Own];

    fn scope_name(self, service: &Service) -> String {
        let library = match self {
            Self::Http => "http",
            Self::Rpc => "grpc",
            Self::Database => "db",
            Self::Messaging => "kafka",
            Self::Own => return format!("shop.{}", service.name),
        };
        match service.language {
            Language::NodeJs => format!("@opentelemetry/instrumentation-{library}"),
            Language::Go => format!("go.opentelemetry.io/contrib/instrumentation/otel{library}"),
            Language::DotNet => format!("OpenTelemetry.Instrumentation.{library}"),
            Language::Java => format!("io.opentelemetry.{library}-2.0"),
            Language::Python => format!("opentelemetry.instrumentation.{library}"),
            Language::Rust => format!("tracing-opentelemetry-{library}"),
            Language::Cpp => format!("opentelemetry-cpp-{library}"),
            Language::Ruby => format!("OpenTelemetry::Instrumentation::{library}"),
            Language::Php => format!("io.opentelemetry.contrib.php.{library}"),
            Language::Elixir => format!("opentelemetry_{library}"),
        }
    }
}

const KIND_INTERNAL: u8 = 1;
const KIND_SERVER: u8 = 2;
const KIND_CLIENT: u8 = 3;
const KIND_PRODUCER: u8 = 4;
const KIND_CONSUMER: u8 = 5;

const THREADS: &[&str] =
    &["io-worker-1", "io-worker-2", "io-worker-3", "request-executor-1", "request-executor-2", "event-loop"];

impl Plan {
    /// Draws what is fixed for a run: names of pods, values of rare attributes.
    pub(super) fn new(draws: &mut Draws) -> Self {
        let mut planner = Planner {
            arena: Arena::default(),
            templates: Vec::new(),
            topics: Vec::new(),
            index: ENDPOINTS
                .iter()
                .enumerate()
                .map(|(index, endpoint)| ((endpoint.service, operation(&endpoint.entry)), index as u16))
                .collect(),
        };
        let endpoints: Vec<_> = ENDPOINTS.iter().map(|endpoint| planner.endpoint(endpoint)).collect();
        let roots = ROOTS
            .iter()
            .flat_map(|(weight, service, name)| {
                let found = planner.find(service, name);
                std::iter::repeat_n(found, *weight as usize)
            })
            .collect();
        let (resources, pods, lanes) = resources(draws);
        let exceptions = SERVICES.iter().map(|service| exceptions(&mut planner.arena, service)).collect();
        let rare = rare_attributes(&mut planner.arena, draws);
        Self {
            arena: planner.arena,
            templates: planner.templates,
            endpoints,
            roots,
            resources,
            pods,
            exceptions,
            rare,
            lanes,
            topics: planner.topics.len() as u8,
        }
    }
}

/// The name by which an endpoint is found.
fn operation(entry: &Entry) -> String {
    match entry {
        Entry::Http { method, route, .. } => format!("{method} {route}"),
        Entry::Rpc { method, .. } => (*method).to_owned(),
        Entry::Consume { topic, .. } => (*topic).to_owned(),
        Entry::Job { name } => (*name).to_owned(),
    }
}

fn service_index(name: &str) -> u16 {
    let index = SERVICES.iter().position(|service| service.name == name);
    index.expect("the shop's tables name only its own services") as u16
}

struct Planner {
    arena: Arena,
    templates: Vec<Template>,
    topics: Vec<&'static str>,
    index: BTreeMap<(&'static str, String), u16>,
}

/// The address of a pod that answers for a host.
fn addresses(host: &str) -> Vec<String> {
    let sum: usize = host.bytes().map(usize::from).sum();
    (0..3)
        .map(|pod| format!("10.{}.{}.{}", 32 + sum % 5, 16 + sum % 90, 100 + (sum * 7 + pod * 13) % 150))
        .collect()
}

impl Planner {
    fn find(&self, service: &str, name: &str) -> u16 {
        let found = self.index.iter().find(|((owner, operation), _)| *owner == service && operation == name);
        *found.expect("the shop's tables call only its own endpoints").1
    }

    fn topic(&mut self, name: &'static str) -> u8 {
        let known = self.topics.iter().position(|topic| *topic == name);
        known.unwrap_or_else(|| {
            self.topics.push(name);
            self.topics.len() - 1
        }) as u8
    }

    fn template(
        &mut self,
        name: &str,
        kind: u8,
        fill: impl FnOnce(TemplateBuilder<'_>) -> TemplateBuilder<'_>,
    ) -> u16 {
        let template = fill(TemplateBuilder::new(&mut self.arena, name, kind)).finish();
        self.templates.push(template);
        (self.templates.len() - 1) as u16
    }

    fn endpoint(&mut self, endpoint: &Endpoint) -> PlannedEndpoint {
        let service = service_index(endpoint.service);
        let (served, called) = match endpoint.entry {
            Entry::Http { method, route, path } => self.http(endpoint, method, route, path),
            Entry::Rpc { interface, method } => self.rpc(endpoint, interface, method),
            Entry::Consume { topic, group } => {
                let served = (self.consumer(endpoint, topic, group), ScopeKind::Messaging);
                (served, served)
            }
            Entry::Job { name } => {
                let served = self.template(name, KIND_INTERNAL, |template| {
                    template
                        .attribute("code.function.name", Value::Text("Scheduler.runNext"))
                        .attribute("code.file.path", Value::Text("/srv/scheduler/dist/Scheduler.js"))
                        .attribute("code.line.number", Value::Int(218))
                        .attribute("job.id", Value::Text("job-{hex}"))
                        .attribute("job.schedule", Value::Text("*/5 * * * *"))
                        .attribute("thread.id", Value::Int(1))
                        .attributes(endpoint.attributes)
                });
                ((served, ScopeKind::Own), (served, ScopeKind::Own))
            }
        };
        let steps = endpoint.steps.iter().map(|step| PlannedStep {
            action: self.action(endpoint, &step.action),
            percent: step.percent,
            times: step.times,
            parallel: step.parallel,
        });
        let steps = steps.collect();
        let consumes = match endpoint.entry {
            Entry::Consume { topic, .. } => Some(self.topic(topic)),
            _ => None,
        };
        let work_ns = u64::from(endpoint.work_us) * 1_000;
        PlannedEndpoint { service, served, called, work_ns, steps, consumes }
    }

    fn http(
        &mut self,
        endpoint: &Endpoint,
        method: &'static str,
        route: &'static str,
        path: &'static str,
    ) -> ((u16, ScopeKind), (u16, ScopeKind)) {
        const AGENTS_SEEN: &[&str] = &[
            "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15",
            "Shop/8.14 (Android 14; Pixel 8)",
            "kube-probe/1.31",
        ];
        let at_edge = endpoint.service == "storefront-web" || endpoint.service == "media";
        let port = i64::from(SERVICES[usize::from(service_index(endpoint.service))].port);
        let name = format!("{method} {route}");
        let served = self.template(&name, KIND_SERVER, |template| {
            let template = template
                .attribute("http.request.method", Value::Text(method))
                .attribute("http.route", Value::Text(route))
                .attribute("url.path", Value::Text(path))
                .attribute("url.scheme", Value::Text(if at_edge { "https" } else { "http" }))
                .attribute("http.response.status_code", Value::Outcome(200, 500))
                .attribute("server.address", Value::Text(endpoint.service))
                .attribute(
                    "network.protocol.version",
                    Value::OneOf(if at_edge { &["2", "1.1"] } else { &["1.1"] }),
                )
                .attribute("thread.id", Value::Between(1, 48))
                .attribute("user.id", Value::Text("{user}"));
            let template = if at_edge {
                template
                    .attribute("client.address", Value::Text("{ip}"))
                    .attribute("user_agent.original", Value::OneOf(AGENTS_SEEN))
            } else {
                template.attribute("server.port", Value::Int(port))
            };
            template.attributes(endpoint.attributes)
        });
        let called = self.template(method, KIND_CLIENT, |template| {
            template
                .attribute("http.request.method", Value::Text(method))
                .attribute("url.template", Value::Text(route))
                .attribute("url.path", Value::Text(path))
                .attribute("http.response.status_code", Value::Outcome(200, 500))
                .attribute("server.address", Value::Text(endpoint.service))
                .attribute("server.port", Value::Int(port))
                .attribute("network.protocol.version", Value::Text("1.1"))
                .one_of("network.peer.address", &addresses(endpoint.service))
                .attribute("http.request.resend_count", Value::Int(0))
                .attribute("thread.name", Value::OneOf(THREADS))
                .attribute("thread.id", Value::Between(1, 48))
        });
        ((served, ScopeKind::Http), (called, ScopeKind::Http))
    }

    fn rpc(
        &mut self,
        endpoint: &Endpoint,
        interface: &'static str,
        method: &'static str,
    ) -> ((u16, ScopeKind), (u16, ScopeKind)) {
        let port = i64::from(SERVICES[usize::from(service_index(endpoint.service))].port);
        let name = format!("{interface}/{method}");
        let served = self.template(&name, KIND_SERVER, |template| {
            template
                .attribute("rpc.system", Value::Text("grpc"))
                .attribute("rpc.service", Value::Text(interface))
                .attribute("rpc.method", Value::Text(method))
                .attribute("rpc.grpc.status_code", Value::Outcome(0, 13))
                .attribute("server.address", Value::Text(endpoint.service))
                .attribute("server.port", Value::Int(port))
                .attribute("network.peer.port", Value::Between(32_768, 60_999))
                .attribute("thread.name", Value::OneOf(THREADS))
                .attribute("user.id", Value::Text("{user}"))
                .attributes(endpoint.attributes)
        });
        let called = self.template(&name, KIND_CLIENT, |template| {
            template
                .attribute("rpc.system", Value::Text("grpc"))
                .attribute("rpc.service", Value::Text(interface))
                .attribute("rpc.method", Value::Text(method))
                .attribute("rpc.grpc.status_code", Value::Outcome(0, 13))
                .attribute("server.address", Value::Text(endpoint.service))
                .attribute("server.port", Value::Int(port))
                .one_of("network.peer.address", &addresses(endpoint.service))
                .attribute("rpc.request.metadata.deadline_ms", Value::OneOf(&["2000", "500", "10000"]))
                .attribute("rpc.response.size", Value::Between(128, 9_000))
                .attribute("thread.id", Value::Between(1, 48))
        });
        ((served, ScopeKind::Rpc), (called, ScopeKind::Rpc))
    }

    fn consumer(&mut self, endpoint: &Endpoint, topic: &'static str, group: &'static str) -> u16 {
        self.template(&format!("process {topic}"), KIND_CONSUMER, |template| {
            template
                .attribute("messaging.system", Value::Text("kafka"))
                .attribute("messaging.destination.name", Value::Text(topic))
                .attribute("messaging.operation.type", Value::Text("process"))
                .attribute("messaging.consumer.group.name", Value::Text(group))
                .attribute(
                    "messaging.destination.partition.id",
                    Value::OneOf(&["0", "1", "2", "3", "4", "5"]),
                )
                .attribute("messaging.kafka.offset", Value::Between(1 << 28, (1 << 30) - 1))
                .attribute("messaging.batch.message_count", Value::Between(1, 100))
                .one_of("network.peer.address", &addresses("kafka"))
                .attribute("thread.id", Value::Between(1, 48))
                .attributes(endpoint.attributes)
        })
    }

    fn action(&mut self, endpoint: &Endpoint, action: &Action) -> PlannedAction {
        match *action {
            Action::Rpc { service, method } => PlannedAction::Call { endpoint: self.find(service, method) },
            Action::Http { service, method, route } => {
                PlannedAction::Call { endpoint: self.find(service, &format!("{method} {route}")) }
            }
            Action::Query(query) => PlannedAction::Leaf {
                template: self.query(query),
                scope: ScopeKind::Database,
                work_ns: u64::from(query.work_us) * 1_000,
                publishes: None,
            },
            Action::Publish { topic } => PlannedAction::Leaf {
                template: self.producer(endpoint, topic),
                scope: ScopeKind::Messaging,
                work_ns: 900_000,
                publishes: Some(self.topic(topic)),
            },
            Action::Compute { name, work_us, attributes } => {
                let function = name.replace(' ', "_");
                let template = self.template(name, KIND_INTERNAL, |template| {
                    template
                        .one_of("code.function.name", &[format!("shop.{}.{function}", endpoint.service)])
                        .one_of("code.file.path", &[format!("/src/{}/{function}", endpoint.service)])
                        .attribute("code.line.number", Value::Int(i64::from(work_us) % 900 + 12))
                        .attribute("thread.id", Value::Between(1, 48))
                        .attribute(
                            "thread.name",
                            Value::OneOf(&["worker-1", "worker-2", "worker-3", "worker-4"]),
                        )
                        .attribute("user.id", Value::Text("{user}"))
                        .attribute(
                            "app.feature.flags",
                            Value::OneOf(&["new-ranking", "none", "dark-checkout"]),
                        )
                        .attributes(attributes)
                });
                let work_ns = u64::from(work_us) * 1_000;
                PlannedAction::Leaf { template, scope: ScopeKind::Own, work_ns, publishes: None }
            }
        }
    }

    fn query(&mut self, query: &Query) -> u16 {
        let name = match query.system {
            "redis" => query.operation.to_owned(),
            _ => format!("{} {}", query.operation, query.collection),
        };
        self.template(&name, KIND_CLIENT, |template| {
            let template = template
                .attribute("db.system", Value::Text(query.system))
                .attribute("db.namespace", Value::Text(query.namespace))
                .attribute("db.operation.name", Value::Text(query.operation))
                .attribute("db.query.text", Value::Text(query.text))
                .attribute("server.address", Value::Text(query.host))
                .attribute("server.port", Value::Int(i64::from(query.port)))
                .one_of("network.peer.address", &addresses(query.host))
                .attribute("thread.name", Value::OneOf(THREADS));
            match query.system {
                "redis" => template
                    .attribute("db.client.connection.pool.name", Value::Text(query.host))
                    .attribute("app.cache.hit", Value::Percent(80)),
                _ => template
                    .attribute("db.collection.name", Value::Text(query.collection))
                    .attribute("db.response.returned_rows", Value::Between(0, 50)),
            }
        })
    }

    fn producer(&mut self, endpoint: &Endpoint, topic: &'static str) -> u16 {
        self.template(&format!("send {topic}"), KIND_PRODUCER, |template| {
            template
                .attribute("messaging.system", Value::Text("kafka"))
                .attribute("messaging.destination.name", Value::Text(topic))
                .attribute("messaging.operation.type", Value::Text("send"))
                .attribute(
                    "messaging.destination.partition.id",
                    Value::OneOf(&["0", "1", "2", "3", "4", "5"]),
                )
                .attribute("messaging.kafka.message.key", Value::Text("{order}"))
                .attribute("messaging.message.body.size", Value::Between(128, 16_000))
                .attribute("messaging.client.id", Value::Text(endpoint.service))
                .attribute("server.address", Value::Text("kafka"))
                .one_of("network.peer.address", &addresses("kafka"))
                .attribute("thread.id", Value::Between(1, 48))
        })
    }
}
