use std::path::Path;
use std::sync::Arc;

use tracelake_format::wal::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FileSeal, FrameGroup, FrameReader, Step,
    StoredPayload, decode_file_header, encode_file_header, encode_frame,
};
use tracelake_model::ErrorKind;
use tracelake_store::env::Files;
use tracelake_store::env::sim::SimFiles;
use tracelake_store::wal::{
    FileDamage, FramePosition, Visited, WalError, WalOptions, inspect, recover, remove_covered,
};
use ulid::Ulid;

use super::support::*;

/// A log of one file with six requests, each in a group of its own, and how its bytes divide.
async fn small_wal() -> (SimFiles, Vec<u8>, Vec<FramePosition>) {
    let disk = SimFiles::new(0);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let (wal, _, _) = reopen(&files);
    let positions = append_all(&wal, 0..6).await;
    wal.close().await;
    let bytes = disk.bytes(&wal_path(1)).expect("it is there");
    (disk, bytes, positions)
}

/// A disk with these bytes as its first file.
fn disk_with(bytes: &[u8]) -> (SimFiles, Arc<dyn Files>) {
    let disk = SimFiles::new(0);
    disk.put(&wal_path(1), bytes.to_vec());
    let files = Arc::new(disk.clone());
    (disk, files)
}

#[tokio::test]
async fn a_torn_tail_is_cut_wherever_it_begins_and_the_log_goes_on() {
    let (_, bytes, positions) = small_wal().await;
    let from = positions[3].offset as usize;
    for cut in from..bytes.len() {
        let (disk, files) = disk_with(&bytes[..cut]);
        let (wal, _, recovered) = reopen(&files);
        let whole: Vec<u64> = (0..6)
            .filter(|n| positions[*n as usize].offset + positions[*n as usize].bytes <= cut as u64)
            .collect();
        assert_eq!(recovered.numbers(), whole, "cut at {cut}");
        assert!(recovered.report.damage_messages().is_empty(), "cut at {cut}");
        let end = whole.len().checked_sub(1).map_or(0, |last| positions[last].offset + positions[last].bytes);
        match recovered.report.torn {
            Some(torn) => {
                assert_eq!((torn.at, torn.bytes), (end, cut as u64 - end));
                let kept = disk.bytes(&torn.kept_as.expect("it is kept")).expect("it is there");
                assert_eq!(kept, bytes[end as usize..cut], "what was cut is kept, byte for byte");
            }
            None => assert_eq!(end, cut as u64),
        }
        append_all(&wal, 10..12).await;
        wal.close().await;
        let again = self::recovered(files.as_ref());
        assert_eq!(again.numbers(), [whole, vec![10, 11]].concat(), "cut at {cut}");
        assert!(again.report.torn.is_none() && again.report.damage_messages().is_empty(), "cut at {cut}");
    }
}

#[tokio::test]
async fn every_flipped_bit_is_seen_or_harmless_and_what_it_did_not_hit_is_recovered() {
    let (disk, _, _) = small_wal().await;
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    // A second file, so that the first is complete and a broken end of it is damage.
    let (wal, _, _) = reopen(&files);
    append_all(&wal, 10..11).await;
    wal.close().await;
    let (first, second) = (disk.bytes(&wal_path(1)), disk.bytes(&wal_path(2)));
    let (first, second) = (first.expect("it is there"), second.expect("it is there"));
    let all = recovered(files.as_ref());
    let starts = starts(&first);
    for bit in 0..first.len() * 8 {
        let mut flipped = first.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (disk, files) = disk_with(&flipped);
        disk.put(&wal_path(2), second.clone());
        let found = recovered(files.as_ref());
        let [damaged] = found.report.damaged.as_slice() else {
            unreachable!("bit {bit}: {:?}", found.report)
        };
        let kept = damaged.quarantined_as.as_ref().expect("it is kept");
        assert_eq!(*kept, quarantine_path("00000000000000000001.wal"));
        assert_eq!(disk.bytes(kept).as_ref(), Some(&flipped), "bit {bit}: kept byte for byte");
        // The frame that begins last before the bit; the very first is the list of requests.
        let hit = starts.iter().filter(|start| **start <= bit / 8).count();
        match &damaged.damage {
            FileDamage::HeaderCopy => {
                assert!(bit / 8 < FILE_HEADER_BYTES);
                assert_eq!(found.frames, all.frames, "bit {bit}");
            }
            FileDamage::Frames { ranges } => {
                assert_eq!(ranges.len(), 1);
                assert!(ranges[0].acknowledged);
                let lost = (hit as u64).checked_sub(2).map(|number| (1, number));
                let rest: Vec<_> = all.frames.iter().copied().filter(|frame| Some(*frame) != lost).collect();
                assert_eq!(found.frames, rest, "bit {bit}");
            }
            FileDamage::Header { .. } | FileDamage::Unusable { .. } => {
                unreachable!("bit {bit}: the other copy is whole")
            }
        }
    }
}

/// In the newest file a damaged end cannot be told from a group that a crash interrupted: it is said all
/// the same, with all that its header says.
#[tokio::test]
async fn every_flipped_bit_of_the_newest_file_is_reported_or_harmless() {
    let (_, bytes, positions) = small_wal().await;
    let (_, files) = disk_with(&bytes);
    let all = recovered(files.as_ref());
    let last = positions[5];
    let mut possibly = 0;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (_, files) = disk_with(&flipped);
        let found = recovered(files.as_ref());
        let (damage, torn) = (found.report.damage_messages(), found.report.torn_message());
        assert!(damage.len() + usize::from(torn.is_some()) <= 1, "bit {bit}: {damage:?} {torn:?}");
        if found.frames != all.frames {
            assert!(!damage.is_empty() || torn.is_some(), "bit {bit}: lost without a word");
        }
        if bit as u64 / 8 >= last.offset + FRAME_HEADER_BYTES as u64 {
            let torn = torn.expect("the last group is damaged");
            for part in
                ["possibly acknowledged", "5 spans in 1 requests of tenant tenant-2", "1970-01-01T00:00:00Z"]
            {
                assert!(torn.contains(part), "bit {bit}: {torn:?} says {part:?}");
            }
            possibly += 1;
        } else if bit as u64 / 8 >= last.offset {
            let torn = torn.expect("the last group is damaged");
            assert!(torn.contains("cannot be read") && torn.contains(&format!("last {} bytes", last.bytes)));
        }
    }
    assert_eq!(possibly, payload(5).len() * 8);
}

/// Frames of which nothing, or not all, can be used; the next start reads the file again.
#[tokio::test]
async fn a_whole_frame_that_cannot_be_used_is_kept_and_reported_and_stops_nothing() {
    let (_, bytes, _) = small_wal().await;
    let (disk, files) = disk_with(&bytes);
    for _ in 0..2 {
        let mut seen = Vec::new();
        let report = recover(files.as_ref(), Path::new(DIR), &[], &mut |_, frame| {
            let number = number(&frame);
            seen.push(number);
            Ok::<_, WalError>(match number {
                2 => Visited::Unusable { why: "field 7 is no number".to_owned() },
                4 => Visited::Partly { rejected_spans: 3, why: "3 spans rejected".to_owned() },
                _ => Visited::Taken,
            })
        })
        .expect("it is no error");
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        assert_eq!((report.frames, report.spans), (5, 1 + 3 + 1 + 5));
        let [message] = report.damage_messages().try_into().expect("one file");
        for part in [
            "2 whole frames cannot be used",
            "field 7 is no number",
            "2 spans in 1 requests of tenant tenant-2",
            "3 spans in 1 requests of tenant tenant-1",
            "the file is kept as /wal/quarantine/00000000000000000001.wal",
        ] {
            assert!(message.contains(part), "{message:?} says {part:?}");
        }
        assert!(report.damaged[0].loses_spans());
        let recent: Vec<u128> = report.recent_requests.iter().map(|(hash, _)| *hash).collect();
        assert_eq!(recent, [0, 1, 3, 4, 5].map(hash), "a lost request may be sent again");
        assert_eq!(disk.bytes(&quarantine_path("00000000000000000001.wal")).as_ref(), Some(&bytes));
    }
    assert_eq!(disk.paths().len(), 2, "kept once");
}

#[tokio::test]
async fn a_file_that_is_linked_into_quarantine_is_not_cut() {
    let (_, bytes, _) = small_wal().await;
    let torn = bytes[..bytes.len() - 1].to_vec();
    let (disk, files) = disk_with(&torn);
    let report = recover(files.as_ref(), Path::new(DIR), &[], &mut |_, frame| {
        let unusable = Visited::Unusable { why: "field 7 is no number".to_owned() };
        Ok::<_, WalError>(if number(&frame) == 2 { unusable } else { Visited::Taken })
    })
    .expect("it is no error");
    assert_eq!(report.frames, 4);
    assert!(report.torn_message().expect("a torn tail").contains("possibly acknowledged"));
    for path in [wal_path(1), quarantine_path("00000000000000000001.wal")] {
        assert_eq!(disk.bytes(&path).as_ref(), Some(&torn), "{}", path.display());
    }
    // The log goes on, and the next start sees the same.
    let (wal, _, found) = reopen(&files);
    append_all(&wal, 10..11).await;
    wal.close().await;
    assert_eq!(found.numbers(), [0, 1, 2, 3, 4]);
    let again = recovered(files.as_ref());
    assert_eq!(again.numbers(), [0, 1, 2, 3, 4, 10]);
}

#[tokio::test]
async fn what_is_in_quarantine_is_never_written_over() {
    let (_, bytes, _) = small_wal().await;
    let names = ["00000000000000000002.unborn", "00000000000000000001.wal", "00000000000000000002.unborn.1"];
    let (disk, files) = disk_with(&bytes);
    for name in names {
        disk.put(&quarantine_path(name), b"older".to_vec());
    }
    disk.put(&wal_path(2), vec![7; 5]);
    let found = recovered(files.as_ref());
    assert_eq!(
        found.report.torn.expect("it is no file").kept_as,
        Some(quarantine_path("00000000000000000002.unborn.2"))
    );
    assert_eq!(disk.bytes(&quarantine_path("00000000000000000002.unborn.2")), Some(vec![7; 5]));

    // A torn tail, and one of the same place and length from before.
    let (disk, files) = disk_with(&bytes[..bytes.len() - 1]);
    let torn = recovered(files.as_ref()).report.torn.expect("it is torn");
    let first = torn.kept_as.expect("it is kept");
    let other = vec![9; torn.bytes as usize];
    disk.put(&first, other.clone());
    disk.put(&wal_path(1), bytes[..bytes.len() - 1].to_vec());
    let second = recovered(files.as_ref()).report.torn.expect("it is torn").kept_as.expect("it is kept");
    assert_ne!(second, first);
    assert_eq!(disk.bytes(&first), Some(other));

    // Damage, beside another file of that name and length.
    let mut damaged = bytes.clone();
    damaged[FILE_HEADER_BYTES + 4] ^= 1;
    let (disk, files) = disk_with(&damaged);
    disk.put(&quarantine_path("00000000000000000001.wal"), vec![9; bytes.len()]);
    let found = recovered(files.as_ref());
    let kept = found.report.damaged[0].quarantined_as.clone().expect("it is kept");
    assert_eq!(kept, quarantine_path("00000000000000000001.wal.1"));
    assert_eq!(disk.bytes(&kept), Some(damaged));
}

/// The bytes of a file of another log with this sequence.
fn of_another_log(bytes: &[u8], sequence: u64) -> Vec<u8> {
    let header = decode_file_header(bytes).expect("it is whole").header;
    let other = FileHeader { sequence, wal: Ulid(WAL.0 + 1), ..header };
    let seal = FileSeal::new(&other);
    let mut reader = FrameReader::new(&header);
    reader.feed(&bytes[FILE_HEADER_BYTES..]);
    reader.feed_end();
    let mut out = encode_file_header(&other).to_vec();
    while let Step::Frame(frame) = reader.step() {
        let at = out.len() as u64;
        encode_frame(
            &mut out,
            seal,
            at,
            FrameGroup { durable_bytes: at, cuts: [false; 2] },
            &frame.meta,
            StoredPayload::plain(&frame.payload),
        )
        .expect("it is small");
    }
    out
}

#[tokio::test]
async fn files_of_another_log_are_never_covered() {
    let (disk, bytes, _) = small_wal().await;
    disk.put(&wal_path(2), of_another_log(&bytes, 2));
    let mut read = Vec::new();
    let report = recover(&disk, Path::new(DIR), &covered(9), &mut |file, frame| {
        read.push((file.wal, file.sequence, number(&frame)));
        Ok::<_, WalError>(Visited::Taken)
    })
    .expect("it can be read");
    assert_eq!(read, [0, 1, 2, 3, 4, 5].map(|number| (Ulid(WAL.0 + 1), 2, number)));
    assert_eq!((report.wal, report.next_sequence, report.covered_files), (None, 3, 1));
    assert!(report.damage_messages().is_empty(), "{report:?}");
    assert_eq!(remove_covered(&disk, Path::new(DIR), &covered(9)).expect("it can be removed"), 1);
    assert_eq!(disk.paths(), [wal_path(2)]);
}

#[tokio::test]
async fn a_covered_file_whose_header_cannot_be_read_is_kept_in_quarantine() {
    let disk = SimFiles::new(0);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let (wal, _, _) = reopen(&files);
    append_all(&wal, 0..2).await;
    wal.rotate().await.expect("there is room");
    let mut broken = disk.bytes(&wal_path(1)).expect("it is there");
    broken[20] ^= 1;
    broken[532] ^= 1;
    disk.put(&wal_path(1), broken.clone());
    assert_eq!(remove_covered(files.as_ref(), Path::new(DIR), &covered(1)).expect("it can be removed"), 1);
    assert_eq!(disk.paths(), [wal_path(2), quarantine_path("00000000000000000001.wal")]);
    assert_eq!(disk.bytes(&quarantine_path("00000000000000000001.wal")), Some(broken));
    wal.close().await;
}

/// Where the frames of a whole file begin.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = FILE_HEADER_BYTES;
    while at < bytes.len() {
        starts.push(at);
        let length = bytes[at + 8..at + 12].try_into().expect("four bytes");
        at += FRAME_HEADER_BYTES + u32::from_le_bytes(length) as usize;
    }
    starts
}

#[tokio::test]
async fn damage_in_the_middle_is_named_kept_and_survives_until_it_is_covered() {
    let (_, mut bytes, positions) = small_wal().await;
    let last_payload_byte = (positions[3].offset + positions[3].bytes) as usize - 1;
    bytes[last_payload_byte] ^= 0x40;
    let (disk, files) = disk_with(&bytes);
    let (wal, _, found) = reopen(&files);
    assert_eq!(found.numbers(), [0, 1, 2, 4, 5]);
    let [message] = found.report.damage_messages().try_into().expect("one file is damaged");
    for part in [
        "3 spans in 1 requests of tenant tenant-0",
        "started 1970-01-01T00:00:00Z",
        "the file is kept as /wal/quarantine/00000000000000000001.wal",
    ] {
        assert!(message.contains(part), "{message:?} says {part:?}");
    }
    let recent: Vec<u128> = found.report.recent_requests.iter().map(|(hash, _)| *hash).collect();
    assert_eq!(recent, [0, 1, 2, 4, 5].map(hash), "a lost request may be sent again");
    append_all(&wal, 10..11).await;
    wal.close().await;

    // Not flushed yet, and again a start: nothing is lost by having been set aside.
    let again = recovered(files.as_ref());
    assert_eq!(again.numbers(), [0, 1, 2, 4, 5, 10]);
    assert_eq!(again.report.damaged, found.report.damaged);
    let kept = quarantine_path("00000000000000000001.wal");
    assert_eq!(disk.paths().iter().filter(|path| path.starts_with("/wal/quarantine")).count(), 1);
    remove_covered(files.as_ref(), Path::new(DIR), &covered(2)).expect("they can be removed");
    assert_eq!(disk.paths(), std::slice::from_ref(&kept), "quarantine is for people to clear");
    assert_eq!(disk.bytes(&kept), Some(bytes));
}

#[tokio::test]
async fn a_file_of_which_nothing_can_be_read_is_set_aside_whole() {
    let (disk, bytes, _) = small_wal().await;
    let mut broken = bytes.clone();
    broken[20] ^= 1;
    broken[532] ^= 1;
    disk.put(&wal_path(1), broken.clone());
    let found = recovered(&disk);
    assert_eq!(found.frames, []);
    assert!(matches!(found.report.damaged[0].damage, FileDamage::Header { .. }));
    assert_eq!(disk.bytes(&quarantine_path("00000000000000000001.wal")), Some(broken));
    assert_eq!(found.report.next_sequence, 2);

    // Under another's name.
    let disk = SimFiles::new(0);
    disk.put(&wal_path(4), bytes);
    let found = recovered(&disk);
    assert_eq!(found.frames, []);
    let messages = found.report.damage_messages();
    assert!(messages[0].contains("its header says that it is file 1"), "{messages:?}");
    assert!(messages[1].contains("WAL files 1 to 3 are missing"), "{messages:?}");
}

#[tokio::test]
async fn a_missing_or_shortened_file_is_reported() {
    let disk = SimFiles::new(0);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let (wal, _, _) = reopen(&files);
    for number in 0..4 {
        append_all(&wal, [number]).await;
        wal.rotate().await.expect("there is room");
    }
    wal.close().await;
    files.remove(&wal_path(2)).expect("it is there");
    files.remove(&wal_path(3)).expect("it is there");
    let found = recovered(files.as_ref());
    assert_eq!(found.numbers(), [0, 3]);
    assert_eq!(found.report.damage_messages().len(), 1);
    assert_eq!((found.report.gaps[0].first, found.report.gaps[0].last), (2, 3));

    let length = files.len(&wal_path(4)).expect("it is there");
    let frame = FRAME_HEADER_BYTES as u64 + payload(3).len() as u64;
    files.truncate(&wal_path(4), length - frame).expect("it is there");
    let found = recovered(files.as_ref());
    assert_eq!(found.numbers(), [0]);
    let [damaged] = found.report.damaged.as_slice() else { unreachable!("{:?}", found.report) };
    assert!(damaged.to_string().contains("the file was longer"), "{damaged}");
}

/// What a later version of Tracelake would write.
fn make_newer(bytes: &mut [u8]) {
    for at in [0, 512] {
        bytes[at + 8] = 2;
        let crc = crc32c::crc32c(&bytes[at..at + 508]);
        bytes[at + 508..at + 512].copy_from_slice(&crc.to_le_bytes());
    }
}

#[tokio::test]
async fn a_newer_version_stops_the_start_and_changes_nothing() {
    let (disk, mut bytes, _) = small_wal().await;
    make_newer(&mut bytes);
    // Beside one with a torn tail, which must stay as it is too.
    let torn = disk.bytes(&wal_path(1)).expect("it is there");
    disk.put(&wal_path(1), torn[..torn.len() - 1].to_vec());
    disk.put(&wal_path(2), bytes.clone());
    let paths = disk.paths();
    let error = try_recover(&disk, Path::new(DIR), 0).expect_err("it is newer");
    assert!(matches!(error, WalError::Format { .. }));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("version 2"), "{error}");
    assert_eq!(disk.paths(), paths);
    assert_eq!(disk.bytes(&wal_path(1)).map(|bytes| bytes.len()), Some(torn.len() - 1));
    assert_eq!(disk.bytes(&wal_path(2)), Some(bytes));
}

#[tokio::test]
async fn an_interrupted_creation_is_taken_back() {
    let (_, bytes, _) = small_wal().await;
    let mut wrong = bytes[..FILE_HEADER_BYTES].to_vec();
    wrong[1] ^= 1;
    wrong[513] ^= 1;
    for (unborn, kept) in
        [(Vec::new(), false), (vec![0; 5_000], false), (bytes[..300].to_vec(), true), (wrong, true)]
    {
        let (disk, files) = disk_with(&bytes);
        disk.put(&wal_path(2), unborn.clone());
        let (wal, _, found) = reopen(&files);
        assert_eq!(found.numbers(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(found.report.next_sequence, 2, "the sequence is used again");
        assert!(found.report.damage_messages().is_empty());
        assert_eq!(disk.bytes(&quarantine_path("00000000000000000002.unborn")), kept.then_some(unborn));
        append_all(&wal, 10..11).await;
        wal.close().await;
        let again = recovered(files.as_ref());
        assert_eq!(again.numbers(), [0, 1, 2, 3, 4, 5, 10]);
        assert!(again.report.damage_messages().is_empty());
    }
}

#[tokio::test]
async fn a_sequence_that_the_manifest_covers_is_never_used_again() {
    let (_, bytes, _) = small_wal().await;
    let (disk, _) = disk_with(&bytes);
    disk.put(&wal_path(2), vec![0; 5_000]);
    // The folder is older than the manifest, as after an older copy of it was put back.
    let found = try_recover(&disk, Path::new(DIR), 10).expect("the files can be read");
    assert_eq!((found.numbers(), found.report.next_sequence), (vec![], 11));
}

#[tokio::test]
async fn inspecting_changes_nothing() {
    let (_, mut bytes, positions) = small_wal().await;
    bytes[positions[1].offset as usize + FRAME_HEADER_BYTES] ^= 1;
    bytes.truncate(bytes.len() - 1);
    let (disk, files) = disk_with(&bytes);
    let mut numbers = Vec::new();
    let report = inspect(files.as_ref(), Path::new(DIR), &[], &mut |_, frame| {
        numbers.push(number(&frame));
        Ok::<_, WalError>(Visited::Taken)
    })
    .expect("the files can be read");
    assert_eq!(numbers, [0, 2, 3, 4]);
    assert_eq!(report.damaged[0].quarantined_as, None);
    assert_eq!(disk.paths(), [wal_path(1)]);
    assert_eq!(disk.bytes(&wal_path(1)), Some(bytes));
}

#[tokio::test]
async fn files_that_are_not_the_logs_are_left_alone() {
    let (disk, _, _) = small_wal().await;
    for name in ["note.txt", "1.wal", "00000000000000000002.wal.bak", "99999999999999999999.wal"] {
        disk.put(&Path::new(DIR).join(name), b"mine".to_vec());
    }
    let found = recovered(&disk);
    assert_eq!((found.numbers(), found.report.next_sequence), (vec![0, 1, 2, 3, 4, 5], 2));
    remove_covered(&disk, Path::new(DIR), &covered(u64::MAX)).expect("they can be removed");
    assert_eq!(disk.paths().len(), 4);
}

#[tokio::test]
async fn a_file_that_must_stay_does_not_keep_the_others() {
    let disk = SimFiles::new(0);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let (wal, _, _) = reopen(&files);
    for number in 0..3 {
        append_all(&wal, [number]).await;
        wal.rotate().await.expect("there is room");
    }
    wal.close().await;
    let mut newer = disk.bytes(&wal_path(2)).expect("it is there");
    make_newer(&mut newer);
    disk.put(&wal_path(2), newer.clone());
    let error = remove_covered(files.as_ref(), Path::new(DIR), &covered(3)).expect_err("one is newer");
    assert!(error.to_string().contains("00000000000000000002.wal"), "{error}");
    assert_eq!(disk.paths(), [wal_path(2), wal_path(4)]);
    assert_eq!(disk.bytes(&wal_path(2)), Some(newer));
}

#[tokio::test]
async fn a_log_that_begins_behind_another_has_no_gap() {
    let disk = SimFiles::new(0);
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let (wal, _, _) = reopen(&files);
    append_all(&wal, [0]).await;
    wal.close().await;
    // Of two logs: a third is begun.
    let report = recovered(files.as_ref()).report;
    let other = WalOptions { wal: Ulid(7), ..options(Arc::clone(&files), Path::new(DIR), &report) };
    let (wal, _) = start(other, None).expect("it starts");
    append_all(&wal, [1]).await;
    wal.close().await;
    let visit = &mut |_: &FileHeader, _| Ok::<_, WalError>(Visited::Taken);
    let report = recover(files.as_ref(), Path::new(DIR), &[], visit).expect("they can be read");
    assert_eq!((report.wal, report.next_sequence, report.previous_bytes), (None, 3, 0));
    let third = WalOptions { wal: Ulid(8), ..options(Arc::clone(&files), Path::new(DIR), &report) };
    let (wal, _) = start(third, None).expect("it starts");
    append_all(&wal, [2]).await;
    wal.close().await;
    // The manifest covers the first two, and they were removed.
    files.remove(&wal_path(1)).expect("it is there");
    files.remove(&wal_path(2)).expect("it is there");
    let report = recover(files.as_ref(), Path::new(DIR), &[], visit).expect("they can be read");
    assert_eq!((report.wal, report.next_sequence, report.frames), (Some(Ulid(8)), 4, 1));
    assert!(report.gaps.is_empty(), "{:?}", report.gaps);
}
