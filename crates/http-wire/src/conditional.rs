//! Conditional requests (RFC 9110 §13): entity tags, and what the `If-*` fields decide.
//!
//! ```
//! use http::Method;
//! use http_wire::Fields;
//! use http_wire::conditional::{Current, EntityTag, ModifiedSince, Verdict, evaluate};
//!
//! let mut fields = Fields::new();
//! fields.append("If-None-Match", r#""a", W/"b""#)?;
//! let current = Current { entity_tag: EntityTag::parse(br#""b""#), ..Current::default() };
//! assert_eq!(evaluate(&Method::GET, &fields, &current, ModifiedSince::Before), Verdict::NotModified);
//! # Ok::<(), http_wire::FieldError>(())
//! ```

use std::fmt;

use http::Method;

use crate::date::HttpDate;
use crate::fields::Fields;
use crate::known::Known;

/// An entity tag (RFC 9110 §8.8.3).
///
/// There is no `==`: [`EntityTag::strong_eq`] and [`EntityTag::weak_eq`] say which comparison is meant.
#[derive(Clone, Copy)]
pub struct EntityTag<'a> {
    /// The tag with its quotes.
    quoted: &'a [u8],
    weak: bool,
}

impl<'a> EntityTag<'a> {
    /// Reads `"tag"` or `W/"tag"`. `None` when it is neither.
    pub fn parse(text: &'a [u8]) -> Option<EntityTag<'a>> {
        let (tag, rest) = EntityTag::parse_first(text)?;
        rest.is_empty().then_some(tag)
    }

    /// Reads the tag that the text begins with, and gives back what follows. A backslash in a tag is just that, not an escape.
    fn parse_first(text: &'a [u8]) -> Option<(EntityTag<'a>, &'a [u8])> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let inside = quoted.strip_prefix(b"\"")?;
        let length = inside
            .iter()
            .position(|&byte| byte == b'"' || !is_tag_character(byte))?;
        let (quoted, rest) = quoted.split_at_checked(length + 2)?;
        quoted
            .ends_with(b"\"")
            .then_some((EntityTag { quoted, weak }, rest))
    }

    /// What stands between the quotes.
    pub fn opaque(&self) -> &'a [u8] {
        &self.quoted[1..self.quoted.len() - 1]
    }

    /// Whether it says no more than that representations are equivalent.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Equal, and neither is weak: the representations are the same byte for byte.
    pub fn strong_eq(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.quoted == other.quoted
    }

    /// Equal, weak or not: the representations serve the same purpose.
    pub fn weak_eq(&self, other: &EntityTag<'_>) -> bool {
        self.quoted == other.quoted
    }
}

fn is_tag_character(byte: u8) -> bool {
    byte > b' ' && byte != b'"' && byte != 0x7f
}

impl fmt::Display for EntityTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weak = if self.weak { "W/" } else { "" };
        write!(f, "{weak}{}", String::from_utf8_lossy(self.quoted))
    }
}

impl fmt::Debug for EntityTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The resource as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// Whether it has a representation at all. Default: yes.
    pub exists: bool,
    /// Its entity tag.
    pub entity_tag: Option<EntityTag<'a>>,
    /// When it was last modified.
    pub last_modified: Option<HttpDate>,
}

impl Default for Current<'_> {
    fn default() -> Self {
        Current {
            exists: true,
            entity_tag: None,
            last_modified: None,
        }
    }
}

/// How `If-Modified-Since` is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ModifiedSince {
    /// Not modified when the date is that of the last modification or a later one (RFC 9110 §13.1.3).
    #[default]
    Before,
    /// Not modified only when it is exactly that date.
    Exact,
    /// The field is ignored: everything counts as modified.
    Ignored,
}

/// What to do with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Perform it.
    Proceed,
    /// Answer 304.
    NotModified,
    /// Answer 412.
    Failed,
}

/// Weighs the preconditions in the order of RFC 9110 §13.2.2. `If-Range` is a matter of its own: [`range_applies`].
///
/// To be asked only when the answer without them would be 2xx (or 412 makes sense).
pub fn evaluate(
    method: &Method,
    fields: &Fields,
    current: &Current<'_>,
    modified_since: ModifiedSince,
) -> Verdict {
    let reads = *method == Method::GET || *method == Method::HEAD;
    if fields.contains(Known::IfMatch) {
        if !if_match(fields, current) {
            return Verdict::Failed;
        }
    } else if !if_unmodified_since(fields, current) {
        return Verdict::Failed;
    }
    if fields.contains(Known::IfNoneMatch) {
        match (if_none_match(fields, current), reads) {
            (true, _) => Verdict::Proceed,
            (false, true) => Verdict::NotModified,
            (false, false) => Verdict::Failed,
        }
    } else if reads && !if_modified_since(fields, current, modified_since) {
        Verdict::NotModified
    } else {
        Verdict::Proceed
    }
}

/// Whether the `Range` field of a request may be followed: there is no `If-Range`, or it names the representation as it is now (RFC 9110 §13.1.5).
///
/// A date must be exactly that of the last modification; an entity tag must match by the strong comparison.
pub fn range_applies(fields: &Fields, current: &Current<'_>) -> bool {
    if !fields.contains(Known::IfRange) {
        return true;
    }
    let Some(value) = fields.get_single(Known::IfRange) else {
        return false;
    };
    match EntityTag::parse(value) {
        Some(tag) => current.entity_tag.is_some_and(|now| now.strong_eq(&tag)),
        None => current
            .last_modified
            .is_some_and(|now| HttpDate::parse(value) == Some(now)),
    }
}

fn if_match(fields: &Fields, current: &Current<'_>) -> bool {
    current.exists
        && any_tag(fields, Known::IfMatch, |tag| {
            current.entity_tag.is_some_and(|now| now.strong_eq(tag))
        })
}

fn if_none_match(fields: &Fields, current: &Current<'_>) -> bool {
    !(current.exists
        && any_tag(fields, Known::IfNoneMatch, |tag| {
            current.entity_tag.is_some_and(|now| now.weak_eq(tag))
        }))
}

/// Whether the field is `*`, or the test holds for one of its tags.
fn any_tag(fields: &Fields, name: Known, test: impl Fn(&EntityTag<'_>) -> bool) -> bool {
    fields
        .get_all(name)
        .any(|value| value == b"*" || entity_tags(value).any(|tag| test(&tag)))
}

/// The entity tags of a list. Ends where it is malformed.
pub fn entity_tags(list: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    let mut rest = list;
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let (tag, after) = EntityTag::parse_first(rest)?;
        // The next one begins behind a comma, or else there is none.
        rest = match after.trim_ascii_start() {
            [b',', after @ ..] => after,
            _ => &[],
        };
        Some(tag)
    })
}

/// True unless the field has a valid date, the date of modification is known, and it is later.
fn if_unmodified_since(fields: &Fields, current: &Current<'_>) -> bool {
    match (
        single_date(fields, Known::IfUnmodifiedSince),
        current.last_modified,
    ) {
        (Some(date), Some(modified)) => modified <= date,
        _ => true,
    }
}

/// True unless the field has a valid date, the date of modification is known, and the rule takes it for unmodified.
fn if_modified_since(fields: &Fields, current: &Current<'_>, rule: ModifiedSince) -> bool {
    match (
        single_date(fields, Known::IfModifiedSince),
        current.last_modified,
        rule,
    ) {
        (Some(date), Some(modified), ModifiedSince::Before) => modified > date,
        (Some(date), Some(modified), ModifiedSince::Exact) => modified != date,
        _ => true,
    }
}

fn single_date(fields: &Fields, name: Known) -> Option<HttpDate> {
    HttpDate::parse(fields.get_single(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn of(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append(*name, value).unwrap();
        }
        fields
    }

    fn current() -> Current<'static> {
        Current {
            exists: true,
            entity_tag: EntityTag::parse(b"\"v1\""),
            last_modified: HttpDate::parse(NOW.as_bytes()),
        }
    }

    fn get(lines: &[(&str, &str)]) -> Verdict {
        evaluate(&Method::GET, &of(lines), &current(), ModifiedSince::Before)
    }

    #[test]
    fn entity_tags_are_read_and_compared() {
        let tag = |text: &'static str| {
            EntityTag::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
        };
        for text in [
            "\"\"",
            "\"a\"",
            "W/\"a\"",
            "\"a\\\"",
            "\"\u{e9},\"",
            "\"!#\"",
        ] {
            assert_eq!(tag(text).to_string(), text);
        }
        for text in [
            "", "a", "\"", "\"a", "a\"", "w/\"a\"", "W/a", "W/", "\"a\"b", "\"a b\"", "\"a\"\"",
            "W/ \"a\"", "*",
        ] {
            assert!(EntityTag::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(tag("\"a\"").strong_eq(&tag("\"a\"")) && tag("\"a\"").weak_eq(&tag("W/\"a\"")));
        assert!(
            !tag("W/\"a\"").strong_eq(&tag("W/\"a\"")) && tag("W/\"a\"").weak_eq(&tag("W/\"a\""))
        );
        assert!(!tag("\"a\"").weak_eq(&tag("\"A\"")));
        assert_eq!(
            (tag("W/\"a\"").opaque(), tag("W/\"a\"").is_weak()),
            (&b"a"[..], true)
        );
    }

    #[test]
    fn lists_of_tags_end_where_they_are_malformed() {
        let count = |list: &str| entity_tags(list.as_bytes()).count();
        assert_eq!(count(r#""a,b" , W/"c\",,"d""#), 3);
        assert_eq!(count(""), 0);
        assert_eq!(count(r#""a" "b""#), 1);
        assert_eq!(count(r#""a", b, "c""#), 1);
    }

    #[test]
    fn if_match_wants_the_strong_comparison() {
        assert_eq!(get(&[("If-Match", "\"v0\", \"v1\"")]), Verdict::Proceed);
        assert_eq!(
            get(&[("If-Match", "\"v0\""), ("If-Match", "\"v1\"")]),
            Verdict::Proceed
        );
        assert_eq!(get(&[("If-Match", "*")]), Verdict::Proceed);
        assert_eq!(get(&[("If-Match", "W/\"v1\"")]), Verdict::Failed);
        assert_eq!(get(&[("If-Match", "\"v0\"")]), Verdict::Failed);
        assert_eq!(get(&[("If-Match", "")]), Verdict::Failed);
        let gone = Current {
            exists: false,
            ..Current::default()
        };
        assert_eq!(
            evaluate(
                &Method::PUT,
                &of(&[("If-Match", "*")]),
                &gone,
                ModifiedSince::Before
            ),
            Verdict::Failed
        );
    }

    #[test]
    fn if_unmodified_since_counts_without_if_match_only() {
        assert_eq!(get(&[("If-Unmodified-Since", NOW)]), Verdict::Proceed);
        assert_eq!(get(&[("If-Unmodified-Since", LATER)]), Verdict::Proceed);
        assert_eq!(get(&[("If-Unmodified-Since", BEFORE)]), Verdict::Failed);
        assert_eq!(
            get(&[("If-Unmodified-Since", BEFORE), ("If-Match", "\"v1\"")]),
            Verdict::Proceed
        );
        assert_eq!(
            get(&[("If-Unmodified-Since", "yesterday")]),
            Verdict::Proceed
        );
    }

    #[test]
    fn if_none_match_is_304_for_reading_and_412_for_the_rest() {
        let none_match = |method, value| {
            evaluate(
                &method,
                &of(&[("If-None-Match", value)]),
                &current(),
                ModifiedSince::Before,
            )
        };
        for value in ["\"v1\"", "W/\"v1\"", "\"x\", \"v1\"", "*"] {
            assert_eq!(
                none_match(Method::GET, value),
                Verdict::NotModified,
                "{value}"
            );
            assert_eq!(
                none_match(Method::HEAD, value),
                Verdict::NotModified,
                "{value}"
            );
            assert_eq!(none_match(Method::PUT, value), Verdict::Failed, "{value}");
        }
        for value in ["\"v2\"", "v1", ""] {
            assert_eq!(none_match(Method::GET, value), Verdict::Proceed, "{value}");
        }
        let gone = Current {
            exists: false,
            ..Current::default()
        };
        assert_eq!(
            evaluate(
                &Method::PUT,
                &of(&[("If-None-Match", "*")]),
                &gone,
                ModifiedSince::Before
            ),
            Verdict::Proceed
        );
    }

    #[test]
    fn if_modified_since_counts_without_if_none_match_only() {
        assert_eq!(get(&[("If-Modified-Since", NOW)]), Verdict::NotModified);
        assert_eq!(get(&[("If-Modified-Since", LATER)]), Verdict::NotModified);
        assert_eq!(get(&[("If-Modified-Since", BEFORE)]), Verdict::Proceed);
        assert_eq!(get(&[("If-Modified-Since", "junk")]), Verdict::Proceed);
        assert_eq!(
            get(&[("If-Modified-Since", NOW), ("If-Modified-Since", NOW)]),
            Verdict::Proceed
        );
        assert_eq!(
            get(&[("If-Modified-Since", NOW), ("If-None-Match", "\"v2\"")]),
            Verdict::Proceed
        );
        let post = evaluate(
            &Method::POST,
            &of(&[("If-Modified-Since", NOW)]),
            &current(),
            ModifiedSince::Before,
        );
        assert_eq!(post, Verdict::Proceed);
        for (value, rule, verdict) in [
            (LATER, ModifiedSince::Exact, Verdict::Proceed),
            (NOW, ModifiedSince::Exact, Verdict::NotModified),
            (NOW, ModifiedSince::Ignored, Verdict::Proceed),
        ] {
            assert_eq!(
                evaluate(
                    &Method::GET,
                    &of(&[("If-Modified-Since", value)]),
                    &current(),
                    rule
                ),
                verdict
            );
        }
    }

    #[test]
    fn a_range_applies_to_exactly_this_representation() {
        let applies = |lines: &[(&str, &str)]| range_applies(&of(lines), &current());
        assert!(applies(&[]));
        assert!(applies(&[("If-Range", "\"v1\"")]));
        assert!(applies(&[("If-Range", NOW)]));
        for value in [
            "W/\"v1\"",
            "\"v2\"",
            BEFORE,
            LATER,
            "junk",
            "\"v1\", \"v2\"",
            "",
        ] {
            assert!(!applies(&[("If-Range", value)]), "{value}");
        }
        assert!(!applies(&[("If-Range", "\"v1\""), ("If-Range", "\"v1\"")]));
    }
}
