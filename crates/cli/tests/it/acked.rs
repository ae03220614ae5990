//! Clients that send spans and keep their own account of what was acknowledged, and the comparison
//! of that account with what a server answers.
//!
//! A span is in doubt from before the first byte of its request is written until the answer is
//! read: it may be there or not. Afterwards it must be there. What was never sent must never be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::harness::Addresses;
use crate::http::{Answer, Http};

/// Traces that a client adds spans to at a time.
const OPEN_TRACES: usize = 6;
/// Spans of one request.
const REQUEST_SPANS: usize = 40;

/// A span as the account knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    InDoubt,
    Acked,
}

/// A request that was sent, and its spans.
#[derive(Debug, Clone)]
struct Request {
    body: String,
    spans: Vec<(u128, u64)>,
}

/// What an answer shows of a trace.
#[derive(Debug)]
struct Shown {
    is_partial: bool,
    spans: usize,
}

/// What came instead of an acknowledgement.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Another answer, which says to come again.
    ForNow(Answer),
    /// None: the connection ended.
    Gone(#[expect(dead_code, reason = "shown where a test fails")] std::io::Error),
}

/// One client, across all lives of the server.
#[derive(Debug)]
pub(crate) struct Client {
    random: SmallRng,
    account: BTreeMap<u128, BTreeMap<u64, State>>,
    open: Vec<u128>,
    /// Sent, and the answer never read.
    in_doubt: Option<Request>,
    /// Traces that changed since the last check.
    touched: BTreeSet<u128>,
    /// Spans that the last look at every trace has shown.
    shown_spans: usize,
    pub(crate) acked_requests: u64,
    pub(crate) sent_again: u64,
}

impl Client {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            account: BTreeMap::new(),
            open: Vec::new(),
            in_doubt: None,
            touched: BTreeSet::new(),
            shown_spans: 0,
            acked_requests: 0,
            sent_again: 0,
        }
    }

    /// Spans that were acknowledged.
    pub(crate) fn acked_spans(&self) -> usize {
        self.account.values().flat_map(BTreeMap::values).filter(|state| **state == State::Acked).count()
    }

    /// Traces of which spans were sent.
    pub(crate) fn traces(&self) -> impl Iterator<Item = u128> {
        self.account.keys().copied()
    }

    /// Sends until `stop` is set or the server is gone.
    pub(crate) fn send(&mut self, addresses: Addresses, stop: &AtomicBool) {
        let mut http = Http::new(addresses.otlp_http);
        while !stop.load(Ordering::Relaxed) {
            if let Err(Refused::Gone(_)) = self.try_one(&mut http) {
                return;
            }
        }
    }

    /// Sends one request, which must be acknowledged.
    pub(crate) fn send_one(&mut self, addresses: Addresses) {
        self.try_one(&mut Http::new(addresses.otlp_http)).expect("acknowledged");
    }

    /// Sends one request; what came instead of an acknowledgement.
    pub(crate) fn try_one(&mut self, http: &mut Http) -> Result<(), Refused> {
        let request = match self.in_doubt.take() {
            // A client that lost its answer sends the same again, or gives up: both happen.
            Some(request) if self.random.random_bool(0.7) => {
                self.sent_again += 1;
                request
            }
            _ => self.new_request(),
        };
        match http.post_json("/v1/traces", request.body.as_bytes()) {
            Ok(answer) if answer.status == 200 => {
                assert!(!answer.text().contains("rejectedSpans"), "{}", answer.text());
                self.acked_requests += 1;
                for (trace, span) in request.spans {
                    self.touched.insert(trace);
                    self.account.entry(trace).or_default().insert(span, State::Acked);
                }
                Ok(())
            }
            // Not taken for now: the same again, as OTLP says.
            Ok(answer) if matches!(answer.status, 429 | 503) => {
                self.in_doubt = Some(request);
                Err(Refused::ForNow(answer))
            }
            Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
            Err(error) => {
                self.in_doubt = Some(request);
                Err(Refused::Gone(error))
            }
        }
    }

    /// A request with spans for some of the open traces, entered as in doubt.
    fn new_request(&mut self) -> Request {
        let mut spans = Vec::with_capacity(REQUEST_SPANS);
        let mut texts = String::new();
        while spans.len() < REQUEST_SPANS {
            if self.open.len() < OPEN_TRACES {
                self.open.push(self.random.random_range(1..u128::MAX));
            }
            let chosen = self.random.random_range(0..self.open.len());
            let trace = self.open[chosen];
            let span = self.random.random_range(1..u64::MAX);
            let separator = if spans.is_empty() { "" } else { "," };
            write!(texts, "{separator}{}", span_json(trace, span)).expect("in memory");
            spans.push((trace, span));
            self.touched.insert(trace);
            self.account.entry(trace).or_default().insert(span, State::InDoubt);
            if self.random.random_bool(0.02) {
                self.open.swap_remove(chosen);
            }
        }
        let resource = r#"{"attributes":[{"key":"service.name","value":{"stringValue":"crash-test"}}]}"#;
        let body = format!(
            r#"{{"resourceSpans":[{{"resource":{resource},"scopeSpans":[{{"spans":[{texts}]}}]}}]}}"#
        );
        Request { body, spans }
    }

    /// Compares the traces that changed since the last check with what the server answers.
    pub(crate) fn check_touched(&mut self, addresses: Addresses) {
        let touched = std::mem::take(&mut self.touched);
        self.check(addresses, touched.iter().copied());
    }

    /// Compares every trace.
    pub(crate) fn check_all(&mut self, addresses: Addresses) {
        self.shown_spans = self.check(addresses, self.account.keys().copied());
    }

    /// Looks at one trace while things go wrong: an answer that says that it lacks something may, and no
    /// other. Whether it did.
    pub(crate) fn glance(&mut self, api: &mut Http) -> bool {
        let place = self.random.random_range(0..self.account.len().max(1));
        self.account.keys().nth(place).is_some_and(|trace| self.check_one(api, *trace).is_partial)
    }

    /// How many spans the answers show.
    fn check(&self, addresses: Addresses, traces: impl Iterator<Item = u128>) -> usize {
        let mut api = Http::new(addresses.api);
        let mut shown_spans = 0;
        for trace in traces {
            let shown = self.check_one(&mut api, trace);
            assert!(!shown.is_partial, "trace {trace:032x}: the answer is partial");
            shown_spans += shown.spans;
        }
        shown_spans
    }

    fn check_one(&self, api: &mut Http, trace: u128) -> Shown {
        let account = &self.account[&trace];
        let answer = api.get(&format!("/api/v1/traces/{trace:032x}")).expect("an answer");
        let found = match answer.status {
            200 | 206 => spans_of(trace, &answer.json()),
            404 => Vec::new(),
            status => panic!("trace {trace:032x}: {status} {}", answer.text()),
        };
        let mut seen = BTreeSet::new();
        for span in found {
            assert!(seen.insert(span), "trace {trace:032x}: span {span:016x} is there twice");
            assert!(account.contains_key(&span), "trace {trace:032x}: span {span:016x} was never sent");
        }
        let is_partial = answer.status == 206;
        for (span, state) in account {
            let is_missing = *state == State::Acked && !seen.contains(span);
            assert!(
                is_partial || !is_missing,
                "trace {trace:032x}: span {span:016x} was acknowledged and is lost"
            );
        }
        Shown { is_partial, spans: seen.len() }
    }
}

/// Compares the rows that are stored with the spans that [`Client::check_all`] has just been shown: an answer
/// shows a span once, however often it is stored. Nobody may send meanwhile.
pub(crate) fn check_stored_once(clients: &[Client], addresses: Addresses) {
    let mut api = Http::new(addresses.api);
    // Whatever is in a memtable and in a segment is in two segments then.
    let flushed = api.post("/api/v1/flush", "application/json", b"").expect("an answer");
    assert_eq!(flushed.status, 200, "{}", flushed.text());
    // Not the status, whose rows are of all tenants.
    let page = api.get("/api/v1/segments").expect("an answer").json();
    assert!(page["next"].is_null(), "there are more segments than a page has");
    let segments = page["segments"].as_array().expect("a list").iter();
    let rows: u64 = segments.map(|segment| segment["spans"].as_u64().expect("a number")).sum();
    let status = api.get("/api/v1/status").expect("an answer").json();
    assert_eq!(status["store"]["memtable_spans"], 0, "{status}");
    // Merges leave duplicates out, but count them; a request that is sent again makes none.
    assert_eq!(status["store"]["compaction"]["duplicates"], 0, "a span was stored twice: {status}");
    let shown: usize = clients.iter().map(|client| client.shown_spans).sum();
    assert_eq!(rows, shown as u64, "as many rows are stored as spans are shown: {status}");
}

/// A span whose every field follows from its IDs, so that a mixed-up one shows.
fn span_json(trace: u128, span: u64) -> String {
    let start = 1_700_000_000_000_000_000 + span % 1_000_000_000_000;
    format!(
        r#"{{"traceId":"{trace:032x}","spanId":"{span:016x}","name":"op-{:04x}","kind":2,"startTimeUnixNano":"{start}","endTimeUnixNano":"{}","attributes":[{{"key":"test.span","value":{{"stringValue":"{span:016x}"}}}}]}}"#,
        span & 0xffff,
        start + 1_000_000,
    )
}

/// The IDs of the spans in an answer, their content checked.
fn spans_of(trace: u128, answer: &serde_json::Value) -> Vec<u64> {
    let items = |value: &serde_json::Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for resource_spans in items(answer, "resourceSpans") {
        for scope_spans in items(&resource_spans, "scopeSpans") {
            for span in items(&scope_spans, "spans") {
                let id = span["spanId"].as_str().and_then(|id| u64::from_str_radix(id, 16).ok());
                let id = id.expect("a span ID");
                let sent: serde_json::Value = serde_json::from_str(&span_json(trace, id)).expect("JSON");
                for (name, value) in sent.as_object().expect("an object") {
                    assert_eq!(&span[name], value, "{name} of span {id:016x}");
                }
                found.push(id);
            }
        }
    }
    found
}

/// Lets every client work at once, each on a thread.
pub(crate) fn in_parallel(clients: &mut [Client], work: impl Fn(&mut Client) + Sync) {
    thread::scope(|scope| {
        for client in clients {
            scope.spawn(|| work(client));
        }
    });
}
