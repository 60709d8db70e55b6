//! Byte ranges (RFC 9110 §14): what a `Range` field asks for, what of it a representation can give, and how the answer says so.
//!
//! ```
//! use http_wire::range::{RangeLimits, Selection, select};
//!
//! let limits = RangeLimits::default();
//! assert_eq!(select(b"bytes=0-4", 10, &limits), Selection::One(0..5));
//! assert_eq!(select(b"bytes=-3", 10, &limits), Selection::One(7..10));
//! assert_eq!(select(b"bytes=10-", 10, &limits), Selection::Unsatisfiable);
//! assert_eq!(select(b"bytes=0-0,9-9", 10, &limits), Selection::Several(vec![0..1, 9..10]));
//! assert_eq!(select(b"seconds=1-2", 10, &limits), Selection::Whole);
//! ```

use std::fmt;
use std::ops::Range;

use crate::scan;

/// One range as it is asked for, before the length of the representation is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `first-last`, both included.
    FromTo(u64, u64),
    /// `first-`
    From(u64),
    /// `-length`: the last bytes.
    Suffix(u64),
}

/// Why a `Range` field can't be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// The unit is not `bytes`; the field is to be ignored.
    #[error("the range unit is not \"bytes\"")]
    Unit,
    /// It is no list of ranges, or one ends before it begins.
    #[error("the \"Range\" field is malformed")]
    Malformed,
    /// More ranges than are answered.
    #[error("more than {limit} ranges are asked for")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// Reads the value of a `Range` field. Numbers too large for 64 bits count as the largest.
///
/// # Errors
/// [`RangeError`], by variant.
pub fn parse(value: &[u8], ranges_max: usize) -> Result<Vec<RangeSpec>, RangeError> {
    let equals = memchr::memchr(b'=', value).ok_or(RangeError::Malformed)?;
    if !value[..equals].eq_ignore_ascii_case(b"bytes") {
        return Err(if scan::is_token(&value[..equals]) {
            RangeError::Unit
        } else {
            RangeError::Malformed
        });
    }
    let mut specs = Vec::new();
    for text in value[equals + 1..]
        .split(|&byte| byte == b',')
        .map(scan::trim)
        .filter(|text| !text.is_empty())
    {
        let spec = RangeSpec::parse(text).ok_or(RangeError::Malformed)?;
        if specs.len() == ranges_max {
            return Err(RangeError::TooMany { limit: ranges_max });
        }
        specs.push(spec);
    }
    if specs.is_empty() {
        Err(RangeError::Malformed)
    } else {
        Ok(specs)
    }
}

impl RangeSpec {
    fn parse(text: &[u8]) -> Option<RangeSpec> {
        let dash = memchr::memchr(b'-', text)?;
        match (scan::trim(&text[..dash]), scan::trim(&text[dash + 1..])) {
            (b"", b"") => None,
            (b"", length) => Some(RangeSpec::Suffix(number(length)?)),
            (first, b"") => Some(RangeSpec::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(RangeSpec::FromTo(first, last))
            }
        }
    }

    /// The bytes meant, of a representation of this length. `None` when it has none of them.
    pub fn resolve(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            RangeSpec::FromTo(first, last) => first..last.saturating_add(1).min(length),
            RangeSpec::From(first) => first..length,
            RangeSpec::Suffix(count) => length.saturating_sub(count)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| scan::decimal(digits).unwrap_or(u64::MAX))
}

/// What [`select`] does with requests that cost more than they are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLimits {
    /// Most ranges; with more the field is ignored. 0: every `Range` field is ignored. Default: 100.
    pub ranges_max: usize,
    /// Answer a malformed field with 416 instead of ignoring it (RFC 9110 §14.2 allows both). Default: no.
    pub refuse_malformed: bool,
}

impl Default for RangeLimits {
    fn default() -> RangeLimits {
        RangeLimits {
            ranges_max: 100,
            refuse_malformed: false,
        }
    }
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with status 200, as if no range had been asked for.
    Whole,
    /// 416: it has none of these bytes.
    Unsatisfiable,
    /// 206 with one range.
    One(Range<u64>),
    /// 206 with several, as `multipart/byteranges`, in the order they were asked for.
    Several(Vec<Range<u64>>),
}

/// Decides what of a representation of this length a `Range` field selects.
///
/// Ranges that together are longer than the representation, as overlapping ones can be, are not worth the effort: all of it is sent.
pub fn select(value: &[u8], length: u64, limits: &RangeLimits) -> Selection {
    if limits.ranges_max == 0 {
        return Selection::Whole;
    }
    let specs = match parse(value, limits.ranges_max) {
        Ok(specs) => specs,
        Err(RangeError::Malformed) if limits.refuse_malformed => return Selection::Unsatisfiable,
        Err(_) => return Selection::Whole,
    };
    let mut ranges: Vec<_> = specs
        .iter()
        .filter_map(|spec| spec.resolve(length))
        .collect();
    let total = ranges.iter().try_fold(0u64, |total, range| {
        total.checked_add(range.end - range.start)
    });
    match ranges.len() {
        // The last bytes of nothing are nothing, and `Content-Range` has no way to say so.
        0 if length == 0
            && specs
                .iter()
                .any(|spec| matches!(spec, RangeSpec::Suffix(1..))) =>
        {
            Selection::Whole
        }
        0 => Selection::Unsatisfiable,
        _ if total.is_none_or(|total| total > length) => Selection::Whole,
        1 => Selection::One(ranges.remove(0)),
        _ => Selection::Several(ranges),
    }
}

/// The value of a `Content-Range` field (RFC 9110 §14.4), in bytes.
///
/// ```
/// use http_wire::range::ContentRange;
///
/// assert_eq!(ContentRange::part(0..5, 10).to_string(), "bytes 0-4/10");
/// assert_eq!(ContentRange::unsatisfied(10).to_string(), "bytes */10");
/// assert_eq!(ContentRange::parse(b"bytes 0-4/*").unwrap().range, Some(0..5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes enclosed. `None` in a 416.
    pub range: Option<Range<u64>>,
    /// The length of the whole representation, if known.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// These bytes of so many. The range must not be empty.
    pub fn part(range: Range<u64>, complete: u64) -> ContentRange {
        ContentRange {
            range: Some(range),
            complete: Some(complete),
        }
    }

    /// None of so many bytes.
    pub fn unsatisfied(complete: u64) -> ContentRange {
        ContentRange {
            range: None,
            complete: Some(complete),
        }
    }

    /// Reads a value. `None` when it is malformed, in another unit, or contradicts itself.
    pub fn parse(value: &[u8]) -> Option<ContentRange> {
        let (unit, rest) = value.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let slash = memchr::memchr(b'/', rest)?;
        let complete = match &rest[slash + 1..] {
            b"*" => None,
            digits => Some(scan::decimal(digits)?),
        };
        let range = match &rest[..slash] {
            b"*" => None,
            bounds => {
                let dash = memchr::memchr(b'-', bounds)?;
                let first = scan::decimal(&bounds[..dash])?;
                let end = scan::decimal(&bounds[dash + 1..])?.checked_add(1)?;
                Some(first..end)
            }
        };
        let valid = match (&range, complete) {
            (None, complete) => complete.is_some(),
            (Some(range), None) => range.start < range.end,
            (Some(range), Some(complete)) => range.start < range.end && range.end <= complete,
        };
        valid.then_some(ContentRange { range, complete })
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes ")?;
        match &self.range {
            Some(range) => write!(f, "{}-{}/", range.start, range.end.saturating_sub(1))?,
            None => f.write_str("*/")?,
        }
        match self.complete {
            Some(complete) => write!(f, "{complete}"),
            None => f.write_str("*"),
        }
    }
}

/// The frame of a `multipart/byteranges` content (RFC 9110 §14.6): what stands before, between and after the ranges.
///
/// ```
/// use http_wire::range::Multipart;
///
/// let multipart = Multipart::new("THIS", Some("text/plain"), 10);
/// assert_eq!(multipart.content_type(), "multipart/byteranges; boundary=THIS");
/// assert_eq!(
///     multipart.before(&(0..5)),
///     b"\r\n--THIS\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-4/10\r\n\r\n"
/// );
/// assert_eq!(multipart.after_last(), b"\r\n--THIS--\r\n");
/// ```
#[derive(Clone, Debug)]
pub struct Multipart {
    boundary: String,
    content_type: Option<String>,
    complete: u64,
}

impl Multipart {
    /// A frame for parts of a representation of this type and length. The boundary must not occur in it: let it be random, of letters and digits.
    /// The content type must be fit for a field value.
    pub fn new(
        boundary: impl Into<String>,
        content_type: Option<impl Into<String>>,
        complete: u64,
    ) -> Multipart {
        Multipart {
            boundary: boundary.into(),
            content_type: content_type.map(Into::into),
            complete,
        }
    }

    /// The value of the `Content-Type` field of the response.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What to write before the bytes of a range.
    pub fn before(&self, range: &Range<u64>) -> Vec<u8> {
        let content_range = ContentRange::part(range.clone(), self.complete);
        let content_type = match &self.content_type {
            Some(content_type) => format!("Content-Type: {content_type}\r\n"),
            None => String::new(),
        };
        format!(
            "\r\n--{}\r\n{content_type}Content-Range: {content_range}\r\n\r\n",
            self.boundary
        )
        .into_bytes()
    }

    /// What to write after the bytes of the last range.
    pub fn after_last(&self) -> Vec<u8> {
        format!("\r\n--{}--\r\n", self.boundary).into_bytes()
    }

    /// The length of the whole content with these ranges.
    pub fn len(&self, ranges: &[Range<u64>]) -> u64 {
        let parts: u64 = ranges
            .iter()
            .map(|range| self.before(range).len() as u64 + (range.end - range.start))
            .sum();
        parts + self.after_last().len() as u64
    }

    /// Never: there is always the closing line.
    pub fn is_empty(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str, length: u64) -> Selection {
        select(value.as_bytes(), length, &RangeLimits::default())
    }

    #[test]
    fn single_ranges_are_cut_to_what_is_there() {
        for (value, range) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-", 0..10),
            ("bytes=9-", 9..10),
            ("bytes=5-99", 5..10),
            ("bytes=5-99999999999999999999999", 5..10),
            ("bytes=-1", 9..10),
            ("bytes=-10", 0..10),
            ("bytes=-99999999999999999999999", 0..10),
            ("BYTES=1-2", 1..3),
            ("bytes= 1-2 ,", 1..3),
            ("bytes=,,1-2", 1..3),
            ("bytes=20-30, 1-2", 1..3),
            ("bytes=007-008", 7..9),
        ] {
            assert_eq!(of(value, 10), Selection::One(range), "{value}");
        }
    }

    #[test]
    fn nothing_satisfiable_is_416() {
        for value in [
            "bytes=10-",
            "bytes=10-20",
            "bytes=-0",
            "bytes=99999999999999999999999-",
            "bytes=10-11,-0",
        ] {
            assert_eq!(of(value, 10), Selection::Unsatisfiable, "{value}");
        }
        assert_eq!(of("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(of("bytes=-0", 0), Selection::Unsatisfiable);
        assert_eq!(of("bytes=-5", 0), Selection::Whole);
    }

    #[test]
    fn malformed_fields_are_ignored_or_refused_as_wished() {
        let strict = RangeLimits {
            refuse_malformed: true,
            ..RangeLimits::default()
        };
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=5-3",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=1-2;3-4",
            "bytes =1-2",
            "bytes=1 2-3",
            "bytes=0x1-2",
            "=1-2",
            "bytes:1-2",
        ] {
            assert_eq!(of(value, 10), Selection::Whole, "{value:?}");
            assert_eq!(
                select(value.as_bytes(), 10, &strict),
                Selection::Unsatisfiable,
                "{value:?}"
            );
        }
        assert_eq!(select(b"items=1-2", 10, &strict), Selection::Whole);
    }

    #[test]
    fn several_ranges_keep_their_order() {
        assert_eq!(
            of("bytes=8-, 0-1", 10),
            Selection::Several(vec![8..10, 0..2])
        );
        assert_eq!(
            of("bytes=0-4,2-5", 10),
            Selection::Several(vec![0..5, 2..6])
        );
    }

    #[test]
    fn too_many_or_too_much_is_answered_with_the_whole() {
        assert_eq!(of("bytes=0-,0-", 10), Selection::Whole);
        assert_eq!(of("bytes=0-6,3-9", 10), Selection::Whole);
        let limits = RangeLimits {
            ranges_max: 2,
            ..RangeLimits::default()
        };
        assert_eq!(
            select(b"bytes=0-0,1-1", 10, &limits),
            Selection::Several(vec![0..1, 1..2])
        );
        assert_eq!(select(b"bytes=0-0,1-1,2-2", 10, &limits), Selection::Whole);
        assert_eq!(
            parse(b"bytes=0-0,1-1,2-2", 2),
            Err(RangeError::TooMany { limit: 2 })
        );
        let none = RangeLimits {
            ranges_max: 0,
            ..RangeLimits::default()
        };
        assert_eq!(select(b"bytes=99-", 10, &none), Selection::Whole);
        assert_eq!(
            of(&format!("bytes=0-{0},0-{0}", u64::MAX - 1), u64::MAX),
            Selection::Whole
        );
    }

    #[test]
    fn content_range_is_read_and_written() {
        for text in [
            "bytes 0-4/10",
            "bytes 0-0/*",
            "bytes */10",
            "bytes 0-18446744073709551613/18446744073709551614",
        ] {
            assert_eq!(
                ContentRange::parse(text.as_bytes()).unwrap().to_string(),
                text
            );
        }
        for text in [
            "",
            "bytes",
            "bytes 0-4",
            "bytes 4-0/10",
            "bytes 0-10/10",
            "bytes */*",
            "items 0-4/10",
            "bytes=0-4/10",
            "bytes 0-18446744073709551615/*",
            "bytes -4/10",
            "bytes 0-/10",
            "bytes 0 - 4/10",
        ] {
            assert_eq!(ContentRange::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_length_of_a_multipart_content_is_right() {
        let ranges = [0..5, 7..10];
        for content_type in [Some("text/plain"), None] {
            let multipart = Multipart::new("B", content_type, 10);
            let mut content = Vec::new();
            for range in &ranges {
                content.extend(multipart.before(range));
                content.extend(vec![b'x'; (range.end - range.start) as usize]);
            }
            content.extend(multipart.after_last());
            assert_eq!(multipart.len(&ranges), content.len() as u64);
        }
    }
}
