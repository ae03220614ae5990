//! A log as version 1 wrote it. `TRACELAKE_BLESS=1` writes it anew; a build that cannot read what an
//! earlier one wrote loses acknowledged requests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracelake_format::wal::decode_file_header;
use tracelake_store::env::Files;
use tracelake_store::env::sim::SimFiles;

use super::support::*;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1/00000000000000000001.wal")
}

#[tokio::test]
async fn a_log_of_version_1_is_read() {
    if std::env::var_os("TRACELAKE_BLESS").is_some() {
        let disk = SimFiles::new(0);
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let (wal, _, _) = reopen(&files);
        append_all(&wal, [1, 2]).await;
        wal.close().await;
        std::fs::create_dir_all(fixture().parent().expect("it has a folder")).expect("it can be made");
        std::fs::write(fixture(), disk.bytes(&wal_path(1)).expect("it is there")).expect("it can be written");
    }
    let bytes = std::fs::read(fixture()).expect("the fixture is there");
    let header = decode_file_header(&bytes).expect("it is whole");
    assert!(header.intact);
    assert_eq!((header.header.sequence, header.header.wal, header.header.created_unix_nano), (1, WAL, NOW));
    let disk = SimFiles::new(0);
    disk.put(&wal_path(1), bytes);
    let found = recovered(&disk);
    // Tenant, hash, times and payload are checked by number.
    assert_eq!(found.frames, [(1, 1), (1, 2)]);
    assert!(found.report.damage_messages().is_empty() && found.report.torn.is_none(), "{:?}", found.report);
    assert_eq!(
        found.report.recent_requests,
        [(hash(1), NOW / 1_000_000_000), (hash(2), NOW / 1_000_000_000)]
    );
}
