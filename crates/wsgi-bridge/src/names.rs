//! The keys of fields in the environ, made once: `HTTP_ACCEPT` for `Accept`, and so on for each name that clients send.

use std::collections::HashMap;

use http_wire::Known;
use http_wire::fields::FieldName;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Names other than the well-known ones are remembered up to this many, and only short ones, so that clients cannot fill
/// the memory with names of their invention.
const REMEMBERED_MAX: usize = 512;
const REMEMBERED_BYTES: usize = 64;

/// Python's keys for field names.
pub(crate) struct Names {
    known: Vec<Py<PyString>>,
    others: HashMap<Box<[u8]>, Py<PyString>>,
}

/// The key of a field.
pub(crate) enum Key<'a> {
    /// A well-known name, or one that was seen before.
    Ready(&'a Py<PyString>),
    /// One that is not remembered.
    Fresh(Py<PyString>),
}

impl Key<'_> {
    pub fn as_ptr(&self) -> *mut pyo3::ffi::PyObject {
        match self {
            Self::Ready(key) => key.as_ptr(),
            Self::Fresh(key) => key.as_ptr(),
        }
    }
}

impl Names {
    pub fn new(py: Python<'_>) -> Self {
        let known = Known::all()
            .iter()
            .map(|name| PyString::intern(py, &spell(name.as_str())).unbind());
        Self {
            known: known.collect(),
            others: HashMap::new(),
        }
    }

    /// The key of a well-known name.
    pub fn known(&self, name: Known) -> &Py<PyString> {
        &self.known[name as usize]
    }

    /// The key of any name.
    pub fn key(&mut self, py: Python<'_>, name: FieldName<'_>) -> Key<'_> {
        if let Some(known) = name.known() {
            return Key::Ready(&self.known[known as usize]);
        }
        let bytes = name.as_bytes();
        if bytes.len() > REMEMBERED_BYTES
            || (self.others.len() >= REMEMBERED_MAX && !self.others.contains_key(bytes))
        {
            return Key::Fresh(PyString::new(py, &spell(name.as_str())).unbind());
        }
        if !self.others.contains_key(bytes) {
            let key = PyString::intern(py, &spell(name.as_str())).unbind();
            self.others.insert(bytes.into(), key);
        }
        Key::Ready(&self.others[bytes])
    }
}

/// `HTTP_` and the name in capitals, with `_` for `-`; the two names of CGI that go without `HTTP_`.
pub(crate) fn spell(name: &str) -> String {
    let upper = |byte: u8| {
        if byte == b'-' {
            '_'
        } else {
            char::from(byte.to_ascii_uppercase())
        }
    };
    let plain =
        name.eq_ignore_ascii_case("content-type") || name.eq_ignore_ascii_case("content-length");
    let prefix = if plain { "" } else { "HTTP_" };
    prefix.chars().chain(name.bytes().map(upper)).collect()
}

#[cfg(test)]
mod tests {
    use http_wire::fields::Fields;

    use super::*;

    #[test]
    fn names_are_spelled_as_cgi_does() {
        assert_eq!(spell("X-Forwarded-For"), "HTTP_X_FORWARDED_FOR");
        assert_eq!(spell("content-TYPE"), "CONTENT_TYPE");
        assert_eq!(spell("Content-Length"), "CONTENT_LENGTH");
        assert_eq!(spell("Content-Lengthy"), "HTTP_CONTENT_LENGTHY");
    }

    #[test]
    fn the_memory_for_invented_names_is_limited() {
        let remembered = crate::tests::with_python(|py| {
            let mut names = Names::new(py);
            for number in 0..REMEMBERED_MAX + 100 {
                let mut fields = Fields::new();
                fields
                    .append(format!("X-Invented-{number}").as_str(), "1")
                    .expect("is a field");
                fields
                    .append("x".repeat(REMEMBERED_BYTES + 1).as_str(), "1")
                    .expect("is a field");
                for (name, _) in &fields {
                    let expected = spell(name.as_str());
                    let key = names.key(py, name);
                    // SAFETY: the key lives as long as the borrow.
                    let text = unsafe { Bound::from_borrowed_ptr(py, key.as_ptr()) };
                    assert_eq!(text.to_string(), expected);
                }
            }
            names.others.len()
        });
        assert_eq!(remembered, REMEMBERED_MAX);
    }
}
