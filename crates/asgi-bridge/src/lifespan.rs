//! The loop, and the application's lifespan on it. What has to do with asyncio's ways is Python, in `python/lifespan.py`.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyDict, PyList, PyTuple};
use wsgi_bridge::{Hooks, Level};

const SOURCE: &std::ffi::CStr = c"viaduct/lifespan.py";

/// A loop, which is the thread's from now on, and what it is: `asyncio` or `uvloop`. `kind` may be `auto` too: uvloop where it is
/// installed.
///
/// # Errors
/// Python's.
pub fn new_loop<'py>(py: Python<'py>, kind: &str) -> PyResult<(Bound<'py, PyAny>, String)> {
    module(py)?.call_method1("new_loop", (kind,))?.extract()
}

/// Cancels what is left on a loop and closes it.
///
/// # Errors
/// Python's.
pub fn close_loop(event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = event_loop.py();
    module(py)?
        .call_method1("close", (event_loop, PyList::empty(py)))
        .map(drop)
}

/// An application's lifespan.
pub struct Lifespan {
    inner: Py<PyAny>,
    event_loop: Py<PyAny>,
}

impl Lifespan {
    /// A lifespan that has not begun. `mode` is `auto`, `on` or `off`.
    ///
    /// # Errors
    /// Python's.
    pub fn new(
        event_loop: &Bound<'_, PyAny>,
        application: &Py<PyAny>,
        mode: &str,
        hooks: Arc<dyn Hooks>,
    ) -> PyResult<Self> {
        let py = event_loop.py();
        let log = PyCFunction::new_closure(
            py,
            None,
            None,
            move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
                log(&*hooks, arguments)
            },
        )?;
        let class = module(py)?.getattr("Lifespan")?;
        Ok(Self {
            inner: class.call1((application, mode, log))?.unbind(),
            event_loop: event_loop.clone().unbind(),
        })
    }

    /// Starts the application.
    ///
    /// # Errors
    /// It cannot serve; why.
    pub fn startup(&self, py: Python<'_>) -> Result<(), String> {
        let coroutine = self.inner.bind(py).call_method0("startup");
        let run = coroutine.and_then(|coroutine| self.run(coroutine));
        run.map_err(|error| {
            let words = error.value(py).to_string();
            format!("ASGI lifespan startup failed: {words}")
        })
    }

    /// Ends it, within so long.
    ///
    /// # Errors
    /// Python's.
    pub fn shutdown(&self, py: Python<'_>, within: Duration) -> PyResult<()> {
        let coroutine = self
            .inner
            .bind(py)
            .call_method1("shutdown", (within.as_secs_f64(),))?;
        self.run(coroutine)
    }

    /// What the application keeps for its requests.
    ///
    /// # Errors
    /// Python's.
    pub fn state(&self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        Ok(self
            .inner
            .bind(py)
            .getattr("state")?
            .cast_into::<PyDict>()?
            .unbind())
    }

    fn run(&self, coroutine: Bound<'_, PyAny>) -> PyResult<()> {
        let event_loop = self.event_loop.bind(coroutine.py());
        event_loop
            .call_method1("run_until_complete", (coroutine,))
            .map(drop)
    }
}

fn log(hooks: &dyn Hooks, arguments: &Bound<'_, PyTuple>) -> PyResult<()> {
    let level: u8 = arguments.get_item(0)?.extract()?;
    let message: String = arguments.get_item(1)?.extract()?;
    if let Ok(error) = arguments.get_item(2) {
        hooks.raised(arguments.py(), &message, &PyErr::from_value(error));
        return Ok(());
    }
    let level = match level {
        40.. => Level::Error,
        30.. => Level::Warning,
        _ => Level::Debug,
    };
    hooks.log(level, &message);
    Ok(())
}

fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let load = || {
        let source = std::ffi::CString::new(include_str!("../python/lifespan.py"))?;
        PyModule::from_code(py, &source, SOURCE, c"viaduct_asgi_lifespan").map(Bound::unbind)
    };
    Ok(MODULE.get_or_try_init(py, load)?.bind(py).clone())
}
