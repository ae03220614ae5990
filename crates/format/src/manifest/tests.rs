use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ulid::Ulid;

use super::frame::{self, Kind};
use super::*;
use crate::FormatError;
use crate::segment::{AttributeColumn, AttributeType, Section, SegmentMeta, SegmentTenant};

fn seed() -> u64 {
    let seed = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("TRACELAKE_TEST_SEED={seed}");
    seed
}

fn segment(id: u128) -> SegmentEntry {
    let id = Ulid(id);
    SegmentEntry {
        path: format!("segments/{id}.parquet"),
        meta: SegmentMeta {
            format_version: 1,
            id,
            level: 0,
            generation_min: 7,
            generation_max: 7,
            size_bytes: 123_456,
            rows: 1_000,
            traces: 40,
            start_unix_nano_min: 1_763_773_200_000_000_001,
            start_unix_nano_max: u64::MAX,
            end_unix_nano_max: i64::MAX as u64,
            trace_hash_min: 0,
            trace_hash_max: u64::MAX,
            tenants: vec![SegmentTenant {
                tenant: "default".parse().expect("a tenant"),
                first_row: 0,
                rows: 1_000,
                traces: 40,
            }],
            filter: Section { offset: 4, len: 100, crc32c: u32::MAX },
            directory: Section { offset: 104, len: 1_000, crc32c: 1 },
            value_filters: None,
            index: None,
            checksums: Section { offset: 1_104, len: 64, crc32c: 2 },
            footer: Section { offset: 120_000, len: 3_456, crc32c: 3 },
        },
    }
}

fn with_index(id: u128) -> SegmentEntry {
    let mut entry = segment(id);
    entry.meta.format_version = 3;
    entry.meta.index = Some(Section { offset: 1_104, len: 60, crc32c: 4 });
    entry
}

fn with_value_filters(id: u128) -> SegmentEntry {
    let mut entry = with_index(id);
    entry.meta.format_version = 4;
    entry.meta.value_filters = Some(Section { offset: 1_090, len: 14, crc32c: 5 });
    entry
}

const WAL: Ulid = Ulid(0xA1);
const OTHER_WAL: Ulid = Ulid(0xB2);

fn column(key: &str) -> AttributeColumn {
    AttributeColumn { key: key.to_owned(), kind: AttributeType::String }
}

fn entry(version: u64, epoch: u64, change: Change) -> Entry {
    Entry {
        version,
        commit_id: Ulid(u128::from(version) + 1_000),
        writer_epoch: epoch,
        writer: format!("writer-{epoch}"),
        committed_unix_nano: 1_763_773_200_000_000_000u64.wrapping_add(version),
        change,
    }
}

fn open(version: u64, epoch: u64) -> Entry {
    entry(version, epoch, Change::Open(Open {}))
}

fn commit(version: u64, commit: Commit) -> Entry {
    entry(version, 1, Change::Commit(commit))
}

fn flush(generation: u64, wal_covered: u64, ids: &[u128]) -> Commit {
    Commit {
        flushed: Some(Flushed { generation, wal: WAL, wal_covered }),
        segments_added: ids.iter().copied().map(segment).collect(),
        ..Commit::default()
    }
}

fn expiry(ids: &[u128]) -> Commit {
    let segments_removed = ids.iter().copied().map(Ulid).collect();
    Commit { segments_removed, retention: true, ..Commit::default() }
}

fn of_another_wal(mut commit: Commit) -> Commit {
    commit.flushed = commit.flushed.map(|flushed| Flushed { wal: OTHER_WAL, ..flushed });
    commit
}

/// Version 2: opened, and one flush with two segments and a column.
fn small_state() -> State {
    let mut state = State::default();
    state.apply(&open(1, 1)).expect("the first entry");
    let change = Commit { attribute_columns_added: vec![column("http.route")], ..flush(3, 9, &[1, 2]) };
    state.apply(&commit(2, change)).expect("the second entry");
    state
}

#[test]
fn entries_and_checkpoints_read_back_as_they_were_written() {
    let change = Commit {
        segments_removed: vec![Ulid(1), Ulid(u128::MAX)],
        attribute_columns_added: vec![column("a"), column("\"\\\u{1f600}\n")],
        ..flush(u64::MAX, u64::MAX, &[3, 4])
    };
    let others =
        [open(1, 1), open(u64::MAX, u64::MAX), commit(3, Commit::default()), commit(3, expiry(&[1]))];
    for entry in others.into_iter().chain([commit(2, change)]) {
        let bytes = entry.encode().expect("encode");
        assert_eq!(Entry::decode(&bytes).expect("decode"), entry);
    }
    let state = small_state();
    let bytes = state.encode_checkpoint().expect("encode");
    assert_eq!(State::decode_checkpoint(&bytes).expect("decode"), state);
}

/// A log of three entries and a checkpoint, as version 1 wrote it. `TRACELAKE_BLESS=1` writes it anew; a
/// build that cannot read what an earlier one wrote loses the store.
#[test]
fn a_manifest_of_version_1_is_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1/manifest");
    let change = Commit { attribute_columns_added: vec![column("http.route")], ..flush(3, 9, &[1, 2]) };
    let removal = Commit { segments_removed: vec![Ulid(1)], ..of_another_wal(flush(4, 2, &[5])) };
    let entries = [open(1, 1), commit(2, change), commit(3, removal)];
    let mut state = State::default();
    for entry in &entries {
        state.apply(entry).expect("it fits");
    }
    let path = |name: ObjectName| folder.join(name.to_string());
    if std::env::var_os("TRACELAKE_BLESS").is_some() {
        std::fs::create_dir_all(&folder).expect("it can be made");
        for entry in &entries {
            let bytes = entry.encode().expect("encode");
            std::fs::write(path(ObjectName::Entry(entry.version)), bytes).expect("it can be written");
        }
        let bytes = state.encode_checkpoint().expect("encode");
        std::fs::write(path(ObjectName::Checkpoint(3)), bytes).expect("it can be written");
    }
    let read = |name| std::fs::read(path(name)).expect("the fixture is there");
    for entry in entries {
        assert_eq!(Entry::decode(&read(ObjectName::Entry(entry.version))).expect("decode"), entry);
    }
    assert_eq!(State::decode_checkpoint(&read(ObjectName::Checkpoint(3))).expect("decode"), state);
}

/// What retention adds, and a backup, as version 2 wrote them.
#[test]
fn objects_of_version_2_are_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v2/manifest");
    let entry = commit(3, expiry(&[1]));
    let mut state = small_state();
    state.apply(&entry).expect("it fits");
    let backup = Backup { taken_unix_nano: 7, flushed: true, state: state.clone() };
    let names = [ObjectName::Entry(3).to_string(), ObjectName::Checkpoint(3).to_string()];
    let names = [&names[0], &names[1], &BackupName(3).to_string()].map(|name| folder.join(name));
    if std::env::var_os("TRACELAKE_BLESS").is_some() {
        std::fs::create_dir_all(&folder).expect("it can be made");
        for (name, object) in names.iter().zip([entry.encode(), state.encode_checkpoint(), backup.encode()]) {
            std::fs::write(name, object.expect("encode")).expect("it can be written");
        }
    }
    let [entry_read, state_read, backup_read] =
        names.map(|name| std::fs::read(name).expect("the fixture is there"));
    assert_eq!(Entry::decode(&entry_read).expect("decode"), entry);
    assert_eq!(State::decode_checkpoint(&state_read).expect("decode"), state);
    assert_eq!(Backup::decode(&backup_read).expect("decode"), backup);
}

/// A segment with an attribute index, as version 3 wrote it; and with filters of values, as version 4 did.
#[test]
fn objects_of_versions_3_and_4_are_read() {
    for (version, added) in [(3, with_index(9)), (4, with_value_filters(9))] {
        let folder = format!("testdata/v{version}/manifest");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let change =
            Commit { segments_removed: vec![Ulid(1)], segments_added: vec![added], ..Commit::default() };
        let entry = commit(3, change);
        let mut state = small_state();
        state.apply(&entry).expect("it fits");
        let names =
            [ObjectName::Entry(3), ObjectName::Checkpoint(3)].map(|name| folder.join(name.to_string()));
        if std::env::var_os("TRACELAKE_BLESS").is_some() {
            std::fs::create_dir_all(&folder).expect("it can be made");
            for (name, object) in names.iter().zip([entry.encode(), state.encode_checkpoint()]) {
                std::fs::write(name, object.expect("encode")).expect("it can be written");
            }
        }
        let [entry_read, state_read] = names.map(|name| std::fs::read(name).expect("the fixture is there"));
        assert_eq!((entry_read[8], state_read[8]), (version, version));
        assert_eq!(Entry::decode(&entry_read).expect("decode"), entry);
        assert_eq!(State::decode_checkpoint(&state_read).expect("decode"), state);
    }
}

#[test]
fn what_a_newer_version_added_is_refused_in_an_older_one() {
    for (older, added) in [(2, with_index(9)), (3, with_value_filters(9))] {
        let entry = commit(3, Commit { segments_added: vec![added], ..Commit::default() });
        let mut object = entry.encode().expect("encode");
        object[8] = older;
        let header = object.first_chunk::<{ frame::HEADER_BYTES }>().expect("a header");
        let checksum = frame::header_checksum(header).to_le_bytes();
        object[frame::HEADER_BYTES - 4..frame::HEADER_BYTES].copy_from_slice(&checksum);
        let error = Entry::decode(&object).expect_err("fields of a newer version");
        assert!(error.to_string().contains(&format!("format version {older}")), "{error}");
    }
}

#[test]
fn what_version_1_cannot_say_is_version_2_and_nothing_else_is() {
    let mut state = small_state();
    assert_eq!(state.encode_checkpoint().expect("encode")[8], 1);
    let entry = commit(3, expiry(&[1]));
    assert_eq!(entry.encode().expect("encode")[8], 2);
    state.apply(&entry).expect("it fits");
    let encoded = state.encode_checkpoint().expect("encode");
    assert_eq!(encoded[8], 2);
    let error = State::decode_checkpoint(&with_payload(&encoded, |payload| payload));
    let error = error.expect_err("fields of version 2 in version 1");
    assert!(error.to_string().contains("format version 1"), "{error}");
    let backup = Backup { taken_unix_nano: 7, flushed: false, state: small_state() };
    let encoded = backup.encode().expect("encode");
    assert_eq!((encoded[8], encoded[12]), (1, 3));
    assert!(State::decode_checkpoint(&encoded).is_err(), "a backup is no checkpoint");
    let nothing = Backup { state: State::default(), ..backup };
    assert!(Backup::decode(&nothing.encode().expect("encode")).is_err());
}

#[test]
fn what_retention_removed_is_bounded_by_generation_and_start() {
    let mut state = small_state();
    state
        .apply(&commit(3, Commit { segments_removed: vec![Ulid(2)], ..Commit::default() }))
        .expect("it fits");
    assert_eq!(state.retention, None, "a replacement loses nothing");
    state.apply(&commit(4, expiry(&[1]))).expect("it fits");
    let first = Retention { version: 4, generation_max: 7, start_unix_nano_max: u64::MAX };
    assert_eq!(state.retention, Some(first));
    let mut old = segment(9);
    (old.meta.generation_max, old.meta.start_unix_nano_max) = (3, 5);
    state.apply(&commit(5, Commit { segments_added: vec![old], ..Commit::default() })).expect("it fits");
    state.apply(&commit(6, expiry(&[9]))).expect("it fits");
    assert_eq!(state.retention, Some(Retention { version: 6, ..first }), "the bounds never fall");
}

#[test]
fn a_backup_has_the_name_of_its_version() {
    assert_eq!(BackupName(17).to_string(), "00000000000000000017.backup");
    assert_eq!(BackupName::parse("00000000000000000017.backup"), Some(BackupName(17)));
    for name in ["", "17.backup", "00000000000000000017.entry", "+0000000000000000017.backup"] {
        assert_eq!(BackupName::parse(name), None, "{name}");
    }
}

#[test]
fn the_bytes_of_an_entry_are_those_of_the_specification() {
    let bytes = open(17, 3).encode().expect("encode");
    let payload = concat!(
        r#"{"version":17,"commit_id":"000000000000000000000000ZS","writer_epoch":3,"writer":"writer-3","#,
        r#""committed_unix_nano":1763773200000000017,"change":{"open":{}}}"#
    );
    let mut expected = b"TLKMANIF\x01\0\0\0\x01\0\0\0".to_vec();
    expected.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    expected.extend_from_slice(&crc32c::crc32c(payload.as_bytes()).to_le_bytes());
    let header_crc = crc32c::crc32c(&expected);
    expected.extend_from_slice(&header_crc.to_le_bytes());
    expected.extend_from_slice(payload.as_bytes());
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&expected));
}

#[test]
fn every_flipped_bit_and_every_cut_is_detected() {
    let entry = commit(2, flush(3, 9, &[1])).encode().expect("encode");
    let checkpoint = small_state().encode_checkpoint().expect("encode");
    for object in [&entry, &checkpoint] {
        for bit in 0..object.len() * 8 {
            let mut damaged = object.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Entry::decode(&damaged).is_err(), "bit {bit} of an entry");
            assert!(State::decode_checkpoint(&damaged).is_err(), "bit {bit} of a checkpoint");
        }
        for len in 0..object.len() {
            assert!(Entry::decode(&object[..len]).is_err(), "an entry cut to {len} bytes");
            assert!(State::decode_checkpoint(&object[..len]).is_err(), "a checkpoint cut to {len} bytes");
        }
        let longer = [object.as_slice(), &[0]].concat();
        assert!(Entry::decode(&longer).is_err());
        assert!(State::decode_checkpoint(&longer).is_err());
    }
    assert!(Entry::decode(&checkpoint).is_err());
    assert!(State::decode_checkpoint(&entry).is_err());
}

#[test]
fn a_newer_format_is_named_as_such() {
    let mut bytes = open(1, 1).encode().expect("encode");
    bytes[8] = 5;
    let header: [u8; HEADER_BYTES] = *bytes.first_chunk().expect("a header");
    bytes[28..32].copy_from_slice(&frame::header_checksum(&header).to_le_bytes());
    let error = Entry::decode(&bytes).expect_err("a newer format");
    assert!(matches!(error, FormatError::Version { found: 5, supported: 4, .. }), "{error}");
}

#[test]
fn an_unknown_field_is_refused() {
    let good = serde_json::to_string(&commit(2, flush(3, 9, &[1]))).expect("JSON");
    let read =
        |json: &str| Entry::decode(&frame::seal(frame::Kind::Entry, 1, json.as_bytes()).expect("seal"));
    assert!(read(&good).is_ok());
    for place in [r#"{"version":"#, r#"{"flushed":"#, r#"{"generation":3,"wal"#, r#"{"path":"#] {
        let unknown = good.replacen(place, &place.replacen('{', r#"{"surprise":1,"#, 1), 1);
        assert_ne!(unknown, good);
        let error = read(&unknown).expect_err(place);
        assert!(error.to_string().contains("surprise"), "{error}");
    }
    assert!(read(&good.replacen("\"commit\":{", "\"compact\":{", 1)).is_err());
    assert!(read(&good.replacen("\"version\":2", "\"version\":2,\"version\":2", 1)).is_err());
}

#[test]
fn names_sort_as_versions_and_only_exact_names_are_read() {
    assert_eq!(ObjectName::Entry(17).to_string(), "00000000000000000017.entry");
    assert_eq!(ObjectName::Checkpoint(u64::MAX).to_string(), "18446744073709551615.checkpoint");
    for name in [ObjectName::Entry(0), ObjectName::Entry(u64::MAX), ObjectName::Checkpoint(64)] {
        assert_eq!(ObjectName::parse(&name.to_string()), Some(name));
    }
    for name in [
        "",
        "17.entry",
        "00000000000000000017",
        "00000000000000000017.",
        "00000000000000000017.entry~",
        "00000000000000000017.Entry",
        "000000000000000000017.entry",
        "+0000000000000000017.entry",
        "99999999999999999999.entry",
    ] {
        assert_eq!(ObjectName::parse(name), None, "{name}");
    }
}

#[test]
fn entries_that_do_not_fit_are_refused_and_leave_no_trace() {
    let state = small_state();
    let added = |ids: &[u128]| Commit {
        segments_added: ids.iter().copied().map(segment).collect(),
        ..Commit::default()
    };
    let removed = |ids: &[u128]| Commit {
        segments_removed: ids.iter().copied().map(Ulid).collect(),
        ..Commit::default()
    };
    let columns = |keys: &[&str]| Commit {
        attribute_columns_added: keys.iter().map(|key| column(key)).collect(),
        ..Commit::default()
    };
    let mut same_path = segment(5);
    same_path.path = segment(1).path;
    let mut no_path = segment(5);
    no_path.path.clear();
    let with = |segment: SegmentEntry| Commit { segments_added: vec![segment], ..Commit::default() };
    let mut stranger = commit(3, Commit::default());
    stranger.writer = "somebody".to_owned();
    let mut nameless = open(3, 2);
    nameless.writer.clear();
    let wrong = [
        ("a version left out", commit(4, Commit::default())),
        ("the same version", commit(2, Commit::default())),
        ("the same epoch opened", open(3, 1)),
        ("an epoch left out", open(3, 3)),
        ("an earlier epoch opened", open(3, 0)),
        ("a nameless writer", nameless),
        ("a commit of a later epoch", entry(3, 2, Change::Commit(Commit::default()))),
        ("a commit of an earlier epoch", entry(3, 0, Change::Commit(Commit::default()))),
        ("another writer in the same epoch", stranger),
        ("the same generation", commit(3, flush(3, 9, &[]))),
        ("an earlier generation", commit(3, flush(2, 9, &[]))),
        ("less of the WAL covered", commit(3, flush(4, 8, &[]))),
        ("a live segment added", commit(3, added(&[2]))),
        ("a segment added twice", commit(3, added(&[5, 5]))),
        ("a live path added", commit(3, with(same_path))),
        ("no path", commit(3, with(no_path))),
        ("a segment removed that is not live", commit(3, removed(&[3]))),
        ("a segment removed twice", commit(3, removed(&[1, 1]))),
        ("a column again", commit(3, columns(&["http.route"]))),
        ("a column twice", commit(3, columns(&["x", "x"]))),
        ("a retention of nothing", commit(3, Commit { retention: true, ..Commit::default() })),
    ];
    for (what, entry) in wrong {
        let mut next = state.clone();
        assert!(next.apply(&entry).is_err(), "{what}");
        assert_eq!(next, state, "{what}");
    }
    for (what, entry) in [
        ("an opening", open(3, 2)),
        ("nothing", commit(3, Commit::default())),
        ("a flush without segments", commit(3, flush(4, 9, &[]))),
        ("generations left out", commit(3, flush(40, 90, &[5]))),
        ("less of another WAL covered", commit(3, of_another_wal(flush(4, 1, &[5])))),
        ("a replacement", commit(3, Commit { segments_removed: vec![Ulid(1)], ..added(&[5, 6]) })),
    ] {
        state.clone().apply(&entry).expect(what);
    }
}

#[test]
fn a_log_is_covered_on_its_own_and_the_one_flushed_longest_ago_is_forgotten() {
    let mut state = small_state();
    assert_eq!((state.covered(WAL), state.covered(OTHER_WAL)), (Some(9), None));
    state.apply(&commit(3, of_another_wal(flush(4, 2, &[])))).expect("another log's numbers are its own");
    assert_eq!((state.covered(WAL), state.covered(OTHER_WAL)), (Some(9), Some(2)));
    state.apply(&commit(4, flush(5, 10, &[]))).expect("it fits");
    for number in 0..WALS_MAX as u64 - 1 {
        let mut change = flush(6 + number, 1, &[]);
        change.flushed =
            change.flushed.map(|flushed| Flushed { wal: Ulid(1_000 + u128::from(number)), ..flushed });
        state.apply(&commit(5 + number, change)).expect("it fits");
    }
    assert_eq!(state.wal_covered.len(), WALS_MAX);
    assert_eq!((state.covered(WAL), state.covered(OTHER_WAL)), (Some(10), None));
}

/// An object with a payload that this build would not write.
fn with_payload(object: &[u8], change: impl FnOnce(String) -> String) -> Vec<u8> {
    let payload = String::from_utf8(object[HEADER_BYTES..].to_vec()).expect("JSON is UTF-8");
    let kind = if object[12] == 1 { Kind::Entry } else { Kind::Checkpoint };
    frame::seal(kind, 1, change(payload).as_bytes()).expect("it is small")
}

#[test]
fn a_field_that_the_format_does_not_define_is_an_error_at_every_depth() {
    let change = Commit { attribute_columns_added: vec![column("http.route")], ..flush(3, 9, &[1]) };
    let entry = commit(2, change).encode().expect("encode");
    let checkpoint = small_state().encode_checkpoint().expect("encode");
    assert!(Entry::decode(&with_payload(&entry, |payload| payload)).is_ok());
    assert!(State::decode_checkpoint(&with_payload(&checkpoint, |payload| payload)).is_ok());
    // One field of each struct: a new one is put before it.
    let fields =
        ["\"format_version\":1", "\"first_row\":0", "\"crc32c\":1", "\"type\":\"string\"", "\"path\":"];
    for field in fields.into_iter().chain(["\"wal_covered\":", "\"version\":"]) {
        for object in [&entry, &checkpoint] {
            let object = with_payload(object, |payload| {
                assert!(payload.contains(field), "{payload} has {field}");
                payload.replacen(field, &format!("\"new\":1,{field}"), 1)
            });
            let refused = Entry::decode(&object).is_err() && State::decode_checkpoint(&object).is_err();
            assert!(refused, "a field beside {field}");
        }
    }
}

#[test]
fn a_checkpoint_that_no_log_adds_up_to_is_refused() {
    let state = small_state();
    let mut twice = state.clone();
    twice.segments.push(segment(1));
    let mut column_twice = state.clone();
    column_twice.attribute_columns.columns.push(column("http.route"));
    let mut wal_twice = state.clone();
    wal_twice.wal_covered.push(CoveredWal { wal: WAL, sequence: 1 });
    let no_version = State { version: 0, ..state.clone() };
    let no_epoch = State { epoch: 0, ..state.clone() };
    let too_many_epochs = State { epoch: 3, ..state };
    for wrong in [twice, column_twice, wal_twice, no_version, no_epoch, too_many_epochs, State::default()] {
        let bytes = wrong.encode_checkpoint().expect("encode");
        assert!(State::decode_checkpoint(&bytes).is_err(), "{wrong:?}");
    }
}

/// What a log adds up to, said in another way: sets instead of rules.
#[test]
fn a_log_adds_up_to_what_was_done_from_any_checkpoint_on() {
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..100 {
        let mut state = State::default();
        let mut entries = Vec::new();
        let mut checkpoints = vec![State::default()];
        let (mut epoch, mut next_id, mut generation) = (0, 1u128, 0);
        let mut covered: BTreeMap<Ulid, u64> = BTreeMap::new();
        let mut live: Vec<Ulid> = Vec::new();
        for version in 1..=rng.random_range(1..40) {
            let change = if epoch == 0 || rng.random_bool(0.1) {
                epoch += 1;
                Change::Open(Open {})
            } else {
                let mut change = Commit::default();
                if rng.random_bool(0.6) {
                    generation += rng.random_range(1..3);
                    let wal = if rng.random_bool(0.8) { WAL } else { OTHER_WAL };
                    let covered = covered.entry(wal).or_insert(0);
                    *covered += rng.random_range(0..3);
                    change.flushed = Some(Flushed { generation, wal, wal_covered: *covered });
                }
                for _ in 0..rng.random_range(0..4) {
                    if live.is_empty() {
                        break;
                    }
                    change.segments_removed.push(live.remove(rng.random_range(0..live.len())));
                }
                for _ in 0..rng.random_range(0..4) {
                    change.segments_added.push(segment(next_id));
                    live.push(Ulid(next_id));
                    next_id += 1;
                }
                change.retention = !change.segments_removed.is_empty() && rng.random_bool(0.5);
                if rng.random_bool(0.2) {
                    change.attribute_columns_added.push(column(&format!("key.{version}")));
                }
                Change::Commit(change)
            };
            let entry = entry(version, epoch, change);
            state.apply(&entry).expect("it fits");
            entries.push(entry.encode().expect("encode"));
            checkpoints.push(state.clone());
        }
        let ids: Vec<_> = state.segments.iter().map(|segment| segment.meta.id).collect();
        assert_eq!(ids, live);
        assert_eq!((state.epoch, state.generation), (epoch, generation));
        for wal in [WAL, OTHER_WAL] {
            assert_eq!(state.covered(wal), covered.get(&wal).copied());
        }
        for (at, checkpoint) in checkpoints.iter().enumerate() {
            let mut replayed = match at {
                0 => State::default(),
                _ => State::decode_checkpoint(&checkpoint.encode_checkpoint().expect("encode"))
                    .expect("decode"),
            };
            for bytes in &entries[at..] {
                replayed.apply(&Entry::decode(bytes).expect("decode")).expect("it fits");
            }
            assert_eq!(replayed, state);
        }
    }
}

#[test]
fn random_and_mutated_bytes_never_panic() {
    let mut rng = StdRng::seed_from_u64(seed());
    let good = [
        commit(2, flush(3, 9, &[1])).encode().expect("encode"),
        small_state().encode_checkpoint().expect("encode"),
        open(1, 1).encode().expect("encode"),
        commit(2, expiry(&[1])).encode().expect("encode"),
        Backup { taken_unix_nano: 1, flushed: true, state: small_state() }.encode().expect("encode"),
    ];
    for round in 0..3_000 {
        let mut bytes = good[round % good.len()].clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[at] = rng.random(),
                1 => bytes[at] = b"0123456789\"{}[],:"[rng.random_range(0..17)],
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, rng.random()),
            }
        }
        fuzzing::manifest(&bytes);
        fuzzing::manifest(bytes.get(HEADER_BYTES..).unwrap_or_default());
    }
}
