use std::slice;
use std::sync::Mutex;

use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tracelake_format::segment::{
    AttributeColumns, SegmentInput, SegmentMeta, SegmentWriterOptions, write_segment,
};
use tracelake_model::hash::{filter_key, tenant_hash};
use tracelake_model::{SpanBatchBuilder, SpanId, SpanScalars, TenantId, TraceId};

use super::*;
use crate::env::fault_store::{Call, Fault, FaultStore, Operation};
use crate::segments::{ReadOptions, Segments};

/// A segment's file in a bucket that counts what is read of it.
struct Bucket {
    entry: SegmentEntry,
    file: Bytes,
    reads: Mutex<Vec<Range<u64>>>,
}

impl Bucket {
    fn new(id: u128, bytes: usize) -> Self {
        let mut random = StdRng::seed_from_u64(id as u64);
        let file: Vec<u8> = (0..bytes).map(|_| random.random()).collect();
        let mut meta = SegmentMeta::new(Ulid::from_parts(1, id), 1);
        meta.size_bytes = bytes as u64;
        let entry = SegmentEntry { path: format!("segments/{}.parquet", meta.id), meta };
        Self { entry, file: file.into(), reads: Mutex::default() }
    }

    fn slice(&self, range: &Range<u64>) -> Bytes {
        self.file.slice(range.start as usize..range.end as usize)
    }

    /// Reads ranges through the cache, and returns what the bucket was asked for.
    async fn read(&self, cache: &DiskCache, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let fetch = |missing: Vec<Range<u64>>| {
            self.reads.lock().expect("no panic").extend(missing.iter().cloned());
            let bytes: Vec<_> = missing.iter().map(|range| self.slice(range)).collect();
            async move { Ok(bytes) }
        };
        let read = cache.ranges(&self.entry, ranges, &ReadReport::default(), fetch).await.expect("it reads");
        let expected: Vec<_> = ranges.iter().map(|range| self.slice(range)).collect();
        assert!(read == expected, "{ranges:?}");
        cache.settle().await;
        std::mem::take(&mut *self.reads.lock().expect("no panic"))
    }
}

async fn open(files: &Arc<InMemory>, bytes_max: u64) -> DiskCache {
    DiskCache::open(Arc::clone(files) as _, bytes_max).await.expect("in memory")
}

async fn names(files: &InMemory) -> Vec<String> {
    let listed = files.list_with_delimiter(None).await.expect("in memory").objects;
    let mut names: Vec<_> = listed.into_iter().map(|file| file.location.to_string()).collect();
    names.sort();
    names
}

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn what_was_read_once_is_read_from_the_disk_also_after_a_restart() {
    let files = Arc::new(InMemory::new());
    let bucket = Bucket::new(1, 5 * BLOCK_BYTES as usize + 77);
    let cache = open(&files, 100 * MIB).await;
    let within = 10..BLOCK_BYTES - 10;
    let first = 0..BLOCK_BYTES;
    assert_eq!(bucket.read(&cache, slice::from_ref(&within)).await, slice::from_ref(&first));
    assert_eq!(bucket.read(&cache, &[0..5, 5..BLOCK_BYTES]).await, []);
    // Whole blocks that are missing, neighbours as one; the last has what is left.
    let size = bucket.entry.meta.size_bytes;
    let wanted = [BLOCK_BYTES - 1..2 * BLOCK_BYTES + 1, size - 1..size, size..size];
    let missing = [BLOCK_BYTES..3 * BLOCK_BYTES, 5 * BLOCK_BYTES..size];
    assert_eq!(bucket.read(&cache, &wanted).await, missing);
    assert_eq!(bucket.read(&cache, &wanted).await, []);
    drop(cache);
    let cache = open(&files, 100 * MIB).await;
    assert_eq!(bucket.read(&cache, &wanted).await, []);
    assert_eq!(
        bucket.read(&cache, slice::from_ref(&(0..size))).await,
        slice::from_ref(&(3 * BLOCK_BYTES..5 * BLOCK_BYTES))
    );
    assert_eq!(names(&files).await.len(), 6);
}

#[tokio::test]
async fn whatever_is_read_is_what_the_bucket_has() {
    let seed = std::env::var("TRACELAKE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("TRACELAKE_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let files = Arc::new(InMemory::new());
    let buckets = [Bucket::new(1, 1_500_000), Bucket::new(2, 300), Bucket::new(3, 4 * BLOCK_BYTES as usize)];
    let mut cache = open(&files, MIB).await;
    for _ in 0..300 {
        let bucket = &buckets[random.random_range(0..buckets.len())];
        let size = bucket.entry.meta.size_bytes;
        let mut ends: Vec<u64> =
            (0..2 * random.random_range(0..4)).map(|_| random.random_range(0..=size)).collect();
        ends.sort_unstable();
        let ranges: Vec<_> = ends.chunks_exact(2).map(|ends| ends[0]..ends[1]).collect();
        bucket.read(&cache, &ranges).await;
        match random.random_range(0..30) {
            0 => cache = open(&files, random.random_range(0..3 * MIB)).await,
            // Somebody tidies up, or a disk errs.
            1..5 => {
                let names = names(&files).await;
                if let Some(name) = names.get(random.random_range(0..names.len().max(1))) {
                    let path = Path::from(name.as_str());
                    let mut bytes =
                        files.get(&path).await.expect("listed").bytes().await.expect("there").to_vec();
                    let at = random.random_range(0..bytes.len());
                    match random.random_range(0..3) {
                        0 => files.delete(&path).await.expect("listed"),
                        1 => {
                            bytes[at] ^= 1;
                            files.put(&path, bytes.into()).await.map(drop).expect("in memory");
                        }
                        _ => {
                            bytes.truncate(at);
                            files.put(&path, bytes.into()).await.map(drop).expect("in memory");
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn there_are_no_more_reads_than_ranges_whatever_is_missing_between() {
    let files = Arc::new(InMemory::new());
    let bucket = Bucket::new(1, 20 * BLOCK_BYTES as usize);
    let cache = open(&files, 100 * MIB).await;
    let blocks = |range: Range<u64>| range.start * BLOCK_BYTES..range.end * BLOCK_BYTES;
    bucket.read(&cache, &[blocks(3..4), blocks(5..6), blocks(12..13)]).await;
    let read = bucket.read(&cache, &[blocks(2..8), blocks(11..15)]).await;
    assert_eq!(read, [blocks(2..8), blocks(11..15)]);
    let read = bucket.read(&cache, &[blocks(1..9)]).await;
    assert_eq!(read, [blocks(1..9)], "from the first that is missing to the last");
    assert_eq!(bucket.read(&cache, &[blocks(1..9), blocks(11..15)]).await, []);
}

#[tokio::test]
async fn a_segment_that_is_not_believed_is_asked_for_no_more_and_its_files_go() {
    let files = Arc::new(InMemory::new());
    let (one, other) = (Bucket::new(1, 300), Bucket::new(2, 300));
    let cache = open(&files, 100 * MIB).await;
    for bucket in [&one, &other] {
        bucket.read(&cache, slice::from_ref(&(0..300))).await;
    }
    cache.distrust(one.entry.meta.id);
    cache.settle().await;
    assert!(!cache.is_for(one.entry.meta.id, &[]) && cache.is_for(other.entry.meta.id, &[]));
    assert_eq!(names(&files).await, [path_of((other.entry.meta.id, 0)).to_string()]);
    assert!(!cache.is_for(other.entry.meta.id, &[0..1, 10 << 20..40 << 20]), "too much");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_disk_that_hangs() {
    let bucket = Bucket::new(1, 4 * BLOCK_BYTES as usize);
    let hangs =
        |call: Call<'_>| matches!(call.operation, Operation::Get | Operation::Delete).then_some(Fault::Hang);
    let disk = FaultStore::new(Arc::new(InMemory::new()), hangs);
    let cache = DiskCache::open(Arc::new(disk), 100 * MIB).await.expect("it lists");
    let all = 0..4 * BLOCK_BYTES;
    let began = tokio::time::Instant::now();
    for _ in 0..50 {
        let fetch = |missing: Vec<Range<u64>>| {
            let bytes: Vec<_> = missing.iter().map(|range| bucket.slice(range)).collect();
            async move { Ok(bytes) }
        };
        let report = ReadReport::default();
        let read =
            cache.ranges(&bucket.entry, slice::from_ref(&all), &report, fetch).await.expect("it reads");
        assert!(read == [bucket.file.clone()]);
        // What is written has its turn.
        tokio::task::yield_now().await;
    }
    // At most as many waits as reads that may hang: then nobody asks any more.
    assert!(began.elapsed() <= READ_MAX * READS_AT_ONCE as u32, "{:?}", began.elapsed());
    cache.retain(|_| false);
    tokio::task::yield_now().await;
}

#[tokio::test]
async fn a_damaged_block_is_read_again_and_mended() {
    let files = Arc::new(InMemory::new());
    let bucket = Bucket::new(1, 2 * BLOCK_BYTES as usize);
    let cache = open(&files, 100 * MIB).await;
    bucket.read(&cache, slice::from_ref(&(0..2 * BLOCK_BYTES))).await;
    let path = Path::from(names(&files).await[1].as_str());
    let mut damaged = files.get(&path).await.expect("there").bytes().await.expect("there").to_vec();
    damaged[1_000] ^= 1;
    files.put(&path, damaged.into()).await.expect("in memory");
    let second = BLOCK_BYTES..2 * BLOCK_BYTES;
    assert_eq!(bucket.read(&cache, slice::from_ref(&(0..2 * BLOCK_BYTES))).await, [second]);
    assert_eq!(bucket.read(&cache, slice::from_ref(&(0..2 * BLOCK_BYTES))).await, []);
}

#[tokio::test]
async fn it_keeps_to_its_budget_and_to_its_own_files() {
    let files = Arc::new(InMemory::new());
    for foreign in ["notes.txt", "01M833WN771HYGBPMW34WKB3MB-1.block", "x-00000001.block"] {
        files.put(&Path::from(foreign), "not a block".into()).await.expect("in memory");
    }
    let foreign = names(&files).await;
    let cache = open(&files, MIB).await;
    for id in 1..9 {
        let bucket = Bucket::new(id, 2 * BLOCK_BYTES as usize);
        bucket.read(&cache, slice::from_ref(&(0..2 * BLOCK_BYTES))).await;
        assert!(cache.bytes() <= MIB);
        let own: Vec<_> = names(&files).await.into_iter().filter(|name| !foreign.contains(name)).collect();
        assert!(own.len() <= 4, "{own:?}");
        assert!(
            own.iter().any(|name| name.starts_with(&bucket.entry.meta.id.to_string())),
            "the newest stays"
        );
    }
    cache.retain(|_| false);
    cache.settle().await;
    assert_eq!(names(&files).await, foreign);
    assert_eq!(cache.bytes(), 0);
    // A smaller budget than what is there.
    let cache = open(&files, 100 * MIB).await;
    Bucket::new(1, 2 * MIB as usize).read(&cache, slice::from_ref(&(0..2 * MIB))).await;
    assert_eq!(names(&files).await.len(), 3 + 8);
    drop(cache);
    let cache = open(&files, MIB).await;
    cache.settle().await;
    assert!(cache.bytes() <= MIB);
    assert!(names(&files).await.len() <= 3 + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_that_the_bucket_gave_once_are_not_believed_for_good() {
    let mut builder = SpanBatchBuilder::new();
    let (resource, scope) = (builder.resource(Arc::default()), builder.scope(Arc::default()));
    let trace_id = TraceId::from_bytes(&[7; 16]).expect("not zero");
    let span_id = SpanId::from_bytes(&[7; 8]).expect("not zero");
    builder.finish_span(SpanScalars { resource, scope, ..SpanScalars::new(trace_id, span_id) });
    let batch = builder.finish();
    let tenant = TenantId::default();
    let input = SegmentInput {
        segment_id: Ulid::from_parts(1, 2),
        tenants: vec![(tenant.clone(), vec![(&batch, 1)])],
    };
    let written = write_segment(&input, &AttributeColumns::default(), &SegmentWriterOptions::default());
    let written = written.expect("a valid span");
    let entry = SegmentEntry { path: "segments/a.parquet".to_owned(), meta: written.meta };
    let path = Path::from(entry.path.as_str());
    for damaged_at in [4, entry.meta.filter.offset, entry.meta.directory.offset, entry.meta.footer.offset] {
        let (objects, files) = (Arc::new(InMemory::new()), Arc::new(InMemory::new()));
        let mut damaged = written.bytes.to_vec();
        damaged[damaged_at as usize] ^= 1;
        objects.put(&path, damaged.into()).await.expect("in memory");
        let disk_cache = Some(Arc::new(open(&files, 100 * MIB).await));
        let options = ReadOptions { disk_cache, ..ReadOptions::default() };
        let segments = Segments::new(Arc::clone(&objects) as _, &options);
        let report = ReadReport::default();
        let key = [filter_key(tenant_hash(&tenant), &trace_id)];
        // A filter that is damaged allows everything.
        assert_eq!(segments.may_hold_read(&entry, &key, &report).await.expect("it answers"), [true]);
        let found = segments.search(&entry, &tenant, &trace_id, 10, usize::MAX, &report).await;
        assert!(found.is_err(), "{damaged_at}: {found:?}");

        objects.put(&path, written.bytes.clone().into()).await.expect("in memory");
        let found =
            segments.search(&entry, &tenant, &trace_id, 10, usize::MAX, &report).await.expect("it is whole");
        assert_eq!(found.map(|found| found.rows_total), Some(1), "{damaged_at}");
    }
}
