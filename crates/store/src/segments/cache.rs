//! What reading segments keeps in memory: pages after decompression, blocks of trace directories, and
//! resources, each within a budget of bytes. Segments are immutable, so nothing here is ever stale.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::{FixedState, RandomState};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tracelake_format::segment::{CachedPage, DirectoryBlock, PageKey, ReadCache};
use tracelake_model::Resource;
use ulid::Ulid;

/// A place in a segment's file.
type Place = (Ulid, u64);

/// What an entry takes beside its bytes, roughly.
pub(super) const ENTRY_BYTES: usize = 128;

/// Of a budget, the part for resources: a store has hundreds, of a KB each.
const RESOURCES_SHARE: u64 = 16;

/// Of a budget, the most that small dictionaries take. A lookup needs some fifty, each for eight pages of its column:
/// among pages, of which a large store has a hundred times more than there is room for, they would be gone before
/// they are needed again. To read one anew takes as long as to read a page, which has ten times its bytes. Those of
/// 30 M spans are some 22 MB; what they do not take the pages have.
const DICTIONARIES_SHARE: u64 = 2;

/// Of a budget, by how much the room of dictionaries grows at once.
const DICTIONARIES_STEP: u64 = 64;

/// The largest dictionary that is kept among the small ones. To read one anew takes a fixed time, and most have a few
/// hundred bytes.
const SMALL_DICTIONARY_BYTES_MAX: usize = 4 << 10;

#[derive(Debug, Clone)]
enum Block {
    Page(CachedPage),
    Directory(Arc<DirectoryBlock>),
}

/// What a block takes.
#[derive(Debug, Clone)]
struct BlockBytes;

impl Weighter<Place, Block> for BlockBytes {
    fn weight(&self, _: &Place, block: &Block) -> u64 {
        let bytes = match block {
            Block::Page(page) => page.heap_bytes(),
            Block::Directory(block) => block.heap_bytes(),
        };
        (bytes + ENTRY_BYTES) as u64
    }
}

/// What a resource takes, with the text that it was.
#[derive(Debug, Clone)]
struct ResourceBytes;

impl Weighter<Arc<str>, Arc<Resource>> for ResourceBytes {
    fn weight(&self, text: &Arc<str>, resource: &Arc<Resource>) -> u64 {
        (text.len() + resource.heap_bytes() + ENTRY_BYTES) as u64
    }
}

/// A cache is divided by as many locks as give each of them so much, and no more: an entry must fit into one.
const SHARD_BYTES: u64 = 8 << 20;

/// Of a block, to know how many there will be, roughly.
const BLOCK_BYTES: u64 = 4_096;

/// The same of a small dictionary, and of a resource.
const SMALL_BYTES: u64 = 512;

pub(super) fn cache<K, V, W>(bytes_max: u64, usual_bytes: u64, weighter: W) -> Cache<K, V, W, RandomState>
where
    K: Eq + Hash,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let (entries, hasher, lifecycle) =
        (count(bytes_max / usual_bytes), RandomState::default(), DefaultLifecycle::default());
    let options = OptionsBuilder::new()
        .shards(count((bytes_max / SHARD_BYTES).clamp(1, 64)))
        .estimated_items_capacity(entries)
        .weight_capacity(bytes_max)
        .build();
    match options {
        Ok(options) => Cache::with_options(options, weighter, hasher, lifecycle),
        Err(_) => Cache::with(entries, bytes_max, weighter, hasher, lifecycle),
    }
}

/// Which pages and directory blocks were missed of late. Those of a large store are asked for once and not again for a
/// long time: to copy them into a cache and to throw others out of it took a fifth of a lookup.
#[derive(Debug)]
struct Missed {
    /// By the lower bits of a page's hash the upper ones of those that came there last, the newest first. Of a
    /// hundred pages that a lookup reads again and again, none may drive out another each time.
    slots: Box<[[AtomicU32; MISSED_OF_SLOT]]>,
    /// Pages have their segment's name, which nobody chooses: the same pages are noted alike in each process.
    hasher: FixedState,
}

const MISSED_OF_SLOT: usize = 4;

impl Missed {
    /// Of as many pages as four caches of so many bytes have, roughly.
    fn new(bytes_max: u64) -> Self {
        let pages = bytes_max / (BLOCK_BYTES / 4);
        let slots = (pages / MISSED_OF_SLOT as u64).next_power_of_two().min(1 << 22);
        Self { slots: (0..slots).map(|_| Default::default()).collect(), hasher: FixedState::default() }
    }

    fn heap_bytes(&self) -> u64 {
        size_of_val(&*self.slots) as u64
    }

    /// Notes it; whether it was noted before.
    fn again(&self, place: &Place) -> bool {
        let hash = self.hasher.hash_one(place);
        let Some(slot) = self.slots.get(hash as usize & (self.slots.len() - 1)) else { return false };
        // Never 0, which is what a slot has at first.
        let upper = (hash >> 32) as u32 | 1;
        // Two threads at once may lose a note: the page is then noted once more.
        let mut newer = upper;
        for noted in slot {
            newer = noted.swap(newer, Ordering::Relaxed);
            if newer == upper {
                return true;
            }
        }
        false
    }
}

/// Blocks and resources. A lookup asks for some hundred pages: what an answer costs counts here.
#[derive(Debug)]
pub(super) struct BlockCache {
    blocks: Cache<Place, Block, BlockBytes, RandomState>,
    dictionaries: Cache<Place, Block, BlockBytes, RandomState>,
    resources: Cache<Arc<str>, Arc<Resource>, ResourceBytes, RandomState>,
    missed: Missed,
    /// What blocks and small dictionaries may take together, and the part of it that is the dictionaries' by now.
    bytes_max: u64,
    for_dictionaries: Mutex<u64>,
    step: u64,
}

impl BlockCache {
    pub(super) fn new(bytes_max: u64) -> Self {
        let resources_max = bytes_max / RESOURCES_SHARE;
        let dictionaries_max = bytes_max / DICTIONARIES_SHARE;
        let missed = Missed::new(bytes_max);
        let step = bytes_max / DICTIONARIES_STEP;
        let bytes_max = bytes_max.saturating_sub(resources_max + missed.heap_bytes());
        Self {
            blocks: cache(bytes_max.saturating_sub(step), BLOCK_BYTES, BlockBytes),
            dictionaries: cache(dictionaries_max, SMALL_BYTES, BlockBytes),
            resources: cache(resources_max, SMALL_BYTES, ResourceBytes),
            missed,
            bytes_max,
            for_dictionaries: Mutex::new(step),
            step,
        }
    }

    /// Takes room from the blocks before dictionaries need it; they do not give it back, as they stay.
    fn make_room_for_dictionaries(&self) {
        let wanted = self.dictionaries.weight() + self.step / 2;
        let mut given = self.for_dictionaries.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted > *given {
            *given = wanted + self.step / 2;
            self.blocks.set_capacity(self.bytes_max.saturating_sub(*given));
        }
    }

    pub(super) fn directory(&self, segment: Ulid, offset: u64) -> Option<Arc<DirectoryBlock>> {
        match self.blocks.get(&(segment, offset)) {
            Some(Block::Directory(block)) => Some(block),
            _ => None,
        }
    }

    pub(super) fn insert_directory(&self, segment: Ulid, offset: u64, block: &Arc<DirectoryBlock>) {
        if self.missed.again(&(segment, offset)) {
            self.blocks.insert((segment, offset), Block::Directory(Arc::clone(block)));
        }
    }

    /// Bytes of all blocks and resources, and of what is known of pages that were missed.
    pub(super) fn bytes(&self) -> u64 {
        self.blocks.weight() + self.dictionaries.weight() + self.resources.weight() + self.missed.heap_bytes()
    }
}

fn is_small_dictionary(key: PageKey, bytes: usize) -> bool {
    key.is_dictionary && bytes <= SMALL_DICTIONARY_BYTES_MAX
}

impl ReadCache for BlockCache {
    fn page(&self, key: PageKey) -> Option<CachedPage> {
        let place = (key.segment, key.offset);
        let small = if key.is_dictionary { self.dictionaries.get(&place) } else { None };
        match small.or_else(|| self.blocks.get(&place)) {
            Some(Block::Page(page)) => Some(page),
            _ => None,
        }
    }

    fn wants_page(&self, key: PageKey, bytes: usize) -> bool {
        is_small_dictionary(key, bytes) || self.missed.again(&(key.segment, key.offset))
    }

    fn insert_page(&self, key: PageKey, page: CachedPage) {
        let is_small = is_small_dictionary(key, page.heap_bytes());
        if is_small {
            self.make_room_for_dictionaries();
        }
        let cache = if is_small { &self.dictionaries } else { &self.blocks };
        cache.insert((key.segment, key.offset), Block::Page(page));
    }

    fn resource(&self, text: &str) -> Option<Arc<Resource>> {
        self.resources.get(text)
    }

    fn insert_resource(&self, text: &str, resource: &Arc<Resource>) {
        self.resources.insert(text.into(), Arc::clone(resource));
    }
}

#[cfg(test)]
mod tests;
