//! Comma-separated lists (RFC 9110 §5.6.1): elements, tokens, quoted strings, weights.

use std::borrow::Cow;

use crate::scan;

/// The elements of a list, without the white space around them; empty ones are skipped. Commas within quoted strings don't count.
///
/// ```
/// let elements: Vec<_> = http_wire::list::elements(br#"a, "b,c" ;x="\",",, d"#).collect();
/// assert_eq!(elements, [&b"a"[..], br#""b,c" ;x="\",""#, b"d"]);
/// ```
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    split_outside_quotes(value, b',')
        .map(scan::trim)
        .filter(|element| !element.is_empty())
}

/// The parts of a value between separators that stand outside of quoted strings, untrimmed. Used for `;` as well as for `,`.
pub fn split_outside_quotes(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = find_outside_quotes(text, separator);
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// Whether the list has this token among its elements, without regard to case.
///
/// ```
/// assert!(http_wire::list::contains_token(b"keep-alive, Upgrade", "upgrade"));
/// assert!(!http_wire::list::contains_token(b"upgraded", "upgrade"));
/// ```
pub fn contains_token(value: &[u8], token: &str) -> bool {
    // The usual case, `Connection: close`, needs no search.
    value.eq_ignore_ascii_case(token.as_bytes())
        || elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// What stands before the first separator outside of quoted strings, trimmed; all of it when there is none.
pub fn before(value: &[u8], separator: u8) -> &[u8] {
    scan::trim(&value[..find_outside_quotes(value, separator).unwrap_or(value.len())])
}

/// The parameters `;name=value` of an element: names, and values with quotes and escapes taken off.
///
/// Parts without `=` have an empty value. What stands before the first `;` is not among them.
///
/// ```
/// let parameters: Vec<_> = http_wire::list::parameters(br#"form-data; name="a\"b"; filename=c"#).collect();
/// assert_eq!(parameters[0], (&b"name"[..], (&b"a\"b"[..]).into()));
/// assert_eq!(parameters[1], (&b"filename"[..], (&b"c"[..]).into()));
/// ```
pub fn parameters(element: &[u8]) -> impl Iterator<Item = (&[u8], Cow<'_, [u8]>)> {
    split_outside_quotes(element, b';')
        .skip(1)
        .map(scan::trim)
        .filter(|part| !part.is_empty())
        .map(|part| match memchr::memchr(b'=', part) {
            Some(at) => (
                scan::trim(&part[..at]),
                unquoted(scan::trim(&part[at + 1..])),
            ),
            None => (part, Cow::Borrowed(&b""[..])),
        })
}

/// A token as it is, or a quoted string without its quotes and escapes (RFC 9110 §5.6.4).
pub fn unquoted(text: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inside @ .., b'"'] = text else {
        return Cow::Borrowed(text);
    };
    if memchr::memchr(b'\\', inside).is_none() {
        return Cow::Borrowed(inside);
    }
    let mut plain = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(&byte) = bytes.next() {
        let escaped = if byte == b'\\' { bytes.next() } else { None };
        plain.push(escaped.copied().unwrap_or(byte));
    }
    Cow::Owned(plain)
}

/// Appends a value as it is if it is a token, otherwise as a quoted string.
///
/// Control characters other than tab can't be quoted; they are left out.
pub fn push_quoted_if_needed(value: &[u8], out: &mut Vec<u8>) {
    if scan::is_token(value) {
        out.extend_from_slice(value);
        return;
    }
    out.push(b'"');
    for &byte in value.iter().filter(|&&byte| scan::is(byte, scan::VALUE)) {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// A weight: thousandths, from 0 (not acceptable) to 1000 (RFC 9110 §12.4.2).
pub type Weight = u16;

/// The elements of a list with weights (`Accept`, `Accept-Encoding`, `Accept-Language`): what stands before the first `;`, and the weight.
///
/// Without `q` the weight is 1000. A malformed `q` counts as 0: it is safer not to send what may not be wanted.
///
/// ```
/// let weighted: Vec<_> = http_wire::list::weighted(b"gzip;q=0.5, br, *;q=0").collect();
/// assert_eq!(weighted, [(&b"gzip"[..], 500), (b"br", 1000), (b"*", 0)]);
/// ```
pub fn weighted(value: &[u8]) -> impl Iterator<Item = (&[u8], Weight)> {
    elements(value).map(|element| {
        let weight = parameters(element).find(|(name, _)| name.eq_ignore_ascii_case(b"q"));
        let weight = weight.map_or(Some(1000), |(_, text)| read_weight(&text));
        (before(element, b';'), weight.unwrap_or(0))
    })
}

/// How acceptable an item is by a weighted list: by its own element, else by `*`, else not (`None`).
///
/// ```
/// use http_wire::list::weight_of;
///
/// assert_eq!(weight_of(b"gzip;q=0.5, *;q=0.1", "GZIP"), Some(500));
/// assert_eq!(weight_of(b"gzip;q=0.5, *;q=0.1", "br"), Some(100));
/// assert_eq!(weight_of(b"gzip", "br"), None);
/// ```
pub fn weight_of(value: &[u8], item: &str) -> Option<Weight> {
    let mut any = None;
    for (name, weight) in weighted(value) {
        if name.eq_ignore_ascii_case(item.as_bytes()) {
            return Some(weight);
        }
        if name == b"*" {
            any = any.or(Some(weight));
        }
    }
    any
}

/// `0` or `1`, a dot and up to three digits, at most 1.
fn read_weight(text: &[u8]) -> Option<Weight> {
    let (whole, decimals) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] => (whole, decimals),
        _ => return None,
    };
    if decimals.len() > 3 || !matches!(whole, b'0' | b'1') {
        return None;
    }
    let mut weight = Weight::from(whole - b'0') * 1000;
    let mut place = 100;
    for digit in decimals {
        if !digit.is_ascii_digit() {
            return None;
        }
        weight += Weight::from(digit - b'0') * place;
        place /= 10;
    }
    (weight <= 1000).then_some(weight)
}

fn find_outside_quotes(text: &[u8], separator: u8) -> Option<usize> {
    let mut quoted = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            _ if byte == separator && !quoted => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(value: &str) -> Vec<&str> {
        elements(value.as_bytes())
            .map(|element| std::str::from_utf8(element).unwrap())
            .collect()
    }

    #[test]
    fn elements_skip_what_is_empty_and_respect_quotes() {
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split(" , ,\t,"), [""; 0]);
        assert_eq!(split("a"), ["a"]);
        assert_eq!(split(" a ,b,, c\t"), ["a", "b", "c"]);
        assert_eq!(split(r#"W/"a,b", "c""#), [r#"W/"a,b""#, r#""c""#]);
        assert_eq!(split(r#""a\",b",c"#), [r#""a\",b""#, "c"]);
        assert_eq!(split(r#""open, end"#), [r#""open, end"#]);
        assert_eq!(split(r#""ends in \"#), [r#""ends in \"#]);
    }

    #[test]
    fn tokens_are_whole_elements() {
        assert!(contains_token(b"Close", "close"));
        assert!(contains_token(b"a,\tclose ,b", "CLOSE"));
        for value in ["closed", "close;x", "\"close\"", "not close", ""] {
            assert!(!contains_token(value.as_bytes(), "close"), "{value}");
        }
    }

    #[test]
    fn weights_have_at_most_three_decimals_and_are_at_most_one() {
        for (text, weight) in [
            ("0", 0),
            ("0.", 0),
            ("0.1", 100),
            ("0.012", 12),
            ("0.999", 999),
            ("1", 1000),
            ("1.000", 1000),
        ] {
            assert_eq!(read_weight(text.as_bytes()), Some(weight), "{text}");
        }
        for text in [
            "", "2", "1.001", "0.1234", ".5", "0,5", "-0", "1.0.0", "0.x",
        ] {
            assert_eq!(read_weight(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            weighted(b"a;Q=0.3;x=y, b;x=\"q=0\", c;q=oops").collect::<Vec<_>>(),
            [(&b"a"[..], 300), (b"b", 1000), (b"c", 0)]
        );
    }

    #[test]
    fn an_items_own_weight_beats_the_asterisk() {
        assert_eq!(weight_of(b"*, gzip;q=0", "gzip"), Some(0));
        assert_eq!(weight_of(b"*;q=0", "gzip"), Some(0));
        assert_eq!(weight_of(b"", "gzip"), None);
    }

    #[test]
    fn quoting_and_unquoting_are_inverse() {
        for text in ["", "token", "two words", r#"a"b\c"#, "\t", "ä"] {
            let mut out = Vec::new();
            push_quoted_if_needed(text.as_bytes(), &mut out);
            assert_eq!(unquoted(&out), text.as_bytes());
        }
        let mut out = Vec::new();
        push_quoted_if_needed(b"a\r\nb", &mut out);
        assert_eq!(out, b"\"ab\"");
        assert_eq!(unquoted(b"\""), &b"\""[..]);
        assert_eq!(unquoted(br#""a\""#), &br"a\"[..]);
    }
}
