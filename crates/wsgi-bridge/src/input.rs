//! `wsgi.input`: the content of a request as the file-like object of PEP 3333.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use pyo3::exceptions::{PyEOFError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMemoryView, PySlice};

use crate::content::Collected;

/// What the application reads. It holds the complete content, so reading never waits for the client and never ends early:
/// content that was cut short, or whose chunked coding was broken, did not get here.
#[pyclass(frozen, name = "Input", module = "viaduct")]
pub(crate) struct Input {
    source: Mutex<Source>,
}

/// What is left to read: first from memory, then from a file.
#[derive(Default)]
struct Source {
    memory: VecDeque<Bytes>,
    file: Option<BufReader<File>>,
    left: u64,
}

impl Input {
    pub fn new(content: Collected) -> PyResult<Self> {
        let in_memory: usize = content.memory.iter().map(Bytes::len).sum();
        let mut source = Source {
            memory: content.memory,
            file: None,
            left: in_memory as u64,
        };
        if let Some((mut file, len)) = content.file {
            file.seek(SeekFrom::Start(0))?;
            source.left += len;
            source.file = Some(BufReader::with_capacity(64 << 10, file));
        }
        Ok(Self {
            source: Mutex::new(source),
        })
    }

    /// Bytes that can be read.
    pub fn len(&self) -> u64 {
        self.source().left
    }

    /// No content; good for any number of requests.
    pub fn empty() -> Self {
        Self {
            source: Mutex::default(),
        }
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Input {
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        size: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.source().read(py, limit(size)?)
    }

    #[pyo3(signature = (size=None, /))]
    fn read1<'py>(
        &self,
        py: Python<'py>,
        size: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut source = self.source();
        let ready = source.fill_buf()?.len();
        source.read(py, limit(size)?.min(ready as u64))
    }

    fn readinto(&self, py: Python<'_>, target: &Bound<'_, PyAny>) -> PyResult<usize> {
        let target = PyMemoryView::from(target)?.call_method1("cast", ("B",))?;
        let bytes = self.source().read(py, target.len()? as u64)?;
        let read = bytes.as_bytes().len();
        target.set_item(PySlice::new(py, 0, read as isize, 1), bytes)?;
        Ok(read)
    }

    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(
        &self,
        py: Python<'py>,
        size: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.source().line(limit(size)?)?))
    }

    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(
        &self,
        py: Python<'py>,
        hint: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let enough = Some(limit(hint)?)
            .filter(|hint| *hint > 0)
            .unwrap_or(u64::MAX);
        let lines = PyList::empty(py);
        let mut total = 0;
        while total < enough {
            let line = self.source().line(u64::MAX)?;
            if line.is_empty() {
                break;
            }
            total += line.len() as u64;
            lines.append(PyBytes::new(py, &line))?;
        }
        Ok(lines)
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.source().line(u64::MAX)?;
        Ok((!line.is_empty()).then(|| PyBytes::new(py, &line)))
    }

    fn readable(&self) -> bool {
        true
    }

    fn writable(&self) -> bool {
        false
    }

    fn seekable(&self) -> bool {
        false
    }

    #[getter]
    fn closed(&self) -> bool {
        false
    }

    fn close(&self) {}
}

impl Source {
    fn read<'py>(&mut self, py: Python<'py>, most: u64) -> PyResult<Bound<'py, PyBytes>> {
        let len = usize::try_from(most.min(self.left)).unwrap_or(usize::MAX);
        if let Some(first) = self.memory.front_mut()
            && first.len() >= len
        {
            let bytes = PyBytes::new(py, &first[..len]);
            self.consume(len);
            return Ok(bytes);
        }
        PyBytes::new_with(py, len, |bytes| match self.read_fully(bytes)? {
            read if read == bytes.len() => Ok(()),
            read => Err(PyEOFError::new_err(format!(
                "request content ends {} bytes early",
                bytes.len() - read
            ))),
        })
    }

    /// Fills as much of the buffer as there is content.
    fn read_fully(&mut self, mut buffer: &mut [u8]) -> PyResult<usize> {
        let mut total = 0;
        while !buffer.is_empty() {
            let read = Read::read(self, buffer)?;
            if read == 0 {
                break;
            }
            total += read;
            buffer = &mut buffer[read..];
        }
        Ok(total)
    }

    /// The next line with its end, or `most` bytes of it.
    fn line(&mut self, most: u64) -> PyResult<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let room = usize::try_from(most - line.len() as u64).unwrap_or(usize::MAX);
            let ready = self.fill_buf()?;
            let ready = &ready[..ready.len().min(room)];
            let end = memchr::memchr(b'\n', ready);
            let used = end.map_or(ready.len(), |at| at + 1);
            line.extend_from_slice(&ready[..used]);
            self.consume(used);
            if end.is_some() || used == 0 {
                return Ok(line);
            }
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = match (&self.memory.front(), &mut self.file) {
            // A large read from a file needs no buffer between.
            (None, Some(file)) => file.read(buffer)?,
            _ => {
                let ready = self.fill_buf()?;
                let len = ready.len().min(buffer.len());
                buffer[..len].copy_from_slice(&ready[..len]);
                self.consume(len);
                return Ok(len);
            }
        };
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        match (self.memory.front(), &mut self.file) {
            (Some(first), _) => Ok(first),
            (None, Some(file)) => file.fill_buf(),
            (None, None) => Ok(&[]),
        }
    }

    fn consume(&mut self, used: usize) {
        self.left = self.left.saturating_sub(used as u64);
        if let Some(first) = self.memory.front_mut() {
            first.advance(used);
            if first.is_empty() {
                self.memory.pop_front();
            }
        } else if let Some(file) = &mut self.file {
            file.consume(used);
        }
    }
}

/// A size as Python's files take it: absent, `None` or negative for everything.
fn limit(size: Option<Bound<'_, PyAny>>) -> PyResult<u64> {
    let Some(size) = size.filter(|size| !size.is_none()) else {
        return Ok(u64::MAX);
    };
    match size.extract::<i64>() {
        Ok(size) => Ok(u64::try_from(size).unwrap_or(u64::MAX)),
        Err(fault) if fault.is_instance_of::<PyTypeError>(size.py()) => {
            Err(PyTypeError::new_err("size must be an integer or None"))
        }
        Err(_) => Err(PyValueError::new_err("size is out of range")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::tests::{py_eq, with_python};

    fn content(memory: &[&str], file: Option<&str>) -> Collected {
        let file = file.map(|text| {
            let mut file = crate::spool::create(&std::env::temp_dir()).expect("makes a file");
            file.write_all(text.as_bytes()).expect("writes");
            (file, text.len() as u64)
        });
        Collected {
            memory: memory
                .iter()
                .map(|text| Bytes::copy_from_slice(text.as_bytes()))
                .collect(),
            file,
        }
    }

    /// Reads the same content, split in several ways, with a Python expression over `f`.
    fn check(code: &std::ffi::CStr, expected: &std::ffi::CStr) {
        with_python(|py| {
            for (memory, file) in [
                (&["one\ntwo\nthree"][..], None),
                (&["o", "ne\nt", "wo\n", "three"], None),
                (&["one\nt"], Some("wo\nthree")),
                (&[], Some("one\ntwo\nthree")),
            ] {
                let input = Bound::new(py, Input::new(content(memory, file)).expect("is made"))
                    .expect("is made");
                let scope = pyo3::types::PyDict::new(py);
                scope.set_item("f", input).expect("sets");
                let got = py.eval(code, Some(&scope), Some(&scope)).expect("runs");
                assert!(
                    py_eq(&got, expected),
                    "{code:?}: {got:?}, memory {memory:?}, file {file:?}"
                );
            }
        });
    }

    #[test]
    fn reads_by_size_and_to_the_end() {
        check(c"f.read()", c"b'one\\ntwo\\nthree'");
        check(c"f.read(-1)", c"b'one\\ntwo\\nthree'");
        check(c"f.read(None)", c"b'one\\ntwo\\nthree'");
        check(
            c"[f.read(5), f.read(0), f.read(5), f.read(5), f.read(5)]",
            c"[b'one\\nt', b'', b'wo\\nth', b'ree', b'']",
        );
        check(
            c"b''.join(iter(lambda: f.read1(4), b''))",
            c"b'one\\ntwo\\nthree'",
        );
        check(
            c"(lambda b: (f.readinto(b), bytes(b)))(bytearray(20))",
            c"(13, b'one\\ntwo\\nthree' + bytes(7))",
        );
    }

    #[test]
    fn reads_lines() {
        check(
            c"[f.readline(), f.readline(2), f.readline(9), f.readline(), f.readline()]",
            c"[b'one\\n', b'tw', b'o\\n', b'three', b'']",
        );
        check(c"f.readlines()", c"[b'one\\n', b'two\\n', b'three']");
        check(c"f.readlines(5)", c"[b'one\\n', b'two\\n']");
        check(c"list(f)", c"[b'one\\n', b'two\\n', b'three']");
        check(c"[f.readline(), f.read()]", c"[b'one\\n', b'two\\nthree']");
    }

    #[test]
    fn is_a_file_that_python_wraps() {
        check(
            c"__import__('io').BufferedReader(f).read(6)",
            c"b'one\\ntw'",
        );
    }

    #[test]
    fn what_is_empty_stays_empty() {
        with_python(|py| {
            let input = Bound::new(py, Input::empty()).expect("is made");
            let scope = pyo3::types::PyDict::new(py);
            scope.set_item("f", input).expect("sets");
            let code = c"[f.read(), f.read(10), f.readline(), f.readlines(), list(f)]";
            let got = py.eval(code, Some(&scope), Some(&scope)).expect("runs");
            assert!(py_eq(&got, c"[b'', b'', b'', [], []]"), "{got:?}");
            assert!(py.eval(c"f.read('x')", Some(&scope), None).is_err());
        });
    }

    #[test]
    fn a_spool_file_that_became_shorter_raises() {
        with_python(|py| {
            let (file, _) = content(&[], Some("short")).file.expect("has a file");
            let input = Input::new(Collected {
                memory: VecDeque::new(),
                file: Some((file, 9)),
            })
            .expect("is made");
            let fault = input.read(py, None).expect_err("raises");
            assert!(fault.is_instance_of::<PyEOFError>(py), "{fault}");
        });
    }
}
