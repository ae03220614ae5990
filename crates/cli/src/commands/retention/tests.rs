use serde_json::json;

use super::*;

#[test]
fn a_report_names_what_goes_of_whom_and_why() {
    let part = |tenant: &str, because: Value| json!({"tenant": tenant, "spans": 1_200, "traces": 3, "bytes": 500, "because": because});
    let report = json!({
        "dry_run": true, "on": true, "segments_removed": 0, "segments_rewritten": 1, "spans_removed": 2_400,
        "bytes_removed": 1_000, "more_segments": 2,
        "segments": [{
            "id": "01K8XA0Q2RZ6M3T9B5V1C7D8EF", "level": 1, "whole": false, "bytes": 4_000,
            "start_unix_nano_min": 0, "newest_unix_nano": 1_700_000_000_000_000_000u64,
            "parts": [part("acme", json!({"age_seconds_max": 604_800})), part("beta", json!({"bytes_max": 9_000}))],
        }],
    });
    assert_eq!(
        describe(&report),
        "\
01K8XA0Q2RZ6M3T9B5V1C7D8EF  in part, 4,000 bytes, newest 2023-11-14 22:13:20.000000 UTC
  acme: 1,200 spans, 3 traces, 500 bytes: older than 604,800 s
  beta: 1,200 spans, 3 traces, 500 bytes: the tenant has more than 9,000 bytes
and 2 segments more
would remove 2,400 spans with 1,000 bytes: 0 segments whole, 1 in part
"
    );
}
