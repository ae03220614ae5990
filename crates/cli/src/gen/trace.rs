//! One trace: an endpoint is asked, does its steps, and asks others; what comes of it is a list of
//! spans with times inside their parents' and failures that travel upwards.

use super::draw::Draws;
use super::plan::{Plan, PlannedAction, ScopeKind};

/// The most spans of one trace.
pub(super) const TRACE_SPANS_MAX: usize = 200;

/// A span to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) template: u16,
    pub(super) scope: ScopeKind,
    pub(super) resource: u16,
    /// Index of the parent among the trace's nodes; the root is its own.
    pub(super) parent: u16,
    pub(super) span_id: [u8; 8],
    /// Since the trace's start.
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) failed: bool,
    /// Whether it threw, rather than only passed a failure on.
    pub(super) threw: bool,
    pub(super) publishes: Option<u8>,
}

/// Spans that throw, of a million. With those that pass it on, some 1.5 % of all spans fail.
const THROWN_PER_MILLION: u32 = 6_000;
/// How often a caller fails with what it called.
const PASSED_ON_PERCENT: u8 = 55;

/// Fills `nodes` with a trace that begins at endpoint `root` and has at most `spans_max` spans;
/// parents stand before their children.
pub(super) fn expand(plan: &Plan, draws: &mut Draws, root: u16, spans_max: usize, nodes: &mut Vec<Node>) {
    nodes.clear();
    let spans_max = spans_max.clamp(1, TRACE_SPANS_MAX);
    Expansion { plan, draws, nodes, spans_max }.serve(root, None, 0);
    for child in (1..nodes.len()).rev() {
        if nodes[child].failed && draws.percent(PASSED_ON_PERCENT) {
            let parent = usize::from(nodes[child].parent);
            nodes[parent].failed = true;
        }
    }
}

struct Expansion<'a> {
    plan: &'a Plan,
    draws: &'a mut Draws,
    nodes: &'a mut Vec<Node>,
    spans_max: usize,
}

impl Expansion<'_> {
    fn push(
        &mut self,
        parent: Option<u16>,
        (template, scope): (u16, ScopeKind),
        resource: u16,
        start_ns: u64,
    ) -> u16 {
        let index = self.nodes.len() as u16;
        let threw = self.draws.below(1_000_000) < THROWN_PER_MILLION;
        self.nodes.push(Node {
            template,
            scope,
            resource,
            parent: parent.unwrap_or(index),
            span_id: self.draws.span_id(),
            start_ns,
            end_ns: start_ns,
            failed: threw,
            threw,
            publishes: None,
        });
        index
    }

    /// The endpoint's span and all below it; the time at which it ends.
    fn serve(&mut self, endpoint: u16, parent: Option<u16>, start_ns: u64) -> u64 {
        let plan = self.plan;
        let planned = &plan.endpoints[usize::from(endpoint)];
        let pods = &plan.pods[usize::from(planned.service)];
        let resource = pods.start + self.draws.below(u32::from(pods.end - pods.start)) as u16;
        let own = self.push(parent, planned.served, resource, start_ns);
        let work_ns = self.draws.duration_ns(planned.work_ns);
        let mut now = start_ns + work_ns / 3;
        // Where the parallel steps that run now began, and when the last of them ends.
        let mut group: Option<(u64, u64)> = None;
        for step in &planned.steps {
            if !self.draws.percent(step.percent) {
                continue;
            }
            if !step.parallel
                && let Some((_, end_ns)) = group.take()
            {
                now = end_ns;
            }
            let (least, most) = step.times;
            let times = least + self.draws.below(u32::from(most - least) + 1) as u8;
            for _ in 0..times {
                if self.nodes.len() >= self.spans_max {
                    break;
                }
                if step.parallel {
                    let (begun_ns, end_ns) = group.unwrap_or((now, now));
                    let begins_ns = begun_ns + u64::from(self.draws.below(90_000));
                    group = Some((begins_ns, end_ns.max(self.act(&step.action, own, resource, begins_ns))));
                } else {
                    now = self.act(&step.action, own, resource, now) + u64::from(self.draws.below(60_000));
                }
            }
        }
        if let Some((_, end_ns)) = group {
            now = end_ns;
        }
        let end_ns = now + work_ns - work_ns / 3;
        self.nodes[usize::from(own)].end_ns = end_ns;
        end_ns
    }

    fn act(&mut self, action: &PlannedAction, parent: u16, resource: u16, start_ns: u64) -> u64 {
        match *action {
            PlannedAction::Leaf { template, scope, work_ns, publishes } => {
                let index = usize::from(self.push(Some(parent), (template, scope), resource, start_ns));
                let end_ns = start_ns + self.draws.duration_ns(work_ns);
                self.nodes[index].end_ns = end_ns;
                self.nodes[index].publishes = publishes;
                end_ns
            }
            PlannedAction::Call { endpoint } => {
                let called = self.plan.endpoints[usize::from(endpoint)].called;
                let index = self.push(Some(parent), called, resource, start_ns);
                let network_ns = self.draws.duration_ns(180_000);
                let mut end_ns = start_ns + network_ns;
                if self.nodes.len() < self.spans_max {
                    end_ns = self.serve(endpoint, Some(index), end_ns);
                }
                end_ns += network_ns;
                self.nodes[usize::from(index)].end_ns = end_ns;
                end_ns
            }
        }
    }
}
