//! The times in a query: RFC 3339, or a number since 1970 whose unit its size tells; and those in answers.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use serde_json::Value;
use tracelake::{ErrorKind, TimeHint};

use crate::rejection::Rejection;

/// Seconds below this, milliseconds below a thousand times this, and so on: as seconds it is the
/// year 5138, as milliseconds 1973. Spans of before 1973 are named in RFC 3339.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// One time, in nanoseconds since 1970, held to what a span's start can be.
fn parse(name: &str, text: &str) -> Result<u64, Rejection> {
    let max = i64::MAX as u64;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than 64 bits of nanoseconds is later than any span.
        let number = text.parse::<u64>().unwrap_or(max);
        let nanos_per_unit = match number {
            _ if number < SECONDS_BELOW => 1_000_000_000,
            _ if number < SECONDS_BELOW * 1_000 => 1_000_000,
            _ if number < SECONDS_BELOW * 1_000_000 => 1_000,
            _ => 1,
        };
        return Ok(number.saturating_mul(nanos_per_unit).min(max));
    }
    // A '+' in an address means a blank unless it is escaped, which people forget.
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).map_err(|_| {
        let message = format!(
            "the query parameter '{name}' is no time: expected RFC 3339, such as 2026-01-02T03:04:05Z, or \
             seconds, milliseconds, microseconds or nanoseconds since 1970"
        );
        Rejection::new(ErrorKind::Invalid, message)
    })?;
    let nanos = time.timestamp_nanos_opt().unwrap_or(if time.timestamp() < 0 { 0 } else { i64::MAX });
    Ok(nanos.max(0) as u64)
}

/// The hint that `start` and `end` give.
pub(super) fn hint(parameters: &BTreeMap<String, String>) -> Result<TimeHint, Rejection> {
    let time = |name| parameters.get(name).map(|text| parse(name, text)).transpose();
    let hint = TimeHint { start_unix_nano: time("start")?, end_unix_nano: time("end")? };
    match (hint.start_unix_nano, hint.end_unix_nano) {
        (Some(start), Some(end)) if end < start => {
            Err(Rejection::new(ErrorKind::Invalid, "the query parameter 'end' is before 'start'"))
        }
        _ => Ok(hint),
    }
}

/// The same of a body's members: texts or numbers.
pub(super) fn hint_of_json(start: Option<&Value>, end: Option<&Value>) -> Result<TimeHint, Rejection> {
    let text = |time: &Value| time.as_str().map_or_else(|| time.to_string(), str::to_owned);
    let times = [("start", start), ("end", end)];
    hint(&times.into_iter().filter_map(|(name, time)| Some((name.to_owned(), text(time?)))).collect())
}

/// Nanoseconds since 1970 as RFC 3339 has them, in UTC, to the nanosecond: what is read back exactly.
pub(super) fn rfc3339(unix_nano: u64) -> String {
    // No span begins later.
    let nanos = i64::try_from(unix_nano).unwrap_or(i64::MAX);
    DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbers_size_tells_its_unit() {
        let instant = 1_700_000_000_000_000_000;
        for text in ["1700000000", "1700000000000", "1700000000000000", "1700000000000000000"] {
            assert_eq!(parse("start", text).expect("a time"), instant, "{text}");
        }
        assert_eq!(parse("start", "0").expect("a time"), 0);
        assert_eq!(parse("start", "99999999999999999999999").expect("a time"), i64::MAX as u64);
    }

    #[test]
    fn rfc_3339_is_read_with_any_offset_and_held_to_what_a_span_can_be() {
        for (text, nanos) in [
            ("2023-11-14T22:13:20Z", 1_700_000_000_000_000_000),
            ("2023-11-15T00:13:20+02:00", 1_700_000_000_000_000_000),
            ("2023-11-15T00:13:20 02:00", 1_700_000_000_000_000_000),
            ("2023-11-14T22:13:20.000000001Z", 1_700_000_000_000_000_001),
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", 0),
            ("0001-01-01T00:00:00Z", 0),
            ("2300-01-01T00:00:00Z", i64::MAX as u64),
        ] {
            assert_eq!(parse("start", text).expect(text), nanos, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_by_name() {
        for text in
            ["", "-1", "now", "1.5", "2023-11-14", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z", "１"]
        {
            let rejection = parse("end", text).expect_err(text);
            assert!(rejection.message().contains("'end'"), "{text}");
        }
    }

    #[test]
    fn in_a_body_a_time_is_a_text_or_a_number_and_is_answered_as_it_is_read() {
        let (text, number) = (Value::from("2023-11-14T22:13:20Z"), Value::from(1_700_000_000));
        let range = hint_of_json(Some(&text), Some(&number)).expect("times");
        assert_eq!(range.start_unix_nano, range.end_unix_nano);
        assert!(hint_of_json(Some(&Value::from(1.5)), None).is_err());
        for nanos in [0, 1_700_000_000_000_000_001, i64::MAX as u64] {
            assert_eq!(parse("start", &rfc3339(nanos)).expect("a time"), nanos);
        }
    }

    #[test]
    fn an_end_before_the_start_is_refused() {
        let query = |start: &str, end: &str| {
            let pairs = [("start", start), ("end", end)];
            hint(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
        };
        assert!(query("1700000001", "1700000000").is_err());
        let same = query("1700000000", "1700000000").expect("one instant");
        assert_eq!(same.start_unix_nano, same.end_unix_nano);
        assert_eq!(hint(&BTreeMap::new()).expect("no hint").start_unix_nano, None);
    }
}
