//! What reading cost: counted for each request, and added up for all of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// Counts of one request, or of all. Shared by what is done at once.
        #[derive(Debug, Default)]
        pub struct ReadReport {
            $($(#[doc = $doc])+ pub(crate) $name: AtomicU64,)*
        }

        /// A [`ReadReport`] at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
        pub struct ReadCounts {
            $($(#[doc = $doc])+ pub $name: u64,)*
        }

        impl ReadReport {
            /// The counts as they are now.
            pub fn counts(&self) -> ReadCounts {
                ReadCounts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

            /// Adds another's counts.
            pub fn add_all(&self, other: &ReadReport) {
                $(self.$name.fetch_add(other.$name.load(Ordering::Relaxed), Ordering::Relaxed);)*
            }
        }
    };
}

counts! {
    /// Segments that have spans of the tenant and in whose range of hashes the trace is.
    segments_considered,
    /// Trace-ID filters asked.
    filters_asked,
    /// Of those, filters that were not in memory and had to be read.
    filters_read,
    /// Filters of values asked.
    value_filters_asked,
    /// Segments that had to be looked into.
    segments_searched,
    /// Of those, segments without the trace: the filter was wrong, or there was none.
    false_reads,
    /// Times that a segment's metadata was needed: for its directory, and again for rows of it.
    metadata_asked,
    /// Of those, times that it was not in memory and had to be read.
    segments_opened,
    /// Blocks of trace directories needed.
    directory_blocks,
    /// Of those, blocks in the cache.
    directory_blocks_cached,
    /// Ranges of bytes of attribute indexes needed.
    index_ranges,
    /// Of those, ranges in the cache.
    index_ranges_cached,
    /// Pages of columns needed, dictionaries among them.
    pages,
    /// Of those, pages in the cache.
    pages_cached,
    /// Of the pages needed, dictionaries.
    dictionaries,
    /// Of those, dictionaries in the cache.
    dictionaries_cached,
    /// Blocks of files that the disk cache was asked for.
    disk_cache_blocks,
    /// Of those, blocks that it had.
    disk_cache_blocks_found,
    /// Ranges read from the object store.
    range_reads,
    /// Bytes read from the object store.
    bytes_read,
    /// Reads that took so long that they were begun a second time.
    hedged_reads,
    /// Rows decoded.
    rows_decoded,
    /// Time for filters that had to be read, in microseconds; as all times, of what was done at once added up.
    filter_us,
    /// Time for metadata.
    open_us,
    /// Time for directories.
    directory_us,
    /// Time for reading attribute indexes.
    index_us,
    /// Time for reading rows' pages.
    fetch_us,
    /// Time for decoding them.
    decode_us,
}

impl ReadReport {
    /// Segments that the manifest does not rule out.
    pub fn consider(&self, segments: u64) {
        add(&self.segments_considered, segments);
    }
}

/// Adds to a count.
pub(crate) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// Adds the time since to a count of microseconds.
pub(crate) fn add_time(count: &AtomicU64, since: Instant) {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    add(count, micros(since.elapsed()));
}
