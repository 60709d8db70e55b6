//! `start_response`, `write` and `wsgi.early_hints`: where the application says what its response is.

use http::StatusCode;
use pyo3::exceptions::{PyAssertionError, PyOSError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::answer::Shared;
use crate::outlet::{Fill, Pushed};
use crate::piece::bytes_of;
use crate::response_head::{Head, pair_of, read_field, read_head};
use crate::text;

/// What a `start_response` holds; [`Starter`](crate::starter::Starter) makes it callable.
#[pyclass(frozen, name = "start_response", module = "viaduct")]
pub(crate) struct StartResponse {
    answer: Shared,
    write: Py<Write>,
    hints: Py<EarlyHints>,
}

/// What `start_response` returns: `write(data)`.
#[pyclass(frozen, name = "write", module = "viaduct")]
pub(crate) struct Write {
    answer: Shared,
}

impl StartResponse {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let answer = Shared::default();
        let write = Py::new(
            py,
            Write {
                answer: answer.clone(),
            },
        )?;
        let hints = Py::new(
            py,
            EarlyHints {
                answer: answer.clone(),
            },
        )?;
        Ok(Self {
            answer,
            write,
            hints,
        })
    }

    /// The request's `wsgi.early_hints`.
    pub fn hints(&self) -> &Py<EarlyHints> {
        &self.hints
    }

    pub fn answer(&self) -> &Shared {
        &self.answer
    }

    /// Whether nobody but this holds `write` or the hints. The caller is attached.
    pub fn is_free(&self) -> bool {
        let free = |object: *mut ffi::PyObject| {
            // SAFETY: the object is alive and we are attached. A count that reads too high only means that it is not used again.
            unsafe { ffi::Py_REFCNT(object) == 1 }
        };
        free(self.write.as_ptr()) && free(self.hints.as_ptr())
    }

    /// The call, as PEP 3333 has it.
    pub fn start(
        &self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Write>> {
        let py = status.py();
        // Reading the fields may run Python code; nothing is locked meanwhile.
        let head = read_head(status, headers);
        let mut answer = self.answer.lock();
        if answer.is_over() {
            return Err(PyAssertionError::new_err(
                "start_response() called after the request ended",
            ));
        }
        match exc_info.filter(|exc_info| !exc_info.is_none()) {
            Some(exc_info) if answer.committed => return Err(raise_again(exc_info)),
            None if answer.started => {
                return Err(PyAssertionError::new_err("Response headers already set!"));
            }
            _ => answer.start(head?),
        }
        drop(answer);
        Ok(self.write.clone_ref(py))
    }
}

#[pymethods]
impl Write {
    #[pyo3(signature = (data, /))]
    fn __call__(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let piece = bytes_of(data)?;
        let mut answer = self.answer.lock();
        if answer.is_over() {
            return Err(PyAssertionError::new_err(
                "write() called after the request ended",
            ));
        }
        if !answer.started {
            return Err(PyAssertionError::new_err(
                "write() called before start_response()",
            ));
        }
        answer.committed |= !piece.is_empty();
        let Some(piece) = answer.admit(piece) else {
            return Ok(());
        };
        let Some((outlet, begin, waits)) = answer.open_outlet() else {
            return Ok(());
        };
        let fields = answer.fields.clone();
        drop(answer);
        if let Some((begin, head)) = begin {
            begin(head, outlet.clone(), fields);
        }
        let pushed = if waits {
            py.detach(|| outlet.push_waiting(&piece, || false))
        } else {
            outlet.push(&piece, Fill::Spool)
        };
        match pushed? {
            Pushed::Taken | Pushed::Gone => Ok(()),
            Pushed::Full => Err(PyOSError::new_err(
                "write(): the response is larger than what may be stored on its way",
            )),
        }
    }
}

/// `environ["wsgi.early_hints"]`: sends 103 (Early Hints) with the given fields ahead of the response. Does nothing for clients that
/// speak HTTP/1.0, and once the response has begun.
#[pyclass(frozen, name = "early_hints", module = "viaduct")]
pub(crate) struct EarlyHints {
    answer: Shared,
}

#[pymethods]
impl EarlyHints {
    #[pyo3(signature = (headers, /))]
    fn __call__(&self, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut head = Head::default();
        let mut scratch = Vec::new();
        for item in headers.try_iter()? {
            let (name, value) = pair_of(&item?)?;
            let pair = PyTuple::new(headers.py(), [text_of(name)?, text_of(value)?])?;
            read_field(&pair.into_any(), &mut head, &mut scratch)?;
        }
        let answer = self.answer.lock();
        if let Some(interim) = answer.interim.as_ref().filter(|_| !answer.committed) {
            interim.send(StatusCode::EARLY_HINTS, &head.fields);
        }
        Ok(())
    }
}

/// Names and values of early hints may be bytes.
fn text_of(item: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    match item.cast::<PyBytes>() {
        Ok(bytes) => Ok(text::latin1(item.py(), bytes.as_bytes())?.into_any()),
        Err(_) => Ok(item),
    }
}

/// The exception of an `exc_info` tuple.
fn raise_again(exc_info: &Bound<'_, PyAny>) -> PyErr {
    match exc_info.get_item(1) {
        Ok(value) if !value.is_none() => PyErr::from_value(value),
        Ok(_) => PyTypeError::new_err("exc_info has no exception"),
        Err(error) => error,
    }
}
