use super::*;

#[test]
fn times_read_as_utc() {
    assert_eq!(utc_text(0), "1970-01-01 00:00:00.000000 UTC");
    assert_eq!(utc_text(1_661_140_339_211_069_725), "2022-08-22 03:52:19.211069 UTC");
    assert_eq!(utc_text(951_782_400 * NANOS_PER_SECOND), "2000-02-29 00:00:00.000000 UTC");
    assert_eq!(utc_text(i64::MAX as u64), "2262-04-11 23:47:16.854775 UTC");
    assert_eq!(utc_text(u64::MAX), utc_text(i64::MAX as u64));
}

#[test]
fn durations_have_three_digits_and_a_unit() {
    for (nanos, text) in [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.00 µs"),
        (12_345, "12.3 µs"),
        (999_999, "999 µs"),
        (1_234_567, "1.23 ms"),
        (59_999_999_999, "59.9 s"),
        (125_000_000_000, "2 m 05 s"),
        (3_725_000_000_000, "1 h 02 m"),
        (u64::MAX, "5124095 h 34 m"),
    ] {
        assert_eq!(duration_text(nanos), text);
    }
}

#[test]
fn large_numbers_are_grouped() {
    for (number, text) in
        [(0, "0"), (999, "999"), (1_000, "1,000"), (122_302, "122,302"), (1_234_567, "1,234,567")]
    {
        assert_eq!(grouped(number), text);
    }
}

#[test]
fn times_are_read_as_rfc_3339_or_by_magnitude() {
    const AT: u64 = 1_661_140_339_211_069_725;
    for (text, unix_nano) in [
        ("2022-08-22T03:52:19.211069725Z", AT),
        ("2022-08-22 05:52:19.211069725+02:00", AT),
        ("2022-08-21t22:22:19.211069725-05:30", AT),
        ("2022-08-22T03:52:19Z", AT / NANOS_PER_SECOND * NANOS_PER_SECOND),
        ("2022-08-22T03:52:19.5Z", AT / NANOS_PER_SECOND * NANOS_PER_SECOND + 500_000_000),
        ("1970-01-02", 86_400 * NANOS_PER_SECOND),
        ("1661140339", 1_661_140_339_000_000_000),
        ("1661140339211", 1_661_140_339_211_000_000),
        ("1661140339211069", 1_661_140_339_211_069_000),
        ("1661140339211069725", AT),
        ("0", 0),
        ("9223372036854775807", i64::MAX as u64),
    ] {
        assert_eq!(parse_time(text), Ok(unix_nano), "{text}");
    }
    for text in [
        "",
        "now",
        "-5",
        "2022-08-22T03:52:19",
        "2022-08-22T03:52Z",
        "2022-08-22T24:00:00Z",
        "2022-08-22T03:52:19.Z",
        "2022-08-22T03:52:19+0200",
        "2022-02-29",
        "2022-13-01",
        "2022-00-01",
        "2022-01-00",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "2300-01-01",
        "9223372036854775808",
        "99999999999999999999999",
        "２０２２-08-22",
    ] {
        assert!(parse_time(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_sent_to_a_server_reads_back_to_the_nanosecond() {
    for unix_nano in [0, 1, 999_999_999, 1_661_140_339_211_069_725, i64::MAX as u64] {
        assert_eq!(parse_time(&rfc3339(unix_nano)), Ok(unix_nano));
    }
}
