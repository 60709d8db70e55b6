//! What `receive()` and `send()` wait for, of an HTTP request and of a WebSocket alike.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::awaitable::Awaited;

/// A conversation whose application may have to wait.
pub(crate) trait Waits: Send + Sync + 'static {
    /// What `receive()` gives, if it is there.
    ///
    /// # Errors
    /// Python's.
    fn event(self: &Arc<Self>, py: Python<'_>) -> PyResult<Option<Py<PyAny>>>;

    /// Whether `send()` should wait.
    fn is_full(&self) -> bool;

    /// Has a future resolved when there is something to receive.
    fn await_event(&self, future: Py<PyAny>);

    /// Has a future resolved when there is room to send.
    fn await_room(&self, future: Py<PyAny>);

    /// Nobody waits with this future any more.
    fn forget(&self, future: &Py<PyAny>);
}

/// What `receive()` waits for.
pub(crate) struct Events<W>(pub Arc<W>);

impl<W: Waits> Awaited for Events<W> {
    fn take(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.0.event(py)
    }

    fn wait(&self, future: Py<PyAny>) {
        self.0.await_event(future);
    }

    fn give_up(&self, _py: Python<'_>, future: &Py<PyAny>) {
        self.0.forget(future);
    }
}

/// What `send()` waits for.
pub(crate) struct Room<W>(pub Arc<W>);

impl<W: Waits> Awaited for Room<W> {
    fn take(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok((!self.0.is_full()).then(|| py.None()))
    }

    fn wait(&self, future: Py<PyAny>) {
        self.0.await_room(future);
    }

    fn give_up(&self, _py: Python<'_>, future: &Py<PyAny>) {
        self.0.forget(future);
    }
}
