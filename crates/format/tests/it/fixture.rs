//! A file of each version of the segment format, as the build that defined it wrote it: every later
//! build reads what is in `testdata/spans.json` from it.
//!
//! `TRACELAKE_BLESS=1` writes the files of the current version, while it is not released.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tracelake_format::segment::{FORMAT_VERSION, SegmentMeta, SegmentWriterOptions};
use tracelake_model::{SpanBatch, TenantId};
use tracelake_otlp::{DecodeLimits, Decoder};

use crate::support::{columns, fetch, lookup, open, same_spans, tenant, write};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn spans() -> SpanBatch {
    let json = std::fs::read(testdata("spans.json")).expect("in the repository");
    let decoded = Decoder::new().decode_json(&json, &DecodeLimits::default()).expect("OTLP JSON");
    assert_eq!((decoded.batch.len(), decoded.rejections.message()), (4, None));
    decoded.batch
}

fn both_tenants() -> Vec<(TenantId, Vec<SpanBatch>)> {
    vec![(tenant("default"), vec![spans()]), (tenant("other"), vec![spans()])]
}

#[test]
fn files_of_every_version_read_back() {
    let sent = both_tenants();
    if std::env::var_os("TRACELAKE_BLESS").is_some() {
        let segment = write(&sent, &columns(&sent), &SegmentWriterOptions::default());
        let meta = serde_json::to_vec_pretty(&segment.meta).expect("plain data");
        std::fs::write(testdata(&format!("v{FORMAT_VERSION}/segment.json")), meta).expect("writable");
        std::fs::write(testdata(&format!("v{FORMAT_VERSION}/segment.parquet")), &segment.bytes)
            .expect("writable");
    }
    for version in 1..=FORMAT_VERSION {
        let read = |ending: &str| {
            std::fs::read(testdata(&format!("v{version}/segment.{ending}"))).expect("in the repository")
        };
        let meta: SegmentMeta = serde_json::from_slice(&read("json")).expect("a SegmentMeta");
        let file = Bytes::from(read("parquet"));
        assert_eq!(meta.format_version, version);
        let opened = open(&meta, &file).expect("whole");
        assert_eq!(opened.check(&file), Vec::<String>::new());
        assert_eq!(opened.index_parts().len(), if version < 4 { 0 } else { sent.len() });
        for (tenant, batches) in &sent {
            let (_, part) = meta.tenant(tenant).expect("there");
            let rows = part.first_row..part.first_row + part.rows;
            let read = opened.decode_rows(rows.clone(), fetch(&opened, &file, rows)).expect("whole");
            assert!(same_spans(batches.iter().flat_map(SpanBatch::spans), read.spans()), "{tenant}");
            for span in batches.iter().flat_map(SpanBatch::spans) {
                let found = lookup(&meta, &file, tenant, &span.trace_id()).expect("whole").expect("listed");
                assert!(found.spans().any(|other| span.is_duplicate_of(&other)), "{}", span.name());
            }
        }
    }
}
