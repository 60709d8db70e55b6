//! Tasks for calls of the application, whose first step runs at once.
//!
//! `asyncio.Task` asks its loop, by `call_soon`, to run the first step. While a task is made the loop's `call_soon` is ours: it keeps
//! the step, and we take it, in the task's context. So an application that answers without waiting is done before the loop has
//! turned once, and yet runs in a real task. (Python 3.12 has this as `eager_start`; it needs no trick there, but there is one way
//! for all versions.) Where that cannot be done the loop takes the first step, as usual.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// Makes tasks.
pub(crate) struct Tasks {
    event_loop: Py<PyAny>,
    task: Py<PyAny>,
    keywords: Py<PyDict>,
    keep: Py<Keep>,
    /// The application's own way of making tasks, or a loop that cannot be tricked.
    eager: bool,
    /// The loop holds tasks weakly.
    running: Mutex<HashMap<usize, Py<PyAny>>>,
}

/// Stands in for `call_soon`.
#[pyclass(frozen, name = "keep", module = "viaduct")]
struct Keep(Mutex<Option<Step>>);

/// A step that was asked for, and its context.
type Step = (Py<PyAny>, Option<Py<PyAny>>);

#[pymethods]
impl Keep {
    #[pyo3(signature = (callback, *_arguments, context=None))]
    fn __call__(
        &self,
        callback: Py<PyAny>,
        _arguments: &Bound<'_, PyTuple>,
        context: Option<Py<PyAny>>,
    ) {
        *self.place() = Some((callback, context));
    }
}

impl Keep {
    fn place(&self) -> MutexGuard<'_, Option<Step>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    pub fn new(py: Python<'_>, event_loop: &Py<PyAny>) -> PyResult<Self> {
        let keywords = PyDict::new(py);
        keywords.set_item("loop", event_loop)?;
        let mut tasks = Self {
            event_loop: event_loop.clone_ref(py),
            task: py.import("asyncio")?.getattr("Task")?.unbind(),
            keywords: keywords.unbind(),
            keep: Py::new(py, Keep(Mutex::default()))?,
            eager: true,
            running: Mutex::default(),
        };
        tasks.eager = tasks.can_be_tricked(py);
        Ok(tasks)
    }

    fn can_be_tricked(&self, py: Python<'_>) -> bool {
        let event_loop = self.event_loop.bind(py);
        let set = event_loop.setattr(intern!(py, "call_soon"), &self.keep);
        set.is_ok() && event_loop.delattr(intern!(py, "call_soon")).is_ok()
    }

    /// Makes a task of a coroutine; with `step` its first step has been taken when this returns.
    ///
    /// # Errors
    /// Python's: what was given is no coroutine; or `SystemExit` and the like out of its first step.
    pub fn start<'py>(
        &self,
        coroutine: Bound<'py, PyAny>,
        step: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = coroutine.py();
        let event_loop = self.event_loop.bind(py);
        if !event_loop
            .call_method0(intern!(py, "get_task_factory"))?
            .is_none()
        {
            return event_loop.call_method1(intern!(py, "create_task"), (coroutine,));
        }
        if !(step && self.eager) {
            return self.make(coroutine);
        }
        event_loop.setattr(intern!(py, "call_soon"), &self.keep)?;
        let made = self.make(coroutine);
        event_loop.delattr(intern!(py, "call_soon"))?;
        let first = self.keep.get().place().take();
        let task = made?;
        match first {
            Some((first, Some(context))) => {
                context
                    .bind(py)
                    .call_method1(intern!(py, "run"), (first,))?;
            }
            Some((first, None)) => {
                first.bind(py).call0()?;
            }
            None => {}
        }
        Ok(task)
    }

    fn make<'py>(&self, coroutine: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = coroutine.py();
        self.task
            .bind(py)
            .call((coroutine,), Some(self.keywords.bind(py)))
    }

    /// Holds a task until it is [over](Tasks::over).
    pub fn hold(&self, task: &Bound<'_, PyAny>) {
        self.running()
            .insert(task.as_ptr() as usize, task.clone().unbind());
    }

    /// Lets go of a task.
    pub fn over(&self, task: &Bound<'_, PyAny>) {
        let held = self.running().remove(&(task.as_ptr() as usize));
        drop(held);
    }

    /// How many tasks are held.
    pub fn count(&self) -> usize {
        self.running().len()
    }

    /// The tasks that are held.
    pub fn held(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let running = self.running();
        running.values().map(|task| task.clone_ref(py)).collect()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<usize, Py<PyAny>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
