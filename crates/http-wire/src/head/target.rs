//! The request target in its four forms (RFC 9112 §3.2).

use std::fmt;
use std::ops::Range;

use http::Method;

use super::error::RequestError;
use super::limits::TargetRule;
use crate::host::Authority;
use crate::scan;

/// The form of a request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, with CONNECT
    Authority,
    /// `*`, with OPTIONS
    Asterisk,
}

/// A request target: the bytes as sent, and where their parts are. Nothing is decoded here; see [`crate::path`] for that.
///
/// ```
/// use http_wire::head::{Target, TargetForm, TargetRule};
/// use http::Method;
///
/// let target = Target::parse(b"http://shop.example/a%20b?q=1", &Method::GET, &TargetRule::default())?;
/// assert_eq!(target.form(), TargetForm::Absolute);
/// assert_eq!(target.authority(), Some("shop.example"));
/// assert_eq!(target.path(), b"/a%20b");
/// assert_eq!(target.query(), Some(&b"q=1"[..]));
/// # Ok::<(), http_wire::head::RequestError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    text: Vec<u8>,
    form: TargetForm,
    /// Length of the scheme; the authority begins three bytes later.
    scheme_len: usize,
    authority: Range<usize>,
    path: Range<usize>,
    /// Where the query ends; it begins one byte behind the path.
    query_end: usize,
}

impl Target {
    /// Checks a target and takes it apart.
    ///
    /// # Errors
    /// [`RequestError::Target`] when a byte is not allowed or the form can't be recognised, [`RequestError::TargetForm`] when the form does
    /// not go with the method or the rule excludes it.
    pub fn parse(text: &[u8], method: &Method, rule: &TargetRule) -> Result<Target, RequestError> {
        let mut target = Target::default();
        if text.is_empty() || target_run(text, rule) < text.len() {
            return Err(RequestError::Target);
        }
        target.assign(text, method, rule)?;
        Ok(target)
    }

    /// The bytes as sent.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Its form.
    #[inline]
    pub fn form(&self) -> TargetForm {
        self.form
    }

    /// The path: from the first slash to the `?`. For the absolute form without path `/`; for the authority form empty; for the asterisk form `*`.
    #[inline]
    pub fn path(&self) -> &[u8] {
        match &self.text[self.path.clone()] {
            b"" if self.form == TargetForm::Absolute => b"/",
            path => path,
        }
    }

    /// What follows the `?`, without a fragment. `None` without `?`, empty when nothing follows.
    #[inline]
    pub fn query(&self) -> Option<&[u8]> {
        self.text.get(self.path.end + 1..self.query_end)
    }

    /// Path and query as one, without scheme, authority and fragment. For the absolute form without a path it begins with the `?`, or is empty.
    pub fn path_and_query(&self) -> &[u8] {
        &self.text[self.path.start..self.query_end]
    }

    /// The scheme of the absolute form, as sent.
    pub fn scheme(&self) -> Option<&str> {
        (self.form == TargetForm::Absolute).then(|| self.str(0..self.scheme_len))
    }

    /// Host and port of the absolute and the authority form, as sent. It has been checked to be an [`Authority`].
    pub fn authority(&self) -> Option<&str> {
        matches!(self.form, TargetForm::Absolute | TargetForm::Authority)
            .then(|| self.str(self.authority.clone()))
    }

    /// Makes it `/` again, and keeps its memory.
    pub(super) fn clear(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.push(b'/');
        *self = Target { text, ..ROOT };
    }

    fn str(&self, range: Range<usize>) -> &str {
        // Scheme and authority are only set once they are known to be ASCII.
        std::str::from_utf8(&self.text[range]).unwrap_or_default()
    }

    /// Takes the text apart. The caller has checked its bytes.
    #[inline]
    pub(super) fn assign(
        &mut self,
        text: &[u8],
        method: &Method,
        rule: &TargetRule,
    ) -> Result<(), RequestError> {
        let refuse_unless = |allowed: bool| {
            if allowed {
                Ok(())
            } else {
                Err(RequestError::TargetForm)
            }
        };
        let connect = *method == Method::CONNECT;
        self.authority = 0..0;
        self.scheme_len = 0;
        let path_start = match text {
            [b'/', ..] => {
                refuse_unless(!connect)?;
                self.form = TargetForm::Origin;
                0
            }
            b"*" => {
                refuse_unless(rule.asterisk && *method == Method::OPTIONS)?;
                self.form = TargetForm::Asterisk;
                0
            }
            _ if connect => {
                refuse_unless(rule.authority)?;
                Authority::parse(text)
                    .and_then(|authority| authority.port())
                    .ok_or(RequestError::Target)?;
                self.form = TargetForm::Authority;
                self.authority = 0..text.len();
                text.len()
            }
            _ => {
                let (scheme_len, authority) = absolute(text).ok_or(RequestError::Target)?;
                refuse_unless(rule.absolute)?;
                self.form = TargetForm::Absolute;
                self.scheme_len = scheme_len;
                self.authority = authority;
                self.authority.end
            }
        };
        self.split_query(text, path_start, rule.fragment);
        self.text.clear();
        self.text.extend_from_slice(text);
        Ok(())
    }

    #[inline]
    fn split_query(&mut self, text: &[u8], path_start: usize, fragment: bool) {
        let mut end = text.len();
        if fragment && let Some(at) = memchr::memchr(b'#', text) {
            end = at.max(path_start);
        }
        self.query_end = end;
        let path_len = memchr::memchr(b'?', &text[path_start..end]).unwrap_or(end - path_start);
        self.path = path_start..path_start + path_len;
    }
}

/// How many leading bytes may stand in a target.
#[inline]
pub(super) fn target_run(text: &[u8], rule: &TargetRule) -> usize {
    let mut at = 0;
    loop {
        at += scan::run(&text[at..], scan::TARGET);
        match text.get(at) {
            Some(b'#') if rule.fragment => at += 1,
            Some(0x80..) if rule.non_ascii => at += 1,
            _ => return at,
        }
    }
}

/// Length of the scheme and place of the authority in `scheme://authority…`.
fn absolute(text: &[u8]) -> Option<(usize, Range<usize>)> {
    let scheme_len = text.iter().position(|&byte| byte == b':')?;
    let scheme = &text[..scheme_len];
    let scheme_valid = scheme.first()?.is_ascii_alphabetic()
        && scheme
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let rest = text[scheme_len..]
        .strip_prefix(b"://")
        .filter(|_| scheme_valid)?;
    let start = scheme_len + 3;
    let len = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    Authority::parse(&rest[..len])?;
    Some((scheme_len, start..start + len))
}

/// The origin form of the root, `/`.
impl Default for Target {
    fn default() -> Target {
        Target {
            text: b"/".to_vec(),
            ..ROOT
        }
    }
}

/// What is known of `/`, without its text.
const ROOT: Target = Target {
    text: Vec::new(),
    form: TargetForm::Origin,
    scheme_len: 0,
    authority: 0..0,
    path: 0..1,
    query_end: 1,
};

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.text))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}({:?})",
            self.form,
            String::from_utf8_lossy(&self.text)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, method: Method) -> Result<Target, RequestError> {
        Target::parse(text.as_bytes(), &method, &TargetRule::default())
    }

    #[test]
    fn origin_form() {
        for (text, path, query) in [
            ("/", "/", None),
            ("/a/b", "/a/b", None),
            ("/a?", "/a", Some("")),
            ("/?a=1?b", "/", Some("a=1?b")),
            ("//h/x", "//h/x", None),
        ] {
            let target = read(text, Method::GET).unwrap();
            assert_eq!(target.form(), TargetForm::Origin);
            assert_eq!(target.path(), path.as_bytes());
            assert_eq!(target.query(), query.map(str::as_bytes), "{text}");
            assert_eq!(target.path_and_query(), text.as_bytes());
            assert_eq!((target.scheme(), target.authority()), (None, None));
        }
    }

    #[test]
    fn absolute_form() {
        for (text, scheme, authority, path, query) in [
            ("http://a/b?c", "http", "a", "/b", Some("c")),
            ("HTTPS://a:443", "HTTPS", "a:443", "/", None),
            ("http://[::1]:80?x", "http", "[::1]:80", "/", Some("x")),
            ("http://a/b://c", "http", "a", "/b://c", None),
        ] {
            let target = read(text, Method::GET).unwrap();
            assert_eq!(target.form(), TargetForm::Absolute);
            assert_eq!(
                (target.scheme(), target.authority()),
                (Some(scheme), Some(authority))
            );
            assert_eq!(
                (target.path(), target.query()),
                (path.as_bytes(), query.map(str::as_bytes))
            );
        }
        for text in [
            "http:/a",
            "http://",
            "http:///a",
            "http://u@a/",
            "1http://a/",
            "http//a",
            "a",
            "a/b",
            "http://a:b/",
            "?a",
            "ht_tp://a/",
        ] {
            assert_eq!(read(text, Method::GET), Err(RequestError::Target), "{text}");
        }
    }

    #[test]
    fn authority_form_goes_with_connect_only() {
        let target = read("a:443", Method::CONNECT).unwrap();
        assert_eq!(
            (target.form(), target.authority()),
            (TargetForm::Authority, Some("a:443"))
        );
        assert_eq!((target.path(), target.query()), (&b""[..], None));
        assert_eq!(read("/a", Method::CONNECT), Err(RequestError::TargetForm));
        assert_eq!(read("a:443", Method::GET), Err(RequestError::Target));
        for text in ["a", "a:", "http://a/", "a:443/", "*"] {
            assert!(read(text, Method::CONNECT).is_err(), "{text}");
        }
    }

    #[test]
    fn asterisk_form_goes_with_options_only() {
        let target = read("*", Method::OPTIONS).unwrap();
        assert_eq!(
            (target.form(), target.path()),
            (TargetForm::Asterisk, &b"*"[..])
        );
        assert_eq!(read("*", Method::GET), Err(RequestError::TargetForm));
        assert_eq!(read("**", Method::OPTIONS), Err(RequestError::Target));
    }

    #[test]
    fn rules_exclude_forms_and_admit_bytes() {
        let narrow = TargetRule {
            absolute: false,
            authority: false,
            asterisk: false,
            ..TargetRule::default()
        };
        for (text, method) in [
            ("http://a/", Method::GET),
            ("a:1", Method::CONNECT),
            ("*", Method::OPTIONS),
        ] {
            assert_eq!(
                Target::parse(text.as_bytes(), &method, &narrow),
                Err(RequestError::TargetForm)
            );
        }
        let wide = TargetRule {
            fragment: true,
            non_ascii: true,
            ..TargetRule::default()
        };
        let target = Target::parse("/é?a#b?c".as_bytes(), &Method::GET, &wide).unwrap();
        assert_eq!(
            (target.path(), target.query()),
            ("/é".as_bytes(), Some(&b"a"[..]))
        );
        let target = Target::parse(b"/a#b?c", &Method::GET, &wide).unwrap();
        assert_eq!(
            (target.path(), target.query(), target.path_and_query()),
            (&b"/a"[..], None, &b"/a"[..])
        );
        for text in ["/é", "/a#b", "/a b", "/a\t", "/a\r", "/\0", "", "/\u{7f}"] {
            assert_eq!(
                read(text, Method::GET),
                Err(RequestError::Target),
                "{text:?}"
            );
        }
    }
}
