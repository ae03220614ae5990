//! Batches: many traces in bounded memory, answers that nobody takes, and time that is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_query::{EngineOptions, GapKind, TraceLimits};
use tracelake_store::env::fault_store::{Fault, Operation};

use crate::support::{World, trace_id};

fn rows_decoded(world: &World) -> u64 {
    world.store.segments().totals().counts().rows_decoded
}

/// What was decoded when nothing more is: whoever works waits for its answers to be taken.
async fn rows_decoded_at_rest(world: &World) -> u64 {
    let mut before = rows_decoded(world);
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = rows_decoded(world);
        if now == before {
            return now;
        }
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_traces_are_read_as_their_answers_are_taken() {
    let world = World::new(1, EngineOptions::default()).await;
    for thousand in 0..12 {
        let spans: Vec<_> = (0..1_000).map(|span| thousand * 1_000 + span).collect();
        world.ingest(&spans.iter().map(|span| (*span, *span, "")).collect::<Vec<_>>()).await;
        if thousand % 3 == 2 {
            world.flush().await;
        }
    }
    // Every eleventh is not there.
    let ids: Vec<_> = (0..10_000).map(|at| trace_id(if at % 11 == 0 { 100_000 + at } else { at })).collect();
    let mut answers = Box::pin(world.engine.traces(&world.tenant, ids.clone()));
    let mut found = vec![answers.next().await.expect("an answer")];
    let ahead = rows_decoded_at_rest(&world).await;
    assert!((1..2_000).contains(&ahead), "{ahead} rows were decoded for one answer that was taken");
    found.extend(answers.collect::<Vec<_>>().await);
    assert_eq!(found.len(), ids.len());
    assert_eq!(found.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>(), ids.iter().copied().collect());
    for (id, spans) in &found {
        let number = u128::from_be_bytes(*id.as_bytes()) - 1;
        let expected = usize::from(number < 100_000);
        assert_eq!(spans.as_ref().map_or(0, |spans| spans.len()), expected, "trace {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rows_with_much_text_are_decoded_together() {
    let world = World::new(1, EngineOptions::default()).await;
    let mut random = StdRng::seed_from_u64(1);
    let texts: Vec<String> = (0..300)
        .map(|_| {
            let text: String = (0..100_000).map(|_| char::from(random.random_range(b'0'..=b'z'))).collect();
            let text = text.replace('\\', "/");
            format!(r#","attributes":[{{"key":"prompt","value":{{"stringValue":"{text}"}}}}]"#)
        })
        .collect();
    for (number, texts) in texts.chunks(100).enumerate() {
        let spans: Vec<_> =
            texts.iter().zip(number as u64 * 100..).map(|(text, at)| (at, at, &**text)).collect();
        world.ingest(&spans).await;
    }
    world.flush().await;
    let mut answers = Box::pin(world.engine.traces(&world.tenant, (0..300).map(trace_id).collect()));
    assert!(answers.next().await.is_some());
    // Some 30 at a time for each of two workers, and what waits to be taken.
    let ahead = rows_decoded_at_rest(&world).await;
    assert!((1..=150).contains(&ahead), "{ahead} rows of 100 KB were decoded for one answer that was taken");
    assert_eq!(answers.count().await, 299);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_late_names_the_segments_that_it_did_not_read() {
    let options = EngineOptions { time_max: Duration::from_millis(200), ..EngineOptions::default() };
    let world = World::new(1, options).await;
    world.ingest(&[(1, 1, ""), (2, 2, "")]).await;
    world.flush().await;
    world.ingest(&[(2, 3, "")]).await;
    world.faults.set_plan(|call| {
        let segment = call.operation == Operation::Get && call.path.as_ref().starts_with("segments/");
        segment.then_some(Fault::Hang)
    });
    let path = world.store.snapshot().manifest.segments[0].path.clone();
    let ids = (1..4).map(trace_id).collect();
    let answers: Vec<_> = world.engine.traces(&world.tenant, ids).collect().await;
    assert_eq!(answers.len(), 3);
    for (id, spans) in answers {
        let spans = spans.map(|spans| (spans.len(), spans.missing().to_vec()));
        match u128::from_be_bytes(*id.as_bytes()) - 1 {
            3 => assert!(spans.is_none(), "its filter says that it is nowhere"),
            number => {
                let (spans, missing) = spans.expect("a part");
                assert_eq!(spans, usize::from(number == 2), "what is in memory");
                let missing: Vec<_> = missing.iter().map(|gap| (gap.kind, gap.segment.as_ref())).collect();
                assert_eq!(missing, [(GapKind::Deadline, Some(&path))], "trace {number}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_late_gives_up_all_that_is_left_of_it() {
    let options =
        EngineOptions { time_max: Duration::from_millis(200), batch_workers: 1, ..EngineOptions::default() };
    let world = World::new(1, options).await;
    let mut random = StdRng::seed_from_u64(1);
    for number in 0..6 {
        // So much that no two are read together.
        let text: String = (0..4 << 20).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
        let prompt = format!(r#","attributes":[{{"key":"prompt","value":{{"stringValue":"{text}"}}}}]"#);
        world.ingest(&[(number, number, &prompt)]).await;
    }
    world.flush().await;
    let mut hung = Vec::new();
    for traces in [1, 6] {
        let reads = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&reads);
        world.faults.set_plan(move |call| {
            let segment = call.operation == Operation::Get && call.path.as_ref().starts_with("segments/");
            // The first is of the directory.
            (segment && counted.fetch_add(1, Ordering::Relaxed) > 0).then_some(Fault::Hang)
        });
        let answers: Vec<_> =
            world.engine.traces(&world.tenant, (0..traces).map(trace_id).collect()).collect().await;
        assert_eq!(answers.len() as u128, u128::from(traces));
        for (id, spans) in answers {
            let missing = spans.map(|spans| spans.missing().iter().map(|gap| gap.kind).collect::<Vec<_>>());
            assert_eq!(missing, Some(vec![GapKind::Deadline]), "{id}");
        }
        hung.push(reads.load(Ordering::Relaxed));
    }
    assert!(hung[0] > 1 && hung[0] == hung[1], "{hung:?} reads: for each trace it was waited anew");
}

/// Much text that compresses, and is another in each span.
fn large(number: u64, bytes: usize) -> String {
    let text = format!("{number} ") + &"step ".repeat(bytes / 5);
    format!(r#","attributes":[{{"key":"prompt","value":{{"stringValue":"{text}"}}}}]"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_that_are_too_large_together_are_read_one_by_one_and_whole() {
    let world = World::new(1, EngineOptions::default()).await;
    for tens in 0..16 {
        let texts: Vec<String> = (0..10).map(|one| large(tens * 10 + one, 1 << 20)).collect();
        let spans: Vec<_> = texts.iter().zip(tens * 10..).map(|(text, at)| (at, at, &**text)).collect();
        world.ingest(&spans).await;
    }
    world.flush().await;
    let ids = (0..160).map(trace_id).collect();
    let mut answers = Box::pin(world.engine.traces(&world.tenant, ids));
    let mut found = BTreeSet::new();
    while let Some((id, spans)) = answers.next().await {
        let spans = spans.expect("it is there");
        assert_eq!((spans.len(), spans.missing()), (1, [].as_slice()));
        assert!(spans.spans().all(|span| span.trace_id() == id));
        found.insert(id);
    }
    assert_eq!(found.len(), 160);
    // All of them up to the limit, and then each once.
    let decoded = rows_decoded(&world);
    assert!(decoded > 160, "{decoded} rows were decoded: they were not too large together");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_in_many_segments_that_are_too_large_together_are_read_one_by_one_and_whole() {
    const SEGMENTS: u64 = 30;
    const TRACES: u64 = 20;
    let options = EngineOptions { batch_workers: 1, ..EngineOptions::default() };
    let world = World::new(1, options).await;
    for segment in 0..SEGMENTS {
        // 4 MB in each.
        let number = |trace: u64| segment * TRACES + trace;
        let texts: Vec<String> = (0..TRACES).map(|trace| large(number(trace), 200_000)).collect();
        let spans: Vec<_> =
            texts.iter().zip(0..).map(|(text, trace)| (trace, number(trace), &**text)).collect();
        world.ingest(&spans).await;
        world.flush().await;
    }
    let found: Vec<_> =
        world.engine.traces(&world.tenant, (0..TRACES).map(trace_id).collect()).collect().await;
    assert_eq!(found.len() as u64, TRACES);
    for (id, spans) in found {
        let spans = spans.expect("it is there");
        assert_eq!((spans.len() as u64, spans.missing()), (SEGMENTS, [].as_slice()));
        assert!(spans.spans().all(|span| span.trace_id() == id));
    }
    let (decoded, rows) = (rows_decoded(&world), SEGMENTS * TRACES);
    assert!(decoded > rows, "all {rows} rows, {decoded} in all, were held together");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_decoded_until_it_is_as_large_as_an_answer_may_be() {
    // One generation.
    const SPANS: u64 = 500;
    let trace = TraceLimits { spans_max: usize::MAX, heap_bytes_max: 4 << 20 };
    let world = World::new(1, EngineOptions { trace, ..EngineOptions::default() }).await;
    for hundreds in 0..SPANS / 100 {
        let texts: Vec<String> = (0..100).map(|one| large(hundreds * 100 + one, 100_000)).collect();
        let spans: Vec<_> = texts.iter().zip(hundreds * 100..).map(|(text, at)| (1, at, &**text)).collect();
        world.ingest(&spans).await;
    }
    world.flush().await;
    let (spans, explained) = world.look_up(1).await;
    let spans = spans.expect("a part");
    let kinds: Vec<_> = spans.missing().iter().map(|gap| gap.kind).collect();
    assert_eq!(kinds, [GapKind::Limit]);
    assert!((1..=42).contains(&spans.len()), "{} spans of 100 KB in 4 MiB", spans.len());
    // A column has 32 MiB of text at most when it is decoded.
    let decoded = explained.reads.rows_decoded;
    assert!(decoded < SPANS * 3 / 4, "{decoded} of {SPANS} rows were decoded");
}
