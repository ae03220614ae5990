//! What the WAL costs on the disk of `TMPDIR`: requests of 230 KB (512 spans), one sender or several,
//! payloads as they are or as LZ4 blocks. Beside criterion's times it prints per variant MB/s of
//! payload, CPU per span and bytes per span in the file. docs/formats/wal.md quotes it.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tracelake_format::manifest::CoveredWal;
use tracelake_format::wal::Compression;
use tracelake_store::env::{NoCrashes, SystemClock, SystemFiles};
use tracelake_store::wal::{AfterPublish, Append, Wal, WalOptions, WalSink, remove_covered};
use ulid::Ulid;

const SPANS: u32 = 512;
const WAL: Ulid = Ulid(7);

/// Publishes to nobody; a new file after each 128 MB, as generations make them.
struct Nobody {
    groups_bytes: u64,
}

impl WalSink<u64> for Nobody {
    fn publish(&mut self, group: Vec<u64>) -> AfterPublish {
        self.groups_bytes += group.iter().sum::<u64>();
        if self.groups_bytes > 128 << 20 { AfterPublish::Rotate } else { AfterPublish::Continue }
    }
    fn rotated(&mut self, _: u64) -> std::io::Result<()> {
        self.groups_bytes = 0;
        Ok(())
    }
    fn recent_requests(&mut self) -> Vec<(u128, u64)> {
        Vec::new()
    }
    fn poisoned(&mut self, reason: &str) {
        eprintln!("poisoned: {reason}");
    }
}

/// Bytes shaped like OTLP spans of a shop: random identifiers, few names, ten attributes of which
/// some are random, some of a small set.
fn payload(seed: u64) -> Bytes {
    const KEYS: [&str; 10] = [
        "http.request.method",
        "url.path",
        "http.response.status_code",
        "server.address",
        "network.peer.address",
        "user.id",
        "app.order.id",
        "db.statement",
        "thread.id",
        "code.function",
    ];
    const PATHS: [&str; 5] =
        ["/api/cart", "/api/checkout", "/api/products/{id}", "/api/recommendations", "/"];
    let mut random = SmallRng::seed_from_u64(seed);
    let mut out = Vec::new();
    for _ in 0..SPANS {
        out.extend_from_slice(&random.random::<[u8; 24]>());
        out.extend_from_slice(b"\x2a\x12shop.CartService/AddItem1");
        out.extend_from_slice(
            &(1_760_000_000_000_000_000_u64 + random.random_range(0..1 << 36)).to_le_bytes(),
        );
        out.extend_from_slice(
            &(1_760_000_000_000_000_000_u64 + random.random_range(0..1 << 36)).to_le_bytes(),
        );
        for key in KEYS {
            out.extend_from_slice(&[0x4a, key.len() as u8 + 20, 0x0a, key.len() as u8]);
            out.extend_from_slice(key.as_bytes());
            let value = match key {
                "user.id" | "app.order.id" => format!("{:012x}", random.random::<u32>()),
                "network.peer.address" => format!("10.0.{}.{}", random.random::<u8>(), random.random::<u8>()),
                "thread.id" => random.random_range(1..64).to_string(),
                _ => PATHS[random.random_range(0..PATHS.len())].to_owned(),
            };
            out.extend_from_slice(&[0x12, value.len() as u8 + 2, 0x0a, value.len() as u8]);
            out.extend_from_slice(value.as_bytes());
        }
    }
    out.into()
}

fn options(dir: &Path, compression: Compression) -> WalOptions {
    WalOptions {
        files: Arc::new(SystemFiles),
        clock: Arc::new(SystemClock),
        crash_points: Arc::new(NoCrashes),
        dir: dir.to_path_buf(),
        wal: WAL,
        sequence: 1,
        previous_bytes: 0,
        seed: 1,
        compression,
    }
}

fn append(payload: &Bytes, hash: u128) -> Append<u64> {
    Append {
        tenant: tracelake_model::TenantId::default(),
        arrival_unix_nano: 1,
        request_hash: hash,
        span_count: SPANS,
        start_unix_nano_min: 1,
        start_unix_nano_max: 2,
        payload: payload.clone(),
        attached: payload.len() as u64,
    }
}

/// CPU time of this process so far, in all its threads, user and system.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // utime and stime are fields 14 and 15; the first behind the name is field 3. A tick is 10 ms.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn appends(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let payloads: Vec<Bytes> = (0..16).map(payload).collect();
    let payload_bytes = payloads.iter().map(|payload| payload.len() as u64).sum::<u64>() / 16;
    println!("payload: {payload_bytes} bytes, {} bytes a span", payload_bytes / u64::from(SPANS));
    let mut group = criterion.benchmark_group("wal_append");
    group
        .throughput(Throughput::Bytes(payload_bytes))
        .sample_size(20)
        .measurement_time(Duration::from_secs(8));
    for compression in [Compression::None, Compression::Lz4] {
        for senders in [1_u64, 4, 16] {
            let name = BenchmarkId::new(format!("{compression:?}"), format!("{senders}_senders"));
            let mut latencies = Vec::new();
            let mut totals = (0_u64, Duration::ZERO, Duration::ZERO, 0_u64, 0_u64);
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|iterations| {
                    let dir = tempfile::tempdir().expect("a folder");
                    let wal = Wal::start(options(dir.path(), compression), Nobody { groups_bytes: 0 })
                        .expect("a log");
                    let (began, cpu_began) = (Instant::now(), cpu());
                    let sender = |sender: u64| {
                        let (wal, payloads, dir) = (wal.clone(), payloads.clone(), dir.path().to_path_buf());
                        runtime.spawn(async move {
                            let mut latencies = Vec::new();
                            for number in (sender..iterations).step_by(senders as usize) {
                                let began = Instant::now();
                                let request =
                                    append(&payloads[number as usize % payloads.len()], number.into());
                                black_box(wal.append(request).await.expect("an ack"));
                                latencies.push(began.elapsed());
                                if number % 2_048 == 2_047 {
                                    let covered = wal.status().sequence - 1;
                                    remove_covered(
                                        &SystemFiles,
                                        &dir,
                                        &[CoveredWal { wal: WAL, sequence: covered }],
                                    )
                                    .expect("they can be removed");
                                }
                            }
                            latencies
                        })
                    };
                    let sent: Vec<_> = (0..senders).map(sender).collect();
                    for sent in runtime.block_on(join_all(sent)) {
                        latencies.extend(sent.expect("no sender panics"));
                    }
                    let elapsed = began.elapsed();
                    let status = wal.status();
                    totals.0 += iterations;
                    totals.1 += elapsed;
                    totals.2 += cpu() - cpu_began;
                    totals.3 += status.groups;
                    totals.4 += status.written_bytes;
                    runtime.block_on(wal.close());
                    elapsed
                });
            });
            latencies.sort_unstable();
            let at = |share: f64| {
                latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default()
            };
            let (requests, wall, cpu, groups, written) = totals;
            let spans = requests as f64 * f64::from(SPANS);
            println!(
                "{compression:?}, {senders} senders: {:.0} MB/s, {:.3} CPU us a span, {:.0} B a span in the file, \
                 {:.1} requests a group, ack p50 {:?} p99 {:?}",
                requests as f64 * payload_bytes as f64 / wall.as_secs_f64() / 1e6,
                cpu.as_secs_f64() * 1e6 / spans,
                written as f64 / spans,
                requests as f64 / groups as f64,
                at(0.5),
                at(0.99),
            );
        }
    }
}

criterion_group!(benches, appends);
criterion_main!(benches);
