//! The shop whose spans are generated: what services there are, what each can be asked, and what it
//! does then. Only facts and their types; how they become bytes and times stands elsewhere.

mod endpoints;
mod queries;
mod services;

pub(super) use endpoints::{ENDPOINTS, ROOTS};
pub(super) use services::SERVICES;

/// A service of the shop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) language: Language,
    pub(super) namespace: &'static str,
    pub(super) version: &'static str,
    pub(super) port: u16,
    /// How many pods; each is a resource.
    pub(super) pods: u8,
    /// Whether each pod exports by itself; else through the agent of its node, which puts several
    /// resources into one request.
    pub(super) exports_itself: bool,
}

/// What a service is written in: decides its instrumentation's names and its stack traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Language {
    NodeJs,
    Go,
    DotNet,
    Java,
    Python,
    Rust,
    Cpp,
    Ruby,
    Php,
    Elixir,
}

/// An attribute's value, or how to draw one.
///
/// Texts may name what changes: `{user}`, `{session}`, `{product}`, `{order}` and `{ip}` are the
/// trace's own; `{item}`, `{hex}` and `{digits}` are drawn for each span.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Text(&'static str),
    OneOf(&'static [&'static str]),
    Int(i64),
    /// Evenly between both; narrowed to the numbers that take as many bytes as the larger.
    Between(i64, i64),
    /// An amount of money between both, in hundredths.
    Cents(u32, u32),
    /// True in so many of a hundred.
    Percent(u8),
    /// The first where the span succeeds, the second where it fails.
    Outcome(i64, i64),
}

/// A key and its value.
pub(super) type Attribute = (&'static str, Value);

/// How an endpoint is reached.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry {
    Http {
        method: &'static str,
        route: &'static str,
        path: &'static str,
    },
    Rpc {
        interface: &'static str,
        method: &'static str,
    },
    /// A batch of messages; starts a trace of its own that links to what was published.
    Consume {
        topic: &'static str,
        group: &'static str,
    },
    /// Started by a clock.
    Job {
        name: &'static str,
    },
}

/// Something a service can be asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoint {
    pub(super) service: &'static str,
    pub(super) entry: Entry,
    /// Its own work beside what it waits for, at the median.
    pub(super) work_us: u32,
    pub(super) attributes: &'static [Attribute],
    pub(super) steps: &'static [Step],
}

/// What an endpoint does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) action: Action,
    /// How often it is done at all, of a hundred.
    pub(super) percent: u8,
    /// How many times then, at least and at most.
    pub(super) times: (u8, u8),
    /// Whether the times run beside each other, and beside the step before if that is parallel too.
    pub(super) parallel: bool,
}

/// One thing to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Rpc { service: &'static str, method: &'static str },
    Http { service: &'static str, method: &'static str, route: &'static str },
    Query(&'static Query),
    Publish { topic: &'static str },
    Compute { name: &'static str, work_us: u32, attributes: &'static [Attribute] },
}

/// A statement sent to a database or cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query {
    pub(super) system: &'static str,
    pub(super) host: &'static str,
    pub(super) port: u16,
    pub(super) namespace: &'static str,
    pub(super) collection: &'static str,
    pub(super) operation: &'static str,
    pub(super) text: &'static str,
    pub(super) work_us: u32,
}

impl Step {
    const fn new(action: Action) -> Self {
        Self { action, percent: 100, times: (1, 1), parallel: false }
    }

    const fn percent(mut self, percent: u8) -> Self {
        self.percent = percent;
        self
    }

    const fn times(mut self, least: u8, most: u8) -> Self {
        self.times = (least, most);
        self
    }

    const fn parallel(mut self) -> Self {
        self.parallel = true;
        self
    }
}

const fn rpc(service: &'static str, method: &'static str) -> Step {
    Step::new(Action::Rpc { service, method })
}

const fn request(service: &'static str, method: &'static str, route: &'static str) -> Step {
    Step::new(Action::Http { service, method, route })
}

const fn query(query: &'static Query) -> Step {
    Step::new(Action::Query(query))
}

const fn publish(topic: &'static str) -> Step {
    Step::new(Action::Publish { topic })
}

const fn compute(name: &'static str, work_us: u32, attributes: &'static [Attribute]) -> Step {
    Step::new(Action::Compute { name, work_us, attributes })
}
