use std::collections::{HashMap, HashSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::*;

const BEGIN: u64 = 1_700_000_000_000_000_000;
const END: u64 = BEGIN + 3_600_000_000_000;

fn options(seed: u64, spans: u64) -> WorkloadOptions {
    WorkloadOptions {
        seed,
        spans,
        begin_unix_nano: BEGIN,
        end_unix_nano: END,
        spans_of_time: spans,
        batch_spans: 512,
    }
}

fn requests(options: WorkloadOptions) -> Vec<GeneratedRequest> {
    let mut workload = Workload::new(options);
    std::iter::from_fn(|| workload.next_request()).collect()
}

/// A span with the number of the request it came in and its service's name.
struct Received {
    span: Span,
    request: usize,
    service: String,
}

fn received(requests: &[GeneratedRequest]) -> Vec<Received> {
    let mut all = Vec::new();
    for (request, generated) in requests.iter().enumerate() {
        let message = ExportTraceServiceRequest::decode(&generated.body[..]).expect("protobuf");
        let before = all.len();
        for resource_spans in message.resource_spans {
            let resource = resource_spans.resource.expect("a resource");
            assert_eq!(resource.attributes.len(), 8);
            assert_eq!(resource.attributes[0].key, "service.name");
            let service = match resource.attributes[0].value.clone().and_then(|value| value.value) {
                Some(Value::StringValue(service)) => Some(service),
                _ => None,
            };
            let service = service.expect("a text");
            for scope_spans in resource_spans.scope_spans {
                assert!(!scope_spans.scope.expect("a scope").name.is_empty());
                all.extend(scope_spans.spans.into_iter().map(|span| Received {
                    span,
                    request,
                    service: service.clone(),
                }));
            }
        }
        assert_eq!(all.len() - before, generated.spans as usize);
        assert!(generated.spans as usize <= 512);
    }
    all
}

fn seed() -> u64 {
    let seed = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("TRACELAKE_TEST_SEED={seed}");
    seed
}

#[test]
fn the_same_seed_makes_the_same_bytes_and_another_seed_others() {
    let bodies =
        |seed| requests(options(seed, 20_000)).into_iter().map(|request| request.body).collect::<Vec<_>>();
    let first = bodies(7);
    assert_eq!(first, bodies(7));
    assert_ne!(first, bodies(8));
}

#[test]
fn there_are_exactly_as_many_spans_as_asked_for_and_no_two_alike() {
    for spans in [1, 2, 199, 20_000] {
        let requests = requests(options(seed(), spans));
        let received = received(&requests);
        assert_eq!(received.len() as u64, spans);
        let identities: HashSet<_> =
            received.iter().map(|received| (&received.span.trace_id, &received.span.span_id)).collect();
        assert_eq!(identities.len() as u64, spans);
    }
}

#[test]
fn traces_are_whole_and_their_times_nested() {
    let requests = requests(options(seed(), 30_000));
    let announced: HashMap<Vec<u8>, u32> = requests
        .iter()
        .flat_map(|request| &request.traces)
        .map(|(trace_id, spans)| (trace_id.to_vec(), *spans))
        .collect();
    let received = received(&requests);
    let mut traces: HashMap<&[u8], HashMap<&[u8], &Span>> = HashMap::new();
    for Received { span, .. } in &received {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        traces.entry(&span.trace_id).or_default().insert(&span.span_id, span);
    }
    assert_eq!(traces.len(), announced.len());
    for (trace_id, spans) in &traces {
        assert_eq!(spans.len(), announced[*trace_id] as usize);
        assert!((1..=200).contains(&spans.len()));
        let roots = spans.values().filter(|span| span.parent_span_id.is_empty()).count();
        assert_eq!(roots, 1);
        for span in spans.values() {
            assert!(span.start_time_unix_nano < span.end_time_unix_nano);
            if !span.parent_span_id.is_empty() {
                let parent = spans[&span.parent_span_id[..]];
                assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
                assert!(
                    span.end_time_unix_nano <= parent.end_time_unix_nano,
                    "{} in {}",
                    span.name,
                    parent.name
                );
            } else {
                assert!((BEGIN..END + 1_000_000).contains(&span.start_time_unix_nano));
            }
        }
    }
    let mean = received.len() as f64 / traces.len() as f64;
    assert!((22.0..=32.0).contains(&mean), "{mean} spans a trace");
    let largest = traces.values().map(HashMap::len).max();
    assert!(largest > Some(120), "{largest:?}");
    assert!(traces.values().any(|spans| spans.len() == 1));
}

#[test]
fn the_parts_of_a_trace_arrive_in_different_requests_and_a_request_holds_many_traces() {
    let requests = requests(options(seed(), 100_000));
    let received = received(&requests);
    let mut of_trace: HashMap<&[u8], HashSet<usize>> = HashMap::new();
    let mut of_request: HashMap<usize, (HashSet<&[u8]>, HashSet<&str>)> = HashMap::new();
    let mut spans_of: HashMap<&[u8], usize> = HashMap::new();
    for received in &received {
        of_trace.entry(&received.span.trace_id).or_default().insert(received.request);
        let (traces, services) = of_request.entry(received.request).or_default();
        traces.insert(&received.span.trace_id);
        services.insert(&received.service);
        *spans_of.entry(&received.span.trace_id).or_default() += 1;
    }
    let larger = of_trace.iter().filter(|(trace_id, _)| spans_of[*trace_id] >= 10);
    let (apart, larger) = larger
        .fold((0, 0), |(apart, all), (_, requests)| (apart + usize::from(requests.len() >= 3), all + 1));
    assert!(apart * 10 > larger * 9, "{apart} of {larger} larger traces in three requests or more");
    assert!(of_request.values().all(|(traces, services)| services.len() <= 8 && !traces.is_empty()));
    let services: HashSet<_> = received.iter().map(|received| received.service.as_str()).collect();
    assert_eq!(services.len(), 24);
}

#[test]
fn spans_look_like_those_of_real_services() {
    let requests = requests(options(seed(), 100_000));
    let bytes: usize = requests.iter().map(|request| request.body.len()).sum();
    let spans = 100_000.0;
    let bytes = bytes as f64 / spans;
    let received = received(&requests);
    let attributes: usize = received.iter().map(|received| received.span.attributes.len()).sum();
    let attributes = attributes as f64 / spans;
    let failed = received
        .iter()
        .filter(|received| received.span.status.as_ref().is_some_and(|status| status.code == 2));
    let failed = failed.count() as f64 / spans;
    let with_stack = received.iter().filter(|received| {
        let mut attributes = received.span.events.iter().flat_map(|event| &event.attributes);
        attributes.any(|attribute| attribute.key == "exception.stacktrace")
    });
    let with_stack = with_stack.count();
    let linked = received.iter().filter(|received| !received.span.links.is_empty()).count();
    let keys: HashSet<&str> = received
        .iter()
        .flat_map(|received| &received.span.attributes)
        .map(|attribute| attribute.key.as_str())
        .collect();
    println!(
        "{bytes:.1} bytes and {attributes:.2} attributes a span, {:.2} % failed, {with_stack} with stack traces, \
         {linked} with links, {} keys",
        failed * 100.0,
        keys.len()
    );
    assert!((380.0..=520.0).contains(&bytes), "{bytes} bytes a span");
    assert!((8.0..=12.0).contains(&attributes), "{attributes} attributes a span");
    assert!((0.008..=0.025).contains(&failed), "{failed} of all spans failed");
    assert!(with_stack > 300);
    assert!(linked > 100);
    assert!(keys.len() > 300, "{} keys", keys.len());
    let links_point_at_spans = {
        let known: HashSet<_> =
            received.iter().map(|received| (&received.span.trace_id, &received.span.span_id)).collect();
        received
            .iter()
            .flat_map(|received| &received.span.links)
            .all(|link| known.contains(&(&link.trace_id, &link.span_id)))
    };
    assert!(links_point_at_spans);
}

#[test]
fn a_few_users_make_most_requests() {
    let requests = requests(options(seed(), 60_000));
    let mut users: HashMap<String, usize> = HashMap::new();
    for received in received(&requests) {
        for attribute in received.span.attributes.into_iter().filter(|attribute| attribute.key == "user.id") {
            if let Some(Value::StringValue(user)) = attribute.value.and_then(|value| value.value) {
                *users.entry(user).or_default() += 1;
            }
        }
    }
    let mut counts: Vec<_> = users.values().copied().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let all: usize = counts.iter().sum();
    let top: usize = counts.iter().take(counts.len() / 10).sum();
    assert!(counts.len() > 500, "{} users", counts.len());
    assert!(top * 100 > all * 25, "the top tenth of {} users has {top} of {all}", counts.len());
}

#[test]
fn a_stopped_workload_gives_out_what_it_began() {
    let mut workload = Workload::new(options(seed(), u64::MAX));
    let mut requests: Vec<_> = std::iter::from_fn(|| workload.next_request()).take(40).collect();
    workload.stop();
    requests.extend(std::iter::from_fn(|| workload.next_request()));
    let announced: u64 =
        requests.iter().flat_map(|request| &request.traces).map(|(_, spans)| u64::from(*spans)).sum();
    let sent: u64 = requests.iter().map(|request| u64::from(request.spans)).sum();
    assert_eq!(sent, announced);
}
