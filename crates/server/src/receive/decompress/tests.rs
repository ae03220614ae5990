use std::io::Write;
use std::sync::Arc;

use super::*;
use crate::receive::in_flight::InFlight;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("in memory")
}

async fn run(
    bytes: &[u8],
    compression: Compression,
    max: u64,
    budget: &Arc<InFlight>,
) -> Result<Bytes, Rejection> {
    let mut reservation = budget.reserve();
    reservation.grow(bytes.len() as u64)?;
    let permits = Arc::new(Semaphore::new(1));
    let bytes = Bytes::copy_from_slice(bytes);
    let decoded = decompress(bytes, compression, max, &mut reservation, &permits).await?;
    assert_eq!(reservation.held(), decoded.len() as u64, "the budget holds what is left");
    Ok(decoded)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_waits_for_any_more_keeps_its_permit_and_its_part_of_the_budget() {
    let budget = InFlight::new(256 << 20);
    let permits = Arc::new(Semaphore::new(1));
    let bomb = Bytes::from(gzip(&vec![0; 64 << 20]));
    let mut reservation = budget.reserve();
    let mut work = Box::pin(decompress(bomb, Compression::Gzip, 64 << 20, &mut reservation, &permits));
    // Polled until the permit is taken, then dropped as if its client had hung up.
    while permits.available_permits() > 0 {
        assert!(futures::poll!(work.as_mut()).is_pending());
    }
    drop(work);
    drop(reservation);
    // When the permit is free again the work has ended, and holds nothing of the budget.
    let _permit = permits.acquire().await.expect("open");
    assert_eq!(budget.bytes(), 0);
}

/// Text that compresses to about half.
fn sample(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b'a' + (state >> 60) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[tokio::test]
async fn small_and_large_messages_come_back_whole() {
    let budget = InFlight::new(16 << 20);
    for bytes in [0, 1, 1_000, 128 << 10, (128 << 10) + 1, 1 << 20, (256 << 10) * 7] {
        let plain = sample(bytes);
        for (compressed, compression) in [
            (gzip(&plain), Compression::Gzip),
            (zstd(&plain), Compression::Zstd),
            (plain.clone(), Compression::Identity),
        ] {
            let decoded = run(&compressed, compression, 4 << 20, &budget).await.expect("valid");
            assert!(decoded == plain, "{compression:?} of {bytes} bytes");
        }
    }
    assert_eq!(budget.bytes(), 0);
}

#[tokio::test]
async fn members_one_behind_the_other_are_one_message_with_one_limit() {
    let budget = InFlight::new(16 << 20);
    for (compress, compression) in
        [(gzip as fn(&[u8]) -> Vec<u8>, Compression::Gzip), (zstd, Compression::Zstd)]
    {
        let wire: Vec<u8> = (0..10).flat_map(|_| compress(&[7; 100])).collect();
        assert_eq!(run(&wire, compression, 1_000, &budget).await.expect("fits exactly"), vec![7; 1_000]);
        let rejection = run(&wire, compression, 999, &budget).await.expect_err("too large together");
        assert_eq!(rejection.kind(), ErrorKind::TooLarge);
    }
}

#[tokio::test]
async fn a_bomb_stops_at_the_limit_and_at_the_budget() {
    let plain = vec![0; 64 << 20];
    for (bomb, compression) in [(gzip(&plain), Compression::Gzip), (zstd(&plain), Compression::Zstd)] {
        let budget = InFlight::new(64 << 20);
        let rejection = run(&bomb, compression, 1 << 20, &budget).await.expect_err("too large");
        assert_eq!(rejection.kind(), ErrorKind::TooLarge);
        let small = InFlight::new(2 << 20);
        let rejection = run(&bomb, compression, 64 << 20, &small).await.expect_err("no room");
        assert_eq!(rejection.kind(), ErrorKind::Throttled);
        assert_eq!((budget.bytes(), small.bytes()), (0, 0));
    }
}

#[tokio::test]
async fn what_is_cut_or_changed_is_refused() {
    let budget = InFlight::new(16 << 20);
    for (wire, compression) in
        [(gzip(&sample(10_000)), Compression::Gzip), (zstd(&sample(10_000)), Compression::Zstd)]
    {
        for length in [1, 5, wire.len() / 2, wire.len() - 1] {
            let rejection = run(&wire[..length], compression, 1 << 20, &budget).await.expect_err("cut");
            assert_eq!(rejection.kind(), ErrorKind::Invalid, "{compression:?} cut to {length}");
        }
        let rejection = run(b"{\"resourceSpans\":[]}", compression, 1 << 20, &budget).await;
        assert_eq!(rejection.expect_err("not compressed").kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_zstd_window_larger_than_8_mib_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.window_log(27).expect("a window");
    encoder.write_all(&sample(1 << 20)).expect("in memory");
    let wire = encoder.finish().expect("in memory");
    let budget = InFlight::new(16 << 20);
    let rejection = run(&wire, Compression::Zstd, 8 << 20, &budget).await.expect_err("refused");
    assert_eq!(rejection.kind(), ErrorKind::Invalid);
}
