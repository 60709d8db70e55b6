//! The `Date` field, made once a second and thread.

use std::cell::Cell;

use rustix::time::{ClockId, clock_gettime};

const LINE_BYTES: usize = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();

thread_local! {
    static LINE: Cell<(i64, [u8; LINE_BYTES])> = const { Cell::new((i64::MIN, [0; LINE_BYTES])) };
}

/// Appends the line.
pub(super) fn line(out: &mut Vec<u8>) {
    let now = clock_gettime(ClockId::RealtimeCoarse).tv_sec;
    let (second, mut line) = LINE.get();
    if second != now {
        line = made(now);
        LINE.set((now, line));
    }
    out.extend_from_slice(&line);
}

fn made(now: i64) -> [u8; LINE_BYTES] {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = now.div_euclid(86400);
    let seconds = now.rem_euclid(86400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let text = format!(
        "Date: {}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT\r\n",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[month as usize - 1],
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    let mut line = [b' '; LINE_BYTES];
    line.copy_from_slice(text.as_bytes());
    line
}
