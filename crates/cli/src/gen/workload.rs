//! The stream of requests: traces one after the other in event time, their spans sorted into the
//! exporters of the pods that made them, and a request whenever an exporter's batch is full. So the
//! parts of a trace travel in different requests, and a request holds spans of many traces.
//!
//! The same options give the same bytes, with the same version of this program on a 64-bit machine.
//! Memory holds one batch for each exporter and the longest trace, whatever the number of spans.

use std::collections::VecDeque;

use super::draw::{Draws, TraceContext};
use super::plan::{Plan, ScopeKind};
use super::trace::{Node, TRACE_SPANS_MAX, expand};
use super::wire::{bytes_field_len, put_bytes, put_len};

/// What to generate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkloadOptions {
    /// Decides everything that is random.
    pub(crate) seed: u64,
    /// Exactly so many spans; the last trace is cut for it.
    pub(crate) spans: u64,
    /// The traces' starts are spread from here, in nanoseconds since 1970, …
    pub(crate) begin_unix_nano: u64,
    /// … to here, over so many spans. What comes after them keeps the same distance.
    pub(crate) end_unix_nano: u64,
    /// Spans from `begin` to `end`.
    pub(crate) spans_of_time: u64,
    /// Spans of one request.
    pub(crate) batch_spans: usize,
}

/// One `ExportTraceServiceRequest`.
#[derive(Debug)]
pub(crate) struct GeneratedRequest {
    /// Its protobuf encoding.
    pub(crate) body: Vec<u8>,
    /// Its spans.
    pub(crate) spans: u32,
    /// Traces that were begun since the request before, with all their spans, wherever those are.
    pub(crate) traces: Vec<([u8; 16], u32)>,
}

/// Generates requests.
#[derive(Debug)]
pub(crate) struct Workload {
    options: WorkloadOptions,
    plan: Plan,
    draws: Draws,
    lanes: Vec<Lane>,
    /// For each resource where its spans wait, by scope.
    waiting: Vec<[Vec<u8>; ScopeKind::COUNT]>,
    /// For each topic the latest messages' contexts.
    published: Vec<VecDeque<([u8; 16], [u8; 8])>>,
    nodes: Vec<Node>,
    ready: VecDeque<(Vec<u8>, u32)>,
    traces: Vec<([u8; 16], u32)>,
    spans_left: u64,
    spans_done: u64,
    next_flush: usize,
}

/// An exporter: a pod's own, or that of an agent for several pods.
#[derive(Debug, Default)]
struct Lane {
    resources: Vec<u16>,
    spans: usize,
}

const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.27.0";
/// Messages of a topic that a consumer's batch can link to.
const PUBLISHED_MAX: usize = 64;

impl Workload {
    pub(crate) fn new(options: WorkloadOptions) -> Self {
        let mut draws = Draws::new(options.seed);
        let plan = Plan::new(&mut draws);
        let mut lanes: Vec<_> = (0..plan.lanes).map(|_| Lane::default()).collect();
        for (index, resource) in plan.resources.iter().enumerate() {
            lanes[usize::from(resource.lane)].resources.push(index as u16);
        }
        Self {
            waiting: plan.resources.iter().map(|_| Default::default()).collect(),
            published: (0..plan.topics).map(|_| VecDeque::with_capacity(PUBLISHED_MAX)).collect(),
            nodes: Vec::with_capacity(TRACE_SPANS_MAX),
            ready: VecDeque::new(),
            traces: Vec::new(),
            spans_left: options.spans,
            spans_done: 0,
            next_flush: 0,
            options,
            plan,
            draws,
            lanes,
        }
    }

    /// Begins no further trace: the requests that follow hold what is waiting.
    pub(crate) fn stop(&mut self) {
        self.spans_left = 0;
    }

    /// The next request; `None` when all spans have been given out.
    pub(crate) fn next_request(&mut self) -> Option<GeneratedRequest> {
        while self.ready.is_empty() {
            if self.spans_left > 0 {
                self.generate_trace();
            } else if self.next_flush < self.lanes.len() {
                let lane = self.next_flush;
                self.next_flush += 1;
                if self.lanes[lane].spans > 0 {
                    self.export(lane);
                }
            } else {
                return None;
            }
        }
        let (body, spans) = self.ready.pop_front()?;
        Some(GeneratedRequest { body, spans, traces: std::mem::take(&mut self.traces) })
    }

    fn generate_trace(&mut self) {
        let spans_max = self.spans_left.min(TRACE_SPANS_MAX as u64) as usize;
        let root = self.plan.roots[self.draws.below(self.plan.roots.len() as u32) as usize];
        let trace = self.draws.trace_context();
        expand(&self.plan, &mut self.draws, root, spans_max, &mut self.nodes);
        let begin_unix_nano = self.trace_start();
        let spans = self.nodes.len();
        self.spans_left -= spans as u64;
        self.spans_done += spans as u64;
        self.traces.push((trace.trace_id, spans as u32));
        let consumes = self.plan.endpoints[usize::from(root)].consumes;
        // From the last to the first: what ends early is exported early, and children end before
        // their parents.
        for index in (0..spans).rev() {
            let node = self.nodes[index];
            let resource = usize::from(node.resource);
            let mut into = std::mem::take(&mut self.waiting[resource][node.scope as usize]);
            let links = if index == 0 { consumes } else { None };
            self.put_span(&mut into, &trace, begin_unix_nano, index, links);
            self.waiting[resource][node.scope as usize] = into;
            if let Some(topic) = node.publishes {
                let topic = &mut self.published[usize::from(topic)];
                if topic.len() == PUBLISHED_MAX {
                    topic.pop_front();
                }
                topic.push_back((trace.trace_id, node.span_id));
            }
            let lane = usize::from(self.plan.resources[resource].lane);
            self.lanes[lane].spans += 1;
            if self.lanes[lane].spans >= self.options.batch_spans {
                self.export(lane);
            }
        }
    }

    /// Traces begin evenly over the span of time, each up to a millisecond late.
    fn trace_start(&mut self) -> u64 {
        let WorkloadOptions { begin_unix_nano, end_unix_nano, spans_of_time, .. } = self.options;
        let window = u128::from(end_unix_nano.saturating_sub(begin_unix_nano));
        let at = window * u128::from(self.spans_done) / u128::from(spans_of_time.max(1));
        begin_unix_nano.saturating_add(at as u64).saturating_add(u64::from(self.draws.below(1_000_000)))
    }

    /// Appends span `index` of the trace as field `spans` of a `ScopeSpans`.
    fn put_span(
        &mut self,
        into: &mut Vec<u8>,
        trace: &TraceContext,
        begin_unix_nano: u64,
        index: usize,
        links: Option<u8>,
    ) {
        let node = self.nodes[index];
        let at = into.len();
        // Every span is longer than 127 and shorter than 16,384 bytes: its length takes two.
        into.extend_from_slice(&[0x12, 0, 0]);
        let mut head = [0u8; 56];
        head[..2].copy_from_slice(&[0x0a, 16]);
        head[2..18].copy_from_slice(&trace.trace_id);
        head[18..20].copy_from_slice(&[0x12, 8]);
        head[20..28].copy_from_slice(&node.span_id);
        head[28] = 0x39;
        head[29..37].copy_from_slice(&(begin_unix_nano + node.start_ns).to_le_bytes());
        head[37] = 0x41;
        head[38..46].copy_from_slice(&(begin_unix_nano + node.end_ns).to_le_bytes());
        let len = if usize::from(node.parent) == index {
            46
        } else {
            head[46..48].copy_from_slice(&[0x22, 8]);
            head[48..56].copy_from_slice(&self.nodes[usize::from(node.parent)].span_id);
            56
        };
        into.extend_from_slice(&head[..len]);
        let template = &self.plan.templates[usize::from(node.template)];
        template.put(into, &self.plan.arena, trace, &mut self.draws, node.failed);
        self.put_rare(into, begin_unix_nano + node.start_ns);
        if node.failed {
            self.put_failure(into, &node, begin_unix_nano + node.end_ns);
        }
        if let Some(topic) = links {
            self.put_links(into, topic);
        }
        // Sampled, and the parent is known to be of the same process or not: bits 0, 8 and 9.
        let remote = matches!(node.scope, ScopeKind::Http | ScopeKind::Rpc);
        into.extend_from_slice(&[0x85, 0x01, 0x01, if remote { 0x03 } else { 0x01 }, 0, 0]);
        let len = into.len() - at - 3;
        debug_assert!((128..16_384).contains(&len), "a span of {len} bytes");
        into[at + 1] = len as u8 | 0x80;
        into[at + 2] = (len >> 7) as u8;
    }

    /// What only few spans have: attributes of the long tail, log-like events, a trace state.
    fn put_rare(&mut self, into: &mut Vec<u8>, start_unix_nano: u64) {
        let bits = self.draws.bits();
        if bits & 0xff < 20 {
            // The square of an even draw: the first keys are common, the last rare.
            let draw = u64::from(self.draws.below(1 << 16));
            let at = (draw * draw * self.plan.rare.len() as u64) >> 32;
            into.extend_from_slice(self.plan.arena.get(self.plan.rare[at as usize]));
        }
        if bits >> 16 & 0xff < 6 {
            let mut event = [0u8; 29];
            event[..3].copy_from_slice(&[0x5a, 27, 0x09]);
            event[3..11].copy_from_slice(&(start_unix_nano + 1_000).to_le_bytes());
            event[11..].copy_from_slice(b"\x12\x10message.received");
            into.extend_from_slice(&event);
        }
        if bits >> 24 & 0xff < 8 {
            put_bytes(into, 3, b"shop=1,th=0");
        }
    }

    fn put_failure(&mut self, into: &mut Vec<u8>, node: &Node, end_unix_nano: u64) {
        let service = usize::from(self.plan.resources[usize::from(node.resource)].service);
        let ways = &self.plan.exceptions[service];
        let exception = &ways[self.draws.below(ways.len() as u32) as usize];
        let arena = &self.plan.arena;
        into.extend_from_slice(arena.get(exception.error_type));
        if node.threw {
            let event = arena.get(exception.event);
            put_len(into, 11, 9 + event.len());
            into.push(0x09);
            into.extend_from_slice(&end_unix_nano.to_le_bytes());
            into.extend_from_slice(event);
        }
        into.extend_from_slice(arena.get(exception.status));
    }

    /// Links to some of the latest messages of a topic, each at most once.
    fn put_links(&mut self, into: &mut Vec<u8>, topic: u8) {
        let count = 1 + self.draws.below(6) as usize;
        for (trace_id, span_id) in self.published[usize::from(topic)].iter().rev().take(count) {
            into.extend_from_slice(&[0x6a, 28, 0x0a, 16]);
            into.extend_from_slice(trace_id);
            into.extend_from_slice(&[0x12, 8]);
            into.extend_from_slice(span_id);
        }
    }

    /// Puts what waits at an exporter into a request.
    fn export(&mut self, lane: usize) {
        let exporter = &mut self.lanes[lane];
        let spans = std::mem::take(&mut exporter.spans) as u32;
        let waiting_len: usize = exporter
            .resources
            .iter()
            .flat_map(|index| &self.waiting[usize::from(*index)])
            .map(Vec::len)
            .sum();
        let mut body = Vec::with_capacity(waiting_len + 1024 * exporter.resources.len());
        for index in &exporter.resources {
            let planned = &self.plan.resources[usize::from(*index)];
            let waiting = &mut self.waiting[usize::from(*index)];
            let scopes = || planned.scopes.iter().zip(waiting.iter()).filter(|(_, spans)| !spans.is_empty());
            let scope_spans_len: usize = scopes()
                .map(|(scope, spans)| bytes_field_len(bytes_field_len(scope.len()) + spans.len()))
                .sum();
            if scope_spans_len == 0 {
                continue;
            }
            let resource_len = bytes_field_len(planned.resource.len());
            put_len(&mut body, 1, resource_len + scope_spans_len + bytes_field_len(SCHEMA_URL.len()));
            put_bytes(&mut body, 1, &planned.resource);
            for (scope, spans) in scopes() {
                put_len(&mut body, 2, bytes_field_len(scope.len()) + spans.len());
                put_bytes(&mut body, 1, scope);
                body.extend_from_slice(spans);
            }
            put_bytes(&mut body, 3, SCHEMA_URL.as_bytes());
            for spans in waiting {
                spans.clear();
            }
        }
        self.ready.push_back((body, spans));
    }
}

#[cfg(test)]
mod tests;
