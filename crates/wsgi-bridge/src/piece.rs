//! Content that an application gives, as bytes of ours.

use bytes::Bytes;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The bytes of a piece of content. Small ones are copied, large ones are borrowed from Python until they are sent.
pub fn bytes_of(item: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    const COPIED: usize = 16 << 10;
    let Ok(item) = item.cast::<PyBytes>() else {
        let kind = item
            .get_type()
            .name()
            .map_or_else(|_| "?".to_owned(), |name| name.to_string());
        return Err(PyTypeError::new_err(format!(
            "response content must be bytes, not {kind}"
        )));
    };
    let bytes = item.as_bytes();
    if bytes.len() <= COPIED {
        return Ok(Bytes::copy_from_slice(bytes));
    }
    Ok(Bytes::from_owner(Borrowed {
        start: bytes.as_ptr(),
        len: bytes.len(),
        _item: item.clone().unbind(),
    }))
}

/// Bytes that belong to a Python object.
struct Borrowed {
    start: *const u8,
    len: usize,
    _item: Py<PyBytes>,
}

// SAFETY: a Python bytes object never changes, and the reference keeps it alive; its count is only touched while attached
// (pyo3 defers a drop on a detached thread).
unsafe impl Send for Borrowed {}
// SAFETY: as above.
unsafe impl Sync for Borrowed {}

impl AsRef<[u8]> for Borrowed {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `start` and `len` are those of the bytes object that `_item` keeps alive.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}
