//! Remembers resources and scopes by their bytes: a sender repeats them in every request, and finding
//! one costs a comparison instead of a parse. Bounded; when it is full it forgets everything.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::extent::Extent;

/// Bytes of keys and values that are remembered.
const BYTES_MAX: usize = 4 << 20;
/// One that is larger is not remembered: it would push out too many others.
const ENTRY_BYTES_MAX: usize = 64 << 10;
/// A process sends for one resource, a gateway for hundreds.
const ENTRIES_MAX: usize = 4_096;

/// Values by their two byte strings (message and schema URL).
#[derive(Debug)]
pub(crate) struct Memo<T> {
    entries: Vec<Entry<T>>,
    by_hash: HashTable<u32>,
    hasher: RandomState,
    bytes: usize,
    /// Where the last one found stands: often it is the next one too.
    last: usize,
    /// Which request is being read.
    request: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// Message and schema URL, one after the other.
    key: Box<[u8]>,
    message_len: usize,
    value: Arc<T>,
    extent: Extent,
    /// Its number in the batch of this request.
    index: u32,
    request: u64,
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            by_hash: HashTable::new(),
            hasher: RandomState::default(),
            bytes: 0,
            last: 0,
            request: 1,
        }
    }
}

impl<T> Memo<T> {
    /// Numbers in the batch start anew.
    pub(crate) fn next_request(&mut self) {
        self.request += 1;
    }

    /// Where it stands, if it is remembered.
    pub(crate) fn find(&mut self, message: &[u8], schema_url: &[u8]) -> Option<usize> {
        if self.entries.get(self.last).is_some_and(|entry| entry.is(message, schema_url)) {
            return Some(self.last);
        }
        let hash = self.hash(message, schema_url);
        let entries = &self.entries;
        let found = self.by_hash.find(hash, |slot| {
            entries.get(*slot as usize).is_some_and(|entry| entry.is(message, schema_url))
        })?;
        self.last = *found as usize;
        Some(self.last)
    }

    pub(crate) fn value(&self, slot: usize) -> (&Arc<T>, Extent) {
        let entry = &self.entries[slot];
        (&entry.value, entry.extent)
    }

    /// The number in this request's batch, if it has one already.
    pub(crate) fn index(&self, slot: usize) -> Option<u32> {
        let entry = &self.entries[slot];
        (entry.request == self.request).then_some(entry.index)
    }

    pub(crate) fn set_index(&mut self, slot: usize, index: u32) {
        let entry = &mut self.entries[slot];
        entry.index = index;
        entry.request = self.request;
    }

    /// Remembers one that [`find`](Self::find) did not find, if it is small. Slots given out before
    /// are no longer valid.
    pub(crate) fn insert(
        &mut self,
        message: &[u8],
        schema_url: &[u8],
        value: &Arc<T>,
        value_bytes: usize,
        extent: Extent,
    ) -> Option<usize> {
        let bytes = message.len() + schema_url.len() + value_bytes + size_of::<Entry<T>>();
        if bytes > ENTRY_BYTES_MAX {
            return None;
        }
        if self.bytes + bytes > BYTES_MAX || self.entries.len() == ENTRIES_MAX {
            self.entries.clear();
            self.by_hash.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        let slot = self.entries.len();
        let hash = self.hash(message, schema_url);
        let entries = &self.entries;
        let hasher = &self.hasher;
        self.by_hash.insert_unique(hash, slot as u32, |slot| {
            entries.get(*slot as usize).map_or(0, |entry| {
                let (message, schema_url) = entry.key.split_at(entry.message_len);
                hash_of(hasher, message, schema_url)
            })
        });
        self.entries.push(Entry {
            key: [message, schema_url].concat().into(),
            message_len: message.len(),
            value: Arc::clone(value),
            extent,
            index: 0,
            request: 0,
        });
        self.last = slot;
        Some(slot)
    }

    fn hash(&self, message: &[u8], schema_url: &[u8]) -> u64 {
        hash_of(&self.hasher, message, schema_url)
    }
}

fn hash_of(hasher: &RandomState, message: &[u8], schema_url: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(message);
    hasher.write(schema_url);
    hasher.finish()
}

impl<T> Entry<T> {
    fn is(&self, message: &[u8], schema_url: &[u8]) -> bool {
        self.message_len == message.len()
            && self.key.len() == message.len() + schema_url.len()
            && self.key.starts_with(message)
            && self.key.ends_with(schema_url)
    }
}

#[cfg(test)]
mod tests;
