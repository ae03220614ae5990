use super::*;

const LIMITS: Limits =
    Limits { framing: Framing::Grpc, wire_bytes_max: 10, decoded_bytes_max: 10, compressed: false };

const WHOLE: Limits = Limits { framing: Framing::Whole, ..LIMITS };

fn pieces(pieces: &[&[u8]]) -> Body {
    let frames: Vec<_> =
        pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
    Body::from_stream(futures::stream::iter(frames))
}

async fn read_all(limits: Limits, budget: u64, body: &[&[u8]]) -> Result<Message, Rejection> {
    let budget = InFlight::new(budget);
    let result = read(&mut pieces(body), limits, None, &mut budget.reserve()).await;
    assert_eq!(budget.bytes(), 0, "the budget is given back");
    result
}

#[tokio::test]
async fn a_grpc_message_may_arrive_byte_by_byte() {
    let wire = [0, 0, 0, 0, 3, 7, 8, 9];
    let bytes: Vec<&[u8]> = wire.chunks(1).collect();
    for body in [&bytes[..], &[&wire[..]], &[&wire[..4], &[], &wire[4..]]] {
        let message = read_all(LIMITS, 100, body).await.expect("whole");
        assert_eq!((&message.bytes[..], message.uncompressed), (&[7, 8, 9][..], true));
    }
}

#[tokio::test]
async fn what_is_no_unary_grpc_call_is_refused() {
    let cases: [(&[u8], ErrorKind); 7] = [
        (&[], ErrorKind::Invalid),
        (&[0, 0, 0], ErrorKind::Invalid),
        (&[0, 0, 0, 0, 2, 1], ErrorKind::Invalid),
        (&[0, 0, 0, 0, 1, 1, 1], ErrorKind::Invalid),
        (&[2, 0, 0, 0, 1, 1], ErrorKind::Invalid),
        (&[0, 0, 0, 0, 11], ErrorKind::TooLarge),
        (&[0, 255, 255, 255, 255], ErrorKind::TooLarge),
    ];
    for (wire, kind) in cases {
        let rejection = read_all(LIMITS, 100, &[wire]).await.expect_err("refused");
        assert_eq!(rejection.kind(), kind, "{wire:?}: {}", rejection.message());
    }
}

#[tokio::test]
async fn a_body_is_held_to_its_limit_and_to_the_budget() {
    let whole = WHOLE;
    let message = read_all(whole, 10, &[&[1; 6], &[2; 4]]).await.expect("fits exactly");
    assert_eq!(message.bytes.len(), 10);
    let over = read_all(whole, 100, &[&[1; 6], &[2; 5]]).await.expect_err("too large");
    assert_eq!(over.kind(), ErrorKind::TooLarge);
    let busy = read_all(whole, 9, &[&[1; 6], &[2; 4]]).await.expect_err("no room");
    assert_eq!(busy.kind(), ErrorKind::Throttled);
}

#[tokio::test]
async fn what_is_not_compressed_is_held_to_both_limits_and_the_smaller_is_named() {
    let grpc = |flag: u8, length: u8| [&[flag, 0, 0, 0, length][..], &vec![1; usize::from(length)]].concat();
    let small = Limits { decoded_bytes_max: 5, ..LIMITS };
    let cases = [
        (Limits { compressed: true, ..small }, grpc(1, 10), None),
        (Limits { compressed: true, ..small }, grpc(1, 11), Some("request_bytes_max (10 bytes)")),
        // The flag of the message counts, whatever the header promised.
        (Limits { compressed: true, ..small }, grpc(0, 5), None),
        (Limits { compressed: true, ..small }, grpc(0, 6), Some("request_decoded_bytes_max (5 bytes)")),
        (small, grpc(0, 6), Some("request_decoded_bytes_max (5 bytes)")),
        (
            Limits { framing: Framing::Whole, ..small },
            vec![1; 6],
            Some("request_decoded_bytes_max (5 bytes)"),
        ),
        (Limits { framing: Framing::Whole, ..small }, vec![1; 5], None),
        (Limits { decoded_bytes_max: 50, ..LIMITS }, grpc(0, 11), Some("request_bytes_max (10 bytes)")),
    ];
    for (limits, wire, refused) in cases {
        let named = read_all(limits, 100, &[&wire]).await.err().map(|rejection| {
            assert_eq!(rejection.kind(), ErrorKind::TooLarge);
            rejection.message().to_owned()
        });
        assert_eq!(named.is_some(), refused.is_some(), "{limits:?} {wire:?}: {named:?}");
        let named = named.unwrap_or_default();
        assert!(named.contains(refused.unwrap_or_default()), "{limits:?} {wire:?}: {named}");
    }
}

#[test]
fn an_announced_length_is_checked_before_anything_is_read() {
    let budget = InFlight::new(8);
    let kind = |declared| WHOLE.check_declared(declared, &budget).err().map(|rejection| rejection.kind());
    assert_eq!(kind(Some(11)), Some(ErrorKind::TooLarge));
    assert_eq!(kind(Some(9)), Some(ErrorKind::Throttled));
    assert_eq!(kind(Some(8)), None);
    assert_eq!(kind(None), None);
}
