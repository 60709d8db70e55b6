//! `start_response` as Python calls it: a builtin function, whose arguments come as they lie on the interpreter's stack.
//!
//! A class with `__call__` would cost a tuple of arguments and its taking apart for each request.

use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use crate::start::{StartResponse, Write};

/// The calling convention "self, array of arguments, their number". Part of the stable ABI since 3.10, and understood by every
/// CPython since 3.7; pyo3 leaves it out when it is asked for 3.9.
const METH_FASTCALL: c_int = 0x80;

struct Definition(ffi::PyMethodDef);

// SAFETY: it is never written to, and its pointers lead to constants.
unsafe impl Sync for Definition {}

static DEFINITION: Definition = Definition(ffi::PyMethodDef {
    ml_name: c"start_response".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer {
        // SAFETY: the flags tell Python by which convention the function is called; the union has no variant for it here.
        PyCFunction: unsafe { std::mem::transmute::<FastCall, ffi::PyCFunction>(call) },
    },
    ml_flags: METH_FASTCALL,
    ml_doc: DOC.as_ptr().cast::<c_char>(),
});

const DOC: &std::ffi::CStr =
    c"start_response(status, headers, exc_info=None, /)\n--\n\nBegins the response (PEP 3333).";

type FastCall = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
) -> *mut ffi::PyObject;

/// A `start_response`, which can serve one request after the other.
pub(crate) struct Starter {
    callable: Py<PyCFunction>,
    state: Py<StartResponse>,
}

impl Starter {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let state = Py::new(py, StartResponse::new(py)?)?;
        // SAFETY: the definition lives for ever and is only read; the result is a new reference, or null with an exception set.
        let callable = unsafe {
            let made = ffi::PyCFunction_NewEx(
                (&raw const DEFINITION.0).cast_mut(),
                state.as_ptr(),
                std::ptr::null_mut(),
            );
            Bound::from_owned_ptr_or_err(py, made)?.cast_into_unchecked()
        };
        Ok(Self {
            callable: callable.unbind(),
            state,
        })
    }

    /// What the application is given.
    pub fn callable(&self) -> &Py<PyCFunction> {
        &self.callable
    }

    /// What it writes to.
    pub fn state(&self) -> &StartResponse {
        self.state.get()
    }

    /// Whether nobody but the bridge holds the callable or anything that comes with it, so that it can serve another request.
    pub fn is_free(&self) -> bool {
        // SAFETY: the objects are alive and the caller is attached. A count that reads too high only means that it is not used again.
        let count = |object: *mut ffi::PyObject| unsafe { ffi::Py_REFCNT(object) };
        // The callable holds the state, too.
        count(self.callable.as_ptr()) == 1
            && count(self.state.as_ptr()) == 2
            && self.state.get().is_free()
    }
}

/// Called by Python, attached; must not unwind.
unsafe extern "C" fn call(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        Python::attach(|py| {
            // SAFETY: Python passes the object that the callable was made with, and `count` references, all of them alive for the
            // duration of the call.
            let written = unsafe {
                let this = Borrowed::from_ptr(py, this).cast_unchecked::<StartResponse>();
                let arguments = std::slice::from_raw_parts(arguments, count.unsigned_abs());
                start(py, this.get(), arguments)
            };
            written.map_or_else(
                |error| {
                    error.restore(py);
                    std::ptr::null_mut()
                },
                Py::into_ptr,
            )
        })
    }));
    outcome.unwrap_or_else(|_| {
        Python::attach(|py| PyRuntimeError::new_err("start_response() panicked").restore(py));
        std::ptr::null_mut()
    })
}

/// # Safety
/// The arguments are references to live objects.
unsafe fn start(
    py: Python<'_>,
    state: &StartResponse,
    arguments: &[*mut ffi::PyObject],
) -> PyResult<Py<Write>> {
    // SAFETY: the caller's promise.
    let argument = |at: usize| unsafe { Borrowed::from_ptr(py, arguments[at]) };
    match arguments.len() {
        2 => state.start(&argument(0), &argument(1), None),
        3 => state.start(&argument(0), &argument(1), Some(&argument(2))),
        count => Err(PyTypeError::new_err(format!(
            "start_response() takes status, headers and perhaps exc_info, got {count} arguments"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::with_python;

    #[test]
    fn is_called_with_two_or_three_arguments() {
        with_python(|py| {
            for (arguments, words) in [
                (c"()", "got 0 arguments"),
                (c"('200 OK',)", "got 1 arguments"),
                (c"('200 OK', [], None, 1)", "got 4 arguments"),
                (c"('200 OK', [])", "after the request ended"),
                (c"('200 OK', [], None)", "after the request ended"),
            ] {
                let starter = Starter::new(py).expect("is made");
                let arguments = py.eval(arguments, None, None).expect("evaluates");
                let arguments = arguments.cast_into().expect("is a tuple");
                let fault = starter
                    .callable()
                    .bind(py)
                    .call1(arguments)
                    .expect_err("raises");
                assert!(fault.to_string().contains(words), "{fault}");
            }
        });
    }

    #[test]
    fn is_free_until_somebody_keeps_a_part_of_it() {
        with_python(|py| {
            let starter = Starter::new(py).expect("is made");
            assert!(starter.is_free());
            let kept = starter.callable().clone_ref(py);
            assert!(!starter.is_free());
            drop(kept);
            assert!(starter.is_free());
            let kept = starter.state().hints().clone_ref(py);
            assert!(!starter.is_free());
            drop(kept);
            assert!(starter.is_free());
        });
    }
}
