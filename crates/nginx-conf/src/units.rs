//! Sizes and times, with nginx's units and nginx's strictness.

use std::time::Duration;

/// Bytes, with `k` or `m`.
pub(crate) fn size(text: &str) -> Option<u64> {
    scaled(text, &[('k', 10), ('m', 20)])
}

/// Bytes, with `k`, `m` or `g`.
pub(crate) fn offset(text: &str) -> Option<u64> {
    scaled(text, &[('k', 10), ('m', 20), ('g', 30)])
}

/// nginx keeps sizes in a signed integer; so the largest is `i64::MAX`.
fn scaled(text: &str, units: &[(char, u32)]) -> Option<u64> {
    let unit = units
        .iter()
        .find(|(unit, _)| text.ends_with([*unit, unit.to_ascii_uppercase()]));
    let (digits, shift) = unit.map_or((text, 0), |(_, shift)| (&text[..text.len() - 1], *shift));
    let value = digits_only(digits)?.checked_mul(1 << shift)?;
    (value <= i64::MAX as u64).then_some(value)
}

fn digits_only(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Units from the largest to the smallest, in milliseconds. nginx's year has 365 days, its month 30.
const UNITS: [(&str, u64); 8] = [
    ("y", 365 * DAY_MS),
    ("M", 30 * DAY_MS),
    ("w", 7 * DAY_MS),
    ("d", DAY_MS),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
const DAY_MS: u64 = 86_400_000;

/// A time with milliseconds; weeks are the largest unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    time_ms(text, &UNITS[2..]).map(Duration::from_millis)
}

/// A time in whole seconds, up to years.
pub fn seconds(text: &str) -> Option<Duration> {
    time_ms(text, &UNITS[..7]).map(Duration::from_millis)
}

/// Parts of a number and a unit, each unit smaller than the one before, blanks between them; a last number alone counts seconds.
fn time_ms(text: &str, mut units: &[(&str, u64)]) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let width = rest.bytes().take_while(u8::is_ascii_digit).count();
        let value = digits_only(&rest[..width])?;
        rest = &rest[width..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let scale = if letters == 0 && rest.trim_start_matches(' ').is_empty() {
            1_000
        } else {
            let at = units
                .iter()
                .position(|(unit, _)| *unit == &rest[..letters])?;
            let scale = units[at].1;
            units = &units[at + 1..];
            scale
        };
        rest = rest[letters..].trim_start_matches(' ');
        total = total.checked_add(value.checked_mul(scale)?)?;
    }
    (!text.is_empty() && total <= i64::MAX as u64).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        let cases = [
            ("0", Some(0)),
            ("512", Some(512)),
            ("8k", Some(8192)),
            ("8K", Some(8192)),
            ("1m", Some(1 << 20)),
            ("1g", None),
            ("k", None),
            ("", None),
            ("-1", None),
            ("1.5m", None),
            ("1kb", None),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("99999999999999999m", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text), expected, "{text}");
        }
        assert_eq!(offset("2g"), Some(2 << 30));
    }

    #[test]
    fn reads_times_to_the_millisecond() {
        let cases = [
            ("60", Some(60_000)),
            ("60s", Some(60_000)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("1m30", Some(90_000)),
            ("1s500ms", Some(1_500)),
            ("1w2d", Some(777_600_000)),
            ("1M", None),
            ("1y", None),
            ("30m1h", None),
            ("1h1h", None),
            ("1", Some(1_000)),
            ("", None),
            ("s", None),
            ("1.5s", None),
            ("-1", None),
            ("1 s", None),
            ("99999999999999999999", None),
            ("300000000000000w", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn reads_times_in_seconds() {
        let cases = [
            ("1y", Some(31_536_000)),
            ("1M", Some(2_592_000)),
            ("30d", Some(2_592_000)),
            ("1y2M3w", Some(38_534_400)),
            ("500ms", None),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), expected.map(Duration::from_secs), "{text}");
        }
    }
}
