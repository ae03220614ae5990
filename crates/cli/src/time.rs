//! Times and durations as people write and read them. UTC only: what is printed on two machines
//! for one span must be the same.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Nanoseconds since 1970 as `2022-08-22 03:38:59.211069 UTC`.
pub(crate) fn utc_text(unix_nano: u64) -> String {
    utc(unix_nano).format("%Y-%m-%d %H:%M:%S%.6f UTC").to_string()
}

/// Nanoseconds since 1970 as RFC 3339 says, to the nanosecond: what a server reads back exactly.
pub(crate) fn rfc3339(unix_nano: u64) -> String {
    utc(unix_nano).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// No span is later than `i64::MAX`.
fn utc(unix_nano: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(i64::try_from(unix_nano).unwrap_or(i64::MAX))
}

/// A point in time as people give it: RFC 3339 or only its date, or a number since 1970 whose
/// magnitude tells whether it counts seconds, milliseconds, microseconds or nanoseconds.
///
/// # Errors
/// What was expected.
pub(crate) fn parse_time(text: &str) -> Result<u64, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = if is_number { parse_number(text) } else { parse_rfc3339(text) };
    parsed.ok_or_else(|| {
        "expected a time between 1970 and 2262, such as 2025-03-01T12:00:00Z, 2025-03-01T12:00:00.5+02:00, \
         2025-03-01, or seconds, milliseconds, microseconds or nanoseconds since 1970"
            .to_owned()
    })
}

fn parse_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    // Each unit ends where it reaches the year 5138; the next one begins in 1973.
    let per_unit = match number {
        0..100_000_000_000 => NANOS_PER_SECOND,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    number.checked_mul(per_unit).filter(|nanos| *nanos <= i64::MAX as u64)
}

fn parse_rfc3339(text: &str) -> Option<u64> {
    let nanos = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.timestamp_nanos_opt(),
        Err(_) => text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc().timestamp_nanos_opt(),
    };
    u64::try_from(nanos?).ok()
}

/// A duration in three digits or so: `850 ns`, `12.3 ms`, `2 m 05 s`.
pub(crate) fn duration_text(nanos: u64) -> String {
    let (unit, per_unit) = match nanos {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..NANOS_PER_SECOND => ("ms", 1_000_000),
        _ => ("s", NANOS_PER_SECOND),
    };
    let seconds = nanos / NANOS_PER_SECOND;
    if seconds >= 3_600 {
        return format!("{} h {:02} m", seconds / 3_600, seconds / 60 % 60);
    }
    if seconds >= 60 {
        return format!("{} m {:02} s", seconds / 60, seconds % 60);
    }
    // Cut, not rounded: 999.96 µs must not read as 1000 µs.
    let hundredths = nanos / (per_unit / 100);
    match hundredths {
        0..1_000 => format!("{}.{:02} {unit}", hundredths / 100, hundredths % 100),
        1_000..10_000 => format!("{}.{} {unit}", hundredths / 100, hundredths / 10 % 10),
        _ => format!("{} {unit}", hundredths / 100),
    }
}

/// `12,345,678`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
