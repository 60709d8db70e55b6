//! Dates as HTTP writes them (RFC 9110 §5.6.7). The clock belongs to the caller: seconds go in, text comes out, and back.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment in whole seconds, from the year 0 to 9999 in UTC.
///
/// ```
/// use http_wire::date::HttpDate;
///
/// let date = HttpDate::parse(b"Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
/// assert_eq!(date.unix(), 784_111_777);
/// assert_eq!(HttpDate::parse(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(date));
/// assert_eq!(HttpDate::parse(b"Sun Nov  6 08:49:37 1994"), Some(date));
/// assert_eq!(&date.text(), b"Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpDate(i64);

/// The length of a date in the form that is sent.
pub const TEXT_LEN: usize = 29;

const DAY: i64 = 86_400;
const DAYS_OF_WEEK: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const LONG_DAYS_OF_WEEK: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The pivot of two-digit years when no clock is at hand: 70 to 99 are in the last century.
const PIVOT: i64 = 70;

impl HttpDate {
    /// The earliest date, the beginning of the year 0.
    pub const MIN: HttpDate = HttpDate(-62_167_219_200);
    /// The latest date, the last second of the year 9999.
    pub const MAX: HttpDate = HttpDate(253_402_300_799);

    /// The moment so many seconds after 1970-01-01 00:00:00 UTC. Beyond the ends of the scale: its ends.
    pub const fn from_unix(seconds: i64) -> HttpDate {
        if seconds < HttpDate::MIN.0 {
            HttpDate::MIN
        } else if seconds > HttpDate::MAX.0 {
            HttpDate::MAX
        } else {
            HttpDate(seconds)
        }
    }

    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// The date as it is sent (IMF-fixdate).
    pub fn text(self) -> [u8; TEXT_LEN] {
        let days = self.0.div_euclid(DAY);
        let second_of_day = self.0.rem_euclid(DAY);
        let (year, month, day) = date_of(days);
        let mut text = *b"Mon, 00 Jan 0000 00:00:00 GMT";
        // 1970-01-01 was a Thursday.
        text[0..3].copy_from_slice(DAYS_OF_WEEK[(days + 3).rem_euclid(7) as usize]);
        put_two(&mut text[5..7], day);
        text[8..11].copy_from_slice(MONTHS[(month - 1) as usize]);
        put_two(&mut text[12..14], year / 100);
        put_two(&mut text[14..16], year % 100);
        put_two(&mut text[17..19], second_of_day / 3600);
        put_two(&mut text[20..22], second_of_day / 60 % 60);
        put_two(&mut text[23..25], second_of_day % 60);
        text
    }

    /// Appends the date as it is sent.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text());
    }

    /// Reads any of the three forms: IMF-fixdate, the one of RFC 850, and that of C's `asctime`. Two-digit years from 70 count as 19xx, others as
    /// 20xx; use [`HttpDate::parse_at`] where the time is known.
    ///
    /// `None` when it is none of them, or no such day or time exists. The day of the week must be one, but need not be the right one.
    pub fn parse(text: &[u8]) -> Option<HttpDate> {
        read(
            text,
            |two| if two < PIVOT { 2000 + two } else { 1900 + two },
        )
    }

    /// [`HttpDate::parse`], with a two-digit year taken for the one in the past that ends so, if otherwise it were more than 50 years in the
    /// future (RFC 9110 §5.6.7).
    pub fn parse_at(text: &[u8], now: HttpDate) -> Option<HttpDate> {
        let (this_year, ..) = date_of(now.0.div_euclid(DAY));
        read(text, |two| {
            let year = this_year - this_year % 100 + two;
            if year > this_year + 50 {
                year - 100
            } else {
                year
            }
        })
    }
}

/// Cuts off fractions of a second.
impl From<SystemTime> for HttpDate {
    fn from(time: SystemTime) -> HttpDate {
        let whole = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => HttpDate::from_unix(whole(after)),
            Err(before) => {
                let before = before.duration();
                let started = i64::from(before.subsec_nanos() > 0);
                HttpDate::from_unix(-whole(before).saturating_add(started))
            }
        }
    }
}

impl From<HttpDate> for SystemTime {
    fn from(date: HttpDate) -> SystemTime {
        let distance = Duration::from_secs(date.0.unsigned_abs());
        if date.0 < 0 {
            UNIX_EPOCH - distance
        } else {
            UNIX_EPOCH + distance
        }
    }
}

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.text()))
    }
}

fn put_two(place: &mut [u8], number: i64) {
    place[0] = b'0' + (number / 10) as u8;
    place[1] = b'0' + (number % 10) as u8;
}

/// Year, month and day of the day so many days after 1970-01-01, in the Gregorian calendar.
///
/// Counted in eras of 400 years that begin on the first of March, so that the leap day is the last of its year.
const fn date_of(days: i64) -> (i64, i64, i64) {
    let since_era_0 = days + 719_468;
    let era = since_era_0.div_euclid(146_097);
    let day_of_era = since_era_0.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = if months_since_march < 10 {
        months_since_march + 3
    } else {
        months_since_march - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// The inverse of [`date_of`].
const fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let months_since_march = (month + 9) % 12;
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn read(text: &[u8], full_year: impl Fn(i64) -> i64) -> Option<HttpDate> {
    match text.get(3)? {
        b',' => fixdate(text),
        b' ' => asctime(text),
        _ => rfc_850(text, full_year),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn fixdate(text: &[u8]) -> Option<HttpDate> {
    let text: &[u8; TEXT_LEN] = text.try_into().ok()?;
    if !is_short_day(&text[..3])
        || &text[3..5] != b", "
        || text[7] != b' '
        || text[11] != b' '
        || text[16] != b' '
    {
        return None;
    }
    if &text[25..] != b" GMT" {
        return None;
    }
    let year = two(&text[12..14])? * 100 + two(&text[14..16])?;
    moment(year, month(&text[8..11])?, two(&text[5..7])?, &text[17..25])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc_850(text: &[u8], full_year: impl Fn(i64) -> i64) -> Option<HttpDate> {
    let day_of_week = LONG_DAYS_OF_WEEK
        .iter()
        .find(|name| text.starts_with(name.as_bytes()))?;
    let rest: &[u8; 24] = text[day_of_week.len()..].try_into().ok()?;
    if &rest[..2] != b", "
        || rest[4] != b'-'
        || rest[8] != b'-'
        || rest[11] != b' '
        || &rest[20..] != b" GMT"
    {
        return None;
    }
    let year = full_year(two(&rest[9..11])?);
    moment(year, month(&rest[5..8])?, two(&rest[2..4])?, &rest[12..20])
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<HttpDate> {
    let text: &[u8; 24] = text.try_into().ok()?;
    if !is_short_day(&text[..3])
        || text[3] != b' '
        || text[7] != b' '
        || text[10] != b' '
        || text[19] != b' '
    {
        return None;
    }
    let day = match &text[8..10] {
        [b' ', digit] => two(&[b'0', *digit])?,
        digits => two(digits)?,
    };
    let year = two(&text[20..22])? * 100 + two(&text[22..24])?;
    moment(year, month(&text[4..7])?, day, &text[11..19])
}

/// Puts the parts together. The time is `hh:mm:ss`; a leap second, 60, is the first second of the next minute.
fn moment(year: i64, month: i64, day: i64, time: &[u8]) -> Option<HttpDate> {
    if time[2] != b':' || time[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (two(&time[..2])?, two(&time[3..5])?, two(&time[6..8])?);
    let exists =
        (1..=days_in_month(year, month)).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let seconds = days_of(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    exists.then_some(HttpDate::from_unix(seconds))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_short_day(text: &[u8]) -> bool {
    DAYS_OF_WEEK.iter().any(|name| name.as_slice() == text)
}

fn month(text: &[u8]) -> Option<i64> {
    let index = MONTHS.iter().position(|name| name.as_slice() == text)?;
    Some(index as i64 + 1)
}

fn two(digits: &[u8]) -> Option<i64> {
    let [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = digits else {
        return None;
    };
    Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<i64> {
        HttpDate::parse(text.as_bytes()).map(HttpDate::unix)
    }

    #[test]
    fn known_moments() {
        for (unix, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_210_096, "Thu, 29 Feb 2024 12:34:56 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (HttpDate::MIN.0, "Sat, 01 Jan 0000 00:00:00 GMT"),
            (HttpDate::MAX.0, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(HttpDate::from_unix(unix).to_string(), text);
            assert_eq!(parse(text), Some(unix), "{text}");
        }
        assert_eq!(HttpDate::from_unix(i64::MAX), HttpDate::MAX);
        assert_eq!(HttpDate::from_unix(i64::MIN), HttpDate::MIN);
    }

    #[test]
    fn every_day_of_four_centuries_is_read_back() {
        let mut days_of_week = DAYS_OF_WEEK.iter().cycle().skip(3);
        for day in 0..146_097 {
            let date = HttpDate::from_unix(day * DAY + day % DAY);
            let text = date.text();
            assert_eq!(HttpDate::parse(&text), Some(date));
            assert_eq!(&text[..3], days_of_week.next().unwrap().as_slice());
        }
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "",
            "Sun",
            "Sun,",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            " Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 2100 08:49:37 GMT",
            "Sun, 29 Feb 2023 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06 Nov 94 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  0 08:49:37 1994",
            "Sun Nov  6 08:49:37 94",
            "0",
            "784111777",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Someday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_leap_second_and_a_wrong_day_of_the_week_pass() {
        assert_eq!(
            parse("Sat, 31 Dec 2016 23:59:60 GMT"),
            parse("Sun, 01 Jan 2017 00:00:00 GMT")
        );
        assert_eq!(parse("Mon, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    }

    #[test]
    fn two_digit_years_are_at_most_fifty_years_ahead() {
        assert_eq!(parse("Thursday, 01-Jan-70 00:00:00 GMT"), Some(0));
        assert_eq!(
            parse("Friday, 01-Jan-69 00:00:00 GMT"),
            parse("Tue, 01 Jan 2069 00:00:00 GMT")
        );
        let now = HttpDate::parse(b"Sat, 21 Nov 2026 07:00:00 GMT").unwrap();
        for (two, year) in [
            ("94", 1994),
            ("77", 1977),
            ("76", 2076),
            ("26", 2026),
            ("00", 2000),
        ] {
            let text = format!("Sunday, 06-Nov-{two} 08:49:37 GMT");
            let date = HttpDate::parse_at(text.as_bytes(), now).unwrap();
            assert_eq!(&date.text()[12..16], year.to_string().as_bytes());
        }
    }

    #[test]
    fn system_times_lose_their_fractions_downwards() {
        let time = UNIX_EPOCH + Duration::from_millis(1500);
        assert_eq!(HttpDate::from(time).unix(), 1);
        let time = UNIX_EPOCH - Duration::from_millis(1500);
        assert_eq!(HttpDate::from(time).unix(), -2);
        for unix in [-2, 0, 5] {
            assert_eq!(
                HttpDate::from(SystemTime::from(HttpDate::from_unix(unix))).unix(),
                unix
            );
        }
    }
}
