//! What reading segments keeps in memory: pages after decompression, blocks of trace directories, and
//! resources, each within a budget of bytes. Segments are immutable, so nothing here is ever stale.

use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tracelake_format::segment::{CachedPage, DirectoryBlock, ReadCache};
use tracelake_model::Resource;
use ulid::Ulid;

/// A place in a segment's file.
type Place = (Ulid, u64);

/// What an entry takes beside its bytes, roughly.
const ENTRY_BYTES: usize = 128;

/// Of a budget, the part for resources: a store has hundreds, of a KB each.
const RESOURCES_SHARE: u64 = 16;

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

/// Of an entry, to know how many there will be, roughly.
const USUAL_BYTES: u64 = 4_096;

fn cache<K, V, W>(bytes_max: u64, weighter: W) -> Cache<K, V, W, RandomState>
where
    K: Eq + Hash,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let (entries, hasher, lifecycle) =
        (count(bytes_max / USUAL_BYTES), RandomState::default(), DefaultLifecycle::default());
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

/// Blocks and resources. A lookup asks for some hundred pages: what an answer costs counts here.
#[derive(Debug)]
pub(super) struct BlockCache {
    blocks: Cache<Place, Block, BlockBytes, RandomState>,
    resources: Cache<Arc<str>, Arc<Resource>, ResourceBytes, RandomState>,
}

impl BlockCache {
    pub(super) fn new(bytes_max: u64) -> Self {
        let resources_max = bytes_max / RESOURCES_SHARE;
        Self {
            blocks: cache(bytes_max - resources_max, BlockBytes),
            resources: cache(resources_max, ResourceBytes),
        }
    }

    pub(super) fn directory(&self, segment: Ulid, offset: u64) -> Option<Arc<DirectoryBlock>> {
        match self.blocks.get(&(segment, offset)) {
            Some(Block::Directory(block)) => Some(block),
            _ => None,
        }
    }

    pub(super) fn insert_directory(&self, segment: Ulid, offset: u64, block: &Arc<DirectoryBlock>) {
        self.blocks.insert((segment, offset), Block::Directory(Arc::clone(block)));
    }

    /// Bytes of all blocks and resources.
    pub(super) fn bytes(&self) -> u64 {
        self.blocks.weight() + self.resources.weight()
    }
}

impl ReadCache for BlockCache {
    fn page(&self, segment: Ulid, offset: u64) -> Option<CachedPage> {
        match self.blocks.get(&(segment, offset)) {
            Some(Block::Page(page)) => Some(page),
            _ => None,
        }
    }

    fn insert_page(&self, segment: Ulid, offset: u64, page: CachedPage) {
        self.blocks.insert((segment, offset), Block::Page(page));
    }

    fn resource(&self, text: &str) -> Option<Arc<Resource>> {
        self.resources.get(text)
    }

    fn insert_resource(&self, text: &str, resource: &Arc<Resource>) {
        self.resources.insert(text.into(), Arc::clone(resource));
    }
}
