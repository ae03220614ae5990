//! What `/metrics` says of reading and of the caches, taken apart as Prometheus does.

use std::collections::{BTreeMap, HashMap};

use http::{Method, StatusCode};
use opentelemetry_proto::tonic::trace::v1::span::Link;
use serde_json::Value;
use tracelake_server::Settings;

use crate::harness::{TestServer, request, span, trace_id};

/// A name and labels.
type Series = (String, BTreeMap<String, String>);

/// A text in Prometheus' format, version 0.0.4, without times.
struct Exposition {
    /// The type of each metric.
    types: HashMap<String, String>,
    samples: HashMap<Series, f64>,
}

impl Exposition {
    async fn of(server: &TestServer) -> Self {
        let answer = server.get("/metrics").await;
        assert_eq!(answer.status, StatusCode::OK);
        Self::parse(std::str::from_utf8(&answer.body).expect("UTF-8"))
    }

    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut parsed = Self { types: HashMap::new(), samples: HashMap::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("# ") {
                Some(comment) => parsed.comment(comment),
                None => parsed.sample(line),
            }
        }
        parsed
    }

    fn comment(&mut self, comment: &str) {
        let words: Vec<&str> = comment.splitn(3, ' ').collect();
        match words.as_slice() {
            ["HELP", name, _] => assert!(is_name(name), "{comment}"),
            ["TYPE", name, kind] => {
                assert!(is_name(name) && ["counter", "gauge", "histogram"].contains(kind), "{comment}");
                let before = self.types.insert((*name).to_owned(), (*kind).to_owned());
                assert_eq!(before, None, "{comment}");
            }
            _ => panic!("neither help nor type: {comment}"),
        }
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let (name, labels) = match series.split_once('{') {
            None => (series, BTreeMap::new()),
            Some((name, labels)) => (name, parse_labels(labels.strip_suffix('}').expect(line))),
        };
        assert!(is_name(name), "{line}");
        let has_type = |name: &str, wanted: Option<&str>| {
            let kind = self.types.get(name).map(String::as_str);
            kind.is_some() && (wanted.is_none() || kind == wanted)
        };
        let mut parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
        let is_typed = has_type(name, None) || parts.any(|whole| has_type(whole, Some("histogram")));
        assert!(is_typed, "no type comes before {line}");
        let value: f64 = value.parse().expect(line);
        let before = self.samples.insert((name.to_owned(), labels), value);
        assert_eq!(before, None, "{line}");
    }

    /// A number without labels, if it is there.
    fn get(&self, name: &str) -> Option<f64> {
        let series: Series = (name.to_owned(), BTreeMap::new());
        self.samples.get(&series).copied()
    }

    /// A number of the store, which must be of this type.
    fn store(&self, kind: &str, name: &str) -> f64 {
        let name = format!("tracelake_store_{name}");
        assert_eq!(self.types.get(&name).map(String::as_str), Some(kind), "{name}");
        self.get(&name).unwrap_or_else(|| panic!("{name} is not there"))
    }

    /// A count of what was asked and read since the start.
    fn reads(&self, name: &str) -> f64 {
        self.store("counter", &format!("reads_{name}"))
    }
}

fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

/// Each as `name="value"`, with commas between them; in a value, what would be read otherwise is behind a
/// backslash.
fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect(text);
        assert!(is_name(name), "{text}");
        let (mut value, mut chars) = (String::new(), after.chars());
        loop {
            match chars.next().expect(text) {
                '"' => break,
                '\\' => match chars.next().expect(text) {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
        assert_eq!(labels.insert(name.to_owned(), value), None, "{text}");
        rest = chars.as_str();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}

async fn flush(server: &TestServer) {
    let flushed = server.send(Method::POST, &server.api_url("/api/v1/flush"), &[], "").await;
    assert_eq!(flushed.status, StatusCode::OK);
}

async fn spans_of(server: &TestServer, trace: u64) -> Option<usize> {
    server.trace(&trace_id(trace)).await.map(|spans| spans.len())
}

#[test]
fn the_parser_reads_labels_and_types() {
    let text = "# HELP a_total Help.\n# TYPE a_total counter\na_total{b=\"x, \\\"y\\\" z\",c=\"\"} 2\n\n\
                # TYPE d histogram\nd_bucket{le=\"+Inf\"} 1\nd_count 1\n";
    let parsed = Exposition::parse(text);
    let labels = [("b", "x, \"y\" z"), ("c", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let series: Series = ("a_total".to_owned(), BTreeMap::from(labels));
    assert_eq!(parsed.samples.get(&series), Some(&2.0));
    assert_eq!((parsed.get("d_count"), parsed.get("a_total"), parsed.samples.len()), (Some(1.0), None, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_later_lookups_find_in_memory_is_counted() {
    const SPANS: u64 = 3;
    let no_traces_kept = |settings: &mut Settings| settings.trace_cache_bytes_max = 0;
    let server = TestServer::start_with(no_traces_kept).await;
    let spans = (0..10 * SPANS).map(|n| span(1 + n / SPANS, 1 + n)).collect();
    assert_eq!(server.post_protobuf(request(spans)).await.status, StatusCode::OK);
    flush(&server).await;
    // The metadata is read in advance.
    let (_, folder) = server.stop().await;
    let server = TestServer::start_in(folder, no_traces_kept).await;
    server.is_loaded().await;
    let before = Exposition::of(&server).await;
    assert_eq!((before.reads("metadata_asked"), before.reads("pages")), (0.0, 0.0));

    assert_eq!(spans_of(&server, 1).await, Some(SPANS as usize));
    let first = Exposition::of(&server).await;
    for (name, expected) in [
        ("segments_searched", 1.0),
        ("false_reads", 0.0),
        ("metadata_asked", 2.0),
        ("segments_opened", 0.0),
        ("directory_blocks", 1.0),
        ("directory_blocks_cached", 0.0),
        ("pages_cached", 0.0),
        ("dictionaries_cached", 0.0),
        ("rows_decoded", SPANS as f64),
    ] {
        assert_eq!(first.reads(name), expected, "{name}");
    }
    let (pages, dictionaries) = (first.reads("pages"), first.reads("dictionaries"));
    assert!(dictionaries > 0.0 && dictionaries < pages, "{dictionaries} of {pages}");
    assert!(first.reads("range_reads") > 0.0 && first.reads("bytes_read") > 0.0);

    assert_eq!(spans_of(&server, 1).await, Some(SPANS as usize));
    let second = Exposition::of(&server).await;
    for (name, expected) in [
        ("segments_searched", 2.0),
        ("metadata_asked", 4.0),
        ("segments_opened", 0.0),
        ("directory_blocks", 2.0),
        ("directory_blocks_cached", 0.0),
        ("pages", 2.0 * pages),
        // Others are kept from the second time on.
        ("pages_cached", dictionaries),
        ("dictionaries", 2.0 * dictionaries),
        ("dictionaries_cached", dictionaries),
        ("rows_decoded", 2.0 * SPANS as f64),
    ] {
        assert_eq!(second.reads(name), expected, "{name}");
    }
    assert!(second.reads("range_reads") > first.reads("range_reads"));

    assert_eq!(spans_of(&server, 1).await, Some(SPANS as usize));
    let third = Exposition::of(&server).await;
    for (name, expected) in [
        ("segments_opened", 0.0),
        ("directory_blocks_cached", 1.0),
        ("pages", 3.0 * pages),
        ("pages_cached", dictionaries + pages),
        ("dictionaries_cached", 2.0 * dictionaries),
        ("range_reads", second.reads("range_reads")),
        ("bytes_read", second.reads("bytes_read")),
    ] {
        assert_eq!(third.reads(name), expected, "{name}");
    }
    assert_eq!(second.store("gauge", "caches_filters"), 1.0);
    assert!(second.store("gauge", "caches_filter_bytes") > 0.0);
    // Pages are kept when they were missed twice.
    let [before, after] = [&first, &second].map(|at| at.store("gauge", "caches_block_bytes"));
    assert!(after > before, "{before} {after}");
    // Without a cache of traces there is nothing to find or to miss.
    for name in ["hits", "misses", "evictions"] {
        assert_eq!(second.store("counter", &format!("trace_cache_{name}")), 0.0, "{name}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_cache_and_what_is_read_in_advance_are_counted() {
    let server = TestServer::start().await;
    let (mut pointing, other) = (span(2, 2), span(3, 3));
    let (trace_id, span_id) = (other.trace_id.clone(), other.span_id.clone());
    pointing.links = vec![Link { trace_id, span_id, ..Link::default() }];
    let answer = server.post_protobuf(request(vec![span(1, 1), pointing, other])).await;
    assert_eq!(answer.status, StatusCode::OK);
    flush(&server).await;
    for hits in [0.0, 1.0] {
        assert_eq!(spans_of(&server, 1).await, Some(1));
        let seen = Exposition::of(&server).await;
        let counted = ["hits", "misses"].map(|name| seen.store("counter", &format!("trace_cache_{name}")));
        assert_eq!(counted, [hits, 1.0]);
    }

    assert_eq!(spans_of(&server, 2).await, Some(1));
    server.metric_becomes("tracelake_store_prefetch_fetched", |traces| traces == 1.0).await;
    assert_eq!(spans_of(&server, 3).await, Some(1));
    let seen = Exposition::of(&server).await;
    for (kind, name, expected) in [
        ("counter", "trace_cache_hits", 2.0),
        ("counter", "trace_cache_misses", 3.0),
        ("counter", "trace_cache_evictions", 0.0),
        ("gauge", "trace_cache_traces", 3.0),
        ("counter", "prefetch_related", 1.0),
        ("counter", "prefetch_fetched", 1.0),
        ("counter", "prefetch_skipped", 0.0),
    ] {
        assert_eq!(seen.store(kind, name), expected, "{name}");
    }
    assert!(seen.store("gauge", "trace_cache_bytes") > 0.0);
    assert_eq!(seen.store("gauge", "compaction_waiting_segments"), 1.0);
    assert!(seen.store("gauge", "compaction_waiting_bytes") > 0.0);

    // The status says the same, and nothing else.
    let status: Value = serde_json::from_slice(&server.get("/api/v1/status").await.body).expect("JSON");
    for part in ["reads", "trace_cache", "prefetch", "caches", "compaction"] {
        let members = status["store"][part].as_object().expect(part);
        assert!(!members.is_empty(), "{part}");
        // Why a merge failed is no number, and none did.
        for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            let number = seen.get(&format!("tracelake_store_{part}_{name}"));
            assert!(number.is_some(), "{part}.{name} is not among the metrics");
            // What is kept may be counted anew at any time.
            if part != "caches" {
                assert_eq!(number, value.as_f64(), "{part}.{name}");
            }
        }
    }
    server.stop().await;
}
