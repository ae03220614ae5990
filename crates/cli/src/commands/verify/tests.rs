use tracelake::Finding;

use super::*;

#[test]
fn every_finding_is_told_with_what_it_means() {
    let finding = |data_loss, object: &str| Finding {
        data_loss,
        object: object.to_owned(),
        what: "checksum differs".to_owned(),
        meaning: "spans cannot be read; restore it from a backup".to_owned(),
    };
    let report = VerifyReport {
        findings: vec![finding(true, "segments/1.parquet"), finding(false, "wal/7.wal")],
        segments_checked: 2,
        rows_checked: 121_600,
        wal_files_checked: 1,
        wal_frames_checked: 40,
        unnamed_files: 1,
        unnamed_bytes: 2_000,
        manifest_objects_checked: 7,
        manifest_version: 9,
    };
    assert_eq!(
        describe(&report),
        "LOSS  segments/1.parquet: checksum differs\n      \
         spans cannot be read; restore it from a backup\n\
         note  wal/7.wal: checksum differs\n      \
         spans cannot be read; restore it from a backup\n\
         to be deleted, after a merge or a crash: 1 file with 2,000 bytes\n\
         checked 2 segments with 121,600 rows, 1 WAL file with 40 frames, manifest version 9: \
         2 findings, 1 of them with loss of data\n"
    );
}

#[test]
fn a_sound_store_is_said_to_be_sound() {
    assert!(describe(&VerifyReport::default()).ends_with(": nothing is wrong\n"));
}
