use super::*;

#[test]
fn durations_are_rounded_up_by_a_quarter_at_most() {
    let mut samples: Vec<u64> = (0..1_000).collect();
    samples
        .extend((0..64).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1, 5 << power >> 2]));
    for nanoseconds in samples {
        let said = duration_of(duration_byte(nanoseconds));
        assert!(said >= nanoseconds);
        assert!(u128::from(said) <= u128::from(nanoseconds) * 5 / 4 + 1, "{nanoseconds} as {said}");
    }
    assert_eq!(duration_of(duration_byte(u64::MAX)), u64::MAX);
    assert!((0..255).all(|byte| duration_of(byte) <= duration_of(byte + 1)));
}

fn traces() -> Vec<TraceRows> {
    (1..100)
        .map(|at| TraceRows {
            rows: at % 7 + 1,
            start_min: 1 << 40 | u64::from(at * 977 % 100),
            end_max: 1 << 41,
        })
        .collect()
}

#[test]
fn a_table_says_what_was_written() {
    let traces = traces();
    let mut bytes = Vec::new();
    write(&mut bytes, &traces);
    let rows: u32 = traces.iter().map(|trace| trace.rows).sum();
    let table = TraceTable::read(&bytes.into(), 99, 1_000, rows).expect("own bytes");
    assert_eq!((table.len(), table.is_empty()), (99, false));
    let mut next = 1_000;
    for (trace, ordinal) in traces.iter().zip(0..) {
        assert_eq!(table.rows(ordinal), next..next + u64::from(trace.rows));
        next += u64::from(trace.rows);
        assert_eq!(table.start_unix_nano_min(ordinal), trace.start_min);
        assert!(table.start_unix_nano_min(ordinal) + table.duration_nano_max(ordinal) >= trace.end_max);
    }
    assert_eq!((table.rows(99), next), (0..0, 1_000 + u64::from(rows)));
}

#[test]
fn a_table_of_other_rows_is_refused() {
    let traces = traces();
    let mut bytes = Vec::new();
    write(&mut bytes, &traces);
    let rows: u32 = traces.iter().map(|trace| trace.rows).sum();
    let read = |bytes: &[u8], traces, rows| TraceTable::read(&Bytes::copy_from_slice(bytes), traces, 0, rows);
    assert!(read(&bytes, 99, rows).is_ok());
    assert!(read(&bytes, 98, rows).is_err());
    assert!(read(&bytes, 99, rows + 1).is_err());
    assert!(read(&bytes[..bytes.len() - 1], 99, rows).is_err());
    assert!(read(&bytes, u32::MAX, rows).is_err());
    for at in 8..10 {
        bytes[at] = 0xff;
        assert!(read(&bytes, 99, rows).is_err());
    }
}
