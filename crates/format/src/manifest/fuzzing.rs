//! What a fuzzer and the tests of random bytes call.

use super::frame::{self, FORMAT_VERSION, HEADER_BYTES, Kind};
use super::{Backup, Entry, State};

/// Reads arbitrary bytes as each kind of object, as they are and with checksums that match, so that
/// the JSON behind them is reached too. What is accepted must survive being written and read again.
///
/// # Panics
/// When it does not.
pub fn manifest(data: &[u8]) {
    read(data);
    for kind in [Kind::Entry, Kind::Checkpoint, Kind::Backup] {
        if let Ok(object) = frame::seal(kind, FORMAT_VERSION, data) {
            read(&object);
        }
    }
    if let Some((header, payload)) = data.split_first_chunk::<HEADER_BYTES>() {
        let mut header = *header;
        header[24..28].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        let checksum = frame::header_checksum(&header);
        header[28..32].copy_from_slice(&checksum.to_le_bytes());
        read(&[&header[..], payload].concat());
    }
}

fn read(object: &[u8]) {
    if let Ok(entry) = Entry::decode(object) {
        let again = entry.encode().and_then(|bytes| Entry::decode(&bytes));
        assert!(again.is_ok_and(|again| again == entry), "an entry changed by being written");
        let mut state = State { version: entry.version.wrapping_sub(1), ..State::default() };
        let before = state.clone();
        if state.apply(&entry).is_err() {
            assert_eq!(state, before, "an entry that was refused left a trace");
        }
    }
    if let Ok(state) = State::decode_checkpoint(object) {
        let again = state.encode_checkpoint().and_then(|bytes| State::decode_checkpoint(&bytes));
        assert!(again.is_ok_and(|again| again == state), "a checkpoint changed by being written");
    }
    if let Ok(backup) = Backup::decode(object) {
        let again = backup.encode().and_then(|bytes| Backup::decode(&bytes));
        assert!(again.is_ok_and(|again| again == backup), "a backup changed by being written");
    }
}
