use super::UtcTime;

#[test]
fn times_are_shown_in_utc() {
    let shown = |seconds: u64| UtcTime(seconds * 1_000_000_000 + 999_999_999).to_string();
    assert_eq!(shown(0), "1970-01-01T00:00:00Z");
    assert_eq!(shown(951_782_399), "2000-02-28T23:59:59Z");
    assert_eq!(shown(951_868_799), "2000-02-29T23:59:59Z");
    assert_eq!(shown(951_868_800), "2000-03-01T00:00:00Z");
    assert_eq!(shown(1_735_689_599), "2024-12-31T23:59:59Z");
    assert_eq!(UtcTime(u64::MAX).to_string(), "2554-07-21T23:34:33Z");
}
