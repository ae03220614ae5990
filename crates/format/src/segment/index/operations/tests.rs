use super::*;

fn written() -> Vec<u8> {
    let operations = [
        (None, "", 3),
        (None, "orphan", 1),
        (Some(""), "of a service without a name", 2),
        (Some("cart"), "GET /cart", 700_000),
        (Some("cart"), "GET /cart/{id}", 12),
        (Some("cart"), "GET /ça", 1),
        (Some("cart"), "GET /çb", 1),
        (Some("checkout"), "GET /cart", 5),
    ];
    write(true, &operations)
}

#[test]
fn operations_are_those_that_were_written() {
    let read = Operations::read(&written().into()).expect("own bytes");
    let of = |service: Option<&str>| -> Vec<(String, u32)> {
        read.of_service(service).map(|(name, traces)| (name.to_owned(), traces)).collect()
    };
    assert!(read.is_complete());
    assert_eq!(of(None), [(String::new(), 3), ("orphan".to_owned(), 1)]);
    assert_eq!(of(Some("")), [("of a service without a name".to_owned(), 2)]);
    let names: Vec<_> = of(Some("cart")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["GET /cart", "GET /cart/{id}", "GET /ça", "GET /çb"]);
    assert_eq!(of(Some("checkout")), [("GET /cart".to_owned(), 5)]);
    assert_eq!(of(Some("chec")).len(), 0);
}

#[test]
fn of_too_many_none_is_listed() {
    let read = Operations::read(&write(false, &[]).into()).expect("own bytes");
    assert!(!read.is_complete());
    assert_eq!(read.of_service(None).count(), 0);
}

#[test]
fn damaged_operations_are_refused_or_others() {
    let bytes = written();
    for at in 0..bytes.len() {
        assert!(Operations::read(&Bytes::copy_from_slice(&bytes[..at])).is_err(), "cut at {at}");
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            drop(Operations::read(&damaged.into()));
        }
    }
    let longer = [bytes, vec![0]].concat();
    assert!(Operations::read(&longer.into()).is_err());
}
