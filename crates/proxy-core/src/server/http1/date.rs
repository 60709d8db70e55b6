//! The `Date` field, made once a second and thread.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_wire::date::HttpDate;

const LINE_BYTES: usize = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();

/// A line and the time at which it is no longer true.
type Made = (Option<Instant>, [u8; LINE_BYTES]);

thread_local! {
    static LINE: Cell<Made> = const { Cell::new((None, [0; LINE_BYTES])) };
}

/// The value of the field.
#[cfg(feature = "http2")]
pub(in crate::server) fn value(now: Instant) -> http::HeaderValue {
    let mut text = Vec::with_capacity(LINE_BYTES);
    line(now, &mut text);
    let value = &text["Date: ".len()..LINE_BYTES - 2];
    http::HeaderValue::from_bytes(value).unwrap_or(http::HeaderValue::from_static(""))
}

/// Appends the line. The clock is only asked when, by `now`, the second is over.
pub(super) fn line(now: Instant, out: &mut Vec<u8>) {
    let (until, mut line) = LINE.get();
    if until.is_none_or(|until| until <= now) {
        let made = made(
            now,
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        );
        line = made.1;
        LINE.set(made);
    }
    out.extend_from_slice(&line);
}

fn made(now: Instant, since_epoch: Duration) -> Made {
    let mut line = [b' '; LINE_BYTES];
    let (name, rest) = line.split_at_mut("Date: ".len());
    name.copy_from_slice(b"Date: ");
    let (date, end) = rest.split_at_mut(rest.len() - 2);
    date.copy_from_slice(&HttpDate::from_unix(since_epoch.as_secs() as i64).text());
    end.copy_from_slice(b"\r\n");
    let left = Duration::from_secs(1) - Duration::from_nanos(since_epoch.subsec_nanos().into());
    (now.checked_add(left), line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_until_its_second_is_over() {
        let now = Instant::now();
        let (until, line) = made(now, Duration::from_millis(784_111_777_250));
        assert_eq!(&line, b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(until, Some(now + Duration::from_millis(750)));
    }

    #[test]
    fn the_line_is_made_anew_after_its_second() {
        let mut out = Vec::new();
        let now = Instant::now();
        line(now, &mut out);
        line(now + Duration::from_secs(2), &mut out);
        assert_eq!(out.len(), 2 * LINE_BYTES);
    }
}
