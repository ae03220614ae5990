use tracelake_model::{Resource, Scope, SpanBatchBuilder, SpanScalars, TraceId};

use super::*;

const LIMITS: TraceLimits = TraceLimits { spans_max: 100, heap_bytes_max: 1 << 20 };

/// A batch of one trace with (span, start, name).
fn batch(spans: &[(u8, u64, &str)]) -> SpanBatch {
    let mut builder = SpanBatchBuilder::new();
    let resource = builder.resource(Arc::new(Resource::default()));
    let scope = builder.scope(Arc::new(Scope::default()));
    for (span, start, name) in spans {
        let name = builder.known_term(name);
        builder.finish_span(SpanScalars {
            start_unix_nano: *start,
            end_unix_nano: *start,
            name,
            resource,
            scope,
            ..SpanScalars::new(
                TraceId::from_bytes(&[9; 16]).expect("not zero"),
                SpanId::from_bytes(&[*span; 8]).expect("not zero"),
            )
        });
    }
    builder.finish()
}

fn read(trace: &TraceSpans) -> Vec<(u8, &str)> {
    trace.spans().map(|span| (span.span_id().as_bytes()[0], span.name())).collect()
}

#[test]
fn spans_come_by_start_and_each_once() {
    let mut assembler = Assembler::new(LIMITS);
    assert!(assembler.add_read(batch(&[(3, 30, "c"), (1, 10, "a")])));
    assert!(assembler.add_read(batch(&[(2, 20, "b"), (1, 10, "a"), (1, 10, "a")])));
    let trace = assembler.finish().expect("there are spans");
    assert_eq!(read(&trace), [(1, "a"), (2, "b"), (3, "c")]);
    assert!(trace.conflicting_span_ids().is_empty());
}

#[test]
fn one_identifier_with_two_contents_is_shown_twice_and_named() {
    let mut assembler = Assembler::new(LIMITS);
    assert!(assembler.add_read(batch(&[(1, 10, "a"), (1, 10, "another"), (1, 10, "a"), (1, 11, "third")])));
    let trace = assembler.finish().expect("there are spans");
    assert_eq!(read(&trace), [(1, "a"), (1, "another"), (1, "third")]);
    assert_eq!(trace.conflicting_span_ids(), [SpanId::from_bytes(&[1; 8]).expect("not zero")]);
}

#[test]
fn nothing_is_no_trace_unless_something_is_missing() {
    assert!(Assembler::new(LIMITS).finish().is_none());
    let mut assembler = Assembler::new(LIMITS);
    let gap = Gap { kind: crate::GapKind::Index, segment: None, why: "a segment".to_owned() };
    assembler.lacks(gap.clone());
    let trace = assembler.finish().expect("an answer that says what it lacks");
    assert_eq!((trace.len(), trace.missing()), (0, &[gap][..]));
}

#[test]
fn what_does_not_fit_is_left_out_before_it_is_added() {
    let large = "x".repeat(100_000);
    let mut assembler = Assembler::new(TraceLimits { spans_max: 100, heap_bytes_max: 50_000 });
    assert!(!assembler.add_read(batch(&[(1, 10, &large)])), "one span alone is larger than the limit");
    assert!(!assembler.add_read(batch(&[(2, 20, "b"), (3, 30, &large), (4, 40, "d")])));
    assert!(assembler.add_read(batch(&[(5, 50, "e")])), "there is room for small ones");
    assert!(!assembler.add_read(batch(&[(6, 60, &large[..49_000])])), "what was added counts");
    let trace = assembler.finish().expect("there are spans");
    assert_eq!(read(&trace), [(2, "b"), (4, "d"), (5, "e")]);
    let held: usize = trace.into_parts().0.iter().map(|batch| batch.heap_bytes()).sum();
    assert!(held <= 50_000, "{held} bytes");
}

#[test]
fn no_more_spans_are_added_than_an_answer_may_have() {
    let mut assembler = Assembler::new(TraceLimits { spans_max: 3, heap_bytes_max: 1 << 20 });
    assert!(assembler.add_read(batch(&[(1, 10, "a"), (2, 20, "b")])));
    assert!(!assembler.add_read(batch(&[(3, 30, "c"), (4, 40, "d")])));
    assert_eq!(assembler.spans_left(), 0);
    assert!(!assembler.add_read(batch(&[(5, 50, "e")])));
    assert_eq!(read(&assembler.finish().expect("there are spans")), [(1, "a"), (2, "b"), (3, "c")]);
}
