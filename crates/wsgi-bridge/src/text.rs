//! Between Python's strings and the bytes of HTTP, which PEP 3333 maps onto each other by latin-1.

use std::os::raw::c_char;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

unsafe extern "C" {
    /// Part of the stable ABI since 3.10, exported with the same signature by every CPython 3.9 too; pyo3 leaves it out
    /// when it is asked for 3.9.
    fn PyUnicode_AsUTF8AndSize(
        text: *mut ffi::PyObject,
        size: *mut ffi::Py_ssize_t,
    ) -> *const c_char;
}

/// The text of a Python string, borrowed from it. Free of allocation for ASCII, which is what HTTP is made of.
///
/// # Errors
/// `UnicodeEncodeError` when the string has lone surrogates.
pub fn borrow<'a>(text: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    let mut size: ffi::Py_ssize_t = 0;
    // SAFETY: `text` is a live str and we are attached. The returned memory belongs to the str, which the borrow keeps alive,
    // and does not move; its content is UTF-8 by contract.
    unsafe {
        let start = PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut size);
        if start.is_null() {
            return Err(PyErr::fetch(text.py()));
        }
        let bytes =
            std::slice::from_raw_parts(start.cast::<u8>(), usize::try_from(size).unwrap_or(0));
        Ok(std::str::from_utf8_unchecked(bytes))
    }
}

/// A Python string of these bytes, each a character of latin-1.
///
/// # Errors
/// `MemoryError`.
pub fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: the pointer and the length describe a live slice; the result is a new reference to a str, or null with an
    // exception set.
    unsafe {
        let made = ffi::PyUnicode_DecodeLatin1(
            bytes.as_ptr().cast::<c_char>(),
            bytes.len() as ffi::Py_ssize_t,
            std::ptr::null(),
        );
        Ok(Bound::from_owned_ptr_or_err(py, made)?.cast_into_unchecked())
    }
}

/// Appends the latin-1 bytes of a text.
///
/// # Errors
/// The first character that latin-1 does not have.
pub fn append_latin1(text: &str, out: &mut Vec<u8>) -> Result<(), char> {
    if text.is_ascii() {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    for character in text.chars() {
        out.push(u8::try_from(u32::from(character)).map_err(|_| character)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin1_goes_there_and_back() {
        let all: Vec<u8> = (0..=255).collect();
        let back = crate::tests::with_python(|py| {
            let text = latin1(py, &all).expect("makes a str");
            let mut back = Vec::new();
            append_latin1(borrow(&text).expect("is text"), &mut back).expect("is latin-1");
            back
        });
        assert_eq!(back, all);
    }

    #[test]
    fn characters_beyond_latin1_and_lone_surrogates_are_refused() {
        assert_eq!(
            append_latin1("caf\u{e9} \u{20ac}", &mut Vec::new()),
            Err('\u{20ac}')
        );
        crate::tests::with_python(|py| {
            let lone = py
                .eval(c"'\\ud800'", None, None)
                .expect("evaluates")
                .cast_into::<PyString>()
                .expect("is a str");
            assert!(borrow(&lone).is_err());
        });
    }
}
