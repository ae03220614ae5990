use super::*;

#[test]
fn what_is_counted_is_rendered_with_help_type_and_labels() {
    let metrics = Metrics::new().expect("valid buckets");
    metrics.answered(Protocol::Grpc, "ok", Duration::from_millis(3));
    metrics.answered(Protocol::HttpJson, "too_large", Duration::from_millis(3));
    metrics.looked_up("found", Duration::from_millis(1));
    metrics.searched("partial", Duration::from_millis(1));
    metrics.listed("complete", Duration::from_millis(1));
    metrics.store_gauges(&serde_json::json!({"wal": {"bytes": 7}, "durability": "fsync"}));
    let text = metrics.render();
    for line in [
        "# TYPE tracelake_ingest_requests_total counter",
        "tracelake_ingest_requests_total{protocol=\"grpc\",outcome=\"ok\"} 1",
        "tracelake_ingest_requests_total{protocol=\"http_protobuf\",outcome=\"ok\"} 0",
        "tracelake_ingest_requests_total{protocol=\"http_json\",outcome=\"too_large\"} 1",
        "tracelake_ingest_ack_seconds_bucket{protocol=\"grpc\",le=\"0.005\"} 1",
        "tracelake_lookup_seconds_count 1",
        "tracelake_searches_total{outcome=\"complete\"} 0",
        "tracelake_searches_total{outcome=\"partial\"} 1",
        "tracelake_search_seconds_count 1",
        "tracelake_listings_total{outcome=\"complete\"} 1",
        "tracelake_listing_seconds_count 1",
        "tracelake_store_wal_bytes 7",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\nis not in\n{text}");
    }
    for (name, _) in COUNTERS.iter().chain(&HISTOGRAMS) {
        let seen = text.contains(&format!("# HELP {name} "));
        assert!(seen || *name == REJECTED, "{name} has no help");
    }
    assert!(!text.contains("http_json\"} 3"), "an error is no acknowledgement");
}

#[test]
fn a_number_that_is_read_is_set_and_not_added_up() {
    let metrics = Metrics::new().expect("valid buckets");
    for value in [5.0, 3.0] {
        metrics.gauge("tracelake_in_flight_bytes".to_owned(), "help", value);
    }
    assert!(metrics.render().contains("\ntracelake_in_flight_bytes 3\n"));
}

#[test]
fn numbers_of_the_store_that_only_grow_are_counters_and_others_gauges() {
    let metrics = Metrics::new().expect("valid buckets");
    for (merges, waiting, pages) in [(1, 5, 10), (2, 4, 30), (1, 3, 20)] {
        metrics.store_gauges(&serde_json::json!({
            "compaction": {"merges": merges, "waiting_segments": waiting},
            "reads": {"pages": pages},
            "trace_cache": {"bytes": waiting, "hits": pages},
        }));
    }
    let text = metrics.render();
    for (name, kind, value) in [
        ("compaction_merges", "counter", 2),
        ("compaction_waiting_segments", "gauge", 3),
        ("reads_pages", "counter", 30),
        ("trace_cache_bytes", "gauge", 3),
        ("trace_cache_hits", "counter", 30),
    ] {
        for line in [
            format!("# TYPE tracelake_store_{name} {kind}"),
            // Who has read a total before another, and comes later, does not set it back.
            format!("tracelake_store_{name} {value}"),
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\nis not in\n{text}");
        }
    }
}
