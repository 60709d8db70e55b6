//! Local time, as log lines have it.

use rustix::time::{ClockId, clock_gettime};

unsafe extern "C" {
    /// POSIX; the libc crate does not have it for Linux.
    fn tzset();
}

/// Seconds since 1970, by the coarse clock: every line of an access log asks.
pub(crate) fn now() -> i64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec
}

/// `[20/Nov/2026:15:44:29 +0000]`, the form of access logs.
pub(crate) fn access_form(seconds: i64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let time = local(seconds);
    let month = MONTHS[usize::try_from(time.tm_mon).unwrap_or(0) % 12];
    format!(
        "[{:02}/{month}/{}:{:02}:{:02}:{:02} {}]",
        time.tm_mday,
        time.tm_year + 1900,
        time.tm_hour,
        time.tm_min,
        time.tm_sec,
        offset(time.tm_gmtoff)
    )
}

/// `[2026-11-20 15:44:29 +0000]`, the form of error logs.
pub(crate) fn error_form(seconds: i64) -> String {
    let time = local(seconds);
    format!(
        "[{:04}-{:02}-{:02} {:02}:{:02}:{:02} {}]",
        time.tm_year + 1900,
        time.tm_mon + 1,
        time.tm_mday,
        time.tm_hour,
        time.tm_min,
        time.tm_sec,
        offset(time.tm_gmtoff)
    )
}

fn offset(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
}

fn local(seconds: i64) -> libc::tm {
    // SAFETY: a `tm` is plain numbers and a pointer, for which zero is a value; both calls only write to what they are given, and
    // nobody changes the environment meanwhile but through Python, whose GIL or single thread orders that.
    unsafe {
        let mut time: libc::tm = std::mem::zeroed();
        tzset();
        libc::localtime_r(&raw const seconds, &raw mut time);
        time
    }
}
