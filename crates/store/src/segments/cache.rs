//! What reading segments keeps in memory: pages after decompression, blocks of trace directories, and
//! resources, each within a budget of bytes. Segments are immutable, so nothing here is ever stale.

use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use moka::sync::Cache;
use tracelake_format::segment::{CachedPage, ReadCache};
use tracelake_model::Resource;
use ulid::Ulid;

/// A place in a segment's file.
type Place = (Ulid, u64);

/// What an entry takes beside its bytes, roughly.
const ENTRY_BYTES: usize = 128;

/// The cache makes room now and then, after some dozen blocks: at once after one of this size.
const LARGE_BYTES: usize = 256 << 10;

/// Of a budget, the part for resources: a store has hundreds, of a KB each.
const RESOURCES_SHARE: u64 = 16;

#[derive(Debug, Clone)]
enum Block {
    Page(CachedPage),
    Directory(Bytes),
}

/// Blocks and resources. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct BlockCache {
    blocks: Cache<Place, Block, RandomState>,
    resources: Cache<Arc<str>, Arc<Resource>, RandomState>,
}

impl BlockCache {
    pub(super) fn new(bytes_max: u64) -> Self {
        let weight = |bytes: usize| u32::try_from(bytes + ENTRY_BYTES).unwrap_or(u32::MAX);
        let resources_max = bytes_max / RESOURCES_SHARE;
        let blocks = Cache::builder().max_capacity(bytes_max - resources_max).weigher(move |_, block| {
            weight(match block {
                Block::Page(page) => page.heap_bytes(),
                Block::Directory(bytes) => bytes.len(),
            })
        });
        let resources = Cache::builder().max_capacity(resources_max).weigher(
            move |text: &Arc<str>, resource: &Arc<Resource>| weight(text.len() + resource.heap_bytes()),
        );
        Self {
            blocks: blocks.build_with_hasher(RandomState::default()),
            resources: resources.build_with_hasher(RandomState::default()),
        }
    }

    pub(super) fn directory(&self, segment: Ulid, offset: u64) -> Option<Bytes> {
        match self.blocks.get(&(segment, offset)) {
            Some(Block::Directory(bytes)) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn insert_directory(&self, segment: Ulid, offset: u64, bytes: &Bytes) {
        self.blocks.insert((segment, offset), Block::Directory(bytes.clone()));
    }

    /// Bytes of all blocks and resources, as far as they are counted by now.
    pub(super) fn bytes(&self) -> u64 {
        self.blocks.weighted_size() + self.resources.weighted_size()
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
        let is_large = page.heap_bytes() > LARGE_BYTES;
        self.blocks.insert((segment, offset), Block::Page(page));
        if is_large {
            self.blocks.run_pending_tasks();
        }
    }

    fn resource(&self, text: &str) -> Option<Arc<Resource>> {
        self.resources.get(text)
    }

    fn insert_resource(&self, text: &str, resource: &Arc<Resource>) {
        self.resources.insert(text.into(), Arc::clone(resource));
    }
}
