//! Paths of request targets: percent-encoding off and on, dot segments, slashes (RFC 3986 §2.1, §5.2.4).

use std::borrow::Cow;

/// Why a path can't be normalised. The request deserves a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A `%` without two hexadecimal digits behind it.
    #[error("the path has a \"%\" without two hexadecimal digits behind it")]
    PercentEncoding,
    /// A NUL, encoded or not.
    #[error("the path has a NUL")]
    Nul,
    /// `..` beyond the root.
    #[error("the path leads above the root")]
    AboveRoot,
}

/// How to normalise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalise {
    /// Two or more slashes in a row become one. Default: yes.
    pub merge_slashes: bool,
}

impl Default for Normalise {
    fn default() -> Normalise {
        Normalise {
            merge_slashes: true,
        }
    }
}

/// The path that is meant: percent-encoding decoded, `.` and `..` resolved, slashes merged if wanted.
///
/// Decoding comes first: an encoded slash or dot counts as one. So the result is what a file system would see, and no encoding hides a `..` from it.
/// Borrowed when nothing had to be changed.
///
/// ```
/// use http_wire::path::{Normalise, PathError, normalise};
///
/// assert_eq!(&*normalise(b"/a/%2e%2E//b%20c/./d", Normalise::default())?, b"/b c/d");
/// assert_eq!(normalise(b"/%2e%2e%2fetc", Normalise::default()), Err(PathError::AboveRoot));
/// # Ok::<(), PathError>(())
/// ```
///
/// # Errors
/// [`PathError`], by variant.
pub fn normalise(path: &[u8], how: Normalise) -> Result<Cow<'_, [u8]>, PathError> {
    if path.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    if is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = decoded_byte(rest)? {
        if byte == b'/' {
            end_segment(&mut out, true, how)?;
        } else {
            out.push(byte);
        }
        rest = after;
    }
    end_segment(&mut out, false, how)?;
    Ok(Cow::Owned(out))
}

/// Whether nothing in an absolute path could have to be changed.
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &byte in path {
        if byte == b'%' || byte == 0 || (after_slash && matches!(byte, b'/' | b'.')) {
            return false;
        }
        after_slash = byte == b'/';
    }
    true
}

fn decoded_byte(text: &[u8]) -> Result<Option<(u8, &[u8])>, PathError> {
    match text {
        [] => Ok(None),
        [b'%', rest @ ..] => {
            let (byte, rest) = hex_byte(rest).ok_or(PathError::PercentEncoding)?;
            if byte == 0 {
                Err(PathError::Nul)
            } else {
                Ok(Some((byte, rest)))
            }
        }
        [0, ..] => Err(PathError::Nul),
        [byte, rest @ ..] => Ok(Some((*byte, rest))),
    }
}

/// A segment is written and a slash or the end follows: resolve it if it is made of dots, and add the slash.
fn end_segment(out: &mut Vec<u8>, slash: bool, how: Normalise) -> Result<(), PathError> {
    let start = out
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |at| at + 1);
    match &out[start..] {
        b"." => out.truncate(start),
        b".." => {
            // Without the slash before it, out to the slash before that.
            let parent = out[..start - 1]
                .iter()
                .rposition(|&byte| byte == b'/')
                .ok_or(PathError::AboveRoot)?;
            out.truncate(parent + 1);
        }
        // The first slash of all, or one after a slash.
        b"" if slash && (out.is_empty() || !how.merge_slashes) => out.push(b'/'),
        b"" => {}
        _ if slash => out.push(b'/'),
        _ => {}
    }
    Ok(())
}

fn hex_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    Some((digit(*high)? << 4 | digit(*low)?, rest))
}

/// Takes percent-encoding off, and nothing else. A `%` without two hexadecimal digits behind it stays as it is.
///
/// ```
/// assert_eq!(&*http_wire::path::decode(b"a%2Fb%zz%"), b"a/b%zz%");
/// ```
pub fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'%', text) else {
        return Cow::Borrowed(text);
    };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let Some((&byte, after)) = rest.split_first() {
        match if byte == b'%' { hex_byte(after) } else { None } {
            Some((decoded, after)) => {
                out.push(decoded);
                rest = after;
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(out)
}

/// Which bytes are percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// For a path: controls, space, `"`, `#`, `%`, `<`, `>`, `?`, `\`, `^`, `` ` ``, `{`, `|`, `}` and everything from 0x7f up.
    Path,
    /// For a value in a query: as for a path, and `&`, `+`, `;`.
    Query,
    /// For a single component: everything but letters, digits, `-`, `.`, `_`, `~`.
    Component,
}

impl Escape {
    fn applies(self, byte: u8) -> bool {
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let never_in_path = !byte.is_ascii_graphic()
            || matches!(
                byte,
                b'"' | b'#' | b'%' | b'<' | b'>' | b'?' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
            );
        match self {
            Escape::Path => never_in_path,
            Escape::Query => never_in_path || matches!(byte, b'&' | b'+' | b';'),
            Escape::Component => !unreserved,
        }
    }
}

/// Puts percent-encoding on. Borrowed when no byte needs it.
///
/// ```
/// use http_wire::path::{Escape, escape};
///
/// assert_eq!(&*escape(b"/a b/\xc3\xa9?", Escape::Path), b"/a%20b/%C3%A9%3F");
/// ```
pub fn escape(text: &[u8], which: Escape) -> Cow<'_, [u8]> {
    let Some(first) = text.iter().position(|&byte| which.applies(byte)) else {
        return Cow::Borrowed(text);
    };
    let mut out = Vec::with_capacity(text.len() + 16);
    out.extend_from_slice(&text[..first]);
    for &byte in &text[first..] {
        if which.applies(byte) {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(&[
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        } else {
            out.push(byte);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: Result<Cow<'_, [u8]>, PathError>) -> Result<String, PathError> {
        path.map(|path| String::from_utf8_lossy(&path).into_owned())
    }

    fn merged(path: &str) -> Result<String, PathError> {
        text(normalise(path.as_bytes(), Normalise::default()))
    }

    #[test]
    fn resolves_dots_and_slashes() {
        for (path, normal) in [
            ("/", "/"),
            ("//", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a//b///c", "/a/b/c"),
            ("/.", "/"),
            ("/./", "/"),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../c", "/a/c"),
            ("/a//../b", "/b"),
            ("/a/b/../../c", "/c"),
            ("/...", "/..."),
            ("/..a/.b/c./d..", "/..a/.b/c./d.."),
            ("/a/.../b", "/a/.../b"),
        ] {
            assert_eq!(merged(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn decodes_before_it_resolves() {
        for (path, normal) in [
            ("/%61", "/a"),
            ("/a%2Fb", "/a/b"),
            ("/a%2f%2e%2E%2fb", "/b"),
            ("/a/%2e./b", "/b"),
            ("/a%2F/b", "/a/b"),
            ("/%25%32%65", "/%2e"),
            ("/%252e%252e/", "/%2e%2e/"),
            ("/a%3Fb%23c", "/a?b#c"),
            ("/a+b", "/a+b"),
            ("/%C3%A9", "/é"),
        ] {
            assert_eq!(merged(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn refuses_bad_encodings_and_ways_out() {
        for path in [
            "/..",
            "/../",
            "/../a",
            "/a/../..",
            "/a/../../b",
            "/%2e%2e",
            "/.%2e/",
            "/%2f..",
            "/./..",
        ] {
            assert_eq!(merged(path), Err(PathError::AboveRoot), "{path}");
        }
        for path in ["/%", "/%2", "/%zz", "/a%2", "/%2x", "/%-1", "/%%", "/%+1"] {
            assert_eq!(merged(path), Err(PathError::PercentEncoding), "{path}");
        }
        assert_eq!(merged("/a%00"), Err(PathError::Nul));
        assert_eq!(merged("/a\0"), Err(PathError::Nul));
        for path in ["", "a", "*", "%2Fa"] {
            assert_eq!(merged(path), Err(PathError::NotAbsolute), "{path}");
        }
    }

    #[test]
    fn slashes_can_be_left_alone() {
        let kept = |path: &str| {
            text(normalise(
                path.as_bytes(),
                Normalise {
                    merge_slashes: false,
                },
            ))
        };
        for (path, normal) in [
            ("//", "//"),
            ("/a//b", "/a//b"),
            ("//a/./b", "//a/b"),
            ("/a//../b", "/a/b"),
            ("/a%2F/", "/a//"),
        ] {
            assert_eq!(kept(path).as_deref(), Ok(normal), "{path}");
        }
        assert_eq!(kept("//../.."), Err(PathError::AboveRoot));
    }

    #[test]
    fn borrows_what_needs_no_change() {
        assert!(matches!(
            normalise(b"/a/b.c/~d", Normalise::default()),
            Ok(Cow::Borrowed(_))
        ));
        assert!(matches!(decode(b"/a/b"), Cow::Borrowed(_)));
        assert!(matches!(escape(b"/a/b", Escape::Path), Cow::Borrowed(_)));
    }

    #[test]
    fn decode_undoes_escape() {
        let all: Vec<u8> = (0..=255).collect();
        for which in [Escape::Path, Escape::Query, Escape::Component] {
            let escaped = escape(&all, which);
            assert_eq!(&*decode(&escaped), all);
            assert!(escaped.iter().all(|byte| byte.is_ascii_graphic()));
        }
        assert_eq!(
            &*escape(b"a/b?c=d&e+f;g", Escape::Query),
            b"a/b%3Fc=d%26e%2Bf%3Bg"
        );
        assert_eq!(&*escape(b"a/b:c~d", Escape::Component), b"a%2Fb%3Ac~d");
    }
}
