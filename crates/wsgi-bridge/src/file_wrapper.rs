//! `wsgi.file_wrapper`: an iterable over a file, and the way around iterating where the file is a real one.

use std::fs::File;
use std::os::fd::{BorrowedFd, RawFd};

use pyo3::PyTraverseError;
use pyo3::PyVisit;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};
use static_files::FileBody;

/// What an application wraps a file in: `environ["wsgi.file_wrapper"](file, block_size)`.
#[pyclass(frozen, subclass, name = "FileWrapper", module = "viaduct")]
pub(crate) struct FileWrapper {
    #[pyo3(get)]
    filelike: Py<PyAny>,
    #[pyo3(get)]
    blksize: isize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=8192))]
    fn new(filelike: Py<PyAny>, blksize: isize) -> Self {
        Self { filelike, blksize }
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self
            .filelike
            .bind(py)
            .call_method1("read", (self.blksize,))?;
        Ok(block.is_truthy()?.then_some(block))
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        _index: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.__next__(py)?
            .ok_or_else(|| PyIndexError::new_err("end of file"))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let file = self.filelike.bind(py);
        if let Some(close) = file.getattr_opt("close")? {
            close.call0()?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.filelike)
    }
}

/// The rest of a wrapped file, from where it stands, as a body that the kernel can send; at most `most` bytes. `None` where the
/// object is not a plain file on disk and has to be read.
///
/// The descriptor is duplicated, so that the application's file can be closed at once.
pub(crate) fn body(wrapper: &Bound<'_, FileWrapper>, most: Option<u64>) -> Option<FileBody> {
    let file = plain_file(wrapper.get().filelike.bind(wrapper.py()))?;
    let descriptor: RawFd = file.call_method0("fileno").ok()?.extract().ok()?;
    let position: u64 = file.call_method0("tell").ok()?.extract().ok()?;
    if descriptor < 0 {
        return None;
    }
    // SAFETY: the Python file object that just named the descriptor is alive and keeps it open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let file = File::from(descriptor.try_clone_to_owned().ok()?);
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let rest = metadata.len().saturating_sub(position);
    Some(FileBody::new(
        file,
        position,
        most.map_or(rest, |most| most.min(rest)),
    ))
}

/// The file object of Python's own that is behind this one. Wrappers such as Django's `File` and temporary files keep it in `file`.
///
/// An object of another kind may have a `fileno` that leads somewhere else: a `GzipFile`'s leads to the compressed bytes.
fn plain_file<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    static KINDS: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
    let py = object.py();
    let kinds = KINDS.get_or_try_init(py, || -> PyResult<_> {
        let io = py.import("io")?;
        let kind = |name| io.getattr(name)?.cast_into::<PyType>().map_err(PyErr::from);
        let kinds = [
            kind("FileIO")?,
            kind("BufferedReader")?,
            kind("BufferedRandom")?,
        ];
        Ok(PyTuple::new(py, kinds)?.unbind())
    });
    let kinds = kinds.ok()?.bind(py);
    let mut object = object.clone();
    for _ in 0..4 {
        let kind = object.get_type();
        if kinds.iter().any(|plain| plain.is(&kind)) {
            return buffers_a_file(&object, kinds).then_some(object);
        }
        object = object.getattr_opt("file").ok()??;
    }
    None
}

/// A buffered reader may stand on something other than a file.
fn buffers_a_file(object: &Bound<'_, PyAny>, kinds: &Bound<'_, PyTuple>) -> bool {
    match object.getattr_opt("raw") {
        Ok(Some(raw)) => kinds.get_item(0).is_ok_and(|file| raw.get_type().is(&file)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::with_python;

    /// Makes the body of a Python expression's file, which stands in a directory with `plain.txt` ("0123456789").
    fn remaining(code: &str, most: Option<u64>) -> Option<u64> {
        let dir = tempfile::tempdir().expect("makes a directory");
        std::fs::write(dir.path().join("plain.txt"), "0123456789").expect("writes");
        with_python(|py| {
            let scope = pyo3::types::PyDict::new(py);
            scope
                .set_item("path", dir.path().join("plain.txt").display().to_string())
                .expect("sets");
            let setup = c"import gzip, io, os, tempfile\nclass Wrapper:\n  def __init__(self, file): self.file = file";
            py.run(setup, Some(&scope), None).expect("runs");
            let code = std::ffi::CString::new(code).expect("has no NUL");
            let file = py
                .eval(&code, Some(&scope), None)
                .expect("evaluates")
                .unbind();
            let wrapper = Bound::new(py, FileWrapper::new(file, 4)).expect("is made");
            body(&wrapper, most).map(|body| body.len())
        })
    }

    #[test]
    fn plain_files_are_sent_from_where_they_stand() {
        assert_eq!(remaining("open(path, 'rb')", None), Some(10));
        assert_eq!(remaining("open(path, 'rb', buffering=0)", Some(4)), Some(4));
        assert_eq!(
            remaining("(lambda f: (f.read(3), f)[1])(open(path, 'rb'))", None),
            Some(7)
        );
        assert_eq!(
            remaining("(lambda f: (f.seek(20), f)[1])(open(path, 'r+b'))", None),
            Some(0)
        );
        assert_eq!(
            remaining("Wrapper(Wrapper(open(path, 'rb')))", None),
            Some(10)
        );
        assert_eq!(remaining("tempfile.NamedTemporaryFile()", None), Some(0));
    }

    #[test]
    fn everything_else_is_read() {
        for other in [
            "io.BytesIO(b'abc')",
            "open(path)",
            "gzip.GzipFile(path)",
            "io.BufferedReader(gzip.GzipFile(path))",
            "os.fdopen(os.pipe()[0], 'rb')",
            "object()",
        ] {
            assert_eq!(remaining(other, None), None, "{other}");
        }
    }

    #[test]
    fn is_an_iterator_that_closes_its_file() {
        with_python(|py| {
            let scope = pyo3::types::PyDict::new(py);
            scope
                .set_item("W", py.get_type::<FileWrapper>())
                .expect("sets");
            let code = c"import io\nf = io.BytesIO(b'abcde')\nw = W(f, 2)\ngot = list(w)\nw.close()\nclosed = f.closed\nW(object()).close()";
            py.run(code, Some(&scope), None).expect("runs");
            let got: Vec<Vec<u8>> = scope
                .get_item("got")
                .expect("gets")
                .expect("is set")
                .extract()
                .expect("is bytes");
            assert_eq!(got, [b"ab".to_vec(), b"cd".to_vec(), b"e".to_vec()]);
            assert!(
                scope
                    .get_item("closed")
                    .expect("gets")
                    .expect("is set")
                    .is_truthy()
                    .expect("is a bool")
            );
        });
    }
}
