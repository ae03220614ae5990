//! The tree of a trace: who called whom, as far as the spans say.
//!
//! Building takes O(n log n) time and O(n) memory whatever the spans claim, and nothing recurses: a
//! chain of a hundred thousand spans is walked like any other trace.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tracelake_model::{Resource, SpanId, SpanView};

/// `STATUS_CODE_ERROR` of OTLP.
const STATUS_CODE_ERROR: i32 = 2;

/// Why a span stands where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// It has no parent.
    Root,
    /// Below the node with this index.
    Child(usize),
    /// At the top: its parent is not among the spans.
    Orphan {
        /// The parent that is missing.
        parent: SpanId,
    },
    /// At the top: following its parents leads back to it. Of the spans of such a circle the
    /// earliest is cut loose; a span that names itself as its parent is a circle of one.
    Cycle {
        /// The parent that it names.
        parent: SpanId,
    },
}

/// A span in its place.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// The span.
    pub span: SpanView<'a>,
    /// Where it stands, and why.
    pub attachment: Attachment,
    /// Which of [`TraceTree::services`].
    pub service: usize,
    /// Whether another span of the trace has the same ID.
    pub shares_id: bool,
    children: Range<usize>,
}

/// A service that took part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service<'a> {
    /// `service.name`; none if the resource has none.
    pub name: Option<&'a str>,
    /// How many spans it has.
    pub spans: usize,
    /// How many of them are errors.
    pub errors: usize,
}

/// The tree of a trace. Nodes are numbered by start, then span ID, then as they came; children and
/// the nodes at the top stand in that order.
#[derive(Debug, Clone, Default)]
pub struct TraceTree<'a> {
    nodes: Vec<Node<'a>>,
    /// Children of all nodes, each node's together.
    children: Vec<usize>,
    top: Vec<usize>,
    services: Vec<Service<'a>>,
    end_unix_nano: u64,
    error_count: usize,
}

/// A node on a walk through the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The node's index.
    pub node: usize,
    /// How far below the top it is; 0 at the top.
    pub depth: usize,
    /// Whether no sibling comes after it.
    pub is_last: bool,
}

/// Walks a tree from the top, each node before its children.
#[derive(Debug, Clone)]
pub struct Walk<'t, 'a> {
    tree: &'t TraceTree<'a>,
    /// Siblings yet to visit, by depth.
    rest: Vec<&'t [usize]>,
}

impl<'a> TraceTree<'a> {
    /// Builds the tree of the spans of one trace. Every span given becomes one node: leaving out
    /// spans that came twice is up to who reads the trace.
    ///
    /// Where several spans have the ID that a span names as its parent, it stands below the first
    /// of them.
    pub fn build(spans: impl IntoIterator<Item = SpanView<'a>>) -> Self {
        let mut spans: Vec<SpanView<'a>> = spans.into_iter().collect();
        spans.sort_by_key(|span| (span.start_unix_nano(), span.span_id()));

        let mut by_id: Vec<(SpanId, usize)> = spans.iter().map(|span| span.span_id()).zip(0..).collect();
        by_id.sort_unstable();
        let first_with = |id: SpanId| {
            let at = by_id.partition_point(|(other, _)| *other < id);
            by_id.get(at).filter(|(other, _)| *other == id).map(|(_, index)| *index)
        };
        let mut attachments: Vec<Attachment> = spans
            .iter()
            .map(|span| match span.parent_span_id() {
                None => Attachment::Root,
                Some(parent) => first_with(parent).map_or(Attachment::Orphan { parent }, Attachment::Child),
            })
            .collect();
        cut_cycles(&mut attachments, &spans);

        let mut shares_id = vec![false; spans.len()];
        for pair in by_id.windows(2) {
            if let [(a, first), (b, second)] = pair
                && a == b
            {
                shares_id[*first] = true;
                shares_id[*second] = true;
            }
        }

        let (children, ranges, top) = group_children(&attachments);
        let end_unix_nano =
            spans.iter().map(|span| span.end_unix_nano().max(span.start_unix_nano())).max().unwrap_or(0);
        let error_count = spans.iter().filter(|span| is_error(span)).count();
        let (services, service_of) = services_of(&spans);
        let nodes = spans
            .into_iter()
            .zip(attachments)
            .zip(ranges)
            .zip(shares_id.into_iter().zip(service_of))
            .map(|(((span, attachment), children), (shares_id, service))| Node {
                span,
                attachment,
                service,
                shares_id,
                children,
            })
            .collect();
        Self { nodes, children, top, services, end_unix_nano, error_count }
    }

    /// All nodes, by start, then span ID, then as they came.
    pub fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }

    /// The children of a node, by start; none if there is no such node.
    pub fn children(&self, node: usize) -> &[usize] {
        self.nodes.get(node).and_then(|node| self.children.get(node.children.clone())).unwrap_or_default()
    }

    /// The nodes that stand below no other, by start: roots, orphans, and where circles were cut.
    pub fn top(&self) -> &[usize] {
        &self.top
    }

    /// The earliest span without a parent; none if the root has not arrived.
    pub fn root(&self) -> Option<usize> {
        self.top.iter().copied().find(|index| self.nodes[*index].attachment == Attachment::Root)
    }

    /// Spans whose parent is not among the spans.
    pub fn orphan_count(&self) -> usize {
        self.count_top(|attachment| matches!(attachment, Attachment::Orphan { .. }))
    }

    /// Circles that were cut.
    pub fn cycle_count(&self) -> usize {
        self.count_top(|attachment| matches!(attachment, Attachment::Cycle { .. }))
    }

    fn count_top(&self, wanted: impl Fn(&Attachment) -> bool) -> usize {
        self.top.iter().filter(|index| wanted(&self.nodes[**index].attachment)).count()
    }

    /// The earliest start, in nanoseconds since 1970; 0 without spans.
    pub fn start_unix_nano(&self) -> u64 {
        self.nodes.first().map_or(0, |node| node.span.start_unix_nano())
    }

    /// The latest end, in nanoseconds since 1970; a span that ends before it starts ends where it
    /// starts.
    pub fn end_unix_nano(&self) -> u64 {
        self.end_unix_nano
    }

    /// From the earliest start to the latest end, in nanoseconds.
    pub fn duration_nano(&self) -> u64 {
        self.end_unix_nano - self.start_unix_nano()
    }

    /// Spans whose status is an error.
    pub fn error_count(&self) -> usize {
        self.error_count
    }

    /// The services, in the order in which they first appear.
    pub fn services(&self) -> &[Service<'a>] {
        &self.services
    }

    /// Every node once, each before its children.
    pub fn walk(&self) -> Walk<'_, 'a> {
        Walk { tree: self, rest: vec![&self.top] }
    }
}

impl Node<'_> {
    /// Whether the span's status is an error.
    pub fn is_error(&self) -> bool {
        is_error(&self.span)
    }
}

impl Iterator for Walk<'_, '_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            let depth = self.rest.len().checked_sub(1)?;
            match self.rest[depth].split_first() {
                Some((node, siblings)) => {
                    self.rest[depth] = siblings;
                    self.rest.push(self.tree.children(*node));
                    return Some(Step { node: *node, depth, is_last: siblings.is_empty() });
                }
                None => {
                    self.rest.pop();
                }
            }
        }
    }
}

fn is_error(span: &SpanView<'_>) -> bool {
    span.status_code() == STATUS_CODE_ERROR
}

/// Cuts every circle at its earliest node. Each node has at most one parent, so following parents
/// from every node, and stopping at what an earlier walk has seen, visits each node once.
fn cut_cycles(attachments: &mut [Attachment], spans: &[SpanView<'_>]) {
    const UNSEEN: usize = usize::MAX;
    let mut seen_by = vec![UNSEEN; attachments.len()];
    for start in 0..attachments.len() {
        let mut at = start;
        while seen_by[at] == UNSEEN {
            seen_by[at] = start;
            match attachments[at] {
                Attachment::Child(parent) => at = parent,
                _ => break,
            }
        }
        let Attachment::Child(next) = attachments[at] else { continue };
        if seen_by[at] != start {
            continue;
        }
        // This walk met itself: `at` is on a circle. Nodes are numbered by start.
        let (mut earliest, mut on) = (at, next);
        while on != at {
            earliest = earliest.min(on);
            let Attachment::Child(parent) = attachments[on] else { break };
            on = parent;
        }
        if let Some(parent) = spans[earliest].parent_span_id() {
            attachments[earliest] = Attachment::Cycle { parent };
        }
    }
}

/// Children of all nodes, the range of each node's, and the nodes at the top, all in ascending order.
fn group_children(attachments: &[Attachment]) -> (Vec<usize>, Vec<Range<usize>>, Vec<usize>) {
    let mut counts = vec![0_usize; attachments.len()];
    for attachment in attachments {
        if let Attachment::Child(parent) = attachment {
            counts[*parent] += 1;
        }
    }
    let mut total = 0;
    let mut ranges: Vec<Range<usize>> = Vec::with_capacity(attachments.len());
    for count in counts {
        // Empty for now: filled from its start below.
        ranges.push(total..total);
        total += count;
    }
    let mut children = vec![0; total];
    let mut top = Vec::new();
    for (index, attachment) in attachments.iter().enumerate() {
        match attachment {
            Attachment::Child(parent) => {
                let range = &mut ranges[*parent];
                children[range.end] = index;
                range.end += 1;
            }
            _ => top.push(index),
        }
    }
    (children, ranges, top)
}

/// The services, and which of them each span belongs to.
fn services_of<'a>(spans: &[SpanView<'a>]) -> (Vec<Service<'a>>, Vec<usize>) {
    let mut services: Vec<Service<'a>> = Vec::new();
    let mut by_name: BTreeMap<Option<&'a str>, usize> = BTreeMap::new();
    // Finding the name takes a walk over the resource's attributes: once a resource, not once a span.
    let mut by_resource: BTreeMap<*const Resource, usize> = BTreeMap::new();
    let service_of = spans
        .iter()
        .map(|span| {
            let index = *by_resource.entry(Arc::as_ptr(span.resource())).or_insert_with(|| {
                let name = span.resource().service_name();
                *by_name.entry(name).or_insert_with(|| {
                    services.push(Service { name, spans: 0, errors: 0 });
                    services.len() - 1
                })
            });
            services[index].spans += 1;
            services[index].errors += usize::from(is_error(span));
            index
        })
        .collect();
    (services, service_of)
}

#[cfg(test)]
mod tests;
