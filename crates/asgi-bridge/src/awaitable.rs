//! What `receive()` and `send()` return: objects for `await`, without a future of Python's where the answer is at hand.
//!
//! They have the methods of a coroutine, so that `asyncio.create_task(receive())` works as it does with `async def receive()`.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::home::Home;

/// What can be waited for.
pub(crate) trait Awaited: Send + Sync {
    /// The value, if it is there.
    ///
    /// # Errors
    /// What is raised instead.
    fn take(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>>;

    /// Has this future resolved when it may be.
    fn wait(&self, future: Py<PyAny>);

    /// Nobody waits with this future any more.
    fn give_up(&self, py: Python<'_>, future: &Py<PyAny>);
}

/// Done, with `None`.
#[pyclass(frozen, name = "Done", module = "viaduct")]
pub(crate) struct Done;

#[pymethods]
impl Done {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, _traceback=None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Err(thrown(kind, value))
    }

    fn close(&self) {}
}

/// Done, with a value.
#[pyclass(frozen, name = "Ready", module = "viaduct")]
pub(crate) struct Ready(Mutex<Option<Py<PyAny>>>);

impl Ready {
    pub fn new(value: Py<PyAny>) -> Self {
        Self(Mutex::new(Some(value)))
    }

    fn take(&self) -> Option<Py<PyAny>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Ready {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self) -> PyResult<Option<Py<PyAny>>> {
        match self.take() {
            Some(value) => Err(PyStopIteration::new_err((value,))),
            None => Err(again()),
        }
    }

    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        self.__next__()
    }

    #[pyo3(signature = (kind, value=None, _traceback=None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Err(thrown(kind, value))
    }

    fn close(&self) {}
}

/// To be waited for.
#[pyclass(frozen, name = "Waiting", module = "viaduct")]
pub(crate) struct Waiting {
    home: Arc<Home>,
    awaited: Arc<dyn Awaited>,
    future: Mutex<Option<Py<PyAny>>>,
}

impl Waiting {
    pub fn new(home: Arc<Home>, awaited: Arc<dyn Awaited>) -> Self {
        Self {
            home,
            awaited,
            future: Mutex::default(),
        }
    }

    fn put(&self, future: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        let mut place = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, future)
    }

    fn leave(&self, py: Python<'_>) {
        if let Some(future) = self.put(None) {
            self.awaited.give_up(py, &future);
        }
    }
}

#[pymethods]
impl Waiting {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.leave(py);
        if let Some(value) = self.awaited.take(py)? {
            return done(py, value);
        }
        let event_loop = self.home.event_loop().bind(py);
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        // What `yield from future` does.
        future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        let future = future.unbind();
        self.put(Some(future.clone_ref(py)));
        self.awaited.wait(future.clone_ref(py));
        // What came before the future was known resolves nothing.
        if self.home.is_elsewhere()
            && let Some(value) = self.awaited.take(py).transpose()
        {
            self.leave(py);
            return done(py, value?);
        }
        Ok(Some(future))
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match self.__next__(py)? {
            Some(future) => Ok(future),
            None => Err(PyStopIteration::new_err(())),
        }
    }

    #[pyo3(signature = (kind, value=None, _traceback=None))]
    fn throw(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        self.leave(py);
        Err(thrown(kind, value))
    }

    fn close(&self, py: Python<'_>) {
        self.leave(py);
    }
}

/// The end of waiting, for `__next__`.
fn done(py: Python<'_>, value: Py<PyAny>) -> PyResult<Option<Py<PyAny>>> {
    if value.is_none(py) {
        return Ok(None);
    }
    Err(PyStopIteration::new_err((value,)))
}

fn again() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited receive()")
}

/// The exception of `throw(type, value, traceback)` or `throw(value)`.
fn thrown(kind: &Bound<'_, PyAny>, value: Option<&Bound<'_, PyAny>>) -> PyErr {
    match value.filter(|value| !value.is_none()) {
        Some(value) if value.is_instance_of::<pyo3::exceptions::PyBaseException>() => {
            PyErr::from_value(value.clone())
        }
        Some(value) => match kind.call1((value,)) {
            Ok(value) => PyErr::from_value(value),
            Err(error) => error,
        },
        None if kind.is_instance_of::<pyo3::exceptions::PyBaseException>() => {
            PyErr::from_value(kind.clone())
        }
        None => match kind.call1(PyTuple::empty(kind.py())) {
            Ok(value) => PyErr::from_value(value),
            Err(error) => error,
        },
    }
}

/// Takes a future out of a list, for the caller to drop when nothing is locked.
pub(crate) fn forget(waiting: &mut Vec<Py<PyAny>>, future: &Py<PyAny>) -> Option<Py<PyAny>> {
    let at = waiting.iter().position(|other| other.is(future))?;
    Some(waiting.swap_remove(at))
}
