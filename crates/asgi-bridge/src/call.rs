//! A call of the application for one request or WebSocket: its task, and what becomes of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::timers;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wsgi_bridge::{Facts, Level};

use crate::core::Core;

/// What a call is about: an exchange, or a WebSocket.
pub(crate) trait Conversation: Send + Sync + 'static {
    fn core(&self) -> &Arc<Core>;
    fn facts(&self) -> &Arc<Facts>;

    /// The scope.
    ///
    /// # Errors
    /// Python's.
    fn scope<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>>;

    /// The application returned (`None`) or raised. What is to be said of it is in the log already.
    fn over(self: Arc<Self>, raised: bool);

    /// Words for an application that returned too early; `None` when it did not.
    fn unfinished(&self) -> Option<&'static str>;

    /// The first step is over, and the application waits.
    fn waits(self: &Arc<Self>);

    /// Whether the client has left.
    fn is_gone(&self) -> bool;

    /// How far the call is.
    fn progress(&self) -> &Mutex<Progress>;

    /// Before the application is called.
    ///
    /// # Errors
    /// Of a hook: the application is not called then.
    fn before(&self, _py: Python<'_>) -> PyResult<()> {
        Ok(())
    }

    /// After the call.
    fn after(&self, _py: Python<'_>) {}
}

/// How far a call is.
#[derive(Default)]
pub(crate) enum Progress {
    /// The application will be called, when its loop comes to it.
    #[default]
    Due,
    /// Its task runs.
    Runs(Py<PyAny>),
    Over,
}

/// Calls the application. Its first step has been taken when this returns, if that is possible.
pub(crate) fn begin<C: Conversation>(
    conversation: &Arc<C>,
    receive: impl FnOnce(Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)> + Send + 'static,
) {
    let core = conversation.core();
    let this = conversation.clone();
    core.home.errand(move |py| {
        let core = this.core();
        let step = core.home.may_step();
        let noted = core.settings.notes;
        if noted {
            core.hooks.began(core.settings.slot, this.facts());
        }
        let task = core.home.inside(|| start(py, &this, receive, step));
        if noted {
            core.hooks.ended(core.settings.slot);
        }
        match task {
            Ok(task) => watch(&task, &this),
            Err(error) => finished(py, this, Some(error)),
        }
    });
}

fn start<'py, C: Conversation>(
    py: Python<'py>,
    conversation: &Arc<C>,
    receive: impl FnOnce(Python<'_>) -> PyResult<(Py<PyAny>, Py<PyAny>)>,
    step: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let core = conversation.core();
    conversation.before(py)?;
    let scope = conversation.scope(py)?;
    let (receive, send) = receive(py)?;
    let coroutine = core.application.bind(py).call1((scope, receive, send))?;
    core.tasks.start(coroutine, step)
}

/// Sees to it that the end of a task is noticed.
fn watch<C: Conversation>(task: &Bound<'_, PyAny>, conversation: &Arc<C>) {
    let py = task.py();
    let done = task
        .call_method0(intern!(py, "done"))
        .and_then(|done| done.is_truthy());
    if !matches!(done, Ok(false)) {
        return finished(py, conversation.clone(), outcome(task));
    }
    let core = conversation.core();
    core.tasks.hold(task);
    *lock(conversation.progress()) = Progress::Runs(task.clone().unbind());
    let this = conversation.clone();
    let end = End(Box::new(move |task| {
        this.core().tasks.over(task);
        finished(task.py(), this.clone(), outcome(task));
    }));
    let added = Py::new(py, end)
        .and_then(|end| task.call_method1(intern!(py, "add_done_callback"), (end,)));
    if let Err(error) = added {
        core.hooks.raised(py, "A task cannot be watched", &error);
    }
    conversation.waits();
}

/// What a task that is done raised.
fn outcome(task: &Bound<'_, PyAny>) -> Option<PyErr> {
    let py = task.py();
    match task.call_method0(intern!(py, "exception")) {
        Ok(error) if error.is_none() => None,
        Ok(error) => Some(PyErr::from_value(error)),
        // It was cancelled.
        Err(error) => Some(error),
    }
}

fn finished<C: Conversation>(py: Python<'_>, conversation: Arc<C>, error: Option<PyErr>) {
    let core = conversation.core();
    match &error {
        Some(error) if core.is_disconnect(py, error) => {}
        Some(error) if is_cancelled(py, error) && conversation.is_gone() => {}
        Some(error) => core.hooks.raised(py, "Error in ASGI application", error),
        None => {
            if let Some(words) = conversation.unfinished() {
                core.hooks.log(Level::Error, words);
            }
        }
    }
    let core = core.clone();
    let task = std::mem::replace(&mut *lock(conversation.progress()), Progress::Over);
    drop(task);
    let over = conversation.clone();
    over.over(error.is_some());
    conversation.after(py);
    core.home.flush();
}

fn is_cancelled(py: Python<'_>, error: &PyErr) -> bool {
    error
        .get_type(py)
        .name()
        .is_ok_and(|name| name == "CancelledError")
}

/// Called with the task when it is done.
#[pyclass(frozen, name = "end", module = "viaduct")]
struct End(Box<Watcher>);

type Watcher = dyn Fn(&Bound<'_, PyAny>) + Send + Sync;

#[pymethods]
impl End {
    fn __call__(&self, task: &Bound<'_, PyAny>) {
        (self.0)(task);
    }
}

/// Cancels the application's task if it still runs some time after its client left.
pub(crate) fn cancel_later<C: Conversation>(conversation: &Arc<C>) {
    let home = &conversation.core().home;
    let Some(grace) = conversation.core().settings.disconnect_grace else {
        return;
    };
    // A call that is due counts: its errand reaches the loop before ours.
    if matches!(*lock(conversation.progress()), Progress::Over) {
        return;
    }
    let this = conversation.clone();
    home.spawn(async move {
        timers::sleep(grace).await;
        let held = this.clone();
        this.core().home.errand(move |py| {
            let task = match &*lock(held.progress()) {
                Progress::Runs(task) => task.clone_ref(py),
                Progress::Due | Progress::Over => return,
            };
            let _ = task.bind(py).call_method0("cancel");
        });
    });
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
