//! The time of day as logs print it, made once a second per thread.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tz::{DateTime, TimeZone};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

struct Texts {
    second: u64,
    log_time: String,
    time_local: String,
    time_iso8601: String,
}

thread_local! {
    static TEXTS: RefCell<Texts> =
        const { RefCell::new(Texts { second: u64::MAX, log_time: String::new(), time_local: String::new(), time_iso8601: String::new() }) };
}

/// Time since 1970 (UTC).
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// `2026/11/20 15:44:29`, for the error log.
pub fn log_time() -> String {
    with_texts(|texts| texts.log_time.clone())
}

/// Appends `20/Nov/2026:15:44:29 +0000`: nginx's `$time_local`.
pub fn append_time_local(out: &mut Vec<u8>) {
    with_texts(|texts| out.extend_from_slice(texts.time_local.as_bytes()));
}

/// Appends `2026-11-20T15:44:29+00:00`: nginx's `$time_iso8601`.
pub fn append_time_iso8601(out: &mut Vec<u8>) {
    with_texts(|texts| out.extend_from_slice(texts.time_iso8601.as_bytes()));
}

fn with_texts<T>(read: impl FnOnce(&Texts) -> T) -> T {
    let second = since_epoch().as_secs();
    TEXTS.with_borrow_mut(|texts| {
        if texts.second != second {
            *texts = Texts::at(second);
        }
        read(texts)
    })
}

impl Texts {
    fn at(second: u64) -> Self {
        let time = local_time(second);
        let (year, month, day) = (time.year(), time.month(), time.month_day());
        let (hour, minute, sec) = (time.hour(), time.minute(), time.second());
        let east = time.local_time_type().ut_offset() / 60;
        let (sign, offset) = (if east < 0 { '-' } else { '+' }, east.unsigned_abs());
        let (offset_hour, offset_minute) = (offset / 60, offset % 60);
        let month_name = MONTHS[usize::from(month - 1)];
        Self {
            second,
            log_time: format!("{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{sec:02}"),
            time_local: format!(
                "{day:02}/{month_name}/{year:04}:{hour:02}:{minute:02}:{sec:02} {sign}{offset_hour:02}{offset_minute:02}"
            ),
            time_iso8601: format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{sec:02}{sign}{offset_hour:02}:{offset_minute:02}"
            ),
        }
    }
}

/// The next time it is `second` after midnight (local time), in seconds since 1970.
pub fn next_daily(second: u32, now: Duration) -> i64 {
    let today = local_time(now.as_secs());
    let so_far =
        i64::from(today.hour()) * 3600 + i64::from(today.minute()) * 60 + i64::from(today.second());
    let wait = i64::from(second) - so_far;
    let now = i64::try_from(now.as_secs()).unwrap_or(0);
    now + if wait > 0 { wait } else { wait + 86_400 }
}

/// The local time of a second since 1970; in UTC where the machine's time zone can't be read.
fn local_time(second: u64) -> DateTime {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    let zone = ZONE.get_or_init(|| TimeZone::local().unwrap_or_else(|_| TimeZone::utc()));
    let second = i64::try_from(second).unwrap_or(0);
    DateTime::from_timespec(second, 0, zone.as_ref())
        .or_else(|_| DateTime::from_timespec(second, 0, TimeZone::utc().as_ref()))
        .unwrap_or_else(|_| unreachable!("the present is inside the range of the calendar"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_of_day_lies_within_a_day() {
        for second in [0, 1, 43_200, 86_399] {
            let wait = next_daily(second, Duration::from_secs(1_795_000_000)) - 1_795_000_000;
            assert!((1..=86_400).contains(&wait), "{second}: {wait}");
        }
    }

    #[test]
    fn the_three_texts_tell_the_same_second() {
        let texts = Texts::at(1_795_000_000);
        let (date, time) = texts.log_time.split_once(' ').expect("date and time");
        assert_eq!(texts.time_iso8601[..10], date.replace('/', "-"));
        assert_eq!(texts.time_iso8601[11..19], *time);
        assert!(texts.time_local.contains(time), "{}", texts.time_local);
        assert_eq!(texts.time_local.len(), "20/Nov/2026:15:44:29 +0000".len());
        assert_eq!(texts.time_iso8601.len(), "2026-11-20T15:44:29+00:00".len());
    }
}
