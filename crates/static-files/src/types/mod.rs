//! Content types by file name extension.
//!
//! The semantics are those of nginx's `types` and `default_type`: the extension is what follows the last dot of the last
//! path segment (a name that begins with its only dot has none), compared without regard to case. Values are made when
//! the table is, `charset` included; finding one copies nothing.

mod common;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;
use http::HeaderValue;
use http::header::InvalidHeaderValue;

/// Longest extension that can have a type, in bytes. Longer ones get the default type.
pub const EXTENSION_MAX: usize = 64;

/// A table of content types.
///
/// ```
/// use static_files::Types;
/// let types = Types::new("application/octet-stream").with("text/html", ["html", "htm"]);
/// assert_eq!(types.of(b"/a.b/INDEX.HTML").unwrap(), "text/html");
/// assert_eq!(types.of(b"/a.html/README").unwrap(), "application/octet-stream");
/// ```
#[derive(Clone, Debug)]
pub struct Types {
    by_extension: HashMap<Box<[u8]>, HeaderValue, BuildHasherDefault<Fnv>>,
    default: Option<HeaderValue>,
}

impl Types {
    /// An empty table: everything has the default type. If that is empty, or has control characters, which no field can
    /// have, no type is told.
    pub fn new(default: &str) -> Self {
        let default = fit(default).filter(|value| !value.is_empty());
        Types {
            by_extension: HashMap::default(),
            default,
        }
    }

    /// The types of the web, for programs without a table of their own: what browsers need to tell apart, by the
    /// registry of media types. Everything else is `application/octet-stream`.
    pub fn common() -> Self {
        common::TYPES.iter().fold(
            Types::new("application/octet-stream"),
            |types, (value, extensions)| types.with(value, extensions.split(' ')),
        )
    }

    /// Adds a type for extensions (without dot). A later one for the same extension replaces the earlier, as in nginx.
    /// Extensions longer than [`EXTENSION_MAX`] are never found. A type with control characters, which no field can have, is
    /// left out; where that should be an error, make the value oneself and [`insert`](Self::insert) it.
    #[must_use]
    pub fn with<E: AsRef<[u8]>>(
        mut self,
        value: &str,
        extensions: impl IntoIterator<Item = E>,
    ) -> Self {
        if let Some(value) = fit(value) {
            for extension in extensions {
                self.insert(extension.as_ref(), value.clone());
            }
        }
        self
    }

    /// [`with`](Self::with), one at a time.
    pub fn insert(&mut self, extension: &[u8], value: HeaderValue) {
        self.by_extension
            .insert(extension.to_ascii_lowercase().into(), value);
    }

    /// Replaces the default type; `None` tells none.
    #[must_use]
    pub fn with_default(mut self, value: Option<HeaderValue>) -> Self {
        self.default = value;
        self
    }

    /// Adds `; charset=…` to the types for which `applies` says so and that have none yet.
    ///
    /// # Errors
    /// If the charset has control characters.
    pub fn with_charset(
        mut self,
        charset: &str,
        applies: impl Fn(&[u8]) -> bool,
    ) -> Result<Self, InvalidHeaderValue> {
        let mut made: HashMap<HeaderValue, HeaderValue> = HashMap::new();
        for value in self.by_extension.values_mut().chain(&mut self.default) {
            if !applies(value.as_bytes()) || has_charset(value.as_bytes()) {
                continue;
            }
            if !made.contains_key(value) {
                let text = [value.as_bytes(), b"; charset=", charset.as_bytes()].concat();
                made.insert(
                    value.clone(),
                    HeaderValue::from_maybe_shared(Bytes::from(text))?,
                );
            }
            *value = made[&*value].clone();
        }
        Ok(self)
    }

    /// The type of a path or file name; `None` if none is told.
    pub fn of(&self, path: &[u8]) -> Option<&HeaderValue> {
        let Some(extension) = extension(path) else {
            return self.default.as_ref();
        };
        let mut lower = [0; EXTENSION_MAX];
        let Some(lower) = lower.get_mut(..extension.len()) else {
            return self.default.as_ref();
        };
        lower.copy_from_slice(extension);
        lower.make_ascii_lowercase();
        self.by_extension.get(&*lower).or(self.default.as_ref())
    }

    /// How many extensions have a type.
    pub fn len(&self) -> usize {
        self.by_extension.len()
    }

    /// Whether everything has the default type.
    pub fn is_empty(&self) -> bool {
        self.by_extension.is_empty()
    }
}

impl Default for Types {
    /// [`Types::common`].
    fn default() -> Self {
        Types::common()
    }
}

/// The extension of a path's last segment, as nginx takes it: `None` for no dot, a leading dot, or nothing after it.
///
/// ```
/// use static_files::extension;
/// assert_eq!(extension(b"a/b.tar.GZ"), Some(&b"GZ"[..]));
/// assert_eq!(extension(b"a/.profile"), None);
/// assert_eq!(extension(b"a.d/file"), None);
/// ```
pub fn extension(path: &[u8]) -> Option<&[u8]> {
    let last = path.iter().rev().position(|&b| b == b'/' || b == b'.')?;
    let at = path.len() - 1 - last;
    let is_leading = at == 0 || path[at - 1] == b'/';
    (path[at] == b'.' && !is_leading && last > 0).then(|| &path[at + 1..])
}

fn fit(value: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

fn has_charset(value: &[u8]) -> bool {
    http_wire::list::parameters(value).any(|(name, _)| name.eq_ignore_ascii_case(b"charset"))
}

/// FNV-1a: extensions are short, and the table is the operator's, so nobody can crowd it.
#[derive(Clone, Copy)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    // The length of the key says nothing that its bytes don't.
    fn write_usize(&mut self, _: usize) {}
}

impl fmt::Debug for Fnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fnv")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_is_what_follows_the_last_dot_of_the_last_segment() {
        let cases: &[(&str, Option<&str>)] = &[
            ("a.html", Some("html")),
            ("/x/a.tar.gz", Some("gz")),
            ("a", None),
            ("", None),
            ("/", None),
            ("a.", None),
            ("a..", None),
            ("a..b", Some("b")),
            (".htaccess", None),
            ("/x/.htaccess", None),
            ("/x/.a.b", Some("b")),
            ("/x.d/file", None),
            ("/x.d/", None),
        ];
        for (path, expected) in cases {
            assert_eq!(
                extension(path.as_bytes()),
                expected.map(str::as_bytes),
                "{path}"
            );
        }
    }

    #[test]
    fn case_does_not_matter_on_either_side() {
        let types = Types::new("").with("image/jpeg", ["JpG"]);
        for path in ["a.jpg", "a.JPG", "a.jPg"] {
            assert_eq!(types.of(path.as_bytes()).unwrap(), "image/jpeg");
        }
        assert_eq!(types.of(b"a.png"), None);
    }

    #[test]
    fn what_no_field_can_have_is_no_type() {
        for default in ["", "text/plain\n", "a\0b"] {
            assert_eq!(Types::new(default).of(b"a"), None);
        }
        let types = Types::new("d/d").with("text/plain\r\nX: y", ["txt"]);
        assert_eq!(types.of(b"a.txt").unwrap(), "d/d");
        let error = types.with_charset("utf\n8", |_| true).unwrap_err();
        assert!(!error.to_string().is_empty());
    }

    #[test]
    fn the_later_type_wins() {
        let types = Types::new("").with("a/a", ["x", "y"]).with("b/b", ["x"]);
        assert_eq!(types.of(b"1.x").unwrap(), "b/b");
        assert_eq!(types.of(b"1.y").unwrap(), "a/a");
    }

    #[test]
    fn long_extensions_get_the_default_type() {
        let at = "e".repeat(EXTENSION_MAX);
        let past = "e".repeat(EXTENSION_MAX + 1);
        let types = Types::new("d/d").with("a/a", [&at, &past]);
        assert_eq!(types.of(format!("f.{at}").as_bytes()).unwrap(), "a/a");
        assert_eq!(types.of(format!("f.{past}").as_bytes()).unwrap(), "d/d");
    }

    #[test]
    fn a_charset_is_added_once_and_only_where_it_applies() {
        let types = Types::new("text/plain")
            .with("text/html", ["html"])
            .with("text/css; charset=latin1", ["css"])
            .with("image/png", ["png"])
            .with_charset("utf-8", |value| value.starts_with(b"text/"))
            .unwrap();
        assert_eq!(types.of(b"a.html").unwrap(), "text/html; charset=utf-8");
        assert_eq!(types.of(b"a.css").unwrap(), "text/css; charset=latin1");
        assert_eq!(types.of(b"a.png").unwrap(), "image/png");
        assert_eq!(types.of(b"a").unwrap(), "text/plain; charset=utf-8");
    }

    #[test]
    fn the_common_table_is_sound() {
        let types = Types::common();
        let count: usize = common::TYPES
            .iter()
            .map(|(_, extensions)| extensions.split(' ').count())
            .sum();
        assert_eq!(types.len(), count, "an extension is listed twice");
        for (value, extensions) in common::TYPES {
            assert!(
                value
                    .split_once('/')
                    .is_some_and(|(kind, sub)| !kind.is_empty() && !sub.is_empty()),
                "{value}"
            );
            for extension in extensions.split(' ') {
                assert!(
                    !extension.is_empty() && extension.len() <= EXTENSION_MAX,
                    "{value}"
                );
                assert_eq!(extension, extension.to_ascii_lowercase(), "{value}");
            }
        }
        assert_eq!(types.of(b"app.js").unwrap(), "text/javascript");
        assert_eq!(types.of(b"core").unwrap(), "application/octet-stream");
    }
}
