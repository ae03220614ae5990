//! One span's way: acknowledged, visible, flushed, read back after a restart, exported, verified.

use std::path::Path;

use futures::TryStreamExt;
use tracelake::{
    Encoding, ErrorKind, ExportSelection, GapKind, Options, SpanBatch, StorePlace, TenantId, TimeHint,
    TraceId, Tracelake, verify,
};

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

/// A request with a span for each number, all of [`TRACE`].
fn request(spans: &[u8]) -> String {
    let spans: Vec<String> = spans
        .iter()
        .map(|n| {
            format!(
                r#"{{"traceId":"{TRACE}","spanId":"{n:016x}","name":"GET /{n}","kind":2,
                "startTimeUnixNano":"{}","endTimeUnixNano":"{}",
                "attributes":[{{"key":"http.response.status_code","value":{{"intValue":"{n}"}}}}]}}"#,
                1_700_000_000_000_000_000u64 + u64::from(*n),
                1_700_000_000_000_000_100u64 + u64::from(*n),
            )
        })
        .collect();
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[
        {{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},
        "scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
}

async fn ingest(lake: &Tracelake, tenant: &TenantId, spans: &[u8]) -> tracelake::IngestOutcome {
    lake.ingest(tenant, Encoding::Json, request(spans).into()).await.expect("a valid request")
}

async fn names(lake: &Tracelake, tenant: &TenantId) -> Vec<String> {
    let id: TraceId = TRACE.parse().expect("a valid ID");
    let trace = lake.trace(tenant, id, TimeHint::default()).await.expect("a lookup");
    let Some(trace) = trace else { return Vec::new() };
    assert_eq!(trace.partial(), None);
    trace.spans().map(|span| span.name().to_owned()).collect()
}

async fn open(folder: &Path) -> Tracelake {
    Tracelake::open(Options::new(folder)).await.expect("the store opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_seen_from_memory_from_segments_and_from_both() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = open(folder.path()).await;
    let tenant = TenantId::default();
    ingest(&lake, &tenant, &[1, 2]).await;
    assert_eq!(names(&lake, &tenant).await, ["GET /1", "GET /2"]);
    lake.flush().await.expect("a flush");
    let status = lake.status().store;
    assert_eq!((status.segments, status.segment_rows, status.memtable_spans), (1, 2, 0));
    assert_eq!(names(&lake, &tenant).await, ["GET /1", "GET /2"]);
    ingest(&lake, &tenant, &[3]).await;
    assert_eq!(names(&lake, &tenant).await, ["GET /1", "GET /2", "GET /3"]);
    lake.shutdown().await.expect("a shutdown");
    drop(lake);
    let lake = open(folder.path()).await;
    assert_eq!(lake.status().store.recovery.spans, 0, "a clean stop leaves nothing to replay");
    assert_eq!(names(&lake, &tenant).await, ["GET /1", "GET /2", "GET /3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_is_acknowledged_and_not_stored_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = open(folder.path()).await;
    let tenant = TenantId::default();
    assert!(!ingest(&lake, &tenant, &[1, 2]).await.repeated);
    assert!(ingest(&lake, &tenant, &[1, 2]).await.repeated);
    assert_eq!(lake.status().store.memtable_spans, 2);
    let other: TenantId = "other".parse().expect("a valid name");
    assert!(!ingest(&lake, &other, &[1, 2]).await.repeated, "another tenant's request is another one");
    lake.shutdown().await.expect("a shutdown");
    drop(lake);
    let lake = open(folder.path()).await;
    assert!(ingest(&lake, &tenant, &[1, 2]).await.repeated, "it is recognised after a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_that_came_in_two_requests_is_shown_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = open(folder.path()).await;
    let tenant = TenantId::default();
    ingest(&lake, &tenant, &[1, 2]).await;
    lake.flush().await.expect("a flush");
    ingest(&lake, &tenant, &[2, 3]).await;
    assert_eq!(names(&lake, &tenant).await, ["GET /1", "GET /2", "GET /3"]);
    lake.flush().await.expect("a flush");
    assert_eq!(names(&lake, &tenant).await, ["GET /1", "GET /2", "GET /3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_whose_file_has_gone_is_left_out_of_merges_and_named_in_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = open(folder.path()).await;
    let tenant = TenantId::default();
    for n in 1..=3 {
        ingest(&lake, &tenant, &[n]).await;
        lake.flush().await.expect("a flush");
    }
    let files = std::fs::read_dir(folder.path().join("store/segments")).expect("the folder");
    let victim = files.map(|file| file.expect("readable").path()).min().expect("three");
    std::fs::remove_file(&victim).expect("it is there");
    lake.compact().await.expect_err("one is not there");
    let status = lake.compact().await.expect("the others are merged");
    assert_eq!((status.unmergeable_segments, status.merges), (1, 1));
    let id: TraceId = TRACE.parse().expect("a valid ID");
    let trace = lake.trace(&tenant, id, TimeHint::default()).await.expect("no error").expect("a part");
    let [gap] = trace.missing() else { unreachable!("one thing is missing: {:?}", trace.missing()) };
    assert_eq!((trace.span_count(), gap.kind), (2, GapKind::Partition));
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = open(folder.path()).await;
    let tenants: Vec<TenantId> =
        ["b", "default", "a"].iter().map(|name| name.parse().expect("a valid name")).collect();
    for (n, tenant) in tenants.iter().enumerate() {
        ingest(&lake, tenant, &[n as u8 + 1]).await;
    }
    for flushed in [false, true] {
        for (n, tenant) in tenants.iter().enumerate() {
            assert_eq!(names(&lake, tenant).await, [format!("GET /{}", n + 1)], "flushed: {flushed}");
        }
        let nobody: TenantId = "nobody".parse().expect("a valid name");
        assert!(names(&lake, &nobody).await.is_empty());
        lake.flush().await.expect("a flush");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_every_span_of_the_range_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = open(folder.path()).await;
    let tenant = TenantId::default();
    ingest(&lake, &tenant, &[1, 2, 3]).await;
    lake.flush().await.expect("a flush");
    ingest(&lake, &tenant, &[3, 4]).await;
    let exported = |selection| {
        let batches = lake.export(&tenant, selection).try_collect::<Vec<SpanBatch>>();
        async {
            let batches = batches.await.expect("an export");
            let mut names: Vec<String> =
                batches.iter().flat_map(|b| b.spans().map(|s| s.name().to_owned())).collect();
            names.sort();
            names
        }
    };
    let start = 1_700_000_000_000_000_000u64;
    assert_eq!(
        exported(ExportSelection::Starts(0..u64::MAX)).await,
        ["GET /1", "GET /2", "GET /3", "GET /4"]
    );
    assert_eq!(exported(ExportSelection::Starts(start + 2..start + 4)).await, ["GET /2", "GET /3"]);
    assert!(exported(ExportSelection::Starts(start + 5..u64::MAX)).await.is_empty());
    let id = TRACE.parse().expect("a valid ID");
    assert_eq!(exported(ExportSelection::Traces(vec![id])).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_over_the_limit_is_partial_and_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut options = Options::new(folder.path());
    options.queries.trace.spans_max = 3;
    let lake = Tracelake::open(options).await.expect("the store opens");
    let tenant = TenantId::default();
    ingest(&lake, &tenant, &[1, 2, 3, 4]).await;
    for flushed in [false, true] {
        let id = TRACE.parse().expect("a valid ID");
        let trace = lake.trace(&tenant, id, TimeHint::default()).await.expect("a lookup").expect("found");
        assert_eq!(trace.span_count(), 3, "flushed: {flushed}");
        assert!(trace.partial().is_some_and(|reason| reason.contains("trace_spans_max 3")), "{trace:?}");
        let json: Vec<u8> = trace.into_json_chunks().flatten().collect();
        let json: serde_json::Value = serde_json::from_slice(&json).expect("valid JSON");
        assert!(json["partial"]["reason"].is_string(), "{json}");
        lake.flush().await.expect("a flush");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_process_on_a_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = open(folder.path()).await;
    let error = Tracelake::open(Options::new(folder.path())).await.expect_err("the folder is taken");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(lake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_store_verifies_and_a_damaged_one_does_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = open(folder.path()).await;
    ingest(&lake, &TenantId::default(), &[1, 2, 3]).await;
    lake.shutdown().await.expect("a shutdown");
    drop(lake);
    let report = verify(folder.path(), &StorePlace::default()).await.expect("a check");
    assert!(report.findings.is_empty(), "{report:?}");
    assert_eq!((report.segments_checked, report.rows_checked), (1, 3));
    let segments = std::fs::read_dir(folder.path().join("store/segments")).expect("a folder of segments");
    let segment = segments.map(|entry| entry.expect("an entry").path()).next().expect("a segment");
    let mut bytes = std::fs::read(&segment).expect("a readable segment");
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).expect("a writable segment");
    let report = verify(folder.path(), &StorePlace::default()).await.expect("a check");
    assert!(report.findings.iter().any(|finding| finding.data_loss), "{report:?}");
}

/// As after a crash: nothing was flushed, and the end of the WAL is damaged or was never whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_or_damaged_end_of_the_wal_is_told_by_verify_and_by_the_next_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let crashed = tempfile::tempdir().expect("a temporary folder");
    let lake = open(folder.path()).await;
    let tenant: TenantId = "shop".parse().expect("a valid name");
    ingest(&lake, &tenant, &[1]).await;
    ingest(&lake, &tenant, &[2, 3]).await;
    for part in ["store/manifest", "wal"] {
        std::fs::create_dir_all(crashed.path().join(part)).expect("a folder");
        for entry in std::fs::read_dir(folder.path().join(part)).expect("a folder") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), crashed.path().join(part).join(entry.file_name())).expect("a copy");
        }
    }
    lake.shutdown().await.expect("a shutdown");
    let report = verify(crashed.path(), &StorePlace::default()).await.expect("a check");
    assert!(report.findings.is_empty(), "{report:?}");
    let file = crashed.path().join("wal/00000000000000000001.wal");
    let mut bytes = std::fs::read(&file).expect("a WAL file");
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("there is something in it");
    bytes[last] ^= 0x55;
    std::fs::write(&file, bytes).expect("a writable file");

    let told =
        ["possibly acknowledged", "2 spans in 1 requests of tenant shop", "started 2023-11-14T22:13:20Z"];
    let report = verify(crashed.path(), &StorePlace::default()).await.expect("a check");
    let [finding] = report.findings.as_slice() else { unreachable!("one finding: {report:?}") };
    assert!(finding.data_loss && finding.object == "wal/00000000000000000001.wal", "{finding:?}");
    let lake = open(crashed.path()).await;
    assert_eq!(names(&lake, &tenant).await, ["GET /1"]);
    let recovery = lake.status().store.recovery;
    let torn = recovery.torn.expect("something was cut off");
    for part in told {
        assert!(finding.what.contains(part), "{finding:?} says {part:?}");
        assert!(torn.contains(part), "{torn:?} says {part:?}");
    }
    assert!(recovery.torn_bytes > 0 && recovery.damage.is_empty());
    lake.shutdown().await.expect("a shutdown");
    drop(lake);
    let report = verify(crashed.path(), &StorePlace::default()).await.expect("a check");
    assert!(report.findings.is_empty(), "it is cut off and kept: {report:?}");
}
