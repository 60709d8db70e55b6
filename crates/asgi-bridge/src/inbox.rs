//! What connections of another thread want of a loop: a list of errands, and a descriptor that wakes the loop for them.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use pyo3::prelude::*;
use rustix::event::{EventfdFlags, eventfd};

use crate::reactor::Errand;

/// See the module.
pub(crate) struct Inbox {
    event_loop: Py<PyAny>,
    thread: ThreadId,
    errands: Mutex<Vec<Errand>>,
    bell: OwnedFd,
    in_turn: AtomicBool,
}

impl Inbox {
    /// An inbox of the loop that this thread will run.
    ///
    /// # Errors
    /// The system's, and Python's.
    pub fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let py = event_loop.py();
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(std::io::Error::from)?;
        let inbox = Arc::new(Self {
            event_loop: event_loop.clone().unbind(),
            thread: thread::current().id(),
            errands: Mutex::default(),
            bell,
            in_turn: AtomicBool::new(false),
        });
        let look = Py::new(py, Look(inbox.clone()))?;
        event_loop.call_method1("add_reader", (inbox.bell.as_raw_fd(), look))?;
        Ok(inbox)
    }

    pub fn event_loop(&self) -> &Py<PyAny> {
        &self.event_loop
    }

    /// Has the loop forget it.
    pub fn end(&self, py: Python<'_>) {
        let _ = self
            .event_loop
            .bind(py)
            .call_method1("remove_reader", (self.bell.as_raw_fd(),));
    }

    /// Whether errands are being run.
    pub fn in_turn(&self) -> bool {
        self.is_here() && self.in_turn.load(Ordering::Relaxed)
    }

    /// Does something on the loop's thread: now where this is it.
    pub fn errand(&self, work: Errand) {
        if self.is_here() {
            return Python::attach(work);
        }
        self.put_off(work);
    }

    /// Does something at the loop's next opportunity.
    pub fn put_off(&self, work: Errand) {
        let mut errands = self.errands();
        errands.push(work);
        if errands.len() == 1 {
            drop(errands);
            let _ = rustix::io::write(self.bell.as_fd(), &1_u64.to_ne_bytes());
        }
    }

    fn is_here(&self) -> bool {
        thread::current().id() == self.thread
    }

    fn look(&self, py: Python<'_>) {
        let _ = rustix::io::read(self.bell.as_fd(), &mut [0; 8]);
        let errands = std::mem::take(&mut *self.errands());
        self.in_turn.store(true, Ordering::Relaxed);
        errands.into_iter().for_each(|errand| errand(py));
        self.in_turn.store(false, Ordering::Relaxed);
    }

    fn errands(&self) -> MutexGuard<'_, Vec<Errand>> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the loop calls when the bell was rung.
#[pyclass(frozen, name = "look", module = "viaduct")]
struct Look(Arc<Inbox>);

#[pymethods]
impl Look {
    fn __call__(&self, py: Python<'_>) {
        self.0.look(py);
    }
}
