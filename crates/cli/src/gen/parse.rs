//! Durations as arguments.

use std::time::Duration;

/// `1h30m`, `90s`, `500ms`: whole numbers with d, h, m, s or ms, added up. `0` needs no unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "write it as 90s, 15m, 1h30m or 500ms";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total_ms = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| EXPECTED)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(EXPECTED.to_owned()),
        };
        total_ms = number
            .checked_mul(unit_ms)
            .and_then(|ms| total_ms.checked_add(ms))
            .ok_or("it is longer than can be counted")?;
        rest = after;
    }
    if text.is_empty() { Err(EXPECTED.to_owned()) } else { Ok(Duration::from_millis(total_ms)) }
}

#[cfg(test)]
mod tests;
