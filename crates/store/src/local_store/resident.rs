//! Reads of what the kernel has in memory, right here: two turns of threads, there and back, take longer than
//! such a read. What is not in memory is left to the blocking pool: no disk is waited for here.

use std::io::IoSliceMut;
use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path;
use rustix::io::{ReadWriteFlags, preadv2};

use super::dir::Root;

/// Copied in some tenths of a millisecond; the pages of a lookup are a third of it.
const BYTES_MAX: u64 = 1 << 20;

/// The ranges, if all of them can be had at once; none in every other case, errors among them.
pub(super) fn read_resident(root: &Root, location: &Path, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
    let len = |range: &Range<u64>| range.end.checked_sub(range.start);
    let total = ranges.iter().try_fold(0u64, |total, range| total.checked_add(len(range)?))?;
    if total > BYTES_MAX {
        return None;
    }
    let file = root.open_resident(location)?;
    let size = u64::try_from(rustix::fs::fstat(&file).ok()?.st_size).ok()?;
    let read_range = |range: &Range<u64>| {
        if range.end > size {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len(range)?).ok()?];
        match preadv2(&file, &mut [IoSliceMut::new(&mut bytes)], range.start, ReadWriteFlags::NOWAIT) {
            Ok(read) => (read == bytes.len()).then(|| Bytes::from(bytes)),
            Err(errno) => {
                root.resident_read_failed(errno);
                None
            }
        }
    };
    ranges.iter().map(read_range).collect()
}
