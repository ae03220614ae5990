//! Reads of what the kernel has in memory, right here: two turns of threads, there and back, take longer than
//! such a read. Nothing here waits for a disk: what is not in memory is left to the blocking pool.

use bytes::Bytes;
use object_store::path::Path;
use std::ops::Range;

use super::READ_BYTES;
use super::dir::Root;

/// The ranges, if all of them can be had at once; none in every other case, errors among them.
#[cfg(target_os = "linux")]
pub(super) fn read_resident(root: &Root, location: &Path, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
    use std::io::IoSliceMut;

    use rustix::io::{ReadWriteFlags, preadv2};

    let len = |range: &Range<u64>| range.end.checked_sub(range.start);
    let total = ranges.iter().try_fold(0u64, |total, range| total.checked_add(len(range)?))?;
    if total > READ_BYTES {
        return None;
    }
    let file = root.open_resident(location)?;
    let size = u64::try_from(rustix::fs::fstat(&file).ok()?.st_size).ok()?;
    let read = |range: &Range<u64>| {
        if range.end > size {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len(range)?).ok()?];
        let read = preadv2(&file, &mut [IoSliceMut::new(&mut bytes)], range.start, ReadWriteFlags::NOWAIT);
        (read == Ok(bytes.len())).then(|| Bytes::from(bytes))
    };
    ranges.iter().map(read).collect()
}

/// Only Linux says what it has in memory.
#[cfg(not(target_os = "linux"))]
pub(super) fn read_resident(_: &Root, _: &Path, _: &[Range<u64>]) -> Option<Vec<Bytes>> {
    None
}
