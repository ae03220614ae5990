use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tracelake_model::{KeyValue, Scope, SpanBatch, SpanBatchBuilder, SpanScalars, TraceId, Value};

use super::*;

/// What of a span the tree looks at; 0 as parent is none.
#[derive(Debug, Clone, Copy)]
struct Given {
    id: u8,
    parent: u8,
    start: u64,
    end: u64,
    error: bool,
    service: u8,
}

fn given(id: u8, parent: u8, start: u64, end: u64) -> Given {
    Given { id, parent, start, end, error: false, service: 1 }
}

fn span_id(number: u64) -> Option<SpanId> {
    SpanId::from_bytes(&number.to_be_bytes())
}

fn batch(spans: impl IntoIterator<Item = (u64, u64, Given)>) -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    let scope = builder.scope(Arc::new(Scope::default()));
    let resources: Vec<u32> = (0..4)
        .map(|service| {
            let name = Value::Text(format!("service-{service}").into());
            let named = KeyValue { key: "service.name".into(), value: name };
            // Number 0 has no name.
            let attributes = if service == 0 { vec![] } else { vec![named] };
            builder.resource(Arc::new(Resource { attributes, ..Resource::default() }))
        })
        .collect();
    for (id, parent, span) in spans {
        builder.finish_span(SpanScalars {
            parent_span_id: span_id(parent),
            start_unix_nano: span.start,
            end_unix_nano: span.end,
            status_code: if span.error { 2 } else { 0 },
            resource: resources[usize::from(span.service)],
            scope,
            ..SpanScalars::new(
                TraceId::from_bytes(&[7; 16]).expect("not zero"),
                span_id(id).expect("not zero"),
            )
        });
    }
    builder.finish()
}

fn small(spans: &[Given]) -> SpanBatch {
    batch(spans.iter().map(|span| (u64::from(span.id), u64::from(span.parent), *span)))
}

/// The walk as text: a line a span, indented, with marks.
fn drawn(tree: &TraceTree<'_>) -> Vec<String> {
    tree.walk()
        .map(|step| {
            let node = &tree.nodes()[step.node];
            let mark = match node.attachment {
                Attachment::Root => " root",
                Attachment::Child(_) => "",
                Attachment::Orphan { .. } => " orphan",
                Attachment::Cycle { .. } => " cycle",
            };
            let shared = if node.shares_id { " shared" } else { "" };
            let id = node.span.span_id().as_bytes()[7];
            format!("{}{id}{mark}{shared}", "  ".repeat(step.depth))
        })
        .collect()
}

#[test]
fn children_stand_below_their_parent_by_start_then_span_id() {
    let batch = small(&[
        given(5, 1, 30, 40),
        given(3, 1, 20, 25),
        given(4, 3, 21, 22),
        given(2, 1, 20, 29),
        given(1, 0, 10, 50),
    ]);
    let tree = TraceTree::build(batch.spans());
    assert_eq!(drawn(&tree), ["1 root", "  2", "  3", "    4", "  5"]);
    let last: Vec<bool> = tree.walk().map(|step| step.is_last).collect();
    assert_eq!(last, [true, false, false, true, true]);
    assert_eq!((tree.start_unix_nano(), tree.end_unix_nano(), tree.duration_nano()), (10, 50, 40));
    assert_eq!(tree.root(), Some(0));
}

#[test]
fn a_span_whose_parent_is_missing_is_an_orphan_at_the_top() {
    let batch = small(&[given(2, 9, 20, 30), given(3, 2, 21, 22)]);
    let tree = TraceTree::build(batch.spans());
    assert_eq!(drawn(&tree), ["2 orphan", "  3"]);
    assert_eq!((tree.root(), tree.orphan_count(), tree.cycle_count()), (None, 1, 0));
    let parent = span_id(9).expect("not zero");
    assert_eq!(tree.nodes()[0].attachment, Attachment::Orphan { parent });
}

#[test]
fn a_circle_is_cut_at_its_earliest_span() {
    // 2 → 3 → 4 → 2, with 5 hanging from it; 6 is its own parent.
    let batch = small(&[
        given(4, 3, 7, 9),
        given(2, 4, 6, 9),
        given(3, 2, 5, 9),
        given(5, 2, 1, 9),
        given(6, 6, 8, 9),
    ]);
    let tree = TraceTree::build(batch.spans());
    assert_eq!(drawn(&tree), ["3 cycle", "  4", "    2", "      5", "6 cycle"]);
    assert_eq!((tree.root(), tree.orphan_count(), tree.cycle_count()), (None, 0, 2));
}

#[test]
fn spans_that_share_an_id_are_both_kept_and_children_go_to_the_first() {
    let batch = small(&[given(1, 0, 1, 9), given(2, 1, 4, 5), given(2, 1, 3, 6), given(3, 2, 5, 5)]);
    let tree = TraceTree::build(batch.spans());
    assert_eq!(drawn(&tree), ["1 root", "  2 shared", "    3", "  2 shared"]);
    assert_eq!(tree.nodes()[1].span.start_unix_nano(), 3);
}

#[test]
fn services_errors_and_the_end_are_told() {
    let spans = [
        Given { service: 2, ..given(1, 0, 10, 20) },
        Given { service: 0, error: true, ..given(2, 1, 11, 12) },
        Given { service: 2, error: true, ..given(3, 1, 12, 30) },
        // Ends before it starts: it still reaches its own start.
        Given { service: 1, ..given(4, 1, 40, 35) },
    ];
    let batch = small(&spans);
    let tree = TraceTree::build(batch.spans());
    let services: Vec<_> = tree.services().iter().map(|s| (s.name, s.spans, s.errors)).collect();
    assert_eq!(services, [(Some("service-2"), 2, 1), (None, 1, 1), (Some("service-1"), 1, 0)]);
    assert_eq!((tree.error_count(), tree.end_unix_nano()), (2, 40));
    assert!(tree.nodes()[1].is_error() && !tree.nodes()[0].is_error());
}

#[test]
fn no_spans_make_an_empty_tree() {
    let tree = TraceTree::build([]);
    assert_eq!((tree.walk().count(), tree.root(), tree.duration_nano()), (0, None, 0));
    assert!(tree.children(0).is_empty());
}

#[test]
fn a_chain_of_a_hundred_thousand_spans_is_a_tree() {
    const SPANS: u64 = 100_000;
    let batch = batch((1..=SPANS).map(|id| (id, id - 1, given(0, 0, id, SPANS))));
    let tree = TraceTree::build(batch.spans());
    let steps: Vec<Step> = tree.walk().collect();
    assert_eq!(steps.len(), batch.len());
    assert!(steps.iter().enumerate().all(|(index, step)| step.node == index && step.depth == index));
    // The same, closed to a circle.
    let circle = (1..=SPANS).map(|id| (id, if id == 1 { SPANS } else { id - 1 }, given(0, 0, 5, 6)));
    let batch = super::tests::batch(circle);
    let tree = TraceTree::build(batch.spans());
    assert_eq!((tree.cycle_count(), tree.walk().count()), (1, batch.len()));
}

/// A runner whose seed is printed, and taken from `TRACELAKE_TEST_SEED` if that is set.
fn seeded_runner(cases: u32) -> TestRunner {
    let seed: u64 = std::env::var("TRACELAKE_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand_seed);
    println!("TRACELAKE_TEST_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn rand_seed() -> u64 {
    TestRunner::default().rng().next_u64()
}

/// Few IDs, so that circles, self-parents, shared IDs and missing parents are common.
fn any_spans() -> impl Strategy<Value = Vec<Given>> {
    let span = (1..40_u8, 0..44_u8, 0..20_u64, 0..25_u64, any::<bool>(), 0..4_u8).prop_map(
        |(id, parent, start, end, error, service)| Given { id, parent, start, end, error, service },
    );
    prop::collection::vec(span, 0..80)
}

#[test]
fn every_span_appears_once_below_the_parent_it_names() {
    let check = |spans: Vec<Given>| {
        let batch = small(&spans);
        let tree = TraceTree::build(batch.spans());

        let mut rows: Vec<usize> = tree.nodes().iter().map(|node| node.span.row()).collect();
        rows.sort_unstable();
        prop_assert_eq!(rows, (0..spans.len()).collect::<Vec<_>>());
        let mut walked: Vec<usize> = tree.walk().map(|step| step.node).collect();
        let mut path: Vec<usize> = Vec::new();
        for step in tree.walk() {
            path.truncate(step.depth);
            let above = path.last().copied();
            path.push(step.node);
            let node = &tree.nodes()[step.node];
            match node.attachment {
                Attachment::Child(parent) => {
                    prop_assert_eq!(above, Some(parent));
                    prop_assert_eq!(Some(tree.nodes()[parent].span.span_id()), node.span.parent_span_id());
                }
                Attachment::Root => {
                    prop_assert_eq!((above, node.span.parent_span_id()), (None, None));
                }
                Attachment::Orphan { parent } => {
                    prop_assert_eq!((above, node.span.parent_span_id()), (None, Some(parent)));
                    prop_assert!(spans.iter().all(|span| span_id(span.id.into()) != Some(parent)));
                }
                Attachment::Cycle { parent } => {
                    prop_assert_eq!((above, node.span.parent_span_id()), (None, Some(parent)));
                    prop_assert!(leads_back(&tree, step.node), "cut although there is no circle");
                }
            }
            let same_id = spans.iter().filter(|span| span_id(span.id.into()) == Some(node.span.span_id()));
            prop_assert_eq!(node.shares_id, same_id.count() > 1);
        }
        walked.sort_unstable();
        prop_assert_eq!(walked, (0..spans.len()).collect::<Vec<_>>());

        let in_order = |indexes: &[usize]| indexes.is_sorted();
        prop_assert!(in_order(tree.top()) && (0..spans.len()).all(|node| in_order(tree.children(node))));
        let key = |node: &Node<'_>| (node.span.start_unix_nano(), node.span.span_id());
        prop_assert!(tree.nodes().is_sorted_by_key(key));
        prop_assert_eq!(tree.error_count(), spans.iter().filter(|span| span.error).count());
        let services: BTreeSet<u8> = spans.iter().map(|span| span.service).collect();
        prop_assert_eq!(tree.services().len(), services.len());
        Ok(())
    };
    let result = seeded_runner(2_000).run(&any_spans(), check);
    assert!(result.is_ok(), "{result:?}");
}

/// Whether following parents from a cut node, the cut one included, comes back to it.
fn leads_back(tree: &TraceTree<'_>, cut: usize) -> bool {
    let Attachment::Cycle { parent } = tree.nodes()[cut].attachment else { return false };
    let mut at = tree.nodes().iter().position(|node| node.span.span_id() == parent);
    while let Some(index) = at {
        if index == cut {
            return true;
        }
        at = match tree.nodes()[index].attachment {
            Attachment::Child(parent) => Some(parent),
            _ => None,
        };
    }
    false
}
